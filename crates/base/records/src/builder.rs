//! Writes batches: for the command line, tests, internal topics and transaction markers.

use crate::compression::{Encoding, compress};
use crate::header::{
    Attributes, BATCH_HEADER_BYTES, BatchHeader, LOG_OVERHEAD_BYTES, MAGIC, TimestampType,
    renew_crc,
};
use crate::record::{Header, RecordView, write_record};
use jocko_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use thiserror::Error;

/// Why a batch cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no batch without records.
    #[error("a batch needs at least one record")]
    Empty,
    /// Sizes and counts in a batch are 32-bit.
    #[error("the batch would be larger than 2 GiB")]
    TooLarge,
}

/// Collects records and writes them as one batch.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    encoding: Encoding,
    header: BatchHeader,
    records: Vec<u8>,
}

impl BatchBuilder {
    /// A batch as a producer sends it: base offset 0, no leader epoch, no producer id.
    #[must_use]
    pub const fn new(encoding: Encoding) -> Self {
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            length_bytes: 0,
            leader_epoch: LeaderEpoch::NONE,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::new(encoding.codec.id_bits()),
            last_offset_delta: -1,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::new(-1),
            base_sequence: Sequence::NONE,
            record_count: 0,
        };
        Self { encoding, header, records: Vec::new() }
    }

    /// Sets the offset of the first record.
    #[must_use]
    pub const fn base_offset(mut self, base_offset: Offset) -> Self {
        self.header.base_offset = base_offset;
        self
    }

    /// Sets the epoch of the leader that appends.
    #[must_use]
    pub const fn leader_epoch(mut self, leader_epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = leader_epoch;
        self
    }

    /// Makes the batch an idempotent producer's.
    #[must_use]
    pub const fn producer(
        mut self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: Sequence,
    ) -> Self {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub const fn transactional(mut self) -> Self {
        self.header.attributes = self.header.attributes.with_transactional(true);
        self
    }

    /// A transaction marker: one control record, uncompressed, at `timestamp`.
    #[must_use]
    pub fn control(
        marker: ControlRecord,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        timestamp: Timestamp,
    ) -> Self {
        let mut builder =
            Self::new(Encoding::NONE).producer(producer_id, producer_epoch, Sequence::NONE);
        builder.header.attributes =
            builder.header.attributes.with_control(true).with_transactional(true);
        builder
            .push(timestamp, Some(&marker.key_bytes()), Some(&marker.value_bytes()), &[])
            .expect("one small record fits any batch");
        builder
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`] if sizes would pass 2 GiB; the record is then not added.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), BuildError> {
        let headers_bytes: usize = headers
            .iter()
            .map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len) + 10)
            .sum();
        let record_bytes_max = headers_bytes
            .saturating_add(key.map_or(0, <[u8]>::len))
            .saturating_add(value.map_or(0, <[u8]>::len))
            .saturating_add(64);
        let batch_bytes_max = self.size_bytes().saturating_add(record_bytes_max);
        if i32::try_from(batch_bytes_max).is_err() {
            return Err(BuildError::TooLarge);
        }
        let offset_delta = self.header.record_count;
        if offset_delta == 0 {
            self.header.base_timestamp = timestamp;
        }
        let base = self.header.base_timestamp.as_millis();
        let timestamp_delta = timestamp.as_millis().wrapping_sub(base);
        let deltas = (timestamp_delta, offset_delta);
        write_record(&mut self.records, deltas, key, value, headers.iter().copied());
        self.header.record_count += 1;
        self.header.last_offset_delta = offset_delta;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        Ok(())
    }

    /// Records added so far.
    #[must_use]
    pub const fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Bytes of the batch so far, before compression.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.records.len() + BATCH_HEADER_BYTES
    }

    /// Stamps the batch with the broker's time, as a topic with `LogAppendTime` would.
    #[must_use]
    pub const fn log_append_time(mut self, now: Timestamp) -> Self {
        self.header.attributes =
            self.header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.header.max_timestamp = now;
        self
    }

    /// Appends the batch to `out` and returns its header; the builder can go on.
    ///
    /// # Errors
    /// [`BuildError::Empty`] without records, [`BuildError::TooLarge`] past 2 GiB.
    pub fn build_into(&self, out: &mut Vec<u8>) -> Result<BatchHeader, BuildError> {
        if self.header.record_count == 0 {
            return Err(BuildError::Empty);
        }
        let start = out.len();
        out.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
        compress(self.encoding, &self.records, out);
        let batch = out.get_mut(start..).unwrap_or_default();
        let Ok(length_bytes) = i32::try_from(batch.len() - LOG_OVERHEAD_BYTES) else {
            out.truncate(start);
            return Err(BuildError::TooLarge);
        };
        let fields = BatchHeader { length_bytes, ..self.header };
        batch
            .first_chunk_mut::<BATCH_HEADER_BYTES>()
            .expect("the header was reserved first")
            .copy_from_slice(&fields.to_bytes());
        renew_crc(batch).expect("the batch has a whole header");
        Ok(BatchHeader::read(batch).expect("the batch has a whole header"))
    }

    /// The batch.
    ///
    /// # Errors
    /// Those of [`BatchBuilder::build_into`].
    pub fn build(&self) -> Result<Vec<u8>, BuildError> {
        let mut out = Vec::with_capacity(self.size_bytes());
        self.build_into(&mut out)?;
        Ok(out)
    }
}

/// How a transaction ended (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlType {
    /// Its records never were.
    Abort,
    /// Its records count.
    Commit,
}

/// A transaction marker: key is version and type (i16 each), value is version (i16) and
/// coordinator epoch (i32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ControlRecord {
    /// How the transaction ended.
    pub control_type: ControlType,
    /// Epoch of the transaction coordinator that says so.
    pub coordinator_epoch: i32,
}

impl ControlRecord {
    const VERSION: i16 = 0;

    /// Reads a marker from a record of a control batch; `None` for control records of other
    /// kinds, which are to be passed over.
    #[must_use]
    pub fn read(record: &RecordView<'_>) -> Option<Self> {
        let [v0, v1, t0, t1, ..] = *record.key? else { return None };
        if i16::from_be_bytes([v0, v1]) < Self::VERSION {
            return None;
        }
        let control_type = match i16::from_be_bytes([t0, t1]) {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            _ => return None,
        };
        let [_, _, e0, e1, e2, e3, ..] = *record.value? else { return None };
        let coordinator_epoch = i32::from_be_bytes([e0, e1, e2, e3]);
        Some(Self { control_type, coordinator_epoch })
    }

    fn key_bytes(self) -> [u8; 4] {
        let kind: i16 = match self.control_type {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
        };
        let ([v0, v1], [t0, t1]) = (Self::VERSION.to_be_bytes(), kind.to_be_bytes());
        [v0, v1, t0, t1]
    }

    fn value_bytes(self) -> [u8; 6] {
        let [v0, v1] = Self::VERSION.to_be_bytes();
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        [v0, v1, e0, e1, e2, e3]
    }
}

#[cfg(test)]
mod tests;
