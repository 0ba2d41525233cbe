//! How often each group has committed, for metrics.

use jocko_group::{Command, Coordinator, GroupRecord};
use std::collections::{BTreeMap, BTreeSet};

/// Counts of the groups that one coordinator has; none of any other group.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    by_group: BTreeMap<String, u64>,
}

impl Commits {
    /// How often a group has committed since this broker coordinates it.
    pub(crate) fn of(&self, group_id: &str) -> u64 {
        self.by_group.get(group_id).copied().unwrap_or(0)
    }

    /// A command's records were appended: if it is a commit, it counts.
    pub(super) fn count(&mut self, command: &Command) {
        let Command::CommitOffsets(commit) = command else { return };
        match self.by_group.get_mut(&commit.group_id) {
            Some(count) => *count += 1,
            None => _ = self.by_group.insert(commit.group_id.clone(), 1),
        }
    }

    /// Forgets those of these groups that are gone.
    pub(super) fn bury(&mut self, buried: &BTreeSet<String>, coordinator: &Coordinator) {
        for group_id in buried {
            if !coordinator.has_group(group_id) {
                self.by_group.remove(group_id);
            }
        }
    }
}

/// Groups that may be gone once these records are accepted.
pub(super) fn buried(records: &[GroupRecord]) -> BTreeSet<String> {
    let tombstones = records.iter().filter(|record| record.is_tombstone());
    tombstones.map(|record| record.group_id().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Commits, buried};
    use jocko_group::{
        Command, CommitOffsets, CommittedOffset, Coordinator, GroupRecord, OffsetKey,
    };
    use jocko_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

    fn commit(group_id: &str) -> Command {
        Command::CommitOffsets(CommitOffsets {
            group_id: group_id.to_owned(),
            generation_or_member_epoch: -1,
            member_id: String::new(),
            instance_id: None,
            retention: None,
            knows_member_epochs: true,
            offsets: Vec::new(),
        })
    }

    fn record(group_id: &str, partition: i32, offset: Option<i64>) -> GroupRecord {
        let partition = PartitionIndex::new(partition);
        let value = offset.map(|offset| CommittedOffset {
            offset: Offset::new(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
            committed_at: Timestamp::from_millis(0),
            expires_at: None,
            topic_id: TopicId::ZERO,
        });
        let key = OffsetKey { group_id: group_id.into(), topic: "t".into(), partition };
        GroupRecord::Offset { key, value }
    }

    #[test]
    fn a_group_is_counted_as_long_as_it_is_there() {
        let (mut coordinator, mut commits) = (Coordinator::new(), Commits::default());
        for (group_id, partition) in [("a", 0), ("a", 1), ("b", 0)] {
            coordinator.apply(&record(group_id, partition, Some(5)));
            commits.count(&commit(group_id));
        }
        commits.count(&Command::Expire);
        assert_eq!((commits.of("a"), commits.of("b"), commits.of("c")), (2, 1, 0));
        // One of two offsets of "a" goes, and the only one of "b".
        let tombstones = [record("a", 0, None), record("b", 0, None)];
        tombstones.iter().for_each(|tombstone| coordinator.apply(tombstone));
        commits.bury(&buried(&tombstones), &coordinator);
        assert_eq!((commits.of("a"), commits.of("b")), (2, 0));
        assert_eq!(commits.by_group.len(), 1);
        assert!(buried(&[record("a", 0, Some(5))]).is_empty());
    }
}
