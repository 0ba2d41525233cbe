//! One Raft group holds all cluster metadata; this crate is its node.
//!
//! openraft decides, this crate gives it durable storage, a network and a state machine, and gives
//! the broker a small handle in return. It knows nothing of what is replicated: payloads are
//! bytes, the state is behind [`StateMachine`]. No type of openraft leaves the crate.
//!
//! Entry points: [`Raft::start`], then, on a blank directory, [`Raft::bootstrap_single`] for a node
//! alone, [`Raft::bootstrap`] for one that founds a group with others, or nothing for one that a
//! leader lets in; then [`Raft::propose`] and [`Raft::watch`].
//!
//! The caller's duties:
//! - bring a worker ([`SpawnRef`](jocko_net::ports::SpawnRef)): everything that waits for the disk
//!   runs there, one thread is enough;
//! - end the process when [`RaftStatus::fatal`] appears: the log could not be written, or the
//!   state machine panicked, and nothing here can be trusted any more;
//! - decide only while [`RaftStatus::is_serving`];
//! - carry peers' messages: [`Network`] out, [`Raft::serve`] in.
//!
//! Invariants kept here: R-1 one leader per term (the vote is durable before it is told), R-2
//! committed never changes (an entry is durable before it counts). Formats:
//! docs/internals/raft-log.md. Why openraft, and how: docs/decisions/0009-consensus.md.

#![warn(missing_docs, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod blocking;
mod config;
mod entry;
mod error;
mod hard_state;
mod id;
mod log;
mod machine;
mod memory;
mod metrics;
mod network;
mod pieces;
mod raft;
mod runtime;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;
mod types;
mod wire;

pub use config::RaftConfig;
pub use entry::PAYLOAD_BYTES_MAX;
pub use error::{MembershipError, ProposeError, ServeError, StartError};
pub use id::{NodeId, Peer};
pub use machine::{RestoreError, StateMachine};
pub use memory::{MemoryNetwork, Passing};
pub use metrics::RaftMetrics;
pub use network::{CallError, Network, NetworkRef, NoNetwork};
pub use raft::{Lead, Raft};
pub use runtime::seed_randomness;
pub use status::{PeerProgress, RaftStatus, Role, StatusWatch};
