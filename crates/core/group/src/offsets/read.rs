//! OffsetFetch. The caller parks it behind the last appended record.

use crate::command::{CommittedOffset, FetchOffsets, FetchedPartition, FetchedTopic};
use crate::context::Topics;
use crate::coordinator::{Coordinator, Group};
use jocko_types::{ErrorCode, PartitionIndex, TopicId};

impl Coordinator {
    /// What a group has committed for the topics there are now. What it committed for an earlier
    /// topic of the same name is as good as gone, even where it could not be forgotten yet: whoever
    /// went on from there would pass over records. A group that is not there has committed nothing,
    /// which is no error.
    ///
    /// # Errors
    /// If the one who asks is not a member of the consumer group, or at another epoch.
    pub fn fetch_offsets(
        &self,
        topics: &dyn Topics,
        fetch: &FetchOffsets,
    ) -> Result<Vec<FetchedTopic>, ErrorCode> {
        if let Some(Group::Consumer(group)) = self.groups.get(fetch.group_id.as_str()) {
            group.check_fetch(fetch)?;
        }
        let found = self.offsets.of_group(&fetch.group_id);
        let Some(asked) = &fetch.topics else {
            let all = found.into_iter().flatten().map(|(topic, partitions)| {
                let now = id_of(topics, topic);
                let partitions = partitions.iter().filter(|(_, offset)| is_of(offset, now));
                FetchedTopic {
                    topic: topic.as_ref().to_owned(),
                    topic_id: TopicId::ZERO,
                    partitions: partitions
                        .map(|(partition, offset)| fetched(*partition, Some(offset.clone())))
                        .collect(),
                }
            });
            return Ok(all.filter(|topic| !topic.partitions.is_empty()).collect());
        };
        let asked = asked.iter().map(|(topic, topic_id, partitions)| {
            let now = id_of(topics, topic);
            let committed = found.and_then(|topics| topics.get(topic.as_str()));
            let partitions = partitions.iter().map(|partition| {
                let offset = committed.and_then(|partitions| partitions.get(partition));
                let offset = offset.filter(|offset| is_of(offset, now) && is_of(offset, *topic_id));
                fetched(*partition, offset.cloned())
            });
            let partitions = partitions.collect();
            FetchedTopic { topic: topic.clone(), topic_id: *topic_id, partitions }
        });
        Ok(asked.collect())
    }
}

/// The id that a name has now; zero if there is no such topic.
fn id_of(topics: &dyn Topics, name: &str) -> TopicId {
    topics.by_name(name).map_or(TopicId::ZERO, |topic| topic.id)
}

/// Whether an offset was committed for this topic, not for an earlier one of the same name. Who
/// does not know an id (older brokers wrote none) is believed.
fn is_of(offset: &CommittedOffset, topic_id: TopicId) -> bool {
    offset.topic_id.is_zero() || topic_id.is_zero() || offset.topic_id == topic_id
}

const fn fetched(
    partition: PartitionIndex,
    committed: Option<CommittedOffset>,
) -> FetchedPartition {
    FetchedPartition { partition, committed, error: ErrorCode::None }
}
