//! What a reactor's tick needs to know of each connection: a few cells that the connection keeps
//! up to date, and the rules that end connections which overstay. One tick for all connections
//! of a reactor, so that no request registers a timer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use jocko_types::Now;

use crate::budget::Budget;
use crate::frames::beyond_allowance;
use crate::metrics::CloseReason;
use crate::settings::ConnectionSettings;

/// Which part of the frames that wait for each other's memory is given up per sweep.
const STUCK_PART: usize = 8;

/// How many deadlines a frame waits for memory while others, who have some, make progress.
const PATIENCE: u32 = 4;

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
}

impl HalfFrame {
    /// Whether it holds shared memory and is not waiting for more.
    fn holds_and_moves(&self) -> bool {
        self.paused_since.is_none() && beyond_allowance(self.received) > 0
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
                // Others wait for this memory: slow sending earns nothing now.
                earned = Duration::ZERO;
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
    /// Half frames that were arriving at the last sweep.
    receiving: Cell<usize>,
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
    /// plain deadline: nothing else would ever move.
    pub(crate) fn sweep(&self, now: Now, budget: &Budget) {
        let under_pressure = budget.under_pressure();
        let entries = self.entries.borrow();
        let mut receiving = 0;
        for each in entries.iter() {
            if let Some(reason) = each.overdue(now, under_pressure) {
                each.end(reason);
            }
            let half = each.half_frame.get();
            receiving += usize::from(half.is_some_and(|half| half.holds_and_moves()));
        }
        let everywhere = budget.note_receiving(self.receiving.replace(receiving), receiving);
        if !under_pressure {
            return;
        }
        // Whoever still receives will give memory back; but not for ever is that worth waiting.
        let patience = if everywhere > 0 { PATIENCE } else { 1 };
        let mut stuck: Vec<_> = entries
            .iter()
            .filter_map(|each| each.half_frame.get().map(|half| (half, each)))
            .filter(|(half, _)| half.paused_since.is_some())
            .map(|(half, each)| (half.began, each))
            .filter(|(began, each)| now.since(*began) > each.settings.frame_deadline * patience)
            .collect();
        stuck.sort_by_key(|(began, _)| *began);
        for (_, vitals) in stuck.iter().take(stuck.len().div_ceil(STUCK_PART)) {
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
