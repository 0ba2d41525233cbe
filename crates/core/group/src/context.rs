//! What a decision may know: the time, a seed, the broker's policy, and the cluster's topics.

use jocko_types::{Now, PartitionIndex, Timestamp, TopicId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The circumstances of one decision.
#[derive(Clone, Copy)]
pub struct DecideContext<'a> {
    /// The monotonic time: sessions and rebalances are measured by it.
    pub now: Now,
    /// The wall clock: what records are stamped with and offsets expire by.
    pub wall: Timestamp,
    /// Fresh random bits for each decision: member ids come from them.
    pub seed: u64,
    /// What the broker allows.
    pub policy: &'a Policy,
    /// The topics there are.
    pub topics: &'a dyn Topics,
    /// The largest batch that the log takes, in bytes (`max.message.bytes`). A command that may ask
    /// for any number of tombstones is decided in batches no larger, save for a single record that
    /// is larger by itself: a log that does not take even this would keep what is gone for ever.
    pub batch_bytes_max: usize,
}

impl std::fmt::Debug for DecideContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecideContext").field("now", &self.now).field("wall", &self.wall).finish()
    }
}

/// What the broker allows; names in parentheses are Kafka's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The shortest session a classic member may ask for (`group.min.session.timeout.ms`).
    pub session_timeout_min: Duration,
    /// The longest session a classic member may ask for (`group.max.session.timeout.ms`).
    pub session_timeout_max: Duration,
    /// How long the first rebalance of an empty classic group waits for more members
    /// (`group.initial.rebalance.delay.ms`, KIP-134).
    pub initial_rebalance_delay: Duration,
    /// How many members a classic group may have (`group.max.size`, KIP-389).
    pub group_size_max: usize,
    /// How long the words beside an offset may be, in UTF-16 units as Kafka counts
    /// (`offset.metadata.max.bytes`).
    pub offset_metadata_bytes_max: usize,
    /// How long offsets outlive their group (`offsets.retention.minutes`, KIP-211).
    pub offsets_retention: Duration,
    /// Consumer groups.
    pub consumer: ConsumerPolicy,
    /// Consumer groups that have configs of their own; see [`Policy::consumer_of`].
    pub overrides: BTreeMap<String, ConsumerOverrides>,
}

/// What the broker allows consumer groups (KIP-848).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerPolicy {
    /// How long a member may be silent (`group.consumer.session.timeout.ms`).
    pub session_timeout: Duration,
    /// How often a member shall come (`group.consumer.heartbeat.interval.ms`).
    pub heartbeat_interval: Duration,
    /// How long two computed assignments lie apart at least
    /// (`group.consumer.assignment.interval.ms`).
    pub assignment_interval: Duration,
    /// How many members a group may have (`group.consumer.max.size`).
    pub group_size_max: usize,
    /// Assignors that members may ask for, the default first (`group.consumer.assignors`).
    pub assignors: Vec<String>,
    /// Whether groups change between protocols while they have members
    /// (`group.consumer.migration.policy`).
    pub migration: Migration,
    /// How often regular expressions are resolved again at most
    /// (`group.consumer.regex.refresh.interval.ms`).
    pub regex_refresh_interval: Duration,
}

/// Whether groups change between protocols while they have members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Migration {
    /// Both ways.
    Bidirectional,
    /// From classic to consumer only.
    Upgrade,
    /// From consumer to classic only.
    Downgrade,
    /// Neither way.
    Disabled,
}

impl Migration {
    /// Whether a classic group with members may become a consumer group.
    #[must_use]
    pub const fn may_upgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    /// Whether a consumer group with members may become a classic group.
    #[must_use]
    pub const fn may_downgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}

/// A group's own configs; `None` as the broker has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumerOverrides {
    /// `consumer.session.timeout.ms`.
    pub session_timeout: Option<Duration>,
    /// `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Option<Duration>,
    /// `consumer.assignment.interval.ms`.
    pub assignment_interval: Option<Duration>,
}

impl Policy {
    /// The three timings of one consumer group, its own configs before the broker's: session
    /// timeout, heartbeat interval, assignment interval.
    #[must_use]
    pub fn consumer_of(&self, group_id: &str) -> (Duration, Duration, Duration) {
        let own = self.overrides.get(group_id).copied().unwrap_or_default();
        (
            own.session_timeout.unwrap_or(self.consumer.session_timeout),
            own.heartbeat_interval.unwrap_or(self.consumer.heartbeat_interval),
            own.assignment_interval.unwrap_or(self.consumer.assignment_interval),
        )
    }
}

impl Default for Policy {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1800),
            initial_rebalance_delay: Duration::from_secs(3),
            group_size_max: usize::MAX,
            offset_metadata_bytes_max: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            consumer: ConsumerPolicy {
                session_timeout: Duration::from_secs(45),
                heartbeat_interval: Duration::from_secs(5),
                assignment_interval: Duration::from_secs(1),
                group_size_max: usize::MAX,
                assignors: vec!["uniform".to_owned(), "range".to_owned()],
                migration: Migration::Bidirectional,
                regex_refresh_interval: Duration::from_secs(600),
            },
            overrides: BTreeMap::new(),
        }
    }
}

/// A topic, as the cluster's metadata shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicFacts<'a> {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: &'a str,
    /// How many partitions it has.
    pub partition_count: i32,
}

/// The topics of the cluster, as of one moment.
pub trait Topics {
    /// The topic of this name.
    fn by_name(&self, name: &str) -> Option<TopicFacts<'_>>;

    /// The topic with this id.
    fn by_id(&self, id: TopicId) -> Option<TopicFacts<'_>>;

    /// The names of all topics, ascending: regular expressions are matched against them.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;

    /// The racks of the brokers that hold the partition, ascending and each once; empty if they
    /// have none, or the partition is not known.
    fn racks(&self, id: TopicId, partition: PartitionIndex) -> Vec<String>;

    /// Grows whenever the topics may have changed.
    fn index(&self) -> u64;
}
