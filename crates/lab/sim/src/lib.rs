//! Seeded simulation. One seed is one run, and the same seed is the same run.
//!
//! [`rules`]: the replication rules alone, `core/replica` with `core/metadata`, before any socket.
//! [`cluster`]: whole brokers on simulated machines.

#![warn(missing_docs)]

pub mod cluster;
mod dice;
pub mod rules;
