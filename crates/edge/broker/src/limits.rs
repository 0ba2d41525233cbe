//! Retention by size of a topic or share of the disk: divides the limits over the partitions here,
//! again and again, and has what is too much deleted.
//!
//! While nobody has set a limit, this sleeps until metadata change. With one, it counts what is
//! appended, and looks as soon as that could matter; so usage stays below a limit even when
//! producers write at full speed. The rule of division: docs/internals/retention.md.

use crate::context::Context;
use crate::data_dir::SharedDataDir;
use crate::governing::topic_config;
use crate::housekeeping::{retain, store_checkpoints};
use crate::published::Published;
use jocko_config::ByteSize;
use jocko_config::kafka::TopicConfig;
use jocko_net::ports::{Bell, Manner, Rest, Routine, RoutineHandle, Spawn};
use jocko_partition::{Durability, LimitSource, Partition, Share, TopicHolding, divide};
use jocko_types::TopicId;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) mod applies;
mod rooms;

use rooms::{Held, Left, Rooms};

/// How often appended bytes are counted where there is a limit.
const COUNT_EVERY: Duration = Duration::from_millis(50);
/// Counts after which the limits are divided anew even if nothing much was appended: topics come
/// and go, and disks are resized.
const LOOK_EVERY: u32 = 20;
/// A limit is looked after when this part of it was appended.
const GROWTH: u64 = 64;

const MANNER: Manner = Manner { name: "jocko-limits", niceness: 0 };

/// Stops the looks, and calls for them.
#[derive(Debug, Default)]
pub(crate) struct LimitKeeper {
    is_stopping: AtomicBool,
    bell: Bell,
    /// What producers may append before the next look.
    pub(crate) rooms: Rooms,
}

impl LimitKeeper {
    /// Is to be looked at when `bell` rings: whenever metadata were published.
    pub(crate) fn woken_by(bell: Bell) -> Self {
        Self { bell, ..Self::default() }
    }

    /// Ends the looks.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// Starts looking. Producers wait for the first look.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn start(
    context: Arc<Context>,
    data_dir: SharedDataDir,
    spawn: &dyn Spawn,
) -> io::Result<RoutineHandle> {
    let bell = context.limits.bell.clone();
    let looks = Looks { context, data_dir, limits: None, appended: 0, counts: 0 };
    spawn.routine(MANNER, bell, Box::new(looks))
}

/// What is remembered between looks.
struct Looks {
    context: Arc<Context>,
    data_dir: SharedDataDir,
    limits: Option<Limits>,
    /// Bytes appended, all partitions, at the last division.
    appended: u64,
    counts: u32,
}

/// The limits of one published state of the cluster.
struct Limits {
    published: Arc<Published>,
    /// By topic: its own limit, if it has one, and whether it deletes.
    topics: BTreeMap<TopicId, (Option<Wanted>, bool)>,
    broker_percent: Option<u8>,
}

/// What a topic's settings ask for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    bytes: Option<u64>,
    percent: Option<u8>,
}

/// A topic's partitions here, in the order of their holdings.
struct Hosted {
    partitions: Vec<Arc<Partition>>,
    holding: TopicHolding,
}

impl Routine for Looks {
    fn round(&mut self) -> Rest {
        if self.context.limits.is_stopping.load(Ordering::Acquire) {
            return Rest::Over;
        }
        self.look()
    }
}

impl Looks {
    /// Counts, and divides if it is time. How long to wait until the next count.
    fn look(&mut self) -> Rest {
        let published = self.context.published.load_full();
        let is_new =
            self.limits.as_ref().is_none_or(|known| !Arc::ptr_eq(&known.published, &published));
        if is_new {
            self.limits = Some(Limits::of(&self.context, published));
        }
        let Some(limits) = &self.limits else { return Rest::UntilRung };
        if !limits.are_there() {
            if is_new {
                for partition in limits.published.partitions.values() {
                    partition.set_share(None);
                }
                self.context.limits.rooms.set(None);
            }
            return Rest::UntilRung;
        }
        self.counts += 1;
        let disk_bytes = self.context.guard.space().map(|space| space.total);
        let appended = limits.appended();
        let grown = appended.saturating_sub(self.appended);
        let is_wanted = self.context.limits.rooms.is_wanted();
        let is_large = grown > limits.least(disk_bytes) / GROWTH;
        if is_new || is_wanted || is_large || self.counts >= LOOK_EVERY {
            self.counts = 0;
            self.appended = appended;
            keep(&self.context, &self.data_dir, limits, disk_bytes);
            self.context.limits.rooms.close();
            self.context.limits.rooms.set(Some(limits.left(disk_bytes)));
        }
        Rest::For(COUNT_EVERY)
    }
}

