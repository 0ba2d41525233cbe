//! What can be read of a coordinator. The caller parks these behind the last appended record.

use super::{Coordinator, Group};
use crate::command::{DescribedGroup, ListedGroup};
use jocko_types::{Offset, PartitionIndex, TopicId};

/// A group, as metrics show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupGauge<'a> {
    /// The group.
    pub group_id: &'a str,
    /// "classic" or "consumer".
    pub kind: &'static str,
    /// As Kafka names it.
    pub state: &'static str,
    /// How many members it has.
    pub members: usize,
    /// How often it rebalanced: the generation, or the group epoch.
    pub rebalances: i32,
    /// How many offsets it has committed.
    pub offsets: usize,
}

impl Coordinator {
    /// A classic group, as DescribeGroups shows it.
    ///
    /// # Errors
    /// The message that goes with GROUP_ID_NOT_FOUND (version 6, KIP-1043); below, the group's
    /// state is "Dead" and that is no error.
    pub fn describe(&self, group_id: &str) -> Result<DescribedGroup, String> {
        match self.groups.get(group_id) {
            Some(Group::Classic(group)) => Ok(group.live.describe()),
            Some(Group::Consumer(_)) => Err(format!("Group {group_id} is not a classic group.")),
            None => Err(format!("Group {group_id} not found.")),
        }
    }

    /// The groups in one of these states and of one of these types ("classic", "consumer"),
    /// however their letters are cased; no state or type named asks for all (KIP-518, KIP-848).
    /// Blanks around a state do not count, as in Kafka.
    #[must_use]
    pub fn list(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        let asked = |names: &[&str], name: &str| {
            names.is_empty() || names.iter().any(|asked| asked.eq_ignore_ascii_case(name))
        };
        let states: Vec<&str> = states.iter().map(|state| state.trim()).collect();
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        self.groups
            .iter()
            .map(|(group_id, group)| ListedGroup {
                group_id: group_id.as_ref().to_owned(),
                protocol_type: group.protocol_type().to_owned(),
                state: group.state(),
                kind: group.kind(),
            })
            .filter(|group| asked(&states, group.state) && asked(&types, group.kind))
            .collect()
    }

    /// Whether the group is there.
    #[must_use]
    pub fn has_group(&self, group_id: &str) -> bool {
        self.groups.contains_key(group_id)
    }

    /// Every group, for metrics.
    pub fn groups(&self) -> impl Iterator<Item = GroupGauge<'_>> {
        self.groups.iter().map(|(group_id, group)| GroupGauge {
            group_id,
            kind: group.kind(),
            state: group.state(),
            members: group.member_count(),
            rebalances: group.rebalances(),
            offsets: self.offsets.count(group_id),
        })
    }

    /// What a group has committed, for metrics: by topic and partition, with the topic's id, which
    /// is zero if that was not known. It may be that of an earlier topic of the name.
    pub fn committed(
        &self,
        group_id: &str,
    ) -> impl Iterator<Item = (&str, TopicId, PartitionIndex, Offset)> {
        let topics = self.offsets.of_group(group_id).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| {
            partitions.iter().map(|(partition, value)| {
                (topic.as_ref(), value.topic_id, *partition, value.offset)
            })
        })
    }
}

impl Group {
    fn kind(&self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::Consumer(_) => "consumer",
        }
    }

    fn state(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.live.state().name(),
            Self::Consumer(group) => group.state(),
        }
    }

    fn protocol_type(&self) -> &str {
        match self {
            Self::Classic(group) => group.live.protocol_type(),
            Self::Consumer(_) => "consumer",
        }
    }

    fn member_count(&self) -> usize {
        match self {
            Self::Classic(group) => group.live.member_count(),
            Self::Consumer(group) => group.member_count(),
        }
    }

    fn rebalances(&self) -> i32 {
        match self {
            Self::Classic(group) => group.live.generation(),
            Self::Consumer(group) => group.epoch(),
        }
    }
}
