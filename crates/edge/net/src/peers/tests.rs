//! Peers over a network in memory and over sockets.

mod calls;
mod chaos;
mod hostile;
mod limits;
mod liveness;
mod properties;
mod world;
