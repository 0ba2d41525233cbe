//! Proof of the protocol crate: what it reads and writes is what Kafka reads and writes.

mod defaults;
