//! Brokers talking to brokers: proof of a shared secret, then many calls on one connection.
//!
//! [`Peers`] calls, [`PeerServer`] answers through a [`PeerService`]. Both run over the Net port
//! as tasks of whatever tokio runtime they are started in, so a simulation runs them as they are.
//! What a call or tell means (its `kind`) is the service's affair.
//!
//! With a [`Secret`] both ends prove that they know it before anything else is said, and every
//! frame carries a seal bound to its place in the connection. Bytes are authenticated, not
//! encrypted. Formats and rules: docs/internals/peers.md.

mod chance;
mod conversation;
mod error;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod handshake;
mod link;
mod outgoing;
mod secret;
mod server;
mod settings;
mod wire;

#[cfg(test)]
mod tests;

pub use chance::Chance;
pub(crate) use chance::split_mix;
pub use error::{PeerError, PeerRefusal};
pub use outgoing::{PeerBody, PeerTarget, Peers};
pub use secret::Secret;
pub use server::{PeerServer, PeerService, PeerTotals};
pub use settings::{Lane, OwnIdentity, PeerIdentity, PeerSettings};
