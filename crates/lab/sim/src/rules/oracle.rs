//! What must never happen, and how much happened.

use super::log::{Entry, ToyLog};
use jocko_types::LeaderEpoch;
use std::collections::BTreeMap;

/// What a partition's histories must agree on.
#[derive(Debug, Default)]
struct Truth {
    /// The value at each offset that was below a leader's high watermark.
    committed: Vec<u64>,
    /// What each leader wrote where.
    written: BTreeMap<(i64, LeaderEpoch), u64>,
    /// The highest end named to clients in each leader epoch.
    named: BTreeMap<LeaderEpoch, i64>,
    /// Acknowledged with acks=all.
    acked: BTreeMap<i64, u64>,
}

/// Knows everything that was promised, and notices the first promise that is broken.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    truths: BTreeMap<i32, Truth>,
    /// The first thing that went wrong.
    pub(super) violation: Option<String>,
}

impl Oracle {
    pub(super) fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn truth(&mut self, partition: i32) -> &mut Truth {
        self.truths.entry(partition).or_default()
    }

    /// How far a partition is committed.
    pub(super) fn committed_end(&self, partition: i32) -> i64 {
        let count = self.truths.get(&partition).map_or(0, |truth| truth.committed.len());
        i64::try_from(count).expect("few records")
    }

    /// A leader appended: P-5, no two values at one offset and epoch.
    pub(super) fn wrote(&mut self, partition: i32, offset: i64, entry: Entry) {
        let before = self.truth(partition).written.insert((offset, entry.epoch), entry.value);
        if before.is_some_and(|value| value != entry.value) {
            self.fail(format!(
                "P-5: partition {partition} offset {offset} has two values in epoch {}",
                entry.epoch
            ));
        }
    }

    /// A replica says that everything below `end` is committed. A leader extends what is known; a
    /// follower may only repeat it.
    pub(super) fn exposes(
        &mut self,
        partition: i32,
        log: &ToyLog,
        from: i64,
        end: i64,
        is_leader: bool,
    ) {
        for offset in from.max(log.start())..end {
            let Some(entry) = log.get(offset) else {
                return self.fail(format!("P-1: partition {partition} has no record {offset}"));
            };
            let truth = self.truth(partition);
            let known = usize::try_from(offset).ok().and_then(|at| truth.committed.get(at));
            match known {
                Some(value) if *value == entry.value => {}
                Some(value) => {
                    let what = format!(
                        "P-5: partition {partition} offset {offset} was {value}, is {}",
                        entry.value
                    );
                    return self.fail(what);
                }
                None if is_leader => truth.committed.push(entry.value),
                None => {
                    let what = format!(
                        "a follower shows offset {offset} of partition {partition}, which no leader \
                         has committed"
                    );
                    return self.fail(what);
                }
            }
        }
    }

    /// A producer was told that its record is safe.
    pub(super) fn acked(&mut self, partition: i32, offset: i64, value: u64) {
        let truth = self.truth(partition);
        truth.acked.insert(offset, value);
        let committed = usize::try_from(offset).ok().and_then(|at| truth.committed.get(at));
        if committed != Some(&value) {
            self.fail(format!(
                "P-3: offset {offset} of partition {partition} acknowledged, not committed"
            ));
        }
    }

    /// A client was told where the log ends: never less than in this epoch or one before.
    pub(super) fn named(&mut self, partition: i32, epoch: LeaderEpoch, end: i64) {
        let truth = self.truth(partition);
        let before = truth.named.range(..=epoch).map(|(_, end)| *end).max().unwrap_or(0);
        let named = truth.named.entry(epoch).or_default();
        *named = (*named).max(end);
        if end < before {
            self.fail(format!(
                "partition {partition} ends at {end} in epoch {epoch}; clients have seen {before}"
            ));
        }
    }

    /// A replica that is said to hold all that is committed must (P-3). `held` is how far it counts.
    pub(super) fn holds(&mut self, partition: i32, who: &str, log: &ToyLog, held: i64) {
        let Some(truth) = self.truths.get(&partition) else { return };
        let end = i64::try_from(truth.committed.len()).expect("few records");
        if held < end {
            return self.fail(format!(
                "P-3: {who} of partition {partition} holds {held} of {end} committed records"
            ));
        }
        for (value, offset) in truth.committed.iter().zip(0_i64..) {
            if offset >= log.start() && log.get(offset).map(|entry| entry.value) != Some(*value) {
                return self.fail(format!(
                    "P-3: {who} of partition {partition} has another record at {offset}"
                ));
            }
        }
    }

    /// At the end: every acknowledged record is there.
    pub(super) fn acked_count(&self) -> u64 {
        self.truths.values().map(|truth| truth.acked.len() as u64).sum()
    }
}

/// Declares the counters with their names.
macro_rules! coverage {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// How often what a run must contain has happened; a run without is no proof (DR29).
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Coverage { $($(#[$doc])* pub $name: u64),* }

        impl Coverage {
            /// The sum of both.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// Every counter by its name.
            #[must_use]
            pub fn counters(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

coverage! {
    /// Records acknowledged with acks=all.
    acknowledged,
    /// Reads answered.
    reads,
    /// Changes of leaders.
    elections,
    /// Leaders elected among the eligible, not the in-sync.
    eligible_elections,
    /// Partitions left without a leader.
    leaderless,
    /// In-sync sets that became smaller by a leader's word.
    isr_shrinks,
    /// And larger.
    isr_expansions,
    /// Proposals that were refused.
    proposals_refused,
    /// Proposals of whose fate nobody heard.
    proposals_unknown,
    /// Fetches told that the logs part.
    divergences,
    /// Logs cut, with records lost by it.
    truncations,
    /// Logs begun anew because the leader's starts later.
    restarts_at_start,
    /// Followers refused for their leader epoch.
    fenced_fetches,
    /// Followers refused for an older process.
    stale_processes,
    /// Processes killed.
    kills,
    /// Power cuts: what was not synced is lost.
    unclean_restarts,
    /// Disks wiped.
    wipes,
    /// Brokers fenced for their silence.
    fencings,
    /// Orderly stops that were granted.
    orderly_stops,
    /// Reassignments completed.
    reassignments,
    /// Messages lost.
    lost,
    /// Messages that arrived twice.
    doubled,
    /// Links cut.
    cuts,
}
