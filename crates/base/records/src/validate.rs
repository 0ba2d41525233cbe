//! What a broker checks in a batch before it appends it: as deep as Kafka, with its error codes.
//!
//! Uncompressed records are walked in place. Compressed ones are walked through a window of their
//! unpacked bytes, never held as a whole, and never beyond [`AppendRules::decompressed_bytes_max`]
//! (row S10 of the hostile-input table: bombs).

use crate::compression::{ByteStream, Codec, DecompressError, with_stream};
use crate::error::{BatchError, BatchFault, RECORD_ERRORS_MAX, RecordError, RecordFault};
use crate::header::{BatchHeader, TimestampType};
use crate::prepare::Compression;
use crate::record::{check_end, read_body, read_record};
use crate::view::BatchView;
use jocko_types::Timestamp;

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Origin {
    /// A producer: nothing is believed.
    #[default]
    Client,
    /// The broker itself: control records, base offsets and odd counts are its own business.
    Coordinator,
}

/// What a topic and a request allow. Times are milliseconds, sizes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendRules {
    /// Who appends.
    pub origin: Origin,
    /// `max.message.bytes`: the largest batch, as sent and as stored.
    pub max_message_bytes: usize,
    /// The most that a batch may unpack to; see [`AppendRules::decompressed_bytes_max_for`].
    pub decompressed_bytes_max: u64,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// The broker's time.
    pub now: Timestamp,
    /// `compression.type`.
    pub compression: Compression,
    /// Whether `cleanup.policy` includes `compact`, so that every record needs a key.
    pub compacted: bool,
    /// Whether the request may carry zstd: Produce from version 7 on (KIP-110).
    pub zstd_allowed: bool,
}

impl AppendRules {
    /// What one byte of `max.message.bytes` may unpack to.
    const DECOMPRESSED_FACTOR: u64 = 64;
    /// Small topics still take what an ordinary client packs well.
    const DECOMPRESSED_BYTES_FLOOR: u64 = 16 * 1024 * 1024;
    /// No topic setting makes a broker unpack more than this for one batch.
    const DECOMPRESSED_BYTES_CEILING: u64 = 1024 * 1024 * 1024;

    /// The rules of a topic with Kafka's defaults, for a producer at time `now`.
    #[must_use]
    pub fn defaults(now: Timestamp) -> Self {
        let max_message_bytes = 1024 * 1024 + crate::header::LOG_OVERHEAD_BYTES;
        Self {
            origin: Origin::Client,
            max_message_bytes,
            decompressed_bytes_max: Self::decompressed_bytes_max_for(max_message_bytes),
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            now,
            compression: Compression::Producer,
            compacted: false,
            zstd_allowed: true,
        }
    }

    /// The bound on unpacked bytes for a topic with this `max.message.bytes`: 64 times as much,
    /// but at least 16 MiB and at most 1 GiB.
    #[must_use]
    pub fn decompressed_bytes_max_for(max_message_bytes: usize) -> u64 {
        let wanted = u64::try_from(max_message_bytes).unwrap_or(u64::MAX);
        wanted
            .saturating_mul(Self::DECOMPRESSED_FACTOR)
            .clamp(Self::DECOMPRESSED_BYTES_FLOOR, Self::DECOMPRESSED_BYTES_CEILING)
    }
}

/// What a walk through the records found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The largest timestamp of the records; [`Timestamp::NONE`] if none carries one.
    pub max_timestamp: Timestamp,
    /// Offset of the first record with it, relative to the first record; 0 if none carries one.
    pub max_timestamp_offset_delta: i32,
    /// Records walked.
    pub record_count: i32,
    /// Whether the records' own offsets count 0, 1, 2...
    pub are_offsets_consecutive: bool,
    /// Bytes of the records, unpacked.
    pub records_bytes: u64,
}

/// Checks header and records of a batch whose framing, size and checksum are already known to be
/// good; [`crate::prepare`] does all of it.
///
/// # Errors
/// The first fault of the batch, or all faults of its records together.
pub fn check(batch: &BatchView<'_>, rules: &AppendRules) -> Result<Checked, BatchError> {
    let header = batch.header();
    if rules.origin == Origin::Client {
        check_header(header)?;
    } else if header.record_count < 0 {
        return Err(count_fault(header).into());
    }
    let codec = batch.codec()?;
    let mut walk = Walk::new(header, rules);
    let records_bytes = match codec {
        Codec::None => {
            walk_plain(batch.payload(), header.record_count, &mut walk)?;
            u64::try_from(batch.payload().len()).unwrap_or(u64::MAX)
        }
        codec => with_stream(codec, batch.payload(), rules.decompressed_bytes_max, |stream| {
            Ok(walk_stream(stream, header.record_count, &mut walk)?
                .map(|()| stream.decompressed_bytes()))
        })
        .map_err(BatchFault::from)??,
    };
    walk.finish(header.record_count, records_bytes)
}

