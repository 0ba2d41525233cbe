//! The memory that connections may hold together: frames being read or handled, and replies
//! being written. Every connection has a small allowance that is not counted here (the
//! connection limit bounds their sum), so small requests touch no shared counter.
//!
//! Room is given in the order in which it was asked for, and is taken on behalf of whoever waits
//! before it is woken: a release wakes only those for whom there is room now, and nobody who comes
//! later can be faster. Frames of ordinary size pass huge ones only while those have used up
//! their share, which no ordinary frame can prolong: so nobody starves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use jocko_types::Now;

/// Huge frames leave this part of the budget to ordinary ones: a quarter.
const ORDINARY_PART: usize = 4;

/// Which part of the budget something may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All of it.
    Ordinary,
    /// Three quarters of it.
    Huge,
}

/// A shared allowance in bytes. Growth waits when it is used up, first come, first served.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    /// Locked for a few instructions, by frames above the allowance only.
    state: Mutex<State>,
    /// How half frames stood at the last sweep of each reactor.
    standings: Mutex<Vec<Standing>>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes in use, what is granted and not yet taken included.
    used: usize,
    /// Those of them that huge frames use.
    huge: usize,
    /// Who waits, by when they came.
    ordinary_waiting: BTreeMap<u64, Wait>,
    huge_waiting: BTreeMap<u64, Wait>,
    /// What those who waited have been given and not yet taken: bytes.
    granted: BTreeMap<u64, usize>,
    /// The number of the next to wait.
    next: u64,
}

#[derive(Debug)]
struct Wait {
    /// The bytes it waits for.
    more: usize,
    waker: Waker,
}

impl State {
    fn waiting(&mut self, share: Share) -> &mut BTreeMap<u64, Wait> {
        match share {
            Share::Ordinary => &mut self.ordinary_waiting,
            Share::Huge => &mut self.huge_waiting,
        }
    }

    fn take(&mut self, bytes: usize, share: Share) {
        self.used = self.used.saturating_add(bytes);
        if share == Share::Huge {
            self.huge = self.huge.saturating_add(bytes);
        }
    }

    fn give_back(&mut self, bytes: usize, huge: usize) {
        self.used = self.used.checked_sub(bytes).expect("no more comes back than was taken");
        self.huge = self.huge.checked_sub(huge).expect("no more comes back than was taken");
    }

    fn within_share(&self, more: usize, share: Share, bytes_max: usize) -> bool {
        let share_max = bytes_max - bytes_max / ORDINARY_PART;
        share == Share::Ordinary || self.huge.saturating_add(more) <= share_max
    }

    /// Who is next, unless it waits for its own share: its number, its share, what it wants.
    fn first(&self, bytes_max: usize) -> Option<(u64, Share, usize)> {
        let first = |waiting: &BTreeMap<u64, Wait>, share| {
            waiting.first_key_value().map(|(number, wait)| (*number, share, wait.more))
        };
        let huge = first(&self.huge_waiting, Share::Huge)
            .filter(|(_, share, more)| self.within_share(*more, *share, bytes_max));
        let ordinary = first(&self.ordinary_waiting, Share::Ordinary);
        huge.into_iter().chain(ordinary).min_by_key(|(number, ..)| *number)
    }

    /// Whether a newcomer may take that much without passing anyone whose turn it is.
    fn has_room(&mut self, more: usize, share: Share, bytes_max: usize) -> bool {
        self.waiting(share).is_empty()
            && self.first(bytes_max).is_none()
            && self.within_share(more, share, bytes_max)
            && self.used.saturating_add(more) <= bytes_max
    }

