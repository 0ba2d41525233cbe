//! The group coordinator: who is in a group, who owns which partition, and which offsets were
//! committed. Both group protocols, classic (KIP-62, 345, 394, 559, 814) and consumer (KIP-848).
//!
//! A [`Coordinator`] is the state of *one* partition of `__consumer_offsets`, as a replicated
//! machine: its state is what the records in that partition make it, save for sessions and
//! requests that wait, which live with the leader only.
//!
//! # Caller's duties
//! 1. Load: [`Coordinator::apply`] every record of the log in order, then
//!    [`Coordinator::loaded`]; until then answer COORDINATOR_LOAD_IN_PROGRESS.
//! 2. Per command, under one lock: [`Coordinator::decide`], append [`Decision::records`] as one
//!    batch (all or nothing), [`Coordinator::accept`]. If the append is refused, drop the
//!    decision, which has changed nothing, and answer [`Command::refusal`] with
//!    [`append_refused`]. Repeat the command while [`Decision::again`] said so.
//! 3. Send the answers that `accept` returned once what was appended is committed. Park reads
//!    (fetch, describe, list) behind the last appended record in the same way.
//! 4. Send [`Command::Tick`] when [`Coordinator::next_deadline`] has passed (after a pause, if
//!    the append of the last one was refused), and [`Command::Expire`] now and then.
//! 5. When leadership is lost, [`Coordinator::unload`] and send what it returns.
//!
//! # Invariants
//! G-1 a partition has at most one owner per generation (classic: as the members' leader
//! assigned) or member epoch. G-2 a committed offset never moves back by the server's doing.
//! [`Coordinator::records`] applied to an empty coordinator makes an equal one. A dropped decision
//! changes nothing. No member is waited for longer than its timeouts say.
//!
//! This crate must not know sockets, logs, clocks or requests: time and a seed are arguments.

#![warn(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::wildcard_enum_match_arm,
        reason = "a test that panics has failed, which is its task"
    )
)]

mod assignors;
mod classic;
mod command;
mod consumer;
mod context;
mod coordinator;
mod offsets;
mod record;
mod regex;
mod timers;

pub use command::{
    Answer, Command, CommitOffsets, CommittedOffset, ConsumerHeartbeat, ConsumerHeartbeatAnswer,
    Decision, DescribedConsumerGroup, DescribedConsumerMember, DescribedGroup, DescribedMember,
    FetchOffsets, FetchedPartition, FetchedTopic, Heartbeat, Join, Joined, JoinedMember, Leave,
    LeavingMember, ListedGroup, OffsetToCommit, Opaque, Sync, Synced, Ticket, append_refused,
};
pub use context::{
    ConsumerOverrides, ConsumerPolicy, DecideContext, Migration, Policy, TopicFacts, Topics,
};
pub use coordinator::{Coordinator, GroupGauge};
pub use record::{
    ClassicMemberRecord, ClassicMetadata, ConsumerRecord, Decoded, GroupRecord, OffsetKey,
};
