//! Passes over all that is on disk, for damage that nobody has come upon: bits rot where nobody reads.

use crate::partition::Partition;
use jocko_commitlog::LogFault;
use jocko_types::Offset;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// Read at once: what a look may hold of memory.
const PIECE_BYTES: usize = 1 << 20;
/// What a look costs at least, however little it finds: a thousand empty partitions are no reason
/// to keep a worker for long.
const LOOK_BYTES: usize = 64 << 10;

/// One pass over partitions, a piece at a time. What it finds is noted ([`Partition::damage`]).
///
/// It keeps no partition alive, and passes over those that are gone, damaged already or unusable.
/// What is appended after it came to a partition is left to the next pass.
#[derive(Debug, Default)]
pub struct Scrub {
    waiting: VecDeque<Weak<Partition>>,
    at: Option<Place>,
}

/// How far it is in a partition.
#[derive(Debug)]
struct Place {
    partition: Weak<Partition>,
    next: Offset,
    /// What was durable when it came here.
    end: Offset,
}

impl Scrub {
    /// A pass over these, in their order.
    #[must_use]
    pub fn new<'a>(partitions: impl IntoIterator<Item = &'a Arc<Partition>>) -> Self {
        Self { waiting: partitions.into_iter().map(Arc::downgrade).collect(), at: None }
    }

    /// Whether all was looked at.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.at.is_none() && self.waiting.is_empty()
    }

    /// Looks at about `bytes_max` more, or at what is left. Reads with no lock held, and waits for
    /// the device: for workers. Opens logs that were not used since the start.
    pub fn step(&mut self, bytes_max: usize) {
        let mut left = bytes_max;
        while left > 0 && !self.is_over() {
            let read = self.look(left.min(PIECE_BYTES));
            left = left.saturating_sub(read.max(LOOK_BYTES));
        }
    }

    /// One look at one partition; yields how many bytes it read.
    fn look(&mut self, bytes_max: usize) -> usize {
        let Some(place) = self.at.take().or_else(|| self.waiting.pop_front().and_then(enter))
        else {
            return 0;
        };
        let Some(partition) = place.partition.upgrade() else { return 0 };
        match partition.check(place.next, bytes_max) {
            Ok(Some((next, read))) => {
                self.at = (next < place.end).then_some(Place { next, ..place });
                read
            }
            Ok(None) => 0,
            // It was noted, and told.
            Err(LogFault::Corrupt { .. }) => 0,
            Err(fault) => {
                tracing::warn!(
                    partition = %partition.name(), offset = place.next.get(), %fault,
                    "a copy cannot be looked through for damage; the next pass tries again"
                );
                0
            }
        }
    }
}

/// Begins with a partition, if there is something to look at.
fn enter(waiting: Weak<Partition>) -> Option<Place> {
    let partition = waiting.upgrade()?;
    if partition.damage().is_some() {
        return None;
    }
    if !partition.is_open() && (!partition.has_files() || partition.open().is_err()) {
        return None;
    }
    let end = partition.durable_end()?;
    Some(Place { partition: waiting, next: Offset::ZERO, end })
}
