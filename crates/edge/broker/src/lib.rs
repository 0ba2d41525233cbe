//! The broker: Kafka requests over partitions, the controller and the flusher.
//!
//! Start with [`Broker::start`]; it returns when clients are served. Handlers are free functions in
//! `api/`, one file per Kafka API; they see a small context and translate between messages and
//! decisions. What is decided lives in the core crates; what touches bytes at rest, in the engine.
//!
//! Threads: reactors serve connections (`jocko-net`), one thread flushes, one compacts, one keeps
//! limits, workers do what may block, and a control thread runs Raft, the controller, replication,
//! HTTP and housekeeping.

mod advertise;
mod api;
mod assembly;
mod cleaner;
mod cluster;
mod company;
mod context;
mod controller;
mod data_dir;
mod disk_guard;
mod disk_health;
mod flusher;
mod governing;
mod groups;
mod housekeeping;
mod internal;
mod leader_hints;
mod limits;
mod listen;
mod log_starts;
mod machine;
mod metrics;
mod metrics_page;
mod operations;
mod producer_ids;
mod published;
mod publisher;
mod quorum;
mod replication;
mod session;
pub mod simulation;
mod start;
mod world;

pub use start::{Broker, StartError, Starting};
