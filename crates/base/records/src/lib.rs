//! Record batches, format 2 (KIP-98): the only form in which records travel and rest.
//!
//! The bytes a producer sends are the bytes on disk and the bytes a consumer reads, so this crate
//! looks at them in place and changes as little as it can.
//!
//! Entry points:
//! - [`prepare`] checks a produced batch as a broker must and makes it ready to append; on the
//!   common path it borrows the input and allocates nothing.
//! - [`BatchView`] and [`whole_batches`] / [`strict_batches`] read batches from a buffer.
//! - [`AssignedPrefix`] and [`patch_assigned`] put base offset and leader epoch where they belong.
//! - [`Records`] gives a client the records of a fetched buffer; [`find_by_timestamp`] serves
//!   ListOffsets.
//! - [`RetainScratch`] leaves records out of a batch, as the log cleaner does.
//! - [`BatchBuilder`] writes batches; [`crc32c`] and [`Crc32c`] are the checksum used everywhere.
//!
//! Everything here reads bytes from outside: no indexing, no panic, no allocation by a claimed
//! length, and every decompression stops at a limit the caller names. The crate knows no clock,
//! no topic and no partition. The format, byte by byte: `docs/internals/record-batch.md`.

#![warn(
    missing_docs,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
#![cfg_attr(test, allow(clippy::indexing_slicing, reason = "a test may panic"))]

mod batches;
mod builder;
mod compression;
mod crc;
mod error;
mod fuzz;
mod header;
mod prepare;
mod record;
mod records;
mod retain;
mod validate;
mod varint;
mod view;

pub use batches::{StrictBatches, WholeBatches, strict_batches, whole_batches};
pub use builder::{BatchBuilder, BuildError, ControlRecord, ControlType};
pub use compression::{
    Codec, DecompressError, Encoding, UnknownCodecName, compress, decompress_into,
};
pub use crc::{Crc32c, crc32c};
pub use error::{BatchError, BatchFault, RECORD_ERRORS_MAX, RecordError, RecordFault};
pub use fuzz::fuzz_batch;
pub use header::{
    ASSIGNED_PREFIX_BYTES, AssignedPrefix, Attributes, BATCH_HEADER_BYTES, BatchHeader,
    LOG_OVERHEAD_BYTES, TimestampType, patch_assigned, patch_log_append_time, patch_max_timestamp,
};
pub use prepare::{Compression, PreparedBatch, Rewrite, prepare};
pub use record::{Header, Headers, RecordIter, RecordView};
pub use records::{FetchedRecord, Records, TimestampOffset, find_by_timestamp};
pub use retain::{RetainScratch, Retained, emptied_batch};
pub use validate::{AppendRules, Checked, Origin, check};
pub use view::{BatchView, peek_batch_bytes};
