//! The 61 bytes before the records: typed, read in place, patched in place.

use crate::compression::Codec;
use crate::crc::crc32c;
use crate::error::{BatchError, BatchFault};
use jocko_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use std::fmt;

/// Bytes before the records of a batch.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes the length field does not count: base offset and the length itself.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// Bytes that a broker rewrites when it assigns offsets; none of them is under the checksum.
pub const ASSIGNED_PREFIX_BYTES: usize = 16;

/// The format this crate speaks; 0 and 1 went away with Kafka 4.0 (KIP-724).
pub(crate) const MAGIC: i8 = 2;
/// Where the magic byte lies: enough bytes to tell the format.
pub(crate) const MAGIC_AT: usize = 16;
/// Where the checksum lies; it covers everything from [`CRC_FROM`] on.
const CRC_AT: usize = 17;
/// The first byte under the checksum: the attributes.
pub(crate) const CRC_FROM: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const _: () = assert!(CRC_AT + 4 == CRC_FROM && MAGIC_AT + 1 == CRC_AT);
const _: () = assert!(ASSIGNED_PREFIX_BYTES == LOG_OVERHEAD_BYTES + 4);

/// Whose clock the timestamps of a batch come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer's, record by record.
    #[default]
    CreateTime,
    /// The broker's, one for the whole batch (its max timestamp).
    LogAppendTime,
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        })
    }
}

/// The attribute bits of a batch; unknown bits are kept, as Kafka keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(u16);

impl Attributes {
    const CODEC: u16 = 0b111;
    const LOG_APPEND_TIME: u16 = 1 << 3;
    const TRANSACTIONAL: u16 = 1 << 4;
    const CONTROL: u16 = 1 << 5;
    const DELETE_HORIZON: u16 = 1 << 6;

    /// From the raw bits.
    #[must_use]
    pub const fn new(bits: u16) -> Self {
        Self(bits)
    }

    /// The raw bits.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// How the records are compressed; `Err` holds an id that no codec has.
    ///
    /// # Errors
    /// The codec id, if it is none that exists (5, 6 or 7).
    pub const fn codec(self) -> Result<Codec, u8> {
        match self.0 & Self::CODEC {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            5 => Err(5),
            6 => Err(6),
            _ => Err(7),
        }
    }

    /// Whose clock the timestamps come from.
    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction (KIP-98).
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record, which consumers do not show (KIP-98).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon, set by the log cleaner (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same bits with another codec.
    #[must_use]
    pub const fn with_codec(self, codec: Codec) -> Self {
        Self((self.0 & !Self::CODEC) | codec.id_bits())
    }

    /// The same bits with another timestamp type.
    #[must_use]
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, matches!(timestamp_type, TimestampType::LogAppendTime))
    }

    /// The same bits with the transactional bit set or cleared.
    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    /// The same bits with the control bit set or cleared.
    #[must_use]
    pub const fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    /// The same bits with the bit of the delete horizon set or cleared (KIP-534).
    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    const fn with(self, bit: u16, on: bool) -> Self {
        if on { Self(self.0 | bit) } else { Self(self.0 & !bit) }
    }
}

