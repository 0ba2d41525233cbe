//! Ids and units shared by every layer: one word, one meaning, one type.
//!
//! `Offset` is a position in a Kafka log, `Timestamp` a wall-clock instant, `Now` a monotonic
//! one. No state, no clock and no IO live here; arithmetic goes through named methods so that a
//! leader epoch can never be added to an offset by accident.

#![warn(missing_docs, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

#[allow(clippy::too_many_lines, reason = "tables, one line a code")]
mod error_code;
mod ids;
mod serial;
mod text;
mod time;
mod uuid;

pub use error_code::ErrorCode;
pub use ids::{
    BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch,
    ProducerId, Sequence, TopicIdPartition, TopicPartition,
};
pub use text::{TopicName, TopicNameError};
pub use time::{Now, Timestamp};
pub use uuid::{ParseUuidError, TopicId, Uuid};
