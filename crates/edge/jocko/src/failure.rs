//! How a command fails: what happened, why, and what to do about it.

use jocko_client::ClientError;
use std::fmt;

/// What kind of failure it was; the exit code says so to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was tried and did not work.
    Failed,
    /// It was asked for wrongly.
    Usage,
    /// Nobody answered.
    Unreachable,
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

    /// Adds what to do about it.
    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
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
            ClientError::Unreachable { .. } => Self {
                kind: Kind::Unreachable,
                what,
                cure: Some("start a broker with `jocko`, or name one with -b HOST:PORT".to_owned()),
            },
            ClientError::NoSuchTopic(name) => {
                Self::new(what).cure(format!("jocko topic create {name}"))
            }
            ClientError::NoSuchPartition { topic, .. } => {
                Self::new(what).cure(format!("jocko topic describe {topic}"))
            }
            ClientError::Broken { .. }
            | ClientError::TimedOut { .. }
            | ClientError::NotServed { .. }
            | ClientError::Malformed(_)
            | ClientError::Unsayable(_)
            | ClientError::Refused { .. } => Self::new(what),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
