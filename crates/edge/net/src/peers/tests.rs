//! Peers over a network in memory and over sockets.

mod calls;
mod world;
