//! What everybody reads: the cluster's image and the partitions hosted here, swapped as one.

use imbl::OrdMap;
use jocko_config::Settings;
use jocko_metadata::ClusterImage;
use jocko_partition::Partition;
use jocko_types::{ErrorCode, PartitionIndex, TopicId, TopicIdPartition};
use std::sync::Arc;

/// One state of the cluster and of this broker's part in it. Never changes; a new one replaces it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    /// The Raft index it shows.
    pub(crate) index: i64,
    /// The cluster's metadata.
    pub(crate) image: ClusterImage,
    /// This broker's settings as they hold now: those it was started with, overruled by what was
    /// set at run time (KIP-226).
    pub(crate) settings: Arc<Settings>,
    /// The partitions this broker hosts.
    pub(crate) partitions: OrdMap<TopicIdPartition, Arc<Partition>>,
}

/// A partition that is hosted here.
#[derive(Debug, Clone)]
pub(crate) struct Hosted {
    pub(crate) partition: Arc<Partition>,
}

impl Published {
    /// A partition by its topic's name.
    pub(crate) fn by_name(&self, topic: &str, index: i32) -> Result<Hosted, ErrorCode> {
        let found = self.image.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.hosted(found.id, index)
    }

    /// A partition by its topic's id. An id nobody knows may be one that is not known *yet*, so
    /// that its error differs (KIP-516).
    pub(crate) fn by_id(&self, topic_id: TopicId, index: i32) -> Result<Hosted, ErrorCode> {
        self.image.topic_by_id(topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        self.hosted(topic_id, index)
    }

    fn hosted(&self, topic_id: TopicId, index: i32) -> Result<Hosted, ErrorCode> {
        let key = TopicIdPartition { topic_id, partition: PartitionIndex::new(index) };
        if let Some(partition) = self.partitions.get(&key) {
            return Ok(Hosted { partition: Arc::clone(partition) });
        }
        match self.image.partition(topic_id, key.partition) {
            Some(_) => Err(ErrorCode::NotLeaderOrFollower),
            None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }
}
