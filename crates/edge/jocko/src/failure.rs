//! How a command fails: what happened, why, and what to do about it.

use jocko_client::ClientError;
use jocko_types::ErrorCode;
use std::fmt;

/// What kind of failure it was; the exit code says so to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was tried and did not work.
    Failed,
    /// It was asked for wrongly.
    Usage,
    /// Things are not as they were to be.
    Unmet,
    /// Nobody answered.
    Unreachable,
    /// Whoever read the output has had enough of it, as `head` does: no failure at all.
    Enough,
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    what: String,
    cure: Option<String>,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, what: what.into(), cure: None }
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, what: what.into(), cure: None }
    }

    pub(crate) fn unreachable(what: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, ..Self::new(what) }
    }

    /// Not as it was to be, which the output has said.
    pub(crate) fn unmet() -> Self {
        Self::unmet_because("")
    }

    /// Not as it was to be.
    pub(crate) fn unmet_because(what: impl Into<String>) -> Self {
        Self { kind: Kind::Unmet, ..Self::new(what) }
    }

    /// Says first what it is about.
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.what = format!("{subject}: {}", self.what);
        self
    }

    /// Adds what to do about it.
    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// Adds what else is to be known.
    pub(crate) fn and(mut self, words: &str) -> Self {
        self.what = format!("{}; {words}", self.what);
        self
    }

    /// Whether there is anything to say about it.
    pub(crate) fn is_worth_saying(&self) -> bool {
        self.kind != Kind::Enough && !self.what.is_empty()
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Enough => 0,
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Unmet => 3,
            Kind::Unreachable => 5,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(cure) = &self.cure {
            write!(f, "\n  try: {cure}")?;
        }
        Ok(())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let what = error.to_string();
        match error {
            ClientError::Unreachable { .. } | ClientError::NobodyAnswers(_) => Self {
                kind: Kind::Unreachable,
                what,
                cure: Some("start a broker with `jocko`, or name one with -b HOST:PORT".to_owned()),
            },
            ClientError::NoSuchTopic(name) => {
                Self::new(what).cure(format!("jocko topic list, or jocko topic create {name}"))
            }
            ClientError::NoSuchPartition { topic, .. } => {
                Self::new(what).cure(format!("jocko topic describe {topic}"))
            }
            ClientError::NoSuchGroup(_) => Self::new(what).cure("jocko group list"),
            ClientError::NoSuchBroker(_) => Self::new(what).cure("jocko cluster status"),
            ClientError::Unreadable(_) => Self::new(what).cure("look at the broker's log"),
            ClientError::Broken { .. } | ClientError::Malformed(_) => Self::new(what).cure(
                "is it a Kafka broker's port? If so, look at the broker's log, and try again",
            ),
            ClientError::NotKafka { .. } => Self::new(what)
                .cure("the port for Kafka clients, -b localhost:9092: this one is for browsers and metrics"),
            ClientError::Unbuildable(_) => Self::new(what).cure("smaller records"),
            ClientError::TimedOut { .. } => {
                Self::new(what).cure("a longer --timeout, or look at the broker's log")
            }
            ClientError::NotServed { .. } | ClientError::Unsayable(_) => Self::new(what),
            ClientError::Refused { code, message } => {
                let cure = cure_of(code, message.as_deref().unwrap_or_default());
                Self { cure: cure.map(str::to_owned), ..Self::new(what) }
            }
        }
    }
}

/// What to do about a refusal, where there is something to do. Some codes stand for several things;
/// Kafka and jocko say in the same words which.
fn cure_of(code: ErrorCode, message: &str) -> Option<&'static str> {
    match code {
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => Some(
            "smaller records, or a topic that takes larger ones: jocko topic alter TOPIC --set max.message.bytes=BYTES",
        ),
        ErrorCode::PolicyViolation if message.contains("number of partitions") => {
            Some("fewer partitions (-p): 10000 at most at a time")
        }
        ErrorCode::InvalidPartitions => {
            Some("jocko topic describe TOPIC shows how many there are; they can only become more")
        }
        ErrorCode::InvalidConfig if message.contains("Unknown") => Some(
            "jocko config show --all with --topic, --group, --broker or --cluster, for the names there are",
        ),
        ErrorCode::InvalidConfig => {
            Some("jocko config explain NAME with the same --topic, --group, --broker or --cluster")
        }
        ErrorCode::InvalidRequest if message.contains("these configs dynamically") => Some(
            "set it in the broker's file, and start that again; of times in hours and minutes, log.*.ms can be set",
        ),
        ErrorCode::InvalidTopicException if message.contains("collide") => Some(
            "another name, or the one that is there: '.' and '_' are one in the names of metrics",
        ),
        ErrorCode::InvalidTopicException => {
            Some("a name of letters, digits, '.', '_' and '-' alone, at most 249 of them")
        }
        ErrorCode::InvalidReplicationFactor => {
            Some("start more brokers, or leave --replication out")
        }
        ErrorCode::OutOfOrderSequenceNumber => Some(
            "look at what the topic holds: its log has lost records that were acknowledged, as after a crash without fsync",
        ),
        ErrorCode::KafkaStorageError => {
            Some("look at the broker's log, and at the room on its disk")
        }
        ErrorCode::NotController => Some(
            "jocko cluster health says who is missing: nobody is known to lead the metadata, so nothing can be changed now",
        ),
        _ => None,
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::BrokenPipe => Kind::Enough,
            _ => Kind::Failed,
        };
        Self { kind, ..Self::new(error.to_string()) }
    }
}
