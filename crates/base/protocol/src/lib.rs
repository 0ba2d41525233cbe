//! Kafka's messages, generated from `schema/`, with their headers, frames and version table.
//!
//! - [`messages`]: every message, by family: [`rpc`], [`group`], [`txn`], [`share`], [`storage`],
//!   and [`metadata`], our own.
//!   Each has a module with its parts, so that `rpc::FetchRequest` is the request and
//!   `rpc::fetch_request::FetchTopic` a part of it.
//! - [`ApiKey`]: every API with the versions that can be *decoded*.
//! - [`versions`]: the APIs and versions that a broker *serves* and advertises.
//! - [`frame`]: the header and body of a request; the frame of a response.
//! - [`fuzz`]: what must hold for any bytes; fuzz targets and property tests share it.
//! - `json` (feature `json`): the JSON form of every message, for tests and tools.
//!
//! Error codes stay `i16` in the messages, since a peer may know codes that we do not:
//! [`error_code`] and [`jocko_types::ErrorCode::code`] convert.
//!
//! This crate must not know sockets, sessions or what any request means.

#![warn(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

mod api_key;
pub mod frame;
pub mod fuzz;
#[cfg(feature = "json")]
mod json_value;
pub mod messages;
mod request_kind;
mod schema;
pub mod versions;

/// The tag of a field of ours in each broker of a DescribeCluster response: what is wrong with its
/// disk, in UTF-8; absent where nothing is. Kafka's tags count from 0, and whoever does not know a
/// tag passes over it (KIP-482).
pub const BROKER_DISK_TAG: u32 = 10_000;
/// The tag of another: it is there, and empty, where the broker is to go (`cordoned.log.dirs`).
pub const BROKER_DRAINED_TAG: u32 = 10_001;
/// The tag of a third, only for the broker that answers: the port where it answers in HTTP, in decimal
/// digits; absent where there is none.
pub const BROKER_HTTP_TAG: u32 = 10_002;

pub use api_key::ApiKey;
#[cfg(feature = "json")]
pub use messages::json;
pub use messages::{group, metadata, rpc, share, storage, txn};
pub use request_kind::RequestKind;
pub use schema::{RecordSchema, Request, Response, error_code};

pub use jocko_codec::{
    Decode, DecodeError, DecodeReason, Encode, EncodeError, EncodeReason, Hole, Message, Reader,
    RecordBytes, UnknownTaggedFields, VersionRange, Writer,
};
