//! Compaction of a partition: the log's own passes, held below what is committed.

use crate::partition::{Effects, Partition};
use jocko_commitlog::{CompactionEnd, CompactionRequest, Dirt, LogFault, compact};
use jocko_replica::Input;
use jocko_types::{ErrorCode, Offset, Timestamp};

/// What the broker grants a pass.
#[derive(Debug, Clone, Copy)]
pub struct CompactionBudget {
    /// Bytes for the map of keys.
    pub map_bytes_max: usize,
    /// Random and secret: keys the hash of this pass.
    pub seed: [u64; 2],
}

impl Partition {
    /// What a pass would find now; `None` if the log is not open, or closed to writes. Rolls an
    /// active segment whose records wait for longer than `max.compaction.lag.ms`. For workers.
    ///
    /// # Errors
    /// A fault that the look met.
    pub fn dirt(&self, now: Timestamp) -> Result<Option<Dirt>, LogFault> {
        let dirt = self.if_open(|open| {
            if open.log.latched().is_some() || !open.log.config().compacts {
                return Ok(None);
            }
            open.log.dirt(open.replica.high_watermark(), now).map(Some)
        });
        dirt.unwrap_or(Ok(None))
    }

    /// Compacts the log once, below the high watermark: without transactions everything committed
    /// is decided. The lock is held for short looks and renames only. Takes long: for a thread of
    /// its own. `pace` is told of bytes read and written; it may wait, and ends the pass by
    /// answering `false`.
    ///
    /// The first result is an error when the pass met a fault; the effects are to be carried out
    /// either way.
    pub fn compact(
        &self,
        budget: &CompactionBudget,
        now: Timestamp,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> (Result<CompactionEnd, LogFault>, Effects) {
        let Some(upper) = self.if_open(|open| open.replica.high_watermark()) else {
            return (Ok(CompactionEnd::Idle), Effects::default());
        };
        let request = CompactionRequest {
            upper,
            now,
            map_bytes_max: budget.map_bytes_max,
            decompressed_bytes_max: self.governed().rules.decompressed_bytes_max,
            seed: budget.seed,
        };
        let access = |work: &mut dyn FnMut(&mut jocko_commitlog::Log)| {
            self.if_open(|open| work(&mut open.log));
        };
        let done = compact(&access, &request, pace);
        let latched = done.is_err().then(|| {
            self.if_open(|open| {
                let failed = Input::Ended { error: ErrorCode::KafkaStorageError };
                open.log.latched().map(|_| open.step(failed))
            })
        });
        (done, latched.flatten().flatten().unwrap_or_default())
    }

    /// Everything below was compacted; `None` if nothing was, or the log is not open.
    #[must_use]
    pub fn compacted_to(&self) -> Option<Offset> {
        self.if_open(|open| open.log.compacted_to()).flatten()
    }
}
