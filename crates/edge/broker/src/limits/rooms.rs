//! How much may still be appended before retention must have made room.
//!
//! Retention by size gives out less than a limit, so that producers can go on while it works. Disks
//! are slow at times: a checkpoint must be durable before files go, and that can take seconds, in
//! which producers write hundreds of megabytes. So what is left of a limit is counted here; who
//! finds nothing left waits until retention was there. Nobody is refused. A topic that retention
//! has not seen yet waits for it, too: its segments would become too large to be deleted.

use arc_swap::ArcSwapOption;
use jocko_types::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a request waits at most; then it is appended all the same. Clients give up after 30 s.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// A round of retention gives room for this part of a limit even where nothing could be deleted
/// and nothing will be once it is synced: a limit slows producers down, it does not stop them.
/// However small that part is, a batch at a time: nobody shall wait for the longest time again and
/// again.
const ROOM_MIN: u64 = 16;
/// So many topics are named in a message.
const NAMED_MAX: usize = 8;
/// How often it is told that producers waited in vain.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// This part of a limit is for requests that were admitted together, and for indexes.
const RESERVE: u64 = 32;

/// What is left of one limit.
#[derive(Debug)]
pub(crate) struct Room(AtomicI64);

/// How much of a limit is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) limit_bytes: u64,
    /// On the disk, that which is to be removed included.
    pub(crate) bytes: u64,
    /// Whether some of it cannot be deleted before it is synced, which it will be soon.
    pub(crate) awaits_flush: bool,
}

/// What is left of all limits.
#[derive(Debug, Default)]
pub(crate) struct Left {
    all: Option<Arc<Room>>,
    /// Of each topic that retention has seen: its own, if it has a limit.
    by_id: BTreeMap<TopicId, Option<Arc<Room>>>,
    by_name: BTreeMap<String, Option<Arc<Room>>>,
}

/// Where producers ask and retention answers.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// `None` where there are no limits. Nothing is known at first, so all wait.
    left: ArcSwapOption<Left>,
    made: Notify,
    is_wanted: AtomicBool,
    told: Mutex<Option<Instant>>,
}

impl Room {
    fn new(held: Held) -> Arc<Self> {
        let usable = held.limit_bytes - held.limit_bytes / RESERVE;
        let room = usable.saturating_sub(held.bytes);
        let room =
            if held.awaits_flush { room } else { room.max(held.limit_bytes / ROOM_MIN).max(1) };
        Arc::new(Self(AtomicI64::new(i64::try_from(room).unwrap_or(i64::MAX))))
    }

