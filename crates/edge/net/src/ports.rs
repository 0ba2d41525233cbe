//! The ports the edge is written against: everything it asks of the world outside files.
//!
//! Production plugs in sockets, clocks and threads; simulation plugs in memory, virtual time and
//! tasks, and runs the same code above this line. Timers are tokio's (`tokio::time`), which a
//! simulation pauses; files are the `Disk` port of `jocko-disk`.

mod clock;
mod memory;
mod net;
mod process;
mod routine;
mod spawn;
mod steady;
mod tcp;

pub use clock::{Clock, ClockRef, SystemClock, VirtualClock};
pub use memory::{LinkQuality, MemoryNet, MemoryNode, Passing};
pub use net::{
    BoxListener, BoxStream, Congestion, Connect, Listener, Net, NetRef, Reserved, Resolve,
    SocketOptions, Stream,
};
pub use process::{Process, belonging, spawn, spawn_local};
pub use routine::{Bell, Manner, Rest, Routine, RoutineHandle};
pub use spawn::{InlineSpawn, Job, Refused, Spawn, SpawnRef, TaskSpawn, Workers, run_on};
pub use steady::SteadyClock;
pub use tcp::TcpNet;

use std::io;
use std::sync::Arc;

/// One value of each port, handed to whatever runs at the edge.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Listening and connecting.
    pub net: NetRef,
    /// What time it is.
    pub clock: ClockRef,
    /// Where work goes that would block a reactor.
    pub spawn: SpawnRef,
}

impl Ports {
    /// Sockets, the system's clock and `workers` worker threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn production(workers: usize) -> io::Result<Self> {
        Ok(Self {
            net: Arc::new(TcpNet),
            clock: Arc::new(SystemClock::new()),
            spawn: Arc::new(Workers::start("jocko-worker", workers, Workers::QUEUE_MAX)?),
        })
    }

    /// A network in memory, tokio's clock (paused or not) and tasks of the current runtime.
    /// Call within a runtime.
    #[must_use]
    pub fn simulated() -> Self {
        Self {
            net: Arc::new(MemoryNet::new()),
            clock: Arc::new(VirtualClock::starting_at(jocko_types::Timestamp::from_millis(
                1_700_000_000_000,
            ))),
            spawn: Arc::new(TaskSpawn),
        }
    }
}
