//! Searches by timestamp without the log's lock: over copies of what the log knows of its segments,
//! and files that are opened for the search alone.

use super::Log;
use super::lookup::{Segments, TimestampFound, first_at, largest};
use crate::fault::Result;
use crate::segment::{At, Segment};
use jocko_disk::DiskRef;
use jocko_types::{Offset, Timestamp};
use std::path::PathBuf;

/// The segments of a log as they were when [`Log::search`] was called. It writes nothing; what it
/// finds holds if [`Log::confirm`] says so.
#[derive(Debug)]
pub struct TimestampSearch {
    disk: DiskRef,
    dir: PathBuf,
    /// From the one that holds the log's start on.
    segments: Vec<Segment>,
    log_start: Offset,
    upper: Offset,
    shape: u64,
}

impl TimestampSearch {
    /// As [`Log::offset_for_timestamp`].
    ///
    /// # Errors
    /// A disk fault, or damage, which may be that the log has changed meanwhile: ask under the
    /// lock.
    pub fn first_at(&mut self, target: Timestamp) -> Result<Option<TimestampFound>> {
        let bounds = (0, self.log_start, self.upper);
        first_at(self, bounds, target)
    }

    /// As [`Log::max_timestamp`].
    ///
    /// # Errors
    /// As [`TimestampSearch::first_at`].
    pub fn largest(&mut self) -> Result<Option<TimestampFound>> {
        let bounds = (0, self.log_start, self.upper);
        largest(self, bounds)
    }
}

impl Segments for TimestampSearch {
    fn at(&mut self, place: usize) -> Option<(&mut Segment, At<'_>)> {
        let at: At<'_> = (self.disk.as_ref(), &self.dir);
        self.segments.get_mut(place).map(|segment| (segment, at))
    }

    fn base(&self, place: usize) -> Option<Offset> {
        self.segments.get(place).map(|segment| segment.base)
    }

    /// A search may visit every segment of a long log: it keeps the files of none.
    fn leave(&mut self, place: usize) {
        if let Some(segment) = self.segments.get_mut(place) {
            segment.release();
        }
    }
}

impl Log {
    /// What a search below `upper` needs, to be made without the lock. Reads nothing.
    #[must_use]
    pub fn search(&self, upper: Offset) -> TimestampSearch {
        let wanted = self.segments.iter().skip(self.first_live());
        // One more than lies below: it tells where the last one ends.
        let count = wanted.clone().take_while(|segment| segment.base < upper).count() + 1;
        TimestampSearch {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            segments: wanted.take(count).map(Segment::lent).collect(),
            log_start: self.log_start,
            upper,
            shape: self.shape,
        }
    }

    /// Whether what a search has found still holds: nothing was cut or dropped meanwhile. If so,
    /// the log takes over what the search has learned of segments.
    #[must_use]
    pub fn confirm(&mut self, search: &TimestampSearch) -> bool {
        if search.shape != self.shape || search.log_start != self.log_start {
            return false;
        }
        let first = self.first_live();
        for (segment, copy) in self.segments.iter_mut().skip(first).zip(&search.segments) {
            segment.learn(copy);
        }
        true
    }
}
