//! The commit log: one partition's records at rest, in Kafka's own file layout.
//!
//! A log is a folder of segments with sparse indexes, the epochs of its leaders, and the state of
//! its producers. [`Log`] appends, reads, looks up, truncates, drops what retention lets go, and
//! recovers after a crash. It is synchronous and single-owner: it has no threads, no clock (the
//! time is an argument) and touches the world through the Disk port alone. Every format, byte by
//! byte, and the rules that recovery follows: `docs/internals/commitlog.md`.
//!
//! # Entry points
//! [`Log::open`]; [`Log::append`], [`Log::append_as_follower`], [`Log::append_assigned`];
//! [`Log::read`]; [`Log::take_flush`] and [`Log::flushed`]; [`Log::truncate_to`];
//! [`Log::expire`]; [`compact`]; [`Log::close`]. Files of the data directory are in [`data_dir`].
//!
//! # Caller's duties
//! 1. One owner at a time: keep a log under its partition's lock. Only [`Log::open`],
//!    [`Log::offset_for_timestamp`], [`Log::max_timestamp`], [`Log::verify_range`], truncations
//!    and [`Log::remove_deleted`] may wait for the device; call them from workers.
//! 2. After appends take a [`FlushJob`], perform it without the lock, and hand it back. What lies
//!    at or after [`Log::durable_end`] must not be acknowledged where durability is promised.
//! 3. A fault of an append, a truncation or a flush closes the log to writes until it is opened
//!    anew ([`LogFault::Latched`], DR2). Want of room is an outcome and passes.
//! 4. Keep [`Log::recovery_point`] and [`Log::log_start`] in the checkpoints, and tell the log
//!    with [`Log::checkpointed`] when they are durable there.

#![warn(missing_docs)]

pub mod data_dir;

mod checkpoint;
mod compaction;
mod config;
mod entries;
mod epochs;
mod fault;
mod followed;
mod index;
mod log;
mod names;
mod producers;
mod read;
mod recovery;
mod retention;
mod segment;
mod tail;
mod time_index;

#[cfg(test)]
mod kafka_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;

pub use checkpoint::{Checkpoint, Checkpoints};
pub use compaction::{
    Access, Compacted, CompactionConfig, CompactionEnd, CompactionRequest, Dirt, compact,
};
pub use config::LogConfig;
pub use epochs::{EpochEnd, EpochStart};
pub use fault::{LogFault, Result};
pub use log::{
    AppendOutcome, AppendedBatch, AssignedOutcome, FlushJob, Log, LogSlice, ProducerState,
    ReadOutcome, ReadRequest, SoundBatches, StartOutcome, StateFile, TimestampFound,
    TimestampSearch,
};
pub use read::{Cold, Patience};
pub use recovery::{Cut, OpenContext, Recovery, read_topic_id};
pub use retention::{Expired, Removal, Share};
