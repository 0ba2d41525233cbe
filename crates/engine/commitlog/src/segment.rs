//! One segment: a `.log` file of batches and its two sparse indexes.
//!
//! Invariants: `size` ends a whole batch; every index entry names a batch below `size`; only the
//! last segment of a log is appended to.

use crate::compaction::Cleaned;
use crate::config::LogConfig;
use crate::fault::{LogFault, Result};
use crate::index::{Entry, OffsetIndex};
use crate::names::{self, Kind};
use crate::read::{Met, Miss, Patience, Walk};
use crate::time_index::{Reached, TimeIndex};
use jocko_disk::{Disk, FileRef, Open};
use jocko_records::BatchHeader;
use jocko_types::{Offset, Timestamp};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

/// Log bytes between two entries of an index that is rebuilt on use: Kafka's default.
const REBUILD_INTERVAL_BYTES: u32 = 4096;

/// Where a segment's files are.
pub(crate) type At<'a> = (&'a dyn Disk, &'a Path);

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// First offset it may hold, which names its files.
    pub(crate) base: Offset,
    /// Bytes of whole batches.
    pub(crate) size: u64,
    /// The offset after its last record; of a sealed segment met at opening, the next base.
    pub(crate) next: Offset,
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
    file: Option<FileRef>,
    reached: Option<Option<Reached>>,
    /// Largest timestamp of the first batch, from which its age counts; `None` if not yet known.
    first_timestamp: Option<Timestamp>,
    /// When it was created, or the log opened: the age of a segment without timestamps.
    opened_at: Timestamp,
    bytes_since_entry: u64,
    /// The index files were written since they were last synced; set of sealed segments only.
    pub(crate) indexes_unsynced: bool,
    /// An index file was missing when the segment was found.
    pub(crate) lacks_index: bool,
    /// A copy for a search without the log's lock, which must not write.
    is_lent: bool,
    /// Its files are open and must stay so: they do not have their names yet.
    is_pinned: bool,
}

/// A batch about to be written, with its offsets assigned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assigned<'a> {
    pub(crate) header: BatchHeader,
    /// Its bytes, in pieces.
    pub(crate) pieces: [&'a [u8]; 2],
}

impl Segment {
    /// A segment that has no file yet.
    pub(crate) fn empty(base: Offset, now: Timestamp) -> Self {
        Self {
            base,
            size: 0,
            next: base,
            offsets: OffsetIndex::new(base, 0),
            times: TimeIndex::new(base, 0),
            file: None,
            reached: Some(None),
            first_timestamp: None,
            opened_at: now,
            bytes_since_entry: 0,
            indexes_unsynced: false,
            lacks_index: false,
            is_lent: false,
            is_pinned: false,
        }
    }

    /// A segment found on disk, with the sizes of its three files. Nothing is read.
    pub(crate) fn found(
        base: Offset,
        next: Offset,
        (size, index_bytes, time_bytes): (u64, u64, u64),
        now: Timestamp,
    ) -> Self {
        Self {
            size,
            next,
            offsets: OffsetIndex::new(base, index_bytes),
            times: TimeIndex::new(base, time_bytes),
            reached: (size == 0).then_some(None),
            ..Self::empty(base, now)
        }
    }

    /// What compaction has written, while its files do not have their names yet.
    pub(crate) fn cleaned(cleaned: &Cleaned, now: Timestamp) -> Self {
        let (index_bytes, time_bytes) = cleaned.index_sizes;
        let sizes = (cleaned.size, index_bytes, time_bytes);
        let mut segment = Self::found(cleaned.base, cleaned.next, sizes, now);
        segment.restore(cleaned.reached, cleaned.first_timestamp);
        let [log, index, times] = cleaned.files.clone();
        segment.file = Some(log);
        segment.offsets.hold(index);
        segment.times.hold(times);
        segment.is_pinned = true;
        segment
    }

