//! The memory that connections may hold together: frames being read or handled, and replies
//! being written. Every connection has a small allowance that is not counted here (the
//! connection limit bounds their sum), so small requests touch no shared counter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use jocko_types::Now;

/// A shared allowance in bytes. Growth is refused when it is used up; refused callers are woken
/// when something is given back.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
    /// How many wakers wait: asked on each release, so that releases stay one atomic without
    /// pressure.
    waiting: AtomicUsize,
    /// How half frames stood at the last sweep of each reactor.
    standings: Mutex<Vec<Standing>>,
    wakers: Mutex<Vec<Waker>>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            standings: Mutex::default(),
            wakers: Mutex::new(Vec::new()),
        })
    }

    /// Bytes in use now; may pass the limit by what could not be refused (replies).
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether somebody waits for memory.
    pub(crate) fn under_pressure(&self) -> bool {
        // With nothing in use nobody has reason to wait: whoever did has gone.
        self.waiting.load(Ordering::Acquire) > 0 && self.used() > 0
    }

    /// A place for what one reactor notes.
    pub(crate) fn take_seat(&self) -> usize {
        let mut standings = self.standings();
        standings.push(Standing::default());
        standings.len() - 1
    }

    /// Notes how the half frames of the reactor with that seat stand; how those of all do.
    pub(crate) fn note(&self, seat: usize, now: Standing) -> Standing {
        let mut standings = self.standings();
        if let Some(standing) = standings.get_mut(seat) {
            *standing = now;
        }
        standings.iter().fold(Standing::default(), |sum, each| sum.plus(*each))
    }

    fn standings(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is in use is held by half frames that wait for more, so that nothing will be
    /// given back: an eighth may be anything else.
    pub(crate) fn is_deadlocked(&self, standing: Standing) -> bool {
        let used = self.used();
        standing.receiving == 0 && used > 0 && standing.stuck_bytes >= used - used / 8
    }

    /// Wakes `waker` at the next release.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut wakers = self.lock();
        if !wakers.iter().any(|w| w.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        self.waiting.store(wakers.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
        if self.waiting.load(Ordering::Acquire) > 0 {
            let woken = {
                let mut wakers = self.lock();
                self.waiting.store(0, Ordering::Release);
                std::mem::take(&mut *wakers)
            };
            for waker in woken {
                waker.wake();
            }
        }
    }
}

/// How half frames that hold shared memory stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// How many wait for no more memory.
    pub(crate) receiving: usize,
    /// What the others hold, in bytes.
    pub(crate) stuck_bytes: usize,
    /// When the oldest of those others began.
    pub(crate) stuck_since: Option<Now>,
}

impl Standing {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            receiving: self.receiving + other.receiving,
            stuck_bytes: self.stuck_bytes + other.stuck_bytes,
            stuck_since: self.stuck_since.into_iter().chain(other.stuck_since).min(),
        }
    }
}

/// What one holder has taken from a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn none(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// Bytes taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Raises to `bytes` if the budget has room; true if it did or if no more was asked for.
    /// `spare_part` keeps that part of the budget for others: 4 means a quarter.
    pub(crate) fn try_raise_within(&mut self, bytes: usize, spare_part: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else {
            return true;
        };
        let limit = self.budget.bytes_max - self.budget.bytes_max / spare_part.max(1);
        let taken = self.budget.used.try_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            used.checked_add(more).filter(|sum| *sum <= limit)
        });
        if taken.is_ok() {
            self.bytes = bytes;
        }
        taken.is_ok()
    }

    /// Sets to `bytes`, past the limit if need be: for memory that is already held.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::AcqRel);
        } else if bytes < self.bytes {
            self.budget.release(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Hands everything taken so far to a new holder.
    pub(crate) fn split(&mut self) -> Self {
        Self { budget: Arc::clone(&self.budget), bytes: std::mem::take(&mut self.bytes) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
