//! A network in memory, for simulation: the same seed and the same calls give the same history
//! under a paused tokio runtime.
//!
//! It behaves as gossip does. News travel over any path of links that are whole, so brokers that
//! cannot speak to each other still know of each other through a third; who cannot be reached over
//! any path is found out after a while. Whether a broker is known is looked at when the news
//! arrive, so news that are overtaken do no harm.

use crate::member::{Discovery, Event, EventKind, Leaving, Member, Members};
use crate::roster::Roster;
use crate::tags::{self, MemberTooLong};
use jocko_types::{Timestamp, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// A network that brokers may be put into. Clones are the same network.
#[derive(Debug, Clone)]
pub struct MemoryNetwork {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    state: Mutex<State>,
    /// Something was put before what the driver waits for.
    changed: Arc<Notify>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    /// Milliseconds until news arrive.
    news_ms: RangeInclusive<u64>,
    /// Milliseconds until silence is noticed.
    silence_ms: RangeInclusive<u64>,
    brokers: BTreeMap<Uuid, Broker>,
    /// Directions in which nothing passes.
    cuts: BTreeSet<(Uuid, Uuid)>,
    /// When somebody looks at somebody. The count keeps equal times apart.
    looks: BTreeMap<(Instant, u64), Look>,
    looks_made: u64,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    watcher: Uuid,
    watched: Uuid,
    /// Whether it was silent long enough to be given up.
    is_last: bool,
}

#[derive(Debug)]
struct Broker {
    me: Member,
    life: Life,
    roster: Arc<Roster>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Alive,
    Left,
    Gone,
}

impl MemoryNetwork {
    /// An empty network. It must be made within a tokio runtime, whose clock it keeps.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: fastrand::Rng::with_seed(seed),
            news_ms: 1..=100,
            silence_ms: 2_000..=6_000,
            brokers: BTreeMap::new(),
            cuts: BTreeSet::new(),
            looks: BTreeMap::new(),
            looks_made: 0,
        };
        let changed = Arc::new(Notify::new());
        let (began, state) = (Instant::now(), Mutex::new(state));
        let shared = Arc::new(Shared { began, state, changed: Arc::clone(&changed) });
        tokio::spawn(drive(Arc::downgrade(&shared), changed));
        Self { shared }
    }

    /// Sets how many milliseconds news travel, and how many it takes to notice silence.
    pub fn set_delays(&self, news_ms: RangeInclusive<u64>, silence_ms: RangeInclusive<u64>) {
        let mut state = self.shared.lock();
        (state.news_ms, state.silence_ms) = (news_ms, silence_ms);
    }

    /// Puts a broker into the network. One that was there before has restarted.
    #[must_use]
    pub fn enter(&self, me: Member) -> MemoryDiscovery {
        let roster = Arc::new(Roster::new());
        let node = me.node;
        let broker = Broker { me, life: Life::Alive, roster: Arc::clone(&roster) };
        self.shared.change(|state| {
            state.brokers.insert(node, broker);
        });
        MemoryDiscovery { node, roster, shared: Arc::clone(&self.shared) }
    }

    /// Cuts the link between two brokers, both ways.
    pub fn cut(&self, one: Uuid, other: Uuid) {
        self.shared.change(|state| state.cuts.extend([(one, other), (other, one)]));
    }

    /// Cuts the link from one broker to another; the way back stays.
    pub fn cut_one_way(&self, from: Uuid, to: Uuid) {
        self.shared.change(|state| {
            state.cuts.insert((from, to));
        });
    }

    /// Mends the link between two brokers.
    pub fn mend(&self, one: Uuid, other: Uuid) {
        self.shared.change(|state| {
            state.cuts.remove(&(one, other));
            state.cuts.remove(&(other, one));
        });
    }

    /// Mends all links.
    pub fn mend_all(&self) {
        self.shared.change(|state| state.cuts.clear());
    }
}

/// Runs until the network is dropped.
async fn drive(shared: Weak<Shared>, changed: Arc<Notify>) {
    while let Some(next) = shared.upgrade().map(|shared| shared.look()) {
        match next {
            None => changed.notified().await,
            Some(due) => {
                tokio::select! {
                    biased;
                    () = sleep_until(due) => {}
                    () = changed.notified() => {}
                }
            }
        }
    }
}

