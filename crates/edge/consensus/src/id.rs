//! Who takes part in the group.

use jocko_types::Uuid;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A Raft node: the random identity of one data directory. A wiped disk has another, so it can
/// never vote again with a memory it lost; a broker's number does not matter here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(Uuid);

impl NodeId {
    /// The node that lives on the directory with this id.
    #[must_use]
    pub const fn new(directory_id: Uuid) -> Self {
        Self(directory_id)
    }

    /// The directory's id.
    #[must_use]
    pub const fn directory_id(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = jocko_types::ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What the membership remembers of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Peer {
    /// Where its cluster port is reached, `host:port`. Gossip may know a newer address; this one
    /// is the last that was agreed upon.
    pub address: String,
    /// A person took its vote: it gets none by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays_out: bool,
}

impl Peer {
    /// A node reached at `address`.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), stays_out: false }
    }

    /// The same node at another address.
    #[must_use]
    pub fn moved_to(&self, address: impl Into<String>) -> Self {
        Self { address: address.into(), ..*self }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// openraft's conformance suite makes its nodes from numbers.
#[cfg(test)]
impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(Uuid::from_bytes(u128::from(number).to_be_bytes()))
    }
}
