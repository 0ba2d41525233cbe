//! A model cluster: brokers with toy logs, the real replica machines, and the real controller on a
//! linear metadata log, under a random scheduler that delays, drops, doubles and reorders messages,
//! cuts links, kills processes, cuts power, wipes disks, stops brokers in order and moves replicas;
//! then everything heals and must drain. docs/internals/simulation.md.
//!
//! No sockets, no clock, no threads: time is a number. [`run`] plays one seed, [`tell`] tells what happens in it.

mod broker;
mod chaos;
mod clients;
mod controller;

mod flaw;
mod following;
mod log;
mod oracle;
mod world;

pub use flaw::{FLAWS, Flaw};
pub use oracle::Coverage;
pub use world::{Report, run, tell};
