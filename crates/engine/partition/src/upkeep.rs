//! What happens to a partition without a client asking: flushes, retention, closing, deletion.

use crate::partition::{Effects, Open, Partition};
use crate::share::Share;
use jocko_commitlog::{FlushJob, Log, LogFault, Removal};
use jocko_disk::DiskFault;
use jocko_replica::Input;
use jocko_types::{ErrorCode, Offset, Timestamp};
use std::sync::PoisonError;

/// Nothing that waits for this log will come true.
const STORAGE_FAILED: Input = Input::Ended { error: ErrorCode::KafkaStorageError };

/// What a round of upkeep did and found, for the metrics and the checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Bytes that retention dropped.
    pub dropped_bytes: u64,
    /// Segments that retention dropped.
    pub dropped_segments: usize,
    /// Producers that were forgotten.
    pub expired_producers: usize,
}

/// A log that is being closed, and the job that ends its files, if there is anything to do.
pub(crate) type Closing = (Log, Option<FlushJob>);

/// Bytes of a partition's segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Of those that can be read.
    pub live_bytes: u64,
    /// Of those that retention dropped and that are still on disk.
    pub dropped_bytes: u64,
}

impl Partition {
    /// What it holds; `None` while it is closed.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.if_open(|open| {
            let live_bytes = open.log.live_bytes();
            let dropped_bytes = open.log.size_bytes().saturating_sub(live_bytes);
            Held { live_bytes, dropped_bytes }
        })
    }

    /// Puts another share of the limits that it is under in force; the next
    /// [`Partition::upkeep`] keeps to it.
    pub fn set_share(&self, share: Option<Share>) {
        let mut in_force = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        if *in_force == share {
            return;
        }
        *in_force = share;
        drop(in_force);
        self.if_open(|open| open.log.set_share(of_log(share)));
    }

    /// The share in force, for whoever explains it.
    #[must_use]
    pub fn share(&self) -> Option<Share> {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What must be synced so that all appended so far is durable. Also leaves the flusher's line:
    /// what is appended from now on lines up anew.
    pub fn take_flush(&self) -> (Option<FlushJob>, Effects) {
        self.leave_line();
        let taken = self.if_open(|open| {
            if open.log.latched().is_some() {
                // Whoever waited was told when it was latched.
                return (None, Effects::default());
            }
            match open.log.take_flush() {
                Ok(job) => (job, Effects::default()),
                Err(fault) => {
                    tracing::error!(partition = %self.name(), %fault, "cannot flush");
                    (None, open.step(STORAGE_FAILED))
                }
            }
        });
        taken.unwrap_or_default()
    }

    /// Takes a performed flush back: the high watermark may rise and release those who wait.
    pub fn flushed(&self, job: &FlushJob) -> Effects {
        let flushed = self.if_open(|open| {
            let end = open.log.flushed(job);
            open.step(Input::Durable { end })
        });
        let mut effects = flushed.unwrap_or_default();
        // More may have been appended meanwhile, but whoever appended it lined up for it.
        effects.flush_due = false;
        effects
    }

    /// Takes a failed flush back: the log is closed to writes for good (DR2), all who wait are
    /// told.
    pub fn flush_failed(&self, job: &FlushJob, fault: DiskFault) -> Effects {
        tracing::error!(partition = %self.name(), %fault, "sync failed; the log takes no more writes");
        let failed = self.if_open(|open| {
            open.log.flush_failed(job, fault);
            open.step(STORAGE_FAILED)
        });
        failed.unwrap_or_default()
    }

    /// Whether appended records wait for a sync.
    #[must_use]
    pub fn is_flush_due(&self) -> bool {
        let is_due = |open: &mut Open| open.log.latched().is_none() && open.log.is_flush_due();
        self.if_open(is_due).unwrap_or(false)
    }

    /// Applies retention, rolls what is old enough, forgets silent producers, removes files whose
    /// delay has passed. For workers; `now` is the wall clock.
    ///
    /// The first result is an error when a disk fault latched the log, or when it was before; the
    /// effects are to be carried out either way.
    pub fn upkeep(&self, now: Timestamp) -> (Result<Upkeep, LogFault>, Effects) {
        let done = self.if_open(|open| {
            let was_latched = open.log.latched().is_some();
            match open.upkeep(now) {
                Ok(done) => {
                    let trimmed = Input::Trimmed { start: open.log.log_start() };
                    (Ok(done), open.step(trimmed))
                }
                Err(fault) if was_latched => (Err(fault), Effects::default()),
                Err(fault) => (Err(fault), open.step(STORAGE_FAILED)),
            }
        });
        match done {
            None => (Ok(Upkeep::default()), Effects::default()),
            Some((Err(fault), effects)) => (Err(fault), effects),
            Some((Ok((upkeep, removal)), effects)) => {
                let (removed, failed) = self.remove(&removal);
                (removed.map(|()| upkeep), effects.and(failed))
            }
        }
    }

    /// Removes the files of dropped segments whose start a checkpoint holds, without the delay that
    /// readers are granted: the disk is full. For workers.
    ///
    /// As for [`Partition::upkeep`].
    pub fn make_room(&self) -> (Result<(), LogFault>, Effects) {
        let taken = self.if_open(|open| {
            if let Some(fault) = open.log.latched() {
                return (Err(fault), Effects::default());
            }
            match open.log.take_deleted(Timestamp::from_millis(i64::MAX)) {
                Ok(removal) => {
                    open.awaiting = Upkeep::default();
                    (Ok(removal), Effects::default())
                }
                Err(fault) => (Err(fault), open.step(STORAGE_FAILED)),
            }
        });
        match taken {
            None => (Ok(()), Effects::default()),
            Some((Err(fault), effects)) => (Err(fault), effects),
            Some((Ok(removal), _)) => self.remove(&removal),
        }
    }

    /// Removes files that were dropped `file.delete.delay.ms` ago. For workers.
    ///
    /// As for [`Partition::upkeep`].
    pub fn tidy(&self, now: Timestamp) -> (Result<(), LogFault>, Effects) {
        match self.if_open(|open| open.log.take_due(now)) {
            Some(removal) => self.remove(&removal),
            None => (Ok(()), Effects::default()),
        }
    }

    /// Removes files, with the lock free: a large one can take long.
    fn remove(&self, removal: &Removal) -> (Result<(), LogFault>, Effects) {
        let Err(fault) = removal.run(self.home().disk.as_ref()) else {
            return (Ok(()), Effects::default());
        };
        let failed = self.if_open(|open| {
            open.log.removal_failed(&fault);
            open.step(STORAGE_FAILED)
        });
        (Err(fault), failed.unwrap_or_default())
    }

    /// What the data directory's checkpoints should say: the recovery point and the log's start.
    /// Also told of a log that [`Partition::close`] has closed; `None` if it never was open.
    #[must_use]
    pub fn checkpoint(&self) -> Option<(Offset, Offset)> {
        self.if_open(|open| (open.log.recovery_point(), open.log.log_start()))
            .or_else(|| self.gone()?.checkpoint)
    }

    /// Whether it was deleted ([`Partition::delete`], [`Partition::discard`]): what was durable of it means nothing any more.
    pub fn is_deleted(&self) -> bool {
        self.gone().is_some_and(|gone| gone.is_deleted)
    }

    /// Tells the log that a checkpoint holds these, durably.
    pub fn checkpointed(&self, recovery_point: Offset, log_start: Offset) {
        self.if_open(|open| open.log.checkpointed(recovery_point, log_start));
    }

    /// Closes the log as a clean stop does; [`Partition::checkpoint`] tells from then on where it
    /// ended. Nobody is served afterwards. For workers.
    ///
    /// An error means that this stop is not clean for this log; the effects are to be carried out
    /// either way.
    pub fn close(&self) -> (Result<(), LogFault>, Effects) {
        let (closing, effects) = self.begin_close();
        let closed = closing.and_then(|closing| {
            let Some((mut log, Some(mut job))) = closing else { return Ok(()) };
            job.run(self.home().disk.as_ref())?;
            log.flushed(&job);
            self.closed_at(&log);
            Ok(())
        });
        (closed, effects)
    }

    /// The first half of [`Partition::close`]: yields the log, with the job that ends it, if any.
    pub(crate) fn begin_close(&self) -> (Result<Option<Closing>, LogFault>, Effects) {
        let (log, effects) = self.retire(ErrorCode::NotLeaderOrFollower, false);
        let Some(mut log) = log else { return (Ok(None), effects) };
        let closing = log.close();
        self.closed_at(&log);
        (closing.map(|job| Some((log, job))), effects)
    }

    /// Ends the partition because its topic is deleted; its files are the caller's to move away.
    pub fn delete(&self) -> Effects {
        self.retire(ErrorCode::UnknownTopicOrPartition, true).1
    }

    /// Ends the partition because this copy is given up for another one; its files are the caller's
    /// to move away.
    pub fn discard(&self) -> Effects {
        self.retire(ErrorCode::NotLeaderOrFollower, true).1
    }
}

pub(crate) fn of_log(share: Option<Share>) -> jocko_commitlog::Share {
    jocko_commitlog::Share {
        bytes_max: share.and_then(|share| share.bytes_max),
        roll_bytes: share.map(|share| share.roll_bytes),
    }
}

impl Open {
    fn upkeep(&mut self, now: Timestamp) -> Result<(Upkeep, Removal), LogFault> {
        let expired = self.log.expire(now, self.replica.high_watermark())?;
        let segments = self.log.segment_count();
        let removal = self.log.take_deleted(now)?;
        let removed_segments = segments.saturating_sub(self.log.segment_count());
        // The log tells all that awaits removal; what did so last time was counted then.
        let upkeep = Upkeep {
            dropped_bytes: expired.bytes.saturating_sub(self.awaiting.dropped_bytes),
            dropped_segments: expired.segments.saturating_sub(self.awaiting.dropped_segments),
            expired_producers: expired.producers,
        };
        self.awaiting = Upkeep {
            dropped_bytes: expired.bytes.saturating_sub(removal.renamed_bytes),
            dropped_segments: expired.segments.saturating_sub(removed_segments),
            expired_producers: 0,
        };
        Ok((upkeep, removal))
    }
}
