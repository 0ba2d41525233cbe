//! Cutting the log at either end.

use super::Log;
use crate::config::millis;
use crate::fault::{LogFault, Result};
use crate::names;
use crate::read::{Miss, Patience};
use crate::recovery;
use jocko_disk::{FaultKind, write_atomically};
use jocko_types::{Offset, Timestamp};

/// What became of a wish to move the log's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOutcome {
    /// It is there now, or was beyond already.
    Moved {
        /// Where the log starts.
        log_start: Offset,
    },
    /// The wish lies after the log's end (`OFFSET_OUT_OF_RANGE`).
    OutOfRange {
        /// The log's end.
        log_end: Offset,
    },
}

impl Log {
    /// Cuts every record from `offset` on: those of a leader that others did not follow, or of a
    /// Raft term that lost. A batch that `offset` splits is cut whole. Epochs, producers and
    /// indexes go back as well, epochs also where the log ends at `offset` already. Returns the new
    /// end. Durable when this returns: were the cut of one
    /// file lost and a later write to the next one kept, old and new records would mix.
    ///
    /// # Errors
    /// The latch; a disk fault, which latches, unless the disk was too full for what has to be noted
    /// before the cut: then nothing was cut, and it can be asked for again.
    pub fn truncate_to(&mut self, offset: Offset, now: Timestamp) -> Result<Offset> {
        self.check_latch()?;
        if offset >= self.next {
            // Leaders that were announced and have written nothing.
            if self.epochs.truncate_end(self.next) {
                self.note_epochs();
            }
            return Ok(self.next);
        }
        let shape = self.shape;
        let truncated = self.cut_from(offset, now);
        self.or_latch_once_begun(shape, truncated)
    }

    /// As [`Log::or_latch`], but for a disk that was too full to begin: the log has the `shape` it had.
    fn or_latch_once_begun<T>(&mut self, shape: u64, result: Result<T>) -> Result<T> {
        if self.shape == shape && result.as_ref().is_err_and(LogFault::is_want_of_room) {
            return result;
        }
        self.or_latch(result)
    }

    fn cut_from(&mut self, offset: Offset, now: Timestamp) -> Result<Offset> {
        self.settle_swap()?;
        let place = self.segment_of(offset).unwrap_or(0);
        let Some((segment, at)) = self.segment(place) else {
            self.start_over_at(offset, now)?;
            return Ok(offset);
        };
        let met = segment.locate(at, offset, Patience::Wait).map_err(Miss::into_fault)?;
        let end = met.map_or(segment.next, |met| met.header.base_offset.min(offset));
        if end <= self.log_start {
            self.start_over_at(end, now)?;
            return Ok(end);
        }
        self.limit_mark(end)?;
        self.limit_followed(end)?;
        let had_producers = !self.producers.is_empty();
        self.flushing.expect_checkpoint(self.log_start);
        if end < self.flushing.checkpointed {
            self.write_recovery_bound(end)?;
        }
        // All that needs room is written.
        self.shape += 1;
        self.positions.clear();
        if let Some(after) = self.segments.get(place + 1).map(|segment| segment.base) {
            self.drop_segments_from(after)?;
        }
        let Some((segment, at)) = self.segment(place) else { return Ok(self.next) };
        if let Some(met) = met {
            segment.truncate(at, met.position, end)?;
        }
        segment.file(at)?.sync_data()?;
        self.next = end;
        // Before the sync: a snapshot of records that lost must not come back.
        self.drop_snapshots_after(end)?;
        self.disk.sync_dir(&self.dir)?;
        self.flushing.truncated(end);
        if self.epochs.truncate_end(end) {
            self.note_epochs();
        }
        self.last_batch = self.find_last_batch()?;
        if had_producers {
            recovery::reload_producers(self, now)?;
        }
        Ok(end)
    }

