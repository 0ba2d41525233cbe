//! OffsetFetch. The caller parks it behind the last appended record.

use crate::command::{CommittedOffset, FetchOffsets, FetchedPartition, FetchedTopic};
use crate::coordinator::{Coordinator, Group};
use jocko_types::{ErrorCode, PartitionIndex, TopicId};

impl Coordinator {
    /// What a group has committed. A group that is not there has committed nothing, which is no
    /// error.
    ///
    /// # Errors
    /// If the one who asks is not a member of the consumer group, or at another epoch.
    pub fn fetch_offsets(&self, fetch: &FetchOffsets) -> Result<Vec<FetchedTopic>, ErrorCode> {
        if let Some(Group::Consumer(group)) = self.groups.get(fetch.group_id.as_str()) {
            group.check_fetch(fetch)?;
        }
        let found = self.offsets.of_group(&fetch.group_id);
        let Some(asked) = &fetch.topics else {
            let all = found.into_iter().flatten().map(|(topic, partitions)| FetchedTopic {
                topic: topic.as_ref().to_owned(),
                topic_id: TopicId::ZERO,
                partitions: partitions
                    .iter()
                    .map(|(partition, offset)| fetched(*partition, Some(offset.clone())))
                    .collect(),
            });
            return Ok(all.collect());
        };
        let topics = asked.iter().map(|(topic, topic_id, partitions)| {
            let committed = found.and_then(|topics| topics.get(topic.as_str()));
            let partitions = partitions.iter().map(|partition| {
                let offset = committed.and_then(|partitions| partitions.get(partition));
                let offset = offset.filter(|offset| is_of(offset, *topic_id));
                fetched(*partition, offset.cloned())
            });
            let partitions = partitions.collect();
            FetchedTopic { topic: topic.clone(), topic_id: *topic_id, partitions }
        });
        Ok(topics.collect())
    }
}

/// Whether an offset was committed for this topic, not for an earlier one of the same name.
fn is_of(offset: &CommittedOffset, topic_id: TopicId) -> bool {
    offset.topic_id.is_zero() || topic_id.is_zero() || offset.topic_id == topic_id
}

const fn fetched(
    partition: PartitionIndex,
    committed: Option<CommittedOffset>,
) -> FetchedPartition {
    FetchedPartition { partition, committed, error: ErrorCode::None }
}
