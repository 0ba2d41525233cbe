//! Committed offsets: what they are, and the commands upon them.

mod commit;
mod forget;
mod read;

use crate::command::CommittedOffset;
use crate::record::{GroupRecord, OffsetKey};
use jocko_types::PartitionIndex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one group has committed, by topic and partition.
pub(crate) type OffsetsOfGroup = BTreeMap<Arc<str>, BTreeMap<PartitionIndex, CommittedOffset>>;

/// Committed offsets of all groups. Written by [`Offsets::apply`] alone.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    by_group: BTreeMap<Arc<str>, OffsetsOfGroup>,
}

impl Offsets {
    /// Puts a record into effect; no value is a tombstone.
    pub(crate) fn apply(&mut self, key: &OffsetKey, value: Option<&CommittedOffset>) {
        let Some(value) = value else { return self.forget(key) };
        // Names are cloned only where they are new: a commit of a known partition shares them.
        let topics = match self.by_group.get_mut(&key.group_id) {
            Some(topics) => topics,
            None => self.by_group.entry(Arc::clone(&key.group_id)).or_default(),
        };
        let partitions = match topics.get_mut(&key.topic) {
            Some(partitions) => partitions,
            None => topics.entry(Arc::clone(&key.topic)).or_default(),
        };
        partitions.insert(key.partition, value.clone());
    }

    fn forget(&mut self, key: &OffsetKey) {
        let Some(topics) = self.by_group.get_mut(&key.group_id) else { return };
        if let Some(partitions) = topics.get_mut(&key.topic) {
            partitions.remove(&key.partition);
            if partitions.is_empty() {
                topics.remove(&key.topic);
            }
        }
        if topics.is_empty() {
            self.by_group.remove(&key.group_id);
        }
    }

    pub(crate) fn of_group(&self, group_id: &str) -> Option<&OffsetsOfGroup> {
        self.by_group.get(group_id)
    }

    pub(crate) fn has_group(&self, group_id: &str) -> bool {
        self.by_group.contains_key(group_id)
    }

    /// How many offsets a group has.
    pub(crate) fn count(&self, group_id: &str) -> usize {
        self.of_group(group_id).map_or(0, |topics| topics.values().map(BTreeMap::len).sum())
    }

    /// The groups that have offsets.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_group.keys()
    }

    /// All offsets as records.
    pub(crate) fn records(&self, records: &mut Vec<GroupRecord>) {
        for (group_id, topics) in &self.by_group {
            for (topic, partition, value) in all(topics) {
                let key = key(group_id, topic, partition);
                records.push(GroupRecord::Offset { key, value: Some(value.clone()) });
            }
        }
    }
}

fn all(
    topics: &OffsetsOfGroup,
) -> impl Iterator<Item = (&Arc<str>, PartitionIndex, &CommittedOffset)> {
    topics.iter().flat_map(|(topic, partitions)| {
        partitions.iter().map(move |(partition, offset)| (topic, *partition, offset))
    })
}

fn key(group_id: &Arc<str>, topic: &Arc<str>, partition: PartitionIndex) -> OffsetKey {
    OffsetKey { group_id: Arc::clone(group_id), topic: Arc::clone(topic), partition }
}

fn tombstone(group_id: &Arc<str>, topic: &Arc<str>, partition: PartitionIndex) -> GroupRecord {
    GroupRecord::Offset { key: key(group_id, topic, partition), value: None }
}
