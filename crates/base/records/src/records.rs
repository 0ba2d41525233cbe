//! Records for readers: a fetched buffer record by record, and the search by timestamp.

use crate::batches::{WholeBatches, whole_batches};
use crate::compression::{Codec, decompress_into};
use crate::error::{BatchError, BatchFault};
use crate::header::{BatchHeader, TimestampType};
use crate::record::{Headers, check_end, read_record};
use crate::view::BatchView;
use jocko_types::{LeaderEpoch, Offset, Timestamp};

/// Where a record lies in time and in the log: the answer to ListOffsets (KIP-79).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The record's offset.
    pub offset: Offset,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

/// The first record of `bytes` at or after `from` with a timestamp of at least `target`; a
/// cut-off batch at the end is not looked into. Only batches whose max timestamp reaches `target`
/// are unpacked, into `scratch`, to at most `decompressed_bytes_max` each.
///
/// # Errors
/// Any fault of the batches on the way.
pub fn find_by_timestamp(
    bytes: &[u8],
    target: Timestamp,
    from: Offset,
    decompressed_bytes_max: u64,
    scratch: &mut Vec<u8>,
) -> Result<Option<TimestampOffset>, BatchError> {
    for batch in whole_batches(bytes) {
        let found = batch?.find_timestamp(target, from, decompressed_bytes_max, scratch)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// A record as a consumer sees it.
#[derive(Debug, Clone, Copy)]
pub struct FetchedRecord<'a> {
    /// Its offset in the partition.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Whose clock the timestamp comes from.
    pub timestamp_type: TimestampType,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers, in order, duplicates and all.
    pub headers: Headers<'a>,
}

/// Reads the records of a fetched buffer: checks checksums, unpacks batch by batch into one
/// buffer of its own, passes over control records and records before the wanted offset (a broker
/// answers with whole batches, so the first one may begin earlier).
///
/// Not an `Iterator`, because a record lives in the reader's buffer until the next one is read.
#[derive(Debug)]
pub struct Records<'a> {
    batches: WholeBatches<'a>,
    from: Offset,
    next_offset: Offset,
    decompressed_bytes_max: u64,
    batch: Option<OpenBatch<'a>>,
    scratch: Vec<u8>,
}

/// The batch being read.
#[derive(Debug)]
struct OpenBatch<'a> {
    header: BatchHeader,
    /// The records in place; `None` if they were unpacked into the scratch buffer.
    plain: Option<&'a [u8]>,
    /// Bytes of the records already read.
    position: usize,
    index: i32,
    /// Whether records before the wanted offset may come first.
    begins_early: bool,
}

impl<'a> Records<'a> {
    /// Reads `bytes` from offset `from` on; a batch may unpack to `decompressed_bytes_max`.
    #[must_use]
    pub const fn new(bytes: &'a [u8], from: Offset, decompressed_bytes_max: u64) -> Self {
        Self {
            batches: whole_batches(bytes),
            from,
            next_offset: from,
            decompressed_bytes_max,
            batch: None,
            scratch: Vec::new(),
        }
    }

    /// Where to fetch from after what has been read: past control records and gaps too.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The next record, or `None` at the end.
    ///
    /// # Errors
    /// Any fault of a batch; reading on continues after it, with the next batch.
    #[allow(clippy::should_implement_trait, reason = "a record borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<FetchedRecord<'_>>, BatchError> {
        loop {
            if self.batch.is_none() && !self.open_batch()? {
                return Ok(None);
            }
            if self.advance()? {
                return Ok(Some(self.current()?));
            }
        }
    }

    /// Opens the next batch worth reading; `false` at the end of the buffer.
    fn open_batch(&mut self) -> Result<bool, BatchError> {
        for batch in self.batches.by_ref() {
            let batch: BatchView<'a> = batch?;
            batch.check_crc()?;
            let header = *batch.header();
            let codec = batch.codec()?;
            if header.is_control() || header.last_offset() < self.from {
                self.next_offset = self.next_offset.max(header.next_offset());
                continue;
            }
            let plain = if codec == Codec::None {
                Some(batch.payload())
            } else {
                let max = self.decompressed_bytes_max;
                decompress_into(codec, batch.payload(), max, &mut self.scratch)
                    .map_err(BatchFault::from)?;
                None
            };
            let begins_early = header.base_offset < self.from;
            self.batch = Some(OpenBatch { header, plain, position: 0, index: 0, begins_early });
            return Ok(true);
        }
        Ok(false)
    }

    /// Moves to the next wanted record of the open batch, before which it stops; closes the batch
    /// and returns `false` if there is none.
    fn advance(&mut self) -> Result<bool, BatchError> {
        while let Some(batch) = self.batch.as_mut() {
            let payload = batch.plain.unwrap_or(&self.scratch);
            let mut rest = payload.get(batch.position..).unwrap_or_default();
            if batch.index >= batch.header.record_count {
                let record_count = batch.header.record_count;
                self.next_offset = self.next_offset.max(batch.header.next_offset());
                self.batch = None;
                check_end(rest, record_count)?;
                return Ok(false);
            }
            if !batch.begins_early {
                return Ok(true);
            }
            match read_record(&mut rest) {
                Ok(record) => {
                    let delta = i64::from(record.offset_delta);
                    if batch.header.base_offset.plus(delta) >= self.from {
                        return Ok(true);
                    }
                    batch.position = payload.len() - rest.len();
                    batch.index += 1;
                }
                Err(problem) => {
                    let index = batch.index;
                    self.batch = None;
                    return Err(BatchFault::Malformed { index, problem }.into());
                }
            }
        }
        Ok(false)
    }

    /// Reads the record that [`Records::advance`] stopped before.
    fn current(&mut self) -> Result<FetchedRecord<'_>, BatchError> {
        let batch = self.batch.as_mut().expect("a batch is open after a successful advance");
        let payload = batch.plain.unwrap_or(&self.scratch);
        let mut rest = payload.get(batch.position..).unwrap_or_default();
        let index = batch.index;
        let record = match read_record(&mut rest) {
            Ok(record) => record,
            Err(problem) => {
                self.batch = None;
                return Err(BatchFault::Malformed { index, problem }.into());
            }
        };
        batch.position = payload.len() - rest.len();
        batch.index += 1;
        let offset = batch.header.base_offset.plus(i64::from(record.offset_delta));
        self.next_offset = self.next_offset.max(offset.next());
        Ok(FetchedRecord {
            offset,
            timestamp: batch.header.record_timestamp(record.timestamp_delta),
            timestamp_type: batch.header.timestamp_type(),
            leader_epoch: batch.header.leader_epoch,
            key: record.key,
            value: record.value,
            headers: record.headers(),
        })
    }
}

#[cfg(test)]
mod tests;
