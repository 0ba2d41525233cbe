//! One batch, looked at where it lies.

use crate::compression::{Codec, decompress_into};
use crate::crc::crc32c;
use crate::error::{BatchError, BatchFault};
use crate::header::{
    BATCH_HEADER_BYTES, BatchHeader, CRC_FROM, LOG_OVERHEAD_BYTES, MAGIC, MAGIC_AT,
};
use crate::record::RecordIter;
use crate::records::TimestampOffset;
use jocko_types::{Offset, Timestamp};

/// The smallest value of the length field: a batch without records.
const LENGTH_MIN: i32 = 49;

const _: () = assert!(LOG_OVERHEAD_BYTES + 49 == BATCH_HEADER_BYTES);

/// How many bytes the batch at the front of `bytes` takes, by its own length field; `None` if not
/// even that field is there. The batch may be larger than `bytes`.
///
/// # Errors
/// [`BatchFault::Length`] if no batch can have that length.
pub fn peek_batch_bytes(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    let Some(length) = bytes.get(8..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(after) if length >= LENGTH_MIN => Ok(Some(after + LOG_OVERHEAD_BYTES)),
        _ => Err(BatchFault::Length { length }.into()),
    }
}

/// A whole batch in a buffer. Its framing has been checked; its checksum and its records have not.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Takes the batch at the front of `bytes`; returns it and what follows.
    ///
    /// # Errors
    /// [`BatchFault::Truncated`] if the buffer ends before the batch, [`BatchFault::Length`] or
    /// one of the format faults if no batch of format 2 lies there.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let truncated = |need| BatchFault::Truncated { have: bytes.len(), need };
        let size = peek_batch_bytes(bytes)?.ok_or_else(|| truncated(BATCH_HEADER_BYTES))?;
        check_magic(*bytes.get(MAGIC_AT).ok_or_else(|| truncated(BATCH_HEADER_BYTES))?)?;
        let (bytes, rest) = bytes.split_at_checked(size).ok_or_else(|| truncated(size))?;
        let header = BatchHeader::read(bytes).ok_or_else(|| truncated(BATCH_HEADER_BYTES))?;
        Ok((Self { header, bytes }, rest))
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: the records, compressed or not.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default()
    }

    /// The checksum that the bytes give.
    #[must_use]
    pub fn computed_crc(&self) -> u32 {
        crc32c(self.bytes.get(CRC_FROM..).unwrap_or_default())
    }

    /// Compares the stored checksum with the bytes.
    ///
    /// # Errors
    /// [`BatchFault::Crc`] if they differ.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = self.computed_crc();
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchFault::Crc { stored: self.header.crc, computed }.into())
        }
    }

    /// The codec.
    ///
    /// # Errors
    /// [`BatchFault::UnknownCodec`] if the attributes name none that exists.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        self.header.codec().map_err(|id| BatchFault::UnknownCodec { id }.into())
    }

    /// The records. Uncompressed ones are read in place; others are unpacked into `scratch`, which
    /// is cleared and can be used again.
    ///
    /// # Errors
    /// [`BatchFault::DecompressedTooLarge`] if they unpack to more than `decompressed_bytes_max`,
    /// [`BatchFault::Decompress`] or [`BatchFault::UnknownCodec`] if they cannot be unpacked.
    pub fn records<'b>(
        &self,
        decompressed_bytes_max: u64,
        scratch: &'b mut Vec<u8>,
    ) -> Result<RecordIter<'b>, BatchError>
    where
        'a: 'b,
    {
        let codec = self.codec()?;
        if codec == Codec::None {
            return Ok(RecordIter::new(self.payload(), self.header.record_count));
        }
        decompress_into(codec, self.payload(), decompressed_bytes_max, scratch)
            .map_err(BatchFault::from)?;
        Ok(RecordIter::new(scratch, self.header.record_count))
    }

    /// The first record at or after `from` with a timestamp of at least `target`.
    ///
    /// # Errors
    /// Those of [`BatchView::records`], and [`BatchFault::Malformed`] if a record on the way is.
    pub fn find_timestamp(
        &self,
        target: Timestamp,
        from: Offset,
        decompressed_bytes_max: u64,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<TimestampOffset>, BatchError> {
        if self.header.max_timestamp < target || self.header.last_offset() < from {
            return Ok(None);
        }
        for record in self.records(decompressed_bytes_max, scratch)? {
            let record = record?;
            let timestamp = self.header.record_timestamp(record.timestamp_delta);
            let offset = self.header.base_offset.plus(i64::from(record.offset_delta));
            if timestamp >= target && offset >= from {
                let leader_epoch = self.header.leader_epoch;
                return Ok(Some(TimestampOffset { timestamp, offset, leader_epoch }));
            }
        }
        Ok(None)
    }
}

/// Refuses every format but 2. Kafka tells the formats that once were from those that never were.
pub(crate) fn check_magic(magic: u8) -> Result<(), BatchFault> {
    match magic.cast_signed() {
        MAGIC => Ok(()),
        magic @ (0 | 1) => Err(BatchFault::OldFormat { magic }),
        magic => Err(BatchFault::UnknownFormat { magic }),
    }
}