impl Limits {
    fn of(context: &Context, published: Arc<Published>) -> Self {
        let image = &published.image;
        let topics = image.topics().map(|topic| {
            let config = topic_config(image, context.broker, &context.settings, &topic.name);
            (topic.id, (wanted(&config), config.cleanup_policy.delete))
        });
        let topics = topics.collect();
        let percent = context.settings.settings().storage.retention_percent;
        Self { published, topics, broker_percent: percent.map(jocko_config::Percent::get) }
    }

    fn are_there(&self) -> bool {
        self.broker_percent.is_some() || self.topics.values().any(|(wanted, _)| wanted.is_some())
    }

    /// Bytes ever appended to the partitions here.
    fn appended(&self) -> u64 {
        let partitions = self.published.partitions.values();
        partitions.map(|partition| partition.traffic().bytes_in.load(Ordering::Relaxed)).sum()
    }

    /// The smallest limit in bytes.
    fn least(&self, disk_bytes: Option<u64>) -> u64 {
        let of_topics = self.topics.values().filter_map(|(wanted, _)| (*wanted)?.limit(disk_bytes));
        let of_topics = of_topics.map(|(bytes, _)| bytes);
        of_topics.chain(self.broker_bytes(disk_bytes)).min().unwrap_or(u64::MAX)
    }

    /// What is left of the limits now, for producers.
    fn left(&self, disk_bytes: Option<u64>) -> Left {
        let mut of_topics: BTreeMap<TopicId, (u64, bool)> = BTreeMap::new();
        let (mut all_bytes, mut is_unsynced) = (0_u64, false);
        for (key, partition) in &self.published.partitions {
            let held = partition.held();
            let bytes = held.map_or(0, |held| held.live_bytes.saturating_add(held.dropped_bytes));
            // Only what is synced counts as committed there, and only that can be deleted.
            let is_synced_by_itself = partition.governed().policy.durability == Durability::Fsync;
            let awaits_flush = is_synced_by_itself
                && partition.standing().is_some_and(|at| at.high_watermark < at.log_end)
                && partition.fault().is_none();
            all_bytes = all_bytes.saturating_add(bytes);
            is_unsynced |= awaits_flush;
            let topic = of_topics.entry(key.topic_id).or_default();
            *topic = (topic.0.saturating_add(bytes), topic.1 | awaits_flush);
        }
        let mut left = Left::default();
        if let Some(limit_bytes) = self.broker_bytes(disk_bytes) {
            left.of_all(Held { limit_bytes, bytes: all_bytes, awaits_flush: is_unsynced });
        }
        for topic in self.published.image.topics() {
            let own = self.topics.get(&topic.id).filter(|(_, is_deletable)| *is_deletable);
            let limit = own.and_then(|(wanted, _)| (*wanted)?.limit(disk_bytes));
            let (bytes, awaits_flush) = of_topics.get(&topic.id).copied().unwrap_or_default();
            let held = limit.map(|(limit_bytes, _)| Held { limit_bytes, bytes, awaits_flush });
            left.of_topic((topic.id, topic.name.as_str()), held);
        }
        left
    }

    fn broker_bytes(&self, disk_bytes: Option<u64>) -> Option<u64> {
        Some(share_of(disk_bytes?, self.broker_percent?))
    }
}

