//! One session: its partitions in the order they are served, and what the client last heard.

use jocko_types::{LeaderEpoch, Now, Offset, PartitionIndex, TopicId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a request names a topic: by name up to version 12, by id from version 13 (KIP-516).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    /// By name, legal or not.
    Name(Arc<str>),
    /// By id, known or not.
    Id(TopicId),
}

/// A partition as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The topic.
    pub topic: TopicKey,
    /// The partition's number.
    pub partition: PartitionIndex,
}

/// What a client wants from one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// The first offset it has not seen.
    pub fetch_offset: Offset,
    /// The most bytes it takes from this partition.
    pub bytes_max: i32,
    /// The leader epoch it knows (KIP-320).
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record it fetched, if it wants divergence checked (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The first offset of a follower's log; -1 for consumers.
    pub log_start_offset: Offset,
}

/// What the client last heard of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) high_watermark: Offset,
    pub(crate) log_start_offset: Offset,
}

impl Heard {
    /// Nothing yet, or an error: whatever comes next is news.
    pub(crate) const NOTHING: Self =
        Self { high_watermark: Offset::new(-1), log_start_offset: Offset::new(-1) };
}

#[derive(Debug)]
struct Cached {
    key: Key,
    params: Params,
    heard: Heard,
}

/// A session's state.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) uses_topic_ids: bool,
    pub(crate) epoch: i32,
    pub(crate) last_used: Now,
    /// By place in the rotation: the lowest is served first.
    rotation: BTreeMap<u64, Cached>,
    places: BTreeMap<Key, u64>,
    next_place: u64,
}

impl Session {
    pub(crate) fn new(uses_topic_ids: bool, epoch: i32, now: Now) -> Self {
        Self {
            uses_topic_ids,
            epoch,
            last_used: now,
            rotation: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
        }
    }

    /// Adds a partition at the end of the rotation, or changes what is wanted from it in place.
    pub(crate) fn want(&mut self, key: Key, params: Params, heard: Heard) {
        if let Some(cached) = self.places.get(&key).and_then(|place| self.rotation.get_mut(place)) {
            cached.params = params;
            return;
        }
        let place = self.take_place();
        self.places.insert(key.clone(), place);
        self.rotation.insert(place, Cached { key, params, heard });
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        if let Some(place) = self.places.remove(key) {
            self.rotation.remove(&place);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rotation.len()
    }

    /// All partitions with what is wanted from them, in serving order.
    pub(crate) fn wanted(&self) -> Vec<(Key, Params)> {
        self.rotation.values().map(|cached| (cached.key.clone(), cached.params)).collect()
    }

    /// Notes what the client hears of `key` now and says whether that is news. `served` moves the
    /// partition to the end of the rotation, so that a busy one cannot starve the rest.
    pub(crate) fn hear(&mut self, key: &Key, heard: Heard, served: bool, failed: bool) -> bool {
        let Some(&place) = self.places.get(key) else { return true };
        let Some(cached) = self.rotation.get_mut(&place) else { return true };
        let news = served || failed || cached.heard != heard;
        cached.heard = if failed { Heard::NOTHING } else { heard };
        if served && let Some(cached) = self.rotation.remove(&place) {
            let last = self.take_place();
            self.places.insert(cached.key.clone(), last);
            self.rotation.insert(last, cached);
        }
        news
    }

    fn take_place(&mut self) -> u64 {
        let place = self.next_place;
        self.next_place = self.next_place.wrapping_add(1);
        place
    }
}
