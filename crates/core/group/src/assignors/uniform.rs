//! `uniform` when all members want the same topics: exact shares, as few moves as possible.
//!
//! With P partitions and M members, P mod M members get one more than the others. Those that
//! already hold more come first in that, so that nobody gives up what he may keep.

use super::{PartitionCounts, Subscriber, count_of, exists, partitions};
use crate::record::consumer::Assignment;
use jocko_types::{PartitionIndex, TopicId};
use std::collections::BTreeSet;

pub(super) fn assign(members: &[Subscriber<'_>], counts: &PartitionCounts) -> Vec<Assignment> {
    let Some(first) = members.first() else { return Vec::new() };
    let wanted = &*first.topics;
    let total: usize = wanted.iter().map(|&id| count_of(counts, id)).sum();
    let each = total / members.len();
    let extra = total % members.len();

    // What each may keep: partitions that still exist and are still wanted, each only once.
    let mut taken: BTreeSet<(TopicId, PartitionIndex)> = BTreeSet::new();
    let mut kept: Vec<Vec<(TopicId, PartitionIndex)>> = Vec::with_capacity(members.len());
    for member in members {
        let held = member.target.iter().filter(|(id, _)| wanted.contains(id));
        kept.push(
            held.flat_map(|(&id, held)| held.iter().map(move |&p| (id, p)))
                .filter(|&(id, p)| exists(counts, id, p) && taken.insert((id, p)))
                .collect(),
        );
    }

    // The larger shares go to those that hold most.
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&m| std::cmp::Reverse(kept.get(m).map_or(0, Vec::len)));
    let mut quotas = vec![each; members.len()];
    for &m in order.iter().take(extra) {
        if let Some(quota) = quotas.get_mut(m) {
            *quota += 1;
        }
    }

    for (kept, &quota) in kept.iter_mut().zip(&quotas) {
        for given_up in kept.drain(quota.min(kept.len())..) {
            taken.remove(&given_up);
        }
    }

    let free = wanted
        .iter()
        .flat_map(|&id| partitions(counts.get(&id).copied().unwrap_or(0)).map(move |p| (id, p)));
    let mut free = free.filter(|at| !taken.contains(at));
    kept.iter_mut()
        .zip(&quotas)
        .map(|(kept, &quota)| {
            let missing = quota.saturating_sub(kept.len());
            kept.extend(free.by_ref().take(missing));
            let mut target = Assignment::new();
            for &(id, partition) in kept.iter() {
                target.entry(id).or_default().insert(partition);
            }
            target
        })
        .collect()
}
