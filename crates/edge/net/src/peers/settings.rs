//! Who this broker is to its peers, and the limits of a connection to one.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jocko_types::Uuid;

use super::chance::Chance;
use super::secret::Secret;
use crate::ports::SocketOptions;

/// Who a broker is, as it says and, with a secret, as whoever knows the secret vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIdentity {
    /// The id of its data directory.
    pub node: Uuid,
    /// Its cluster; `None` while it is blank.
    pub cluster_id: Option<Uuid>,
}

impl PeerIdentity {
    /// Whether both may talk: of one cluster, or one of them still blank.
    pub(super) fn may_talk_to(&self, other: &Self) -> bool {
        match (self.cluster_id, other.cluster_id) {
            (Some(own), Some(theirs)) => own == theirs,
            _ => true,
        }
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cluster_id {
            Some(cluster) => write!(f, "node {} of cluster {cluster}", self.node),
            None => write!(f, "node {} of no cluster yet", self.node),
        }
    }
}

/// The identity of this broker. Clones share it: what [`OwnIdentity::join`] sets is told over
/// connections that are open, before anything else.
#[derive(Debug, Clone)]
pub struct OwnIdentity(Arc<Own>);

#[derive(Debug)]
struct Own {
    identity: Mutex<PeerIdentity>,
    /// Counts changes, so that a connection sees at no cost that there was none.
    changes: AtomicU64,
}

impl OwnIdentity {
    /// A broker that begins as `identity`.
    #[must_use]
    pub fn new(identity: PeerIdentity) -> Self {
        Self(Arc::new(Own { identity: Mutex::new(identity), changes: AtomicU64::new(0) }))
    }

    /// Who this broker is now.
    #[must_use]
    pub fn get(&self) -> PeerIdentity {
        *self.0.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker belongs to `cluster_id` from now on.
    pub fn join(&self, cluster_id: Uuid) {
        let mut identity = self.0.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if identity.cluster_id != Some(cluster_id) {
            identity.cluster_id = Some(cluster_id);
            self.0.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// How often it has changed.
    pub(super) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }
}

impl From<PeerIdentity> for OwnIdentity {
    fn from(identity: PeerIdentity) -> Self {
        Self::new(identity)
    }
}

/// Which of the connections to a peer is meant. Each lane is a connection of its own, so that
/// bulk data never stands before Raft's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Raft, heartbeats, forwarded commands: small and urgent.
    Control,
    /// Replication and snapshots: large.
    Data,
}

/// How a broker talks to its peers, either way. [`PeerSettings::new`] has the defaults; both
/// ends of a cluster may differ in all of them but the secret.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// Who this broker is.
    pub identity: OwnIdentity,
    /// What peers must prove to know. With none, a peer that has one is refused, and frames are
    /// not authenticated.
    pub secret: Option<Secret>,
    /// A second secret that callers may prove instead and that this broker never speaks with: how
    /// a cluster exchanges its secret without a stop. It counts beside a first one only.
    pub secret_accepted: Option<Secret>,
    /// The largest body of a frame, in bytes.
    pub frame_bytes_max: usize,
    /// How long resolving, connecting and the handshake may take together, for the caller.
    pub connect_timeout: Duration,
    /// How long a stranger may take for the handshake.
    pub handshake_timeout: Duration,
    /// Calls under way per connection, for either side. A caller's further calls wait for their
    /// turn; a server refuses what is above.
    pub calls_in_flight_max: usize,
    /// Bytes that the bodies of the calls being handled for one connection may hold together;
    /// the server refuses what is above (a single call is always taken).
    pub bytes_in_flight_max: usize,
    /// One-way frames that wait to be sent, per connection; further ones are dropped.
    pub tells_queued_max: usize,
    /// Bytes of one-way frames that wait to be sent, per connection.
    pub tell_bytes_queued_max: usize,
    /// While calls are open, something is sent at least this often.
    pub keep_alive: Duration,
    /// While calls are open, a peer that gives no sign of life for so long is taken for dead.
    pub dead_after: Duration,
    /// A connection without calls and tells is closed after this time.
    pub idle_timeout: Duration,
    /// How long a caller rests after a first failure to connect; it doubles with each further.
    pub backoff_min: Duration,
    /// The longest rest between attempts to connect.
    pub backoff_max: Duration,
    /// Connections that have not proven themselves yet; one more closes the oldest.
    pub unproven_max: usize,
    /// Connections accepted in all; more are refused.
    pub connections_max: usize,
    /// How long calls being handled may go on when the server stops.
    pub stop_grace: Duration,
    /// Where nonces and jitter come from.
    pub chance: Chance,
    /// How sockets are set up.
    pub socket: SocketOptions,
}

impl PeerSettings {
    /// The defaults, without a secret.
    #[must_use]
    pub fn new(identity: impl Into<OwnIdentity>) -> Self {
        Self {
            identity: identity.into(),
            secret: None,
            secret_accepted: None,
            frame_bytes_max: 128 << 20,
            connect_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(3),
            calls_in_flight_max: 256,
            bytes_in_flight_max: 256 << 20,
            tells_queued_max: 4096,
            tell_bytes_queued_max: 4 << 20,
            keep_alive: Duration::from_millis(500),
            dead_after: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(60),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
            unproven_max: 64,
            connections_max: 512,
            stop_grace: Duration::from_millis(500),
            chance: Chance::system(),
            socket: SocketOptions::default(),
        }
    }
}
