//! Workers and routines as tasks, on a disk that takes its time and hangs at times; and clocks that
//! are wrong.

use crate::dice::Dice;
use jocko_net::ports::{
    Bell, Clock, Job, Manner, Refused, Rest, Routine, RoutineHandle, Spawn, TaskSpawn,
    VirtualClock, spawn,
};
use jocko_types::{Now, Timestamp};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long work on a disk usually takes at most, in microseconds: one of these for each.
const USUAL_US: [u64; 4] = [500, 3_000, 20_000, 100_000];

/// How slow a machine's disk is.
#[derive(Debug)]
pub(super) struct Slowness {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    /// How long work usually takes at most, in microseconds.
    usual_us: u64,
    /// It hangs until then.
    until: Option<Instant>,
}

impl Slowness {
    pub(super) fn seeded(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let usual_us = dice.pick(&USUAL_US).unwrap_or(0);
        Self { state: Mutex::new(State { dice, usual_us, until: None }) }
    }

    /// Lets the disk hang for a while.
    pub(super) fn hang(&self, time: Duration) {
        self.with(|state| state.until = Some(Instant::now() + time));
    }

    /// Ends all hanging.
    pub(super) fn heal(&self) {
        self.with(|state| state.until = None);
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hangs_for(&self) -> Duration {
        self.with(|state| {
            state.until.map_or(Duration::ZERO, |until| until.duration_since(Instant::now()))
        })
    }

    fn draw(&self) -> Duration {
        Duration::from_micros(self.with(|state| state.dice.below(state.usual_us)))
    }
}

/// Jobs and routines as tasks, as slow as the disk.
#[derive(Debug)]
pub(super) struct SlowSpawn(pub(super) Arc<Slowness>);

impl Spawn for SlowSpawn {
    fn submit(&self, job: Job) -> Result<(), Refused> {
        let slowness = Arc::clone(&self.0);
        spawn(async move {
            sleep(slowness.draw()).await;
            loop {
                let wait = slowness.hangs_for();
                if wait.is_zero() {
                    break;
                }
                sleep(wait).await;
            }
            job();
        });
        Ok(())
    }

    fn routine(
        &self,
        manner: Manner,
        bell: Bell,
        routine: Box<dyn Routine>,
    ) -> io::Result<RoutineHandle> {
        let slow = Slow { routine, slowness: Arc::clone(&self.0), is_due: false };
        TaskSpawn.routine(manner, bell, Box::new(slow))
    }
}

/// A routine each of whose rounds takes time before it does anything.
struct Slow {
    routine: Box<dyn Routine>,
    slowness: Arc<Slowness>,
    is_due: bool,
}

impl Routine for Slow {
    fn round(&mut self) -> Rest {
        let hangs = self.slowness.hangs_for();
        if !hangs.is_zero() {
            return Rest::For(hangs);
        }
        if !std::mem::replace(&mut self.is_due, true) {
            // The bell may ring meanwhile, and then it was quicker.
            return Rest::For(self.slowness.draw());
        }
        self.is_due = false;
        self.routine.round()
    }
}

/// A machine's clocks. The wall clock may be off.
pub(super) struct WrongClock {
    right: VirtualClock,
    off_ms: AtomicI64,
}

impl WrongClock {
    pub(super) fn starting_at(wall: Timestamp) -> Self {
        Self { right: VirtualClock::starting_at(wall), off_ms: AtomicI64::new(0) }
    }

    /// Lets the wall clock jump so far from the right time.
    pub(super) fn be_off_by(&self, millis: i64) {
        self.off_ms.store(millis, Ordering::Relaxed);
    }
}

impl fmt::Debug for WrongClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrongClock").field("off_ms", &self.off_ms).finish_non_exhaustive()
    }
}

impl Clock for WrongClock {
    fn now(&self) -> Now {
        self.right.now()
    }

    fn wall(&self) -> Timestamp {
        let off = self.off_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(self.right.wall().as_millis().saturating_add(off))
    }
}
