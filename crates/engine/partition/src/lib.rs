//! A replica and its log under one lock: what a broker does with one partition.
//!
//! The lock is held for microseconds: to admit, assign offsets, write to the page cache and step
//! the replica. Never across a sync, the network or an await. What must happen afterwards comes
//! back as [`Effects`], to be carried out when the lock is free.
//!
//! A partition opens its log when it is first used: after a clean stop thousands of idle ones cost
//! nothing. After an unclean one [`Partition::open`] is called for each, on a worker, before
//! anybody is served.
//!
//! The crate has no clock, no thread and no socket: time is an argument, and who syncs is decided
//! elsewhere ([`Partition::take_flush`]).

#![warn(missing_docs)]

mod administer;
mod check;
mod compaction;
mod follow;
mod lead;
mod offsets;
mod partition;
mod produce;
mod read;
mod scrub;
mod share;
mod together;
mod upkeep;

pub use compaction::CompactionBudget;
pub use follow::{Answered, Follow, Followed, Misfit};
pub use jocko_commitlog::{
    Cold, Compacted, CompactionConfig, CompactionEnd, Dirt, EpochEnd, FlushJob, LogConfig,
    LogFault, LogSlice, OpenContext, ProducerState, TimestampFound,
};
pub use jocko_replica::{
    Acks, Assignment, Caller, Claim, Durability, EpochEnd as ReplicaEpochEnd, FollowerStanding,
    Following, IsrMember, Peer, Policy, Proposal, ProposalOutcome, Throttle,
};
pub use lead::{FollowerFetch, FollowerRead, FollowerView};
pub use offsets::Listed;
pub use partition::{Effects, Governed, Home, Partition, Standing, Traffic};
pub use produce::{Appended, Progress, Refused};
pub use read::{Diverging, Read, ReadOutcome, View};
pub use scrub::Scrub;
pub use share::{LimitSource, Share, TopicHolding, divide, level};
pub use together::{Unclosed, close_together, flush_together};
pub use upkeep::{Held, Upkeep};

#[cfg(test)]
mod tests;
