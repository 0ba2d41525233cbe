//! What can go wrong between a client and a broker.

use jocko_protocol::{ApiKey, DecodeError, EncodeError};
use jocko_records::BuildError;
use jocko_types::ErrorCode;
use std::io;
use std::time::Duration;

/// What client calls return.
pub type Result<T> = std::result::Result<T, ClientError>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address has no broker behind it.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// Where.
        address: String,
        /// The system's word.
        source: io::Error,
    },
    /// Of several addresses none has a broker behind it that answers.
    #[error("{0}")]
    NobodyAnswers(String),
    /// The connection broke under a request; it may or may not have been carried out.
    #[error("the connection to {address} broke: {source}")]
    Broken {
        /// With whom.
        address: String,
        /// The system's word.
        source: io::Error,
    },
    /// What answers speaks HTTP, as a broker's other port does.
    #[error("{address} answers in HTTP, not in Kafka's protocol")]
    NotKafka {
        /// Who.
        address: String,
    },
    /// No answer in time; the request may or may not have been carried out.
    #[error("{address} did not answer within {waited:?}")]
    TimedOut {
        /// Who.
        address: String,
        /// How long.
        waited: Duration,
    },
    /// The broker and this client share no version of an API.
    #[error("{address} does not serve {} in a version this client speaks", api.name())]
    NotServed {
        /// Who.
        address: String,
        /// What.
        api: ApiKey,
    },
    /// The answer could not be read.
    #[error("the answer could not be read: {0}")]
    Malformed(#[from] DecodeError),
    /// Records that were fetched could not be read.
    #[error("a batch of records could not be read: {0}")]
    Unreadable(String),
    /// Records do not fit into a batch.
    #[error("{0}")]
    Unbuildable(#[from] BuildError),
    /// The request cannot be said in the version the broker speaks.
    #[error("the broker is too old for this request: {0}")]
    Unsayable(#[from] EncodeError),
    /// The broker refused.
    #[error("{}{}", code.name(), message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// The protocol's error.
        code: ErrorCode,
        /// The broker's words, if it sent any.
        message: Option<String>,
    },
    /// The cluster has no such topic.
    #[error("there is no topic {0:?}")]
    NoSuchTopic(String),
    /// The topic has no such partition.
    #[error("topic {topic:?} has no partition {partition}")]
    NoSuchPartition {
        /// The topic.
        topic: String,
        /// The number asked for.
        partition: i32,
    },
    /// The cluster has no such group.
    #[error("there is no group {0:?}")]
    NoSuchGroup(String),
    /// The cluster has no such broker.
    #[error("there is no broker {0}")]
    NoSuchBroker(i32),
}

impl ClientError {
    /// A refusal without words; `NONE` is no error.
    ///
    /// # Errors
    /// The code, unless it is `NONE`.
    pub fn check(code: i16, message: Option<&str>) -> Result<()> {
        match jocko_protocol::error_code(code) {
            ErrorCode::None => Ok(()),
            code => {
                // Some brokers send words of no length.
                let message = message.filter(|words| !words.is_empty()).map(str::to_owned);
                Err(Self::Refused { code, message })
            }
        }
    }

    /// What each of several addresses came to, where none was of use.
    pub(crate) fn all_of(failures: Vec<Self>) -> Self {
        let mut failures = failures;
        match failures.len() {
            0 => Self::NobodyAnswers("no address was given".to_owned()),
            1 => failures.remove(0),
            _ => {
                let words: Vec<String> = failures.iter().map(Self::to_string).collect();
                Self::NobodyAnswers(words.join("; "))
            }
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::NobodyAnswers(_)
            | Self::Broken { .. }
            | Self::TimedOut { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            Self::NotServed { .. }
            | Self::Malformed(_)
            | Self::Unreadable(_)
            | Self::Unbuildable(_)
            | Self::Unsayable(_)
            | Self::NotKafka { .. }
            | Self::NoSuchTopic(_)
            | Self::NoSuchPartition { .. }
            | Self::NoSuchGroup(_)
            | Self::NoSuchBroker(_) => false,
        }
    }

    /// Whether a partition's leader is not who was taken for it, or is not there: whoever named it
    /// may be cut off from the others, and would name it again.
    pub(crate) fn denies_leadership(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)
            }
            error => error.is_retriable(),
        }
    }

    /// Whether the connection is of no more use after it.
    pub(crate) fn spoils_connection(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::TimedOut { .. } | Self::Malformed(_))
    }

    /// Whether nothing was heard of the broker that was asked: another one may take its place.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::NobodyAnswers(_)
                | Self::Broken { .. }
                | Self::TimedOut { .. }
        )
    }

    /// The same once more, for the next partition that it befell.
    pub(crate) fn repeated(&self) -> Self {
        let copied = |source: &io::Error| io::Error::new(source.kind(), source.to_string());
        match self {
            Self::Unreachable { address, source } => {
                Self::Unreachable { address: address.clone(), source: copied(source) }
            }
            Self::NobodyAnswers(words) => Self::NobodyAnswers(words.clone()),
            Self::Broken { address, source } => {
                Self::Broken { address: address.clone(), source: copied(source) }
            }
            Self::TimedOut { address, waited } => {
                Self::TimedOut { address: address.clone(), waited: *waited }
            }
            Self::NotServed { address, api } => {
                Self::NotServed { address: address.clone(), api: *api }
            }
            Self::Malformed(error) => Self::Malformed(*error),
            Self::Unreadable(words) => Self::Unreadable(words.clone()),
            Self::Unbuildable(error) => Self::Unbuildable(*error),
            Self::NotKafka { address } => Self::NotKafka { address: address.clone() },
            Self::Unsayable(error) => Self::Unsayable(*error),
            Self::Refused { code, message } => {
                Self::Refused { code: *code, message: message.clone() }
            }
            Self::NoSuchTopic(name) => Self::NoSuchTopic(name.clone()),
            Self::NoSuchPartition { topic, partition } => {
                Self::NoSuchPartition { topic: topic.clone(), partition: *partition }
            }
            Self::NoSuchGroup(name) => Self::NoSuchGroup(name.clone()),
            Self::NoSuchBroker(id) => Self::NoSuchBroker(*id),
        }
    }
}
