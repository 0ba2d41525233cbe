//! A batch with some of its records left out, as the log cleaner writes it (KIP-58, KIP-534).
//!
//! Offsets, sequences and the codec stay what they were; only records go. A batch all of whose
//! records stay is not touched, unless it has to be told when its tombstones may go: that moment
//! takes the place of the base timestamp, so that all timestamps of the batch are written anew.

use crate::compression::{Codec, Encoding, compress};
use crate::error::{BatchError, BatchFault};
use crate::header::{
    BATCH_HEADER_BYTES, BatchHeader, LOG_OVERHEAD_BYTES, TimestampType, renew_crc,
};
use crate::record::{RecordView, write_record};
use crate::view::BatchView;
use jocko_types::Timestamp;

/// What is left of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retained<'a> {
    /// All of it: its bytes are to be copied as they are.
    Whole,
    /// Some records, or all of them with a delete horizon that is new: the batch to write instead.
    Rebuilt(&'a [u8]),
    /// No record. The batch goes, or its header stays alone, see [`emptied_batch`].
    Nothing,
}

/// Buffers that one batch after the other is filtered in.
#[derive(Debug, Default)]
pub struct RetainScratch {
    unpacked: Vec<u8>,
    kept: Vec<bool>,
    records: Vec<u8>,
    batch: Vec<u8>,
}

impl RetainScratch {
    /// Leaves out the records of `batch` that `keeps` refuses.
    ///
    /// If a record without a value stays and the batch does not say yet until when, it says so
    /// from now on: `horizon`. Memory: twice what the batch unpacks to, at most
    /// `decompressed_bytes_max`.
    ///
    /// # Errors
    /// Those of [`BatchView::records`], a record that cannot be read, and
    /// [`BatchFault::TooLarge`] if the new batch would pass 2 GiB.
    pub fn retain(
        &mut self,
        batch: &BatchView<'_>,
        decompressed_bytes_max: u64,
        horizon: Timestamp,
        mut keeps: impl FnMut(&RecordView<'_>) -> bool,
    ) -> Result<Retained<'_>, BatchError> {
        self.kept.clear();
        let mut has_tombstone = false;
        for record in batch.records(decompressed_bytes_max, &mut self.unpacked)? {
            let record = record?;
            let keep = keeps(&record);
            has_tombstone |= keep && record.value.is_none();
            self.kept.push(keep);
        }
        let header = batch.header();
        let is_new_horizon = has_tombstone && header.delete_horizon().is_none();
        if !self.kept.contains(&true) {
            return Ok(Retained::Nothing);
        }
        if !is_new_horizon && !self.kept.contains(&false) {
            return Ok(Retained::Whole);
        }
        let horizon = if is_new_horizon { Some(horizon) } else { header.delete_horizon() };
        self.rebuild(batch, horizon)?;
        Ok(Retained::Rebuilt(&self.batch))
    }

    /// Writes the kept records as a batch of their own.
    fn rebuild(
        &mut self,
        batch: &BatchView<'_>,
        horizon: Option<Timestamp>,
    ) -> Result<(), BatchError> {
        let header = batch.header();
        let codec = batch.codec()?;
        let payload = if codec == Codec::None { batch.payload() } else { &self.unpacked };
        self.records.clear();
        let mut base_timestamp = horizon;
        let (mut count, mut largest) = (0_i32, Timestamp::NONE);
        let records = crate::record::RecordIter::new(payload, header.record_count);
        for (record, keep) in records.zip(&self.kept) {
            let record = record?;
            if !keep {
                continue;
            }
            let timestamp = header.record_timestamp(record.timestamp_delta);
            let base = *base_timestamp.get_or_insert(timestamp);
            let delta = timestamp.as_millis().wrapping_sub(base.as_millis());
            let deltas = (delta, record.offset_delta);
            write_record(&mut self.records, deltas, record.key, record.value, record.headers());
            largest = largest.max(timestamp);
            count = count.saturating_add(1);
        }
        self.batch.clear();
        self.batch.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
        compress(Encoding::new(codec), &self.records, &mut self.batch);
        let size_bytes = self.batch.len();
        let length_bytes = i32::try_from(size_bytes - LOG_OVERHEAD_BYTES)
            .map_err(|_| BatchFault::TooLarge { size_bytes, size_bytes_max: SIZE_MAX })?;
        let fields = BatchHeader {
            length_bytes,
            attributes: header.attributes.with_delete_horizon(horizon.is_some()),
            base_timestamp: base_timestamp.unwrap_or(Timestamp::NONE),
            max_timestamp: match header.timestamp_type() {
                TimestampType::LogAppendTime => header.max_timestamp,
                TimestampType::CreateTime => largest,
            },
            record_count: count,
            ..*header
        };
        seal(&mut self.batch, &fields);
        Ok(())
    }
}

/// The header of a batch that has lost all its records: offsets, producer and sequences stay
/// known (KIP-98), and the log still ends where it did.
#[must_use]
pub fn emptied_batch(header: &BatchHeader) -> [u8; BATCH_HEADER_BYTES] {
    let mut bytes = [0; BATCH_HEADER_BYTES];
    let fields = BatchHeader {
        length_bytes: EMPTY_LENGTH,
        attributes: header.attributes.with_codec(Codec::None).with_delete_horizon(false),
        base_timestamp: Timestamp::NONE,
        record_count: 0,
        ..*header
    };
    seal(&mut bytes, &fields);
    bytes
}

/// Sizes in a batch are 32-bit.
const SIZE_MAX: usize = (1 << 31) - 1 + LOG_OVERHEAD_BYTES;

/// The length field of a batch that is a header and nothing else.
const EMPTY_LENGTH: i32 = 49;
const _: () = assert!(BATCH_HEADER_BYTES - LOG_OVERHEAD_BYTES == 49);

fn seal(batch: &mut [u8], fields: &BatchHeader) {
    batch
        .first_chunk_mut::<BATCH_HEADER_BYTES>()
        .expect("the header was reserved first")
        .copy_from_slice(&fields.to_bytes());
    renew_crc(batch).expect("the batch has a whole header");
}

#[cfg(test)]
mod tests;
