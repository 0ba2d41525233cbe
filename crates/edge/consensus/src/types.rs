//! The types openraft is configured with. None of them leaves this crate.

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::type_config::alias;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

use crate::id::{NodeId, Peer};
use crate::runtime::Runtime;

openraft::declare_raft_types!(
    /// One leader per term, as in the Raft paper, so that a term and an index name an entry.
    pub(crate) Types:
        D = Payload,
        R = (),
        NodeId = NodeId,
        Node = Peer,
        LeaderId = leader_id_std::LeaderId<u64, NodeId>,
        AsyncRuntime = Runtime,
);

pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type EntryPayload = alias::EntryPayloadOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Membership = openraft::Membership<NodeId, Peer>;
pub(crate) type Snapshot<Data> = alias::SnapshotOf<Types, Data>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;

/// The id of an entry.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// The term of an entry.
pub(crate) fn term_of(id: &LogId) -> u64 {
    **id.committed_leader_id()
}

/// What an entry carries for the state machine: bytes that mean nothing here.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Payload(pub(crate) Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}
