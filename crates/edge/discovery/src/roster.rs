//! Who is there, and what happened lately: the part that all implementations share.

use crate::member::{Event, EventKind, Member, Members};
use jocko_types::{Timestamp, Uuid};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Events that are remembered; the oldest goes.
const EVENTS_MAX: usize = 256;

/// Members whose descriptions were not understood and who are remembered, to be told of once.
const IGNORED_MAX: usize = 64;

/// The list of members and the ring of events.
#[derive(Debug)]
pub(crate) struct Roster {
    list: watch::Sender<Members>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<Uuid, Member>,
    ignored: BTreeSet<Uuid>,
    events: VecDeque<Event>,
    trouble: Option<String>,
}

impl Roster {
    pub(crate) fn new() -> Self {
        let (list, _) = watch::channel(Members::from([]));
        Self { list, state: Mutex::default() }
    }

    pub(crate) fn changed(&self) -> watch::Receiver<Members> {
        self.list.subscribe()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.iter().cloned().collect()
    }

    /// Why the last round found nobody.
    pub(crate) fn note_trouble(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }

    /// The same, as long as nobody is there.
    pub(crate) fn trouble(&self) -> Option<String> {
        let state = self.lock();
        state.trouble.clone().filter(|_| state.members.is_empty())
    }

    /// A member says who it is.
    pub(crate) fn heard(&self, at: Timestamp, member: Member) {
        let mut state = self.lock();
        let (node, broker_id) = (member.node, member.broker_id);
        let address = member.cluster_address.clone();
        let before = state.members.insert(node, member);
        state.ignored.remove(&node);
        let kind = match before {
            None => EventKind::Joined,
            Some(before) if Some(&before) == state.members.get(&node) => return,
            Some(_) => EventKind::Updated,
        };
        state.note(Event { at, kind, node, broker_id, address, detail: String::new() });
        self.publish(&state);
    }

    /// A member is gone.
    pub(crate) fn lost(&self, at: Timestamp, node: Uuid, kind: EventKind, detail: &str) {
        let mut state = self.lock();
        state.ignored.remove(&node);
        let Some(member) = state.members.remove(&node) else { return };
        let Member { broker_id, cluster_address: address, .. } = member;
        let detail = detail.to_owned();
        state.note(Event { at, kind, node, broker_id, address, detail });
        self.publish(&state);
    }

    /// A member describes itself in a way that is not understood: it is passed over. Whether that
    /// is news.
    pub(crate) fn ignored(&self, at: Timestamp, node: Uuid, address: String, why: &str) -> bool {
        let mut state = self.lock();
        if state.ignored.contains(&node) {
            return false;
        }
        if state.ignored.len() < IGNORED_MAX {
            state.ignored.insert(node);
        }
        let was_there = state.members.remove(&node).is_some();
        let (kind, detail) = (EventKind::Ignored, why.to_owned());
        state.note(Event { at, kind, node, broker_id: None, address, detail });
        if was_there {
            self.publish(&state);
        }
        true
    }

    /// Nobody is there any more, as far as is known; nothing happened to them.
    pub(crate) fn forget_all(&self) {
        let mut state = self.lock();
        if !state.members.is_empty() {
            state.members.clear();
            self.publish(&state);
        }
    }

    /// Under the lock, so that lists are published in the order in which they came about.
    fn publish(&self, state: &MutexGuard<'_, State>) {
        self.list.send_replace(Arc::from_iter(state.members.values().cloned()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::tests::member;
    use jocko_types::BrokerId;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn only_what_changes_is_told() {
        let roster = Roster::new();
        let mut list = roster.changed();
        let mut one = member(1);
        roster.heard(at(1), one.clone());
        roster.heard(at(2), one.clone());
        assert!(list.has_changed().expect("open"));
        assert_eq!(list.borrow_and_update().to_vec(), [one.clone()]);
        roster.heard(at(3), one.clone());
        assert!(!list.has_changed().expect("open"));
        one.broker_id = Some(BrokerId::new(7));
        roster.heard(at(4), one.clone());
        roster.lost(at(5), one.node, EventKind::Failed, "silent");
        roster.lost(at(6), one.node, EventKind::Left, "");
        assert!(list.borrow_and_update().is_empty());
        let told: Vec<_> =
            roster.events().iter().map(|event| (event.at.as_millis(), event.kind)).collect();
        let expect = [(1, EventKind::Joined), (4, EventKind::Updated), (5, EventKind::Failed)];
        assert_eq!(told, expect);
    }

    #[test]
    fn who_is_not_understood_is_told_of_once() {
        let roster = Roster::new();
        let one = member(1);
        roster.heard(at(1), one.clone());
        assert!(roster.ignored(at(2), one.node, "x:1".to_owned(), "no address"));
        assert!(!roster.ignored(at(3), one.node, "x:1".to_owned(), "no address"));
        assert!(roster.changed().borrow().is_empty());
        roster.heard(at(4), one.clone());
        assert!(roster.ignored(at(5), one.node, "x:1".to_owned(), "no address"));
    }

    #[test]
    fn the_ring_is_bounded() {
        let roster = Roster::new();
        for number in 0..1_000 {
            let mut one = member(1);
            one.expect = number;
            roster.heard(at(i64::from(number)), one);
        }
        let events = roster.events();
        assert_eq!(events.len(), EVENTS_MAX);
        assert_eq!(events.last().map(|event| event.at), Some(at(999)));
    }
}