    /// Its files have their names.
    pub(crate) const fn unpin(&mut self) {
        self.is_pinned = false;
    }

    /// A copy for a search without the log's lock.
    pub(crate) fn lent(&self) -> Self {
        Self {
            offsets: self.offsets.lent(),
            times: self.times.lent(),
            file: self.file.clone(),
            is_lent: true,
            ..*self
        }
    }

    /// Takes over what a search has learned with a copy of this segment.
    pub(crate) fn learn(&mut self, copy: &Self) {
        if self.reached.is_none() && self.base == copy.base && self.size == copy.size {
            self.reached = copy.reached;
        }
    }

    /// What a sidecar remembers of the active segment.
    pub(crate) fn restore(&mut self, reached: Option<Reached>, first: Option<Timestamp>) {
        self.reached = Some(reached);
        self.first_timestamp = first;
    }

    /// Creates the files of an empty segment, as Kafka has all three from the start. An older file
    /// of that name, left by a crash, is emptied.
    pub(crate) fn create(&mut self, at: At<'_>) -> std::result::Result<(), jocko_disk::DiskFault> {
        let (disk, dir) = at;
        let file = disk.open(&names::path(dir, self.base, Kind::Log), Open::Create)?;
        file.set_size(0)?;
        for kind in [Kind::Index, Kind::TimeIndex] {
            disk.open(&names::path(dir, self.base, kind), Open::Create)?.set_size(0)?;
        }
        self.file = Some(file);
        Ok(())
    }

