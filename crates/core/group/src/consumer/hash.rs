//! One number for what the subscribed topics look like, so that a change of them is seen.
//!
//! Computed as Kafka computes it (KIP-1101: XXH3 over id, name, partitions and racks), so that a
//! log written by Kafka loads without a rebalance.

use crate::context::Topics;
use jocko_types::PartitionIndex;
use twox_hash::XxHash3_64;

/// The version of the hash's ingredients.
const MAGIC: u8 = 0;

/// The hash over these topics, by ascending name; topics that do not exist count for nothing.
pub(super) fn of_topics<'a>(names: impl IntoIterator<Item = &'a str>, topics: &dyn Topics) -> i64 {
    let mut bytes = Vec::new();
    for name in names {
        if let Some(hash) = of_topic(name, topics) {
            bytes.extend_from_slice(&hash.to_le_bytes());
        }
    }
    if bytes.is_empty() { 0 } else { XxHash3_64::oneshot(&bytes).cast_signed() }
}

fn of_topic(name: &str, topics: &dyn Topics) -> Option<i64> {
    let topic = topics.by_name(name)?;
    let mut bytes = vec![MAGIC];
    let (most, least) = topic.id.as_bytes().split_at(8);
    bytes.extend(most.iter().rev());
    bytes.extend(least.iter().rev());
    put_string(&mut bytes, name);
    bytes.extend_from_slice(&topic.partition_count.to_le_bytes());
    for partition in 0..topic.partition_count {
        bytes.extend_from_slice(&partition.to_le_bytes());
        for rack in topics.racks(topic.id, PartitionIndex::new(partition)) {
            bytes.extend_from_slice(&length(&rack).to_le_bytes());
            put_string(&mut bytes, &rack);
        }
    }
    Some(XxHash3_64::oneshot(&bytes).cast_signed())
}

/// UTF-16 units, then how many.
fn put_string(bytes: &mut Vec<u8>, text: &str) {
    for unit in text.encode_utf16() {
        bytes.extend_from_slice(&unit.to_le_bytes());
    }
    bytes.extend_from_slice(&length(text).to_le_bytes());
}

fn length(text: &str) -> i32 {
    i32::try_from(text.encode_utf16().count()).unwrap_or(i32::MAX)
}
