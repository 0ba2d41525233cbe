//! What follows from steps of replicas and is to be done elsewhere: told to leaders, decided by the
//! controller, answered to followers. Filled from any thread, emptied by tasks.

use super::throttling::Throttles;
use jocko_partition::{Claim, Effects, Proposal};
use jocko_types::{BrokerEpoch, LeaderEpoch, TopicIdPartition};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Notify;

/// Tickets of followers: no reactor has this number, of the 12 bits that tell reactors apart.
const FOLLOWER: u64 = 0xFFF << 52;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The newest word for each partition; bounded by their number.
    claims: Mutex<BTreeMap<TopicIdPartition, Claim>>,
    has_claims: Notify,
    /// At most one under way for each partition and leadership.
    proposals: Mutex<Vec<(TopicIdPartition, Proposal)>>,
    has_proposals: Notify,
    /// The image has changed.
    pub(super) news: Notify,
    /// Followers' questions that wait; bounded by the calls that peers may have under way.
    parked: Mutex<BTreeMap<u64, Arc<Notify>>>,
    tickets: AtomicU64,
    /// What is held back of copies.
    pub(super) throttles: Throttles,
    /// Damaged copies of which the controller was asked whether they may be given up, with the leader
    /// epoch after which none has said anything.
    damaged: Mutex<BTreeMap<TopicIdPartition, LeaderEpoch>>,
    /// How this process is registered, once it is.
    registration: OnceLock<BrokerEpoch>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outbox {
    /// Takes on what effects say that is replication's.
    pub(crate) fn take(&self, effects: &mut Effects) {
        if !effects.claims.is_empty() {
            lock(&self.claims).extend(effects.claims.drain(..));
            self.has_claims.notify_one();
        }
        if !effects.proposals.is_empty() {
            lock(&self.proposals).append(&mut effects.proposals);
            self.has_proposals.notify_one();
        }
        if effects.released.iter().any(|ticket| ticket & FOLLOWER == FOLLOWER) {
            self.wake(&effects.released);
            effects.released.retain(|ticket| ticket & FOLLOWER != FOLLOWER);
        }
    }

    /// This process is registered.
    pub(crate) fn registered(&self, as_epoch: BrokerEpoch) {
        // Once, at the start.
        let _ = self.registration.set(as_epoch);
    }

    /// How this process is registered; `None` until it is.
    pub(crate) fn registration(&self) -> Option<BrokerEpoch> {
        self.registration.get().copied()
    }

    /// A copy is damaged and silent since this leader epoch: it may be given up as soon as the
    /// image says that nobody counts on it.
    pub(crate) fn would_give_up(&self, copy: TopicIdPartition, silent_since: LeaderEpoch) {
        lock(&self.damaged).entry(copy).or_insert(silent_since);
    }

    /// Since which leader epoch a copy is silent that is to be given up.
    pub(crate) fn silent_since(&self, copy: &TopicIdPartition) -> Option<LeaderEpoch> {
        lock(&self.damaged).get(copy).copied()
    }

    /// A copy is no more.
    pub(crate) fn is_gone(&self, copy: &TopicIdPartition) {
        lock(&self.damaged).remove(copy);
    }

    /// Tells that another image is published.
    pub(crate) fn image_changed(&self) {
        self.news.notify_one();
    }

    /// Waits for claims, and takes them all.
    pub(super) async fn claims(&self) -> BTreeMap<TopicIdPartition, Claim> {
        loop {
            let claims = std::mem::take(&mut *lock(&self.claims));
            if !claims.is_empty() {
                return claims;
            }
            self.has_claims.notified().await;
        }
    }

    /// Waits for proposals, and takes them all.
    pub(super) async fn proposals(&self) -> Vec<(TopicIdPartition, Proposal)> {
        loop {
            let proposals = std::mem::take(&mut *lock(&self.proposals));
            if !proposals.is_empty() {
                return proposals;
            }
            self.has_proposals.notified().await;
        }
    }

    fn wake(&self, tickets: &[u64]) {
        let parked = lock(&self.parked);
        for notify in tickets.iter().filter_map(|ticket| parked.get(ticket)) {
            notify.notify_one();
        }
    }

    /// A place to wait in for partitions that a follower asked for.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        let ticket = FOLLOWER | (self.tickets.fetch_add(1, Ordering::Relaxed) & !FOLLOWER);
        let notify = Arc::new(Notify::new());
        lock(&self.parked).insert(ticket, Arc::clone(&notify));
        Place { outbox: Arc::clone(self), ticket, notify }
    }
}

/// A follower's question that waits. Dropping it forgets the ticket.
pub(super) struct Place {
    outbox: Arc<Outbox>,
    pub(super) ticket: u64,
    notify: Arc<Notify>,
}

impl Place {
    /// Waits until the ticket is released. A release before this is not lost.
    pub(super) async fn released(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.outbox.parked).remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn tickets_of_followers_wake_their_place_and_reach_no_reactor() {
        let outbox = Arc::new(Outbox::default());
        let (first, second) = (outbox.place(), outbox.place());
        assert_ne!(first.ticket, second.ticket);
        let mut effects = Effects { released: vec![7, second.ticket, 9], ..Effects::default() };
        outbox.take(&mut effects);
        assert_eq!(effects.released, [7, 9]);
        assert!(first.released().now_or_never().is_none());
        assert!(second.released().now_or_never().is_some(), "a release is not lost");
        assert!(second.released().now_or_never().is_none());
        let ticket = first.ticket;
        drop(first);
        // Late: nobody is there any more.
        outbox.take(&mut Effects { released: vec![ticket], ..Effects::default() });
        assert_eq!(lock(&outbox.parked).len(), 1);
    }
}
