//! What nodes say to each other while they form a cluster.

use crate::proposal::{Proposal, Seat};
use jocko_types::Uuid;

/// A message with both its ends. The machine answers to the address that came with it, since a
/// node may hear of another only through what that one sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who sends.
    pub from: Seat,
    /// Whom it is meant for; whoever else gets it (an address used again) drops it.
    pub to: Uuid,
    /// What is said.
    pub message: Message,
}

/// A message. Any of them may be lost, late or doubled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A proposer asks a member for its pledge.
    Propose(Proposal),
    /// A member's disk holds its pledge to this proposal.
    Pledged {
        /// The proposal.
        proposal: Uuid,
    },
    /// A member does not pledge itself.
    Refused {
        /// The proposal.
        proposal: Uuid,
        /// Why not.
        why: Refusal,
    },
    /// A member tells its proposer that a lower one wants it, too.
    GiveWay {
        /// The proposal that should be abandoned.
        proposal: Uuid,
        /// The lower proposer.
        to: Uuid,
    },
    /// A member asks its proposer what became of the proposal.
    Ask {
        /// The proposal.
        proposal: Uuid,
    },
    /// What became of a proposal; only its proposer knows.
    Standing {
        /// The proposal.
        proposal: Uuid,
        /// How it stands.
        standing: Standing,
    },
}

/// How a proposal stands with its proposer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may still become a cluster.
    Pending,
    /// It will never be one; the proposer's disk says so.
    Abandoned,
    /// It is one, or will be as soon as the proposer runs.
    Initialised,
}

/// Why a node does not pledge itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is pledged to another proposal.
    Bound {
        /// Whose.
        holder: Uuid,
    },
    /// It belongs to a cluster, or sees one that it will join.
    Settled {
        /// The cluster.
        cluster: Uuid,
    },
    /// It expects another number of nodes; 0 if it only joins what is there.
    Expects(u32),
    /// It is no member of the proposal.
    Stranger,
}