/// What the header alone gives away; only producers are held to it.
fn check_header(header: &BatchHeader) -> Result<(), BatchFault> {
    let count_by_offsets = i64::from(header.last_offset_delta) + 1;
    if count_by_offsets <= 0
        || header.record_count <= 0
        || count_by_offsets != i64::from(header.record_count)
    {
        return Err(count_fault(header));
    }
    if header.is_control() {
        return Err(BatchFault::ControlFromClient);
    }
    if header.is_idempotent() && header.base_sequence.get() < 0 {
        return Err(BatchFault::Sequence {
            producer_id: header.producer_id,
            base_sequence: header.base_sequence,
        });
    }
    Ok(())
}

const fn count_fault(header: &BatchHeader) -> BatchFault {
    BatchFault::Count {
        record_count: header.record_count,
        last_offset_delta: header.last_offset_delta,
    }
}

fn walk_plain(payload: &[u8], record_count: i32, walk: &mut Walk<'_>) -> Result<(), BatchFault> {
    let mut rest = payload;
    for index in 0..record_count {
        let record =
            read_record(&mut rest).map_err(|problem| BatchFault::Malformed { index, problem })?;
        walk.observe(index, record.timestamp_delta, record.offset_delta, record.key.is_some());
    }
    check_end(rest, record_count)
}

/// Walks unpacked records. The outer error is the codec's, the inner one the records'.
fn walk_stream(
    stream: &mut ByteStream<'_, '_>,
    record_count: i32,
    walk: &mut Walk<'_>,
) -> Result<Result<(), BatchFault>, DecompressError> {
    for index in 0..record_count {
        match stream_record(stream, index, walk)? {
            Ok(()) => {}
            Err(problem) => return Ok(Err(BatchFault::Malformed { index, problem })),
        }
    }
    Ok(check_end(stream.peek(1)?, record_count))
}

fn stream_record(
    stream: &mut ByteStream<'_, '_>,
    index: i32,
    walk: &mut Walk<'_>,
) -> Result<Result<(), &'static str>, DecompressError> {
    let Some(size) = stream.varint()? else {
        return Ok(Err("its length is cut short or too long"));
    };
    let Ok(size) = usize::try_from(size) else {
        return Ok(Err("its length is negative"));
    };
    if size > stream.window_bytes() {
        return stream_long_record(stream, size, index, walk);
    }
    let body = stream.peek(size)?;
    if body.len() < size {
        return Ok(Err("it is longer than what is left"));
    }
    let record = match read_body(body) {
        Ok(record) => record,
        Err(problem) => return Ok(Err(problem)),
    };
    walk.observe(index, record.timestamp_delta, record.offset_delta, record.key.is_some());
    stream.take(size);
    Ok(Ok(()))
}

/// A record larger than the window: read field by field, passing over keys and values.
fn stream_long_record(
    stream: &mut ByteStream<'_, '_>,
    size: usize,
    index: i32,
    walk: &mut Walk<'_>,
) -> Result<Result<(), &'static str>, DecompressError> {
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    let end = stream.position().saturating_add(size);
    let mut body = LongBody { stream, end };
    let fields = match body.fields()? {
        Ok(fields) => fields,
        Err(problem) => return Ok(Err(problem)),
    };
    if body.stream.position() != end {
        return Ok(Err("its length does not fit its fields"));
    }
    walk.observe(index, fields.timestamp_delta, fields.offset_delta, fields.has_key);
    Ok(Ok(()))
}

/// A record being read field by field, and where in the stream it ends.
struct LongBody<'b, 's, 'a> {
    stream: &'b mut ByteStream<'s, 'a>,
    end: u64,
}

/// What the walk wants to know of a record.
struct LongFields {
    timestamp_delta: i64,
    offset_delta: i32,
    has_key: bool,
}

/// A field, or what is wrong with it; the outer error is the codec's.
type Field<T> = Result<Result<T, &'static str>, DecompressError>;

/// Takes the value out of a [`Field`] or hands its problem on.
macro_rules! field {
    ($field:expr) => {
        match $field? {
            Ok(value) => value,
            Err(problem) => return Ok(Err(problem)),
        }
    };
}

