//! Bounded reading and writing of the Kafka wire format.
//!
//! [`Reader`] walks a borrowed frame and never allocates by a number it read: every count is
//! checked against the bytes that remain, and all arrays of one message share a budget of
//! elements. [`Writer`] appends to a buffer that its owner reuses, and leaves *holes* where record
//! bytes belong, so that those go from their file or buffer to the socket without a copy.
//!
//! What the messages look like is generated, in `jocko-protocol`; this crate must not know.
//! Callers of [`Decode::decode`] bring a whole frame; callers of [`Encode::encode`] check the
//! result before they send, since a failed encoding leaves half a message in the buffer.

#![warn(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

mod error;
mod message;
mod reader;
mod records;
mod tagged;
mod writer;

pub use error::{DecodeError, DecodeReason, EncodeError, EncodeReason};
pub use message::{Decode, Encode, Message, VersionRange};
pub use reader::{ELEMENTS_MAX, Reader, STRING_BYTES_MAX};
pub use records::RecordBytes;
pub use tagged::{RawTaggedField, TAGGED_FIELDS_MAX, UnknownTaggedFields};
pub use writer::{Hole, TagSection, Writer};
