//! Waking requests that wait, from any thread: one mailbox per reactor.
//!
//! A waiting request owns a [`Waiter`] on its reactor and hands out its [`Ticket`], a plain
//! number that state machines can keep. Whoever makes progress delivers tickets; each reactor
//! concerned is woken at most once per batch, and not at all when it is awake or is the caller.
//! Delivering a ticket whose waiter is gone does nothing.
//!
//! A sleeping reactor must not miss mail. The deliverer writes, then looks whether the reactor
//! sleeps; the reactor says that it sleeps, then looks for mail: one of the two sees the other.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use crate::metrics::{self, Counters};

/// Names one waiter of one reactor. A plain value: keep it, copy it, deliver it late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// From the top: 12 bits of reactor, 28 of generation, 24 of slot.
const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 28;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
/// How many reactors a ticket can tell apart.
pub(crate) const REACTORS_MAX: usize = 1 << (64 - SLOT_BITS - GENERATION_BITS);

impl Ticket {
    fn new(reactor: u16, generation: u64, slot: usize) -> Self {
        let reactor = u64::from(reactor) << (GENERATION_BITS + SLOT_BITS);
        let generation = (generation & GENERATION_MASK) << SLOT_BITS;
        Self(reactor | generation | (slot as u64 & SLOT_MASK))
    }

    /// As a number, for a state machine that knows no tickets.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From [`Ticket::to_bits`]. Any number is safe to deliver.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    fn reactor(self) -> usize {
        (self.0 >> (GENERATION_BITS + SLOT_BITS)) as usize
    }

    fn generation(self) -> u64 {
        (self.0 >> SLOT_BITS) & GENERATION_MASK
    }

    fn slot(self) -> usize {
        (self.0 & SLOT_MASK) as usize
    }
}

/// The part of a mailbox that other threads see.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Tells mailboxes of one process apart, also where many reactors share a thread.
    uid: u64,
    number: u16,
    tickets: Mutex<Vec<Ticket>>,
    has_mail: AtomicBool,
    /// Whether the reactor's thread is, or is about to be, asleep. Stays true where no runtime
    /// tells (simulation): then each batch wakes.
    asleep: AtomicBool,
    waker: AtomicWaker,
    counters: Arc<Counters>,
}

static NEXT_UID: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The waiters of the reactors that live on this thread: one in production, many in
    /// simulation.
    static HERE: RefCell<Vec<(u64, Weak<Waiters>)>> = const { RefCell::new(Vec::new()) };
}

fn waiters_here(uid: u64) -> Option<Rc<Waiters>> {
    HERE.try_with(|here| {
        here.borrow()
            .iter()
            .find(|(each, _)| *each == uid)
            .and_then(|(_, waiters)| waiters.upgrade())
    })
    .ok()
    .flatten()
}

impl Mailbox {
    pub(crate) fn new(number: u16, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            uid: NEXT_UID.fetch_add(1, Ordering::Relaxed),
            number,
            tickets: Mutex::new(Vec::new()),
            has_mail: AtomicBool::new(false),
            asleep: AtomicBool::new(true),
            waker: AtomicWaker::new(),
            counters,
        })
    }

    /// Delivers those of `tickets` that belong to this reactor.
    pub(crate) fn deliver(&self, tickets: &[Ticket]) {
        let number = usize::from(self.number);
        let mut mine = tickets.iter().copied().filter(|t| t.reactor() == number);
        let Some(first) = mine.next() else { return };
        if let Some(waiters) = waiters_here(self.uid) {
            waiters.deliver(std::iter::once(first).chain(mine));
            return;
        }
        {
            let mut mail = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
            mail.push(first);
            mail.extend(mine);
        }
        let was_full = self.has_mail.swap(true, Ordering::SeqCst);
        if !was_full && self.asleep.load(Ordering::SeqCst) {
            metrics::add(&self.counters.wakeups, 1);
            self.waker.wake();
        }
    }

    /// Tells that the reactor's thread is going to sleep; delivers what came until now.
    pub(crate) fn before_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        if let Some(waiters) = waiters_here(self.uid) {
            self.drain(&waiters);
        }
    }

    /// Tells that the reactor's thread is awake.
    pub(crate) fn after_sleep(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        if let Some(waiters) = waiters_here(self.uid) {
            self.drain(&waiters);
        }
    }

    /// Hands waiting mail to its waiters. One load when there is none.
    pub(crate) fn drain(&self, waiters: &Waiters) {
        if !self.has_mail.load(Ordering::SeqCst) {
            return;
        }
        // The flag falls before the mail is taken: mail that comes in between raises it again.
        self.has_mail.store(false, Ordering::SeqCst);
        let mail = {
            let mut mail = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *mail)
        };
        waiters.deliver(mail.into_iter());
    }

    /// Drains, and asks to be polled when mail comes to a sleeping reactor.
    pub(crate) fn poll_mail(&self, cx: &mut Context<'_>, waiters: &Waiters) {
        self.waker.register(cx.waker());
        self.drain(waiters);
    }
}

