//! Integer ids. Each is its own type; each says what its reserved values mean.

use crate::{TopicId, TopicName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares a newtype over an integer with the traits every id needs.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($int);

        impl $name {
            /// Wraps a raw number.
            #[must_use]
            pub const fn new(raw: $int) -> Self {
                Self(raw)
            }

            /// The raw number, as it stands on the wire and on disk.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Position of a record in a partition's log: 0 for the first record ever appended.
    Offset(i64)
}
id! {
    /// Counts the leaders a partition has had; grows by one at each election (KIP-101).
    LeaderEpoch(i32)
}
id! {
    /// Counts the changes of a partition's in-sync set and leader (KIP-497).
    PartitionEpoch(i32)
}
id! {
    /// Identifies one registration of a broker with the controller (KIP-631).
    BrokerEpoch(i64)
}
id! {
    /// A broker's number in its cluster.
    BrokerId(i32)
}
id! {
    /// A partition's number within its topic, from 0.
    PartitionIndex(i32)
}
id! {
    /// Identifies an idempotent or transactional producer (KIP-98).
    ProducerId(i64)
}
id! {
    /// Fences older incarnations of one producer id (KIP-98).
    ProducerEpoch(i16)
}
id! {
    /// A record's number within its producer's stream to one partition; wraps to 0 (KIP-98).
    Sequence(i32)
}

impl Offset {
    /// The first offset of an empty log.
    pub const ZERO: Self = Self(0);

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The offset `count` records later. Saturates: a hostile count cannot wrap the log.
    #[must_use]
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// How many offsets lie between `self` and the later `end`; negative if `end` is earlier.
    #[must_use]
    pub const fn distance_to(self, end: Self) -> i64 {
        end.0.saturating_sub(self.0)
    }
}

impl LeaderEpoch {
    /// Stands for "no epoch known" on the wire.
    pub const NONE: Self = Self(-1);

    /// The epoch of the next leader.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl PartitionEpoch {
    /// The epoch after the next change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl ProducerId {
    /// Stands for "not an idempotent producer" in a record batch.
    pub const NONE: Self = Self(-1);

    /// Whether a batch with this id takes part in sequence checks.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl Sequence {
    /// Stands for "no sequence" in a batch without a producer id.
    pub const NONE: Self = Self(-1);

    /// The sequence `count` records later, wrapping from `i32::MAX` to 0.
    #[must_use]
    pub const fn plus(self, count: i32) -> Self {
        let room = i32::MAX.saturating_sub(self.0);
        if count > room { Self(count - room - 1) } else { Self(self.0 + count) }
    }
}

/// A partition named by its topic's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number in it.
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A partition named by its topic's id, which a deleted and recreated topic does not share
/// with its predecessor (KIP-516).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicIdPartition {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's number in it.
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicIdPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic_id, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_wraps_from_the_largest_to_zero() {
        assert_eq!(Sequence::new(i32::MAX).plus(1), Sequence::new(0));
        assert_eq!(Sequence::new(i32::MAX - 1).plus(3), Sequence::new(1));
        assert_eq!(Sequence::new(5).plus(4), Sequence::new(9));
    }

    #[test]
    fn offset_arithmetic_saturates() {
        assert_eq!(Offset::new(i64::MAX).next(), Offset::new(i64::MAX));
        assert_eq!(Offset::new(3).distance_to(Offset::new(10)), 7);
    }
}