/// Every field of a batch header, as typed values. Reading one checks nothing but its length:
/// the counts and deltas are what the sender claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    /// Offset of the first record; 0 from a producer, assigned by the leader.
    pub base_offset: Offset,
    /// Bytes of the batch after this field; [`BatchHeader::size_bytes`] is the whole.
    pub length_bytes: i32,
    /// Epoch of the leader that appended the batch; -1 from a producer.
    pub leader_epoch: LeaderEpoch,
    /// Format of the batch; 2 in all that this crate accepts.
    pub magic: i8,
    /// Checksum of everything from the attributes to the end, as stored.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// Offset of the last record, relative to the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from (or the delete horizon).
    pub base_timestamp: Timestamp,
    /// Largest timestamp in the batch; the append time if the broker's clock counts.
    pub max_timestamp: Timestamp,
    /// Who wrote it; -1 if not idempotent.
    pub producer_id: ProducerId,
    /// Incarnation of the producer; -1 if not idempotent.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record; -1 if not idempotent.
    pub base_sequence: Sequence,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the fields from the first 61 bytes; `None` if there are fewer.
    #[must_use]
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.first_chunk::<BATCH_HEADER_BYTES>()?);
        Some(Self {
            base_offset: Offset::new(i64::from_be_bytes(fields.take()?)),
            length_bytes: i32::from_be_bytes(fields.take()?),
            leader_epoch: LeaderEpoch::new(i32::from_be_bytes(fields.take()?)),
            magic: i8::from_be_bytes(fields.take()?),
            crc: u32::from_be_bytes(fields.take()?),
            attributes: Attributes(u16::from_be_bytes(fields.take()?)),
            last_offset_delta: i32::from_be_bytes(fields.take()?),
            base_timestamp: Timestamp::from_millis(i64::from_be_bytes(fields.take()?)),
            max_timestamp: Timestamp::from_millis(i64::from_be_bytes(fields.take()?)),
            producer_id: ProducerId::new(i64::from_be_bytes(fields.take()?)),
            producer_epoch: ProducerEpoch::new(i16::from_be_bytes(fields.take()?)),
            base_sequence: Sequence::new(i32::from_be_bytes(fields.take()?)),
            record_count: i32::from_be_bytes(fields.take()?),
        })
    }

    /// The fields as they stand on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        let mut rest = &mut bytes[..];
        put(&mut rest, &self.base_offset.get().to_be_bytes());
        put(&mut rest, &self.length_bytes.to_be_bytes());
        put(&mut rest, &self.leader_epoch.get().to_be_bytes());
        put(&mut rest, &self.magic.to_be_bytes());
        put(&mut rest, &self.crc.to_be_bytes());
        put(&mut rest, &self.attributes.0.to_be_bytes());
        put(&mut rest, &self.last_offset_delta.to_be_bytes());
        put(&mut rest, &self.base_timestamp.as_millis().to_be_bytes());
        put(&mut rest, &self.max_timestamp.as_millis().to_be_bytes());
        put(&mut rest, &self.producer_id.get().to_be_bytes());
        put(&mut rest, &self.producer_epoch.get().to_be_bytes());
        put(&mut rest, &self.base_sequence.get().to_be_bytes());
        put(&mut rest, &self.record_count.to_be_bytes());
        assert!(rest.is_empty(), "the fields fill the header exactly");
        bytes
    }

    /// Bytes of the whole batch, header included; 0 if the length field is negative.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        usize::try_from(self.length_bytes).map_or(0, |length| length + LOG_OVERHEAD_BYTES)
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Sequence of the last record, wrapped; [`Sequence::NONE`] without a producer id.
    #[must_use]
    pub const fn last_sequence(&self) -> Sequence {
        if self.base_sequence.get() < 0 || self.last_offset_delta < 0 {
            Sequence::NONE
        } else {
            self.base_sequence.plus(self.last_offset_delta)
        }
    }

    /// How the records are compressed; `Err` holds an id that no codec has.
    ///
    /// # Errors
    /// The codec id, if it is none that exists.
    pub const fn codec(&self) -> Result<Codec, u8> {
        self.attributes.codec()
    }

    /// Whose clock the timestamps come from.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// Whether the batch holds a control record.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// The time from which the cleaner may drop tombstones and markers, if it set one (KIP-534).
    #[must_use]
    pub const fn delete_horizon(&self) -> Option<Timestamp> {
        if self.attributes.has_delete_horizon() { Some(self.base_timestamp) } else { None }
    }

    /// Whether the batch takes part in sequence checks.
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        self.producer_id.is_some()
    }

    /// The timestamp of a record of this batch. Wraps like Kafka's, for hostile deltas.
    #[must_use]
    pub const fn record_timestamp(&self, timestamp_delta: i64) -> Timestamp {
        match self.attributes.timestamp_type() {
            TimestampType::LogAppendTime => self.max_timestamp,
            TimestampType::CreateTime => Timestamp::from_millis(
                self.base_timestamp.as_millis().wrapping_add(timestamp_delta),
            ),
        }
    }
}