    /// The `.log` file, opened on first use.
    pub(crate) fn file(&mut self, (disk, dir): At<'_>) -> Result<FileRef> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => {
                let file = disk.open(&names::path(dir, self.base, Kind::Log), Open::Write)?;
                Ok(self.file.insert(file).clone())
            }
        }
    }

    /// Both index files, opened if need be, for a sync.
    pub(crate) fn index_files(&mut self, (disk, dir): At<'_>) -> Result<[FileRef; 2]> {
        Ok([self.offsets.file(disk, dir)?, self.times.file(disk, dir)?])
    }

    /// Whether it reads its log through this very handle.
    pub(crate) fn is_open_as(&self, file: &FileRef) -> bool {
        self.file.as_ref().is_some_and(|own| Arc::ptr_eq(own, file))
    }

    /// Descriptors held.
    pub(crate) fn open_files(&self) -> usize {
        usize::from(self.file.is_some())
            + usize::from(self.offsets.is_open())
            + usize::from(self.times.is_open())
    }

    /// The largest timestamp of the first batch, if it was met.
    pub(crate) const fn known_first_timestamp(&self) -> Option<Timestamp> {
        self.first_timestamp
    }

    /// Lets go of all descriptors; slices that were read keep theirs.
    pub(crate) fn release(&mut self) {
        if self.is_pinned {
            return;
        }
        self.file = None;
        self.offsets.release();
        self.times.release();
    }

    /// Why a batch of `bytes` ending at `last` with `timestamp` cannot go here any more, if so.
    pub(crate) fn is_full_for(
        &self,
        header: &BatchHeader,
        config: &LogConfig,
        now: Timestamp,
    ) -> bool {
        if self.size == 0 {
            return !self.offsets.can_hold(header.last_offset());
        }
        let bytes_max = u64::from(config.segment_bytes_max);
        let index_max = u64::from(config.index_bytes_max);
        self.size + header.size_bytes() as u64 > bytes_max
            || self.is_old(Some(header.max_timestamp), config, now)
            || self.offsets.size_bytes() + crate::index::ENTRY_BYTES as u64 > index_max
            || self.times.size_bytes() + crate::time_index::ENTRY_BYTES as u64 > index_max
            || !self.offsets.can_hold(header.last_offset())
    }

    /// Whether the segment has reached the age at which it is rolled. Age counts in record time
    /// from the first batch to the next, as in Kafka, or to `now` if none is coming.
    pub(crate) fn is_old(
        &self,
        incoming: Option<Timestamp>,
        config: &LogConfig,
        now: Timestamp,
    ) -> bool {
        let age_max = config.segment_age().saturating_sub(config.segment_jitter);
        let age = match self.first_timestamp {
            Some(first) if first > Timestamp::NONE => incoming.unwrap_or(now).millis_since(first),
            _ => now.millis_since(self.opened_at),
        };
        self.size > 0 && age > crate::config::millis(age_max)
    }

    /// Writes a batch at the end and takes note of it. On a fault the file may hold a part of it
    /// beyond `size`.
    pub(crate) fn append(
        &mut self,
        at: At<'_>,
        batch: &Assigned<'_>,
        index_interval_bytes: u32,
    ) -> Result<()> {
        let file = self.file(at)?;
        file.write_at(&batch.pieces.map(IoSlice::new), self.size)?;
        self.note(at, &Met { position: self.size, header: batch.header }, index_interval_bytes)
    }

    /// Cuts the file back to its last whole batch.
    pub(crate) fn cut_back(&mut self, at: At<'_>) -> Result<()> {
        Ok(self.file(at)?.set_size(self.size)?)
    }

    /// Cuts the segment to end before the batch at `position`, whose predecessor ends at `next`.
    pub(crate) fn truncate(&mut self, at: At<'_>, position: u64, next: Offset) -> Result<()> {
        self.file(at)?.set_size(position)?;
        self.offsets.truncate(at, position)?;
        self.times.truncate(at, next)?;
        self.size = position;
        self.next = next;
        self.reached = if position == 0 { Some(None) } else { None };
        if position == 0 {
            self.first_timestamp = None;
        }
        // The next batch gets an entry, so the distance between entries stays bounded.
        self.bytes_since_entry = u64::MAX / 2;
        self.find_reached(at)
    }

    /// Finds the largest timestamp again after a cut: the last entry's, or that of a later batch.
    fn find_reached(&mut self, at: At<'_>) -> Result<()> {
        let last = self.times.last(at, Patience::Wait).map_err(Miss::into_fault)?;
        let mut reached = last;
        let entry = self.offsets.last(at, Patience::Wait).map_err(Miss::into_fault)?;
        let (mut walk, _) = match entry {
            Some(entry) => self.walk_from(at, entry, Patience::Wait).map_err(Miss::into_fault)?,
            None => (Walk::new(self.file(at)?, 0, self.size, Patience::Wait), None),
        };
        while let Some(met) = walk.next().map_err(Miss::into_fault)? {
            let timestamp = met.header.max_timestamp;
            if reached.is_none_or(|before| timestamp > before.timestamp) {
                reached = Some(Reached { timestamp, last_offset: met.header.last_offset() });
            }
        }
        self.reached = Some(reached);
        Ok(())
    }

    /// Takes note of a batch that is at the end of the file, and indexes it if one is due.
    pub(crate) fn note(&mut self, at: At<'_>, met: &Met, index_interval_bytes: u32) -> Result<()> {
        self.index(at, met, index_interval_bytes)?;
        if self.offsets.is_due() || self.times.is_due() { self.store_indexes(at) } else { Ok(()) }
    }

    /// As [`Segment::note`], in memory only.
    pub(crate) fn index(&mut self, at: At<'_>, met: &Met, index_interval_bytes: u32) -> Result<()> {
        assert_eq!(met.position, self.size, "batches follow each other without a gap");
        let header = &met.header;
        let before = self.reached(at)?;
        let rises = before.is_none_or(|before| header.max_timestamp > before.timestamp);
        let here = Reached { timestamp: header.max_timestamp, last_offset: header.last_offset() };
        let reached = if rises { here } else { before.unwrap_or(here) };
        self.reached = Some(Some(reached));
        if self.size == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if self.bytes_since_entry > u64::from(index_interval_bytes) {
            self.offsets.push(Entry { last_offset: header.last_offset(), position: met.position });
            self.times.advance(at, reached)?;
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.size_bytes() as u64;
        self.size = met.end();
        self.next = header.next_offset();
        Ok(())
    }

    /// Writes index entries that are still in memory.
    pub(crate) fn store_indexes(&mut self, (disk, dir): At<'_>) -> Result<()> {
        self.offsets.store(disk, dir)?;
        self.times.store(disk, dir)
    }

    /// Whether the index files hold all there is.
    pub(crate) fn indexes_are_stored(&self) -> bool {
        self.offsets.is_stored() && self.times.is_stored()
    }

    /// Ends the indexes as Kafka expects of a segment that is not written to: the largest timestamp
    /// is the last entry, and the files have their exact size.
    pub(crate) fn seal(&mut self, at: At<'_>) -> Result<()> {
        if let Some(reached) = self.reached(at)? {
            self.times.advance(at, reached)?;
        }
        self.indexes_unsynced = true;
        self.store_indexes(at)
    }

    /// The largest timestamp in the segment and where it was first reached. Waits for the device
    /// the first time.
    ///
    /// Retention deletes by it, so what the index says is compared with the log.
    pub(crate) fn reached(&mut self, at: At<'_>) -> Result<Option<Reached>> {
        if let Some(reached) = self.reached {
            return Ok(reached);
        }
        let last = self.times.last(at, Patience::Wait).map_err(Miss::into_fault)?;
        if !self.is_true(at, last)? {
            self.rebuild_indexes(at)?;
            return Ok(self.reached.flatten());
        }
        self.reached = Some(last);
        Ok(last)
    }

    /// Whether the log has that timestamp where an entry of the time index says; none is false of
    /// a segment that holds anything.
    pub(crate) fn is_true(&mut self, at: At<'_>, entry: Option<Reached>) -> Result<bool> {
        let Some(entry) = entry else { return Ok(self.size == 0) };
        let met = self.locate(at, entry.last_offset, Patience::Wait).map_err(Miss::into_fault)?;
        Ok(met.is_some_and(|met| met.header.max_timestamp == entry.timestamp))
    }

    /// The largest timestamp of the first batch, read from the file if need be.
    pub(crate) fn load_first_timestamp(&mut self, at: At<'_>) -> Result<()> {
        if self.first_timestamp.is_none() && self.size > 0 {
            let file = self.file(at)?;
            let first = Walk::new(file, 0, self.size, Patience::Wait).next();
            let first = first.map_err(Miss::into_fault)?;
            self.first_timestamp = first.map(|met| met.header.max_timestamp);
        }
        Ok(())
    }

    /// Whether one batch is all it holds.
    pub(crate) fn is_one_batch(&mut self, at: At<'_>) -> Result<bool> {
        if self.size == 0 {
            return Ok(false);
        }
        let file = self.file(at)?;
        let first = Walk::new(file, 0, self.size, Patience::Wait).next();
        Ok(first.map_err(Miss::into_fault)?.is_some_and(|met| met.end() == self.size))
    }

    /// A walk from a batch that ends before `offset`, as close as the index knows one, and that
    /// batch; from the start if there is none.
    ///
    /// An entry that does not name the batch it points to is damage in the index, which is then
    /// rebuilt from the log before it is asked again.
    pub(crate) fn walk_to(
        &mut self,
        at: At<'_>,
        offset: Offset,
        patience: Patience,
    ) -> std::result::Result<(Walk, Option<Met>), Miss> {
        let before = Offset::new(offset.get().saturating_sub(1));
        match self.offsets.floor(at, before, patience)? {
            Some(entry) => self.walk_from(at, entry, patience),
            None => Ok((Walk::new(self.file(at)?, 0, self.size, patience), None)),
        }
    }

    /// A walk from the batch that starts at `position`.
    pub(crate) fn walk_at(
        &mut self,
        at: At<'_>,
        position: u64,
        patience: Patience,
    ) -> Result<Walk> {
        Ok(Walk::new(self.file(at)?, position, self.size, patience))
    }

    /// A walk from the batch that `entry` names, which it starts behind.
    pub(crate) fn walk_from(
        &mut self,
        at: At<'_>,
        entry: Entry,
        patience: Patience,
    ) -> std::result::Result<(Walk, Option<Met>), Miss> {
        let file = self.file(at)?;
        let mut walk = Walk::new(file.clone(), entry.position, self.size, patience);
        match walk.next() {
            Ok(Some(met)) if met.header.last_offset() == entry.last_offset => Ok((walk, Some(met))),
            Err(Miss::Cold(cold)) => Err(Miss::Cold(cold)),
            _ => {
                self.rebuild_indexes(at)?;
                Ok((Walk::new(file, 0, self.size, patience), None))
            }
        }
    }

    /// Writes both indexes anew from the headers of the log, durably.
    pub(crate) fn rebuild_indexes(&mut self, at: At<'_>) -> Result<()> {
        if self.is_lent {
            // Whoever holds the lock meets the same damage, and mends it.
            return Err(LogFault::Corrupt {
                path: names::path(at.1, self.base, Kind::Index),
                position: 0,
                offset: self.base,
                reason: "the index does not fit the log".to_owned(),
            });
        }
        let (size, next) = (self.size, self.next);
        let mut walk = Walk::new(self.file(at)?, 0, size, Patience::Wait);
        let mut anew = Self::empty(self.base, self.opened_at);
        anew.offsets.clear();
        anew.times.clear();
        while let Some(met) = walk.next().map_err(Miss::into_fault)? {
            if met.header.base_offset < anew.next
                || !anew.offsets.can_hold(met.header.last_offset())
            {
                return Err(LogFault::Corrupt {
                    path: names::path(at.1, self.base, Kind::Log),
                    position: met.position,
                    offset: anew.next,
                    reason: format!("offset {} cannot follow here", met.header.base_offset),
                });
            }
            anew.index(at, &met, REBUILD_INTERVAL_BYTES)?;
        }
        if let Some(Some(reached)) = anew.reached {
            anew.times.advance(at, reached)?;
        }
        anew.offsets.replace(at.0, at.1)?;
        anew.times.replace(at.0, at.1)?;
        assert_eq!(anew.size, size, "the walk met every byte");
        *self = Self { file: self.file.take(), next, ..anew };
        Ok(())
    }

    /// Forgets what the indexes and the batches say; the scan that follows tells it again.
    pub(crate) fn reset(&mut self) {
        self.offsets.clear();
        self.times.clear();
        self.size = 0;
        self.next = self.base;
        self.reached = Some(None);
        self.first_timestamp = None;
        self.bytes_since_entry = 0;
    }

    /// The last offset of the last batch in the index that ends before `offset`; the base if there
    /// is none.
    pub(crate) fn interval_before(
        &mut self,
        at: At<'_>,
        offset: Offset,
    ) -> std::result::Result<Offset, Miss> {
        let before = Offset::new(offset.get().saturating_sub(1));
        let entry = self.offsets.floor(at, before, Patience::Wait)?;
        Ok(entry.map_or(self.base, |entry| entry.last_offset))
    }

    /// The first batch that ends at or after `offset`; `None` if all end before.
    pub(crate) fn locate(
        &mut self,
        at: At<'_>,
        offset: Offset,
        patience: Patience,
    ) -> std::result::Result<Option<Met>, Miss> {
        let (mut walk, _) = self.walk_to(at, offset, patience)?;
        while let Some(met) = walk.next()? {
            if met.header.last_offset() >= offset {
                return Ok(Some(met));
            }
        }
        Ok(None)
    }
}
