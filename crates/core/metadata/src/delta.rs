//! What changed between two images, for those who act on it: open and close partitions, refresh
//! configs, move coordinators.

use crate::image::{ClusterImage, Partition, Topic};
use crate::record::ConfigResource;
use imbl::ordmap::DiffItem;
use jocko_types::{BrokerId, PartitionIndex};
use std::sync::Arc;

/// The difference between an older and a newer image. Cheap where little changed: shared parts
/// of the two are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterDelta {
    /// Topics that are new, by id.
    pub created: Vec<Arc<Topic>>,
    /// Topics that are gone, by id. A topic deleted and made again is in both lists, with two
    /// ids.
    pub deleted: Vec<Arc<Topic>>,
    /// Partitions that are new, changed or gone, those of created and deleted topics among them.
    pub partitions: Vec<PartitionChange>,
    /// Brokers that joined, left, or changed state or address.
    pub brokers: Vec<BrokerId>,
    /// Resources whose configs changed.
    pub configs: Vec<ConfigResource>,
}

/// A partition that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionChange {
    /// Its topic: as it is now, or as it last was.
    pub topic: Arc<Topic>,
    /// Its number.
    pub partition: PartitionIndex,
    /// Its state before; `None` if it is new.
    pub before: Option<Arc<Partition>>,
    /// Its state now; `None` if it is gone.
    pub after: Option<Arc<Partition>>,
}

impl ClusterDelta {
    /// What turned `before` into `after`.
    #[must_use]
    pub fn between(before: &ClusterImage, after: &ClusterImage) -> Self {
        let (old, new) = (before.maps(), after.maps());
        let mut delta = Self::default();
        for change in old.topics.diff(new.topics) {
            match change {
                DiffItem::Add(_, topic) => {
                    delta.created.push(Arc::clone(topic));
                    delta.all_partitions(topic, true);
                }
                DiffItem::Remove(_, topic) => {
                    delta.deleted.push(Arc::clone(topic));
                    delta.all_partitions(topic, false);
                }
                DiffItem::Update { old: (_, old), new: (_, new) } => delta.topic(old, new),
            }
        }
        delta.brokers = old.brokers.diff(new.brokers).map(|change| *key_of(&change)).collect();
        delta.configs =
            old.configs.diff(new.configs).map(|change| key_of(&change).clone()).collect();
        delta
    }

    /// Whether nothing changed that anyone acts on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks P-4: leader epochs and partition epochs never fall, and a new leader has a new
    /// leader epoch.
    ///
    /// # Errors
    /// A sentence that names the invariant and the place.
    pub fn check_epochs(&self) -> Result<(), String> {
        for change in &self.partitions {
            let (Some(before), Some(after)) = (&change.before, &change.after) else { continue };
            let place = format!("{}-{}", change.topic.name, change.partition);
            if after.leader_epoch < before.leader_epoch {
                return Err(format!("P-4 {place}: the leader epoch fell"));
            }
            if after.partition_epoch <= before.partition_epoch {
                return Err(format!("P-4 {place}: a change without a new partition epoch"));
            }
            if after.leader != before.leader && after.leader_epoch == before.leader_epoch {
                return Err(format!("P-4 {place}: a new leader without a new leader epoch"));
            }
        }
        Ok(())
    }

    fn all_partitions(&mut self, topic: &Arc<Topic>, is_new: bool) {
        for (partition, state) in &topic.partitions {
            let state = Some(Arc::clone(state));
            let (before, after) = if is_new { (None, state) } else { (state, None) };
            let topic = Arc::clone(topic);
            self.partitions.push(PartitionChange { topic, partition: *partition, before, after });
        }
    }

    fn topic(&mut self, old: &Arc<Topic>, new: &Arc<Topic>) {
        for change in old.partitions.diff(&new.partitions) {
            let (partition, before, after) = match change {
                DiffItem::Add(partition, after) => (partition, None, Some(after)),
                DiffItem::Remove(partition, before) => (partition, Some(before), None),
                DiffItem::Update { old: (_, before), new: (partition, after) } => {
                    (partition, Some(before), Some(after))
                }
            };
            self.partitions.push(PartitionChange {
                topic: Arc::clone(new),
                partition: *partition,
                before: before.map(Arc::clone),
                after: after.map(Arc::clone),
            });
        }
    }
}

fn key_of<'a, K, V>(change: &DiffItem<'a, 'a, K, V>) -> &'a K {
    match change {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key,
        DiffItem::Update { new: (key, _), .. } => key,
    }
}

#[cfg(test)]
mod tests;
