//! Whole clusters from one seed: the real broker (`jocko-broker` as it brings itself up, with its
//! core, engine and consensus) on simulated machines, over a simulated network, in virtual time, on
//! one thread. Clients write and read, trouble comes, all heals, everything must drain.
//! docs/internals/simulation.md.

mod chaos;
mod clients;
mod company;
mod history;
mod knowledge;
mod machine;
mod oracle;
#[cfg(test)]
mod scenes;
mod slow;
mod trace;
mod wire;
mod world;

pub use world::{Coverage, Report, Wish, run};