impl Shared {
    /// Changes something; whoever it concerns looks again later.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.plan(Instant::now());
        drop(state);
        self.changed.notify_one();
    }

    /// Does the looks that are due; when the next is.
    fn look(&self) -> Option<Instant> {
        let mut state = self.lock();
        let now = Instant::now();
        while let Some(entry) = state.looks.first_entry() {
            let (due, _) = *entry.key();
            if due > now {
                return Some(due);
            }
            let Look { watcher, watched, is_last } = entry.remove();
            let millis = i64::try_from(due.duration_since(self.began).as_millis());
            let at = Timestamp::from_millis(millis.unwrap_or(i64::MAX));
            let Some(broker) = state.brokers.get(&watcher) else { continue };
            let roster = Arc::clone(&broker.roster);
            match state.seen(watcher, watched) {
                Ok(member) => roster.heard(at, member),
                // News that cannot be had say nothing of how long it has been silent.
                Err(EventKind::Failed) if !is_last => {}
                Err(kind) => roster.lost(at, watched, kind, ""),
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets every broker look at every other whose state differs from what it knows.
    fn plan(&mut self, now: Instant) {
        let all: Vec<Uuid> = self.brokers.keys().copied().collect();
        for &watcher in &all {
            let Some(broker) = self.brokers.get(&watcher) else { continue };
            if broker.life != Life::Alive {
                continue;
            }
            let known = broker.roster.changed().borrow().clone();
            for &watched in all.iter().filter(|watched| **watched != watcher) {
                let before = known.iter().find(|member| member.node == watched);
                let seen = self.seen(watcher, watched);
                let is_last = seen == Err(EventKind::Failed);
                let is_news = seen.as_ref().ok() != before;
                if is_news {
                    let delay = if is_last { &self.silence_ms } else { &self.news_ms };
                    let due = now + Duration::from_millis(self.rng.u64(delay.clone()));
                    self.looks_made += 1;
                    let look = Look { watcher, watched, is_last };
                    self.looks.insert((due, self.looks_made), look);
                }
            }
        }
    }

    /// What one broker can know of another now.
    fn seen(&self, watcher: Uuid, watched: Uuid) -> Result<Member, EventKind> {
        let broker = self.brokers.get(&watched).ok_or(EventKind::Failed)?;
        let is_reached = self.reached(watcher).contains(&watched);
        match broker.life {
            Life::Alive if is_reached => Ok(broker.me.clone()),
            Life::Left => Err(EventKind::Left),
            Life::Alive | Life::Gone => Err(EventKind::Failed),
        }
    }

    /// Whom a broker reaches over links that are whole.
    fn reached(&self, from: Uuid) -> BTreeSet<Uuid> {
        let mut reached = BTreeSet::from([from]);
        let mut edge = vec![from];
        while let Some(here) = edge.pop() {
            for (&there, broker) in &self.brokers {
                let is_cut =
                    self.cuts.contains(&(here, there)) || self.cuts.contains(&(there, here));
                if broker.life == Life::Alive && !is_cut && reached.insert(there) {
                    edge.push(there);
                }
            }
        }
        reached
    }
}

/// One broker's place in a [`MemoryNetwork`]. Dropping it without a farewell is a crash.
#[derive(Debug)]
pub struct MemoryDiscovery {
    node: Uuid,
    roster: Arc<Roster>,
    shared: Arc<Shared>,
}

impl MemoryDiscovery {
    /// Changes this place, unless it ended or the broker has restarted since.
    fn change(&self, change: impl FnOnce(&mut Broker)) {
        let is_mine = |broker: &Broker| {
            Arc::ptr_eq(&broker.roster, &self.roster) && broker.life == Life::Alive
        };
        self.shared.change(|state| {
            if let Some(broker) = state.brokers.get_mut(&self.node).filter(|it| is_mine(it)) {
                change(broker);
            }
        });
    }

    fn end(&self, life: Life) {
        self.change(|broker| broker.life = life);
        self.roster.forget_all();
    }
}

impl Discovery for MemoryDiscovery {
    fn changed(&self) -> watch::Receiver<Members> {
        self.roster.changed()
    }

    fn announce(&self, me: Member) -> Result<(), MemberTooLong> {
        tags::encode(&me)?;
        self.change(|broker| broker.me = Member { node: self.node, ..me });
        Ok(())
    }

    fn leave(&self) -> Leaving {
        self.end(Life::Left);
        Box::pin(std::future::ready(()))
    }

    fn events(&self) -> Vec<Event> {
        self.roster.events()
    }
}

impl Drop for MemoryDiscovery {
    fn drop(&mut self) {
        self.end(Life::Gone);
    }
}

#[cfg(test)]
mod tests;
