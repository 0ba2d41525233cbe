//! `uniform` when members want different topics: keep, hand out, then even out.
//!
//! 1. Members keep what they still want and still exists.
//! 2. Partitions without an owner go to the subscriber that has least; topics with few
//!    subscribers first, since those have no choice.
//! 3. While somebody has at least two more than another subscriber of one of its topics, a
//!    partition of that topic moves. Each move lowers the sum of the squares of what members have,
//!    so this ends.

use super::{PartitionCounts, Subscriber, exists, partitions};
use crate::record::consumer::Assignment;
use jocko_types::{PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// How many times all topics are gone through. Topics influence each other, but each round leaves
/// far less to do; a result that is not quite even yet is still a valid one.
const ROUNDS_MAX: usize = 16;

pub(super) fn assign(members: &[Subscriber<'_>], counts: &PartitionCounts) -> Vec<Assignment> {
    let mut board = Board::new(members, counts);
    board.hand_out();
    for _ in 0..ROUNDS_MAX {
        if !board.even_out() {
            break;
        }
    }
    board.into_targets()
}

/// A topic: who wants it, and who has what of it. Members are known by their place.
struct Topic {
    count: u32,
    subscribers: Vec<usize>,
    owned: BTreeMap<usize, BTreeSet<PartitionIndex>>,
    free: BTreeSet<PartitionIndex>,
}

struct Board {
    /// In the order in which partitions are handed out.
    topics: Vec<(TopicId, Topic)>,
    /// How many partitions each member has.
    loads: Vec<usize>,
}

impl Board {
    fn new(members: &[Subscriber<'_>], counts: &PartitionCounts) -> Self {
        let mut topics: BTreeMap<TopicId, Topic> = BTreeMap::new();
        for (m, member) in members.iter().enumerate() {
            for &id in member.topics.iter() {
                let count = counts.get(&id).copied().unwrap_or(0);
                let topic = topics.entry(id).or_insert_with(|| Topic {
                    count,
                    subscribers: Vec::new(),
                    owned: BTreeMap::new(),
                    free: partitions(count).collect(),
                });
                topic.subscribers.push(m);
            }
        }
        let mut loads = vec![0; members.len()];
        for (m, member) in members.iter().enumerate() {
            for (&id, held) in member.target {
                let Some(topic) = topics.get_mut(&id).filter(|_| member.topics.contains(&id))
                else {
                    continue;
                };
                for &p in held {
                    if exists(counts, id, p) && topic.free.remove(&p) {
                        topic.owned.entry(m).or_default().insert(p);
                        add(&mut loads, m, 1);
                    }
                }
            }
        }
        let mut topics: Vec<_> = topics.into_iter().collect();
        // Few subscribers first; among those, the most partitions a head.
        topics.sort_by_key(|(_, t)| (t.subscribers.len(), std::cmp::Reverse(t.count)));
        Self { topics, loads }
    }

    fn hand_out(&mut self) {
        for (_, topic) in &mut self.topics {
            let mut by_load: BTreeSet<(usize, usize)> =
                topic.subscribers.iter().map(|&m| (load(&self.loads, m), m)).collect();
            while let Some(p) = topic.free.pop_first() {
                let Some((had, m)) = by_load.pop_first() else { break };
                topic.owned.entry(m).or_default().insert(p);
                add(&mut self.loads, m, 1);
                by_load.insert((had + 1, m));
            }
        }
    }

    /// Goes through all topics once; tells whether anything moved.
    fn even_out(&mut self) -> bool {
        let mut moved = false;
        for (_, topic) in self.topics.iter_mut().filter(|(_, t)| t.subscribers.len() > 1) {
            let mut by_load: BTreeSet<(usize, usize)> =
                topic.subscribers.iter().map(|&m| (load(&self.loads, m), m)).collect();
            let mut owners: BTreeSet<(usize, usize)> =
                topic.owned.keys().map(|&m| (load(&self.loads, m), m)).collect();
            while let (Some(&(most, from)), Some(&(least, to))) = (owners.last(), by_load.first()) {
                if most < least + 2 {
                    break;
                }
                let Some(partition) = topic.owned.get_mut(&from).and_then(BTreeSet::pop_last)
                else {
                    // Nothing of this topic is left to it; it has too much of others.
                    topic.owned.remove(&from);
                    owners.remove(&(most, from));
                    continue;
                };
                topic.owned.entry(to).or_default().insert(partition);
                by_load.remove(&(most, from));
                by_load.remove(&(least, to));
                by_load.insert((most - 1, from));
                by_load.insert((least + 1, to));
                owners.remove(&(most, from));
                owners.remove(&(least, to));
                owners.insert((most - 1, from));
                owners.insert((least + 1, to));
                if let Some(l) = self.loads.get_mut(from) {
                    *l -= 1;
                }
                add(&mut self.loads, to, 1);
                moved = true;
            }
        }
        moved
    }

    fn into_targets(self) -> Vec<Assignment> {
        let mut targets = vec![Assignment::new(); self.loads.len()];
        for (id, topic) in self.topics {
            for (m, owned) in topic.owned.into_iter().filter(|(_, owned)| !owned.is_empty()) {
                if let Some(target) = targets.get_mut(m) {
                    target.insert(id, owned);
                }
            }
        }
        targets
    }
}

fn load(loads: &[usize], member: usize) -> usize {
    loads.get(member).copied().unwrap_or(0)
}

fn add(loads: &mut [usize], member: usize, count: usize) {
    if let Some(load) = loads.get_mut(member) {
        *load += count;
    }
}
