//! What sets requests, responses and records apart among the messages.

use crate::ApiKey;
use jocko_codec::{Decode, Encode, Message};
use jocko_types::ErrorCode;

/// A request.
pub trait Request: Message + Encode {
    /// Its API.
    const API_KEY: ApiKey;
    /// What answers it.
    type Response<'r>: Response + Decode<'r>;
}

/// A response.
pub trait Response: Message + Encode {
    /// Its API.
    const API_KEY: ApiKey;
}

/// A key or value of a record in an internal topic, or a metadata record.
pub trait RecordSchema: Message + Encode {
    /// The number that tells this record from the others of its topic.
    const KEY: i16;
}

/// The error code of a number in a message; a number we do not know counts as
/// `UNKNOWN_SERVER_ERROR`, as in Kafka's clients.
#[must_use]
pub fn error_code(raw: i16) -> ErrorCode {
    ErrorCode::from_code(raw).unwrap_or(ErrorCode::UnknownServerError)
}