    fn is_left(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn take(&self, bytes: usize) {
        self.0.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

impl Left {
    /// Notes the limit of the whole broker, and what is held of it.
    pub(crate) fn of_all(&mut self, held: Held) {
        self.all = Some(Room::new(held));
    }

    /// Notes a topic, and what it holds of its own limit if it has one.
    pub(crate) fn of_topic(&mut self, topic: (TopicId, &str), held: Option<Held>) {
        let room = held.map(Room::new);
        self.by_id.insert(topic.0, room.clone());
        self.by_name.insert(topic.1.to_owned(), room);
    }

    fn own(&self, topic_id: TopicId, name: &str) -> Option<&Option<Arc<Room>>> {
        self.by_id.get(&topic_id).or_else(|| self.by_name.get(name))
    }

    /// The rooms that a topic's records need, whichever way it is named.
    fn of(&self, topic_id: TopicId, name: &str) -> impl Iterator<Item = &Room> {
        let own = self.own(topic_id, name).and_then(Option::as_ref);
        own.into_iter().chain(&self.all).map(AsRef::as_ref)
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            left: ArcSwapOption::from_pointee(Left::default()),
            made: Notify::new(),
            is_wanted: AtomicBool::new(false),
            told: Mutex::new(None),
        }
    }
}

impl Rooms {
    /// Puts others in force, and lets those who wait look again.
    pub(crate) fn set(&self, left: Option<Left>) {
        self.left.store(left.map(Arc::new));
        self.made.notify_waiters();
    }

    /// Leaves no room until others are set: what is appended while holdings are counted anew would
    /// be in neither count.
    pub(crate) fn close(&self) {
        if let Some(left) = &*self.left.load() {
            let own = left.by_id.values().flatten();
            own.chain(&left.all).for_each(|room| room.0.store(0, Ordering::Relaxed));
        }
    }

    /// Whether somebody has waited since this was asked last.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.swap(false, Ordering::Relaxed)
    }

    /// Takes room for records of these topics: `false` if there is none, and nothing is taken. What
    /// is left may become negative, by a request for each connection. Topics that do not exist need
    /// none.
    pub(crate) fn take<'a>(
        &self,
        exists: impl Fn(TopicId, &str) -> bool,
        records: impl Iterator<Item = (TopicId, &'a str, usize)> + Clone,
    ) -> bool {
        let left = self.left.load();
        let Some(left) = &*left else { return true };
        let has_room = |(id, name, _)| match left.own(id, name) {
            Some(_) => left.of(id, name).all(Room::is_left),
            None => !exists(id, name),
        };
        if !records.clone().all(has_room) {
            return false;
        }
        for (id, name, bytes) in records {
            left.of(id, name).for_each(|room| room.take(bytes));
        }
        true
    }

    /// Takes room as soon as there is some, or goes on without it once it has waited long enough.
    pub(crate) async fn wait<'a>(
        &self,
        exists: impl Fn(TopicId, &str) -> bool,
        records: impl Iterator<Item = (TopicId, &'a str, usize)> + Clone,
    ) {
        let waited = tokio::time::timeout(WAIT_MAX, async {
            loop {
                let made = self.made.notified();
                tokio::pin!(made);
                // Listen first: room that is made between the look and the wait must not be missed.
                made.as_mut().enable();
                if self.take(&exists, records.clone()) {
                    return;
                }
                self.is_wanted.store(true, Ordering::Relaxed);
                made.await;
            }
        });
        if waited.await.is_err() && self.is_to_be_told(Instant::now()) {
            tracing::warn!(
                topics = %named(records),
                waited = ?WAIT_MAX,
                "retention made no room in time, so records were appended beyond a limit; the disk \
                 may be slow, or the limit too small for what is written"
            );
        }
    }

    /// Whether the last word about it was long enough ago, and this is the next.
    fn is_to_be_told(&self, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if is_new {
            *told = Some(now);
        }
        is_new
    }
}

/// Topics by their names, or by their ids where a request names them so.
fn named<'a>(records: impl Iterator<Item = (TopicId, &'a str, usize)>) -> String {
    let names: BTreeSet<String> = records
        .map(|(id, name, _)| if name.is_empty() { id.to_string() } else { name.to_owned() })
        .collect();
    names.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TopicId = TopicId::from_bytes([1; 16]);
    const B: TopicId = TopicId::from_bytes([2; 16]);

    fn held((limit_bytes, bytes): (u64, u64)) -> Held {
        Held { limit_bytes, bytes, awaits_flush: false }
    }

    fn rooms(all: Option<(u64, u64)>, a: Option<(u64, u64)>) -> Rooms {
        let mut left = Left::default();
        if let Some(all) = all {
            left.of_all(held(all));
        }
        left.of_topic((A, "a"), a.map(held));
        left.of_topic((B, "b"), None);
        let rooms = Rooms::default();
        rooms.set(Some(left));
        rooms
    }

    fn take(rooms: &Rooms, id: TopicId, name: &str, bytes: usize) -> bool {
        rooms.take(|_, _| true, std::iter::once((id, name, bytes)))
    }

    #[test]
    fn without_a_limit_there_is_always_room() {
        let rooms = Rooms::default();
        rooms.set(None);
        assert!(take(&rooms, A, "a", usize::MAX) && take(&rooms, A, "a", usize::MAX));
    }

    #[test]
    fn a_topic_that_retention_has_not_seen_waits_for_it() {
        let new = TopicId::from_bytes([3; 16]);
        for rooms in [Rooms::default(), rooms(None, None)] {
            assert!(!take(&rooms, new, "new", 1));
            let unknown = |_: TopicId, _: &str| false;
            assert!(rooms.take(unknown, std::iter::once((new, "new", 1))), "answered at once");
        }
    }

    #[test]
    fn nothing_is_taken_while_holdings_are_counted() {
        let rooms = rooms(Some((1_024, 0)), Some((1_024, 0)));
        rooms.close();
        assert!(!take(&rooms, A, "a", 1) && !take(&rooms, B, "b", 1));
    }

    #[test]
    fn a_topic_without_room_waits_and_others_do_not() {
        let rooms = rooms(None, Some((1_024, 400)));
        assert!(take(&rooms, TopicId::ZERO, "a", 591) && take(&rooms, A, "", 1));
        for (id, name) in [(A, ""), (TopicId::ZERO, "a")] {
            assert!(!take(&rooms, id, name, 1), "by id and by name it is one topic");
        }
        assert!(take(&rooms, B, "b", 5_000));
    }

    #[test]
    fn what_one_topic_has_no_room_for_takes_none_of_the_others() {
        let rooms = rooms(Some((1_024, 0)), Some((160, 160)));
        assert!(take(&rooms, A, "a", 10), "a sixteenth is there in any case");
        let both = [(B, "b", 900), (A, "a", 1)];
        assert!(!rooms.take(|_, _| true, both.into_iter()));
        assert!(take(&rooms, B, "b", 982));
        assert!(!take(&rooms, B, "b", 1));
    }

    #[test]
    fn where_nothing_can_be_deleted_a_batch_passes_at_a_time() {
        for limit_bytes in [0, 10, 15] {
            let rooms = rooms(None, Some((limit_bytes, 5_000)));
            assert!(take(&rooms, A, "a", 1_000_000) && !take(&rooms, A, "a", 1));
        }
    }

    #[test]
    fn waiting_in_vain_is_told_once_a_minute() {
        let rooms = Rooms::default();
        let start = Instant::now();
        let told: Vec<u64> = (0..130)
            .filter(|second| rooms.is_to_be_told(start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(told, [0, 60, 120]);
        let both = [(A, "", 1), (B, "b", 2), (B, "b", 3)];
        assert_eq!(named(both.into_iter()), format!("{A}, b"));
    }

    #[test]
    fn what_will_be_deleted_once_it_is_synced_is_waited_for() {
        let mut left = Left::default();
        left.of_all(Held { awaits_flush: true, ..held((1_600, 1_540)) });
        left.of_topic((A, "a"), None);
        let rooms = Rooms::default();
        rooms.set(Some(left));
        assert!(take(&rooms, A, "a", 10) && !take(&rooms, A, "a", 1));
    }

    #[test]
    fn who_waits_goes_on_once_room_is_made() {
        let rooms = rooms(Some((1_024, 0)), None);
        assert!(take(&rooms, B, "b", 992) && !rooms.is_wanted());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let wait = rooms.wait(|_, _| true, std::iter::once((B, "b", 1)));
            let make = async {
                assert!(rooms.is_wanted(), "retention is told");
                let mut left = Left::default();
                left.of_all(held((1_024, 492)));
                left.of_topic((B, "b"), None);
                rooms.set(Some(left));
            };
            tokio::join!(biased; wait, make);
        });
        assert!(!rooms.is_wanted());
        assert!(take(&rooms, B, "b", 499) && !take(&rooms, B, "b", 1), "its byte was taken");
    }
}