impl Wanted {
    /// The smaller of both in bytes, and which it is.
    fn limit(self, disk_bytes: Option<u64>) -> Option<(u64, LimitSource)> {
        let bytes = self.bytes.map(|bytes| (bytes, LimitSource::TopicBytes));
        let share = disk_bytes
            .zip(self.percent)
            .map(|(disk, percent)| (share_of(disk, percent), LimitSource::TopicPercent));
        bytes.into_iter().chain(share).min_by_key(|(bytes, _)| *bytes)
    }
}

fn wanted(config: &TopicConfig) -> Option<Wanted> {
    let bytes = config.retention_topic_bytes.map(ByteSize::get);
    let percent = config.retention_percent.map(jocko_config::Percent::get);
    (bytes.is_some() || percent.is_some()).then_some(Wanted { bytes, percent })
}

fn share_of(disk_bytes: u64, percent: u8) -> u64 {
    let part = u128::from(disk_bytes) * u128::from(percent) / 100;
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Divides the limits and deletes what is too much: the log's starts first, then the checkpoint
/// that says so, then the files, at once, since it is the disk they are to free.
fn keep(context: &Context, data_dir: &SharedDataDir, limits: &Limits, disk_bytes: Option<u64>) {
    let hosted = hosted(limits, disk_bytes);
    let holdings: Vec<TopicHolding> = hosted.iter().map(|topic| topic.holding.clone()).collect();
    let shares = divide(&holdings, limits.broker_bytes(disk_bytes));
    let mut trimmed = Vec::new();
    for (topic, shares) in hosted.iter().zip(shares) {
        let parts = topic.partitions.iter().zip(&topic.holding.bytes).zip(shares);
        for ((partition, bytes), share) in parts {
            partition.set_share(share);
            if share.is_some_and(|share| is_over(partition, *bytes, &share)) {
                retain(context, partition);
            }
            if partition.held().is_some_and(|held| held.dropped_bytes > 0) && share.is_some() {
                trimmed.push(Arc::clone(partition));
            }
        }
    }
    if trimmed.is_empty() {
        return;
    }
    // On a full disk the checkpoint needs room before there can be more.
    context.guard.make_room_for_metadata();
    if let Err(fault) = store_checkpoints(&limits.published, data_dir) {
        tracing::warn!(%fault, "checkpoints were not written; what is over a limit stays");
        return;
    }
    for partition in trimmed {
        let (done, effects) = partition.make_room();
        context.carry_out(&partition, effects);
        if let Err(fault) = done {
            tracing::debug!(partition = %partition.name(), %fault, "files of a limit stay");
        }
    }
}

/// Whether anything is to be rolled or deleted for the sake of a share.
fn is_over(partition: &Partition, bytes: u64, share: &Share) -> bool {
    let is_one_large_segment = || {
        partition.standing().is_some_and(|at| at.segments == 1 && at.size_bytes > share.roll_bytes)
    };
    share.bytes_max.is_some_and(|max| bytes > max) || is_one_large_segment()
}

fn hosted(limits: &Limits, disk_bytes: Option<u64>) -> Vec<Hosted> {
    let mut topics: BTreeMap<TopicId, Hosted> = BTreeMap::new();
    let is_for_all = limits.broker_percent.is_some();
    for (key, partition) in &limits.published.partitions {
        let Some((wanted, is_deletable)) = limits.topics.get(&key.topic_id) else { continue };
        if wanted.is_none() && !is_for_all {
            partition.set_share(None);
            continue;
        }
        // A partition nobody has used since the start counts, too.
        if !partition.is_open() && partition.has_files() && partition.open().is_err() {
            continue;
        }
        let limit = wanted.and_then(|wanted| wanted.limit(disk_bytes));
        let holding = TopicHolding { limit, is_deletable: *is_deletable, bytes: Vec::new() };
        let topic = topics
            .entry(key.topic_id)
            .or_insert_with(|| Hosted { partitions: Vec::new(), holding });
        topic.holding.bytes.push(partition.held().map_or(0, |held| held.live_bytes));
        topic.partitions.push(Arc::clone(partition));
    }
    topics.into_values().collect()
}
