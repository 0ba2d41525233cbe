//! The crate as its users see it: servers, scripted services and clients, over a network in
//! memory with paused time, and over loopback where the kernel matters.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used)]

mod accepting;
mod deadlines;
mod files;
mod harness;
mod hostile;
mod ordering;
mod sockets;
mod stopping;
mod waiting;