impl LongBody<'_, '_, '_> {
    fn fields(&mut self) -> Field<LongFields> {
        field!(self.skip(1));
        let timestamp_delta = field!(self.varlong());
        let offset_delta = field!(self.varint());
        let has_key = field!(self.skip_nullable());
        field!(self.skip_nullable());
        let header_count = field!(self.varint());
        if u64::try_from(header_count).map_or(true, |count| count > self.left()) {
            return Ok(Err("its header count is negative or larger than the record"));
        }
        for _ in 0..header_count {
            if !field!(self.skip_nullable()) {
                return Ok(Err("a header's key is null"));
            }
            field!(self.skip_nullable());
        }
        Ok(Ok(LongFields { timestamp_delta, offset_delta, has_key }))
    }

    /// Passes over a length and that many bytes; `false` if it is null.
    fn skip_nullable(&mut self) -> Field<bool> {
        let length = field!(self.varint());
        if length < 0 {
            return Ok(Ok(false));
        }
        field!(self.skip(u64::from(length.unsigned_abs())));
        Ok(Ok(true))
    }

    fn skip(&mut self, count: u64) -> Field<()> {
        if count <= self.left() && self.stream.skip(count)? {
            Ok(Ok(()))
        } else {
            Ok(Err("a field is longer than the record"))
        }
    }

    fn left(&self) -> u64 {
        self.end.saturating_sub(self.stream.position())
    }

    fn varint(&mut self) -> Field<i32> {
        Ok(self.stream.varint()?.ok_or("a number is cut short or too long"))
    }

    fn varlong(&mut self) -> Field<i64> {
        Ok(self.stream.varlong()?.ok_or("a number is cut short or too long"))
    }
}

impl From<DecompressError> for BatchFault {
    fn from(error: DecompressError) -> Self {
        match error {
            DecompressError::Limit { limit_bytes } => {
                Self::DecompressedTooLarge { decompressed_bytes_max: limit_bytes }
            }
            error => Self::Decompress(error),
        }
    }
}

/// What the records say so far.
struct Walk<'r> {
    header: &'r BatchHeader,
    rules: &'r AppendRules,
    max_timestamp: Timestamp,
    max_timestamp_index: i32,
    are_offsets_consecutive: bool,
    has_invalid_timestamp: bool,
    error_count: u32,
    errors: Vec<RecordError>,
}

impl<'r> Walk<'r> {
    const fn new(header: &'r BatchHeader, rules: &'r AppendRules) -> Self {
        Self {
            header,
            rules,
            max_timestamp: Timestamp::NONE,
            max_timestamp_index: 0,
            are_offsets_consecutive: true,
            has_invalid_timestamp: false,
            error_count: 0,
            errors: Vec::new(),
        }
    }

    #[inline(always)]
    fn observe(&mut self, index: i32, timestamp_delta: i64, offset_delta: i32, has_key: bool) {
        let timestamp = self.header.record_timestamp(timestamp_delta);
        if timestamp > self.max_timestamp {
            self.max_timestamp = timestamp;
            self.max_timestamp_index = index;
        }
        self.are_offsets_consecutive &= offset_delta == index;
        if self.rules.compacted && !has_key {
            self.refuse(index, RecordFault::KeyMissing);
        } else if self.rules.timestamp_type == TimestampType::CreateTime
            && timestamp != Timestamp::NONE
        {
            if is_out_of_range(timestamp, self.rules) {
                self.refuse(index, out_of_range(timestamp, self.rules));
            }
        } else if self.header.timestamp_type() == TimestampType::LogAppendTime {
            self.refuse(index, RecordFault::LogAppendTimeFromClient);
        }
    }

    #[cold]
    fn refuse(&mut self, index: i32, fault: RecordFault) {
        self.error_count = self.error_count.saturating_add(1);
        self.has_invalid_timestamp |= !matches!(fault, RecordFault::KeyMissing);
        if self.errors.len() < RECORD_ERRORS_MAX {
            self.errors.push(RecordError { index, fault });
        }
    }

    fn finish(self, record_count: i32, records_bytes: u64) -> Result<Checked, BatchError> {
        if self.error_count > 0 {
            let count = self.error_count;
            let fault = if self.has_invalid_timestamp {
                BatchFault::InvalidTimestamps { count }
            } else {
                BatchFault::InvalidRecords { count }
            };
            return Err(BatchError::of_records(fault, self.errors));
        }
        Ok(Checked {
            max_timestamp: self.max_timestamp,
            max_timestamp_offset_delta: self.max_timestamp_index,
            record_count,
            are_offsets_consecutive: self.are_offsets_consecutive,
            records_bytes,
        })
    }
}

/// Wraps as Kafka's arithmetic does, so that extreme bounds and timestamps decide alike.
const fn is_out_of_range(timestamp: Timestamp, rules: &AppendRules) -> bool {
    let age_ms = rules.now.as_millis().wrapping_sub(timestamp.as_millis());
    age_ms > rules.timestamp_before_max_ms || age_ms.wrapping_neg() > rules.timestamp_after_max_ms
}

const fn out_of_range(timestamp: Timestamp, rules: &AppendRules) -> RecordFault {
    let now = rules.now.as_millis();
    RecordFault::TimestampOutOfRange {
        timestamp,
        earliest: Timestamp::from_millis(now.saturating_sub(rules.timestamp_before_max_ms)),
        latest: Timestamp::from_millis(now.saturating_add(rules.timestamp_after_max_ms)),
    }
}

#[cfg(test)]
mod tests;
