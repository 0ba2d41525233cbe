//! Proof of the protocol crate: what it reads and writes is what Kafka reads and writes.

#![allow(clippy::print_stdout, reason = "figures for the reader: run with --nocapture")]

mod allocation;
mod borrowing;
mod defaults;
mod golden;
mod instances;
mod round_trip;
mod version_rules;
