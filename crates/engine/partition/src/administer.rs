//! What an administrator asks of a partition: to begin later, how large it is, who writes to it.

use crate::partition::{Effects, Partition};
use jocko_commitlog::{ProducerState, StartOutcome};
use jocko_replica::{Input, Refusal};
use jocko_types::{ErrorCode, Offset};

impl Partition {
    /// Lets the partition begin at `before`, or at the high watermark (KIP-107). A partition that
    /// begins later already stays as it is. Yields where it begins; that survives a restart once a
    /// checkpoint holds it ([`Partition::checkpoint`]), and files go with the next upkeep.
    ///
    /// Opens the log: for workers.
    ///
    /// # Errors
    /// The answer for the client: an offset above the high watermark, a topic that is compacted
    /// and never deletes, a partition that is not led here.
    pub fn delete_records(&self, before: Option<Offset>) -> Result<(Offset, Effects), ErrorCode> {
        let governed = self.governed();
        if governed.log.compacts && !governed.log.retention_deletes {
            return Err(ErrorCode::PolicyViolation);
        }
        self.with_open(|open| {
            open.replica.admit_read(None).map_err(|Refusal(error)| error)?;
            let high_watermark = open.replica.high_watermark();
            let before = before.unwrap_or(high_watermark);
            if before > high_watermark {
                return Err(ErrorCode::OffsetOutOfRange);
            }
            match open.log.advance_log_start(before) {
                Ok(StartOutcome::Moved { log_start }) => {
                    Ok((log_start, open.step(Input::Trimmed { start: log_start })))
                }
                Ok(StartOutcome::OutOfRange { .. }) => Err(ErrorCode::OffsetOutOfRange),
                Err(_) => Err(ErrorCode::KafkaStorageError),
            }
        })?
    }

    /// The producers the log remembers, by id. Opens the log: for workers.
    ///
    /// # Errors
    /// The answer for the client.
    pub fn producers(&self) -> Result<Vec<ProducerState>, ErrorCode> {
        self.with_open(|open| {
            // As its own replica has it: followers may be asked (KIP-664).
            open.log.producers()
        })
    }

    /// Bytes of batches on this disk. Looks at the files of a log that is not open: for workers.
    #[must_use]
    pub fn size_on_disk(&self) -> u64 {
        if let Some(standing) = self.standing() {
            return standing.size_bytes;
        }
        let files = self.home().disk.list(&self.home().dir).unwrap_or_default();
        files.iter().filter(|file| file.name.ends_with(".log")).map(|file| file.len).sum()
    }
}
