//! `range`: topic by topic, each subscriber gets the next few partitions.
//!
//! Not sticky: the result depends on the members' order alone, static ones first by instance id,
//! then the others by member id. So a member that restarts under its instance id, or all members
//! of a group with co-partitioned topics, find the same partition numbers in every topic.

use super::{PartitionCounts, Subscriber, count_of, partitions};
use crate::record::consumer::Assignment;
use jocko_types::TopicId;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn assign(members: &[Subscriber<'_>], counts: &PartitionCounts) -> Vec<Assignment> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&m| {
        members.get(m).map(|m| (m.instance_id.is_none(), m.instance_id, m.member_id))
    });

    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for &m in &order {
        for &topic_id in members.get(m).iter().flat_map(|member| member.topics.iter()) {
            subscribers.entry(topic_id).or_default().push(m);
        }
    }

    let mut targets = vec![Assignment::new(); members.len()];
    for (topic_id, subscribers) in subscribers {
        let count = count_of(counts, topic_id);
        let each = count / subscribers.len();
        let extra = count % subscribers.len();
        let mut rest = partitions(u32::try_from(count).unwrap_or(u32::MAX));
        for (at, &m) in subscribers.iter().enumerate() {
            let share: BTreeSet<_> = rest.by_ref().take(each + usize::from(at < extra)).collect();
            if let Some(target) = targets.get_mut(m).filter(|_| !share.is_empty()) {
                target.insert(topic_id, share);
            }
        }
    }
    targets
}
