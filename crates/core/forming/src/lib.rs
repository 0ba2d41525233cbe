//! How blank nodes become exactly one cluster, as a protocol machine.
//!
//! A node without a cluster proposes one, once it sees as many blank nodes as are expected and is
//! the lowest of them. Every member of a proposal *pledges* itself to it, durably, and to no other;
//! only when all have done so does the proposer found the cluster. A pledge ends in two ways: the
//! proposer says that it has durably abandoned the proposal, or the cluster stands. So two
//! proposals that share a member can never both become clusters, whatever messages are lost,
//! late or doubled, and whoever restarts. The story is told in docs/internals/forming.md.
//!
//! This crate must not know gossip, sockets, disks or clocks: views, messages, time and fresh ids
//! are arguments.
//!
//! # Caller's duties
//! 1. One owner; for each [`Output`], in this order: make [`Output::store_first`] durable, then do
//!    what is in [`Output::then`]. Nothing else may be sent or stepped in between.
//! 2. After a restart, [`Forming::start`] with the record last stored. A lost disk is another node.
//! 3. Hand messages only to the node they are meant for ([`Envelope::to`]), and only from the node
//!    they claim to be from ([`Envelope::from`]).
//! 4. Let no cluster make this node a member but the one that an [`Action`] names.
//!
//! # Invariants
//! F-1 of two proposals that share a member at most one is ever founded. F-2 a node is settled in
//! at most one cluster. F-3 a proposal is founded only when each member's disk holds its pledge.

#![warn(missing_docs, clippy::wildcard_enum_match_arm)]
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::wildcard_enum_match_arm,
        clippy::cast_possible_truncation,
        reason = "a test that panics has failed, which is its task"
    )
)]

mod machine;
mod message;
mod proposal;
pub mod voters;
mod wire;
mod words;

pub use machine::{Action, Forming, Fresh, Input, Output, Sending, Settings, Sighting, Then};
pub use message::{Envelope, Message, Refusal, Standing};
pub use proposal::{ADDRESS_BYTES_MAX, Bound, MEMBERS_MAX, Proposal, Seat, VOTERS_MAX};
pub use wire::WireError;

#[cfg(test)]
mod tests;
