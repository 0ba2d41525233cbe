//! What can go wrong.

use jocko_commitlog::LogFault;
use jocko_disk::DiskFault;
use std::sync::Arc;

use crate::id::{NodeId, Peer};
use crate::log::EntryLogError;

/// Why the group cannot be opened or formed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The disk failed, or holds what it should not.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// Log, vote and snapshots do not fit together, or an entry is not what was written.
    #[error("the metadata log cannot be used: {0}")]
    Damaged(String),
    /// The commit log that holds the entries cannot be opened.
    #[error("the metadata log cannot be opened: {0}")]
    Log(#[from] LogFault),
    /// The configuration is contradictory.
    #[error("raft configuration: {0}")]
    Config(String),
    /// The directory holds a log already: it belongs to a cluster and cannot found another.
    #[error("this data directory belongs to a cluster already")]
    NotBlank,
    /// Raft stopped while it started.
    #[error("raft stopped: {0}")]
    Stopped(Arc<str>),
}

impl From<EntryLogError> for StartError {
    fn from(error: EntryLogError) -> Self {
        match error {
            EntryLogError::Log(fault) => Self::Log(fault),
            EntryLogError::Disk(fault) => Self::Disk(fault),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Why a proposal was not answered with an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Another node leads, or nobody known. Nothing was proposed: try there, or later.
    #[error("not the leader{}", match leader { Some((id, peer)) => format!("; {id} at {peer} is"), None => String::new() })]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<(NodeId, Peer)>,
    },
    /// This node was elected but has not yet applied an entry of its own term, so it may not know
    /// all that is committed. Nothing was proposed: try again in a moment.
    #[error("just elected; not ready yet")]
    NotReady,
    /// No quorum has answered for an election timeout, so another leader may exist. Nothing was
    /// proposed: try again later.
    #[error("no quorum has answered lately")]
    NoLease,
    /// An earlier proposal of this term may be committed still, and what is decided without knowing
    /// may contradict it. Nothing was proposed: try again later.
    #[error("what was proposed before is not settled yet")]
    Unsettled,
    /// The disk is so full that the entry might have to wait, and all others with it. Nothing
    /// was proposed: make room and try again.
    #[error("the disk has only {free_bytes} bytes left")]
    NoSpace {
        /// Bytes free.
        free_bytes: u64,
    },
    /// The entry may or may not commit: leadership was lost, or time ran out, after it was
    /// written. Look at the state before trying again.
    #[error("the outcome is not known: {0}")]
    OutcomeUnknown(&'static str),
    /// More bytes than an entry may have. Never retry.
    #[error("a proposal of {bytes} bytes; at most {bytes_max} are allowed")]
    TooLarge {
        /// Bytes proposed.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// Raft has stopped: this node was shut down, its disk failed, or its state machine panicked.
    /// The process must end.
    #[error("raft stopped: {0}")]
    Fatal(Arc<str>),
}

impl ProposeError {
    /// Whether nothing was proposed and the same proposal may succeed later or elsewhere.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(
            self,
            Self::NotLeader { .. }
                | Self::NotReady
                | Self::NoLease
                | Self::Unsettled
                | Self::NoSpace { .. }
        )
    }

    /// Whether this node's Raft has ended.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal(_))
    }
}

/// Why the members were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// As for any proposal.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The change is not possible now: another is under way, or it names an unknown node.
    #[error("the members cannot be changed: {0}")]
    Refused(Arc<str>),
}

/// Why a message of a peer was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The bytes are no message of ours, or of a newer version.
    #[error("bad peer message: {0}")]
    Malformed(Arc<str>),
    /// Raft has stopped here.
    #[error("raft stopped: {0}")]
    Stopped(Arc<str>),
}
