//! What clients tell of themselves: one JSON object a line, so that programs in any language can
//! write it.
//!
//! ```text
//! {"op":"send","process":1,"topic":"t","partition":0,"value":1099511627776,"offset":17}
//! {"op":"send","process":1,"topic":"t","partition":0,"value":1099511627777,"count":3,"outcome":"unknown"}
//! {"op":"poll","process":2,"topic":"t","partition":0,"records":[[17,1099511627776,1]]}
//! {"op":"seek","process":2,"topic":"t","partition":0}
//! {"op":"final","process":3,"topic":"t","partition":0,"end":18}
//! ```

use jocko_types::ErrorCode;
use serde::{Deserialize, Serialize};

/// Records with consecutive offsets whose values are consecutive too: the first offset, the first
/// value, how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run(pub i64, pub u64, pub u32);

/// What became of records that were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Acknowledged: they are at the offset that the event names, and must stay there.
    #[default]
    Acknowledged,
    /// Nobody knows: they may be there, now or later, or not.
    Unknown,
    /// Certainly never written.
    Failed,
}

impl Outcome {
    /// The outcome of an attempt that a broker has answered with an error. Only errors that come
    /// before any append are failures. A leader that says that it is none may have appended
    /// before it found out, so that is no failure, and neither is anything
    /// that stands not here.
    #[must_use]
    pub const fn of_refusal(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidTopicException
            | ErrorCode::BrokerNotAvailable
            | ErrorCode::NotController
            | ErrorCode::MessageTooLarge
            | ErrorCode::InvalidRequiredAcks
            | ErrorCode::InvalidRecord
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::UnsupportedVersion => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// What several attempts at the same records come to: once in doubt, always in doubt.
    #[must_use]
    pub const fn and(self, later: Self) -> Self {
        match (self, later) {
            (_, Self::Acknowledged) => Self::Acknowledged,
            (Self::Failed, Self::Failed) => Self::Failed,
            _ => Self::Unknown,
        }
    }
}

/// One line of a history. The lines of one process stand in the order in which it did these
/// things; those of different processes in any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Event {
    /// Records were sent, as one batch if there are several: all or none of them are written.
    Send {
        /// Who: a number of its own for each producer that begins anew.
        process: u32,
        /// To which topic.
        topic: String,
        /// To which partition.
        partition: u32,
        /// The value of the first, unique over the whole history; the next have the next ones.
        /// Values of one process rise in the order in which it sent them. 0 is no value.
        value: u64,
        /// How many records.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        count: u32,
        /// Where the first is, if they are acknowledged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<i64>,
        /// What became of them.
        #[serde(default, skip_serializing_if = "is_acknowledged")]
        outcome: Outcome,
    },
    /// A consumer was handed records of a partition.
    Poll {
        /// Who.
        process: u32,
        /// From which topic.
        topic: String,
        /// From which partition.
        partition: u32,
        /// What, in the order handed over.
        records: Vec<Run>,
    },
    /// A consumer begins somewhere in a partition: it was given it, or went to another place. What
    /// comes next may be anything.
    Seek {
        /// Who.
        process: u32,
        /// In which topic.
        topic: String,
        /// In which partition.
        partition: u32,
    },
    /// After the faults, somebody is going to read the partition from its start to this end: what
    /// was ever acknowledged or read must be among what the polls of this process bring.
    Final {
        /// Who: a consumer that has not read before.
        process: u32,
        /// Of which topic.
        topic: String,
        /// Which partition.
        partition: u32,
        /// The offset after the last record, as the leader says.
        end: i64,
    },
}

impl Event {
    /// The event as a line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("events hold nothing that JSON cannot say")
    }
}

const fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_one(count: &u32) -> bool {
    *count == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_acknowledged(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Acknowledged)
}
