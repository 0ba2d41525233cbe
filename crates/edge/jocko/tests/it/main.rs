//! The built binary as its users meet it: a broker process, commands against it, kill -9, and the
//! library entry. Every test has a folder and ports of its own, and every wait an end.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used)]

mod administering;
mod asking;
mod clusters;
mod configuring;
mod groups;
mod harness;
mod http;
mod library;
mod membership;
mod records;
mod starting;
mod surviving;
mod topics;