    /// Drops everything and begins anew at `offset`: for a follower whose leader has nothing
    /// before it, and for a log whose past a snapshot replaced. Durable when this returns.
    ///
    /// # Errors
    /// As [`Log::truncate_to`].
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset, now: Timestamp) -> Result<()> {
        self.check_latch()?;
        let shape = self.shape;
        let done = self.start_over_at(offset, now);
        self.or_latch_once_begun(shape, done)
    }

    fn start_over_at(&mut self, offset: Offset, now: Timestamp) -> Result<()> {
        self.settle_swap()?;
        self.flushing.expect_checkpoint(self.log_start);
        if self.folder_exists {
            // Were this lost half-way, what is left of the old segments would not join the new
            // one: the note makes the next start finish the work.
            write_atomically(
                self.disk.as_ref(),
                &self.dir.join(names::BOUND),
                &recovery::encode_bound(&recovery::Bound::StartOver(offset)),
            )?;
        }
        self.shape += 1;
        self.drop_segments_from(Offset::ZERO)?;
        self.drop_snapshots_after(Offset::new(-1))?;
        self.positions.clear();
        self.producers.clear();
        self.last_batch = None;
        self.log_start = offset;
        self.next = offset;
        self.flushing.truncated(offset);
        self.epochs.clear();
        if self.folder_exists {
            self.begin_anew(offset, now)?;
        } else {
            self.flushing.start_over_at(offset);
        }
        Ok(())
    }

    /// Moves the log's start: records before it are no longer served (DeleteRecords, retention,
    /// purged Raft entries). Kept across a restart by the checkpoint, and only once it is there,
    /// see [`Log::checkpointed`], do whole segments before it leave the disk.
    ///
    /// # Errors
    /// The latch.
    pub fn advance_log_start(&mut self, offset: Offset) -> Result<StartOutcome> {
        self.check_latch()?;
        if offset > self.next {
            return Ok(StartOutcome::OutOfRange { log_end: self.next });
        }
        if offset > self.log_start {
            self.log_start = offset;
            if self.epochs.truncate_start(offset) {
                self.note_epochs();
            }
        }
        Ok(StartOutcome::Moved { log_start: self.log_start })
    }

    /// Takes the segments from `base` on out of the log and marks their files for removal.
    pub(crate) fn drop_segments_from(&mut self, base: Offset) -> Result<()> {
        let keep = self.segments.partition_point(|segment| segment.base < base);
        for segment in self.segments.split_off(keep).into_iter().rev() {
            // At once, not after the delay: nobody may read records that lost, and the names are
            // wanted again.
            self.trash.remove_now(self.disk.as_ref(), &self.dir, segment.base)?;
        }
        self.flushing.note_names();
        Ok(())
    }

    /// Removes producer snapshots taken after `end`.
    fn drop_snapshots_after(&mut self, end: Offset) -> Result<()> {
        self.flushing.forget_state(|state| state.offset_in_name().is_some_and(|at| at > end));
        if !self.folder_exists {
            return Ok(());
        }
        for (offset, path) in recovery::snapshot_files(self.disk.as_ref(), &self.dir)? {
            if offset > end {
                self.disk.remove_file(&path)?;
                self.flushing.note_names();
            }
        }
        Ok(())
    }

    /// Base offset and checksum of the last batch.
    pub(crate) fn find_last_batch(&mut self) -> Result<Option<(Offset, u32)>> {
        let place = self.segments.iter().rposition(|segment| segment.size > 0);
        let Some((segment, at)) = place.and_then(|place| self.segment(place)) else {
            return Ok(None);
        };
        let last = Offset::new(segment.next.get() - 1);
        let (mut walk, mut last_met) =
            segment.walk_to(at, last, Patience::Wait).map_err(Miss::into_fault)?;
        while let Some(met) = walk.next().map_err(Miss::into_fault)? {
            last_met = Some(met);
        }
        Ok(last_met.map(|met| (met.header.base_offset, met.header.crc)))
    }

    /// Lowers the recovery point for the next start, durably, whatever the checkpoint says.
    pub(crate) fn write_recovery_bound(&mut self, offset: Offset) -> Result<()> {
        let bytes = recovery::encode_bound(&recovery::Bound::RecoverFrom(offset));
        write_atomically(self.disk.as_ref(), &self.dir.join(names::BOUND), &bytes)?;
        self.flushing.checkpointed = offset;
        self.flushing.bound_is_written = true;
        Ok(())
    }

    /// The checkpoint holds a recovery point that fits the log again.
    pub(crate) fn remove_recovery_bound(&mut self) {
        if !self.flushing.bound_is_written {
            return;
        }
        // Were the note to stay, or come back after a crash, recovery would scan more than it must,
        // and the log start as it was then: so a failure is not worth closing the log for.
        let removed = match self.disk.remove_file(&self.dir.join(names::BOUND)) {
            Err(fault) if fault.kind() != FaultKind::NotFound => false,
            _ => self.disk.sync_dir(&self.dir).is_ok(),
        };
        self.flushing.bound_is_written = !removed;
    }

    /// How long files stay after they were dropped, in milliseconds.
    pub(crate) fn delete_delay_ms(&self) -> i64 {
        millis(self.config.file_delete_delay)
    }
}
