//! From the bytes of a produce request to a batch that can be appended.

use crate::compression::{Codec, Encoding, compress, decompress_into};
use crate::error::{BatchError, BatchFault};
use crate::header::{
    BATCH_HEADER_BYTES, BatchHeader, LOG_OVERHEAD_BYTES, MAGIC_AT, TimestampType,
    patch_max_timestamp, renew_crc,
};
use crate::record::{RecordIter, write_record};
use crate::validate::{AppendRules, Checked, Origin, check};
use crate::view::{BatchView, check_magic};
use jocko_types::{Offset, Timestamp};
use std::borrow::Cow;

/// A topic's `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Store what the producer sends.
    #[default]
    Producer,
    /// Store with this codec; batches that already have it pass as they are.
    Target(Encoding),
}

/// How much of a batch had to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rewrite {
    /// Nothing: the bytes are the producer's.
    None,
    /// The header: timestamp type or max timestamp, and with them the checksum.
    Header,
    /// The records: another codec, or offsets that did not count 0, 1, 2...
    Records,
}

/// A batch that has passed every check and can be appended once offsets are assigned.
#[derive(Debug, Clone)]
pub struct PreparedBatch<'a> {
    /// The whole batch, with base offset and leader epoch still as they came; see
    /// [`crate::AssignedPrefix`].
    pub bytes: Cow<'a, [u8]>,
    /// The header of `bytes`.
    pub header: BatchHeader,
    /// The largest timestamp, as stored; the append time if the broker's clock counts.
    pub max_timestamp: Timestamp,
    /// Offset of the first record with that timestamp, relative to the base offset.
    pub max_timestamp_offset_delta: i32,
    /// Number of records.
    pub record_count: i32,
    /// Bytes of the records, unpacked.
    pub records_bytes: u64,
    /// The append time, if the topic stamps batches; goes into the produce response.
    pub log_append_time: Option<Timestamp>,
    /// How much had to change.
    pub rewrite: Rewrite,
}

/// Checks the records that a produce request carries for one partition, and makes them fit the
/// topic. With the producer's codec and timestamps, which is the common path, it borrows `bytes`
/// and allocates nothing.
///
/// The checks and their order are Kafka's (`ProduceRequest`, `UnifiedLog`, `LogValidator`), so a
/// batch with several faults gets the same code. Bytes after the batch that cannot be another one
/// are dropped, as there.
///
/// # Errors
/// What is wrong, with the code for the client and the records at fault.
pub fn prepare<'a>(bytes: &'a [u8], rules: &AppendRules) -> Result<PreparedBatch<'a>, BatchError> {
    let batch = only_batch(bytes, rules)?;
    check_size(batch.bytes().len(), rules)?;
    batch.check_crc()?;
    let checked = check(&batch, rules)?;
    let source = batch.codec()?;
    let target = target_encoding(&batch, source, rules);
    let (timestamp_type, max_timestamp, log_append_time) = match rules.timestamp_type {
        TimestampType::CreateTime => (TimestampType::CreateTime, checked.max_timestamp, None),
        TimestampType::LogAppendTime => (TimestampType::LogAppendTime, rules.now, Some(rules.now)),
    };
    let mut header = *batch.header();
    let (bytes, rewrite) = if target.codec != source || !checked.are_offsets_consecutive {
        header.attributes = header.attributes.with_timestamp_type(timestamp_type);
        header.max_timestamp = max_timestamp;
        let rewritten = rewrite_records(&batch, &header, &checked, source, target, rules)?;
        check_size(rewritten.len(), rules)?;
        (Cow::Owned(rewritten), Rewrite::Records)
    } else if header.timestamp_type() != timestamp_type || header.max_timestamp != max_timestamp {
        let mut patched = batch.bytes().to_vec();
        patch_max_timestamp(&mut patched, timestamp_type, max_timestamp)?;
        (Cow::Owned(patched), Rewrite::Header)
    } else {
        (Cow::Borrowed(batch.bytes()), Rewrite::None)
    };
    if rewrite != Rewrite::None {
        header = BatchHeader::read(&bytes).expect("a rewritten batch has a whole header");
    }
    Ok(PreparedBatch {
        bytes,
        header,
        max_timestamp,
        max_timestamp_offset_delta: if log_append_time.is_some() {
            0
        } else {
            checked.max_timestamp_offset_delta
        },
        record_count: checked.record_count,
        records_bytes: checked.records_bytes,
        log_append_time,
        rewrite,
    })
}

/// The smallest length field Kafka's framing takes: a record of format 0.
const FRAMED_LENGTH_MIN: i32 = 14;

/// What Kafka's framing sees at the front of a buffer.
enum Framed<'a> {
    /// A batch of some format, and what follows it.
    Batch(&'a [u8], &'a [u8]),
    /// Too few bytes for another batch.
    End,
}