/// The first 16 bytes of a batch with base offset and leader epoch filled in.
///
/// A log writes these and then `bytes[ASSIGNED_PREFIX_BYTES..]`, so the frame the batch came in
/// stays untouched and nothing is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssignedPrefix([u8; ASSIGNED_PREFIX_BYTES]);

impl AssignedPrefix {
    /// The prefix of the batch with this header.
    #[must_use]
    pub fn new(header: &BatchHeader, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        let mut bytes = [0; ASSIGNED_PREFIX_BYTES];
        let mut rest = &mut bytes[..];
        put(&mut rest, &base_offset.get().to_be_bytes());
        put(&mut rest, &header.length_bytes.to_be_bytes());
        put(&mut rest, &leader_epoch.get().to_be_bytes());
        Self(bytes)
    }

    /// The bytes to write in place of the batch's first 16.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ASSIGNED_PREFIX_BYTES] {
        &self.0
    }
}

/// Fills base offset and leader epoch into the batch at the front of `bytes`. The checksum stays
/// valid: it covers neither.
///
/// # Errors
/// [`BatchFault::Truncated`] if there are fewer than 16 bytes.
pub fn patch_assigned(
    bytes: &mut [u8],
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
) -> Result<(), BatchError> {
    let have = bytes.len();
    let Some(prefix) = bytes.first_chunk_mut::<ASSIGNED_PREFIX_BYTES>() else {
        return Err(BatchFault::Truncated { have, need: ASSIGNED_PREFIX_BYTES }.into());
    };
    let (offset, rest) = prefix.split_at_mut(8);
    offset.copy_from_slice(&base_offset.get().to_be_bytes());
    let (_length, epoch) = rest.split_at_mut(4);
    epoch.copy_from_slice(&leader_epoch.get().to_be_bytes());
    Ok(())
}

/// Stamps the batch that is all of `bytes` with the broker's time and renews its checksum.
///
/// # Errors
/// [`BatchFault::Truncated`] if there is no whole header.
pub fn patch_log_append_time(bytes: &mut [u8], now: Timestamp) -> Result<(), BatchError> {
    patch_max_timestamp(bytes, TimestampType::LogAppendTime, now)
}

/// Sets timestamp type and max timestamp of the batch that is all of `bytes` and renews its
/// checksum; touches nothing if both are so already.
///
/// # Errors
/// [`BatchFault::Truncated`] if there is no whole header.
pub fn patch_max_timestamp(
    bytes: &mut [u8],
    timestamp_type: TimestampType,
    max_timestamp: Timestamp,
) -> Result<(), BatchError> {
    let have = bytes.len();
    let truncated = || BatchFault::Truncated { have, need: BATCH_HEADER_BYTES };
    let header = BatchHeader::read(bytes).ok_or_else(truncated)?;
    if header.timestamp_type() == timestamp_type && header.max_timestamp == max_timestamp {
        return Ok(());
    }
    let attributes = header.attributes.with_timestamp_type(timestamp_type);
    overwrite(bytes, CRC_FROM, &attributes.0.to_be_bytes()).ok_or_else(truncated)?;
    overwrite(bytes, MAX_TIMESTAMP_AT, &max_timestamp.as_millis().to_be_bytes())
        .ok_or_else(truncated)?;
    renew_crc(bytes).ok_or_else(|| truncated().into())
}

/// Computes the checksum of the batch that is all of `bytes` and stores it.
pub(crate) fn renew_crc(bytes: &mut [u8]) -> Option<()> {
    let crc = crc32c(bytes.get(CRC_FROM..)?);
    overwrite(bytes, CRC_AT, &crc.to_be_bytes())
}

fn overwrite(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + value.len())?.copy_from_slice(value);
    Some(())
}

fn put(rest: &mut &mut [u8], value: &[u8]) {
    rest.split_off_mut(..value.len())
        .expect("the buffer is sized for every field")
        .copy_from_slice(value);
}

/// The not yet read fields of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    #[inline(always)]
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests;