/// The waiters of one reactor, on its thread.
#[derive(Debug)]
pub(crate) struct Waiters {
    number: u16,
    uid: u64,
    table: RefCell<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u64,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Free,
    Quiet,
    Watched(Waker),
    Delivered,
}

impl Waiters {
    pub(crate) fn new(mailbox: &Mailbox) -> Rc<Self> {
        let waiters =
            Rc::new(Self { number: mailbox.number, uid: mailbox.uid, table: RefCell::default() });
        HERE.with(|here| {
            here.borrow_mut().push((mailbox.uid, Rc::downgrade(&waiters)));
        });
        waiters
    }

    pub(crate) fn register(self: &Rc<Self>) -> Waiter {
        let mut table = self.table.borrow_mut();
        let slot = table.free.pop().unwrap_or_else(|| {
            table.slots.push(Slot::default());
            table.slots.len() - 1
        });
        assert!(
            slot as u64 <= SLOT_MASK,
            "waiters are bounded by connections and their requests in flight"
        );
        let entry = &mut table.slots[slot];
        entry.state = State::Quiet;
        Waiter {
            ticket: Ticket::new(self.number, entry.generation, slot),
            waiters: Rc::clone(self),
        }
    }

    fn deliver(&self, tickets: impl Iterator<Item = Ticket>) {
        for ticket in tickets {
            // Borrowed per ticket: a waker may run code that registers or drops a waiter.
            let woken = self
                .with(ticket, |state| match std::mem::replace(state, State::Delivered) {
                    State::Watched(waker) => Some(waker),
                    State::Free | State::Quiet | State::Delivered => None,
                })
                .flatten();
            if let Some(waker) = woken {
                waker.wake();
            }
        }
    }

    /// Runs `f` on the state of a ticket's slot, if its waiter still lives.
    fn with<T>(&self, ticket: Ticket, f: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut table = self.table.borrow_mut();
        let slot = table.slots.get_mut(ticket.slot())?;
        let lives = slot.generation == ticket.generation() && !matches!(slot.state, State::Free);
        lives.then(|| f(&mut slot.state))
    }

    fn unregister(&self, ticket: Ticket) {
        let mut table = self.table.borrow_mut();
        if let Some(slot) = table.slots.get_mut(ticket.slot()) {
            slot.state = State::Free;
            slot.generation = (slot.generation + 1) & GENERATION_MASK;
            table.free.push(ticket.slot());
        }
    }

    /// How many waiters are registered.
    pub(crate) fn len(&self) -> usize {
        let table = self.table.borrow();
        table.slots.len() - table.free.len()
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        // The thread may already be past its thread-locals.
        let _ = HERE.try_with(|here| {
            if let Ok(mut here) = here.try_borrow_mut() {
                here.retain(|(uid, _)| *uid != self.uid);
            }
        });
    }
}

/// A registered wait on one reactor. Dropping it unregisters the ticket.
///
/// Register first, hand the ticket out, look whether waiting is still needed, then wait: a
/// delivery in between is kept. Look again when woken; the same waiter can wait again.
#[derive(Debug)]
pub struct Waiter {
    ticket: Ticket,
    waiters: Rc<Waiters>,
}

impl Waiter {
    /// The ticket that wakes this waiter.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Ready once per delivery (several deliveries before a look count as one).
    pub fn poll_delivered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waiters
            .with(self.ticket, |state| match state {
                State::Delivered => {
                    *state = State::Quiet;
                    Poll::Ready(())
                }
                State::Watched(waker) => {
                    waker.clone_from(cx.waker());
                    Poll::Pending
                }
                State::Quiet | State::Free => {
                    *state = State::Watched(cx.waker().clone());
                    Poll::Pending
                }
            })
            .expect("a live waiter owns its slot")
    }

    /// Waits for a delivery.
    pub async fn delivered(&mut self) {
        std::future::poll_fn(|cx| self.poll_delivered(cx)).await;
    }

    /// Waits for a delivery for at most `wait`; whether one came.
    pub async fn delivered_within(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.delivered()).await.is_ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.unregister(self.ticket);
    }
}

#[cfg(test)]
mod tests;
