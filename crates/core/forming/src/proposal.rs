//! What is proposed, and what a node's disk says of its pledge.

use jocko_types::Uuid;

/// The most nodes that can found a cluster together; others join it afterwards. What a disk keeps
/// of a proposal must fit one block.
pub const MEMBERS_MAX: usize = 9;
/// The longest address of a node, in bytes: a host name and a port.
pub const ADDRESS_BYTES_MAX: usize = 262;
/// The most members that vote; more only make each vote slower.
pub const VOTERS_MAX: usize = 5;

/// A node with the place where its peers reach it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// The identity of its data directory.
    pub node: Uuid,
    /// `host:port` of its cluster port.
    pub address: String,
}

/// A cluster that one blank node proposes to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Drawn for this proposal alone.
    pub id: Uuid,
    /// The id the cluster will have.
    pub cluster: Uuid,
    /// Who proposes, one of the members.
    pub proposer: Uuid,
    /// Who must pledge, by node id; each once.
    pub members: Vec<Seat>,
}

impl Proposal {
    /// The members that vote in the cluster's Raft group from the start: the lowest 1, 3 or 5.
    /// An even voter more would make every vote slower and no failure survivable.
    #[must_use]
    pub fn voters(&self) -> &[Seat] {
        let count = self.members.len().min(VOTERS_MAX);
        let odd = if count.is_multiple_of(2) { count.saturating_sub(1) } else { count };
        self.members.get(..odd).unwrap_or_default()
    }

    /// Whether a node is a member.
    #[must_use]
    pub fn has(&self, node: Uuid) -> bool {
        self.seat(node).is_some()
    }

    pub(crate) fn seat(&self, node: Uuid) -> Option<&Seat> {
        self.members.iter().find(|seat| seat.node == node)
    }

    /// Whether it is a proposal that a right node can have made: what comes from others is looked
    /// at before it is believed.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_short = |seat: &Seat| seat.address.len() <= ADDRESS_BYTES_MAX;
        !self.id.is_zero()
            && !self.cluster.is_zero()
            && self.members.len() <= MEMBERS_MAX
            && self.members.iter().all(is_short)
            && self.members.is_sorted_by(|one, next| one.node < next.node)
            && self.has(self.proposer)
    }
}

/// What a node is bound to: all that its disk keeps of the forming.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Bound {
    /// Nothing: it may pledge itself, and may join a cluster.
    #[default]
    Free,
    /// To a proposal that may still become a cluster. One's own counts as proposed as long as it
    /// stands here; once it does not, it is abandoned for ever.
    Pledged(Proposal),
    /// To a cluster, for the life of this disk.
    Settled {
        /// The cluster.
        cluster: Uuid,
        /// The proposal it was founded by, if this node was a member of it.
        proposal: Option<Proposal>,
    },
}
