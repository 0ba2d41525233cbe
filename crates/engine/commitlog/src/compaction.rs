//! Log compaction: of each key the newest record stays (KIP-58, 71, 354, 534).
//!
//! A pass reads the dirty segments into a map from key to newest offset, then writes every segment
//! below the map's end anew without the records that the map knows a newer one of. Offsets are
//! never renumbered. All of this works on copies, beside the log: the log's lock is taken to look,
//! and for the renames that put a copy in place of its sources. Rules, files and crash states:
//! docs/internals/compaction.md.
//!
//! Invariants: C-1 a key's newest record below the bound stays, unless it is a tombstone that was
//! cleaned before and whose delete horizon has passed. C-2 nothing at or above the bound, which is
//! the least of high watermark, last stable offset, durable end and active segment, is touched.
//! C-3 the last batch of a written segment stays, if only its header, so that a segment ends where
//! its sources did.

mod copy;
mod dirt;
mod group;
mod key_map;
mod mark;
mod pass;
mod source;
mod swap;
mod unfinished;

pub(crate) use copy::Cleaned;
pub(crate) use mark::{Mark, NAME as MARK};
pub(crate) use swap::Swap;
pub(crate) use unfinished::{finish_swaps, is_unfinished};

pub use dirt::Dirt;
pub use pass::{Access, compact};

use crate::log::Log;
use jocko_types::{Offset, Timestamp};
use std::time::Duration;

/// What a topic's settings say about compaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompactionConfig {
    /// `min.compaction.lag.ms`: younger records are left alone.
    pub lag_min: Duration,
    /// `max.compaction.lag.ms`: older ones are not left waiting, if it is set.
    pub lag_max: Option<Duration>,
    /// `min.cleanable.dirty.ratio`: the share of dirty bytes that makes a pass worth its while.
    pub dirty_ratio_min: f64,
    /// `delete.retention.ms`: how long a tombstone stays after it was first cleaned.
    pub delete_retention: Duration,
}

impl Default for CompactionConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            lag_min: Duration::ZERO,
            lag_max: None,
            dirty_ratio_min: 0.5,
            delete_retention: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// One pass, as its caller wants it.
#[derive(Debug, Clone, Copy)]
pub struct CompactionRequest {
    /// The least of high watermark and last stable offset.
    pub upper: Offset,
    /// The wall clock.
    pub now: Timestamp,
    /// Bytes that the map of keys may take.
    pub map_bytes_max: usize,
    /// The most that a batch may unpack to; larger ones are kept as they are.
    pub decompressed_bytes_max: u64,
    /// Keys the hash of this pass. Random and secret, so that nobody can make keys that collide.
    pub seed: [u64; 2],
}

/// How a pass ended, unless by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompactionEnd {
    /// There was nothing to clean.
    Idle,
    /// It came to its end.
    Done(Compacted),
    /// It was told to stop, the log is gone, or it was cut or deleted from meanwhile. Segments that
    /// were replaced until then stay so.
    Interrupted(Compacted),
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Everything below is clean now.
    pub cleaned_to: Offset,
    /// Bytes read, twice where a segment was dirty.
    pub bytes_read: u64,
    /// Bytes of the segments that were replaced.
    pub bytes_before: u64,
    /// Bytes of what replaced them.
    pub bytes_after: u64,
    /// Segments that were replaced.
    pub segments_before: u64,
    /// Segments that replaced them.
    pub segments_after: u64,
    /// Records left out, tombstones among them.
    pub records_dropped: u64,
    /// Tombstones left out because their time was over.
    pub tombstones_dropped: u64,
    /// Records without a key, which a compacted log cannot place: left out.
    pub keyless_dropped: u64,
    /// Batches kept as they are because they unpack to too much.
    pub batches_unread: u64,
    /// Keys in the map.
    pub keys: u64,
    /// Whether the map was too small for all that is dirty, so that another pass is due.
    pub is_partial: bool,
}

impl Compacted {
    /// Bytes won.
    #[must_use]
    pub const fn bytes_reclaimed(&self) -> u64 {
        self.bytes_before.saturating_sub(self.bytes_after)
    }
}

/// What a log knows about its own compaction.
#[derive(Debug, Default)]
pub(crate) struct Cleaning {
    /// Whether, and up to where, the log was ever compacted.
    pub(crate) mark: Option<Mark>,
    /// Copies that are being put in place.
    pub(crate) swap: Option<Swap>,
    /// Counts truncations: a pass that began before one is void.
    pub(crate) cuts: u64,
}

impl Log {
    /// Up to where offsets may be missing between batches without being lost. What is below the
    /// recovery point was durable: where somebody else compacted it, a gap there is theirs.
    pub(crate) fn gaps_allowed_to(&self, recovery_point: Offset) -> Offset {
        let marked = self.cleaning.mark.map_or(Offset::ZERO, |mark| mark.gaps_to);
        let lawful = marked.max(self.followed_to);
        if self.config.compacts { lawful.max(recovery_point) } else { lawful }
    }

    /// Everything below was compacted; `None` if nothing ever was.
    #[must_use]
    pub fn compacted_to(&self) -> Option<Offset> {
        self.cleaning.mark.map(|mark| mark.cleaned_to)
    }
}

#[cfg(test)]
mod tests;
