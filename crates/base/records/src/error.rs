//! Why a batch is refused: the code for the client, the reason in words, the records at fault.

use crate::compression::DecompressError;
use jocko_types::{ErrorCode, Offset, ProducerId, Sequence, Timestamp};
use thiserror::Error;

/// The most records at fault that one error names; the code still speaks for all of them.
///
/// Without it a batch of a few bytes per record could be answered by a reply many times its size.
pub const RECORD_ERRORS_MAX: usize = 1_000;

/// A refused batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{fault}")]
pub struct BatchError {
    fault: BatchFault,
    record_errors: Vec<RecordError>,
}

impl BatchError {
    /// The code that goes to the client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.fault.code()
    }

    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> &BatchFault {
        &self.fault
    }

    /// The records at fault, by index; empty if the batch as a whole is. At most
    /// [`RECORD_ERRORS_MAX`].
    #[must_use]
    pub fn record_errors(&self) -> &[RecordError] {
        &self.record_errors
    }

    pub(crate) const fn of_records(fault: BatchFault, record_errors: Vec<RecordError>) -> Self {
        Self { fault, record_errors }
    }
}

impl From<BatchFault> for BatchError {
    fn from(fault: BatchFault) -> Self {
        Self { fault, record_errors: Vec::new() }
    }
}

/// What is wrong with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchFault {
    /// The buffer ends before the batch does.
    #[error("the batch is cut short: {have} bytes where at least {need} are needed")]
    Truncated {
        /// Bytes in the buffer.
        have: usize,
        /// Bytes needed to read on.
        need: usize,
    },
    /// The length field is smaller than a header or larger than a batch may be.
    #[error("the length field says {length}, which no batch can have")]
    Length {
        /// The length field.
        length: i32,
    },
    /// Format 0 or 1, which Kafka 4 no longer takes (KIP-724).
    #[error("message format {magic} is not supported any more, only 2 is")]
    OldFormat {
        /// The magic byte.
        magic: i8,
    },
    /// A format that does not exist.
    #[error("message format {magic} does not exist")]
    UnknownFormat {
        /// The magic byte.
        magic: i8,
    },
    /// The checksum does not fit the bytes.
    #[error("the checksum is {computed:#010x}, the batch says {stored:#010x}")]
    Crc {
        /// What the batch says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A produce request must carry exactly one batch per partition.
    #[error("a produce request must carry exactly one batch per partition, this one has none")]
    NoBatch,
    /// A produce request must carry exactly one batch per partition.
    #[error("a produce request must carry exactly one batch per partition, this one has more")]
    MoreThanOneBatch,
    /// The producer set a base offset, which is the leader's to assign.
    #[error("the base offset from a producer must be 0, it is {base_offset}")]
    BaseOffset {
        /// What the producer set.
        base_offset: Offset,
    },
    /// Larger than the topic's `max.message.bytes`.
    #[error("the batch has {size_bytes} bytes, max.message.bytes allows {size_bytes_max}")]
    TooLarge {
        /// Bytes of the batch, as sent or as recompressed.
        size_bytes: usize,
        /// The topic's limit.
        size_bytes_max: usize,
    },
    /// The records take more room than a broker is willing to unpack.
    #[error("the records unpack to more than {decompressed_bytes_max} bytes; send smaller batches")]
    DecompressedTooLarge {
        /// The limit.
        decompressed_bytes_max: u64,
    },
    /// Record count and offset range contradict each other, or one of them is not positive.
    #[error("record count {record_count} does not fit last offset delta {last_offset_delta}")]
    Count {
        /// The count field.
        record_count: i32,
        /// The last offset delta field.
        last_offset_delta: i32,
    },
    /// Control records are the broker's to write.
    #[error("control records can only be written by the broker")]
    ControlFromClient,
    /// A producer id without a sequence.
    #[error("producer id {producer_id} came with the invalid sequence {base_sequence}")]
    Sequence {
        /// Who sent it.
        producer_id: ProducerId,
        /// What it says.
        base_sequence: Sequence,
    },
    /// A codec id that does not exist.
    #[error("compression codec {id} does not exist")]
    UnknownCodec {
        /// The attribute bits.
        id: u8,
    },
    /// zstd came with Produce version 7 (KIP-110).
    #[error("zstd is allowed from version 7 of the produce request on")]
    ZstdNotAllowed,
    /// The compressed records are damaged.
    #[error("the compressed records cannot be unpacked: {0}")]
    Decompress(DecompressError),
    /// The records cannot be read: a length lies, or bytes are missing.
    #[error("record {index} is malformed: {problem}")]
    Malformed {
        /// Index of the record, from 0.
        index: i32,
        /// What about it.
        problem: &'static str,
    },
    /// Bytes are left after the last record.
    #[error("bytes are left after the last of {record_count} records")]
    TrailingBytes {
        /// The count field.
        record_count: i32,
    },
    /// Some timestamps are out of bounds, or of the wrong type.
    #[error("{count} records have an invalid timestamp or another fault")]
    InvalidTimestamps {
        /// Records at fault, of any kind.
        count: u32,
    },
    /// Some records break a rule of the topic.
    #[error("{count} records were refused")]
    InvalidRecords {
        /// Records at fault.
        count: u32,
    },
}

impl BatchFault {
    /// The code that Kafka answers for this fault.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Length { .. } | Self::UnknownFormat { .. } | Self::Crc { .. } => {
                ErrorCode::CorruptMessage
            }
            Self::TooLarge { .. } | Self::DecompressedTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::ZstdNotAllowed => ErrorCode::UnsupportedCompressionType,
            Self::InvalidTimestamps { .. } => ErrorCode::InvalidTimestamp,
            // Not a kind word, but not retriable either: the same bytes would fail again.
            Self::UnknownCodec { .. } | Self::Decompress(_) => ErrorCode::UnknownServerError,
            Self::Truncated { .. }
            | Self::OldFormat { .. }
            | Self::NoBatch
            | Self::MoreThanOneBatch
            | Self::BaseOffset { .. }
            | Self::Count { .. }
            | Self::ControlFromClient
            | Self::Sequence { .. }
            | Self::Malformed { .. }
            | Self::TrailingBytes { .. }
            | Self::InvalidRecords { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// Whether Kafka puts this fault's words into the produce response (`error_message`) beside
    /// the code: it does so only for faults it finds in the records themselves.
    #[must_use]
    pub const fn is_told_in_words(&self) -> bool {
        matches!(self, Self::InvalidTimestamps { .. } | Self::InvalidRecords { .. })
    }
}

/// One record at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError {
    /// Index of the record in its batch, from 0 (`batch_index` of the produce response).
    pub index: i32,
    /// What is wrong with it; its `Display` is the `batch_index_error_message`.
    pub fault: RecordFault,
}

/// What is wrong with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// The timestamp lies outside of what the topic allows.
    #[error("timestamp {timestamp} is outside of [{earliest}, {latest}]")]
    TimestampOutOfRange {
        /// The record's timestamp.
        timestamp: Timestamp,
        /// `now - message.timestamp.before.max.ms`.
        earliest: Timestamp,
        /// `now + message.timestamp.after.max.ms`.
        latest: Timestamp,
    },
    /// The producer claims an append time, which only the broker may set.
    #[error("a producer must not set the timestamp type to LogAppendTime")]
    LogAppendTimeFromClient,
    /// A compacted topic cannot place a record without a key.
    #[error("a compacted topic takes no record without a key")]
    KeyMissing,
}
