//! What one group's members were told, held against what a group promises. Pure: events in, faults
//! out.
//!
//! G-1: a partition has one owner per generation (classic), one owner at a time (consumer). G-2: an
//! acknowledged commit is never lost and never moves back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A member, as this program numbers them; a new number for each life.
pub(crate) type Life = u64;

/// Who owns a partition of a consumer group.
#[derive(Debug, Clone, Copy)]
struct Claim {
    life: Life,
    /// Until when the broker may not have given up on the owner: its last answered heartbeat and
    /// a session.
    good_until: Instant,
}

/// One group.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Classic: who was given a partition in a generation.
    given: BTreeMap<(i32, i32), Life>,
    /// Consumer: who owns a partition now.
    claims: BTreeMap<i32, Claim>,
    /// Who owns a partition now, either way: to see that the storm has settled.
    owners: BTreeMap<i32, BTreeSet<Life>>,
    /// The highest commit that was acknowledged, by partition.
    acknowledged: BTreeMap<i32, i64>,
    /// The highest commit that was ever sent.
    sent: BTreeMap<i32, i64>,
    pub(crate) faults: Vec<String>,
    pub(crate) commits: u64,
    pub(crate) assignments: u64,
}

impl Ledger {
    /// A classic member was given partitions in a generation.
    pub(crate) fn given(&mut self, life: Life, generation: i32, partitions: &[i32]) {
        self.assignments += 1;
        for &partition in partitions {
            let first = *self.given.entry((generation, partition)).or_insert(life);
            if first != life {
                self.faults.push(format!(
                    "G-1: in generation {generation} partition {partition} was given to two members"
                ));
            }
            self.owners.entry(partition).or_default().insert(life);
        }
    }

    /// A consumer was given partitions, on top of those it has.
    pub(crate) fn claimed(
        &mut self,
        life: Life,
        partitions: &[i32],
        now: Instant,
        session: Duration,
    ) {
        self.assignments += 1;
        for &partition in partitions {
            let claim = Claim { life, good_until: now + session };
            if let Some(other) = self.claims.insert(partition, claim)
                && other.life != life
                && now < other.good_until
            {
                self.faults.push(format!(
                    "G-1: partition {partition} was given away while its owner had it"
                ));
            }
            self.owners.entry(partition).or_default().insert(life);
        }
    }

    /// A consumer was heard of by the broker.
    pub(crate) fn renewed(&mut self, life: Life, sent: Instant, session: Duration) {
        for claim in self.claims.values_mut().filter(|claim| claim.life == life) {
            claim.good_until = sent + session;
        }
    }

    /// A member has let go of partitions.
    pub(crate) fn released(&mut self, life: Life, partitions: &[i32]) {
        for &partition in partitions {
            if self.claims.get(&partition).is_some_and(|claim| claim.life == life) {
                self.claims.remove(&partition);
            }
            if let Some(owners) = self.owners.get_mut(&partition) {
                owners.remove(&life);
            }
        }
    }

    /// A member that owns the partition asks how far it was read.
    pub(crate) fn fetched(&mut self, partition: i32, offset: i64, acknowledged_before: i64) {
        if offset < acknowledged_before {
            self.faults.push(format!(
                "G-2: partition {partition} is at {offset}, but {acknowledged_before} was acknowledged"
            ));
        }
        let sent = self.sent.get(&partition).copied().unwrap_or(-1);
        if offset > sent {
            self.faults
                .push(format!("partition {partition} is at {offset}, but {sent} is the most sent"));
        }
    }

    /// What is acknowledged of a partition; -1 if nothing is.
    pub(crate) fn acknowledged(&self, partition: i32) -> i64 {
        self.acknowledged.get(&partition).copied().unwrap_or(-1)
    }

    /// A commit goes out.
    pub(crate) fn sending(&mut self, partition: i32, offset: i64) {
        let sent = self.sent.entry(partition).or_insert(-1);
        *sent = (*sent).max(offset);
    }

    /// A commit was acknowledged; `acknowledged_before` is what was when it was sent.
    pub(crate) fn committed(&mut self, partition: i32, offset: i64, acknowledged_before: i64) {
        self.commits += 1;
        if offset <= acknowledged_before {
            self.faults.push(format!(
                "G-2: a commit of {offset} was taken for partition {partition}, though \
                 {acknowledged_before} had been acknowledged"
            ));
        }
        let acknowledged = self.acknowledged.entry(partition).or_insert(-1);
        *acknowledged = (*acknowledged).max(offset);
    }

    /// Whether each of so many partitions has exactly one owner.
    pub(crate) fn is_settled(&self, partitions: i32) -> bool {
        (0..partitions).all(|each| self.owners.get(&each).is_some_and(|owners| owners.len() == 1))
    }

    /// The owners, for a message.
    pub(crate) fn owners(&self) -> String {
        format!("{:?}", self.owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(6);

    #[test]
    fn a_partition_given_twice_in_a_generation_is_a_fault() {
        let mut ledger = Ledger::default();
        ledger.given(1, 7, &[0, 1]);
        ledger.given(1, 7, &[0, 1]);
        ledger.given(2, 8, &[0, 1]);
        assert!(ledger.faults.is_empty());
        ledger.given(3, 8, &[1]);
        assert_eq!(ledger.faults.len(), 1);
    }

    #[test]
    fn a_partition_given_away_under_its_owner_is_a_fault() {
        let start = Instant::now();
        let mut ledger = Ledger::default();
        ledger.claimed(1, &[0, 1, 2], start, SESSION);
        ledger.released(1, &[0]);
        ledger.claimed(2, &[0], start, SESSION);
        // Its owner may have been given up by now.
        ledger.claimed(2, &[1], start + SESSION, SESSION);
        assert!(ledger.faults.is_empty());
        ledger.renewed(1, start + SESSION, SESSION);
        ledger.claimed(2, &[2], start + SESSION, SESSION);
        assert_eq!(ledger.faults.len(), 1);
    }

    #[test]
    fn commits_that_are_lost_or_move_back_are_faults() {
        let mut ledger = Ledger::default();
        ledger.sending(0, 4);
        ledger.committed(0, 4, -1);
        ledger.fetched(0, 4, 4);
        assert!(ledger.faults.is_empty());
        ledger.fetched(0, 3, 4);
        ledger.committed(0, 4, 4);
        ledger.fetched(0, 5, 4);
        assert_eq!(ledger.faults.len(), 3);
        assert_eq!(ledger.acknowledged(0), 4);
    }

    #[test]
    fn settled_is_one_owner_for_each_partition() {
        let mut ledger = Ledger::default();
        ledger.given(1, 1, &[0, 1]);
        assert!(ledger.is_settled(2) && !ledger.is_settled(3));
        ledger.given(2, 2, &[1]);
        assert!(!ledger.is_settled(2));
        ledger.released(1, &[0, 1]);
        ledger.given(2, 2, &[0]);
        assert!(ledger.is_settled(2));
    }
}
