//! Listeners, framing, reactors and the connection loop, and the ports the edge is written
//! against.
//!
//! This crate turns bytes on sockets into frames and replies into bytes on sockets. It knows
//! nothing of Kafka beyond the 4-byte size prefix: a [`Service`] answers the frames.
//!
//! Start with [`Reactors::start`] (threads) or [`Reactors::start_local`] (tasks, for simulation),
//! then [`Server::start`] with a service. Requests that wait register a [`Waiter`] on their
//! [`Reactor`]; whoever makes progress delivers [`Ticket`]s through [`Mailboxes`].
//!
//! What a service owes its callers: it never blocks in [`Service::call`], it lets go of a frame's
//! bytes before it waits, and what must not be lost when a peer leaves is a [`Call::Later`], not
//! a [`Call::Wait`].

#![warn(missing_docs)]

mod budget;
mod buffers;
mod connection;
mod frames;
mod mailbox;
mod metrics;
mod output;
pub mod peers;
pub mod ports;
mod reactor;
mod server;
mod service;
mod settings;
mod sys;
mod vitals;

pub use mailbox::{Ticket, Waiter};
pub use metrics::{CloseReason, Counters, Totals};
pub use reactor::{Mailboxes, Meter, Reactor, ReactorHandle, Reactors};
pub use server::{ConnectionLimits, Listen, Server};
pub use service::{Call, Frame, Outcome, Peer, Piece, Reply, Service};
pub use settings::{ConnectionSettings, ReactorSettings, ServerSettings};
