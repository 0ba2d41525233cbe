//! Positions the log remembers so that the common reads touch neither index nor file: the newest
//! batches, for tail reads and for a high watermark near the end, and where recent reads stopped,
//! for consumers that read on.

use jocko_types::Offset;
use std::collections::VecDeque;

/// Newest batches remembered.
const BATCHES_MAX: usize = 128;
/// Ends of recent reads remembered.
const CURSORS_MAX: usize = 16;

/// A batch and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Base offset of its segment.
    pub(crate) segment: Offset,
    pub(crate) position: u64,
    pub(crate) last_offset: Offset,
}

/// The remembered positions of one log.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    /// Contiguous, oldest first; the last one ends at the log's end.
    batches: VecDeque<Placed>,
    /// (offset a reader wants next, its segment, its position), newest last.
    cursors: VecDeque<(Offset, Offset, u64)>,
}

impl Positions {
    /// Takes note of the batch that now ends the log.
    pub(crate) fn appended(&mut self, batch: Placed) {
        if self.batches.len() == BATCHES_MAX {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }

    /// Takes note of where a read stopped.
    pub(crate) fn stopped(&mut self, next: Offset, segment: Offset, position: u64) {
        if let Some(at) = self.cursors.iter().position(|(offset, ..)| *offset == next) {
            self.cursors.remove(at);
        } else if self.cursors.len() == CURSORS_MAX {
            self.cursors.pop_front();
        }
        self.cursors.push_back((next, segment, position));
    }

    /// The batch that holds `offset` (or, where a gap does, the next one), in `segment`.
    pub(crate) fn locate(&self, segment: Offset, offset: Offset) -> Option<u64> {
        let at = self.batches.partition_point(|batch| batch.last_offset < offset);
        // The first remembered batch may not be the first that ends at or after the offset, unless
        // the offset lies behind its predecessor's end, which is forgotten.
        if at > 0
            && let Some(batch) = self.batches.get(at)
        {
            return (batch.segment == segment).then_some(batch.position);
        }
        let cursor = self.cursors.iter().rfind(|cursor| cursor.0 == offset && cursor.1 == segment);
        cursor.map(|cursor| cursor.2)
    }

    /// The last batch of `segment` that starts at or before `position`, if it is remembered.
    pub(crate) fn floor_position(&self, segment: Offset, position: u64) -> Option<Placed> {
        let at = self
            .batches
            .partition_point(|batch| (batch.segment, batch.position) <= (segment, position));
        let batch = self.batches.get(at.checked_sub(1)?)?;
        (batch.segment == segment).then_some(*batch)
    }

    /// Forgets positions in segments that are replaced.
    pub(crate) fn forget(&mut self, goes: impl Fn(Offset) -> bool) {
        // Sealed segments come first, so that what stays is still without a gap.
        self.batches.retain(|batch| !goes(batch.segment));
        self.cursors.retain(|(_, segment, _)| !goes(*segment));
    }

    /// Forgets everything: after a truncation.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.cursors.clear();
    }
}
