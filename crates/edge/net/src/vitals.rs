//! What a reactor's tick needs to know of each connection: a few cells that the connection keeps
//! up to date, and the rules that end connections which overstay. One tick for all connections
//! of a reactor, so that no request registers a timer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use jocko_types::Now;

use crate::budget::{Budget, Standing};
use crate::metrics::CloseReason;
use crate::settings::ConnectionSettings;

/// Which part of the frames that overstay while they wait for memory is given up per sweep.
const STUCK_PART: usize = 8;
/// Which part of those that hold all memory and wait for each other: a smaller one would only
/// give the rest a little more to wait with.
const DEADLOCKED_PART: usize = 2;

/// How long a frame that holds memory others wait for may take to show its pace.
const PACE_GRACE: Duration = Duration::from_secs(2);

/// How many deadlines a frame waits for memory while others, who have some, make progress.
const PATIENCE: u32 = 4;

/// How long all memory may be held by frames that wait for each other before some are given up.
/// Their peers are not asked: one that has left may look alive as long as we do not read.
const DEADLOCK_MAX: Duration = Duration::from_secs(1);

/// The state of one connection as its deadlines see it.
#[derive(Debug)]
pub(crate) struct Vitals {
    /// Which server it belongs to.
    pub(crate) server: u64,
    pub(crate) settings: Arc<ConnectionSettings>,
    /// When a byte last came or went.
    pub(crate) active: Cell<Now>,
    /// Whether nothing is asked, answered or half read.
    pub(crate) idle: Cell<bool>,
    /// The frame being received, while the peer is who we wait for.
    pub(crate) half_frame: Cell<Option<HalfFrame>>,
    /// Since when the peer has taken no reply byte although some wait.
    pub(crate) write_blocked: Cell<Option<Now>>,
    /// The server stops: finish what is in flight, then close.
    pub(crate) stopping: Cell<bool>,
    /// Close now, for this reason.
    pub(crate) kill: Cell<Option<CloseReason>>,
    pub(crate) waker: RefCell<Waker>,
    /// Where it is in its reactor's [`Table`].
    at: Cell<usize>,
}

/// A frame of which some bytes have come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HalfFrame {
    /// When its first byte came.
    pub(crate) began: Now,
    /// Time during which we did not read, for want of memory.
    pub(crate) paused: Duration,
    /// Since when we do not read, for want of memory.
    pub(crate) paused_since: Option<Now>,
    /// Bytes received of it.
    pub(crate) received: usize,
    /// Its size, 0 while that is not known.
    pub(crate) total: usize,
    /// Shared memory it holds, in bytes.
    pub(crate) held: usize,
}

impl HalfFrame {
    /// Whether it holds memory and comes so slowly that it would not be here within its deadline.
    fn is_behind(&self, now: Now, deadline: Duration) -> bool {
        let took = now.since(self.began).saturating_sub(self.paused);
        let due = self.total as f64 * took.as_secs_f64();
        self.held > 0 && took > PACE_GRACE && due > self.received as f64 * deadline.as_secs_f64()
    }

    fn standing(&self) -> Standing {
        match self.paused_since {
            _ if self.held == 0 => Standing::default(),
            None => Standing { receiving: 1, ..Standing::default() },
            Some(_) => Standing {
                stuck_bytes: self.held,
                stuck_since: Some(self.began),
                ..Standing::default()
            },
        }
    }
}

impl Vitals {
    pub(crate) fn new(server: u64, settings: Arc<ConnectionSettings>, now: Now) -> Self {
        Self {
            server,
            settings,
            active: Cell::new(now),
            idle: Cell::new(true),
            half_frame: Cell::new(None),
            write_blocked: Cell::new(None),
            stopping: Cell::new(false),
            kill: Cell::new(None),
            waker: RefCell::new(Waker::noop().clone()),
            at: Cell::new(0),
        }
    }

