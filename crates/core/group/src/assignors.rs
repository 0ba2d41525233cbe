//! Who shall have which partitions: the assignors that run in the broker (KIP-848).
//!
//! An assignor sees each member's subscription and present target, and nothing else; it gives each
//! member its new target. It is total: topics that do not exist simply have no partitions.
//!
//! Promises, whatever the members and topics (tested as properties):
//! - every partition of a topic with at least one subscriber has exactly one owner, a subscriber;
//! - `uniform` balances: no partition could move to a subscriber that has at least two fewer;
//! - `uniform` is sticky: with the same input but for its own result, nothing moves;
//! - `range` gives members of equal subscriptions equal partition numbers of topics that have
//!   equally many (co-partitioning), in the order of their instance or member ids.

mod balance;
mod range;
mod uniform;

use crate::record::consumer::Assignment;
use jocko_types::{PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An assignor in the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assignor {
    /// Equal shares, moving as little as possible.
    Uniform,
    /// Ranges of partitions, topic by topic.
    Range,
}

/// A member, as an assignor sees it.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber<'a> {
    /// Its id.
    pub(crate) member_id: &'a str,
    /// Its static name.
    pub(crate) instance_id: Option<&'a str>,
    /// The topics it wants; members with the same wish may share it.
    pub(crate) topics: Arc<BTreeSet<TopicId>>,
    /// What it shall have so far.
    pub(crate) target: &'a Assignment,
}

/// How many partitions each topic has. Topics that are not here do not exist.
pub(crate) type PartitionCounts = BTreeMap<TopicId, u32>;

impl Assignor {
    /// By the name that clients and configs use.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// The new targets, in the order of `members`.
    pub(crate) fn assign(
        self,
        members: &[Subscriber<'_>],
        counts: &PartitionCounts,
    ) -> Vec<Assignment> {
        match self {
            Self::Uniform if same_topics(members) => uniform::assign(members, counts),
            Self::Uniform => balance::assign(members, counts),
            Self::Range => range::assign(members, counts),
        }
    }
}

/// Whether all members want the same topics.
fn same_topics(members: &[Subscriber<'_>]) -> bool {
    members.windows(2).all(
        |two| matches!(two, [a, b] if Arc::ptr_eq(&a.topics, &b.topics) || a.topics == b.topics),
    )
}

/// How many partitions a topic has; a topic that is not there has none.
fn count_of(counts: &PartitionCounts, topic_id: TopicId) -> usize {
    let count = counts.get(&topic_id).copied().unwrap_or(0);
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The numbers of a topic's partitions.
fn partitions(count: u32) -> impl Iterator<Item = PartitionIndex> {
    (0..i32::try_from(count).unwrap_or(i32::MAX)).map(PartitionIndex::new)
}

/// Whether the topic has this partition.
fn exists(counts: &PartitionCounts, topic_id: TopicId, partition: PartitionIndex) -> bool {
    let count = counts.get(&topic_id).copied().unwrap_or(0);
    u32::try_from(partition.get()).is_ok_and(|p| p < count)
}

#[cfg(test)]
mod tests;
