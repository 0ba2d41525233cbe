//! How brokers find each other.
//!
//! Discovery tells which brokers are there and how to reach them. It *proposes*: nothing here
//! knows of Raft, partitions or leaders, and no event here may change voters, leaders or data by
//! itself. A member that is gone from the list is not a removed broker, and a member in the list
//! has proved no more than that it knows the cluster's secret.
//!
//! [`Discovery`] has three implementations: [`SerfDiscovery`] (gossip over UDP and TCP, encrypted),
//! [`StaticSeeds`] (a fixed list of cluster addresses that are asked who they are, for networks
//! without UDP) and [`MemoryDiscovery`] (a network in memory with seeded delays and cuts, for
//! simulation). Entry points: [`Discovery::members`] and [`Discovery::changed`].
//!
//! The caller's duties: [`Discovery::announce`] whatever changes about its own broker, and
//! [`Discovery::leave`] before it stops.

#![warn(missing_docs)]

mod gossip;
mod key;
mod member;
mod memory;
mod roster;
mod seeds;
mod tags;

pub use gossip::{GossipSettings, SerfDiscovery, StartError};
pub use member::{Discovery, Event, EventKind, Leaving, Member, Members};
pub use memory::{MemoryDiscovery, MemoryNetwork};
pub use seeds::{Probe, Probing, SeedSettings, StaticSeeds};
pub use tags::MemberTooLong;