    pub(crate) fn wake(&self) {
        self.waker.borrow().wake_by_ref();
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        self.kill.set(Some(reason));
        self.wake();
    }

    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.wake();
    }

    /// Why this connection has overstayed, if it has.
    fn overdue(&self, now: Now, under_pressure: bool) -> Option<CloseReason> {
        let settings = &self.settings;
        if let Some(half) = self.half_frame.get()
            && half.paused_since.is_none()
        {
            let rate = settings.frame_bytes_per_second_min.max(1);
            let mut earned = Duration::from_secs_f64(half.received as f64 / rate as f64);
            if under_pressure {
                // Others wait for this memory: slow sending earns nothing now, and what will not
                // be here in time is ended before others have waited for it in vain.
                earned = Duration::ZERO;
                if half.is_behind(now, settings.frame_deadline) {
                    return Some(CloseReason::FrameTimeout);
                }
            }
            let allowed = settings.frame_deadline + half.paused + earned;
            if now.since(half.began) > allowed {
                return Some(CloseReason::FrameTimeout);
            }
        }
        if let Some(since) = self.write_blocked.get()
            && now.since(since) > settings.write_stall_max
        {
            return Some(CloseReason::WriteStalled);
        }
        if self.idle.get() && now.since(self.active.get()) > settings.idle_max {
            return Some(CloseReason::Idle);
        }
        None
    }
}

/// The connections of one reactor.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: RefCell<Vec<Rc<Vitals>>>,
    /// Its seat at the budget, once it has swept.
    seat: Cell<Option<usize>>,
}

impl Table {
    pub(crate) fn insert(&self, vitals: &Rc<Vitals>) {
        let mut entries = self.entries.borrow_mut();
        vitals.at.set(entries.len());
        entries.push(Rc::clone(vitals));
    }

    pub(crate) fn remove(&self, vitals: &Rc<Vitals>) {
        let mut entries = self.entries.borrow_mut();
        let at = vitals.at.get();
        if entries.get(at).is_some_and(|each| Rc::ptr_eq(each, vitals)) {
            entries.swap_remove(at);
            if let Some(moved) = entries.get(at) {
                moved.at.set(at);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// How soon [`Table::sweep`] wants to be called again; `None` without connections.
    pub(crate) fn tick(&self) -> Option<Duration> {
        let entries = self.entries.borrow();
        entries.iter().map(|each| each.settings.tick()).min()
    }

    /// Ends what has overstayed. Under memory pressure, when every large half frame of every
    /// reactor waits for memory that the others hold, also the oldest eighth of those past their
    /// plain deadline, or the oldest half of all if nothing else holds memory: nothing would ever
    /// move.
    pub(crate) fn sweep(&self, now: Now, budget: &Budget) {
        let under_pressure = budget.under_pressure();
        let entries = self.entries.borrow();
        let mut here = Standing::default();
        for each in entries.iter() {
            if let Some(reason) = each.overdue(now, under_pressure) {
                each.end(reason);
            }
            if let Some(half) = each.half_frame.get() {
                here = here.plus(half.standing());
            }
        }
        let seat = self.seat.get().unwrap_or_else(|| budget.take_seat());
        self.seat.set(Some(seat));
        let everywhere = budget.note(seat, here);
        if !under_pressure {
            return;
        }
        // Whoever still receives will give memory back; but not for ever is that worth waiting.
        let patience = if everywhere.receiving > 0 { PATIENCE } else { 1 };
        // One reactor at a time gives up frames then: the one with the oldest.
        let deadlocked =
            budget.is_deadlocked(everywhere) && here.stuck_since == everywhere.stuck_since;
        let is_stuck = |half: &HalfFrame, settings: &ConnectionSettings| {
            let Some(since) = half.paused_since else { return false };
            now.since(half.began) > settings.frame_deadline * patience
                || (deadlocked && half.held > 0 && now.since(since) >= DEADLOCK_MAX)
        };
        let mut stuck: Vec<_> = entries
            .iter()
            .filter_map(|each| each.half_frame.get().map(|half| (half, each)))
            .filter(|(half, each)| is_stuck(half, &each.settings))
            .map(|(half, each)| (half.began, each))
            .collect();
        stuck.sort_by_key(|(began, _)| *began);
        let part = if deadlocked { DEADLOCKED_PART } else { STUCK_PART };
        for (_, vitals) in stuck.iter().take(stuck.len().div_ceil(part)) {
            vitals.end(CloseReason::Memory);
        }
    }

    /// Calls `f` on the connections of one server.
    pub(crate) fn each(&self, server: u64, f: impl Fn(&Vitals)) {
        for vitals in self.entries.borrow().iter() {
            if vitals.server == server {
                f(vitals);
            }
        }
    }

    /// Ends all connections.
    pub(crate) fn end_all(&self) {
        for vitals in self.entries.borrow().iter() {
            vitals.end(CloseReason::Stopped);
        }
    }
}

#[cfg(test)]
mod tests;