/// Splits off the bytes of a batch without looking further than Kafka does at this point.
fn frame(bytes: &[u8]) -> Result<Framed<'_>, BatchFault> {
    let Some(length) = bytes.get(8..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Ok(Framed::End);
    };
    let length = i32::from_be_bytes(*length);
    let size = match usize::try_from(length) {
        Ok(after) if length >= FRAMED_LENGTH_MIN => after + LOG_OVERHEAD_BYTES,
        _ => return Err(BatchFault::Length { length }),
    };
    let Some(&magic) = bytes.get(MAGIC_AT) else { return Ok(Framed::End) };
    if let Err(fault @ BatchFault::UnknownFormat { .. }) = check_magic(magic) {
        return Err(fault);
    }
    Ok(bytes.split_at_checked(size).map_or(Framed::End, |(batch, rest)| Framed::Batch(batch, rest)))
}

/// The one batch of a produce request (KIP-98: exactly one since version 3).
fn only_batch<'a>(bytes: &'a [u8], rules: &AppendRules) -> Result<BatchView<'a>, BatchError> {
    let Framed::Batch(bytes, rest) = frame(bytes)? else {
        return Err(BatchFault::NoBatch.into());
    };
    check_magic(bytes.get(MAGIC_AT).copied().unwrap_or_default())?;
    let header = BatchHeader::read(bytes);
    if !rules.zstd_allowed && header.is_some_and(|header| header.codec() == Ok(Codec::Zstd)) {
        return Err(BatchFault::ZstdNotAllowed.into());
    }
    if let Framed::Batch(..) = frame(rest)? {
        return Err(BatchFault::MoreThanOneBatch.into());
    }
    let base_offset = bytes.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    if rules.origin == Origin::Client && base_offset != 0 {
        return Err(BatchFault::BaseOffset { base_offset: Offset::new(base_offset) }.into());
    }
    BatchView::parse(bytes).map(|(batch, _)| batch)
}

const fn too_large(size_bytes: usize, rules: &AppendRules) -> BatchFault {
    BatchFault::TooLarge { size_bytes, size_bytes_max: rules.max_message_bytes }
}

fn check_size(size_bytes: usize, rules: &AppendRules) -> Result<(), BatchFault> {
    if size_bytes > rules.max_message_bytes { Err(too_large(size_bytes, rules)) } else { Ok(()) }
}

/// Control records stay as the broker wrote them, so that every reader can make them out.
fn target_encoding(batch: &BatchView<'_>, source: Codec, rules: &AppendRules) -> Encoding {
    match rules.compression {
        Compression::Target(encoding)
            if !(batch.header().is_control() && source == Codec::None) =>
        {
            encoding
        }
        _ => Encoding::new(source),
    }
}

/// Writes the batch anew under `header`, whose codec, size and checksum are set here.
fn rewrite_records(
    batch: &BatchView<'_>,
    header: &BatchHeader,
    checked: &Checked,
    source: Codec,
    target: Encoding,
    rules: &AppendRules,
) -> Result<Vec<u8>, BatchError> {
    let mut unpacked = Vec::new();
    let mut records: Cow<'_, [u8]> = if source == Codec::None {
        Cow::Borrowed(batch.payload())
    } else {
        decompress_into(source, batch.payload(), rules.decompressed_bytes_max, &mut unpacked)
            .map_err(BatchFault::from)?;
        Cow::Owned(unpacked)
    };
    if !checked.are_offsets_consecutive {
        records = Cow::Owned(renumber(&records, checked.record_count)?);
    }
    let mut bytes = vec![0; BATCH_HEADER_BYTES];
    compress(target, &records, &mut bytes);
    let length_bytes = i32::try_from(bytes.len() - LOG_OVERHEAD_BYTES)
        .map_err(|_| too_large(bytes.len(), rules))?;
    let fields = BatchHeader {
        length_bytes,
        attributes: header.attributes.with_codec(target.codec),
        ..*header
    };
    bytes
        .first_chunk_mut::<BATCH_HEADER_BYTES>()
        .expect("the header was reserved first")
        .copy_from_slice(&fields.to_bytes());
    renew_crc(&mut bytes).expect("the batch has a whole header");
    Ok(bytes)
}

/// The same records, with offsets that count 0, 1, 2...
///
/// Some clients number them wrongly. Kafka takes such a batch; were it stored as it is, two
/// records could share an offset.
fn renumber(records: &[u8], record_count: i32) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::with_capacity(records.len());
    for (offset_delta, record) in (0..record_count).zip(RecordIter::new(records, record_count)) {
        let record = record?;
        let deltas = (record.timestamp_delta, offset_delta);
        write_record(&mut out, deltas, record.key, record.value, record.headers());
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
