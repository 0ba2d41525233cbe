//! The Clock port: a monotonic clock for deadlines, a wall clock for records and people.

use jocko_types::{Now, Timestamp};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A shared clock.
pub type ClockRef = Arc<dyn Clock>;

/// What time it is. Cheap enough to ask once per read from a socket (about 30 ns).
pub trait Clock: Debug + Send + Sync + 'static {
    /// The monotonic instant; never falls.
    fn now(&self) -> Now;
    /// The wall clock; may jump either way.
    fn wall(&self) -> Timestamp;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::now`] counts from this call.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now::from_start(self.started.elapsed())
    }

    fn wall(&self) -> Timestamp {
        // A clock set before 1970 reads as 1970: a record cannot carry less.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// tokio's clock as both clocks: stands still while the runtime's time is paused, and advances
/// with its timers. The wall clock starts at a given instant, so that runs repeat exactly.
#[derive(Debug)]
pub struct VirtualClock {
    started: tokio::time::Instant,
    wall: Timestamp,
}

impl VirtualClock {
    /// A clock whose wall reads `wall` now. Call within the runtime whose time it follows.
    #[must_use]
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { started: tokio::time::Instant::now(), wall }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        Now::from_start(self.started.elapsed())
    }

    fn wall(&self) -> Timestamp {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.wall.as_millis().saturating_add(elapsed))
    }
}
