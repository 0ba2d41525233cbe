//! Where the replicas of new partitions go: round robin, over racks first, to brokers that are away only
//! where the others do not suffice.

use crate::image::Broker;
use crate::randomness::Randomness;
use jocko_types::BrokerId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Hands out replica lists, partition after partition. Leaders go round all brokers; each
/// partition's copies lie in as many racks as there are; from round to round the followers of a
/// leader shift, so that a lost broker's load falls on many.
#[derive(Debug)]
pub(crate) struct Placement {
    /// All brokers, neighbours in different racks as far as that is possible.
    ring: Vec<(BrokerId, Option<String>)>,
    /// Those that cannot serve now: they get what is left over, and catch up when they are back.
    spare: Vec<BrokerId>,
    start: usize,
    shift: usize,
    placed: usize,
}

impl Placement {
    /// Over these brokers, from a random start.
    pub(crate) fn over<'a>(
        brokers: impl Iterator<Item = &'a Arc<Broker>>,
        random: &mut Randomness,
    ) -> Self {
        let mut racks: BTreeMap<Option<String>, Vec<BrokerId>> = BTreeMap::new();
        for broker in brokers {
            racks.entry(broker.registration.rack.clone()).or_default().push(broker.id());
        }
        let deepest = racks.values().map(Vec::len).max().unwrap_or(0);
        let mut ring = Vec::new();
        for depth in 0..deepest {
            for (rack, members) in &racks {
                if let Some(id) = members.get(depth) {
                    ring.push((*id, rack.clone()));
                }
            }
        }
        let start = random.below(ring.len());
        let shift = random.below(ring.len().saturating_sub(1));
        Self { ring, spare: Vec::new(), start, shift, placed: 0 }
    }

    /// Over these brokers too, which cannot serve now.
    pub(crate) fn or_else<'a>(mut self, away: impl Iterator<Item = &'a Arc<Broker>>) -> Self {
        self.spare = away.map(|broker| broker.id()).collect();
        self
    }

    /// How many brokers can serve.
    pub(crate) const fn broker_count(&self) -> usize {
        self.ring.len()
    }

    /// How many brokers there are, those that are away among them, but not those that are to go.
    pub(crate) const fn broker_count_registered(&self) -> usize {
        self.ring.len() + self.spare.len()
    }

    /// The replicas of the next partition, the leader first. Fewer than `copies` if there are not
    /// as many brokers.
    pub(crate) fn next(&mut self, copies: usize) -> Vec<BrokerId> {
        let count = self.ring.len();
        if count == 0 {
            return Vec::new();
        }
        let (placed, round) = (self.placed, self.placed / count);
        let leader = (self.start + placed) % count;
        self.placed += 1;
        // The others in the order they are asked: from a neighbour that shifts each round.
        let others = count - 1;
        let first = if others == 0 { 0 } else { (self.shift + round) % others };
        let order: Vec<usize> =
            (0..others).map(|step| (leader + 1 + (first + step) % others) % count).collect();
        let mut chosen = vec![leader];
        self.choose(&mut chosen, &order, copies, true);
        self.choose(&mut chosen, &order, copies, false);
        let present = chosen.into_iter().filter_map(|at| self.ring.get(at)).map(|(id, _)| *id);
        let away = self.spare.iter().copied().cycle().skip(placed % self.spare.len().max(1));
        present.chain(away.take(self.spare.len())).take(copies).collect()
    }

    fn choose(&self, chosen: &mut Vec<usize>, order: &[usize], copies: usize, new_racks: bool) {
        let rack = |at: usize| self.ring.get(at).map(|(_, rack)| rack);
        for &candidate in order {
            if chosen.len() >= copies {
                return;
            }
            let same_rack = chosen.iter().any(|&at| rack(at) == rack(candidate));
            let is_out = chosen.contains(&candidate) || (new_racks && same_rack);
            if !is_out {
                chosen.push(candidate);
            }
        }
    }
}

#[cfg(test)]
mod tests;