    /// Gives the room there is to those who wait, in turn; whom to wake.
    fn grant(&mut self, bytes_max: usize) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some((number, share, more)) = self.first(bytes_max) {
            if self.used.saturating_add(more) > bytes_max {
                break;
            }
            let wait = self.waiting(share).remove(&number).expect("it was found there");
            self.take(more, share);
            self.granted.insert(number, more);
            woken.push(wait.waker);
        }
        woken
    }
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, state: Mutex::default(), standings: Mutex::default() })
    }

    /// Bytes in use now; may pass the limit by what could not be refused (replies).
    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    /// The limit.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether somebody waits for memory.
    pub(crate) fn under_pressure(&self) -> bool {
        let state = self.lock();
        !state.ordinary_waiting.is_empty() || !state.huge_waiting.is_empty()
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is in use, then gives the room there is to those who wait.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let woken = {
            let mut state = self.lock();
            change(&mut state);
            state.grant(self.bytes_max)
        };
        // Outside of the lock: a waker may do anything.
        for waker in woken {
            waker.wake();
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

/// What one holder has taken from a [`Budget`], and its place among those who wait for more; both
/// given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
    /// Those of them that count as huge.
    huge: usize,
    place: Option<Place>,
}

/// A place among those who wait.
#[derive(Debug, Clone, Copy)]
struct Place {
    number: u64,
    share: Share,
    /// What the charge is to be raised to.
    target: usize,
}

impl Charge {
    pub(crate) fn none(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0, huge: 0, place: None }
    }

    /// Bytes taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Raises to `bytes` if the budget has room and nobody waits for it; true if it did or if no
    /// more was asked for.
    pub(crate) fn try_raise(&mut self, bytes: usize, share: Share) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else {
            return true;
        };
        let mut state = self.budget.lock();
        let has_room = state.has_room(more, share, self.budget.bytes_max);
        if has_room {
            state.take(more, share);
            drop(state);
            self.took(more, share);
        }
        has_room
    }

    /// Raises to `bytes`, or takes a place among those who wait, and wakes `waker` when its turn
    /// has come. The place is kept until the charge has been raised, cleared or dropped.
    pub(crate) fn raise_or_wait(&mut self, bytes: usize, share: Share, waker: &Waker) -> bool {
        if let Some(place) = self.place {
            let mut state = self.budget.lock();
            if let Some(wait) = state.waiting(place.share).get_mut(&place.number) {
                wait.waker.clone_from(waker);
                return false;
            }
            let granted = state.granted.remove(&place.number);
            drop(state);
            self.place = None;
            self.took(granted.unwrap_or(0), place.share);
            // More may have been given than is needed now.
            let needed = self.bytes.min(bytes);
            self.set(needed);
        }
        if self.try_raise(bytes, share) {
            return true;
        }
        let mut state = self.budget.lock();
        let number = state.next;
        state.next += 1;
        let more = bytes - self.bytes;
        state.waiting(share).insert(number, Wait { more, waker: waker.clone() });
        self.place = Some(Place { number, share, target: bytes });
        drop(state);
        // Room may have come back since it was looked for.
        self.budget.change(|_| ());
        false
    }

    fn took(&mut self, bytes: usize, share: Share) {
        self.bytes += bytes;
        if share == Share::Huge {
            self.huge += bytes;
        }
    }

    /// Sets to `bytes`, past the limit if need be: for memory that is already held. A place among
    /// those who wait is kept.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        let huge = self.huge.min(bytes);
        let (fewer, fewer_huge) = (self.bytes.saturating_sub(bytes), self.huge - huge);
        let more = bytes.saturating_sub(self.bytes);
        let place = self.place;
        self.budget.change(|state| {
            state.take(more, Share::Ordinary);
            state.give_back(fewer, fewer_huge);
            if let Some(place) = place
                && let Some(wait) = state.waiting(place.share).get_mut(&place.number)
            {
                wait.more = place.target.saturating_sub(bytes);
            }
        });
        (self.bytes, self.huge) = (bytes, huge);
    }

    /// Gives everything back, and up the place among those who wait.
    pub(crate) fn clear(&mut self) {
        if let Some(place) = self.place.take() {
            self.budget.change(|state| leave(state, place));
        }
        self.set(0);
    }

    /// Hands everything taken so far to a new holder.
    pub(crate) fn split(&mut self) -> Self {
        let (bytes, huge) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.huge));
        Self { budget: Arc::clone(&self.budget), bytes, huge, place: None }
    }
}

/// Gives up a place, and what may have been granted to it.
fn leave(state: &mut State, place: Place) {
    if state.waiting(place.share).remove(&place.number).is_none()
        && let Some(bytes) = state.granted.remove(&place.number)
    {
        state.give_back(bytes, if place.share == Share::Huge { bytes } else { 0 });
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests;
