//! One replica of one partition, as a protocol machine: it decides who may write, what is
//! committed, who is in sync, what a follower cuts away, and which waiting requests can be answered.
//! It never sees a record's bytes, a file, a socket or a clock.
//!
//! # Caller's duties
//! 1. Tell the machine everything that happens, in the order it happens: [`Input::Assigned`] when
//!    the cluster image names a leader or a peer changes, [`Input::Appended`] after bytes are in the
//!    log, [`Input::Durable`] after a flush.
//! 2. Hold one lock around the log and the machine, so that the ends told to it are the log's own.
//! 3. Act on [`Output`] after that lock is released: answer every released ticket, flush the log if
//!    [`Output::flush_due`] says so, send [`Output::claim`] to the leader and [`Output::proposal`] to
//!    the controller.
//!
//! # To follow
//! Ask [`Replica::following`] whom to fetch from and where; add the epoch of the log's last entry in
//! its epoch cache (`LastFetchedEpoch`), this process's broker epoch and, beside it, [`Replica::claim`].
//! Under the lock give the answer's head to [`Replica::plan`] and do what it says before letting
//! go: [`Plan::Truncate`] cuts log and epoch cache, then [`Input::Truncated`]; [`Plan::Append`]
//! appends, then [`Input::Replicated`] with the high watermark of the same answer: so nothing can
//! become readable that is still to be cut (KAFKA-14704). Then take over the leader's log start as
//! far as the high watermark, with [`Input::Trimmed`]. On `FENCED_LEADER_EPOCH`,
//! `UNKNOWN_LEADER_EPOCH` or `NOT_LEADER_OR_FOLLOWER` wait for the image and ask again. Fetching
//! never waits for the flush; the claim says how far that is.
//!
//! # To lead
//! For a follower's fetch, under the lock: [`Replica::admit_follower`]; then [`agreement`] of its
//! question with the log's own epoch cache; if they agree [`Input::Fetched`] and the records, up to the
//! end of the log; an empty answer is parked with [`Input::ParkedFetch`]. A claim that arrives is
//! [`Input::Progress`]. [`Output::proposal`] goes to the controller as `AlterPartition`, and what became
//! of it comes back as [`Input::Answered`], whatever happens: while one is under way no other is made.
//! Step [`Input::Ticked`] when [`Replica::next_deadline`] has passed.
//!
//! # Invariants
//! P-1 log start <= high watermark <= log end. P-2 a leader is the one the image names. P-4 leader
//! epochs never fall. The high watermark never falls within a leader epoch, counts durable
//! offsets only (written ones in relaxed mode), counts whoever may have become in sync by a proposal
//! under way (KIP-497), and stands still while the in-sync set is smaller than the minimum (KIP-966).

#![warn(missing_docs, clippy::wildcard_enum_match_arm)]
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::wildcard_enum_match_arm,
        reason = "a test that panics has failed, which is its task"
    )
)]

mod following;
mod leading;
mod machine;
mod throttle;
mod types;
mod waiters;

pub use following::{Agreement, Answer, Following, Found, Plan, agreement};
pub use leading::FollowerStanding;
pub use machine::Replica;
pub use throttle::Throttle;
pub use types::{
    Acks, Assignment, Caller, Claim, Durability, EpochEnd, Input, IsrMember, LAG_TIME_MAX, LogEnds,
    Output, PROPOSAL_BACKOFF, Peer, Policy, Proposal, ProposalOutcome, Refusal, Role,
    STALL_TIME_MAX,
};
pub use waiters::{Outcome, Released, Ticket};

#[cfg(test)]
mod tests;
