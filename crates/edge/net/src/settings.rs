//! What can be set, with defaults that are safe on a machine that faces strangers.

use std::time::Duration;

use crate::ports::SocketOptions;

/// How many reactors, and what they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactorSettings {
    /// Reactor threads; 0 means one per core.
    pub count: usize,
    /// Name of the threads: `name-0`, `name-1` ...
    pub name: String,
    /// Bytes that all connections may hold together in frames being read or handled and in
    /// replies being written, beyond the small allowance each connection has
    /// ([`ReactorSettings::ALLOWANCE_BYTES`]). Frames above three quarters of it are refused.
    pub memory_bytes_max: usize,
}

impl ReactorSettings {
    /// What each connection may hold without asking: its share is bounded by the number of
    /// connections instead.
    pub const ALLOWANCE_BYTES: usize = 64 * 1024;

    pub(crate) fn threads(&self) -> usize {
        let wanted = match self.count {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            count => count,
        };
        wanted.min(crate::mailbox::REACTORS_MAX)
    }
}

impl Default for ReactorSettings {
    fn default() -> Self {
        Self { count: 0, name: "jocko-reactor".to_owned(), memory_bytes_max: 256 * 1024 * 1024 }
    }
}

/// One server: some listeners and the service behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// For messages: which server this is.
    pub name: String,
    /// Connections at most; more are closed as they come.
    pub connections_max: usize,
    /// Connections at most from one address.
    pub connections_per_ip_max: usize,
    /// How sockets are set up.
    pub socket: SocketOptions,
    /// Limits of each connection.
    pub connection: ConnectionSettings,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            name: "kafka".to_owned(),
            connections_max: 10_000,
            connections_per_ip_max: 5_000,
            socket: SocketOptions::default(),
            connection: ConnectionSettings::default(),
        }
    }
}

/// Limits of one connection. A deadline is checked once a second (four times within it where it
/// is shorter), so it may be met that much late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// The largest frame, without its size prefix (`socket.request.max.bytes`).
    pub frame_bytes_max: usize,
    /// Requests in flight at most: those that overlap. Then reading stops.
    pub in_flight_max: usize,
    /// Reply bytes in memory that may wait to be written before no more requests are taken.
    pub output_bytes_max: usize,
    /// How long a connection may be silent with nothing to answer (`connections.max.idle.ms`).
    pub idle_max: Duration,
    /// How long a frame may take to arrive, beyond what its bytes need at
    /// [`ConnectionSettings::frame_bytes_per_second_min`].
    pub frame_deadline: Duration,
    /// The slowest sending that still counts as sending.
    pub frame_bytes_per_second_min: usize,
    /// How long a peer may leave replies unread.
    pub write_stall_max: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            frame_bytes_max: 100 * 1024 * 1024,
            in_flight_max: 64,
            output_bytes_max: 4 * 1024 * 1024,
            idle_max: Duration::from_secs(600),
            frame_deadline: Duration::from_secs(30),
            frame_bytes_per_second_min: 64 * 1024,
            write_stall_max: Duration::from_secs(30),
        }
    }
}

impl ConnectionSettings {
    /// How often deadlines must be looked at.
    pub(crate) fn tick(&self) -> Duration {
        let shortest = self.idle_max.min(self.frame_deadline).min(self.write_stall_max);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}
