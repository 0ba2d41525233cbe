//! The offset index of a segment: from an offset to a position close before it.
//!
//! An entry is (last offset of a batch, position of that batch), 8 bytes, relative to the
//! segment's base, as Kafka has it. Because an entry names a batch exactly, a reader who lands on
//! it can check it against the log: that is what stands in for checksums of index blocks.

use crate::entries::{Entries, Place};
use crate::fault::Result;
use crate::names::{self, Kind};
use crate::read::{Miss, Patience};
use jocko_disk::{Disk, FileRef};
use jocko_types::Offset;
use std::path::Path;

/// Bytes of one entry.
pub(crate) const ENTRY_BYTES: usize = 8;

/// A batch that the index names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The batch's last offset.
    pub(crate) last_offset: Offset,
    /// Where it starts.
    pub(crate) position: u64,
}

/// The offset index of one segment.
#[derive(Debug)]
pub(crate) struct OffsetIndex {
    base: Offset,
    entries: Entries<ENTRY_BYTES>,
}

impl OffsetIndex {
    /// The index of the segment at `base` whose file has `file_bytes` bytes.
    pub(crate) fn new(base: Offset, file_bytes: u64) -> Self {
        Self { base, entries: Entries::with_file_size(file_bytes) }
    }

    /// A copy for lookups without the log's lock.
    pub(crate) fn lent(&self) -> Self {
        Self { base: self.base, entries: self.entries.lent() }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.entries.size_bytes()
    }

    /// Whether `offset` lies close enough to the base to be written down.
    pub(crate) fn can_hold(&self, offset: Offset) -> bool {
        i32::try_from(self.base.distance_to(offset)).is_ok_and(|relative| relative >= 0)
    }

    /// Adds a batch. Both fields must be greater than the last entry's.
    pub(crate) fn push(&mut self, entry: Entry) {
        let relative = u32::try_from(self.base.distance_to(entry.last_offset))
            .expect("the log rolls before offsets outgrow the index");
        let position =
            u32::try_from(entry.position).expect("the log rolls before positions outgrow it");
        let mut bytes = [0; ENTRY_BYTES];
        let (first, second) = bytes.split_at_mut(4);
        first.copy_from_slice(&relative.to_be_bytes());
        second.copy_from_slice(&position.to_be_bytes());
        self.entries.push(bytes);
    }

    /// The last entry whose batch ends at or before `offset`.
    pub(crate) fn floor(
        &mut self,
        at: (&dyn Disk, &Path),
        offset: Offset,
        patience: Patience,
    ) -> std::result::Result<Option<Entry>, Miss> {
        let base = self.base;
        self.last_where(at, patience, |entry| decode(base, entry).last_offset <= offset)
    }

    /// The last entry whose batch starts at or before `position`.
    pub(crate) fn floor_position(
        &mut self,
        at: (&dyn Disk, &Path),
        position: u64,
        patience: Patience,
    ) -> std::result::Result<Option<Entry>, Miss> {
        let base = self.base;
        self.last_where(at, patience, |entry| decode(base, entry).position <= position)
    }

    /// The last entry of all.
    pub(crate) fn last(
        &mut self,
        at: (&dyn Disk, &Path),
        patience: Patience,
    ) -> std::result::Result<Option<Entry>, Miss> {
        self.last_where(at, patience, |_| true)
    }

    fn last_where(
        &mut self,
        (disk, dir): (&dyn Disk, &Path),
        patience: Patience,
        goes_before: impl Fn(&[u8; ENTRY_BYTES]) -> bool,
    ) -> std::result::Result<Option<Entry>, Miss> {
        if self.entries.len() == 0 {
            return Ok(None);
        }
        let path = names::path(dir, self.base, Kind::Index);
        let place = Place { disk, path: &path };
        let count = self.entries.partition_point(place, patience, goes_before)?;
        let Some(last) = count.checked_sub(1) else { return Ok(None) };
        let entry = self.entries.get(place, last, patience)?;
        Ok(entry.map(|entry| decode(self.base, &entry)))
    }

    /// Drops the entries of batches that start at or after `position`.
    pub(crate) fn truncate(&mut self, at: (&dyn Disk, &Path), position: u64) -> Result<()> {
        if self.entries.len() == 0 {
            return Ok(());
        }
        let base = self.base;
        let path = names::path(at.1, base, Kind::Index);
        let place = Place { disk: at.0, path: &path };
        let keep = self
            .entries
            .partition_point(place, Patience::Wait, |entry| decode(base, entry).position < position)
            .map_err(Miss::into_fault)?;
        self.entries.truncate(keep);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
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
        let path = names::path(dir, self.base, Kind::Index);
        self.entries.store(Place { disk, path: &path })
    }

    /// Replaces the file by what is in memory, durably.
    pub(crate) fn replace(&mut self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let path = names::path(dir, self.base, Kind::Index);
        self.entries.replace(Place { disk, path: &path })
    }

    pub(crate) fn file(&mut self, disk: &dyn Disk, dir: &Path) -> Result<FileRef> {
        let path = names::path(dir, self.base, Kind::Index);
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

fn decode(base: Offset, entry: &[u8; ENTRY_BYTES]) -> Entry {
    let [a, b, c, d, e, f, g, h] = *entry;
    Entry {
        last_offset: base.plus(i64::from(u32::from_be_bytes([a, b, c, d]))),
        position: u64::from(u32::from_be_bytes([e, f, g, h])),
    }
}
