//! One replica of one partition, as a protocol machine: it decides who may write, what is
//! committed, and which waiting requests can be answered. It never sees a record's bytes, a file,
//! a socket or a clock.
//!
//! # Caller's duties
//! 1. Tell the machine everything that happens, in the order it happens: [`Input::Assigned`] when
//!    the cluster image names a leader, [`Input::Appended`] after bytes are in the log,
//!    [`Input::Durable`] after a flush, [`Input::Progress`] when a follower reports.
//! 2. Hold one lock around the log and the machine, so that the ends told to it are the log's own.
//! 3. Act on [`Output`] after that lock is released: answer every released ticket, and flush the
//!    log if [`Output::flush_due`] says so.
//!
//! # Invariants
//! P-1 log start <= high watermark <= log end. P-2 a leader is in the in-sync set. P-4 leader
//! epochs never fall. The high watermark never falls within a leader epoch, counts durable
//! offsets only, and stands still while the in-sync set is smaller than the minimum (KIP-966).

#![warn(missing_docs, clippy::wildcard_enum_match_arm)]
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing)]

mod machine;
mod waiters;

pub use machine::{
    Acks, Assignment, Durability, Input, LogEnds, Output, Policy, Refusal, Replica, Role,
};
pub use waiters::{Outcome, Released, Ticket};

#[cfg(test)]
mod tests;
