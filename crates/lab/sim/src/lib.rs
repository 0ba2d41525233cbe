//! Seeded simulation. One seed is one run, and the same seed is the same run.
//!
//! [`rules`]: the replication rules alone, `core/replica` with `core/metadata`, before any socket.

#![warn(missing_docs)]

pub mod rules;
