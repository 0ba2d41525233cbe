//! What happens to a partition without a client asking: flushes, retention, closing, deletion.

use crate::partition::{Effects, Partition};
use jocko_commitlog::{FlushJob, LogFault};
use jocko_disk::DiskFault;
use jocko_replica::Input;
use jocko_types::{ErrorCode, Offset, Timestamp};

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

impl Partition {
    /// What must be synced so that all appended so far is durable. Also leaves the flusher's line:
    /// what is appended from now on lines up anew.
    pub fn take_flush(&self) -> (Option<FlushJob>, Effects) {
        self.leave_line();
        let taken = self.if_open(|open| match open.log.take_flush() {
            Ok(job) => (job, Effects::default()),
            Err(fault) => {
                let ended = Input::Ended { error: ErrorCode::KafkaStorageError };
                tracing::error!(partition = %self.name(), %fault, "cannot flush");
                (None, Effects::from(open.replica.step(ended)))
            }
        });
        taken.unwrap_or_default()
    }

    /// Takes a performed flush back: the high watermark may rise and release those who wait.
    pub fn flushed(&self, job: &FlushJob) -> Effects {
        let flushed = self.if_open(|open| {
            let end = open.log.flushed(job);
            Effects::from(open.replica.step(Input::Durable { end }))
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
            let ended = Input::Ended { error: ErrorCode::KafkaStorageError };
            Effects::from(open.replica.step(ended))
        });
        failed.unwrap_or_default()
    }

    /// Whether appended records wait for a sync.
    #[must_use]
    pub fn is_flush_due(&self) -> bool {
        self.if_open(|open| open.log.is_flush_due()).unwrap_or(false)
    }

    /// Applies retention, rolls what is old enough, forgets silent producers, removes files whose
    /// delay has passed. For workers; `now` is the wall clock.
    ///
    /// # Errors
    /// A disk fault, which latches the log.
    pub fn upkeep(&self, now: Timestamp) -> Result<(Upkeep, Effects), LogFault> {
        let done = self.if_open(|open| {
            let expired = open.log.expire(now, open.replica.high_watermark())?;
            open.log.remove_deleted(now)?;
            let trimmed = Input::Trimmed { start: open.log.log_start() };
            let effects = Effects::from(open.replica.step(trimmed));
            let upkeep = Upkeep {
                dropped_bytes: expired.bytes,
                dropped_segments: expired.segments,
                expired_producers: expired.producers,
            };
            Ok((upkeep, effects))
        });
        done.unwrap_or_else(|| Ok((Upkeep::default(), Effects::default())))
    }

    /// What the data directory's checkpoints should say: the recovery point and the log's start.
    #[must_use]
    pub fn checkpoint(&self) -> Option<(Offset, Offset)> {
        self.if_open(|open| (open.log.recovery_point(), open.log.log_start()))
    }

    /// Tells the log that a checkpoint holds these, durably.
    pub fn checkpointed(&self, recovery_point: Offset, log_start: Offset) {
        self.if_open(|open| open.log.checkpointed(recovery_point, log_start));
    }

    /// Closes the log as a clean stop does and yields its last recovery point and log start;
    /// `None` if it was not open. Nobody is served afterwards. For workers.
    ///
    /// # Errors
    /// A disk fault: then this stop is not clean for this log.
    pub fn close(&self) -> Result<(Option<(Offset, Offset)>, Effects), LogFault> {
        let (log, effects) = self.retire(ErrorCode::NotLeaderOrFollower);
        let Some(mut log) = log else { return Ok((None, effects)) };
        if let Some(mut job) = log.close()? {
            if let Err(fault) = job.run(self.home().disk.as_ref()) {
                return Err(fault.into());
            }
            log.flushed(&job);
        }
        Ok((Some((log.recovery_point(), log.log_start())), effects))
    }

    /// Ends the partition because its topic is deleted; its files are the caller's to move away.
    pub fn delete(&self) -> Effects {
        self.retire(ErrorCode::UnknownTopicOrPartition).1
    }
}
