//! Questions about offsets: ListOffsets and OffsetForLeaderEpoch.

use crate::partition::{Open, Partition};
use jocko_commitlog::{EpochEnd, Log, LogFault, TimestampFound, TimestampSearch};
use jocko_replica::Refusal;
use jocko_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};

/// Searches without the lock before one is made under it.
const UNLOCKED_TRIES: usize = 3;

/// An offset that was asked for, as ListOffsets answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The offset; `None` if nothing matches.
    pub offset: Option<Offset>,
    /// The timestamp of the record there; `None` for the ends of the log.
    pub timestamp: Option<Timestamp>,
    /// The epoch of the leader that wrote it.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Listed {
    /// Nothing matches: an answer, not an error.
    pub const NOTHING: Self = Self { offset: None, timestamp: None, leader_epoch: None };
}

impl Partition {
    /// The first offset that may be read.
    ///
    /// # Errors
    /// The answer for the client.
    pub fn earliest(&self, known: Option<LeaderEpoch>) -> Result<Listed, ErrorCode> {
        self.with_open(|open| {
            open.replica.admit_read(known).map_err(|Refusal(error)| error)?;
            let offset = open.log.log_start();
            Ok(Listed {
                offset: Some(offset),
                timestamp: None,
                leader_epoch: open.log.epoch_at(offset).or(Some(open.replica.leader_epoch())),
            })
        })?
    }

    /// The offset the next record a consumer sees will have: the high watermark.
    ///
    /// # Errors
    /// The answer for the client.
    pub fn latest(&self, known: Option<LeaderEpoch>) -> Result<Listed, ErrorCode> {
        self.with_open(|open| {
            open.replica.admit_latest(known).map_err(|Refusal(error)| error)?;
            Ok(Listed {
                offset: Some(open.replica.high_watermark()),
                timestamp: None,
                leader_epoch: Some(open.replica.leader_epoch()),
            })
        })?
    }

    /// The first committed record with a timestamp of at least `target`. May wait for the device,
    /// without the lock, and unpacks a batch: for workers.
    ///
    /// # Errors
    /// The answer for the client.
    pub fn at_timestamp(
        &self,
        known: Option<LeaderEpoch>,
        target: Timestamp,
    ) -> Result<Listed, ErrorCode> {
        self.search(
            known,
            |search| search.first_at(target),
            |log, upper| log.offset_for_timestamp(target, upper),
        )
    }

    /// The committed record with the largest timestamp (KIP-734). For workers, as above.
    ///
    /// # Errors
    /// The answer for the client.
    pub fn at_max_timestamp(&self, known: Option<LeaderEpoch>) -> Result<Listed, ErrorCode> {
        self.search(known, TimestampSearch::largest, Log::max_timestamp)
    }

    /// Searches without the lock, which others want. A search that met damage, or whose log was
    /// cut again and again meanwhile, is made under the lock, where damage is mended or told.
    fn search(
        &self,
        known: Option<LeaderEpoch>,
        unlocked: impl Fn(&mut TimestampSearch) -> Result<Option<TimestampFound>, LogFault>,
        locked: impl FnOnce(&mut Log, Offset) -> Result<Option<TimestampFound>, LogFault>,
    ) -> Result<Listed, ErrorCode> {
        for _ in 0..UNLOCKED_TRIES {
            let mut search = self.with_open(|open| {
                open.replica.admit_read(known).map_err(|Refusal(error)| error)?;
                Ok(open.log.search(open.replica.high_watermark()))
            })??;
            let Ok(found) = unlocked(&mut search) else { break };
            if self.with_open(|open| open.log.confirm(&search))? {
                self.with_open(|open| admit_found(open, known, found.is_some()))??;
                return self.listed(Ok(found));
            }
        }
        self.with_open(|open| {
            open.replica.admit_read(known).map_err(|Refusal(error)| error)?;
            let upper = open.replica.high_watermark();
            let found = locked(&mut open.log, upper);
            admit_found(open, known, !matches!(found, Ok(None)))?;
            self.listed(found)
        })?
    }

    /// Where an epoch ends here, by epochs up to the one asked for (KIP-101, KIP-279).
    ///
    /// # Errors
    /// The answer for the client.
    pub fn epoch_end(
        &self,
        known: Option<LeaderEpoch>,
        asked: LeaderEpoch,
    ) -> Result<EpochEnd, ErrorCode> {
        self.with_open(|open| {
            open.replica.admit_read(known).map_err(|Refusal(error)| error)?;
            Ok(open.log.epoch_end_offset(asked))
        })?
    }

    /// The first offset, if the log is open.
    #[must_use]
    pub fn log_start(&self) -> Option<Offset> {
        self.if_open(|open| open.log.log_start())
    }

    fn listed(&self, found: Result<Option<TimestampFound>, LogFault>) -> Result<Listed, ErrorCode> {
        match found {
            Ok(Some(found)) => Ok(Listed {
                offset: Some(found.offset),
                timestamp: Some(found.timestamp),
                leader_epoch: Some(found.leader_epoch),
            }),
            Ok(None) => Ok(Listed::NOTHING),
            Err(fault) => {
                tracing::error!(partition = %self.name(), %fault, "lookup by timestamp failed");
                Err(ErrorCode::KafkaStorageError)
            }
        }
    }
}

/// A new leader that does not know yet how far its log is committed cannot say that there is nothing:
/// clients may have seen more (KIP-207).
fn admit_found(open: &Open, known: Option<LeaderEpoch>, is_found: bool) -> Result<(), ErrorCode> {
    if is_found {
        return Ok(());
    }
    open.replica.admit_latest(known).map_err(|Refusal(error)| error)
}
