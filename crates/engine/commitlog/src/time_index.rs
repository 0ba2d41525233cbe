//! The time index of a segment: from a timestamp to the offset where it was first reached.
//!
//! An entry is (largest timestamp so far, last offset of the batch that brought it), 12 bytes, as
//! Kafka has it; timestamps strictly ascend. The last entry of a sealed segment tells the largest
//! timestamp in it.

use crate::entries::{Entries, Place};
use crate::fault::Result;
use crate::names::{self, Kind};
use crate::read::{Miss, Patience};
use jocko_disk::{Disk, FileRef};
use jocko_types::{Offset, Timestamp};
use std::path::Path;

/// Bytes of one entry.
pub(crate) const ENTRY_BYTES: usize = 12;

/// A timestamp and where it was first reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The largest timestamp up to there.
    pub(crate) timestamp: Timestamp,
    /// The last offset of the batch that brought it.
    pub(crate) last_offset: Offset,
}

/// The time index of one segment.
#[derive(Debug)]
pub(crate) struct TimeIndex {
    base: Offset,
    entries: Entries<ENTRY_BYTES>,
    /// The newest entry's timestamp, once known.
    last: Option<Timestamp>,
}

impl TimeIndex {
    /// The index of the segment at `base` whose file has `file_bytes` bytes.
    pub(crate) fn new(base: Offset, file_bytes: u64) -> Self {
        Self { base, entries: Entries::with_file_size(file_bytes), last: None }
    }

    /// A copy for lookups without the log's lock.
    pub(crate) fn lent(&self) -> Self {
        Self { base: self.base, entries: self.entries.lent(), last: self.last }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.entries.size_bytes()
    }

    /// Adds an entry if its timestamp is larger than the last one's.
    pub(crate) fn advance(&mut self, at: (&dyn Disk, &Path), reached: Reached) -> Result<()> {
        let last = match self.last {
            Some(last) => Some(last),
            None => self.last(at, Patience::Wait).map_err(Miss::into_fault)?.map(|e| e.timestamp),
        };
        if last.is_some_and(|last| reached.timestamp <= last)
            || reached.timestamp == Timestamp::NONE
        {
            self.last = last;
            return Ok(());
        }
        let relative = u32::try_from(self.base.distance_to(reached.last_offset))
            .expect("the log rolls before offsets outgrow the index");
        let mut bytes = [0; ENTRY_BYTES];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&reached.timestamp.as_millis().to_be_bytes());
        second.copy_from_slice(&relative.to_be_bytes());
        self.entries.push(bytes);
        self.last = Some(reached.timestamp);
        Ok(())
    }

    /// The entries around `timestamp`: the last that is smaller, and the first that is not.
    pub(crate) fn around(
        &mut self,
        (disk, dir): (&dyn Disk, &Path),
        timestamp: Timestamp,
        patience: Patience,
    ) -> std::result::Result<(Option<Reached>, Option<Reached>), Miss> {
        if self.entries.len() == 0 {
            return Ok((None, None));
        }
        let base = self.base;
        let path = names::path(dir, base, Kind::TimeIndex);
        let place = Place { disk, path: &path };
        let count = self
            .entries
            .partition_point(place, patience, |entry| decode(base, entry).timestamp < timestamp)?;
        let before = match count.checked_sub(1) {
            Some(at) => self.entries.get(place, at, patience)?,
            None => None,
        };
        let after = self.entries.get(place, count, patience)?;
        Ok((before.map(|entry| decode(base, &entry)), after.map(|entry| decode(base, &entry))))
    }

    /// The last entry whose batch ends at or before `offset`.
    pub(crate) fn up_to(
        &mut self,
        (disk, dir): (&dyn Disk, &Path),
        offset: Offset,
        patience: Patience,
    ) -> std::result::Result<Option<Reached>, Miss> {
        if self.entries.len() == 0 {
            return Ok(None);
        }
        let base = self.base;
        let path = names::path(dir, base, Kind::TimeIndex);
        let place = Place { disk, path: &path };
        let count = self
            .entries
            .partition_point(place, patience, |entry| decode(base, entry).last_offset <= offset)?;
        let Some(at) = count.checked_sub(1) else { return Ok(None) };
        let entry = self.entries.get(place, at, patience)?;
        Ok(entry.map(|entry| decode(base, &entry)))
    }

    /// The last entry of all.
    pub(crate) fn last(
        &mut self,
        (disk, dir): (&dyn Disk, &Path),
        patience: Patience,
    ) -> std::result::Result<Option<Reached>, Miss> {
        let Some(at) = self.entries.len().checked_sub(1) else { return Ok(None) };
        let path = names::path(dir, self.base, Kind::TimeIndex);
        let entry = self.entries.get(Place { disk, path: &path }, at, patience)?;
        Ok(entry.map(|entry| decode(self.base, &entry)))
    }

    /// Drops the entries whose batch ends at or after `offset`.
    pub(crate) fn truncate(&mut self, at: (&dyn Disk, &Path), offset: Offset) -> Result<()> {
        self.last = None;
        if self.entries.len() == 0 {
            return Ok(());
        }
        let base = self.base;
        let path = names::path(at.1, base, Kind::TimeIndex);
        let place = Place { disk: at.0, path: &path };
        let keep = self
            .entries
            .partition_point(place, Patience::Wait, |entry| {
                decode(base, entry).last_offset < offset
            })
            .map_err(Miss::into_fault)?;
        self.entries.truncate(keep);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.last = None;
        self.entries.clear();
    }

    pub(crate) fn is_due(&self) -> bool {
        self.entries.is_due()
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.entries.is_stored()
    }

    /// Writes what is in memory.
    pub(crate) fn store(&mut self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let path = names::path(dir, self.base, Kind::TimeIndex);
        self.entries.store(Place { disk, path: &path })
    }

    /// Replaces the file by what is in memory, durably.
    pub(crate) fn replace(&mut self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let path = names::path(dir, self.base, Kind::TimeIndex);
        self.entries.replace(Place { disk, path: &path })
    }

    pub(crate) fn file(&mut self, disk: &dyn Disk, dir: &Path) -> Result<FileRef> {
        let path = names::path(dir, self.base, Kind::TimeIndex);
        self.entries.file(Place { disk, path: &path })
    }

    /// The whole index, none of which may have been written yet.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.entries.bytes()
    }

    /// Looks up in this file, whatever its name is by now.
    pub(crate) fn hold(&mut self, file: FileRef) {
        self.entries.hold(file);
    }

    pub(crate) fn release(&mut self) {
        self.entries.release();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.entries.is_open()
    }
}

fn decode(base: Offset, entry: &[u8; ENTRY_BYTES]) -> Reached {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
    Reached {
        timestamp: Timestamp::from_millis(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
        last_offset: base.plus(i64::from(u32::from_be_bytes([i, j, k, l]))),
    }
}
