//! What the group counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters that only rise, written where things happen.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    flushes: AtomicU64,
    flush_nanos: AtomicU64,
    proposals: AtomicU64,
    proposals_refused: AtomicU64,
}

impl Counters {
    pub(crate) fn flushed(&self, took: Duration) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.flush_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn proposed(&self, refused: bool) {
        let counter = if refused { &self.proposals_refused } else { &self.proposals };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn flushes(&self) -> (u64, Duration) {
        let nanos = self.flush_nanos.load(Ordering::Relaxed);
        (self.flushes.load(Ordering::Relaxed), Duration::from_nanos(nanos))
    }

    pub(crate) fn proposals(&self) -> (u64, u64) {
        let refused = self.proposals_refused.load(Ordering::Relaxed);
        (self.proposals.load(Ordering::Relaxed), refused)
    }
}

/// A look at the group, for `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftMetrics {
    /// The newest term this node has seen.
    pub term: u64,
    /// Whether this node leads.
    pub is_leader: bool,
    /// Voters of the group.
    pub voters: usize,
    /// The last entry in the log.
    pub last_index: Option<u64>,
    /// The last committed entry.
    pub commit_index: Option<u64>,
    /// The last applied entry.
    pub applied_index: Option<u64>,
    /// The last entry covered by the newest snapshot.
    pub snapshot_index: Option<u64>,
    /// The last entry removed from the front of the log.
    pub purged_index: Option<u64>,
    /// Proposals that were applied.
    pub proposals: u64,
    /// Proposals that were refused, failed or lost.
    pub proposals_refused: u64,
    /// Flushes of the log.
    pub flushes: u64,
    /// Time spent in them.
    pub flush_time: Duration,
}
