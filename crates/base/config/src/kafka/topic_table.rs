//! Every topic config of Kafka 4.3, and ours, each defined once.

use super::rule::{ConfigType, Rule};

/// What jocko makes of a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does what its documentation says.
    Honoured,
    /// It is checked, stored and reported, and changes nothing yet.
    Reported,
    /// Kafka removed it in 4.0; old tools may still send it. It is accepted and forgotten.
    Forgotten,
}

/// One topic config.
#[derive(Debug)]
pub struct TopicDefinition {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// The value nobody set.
    pub default: &'static str,
    /// What a value must satisfy.
    pub rule: Rule,
    /// The broker config that is its default, if there is one.
    pub broker_name: Option<&'static str>,
    /// Whether that broker config has a default of its own: Kafka's `log.retention.ms` has not,
    /// since `log.retention.hours` has it.
    pub broker_default: bool,
    /// Whether it is left out of descriptions.
    pub hidden: bool,
    /// What jocko makes of it.
    pub standing: Standing,
    /// What it does.
    pub doc: &'static str,
}

impl TopicDefinition {
    /// The definition of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TOPIC_DEFINITIONS
            .binary_search_by(|definition| definition.name.cmp(name))
            .ok()
            .and_then(|at| TOPIC_DEFINITIONS.get(at))
    }
}

/// The least number of bytes that a topic can be limited to, all partitions on a broker together.
pub(crate) const RETENTION_BYTES_MIN: u64 = 1 << 20;
const RETENTION_BYTES_WHY: &str =
    "records go by whole segments, so less than 1 MiB could not be kept";

/// The largest 64-bit number as text: Kafka's "never".
const MAX: &str = "9223372036854775807";

const fn row(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    rule: Rule,
    doc: &'static str,
) -> TopicDefinition {
    TopicDefinition {
        name,
        kind,
        default,
        rule,
        broker_name: None,
        broker_default: false,
        hidden: false,
        standing: Standing::Honoured,
        doc,
    }
}

impl TopicDefinition {
    /// The broker config behind it, which has a default.
    const fn behind(mut self, name: &'static str) -> Self {
        self.broker_name = Some(name);
        self.broker_default = true;
        self
    }

    /// The broker config behind it, which has no default under that name.
    const fn behind_unset(mut self, name: &'static str) -> Self {
        self.broker_name = Some(name);
        self
    }

    const fn standing(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

use ConfigType::{Boolean, Double, Int, List, Long, String};
use Rule::{Any, AtLeast, AtLeastOr, Between, BetweenOr, OneOf, Ratio, ThrottledReplicas};
use Standing::{Forgotten, Reported};

/// Every topic config, by name.
#[rustfmt::skip]
pub static TOPIC_DEFINITIONS: &[TopicDefinition] = &[
    row("cleanup.policy", List, "delete", OneOf(&["compact", "delete"]),
        "What happens to old records: delete drops them by age and size, compact keeps the last \
         of each key, both do both, and an empty list keeps everything.")
        .behind("log.cleanup.policy"),
    row("compression.gzip.level", Int, "-1", BetweenOr(1, 9, -1),
        "How hard gzip tries when the broker compresses, 1 to 9; -1 is gzip's own default.")
        .behind("compression.gzip.level"),
    row("compression.lz4.level", Int, "9", Between(1, 17),
        "How hard lz4 tries when the broker compresses, 1 to 17. jocko's encoder has one level.")
        .behind("compression.lz4.level").standing(Reported),
    row("compression.type", String, "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "How batches are stored; producer keeps each as it came.")
        .behind("compression.type"),
    row("compression.zstd.level", Int, "3", Between(-131_072, 22),
        "How hard zstd tries when the broker compresses, -131072 to 22.")
        .behind("compression.zstd.level"),
    row("delete.retention.ms", Long, "86400000", AtLeast(0),
        "How long a compacted topic keeps the marker of a deleted key.")
        .behind("log.cleaner.delete.retention.ms"),
    row("file.delete.delay.ms", Long, "60000", AtLeast(0),
        "How long a file stays on disk after its records are gone.")
        .behind("log.segment.delete.delay.ms"),
    row("flush.messages", Long, MAX, AtLeast(1),
        "Records after which the log is flushed, whatever the durability.")
        .behind("log.flush.interval.messages"),
    row("flush.ms", Long, MAX, AtLeast(0),
        "Time after which the log is flushed, whatever the durability.")
        .behind_unset("log.flush.interval.ms"),
    row("follower.replication.throttled.replicas", List, "", ThrottledReplicas,
        "Replicas whose fetching is throttled while partitions move: partition:broker pairs, \
         or * for all."),
    row("index.interval.bytes", Int, "4096", AtLeast(0),
        "Bytes of log per entry of its offset index.")
        .behind("log.index.interval.bytes"),
    row("internal.segment.bytes", Int, "", Any,
        "The size of a log segment without a lower bound, for tests.")
        .hidden(),
    row("jocko.retention.percent", Int, "-1", BetweenOr(1, 100, -1),
        "The share of this broker's disk the topic may hold, all its partitions there together, \
         before its oldest records go; -1 is no limit.")
        .behind("jocko.retention.percent"),
    row("jocko.retention.topic.bytes", Long, "-1",
        AtLeastOr(RETENTION_BYTES_MIN.cast_signed(), -1, RETENTION_BYTES_WHY),
        "The bytes the topic may hold, all its partitions on this broker together, before its \
         oldest records go; -1 is no limit.")
        .behind("jocko.retention.topic.bytes"),
    row("jocko.storage.durability", String, "fsync", OneOf(&["fsync", "relaxed"]),
        "When acks=all is answered: fsync after the batch is on disk, relaxed after it is in the \
         page cache.")
        .behind("jocko.storage.durability"),
    row("leader.replication.throttled.replicas", List, "", ThrottledReplicas,
        "Replicas whose serving to followers is throttled while partitions move: \
         partition:broker pairs, or * for all."),
    row("local.retention.bytes", Long, "-2", AtLeast(-2),
        "Bytes a partition keeps on local disk once the rest is in remote storage; -2 is as \
         retention.bytes.")
        .behind("log.local.retention.bytes").standing(Reported),
    row("local.retention.ms", Long, "-2", AtLeast(-2),
        "How long records stay on local disk once they are in remote storage; -2 is as \
         retention.ms.")
        .behind("log.local.retention.ms").standing(Reported),
    row("max.compaction.lag.ms", Long, MAX, AtLeast(1),
        "The longest a record may wait for compaction.")
        .behind("log.cleaner.max.compaction.lag.ms"),
    row("max.message.bytes", Int, "1048588", AtLeast(0),
        "The largest record batch the topic takes, compressed.")
        .behind("message.max.bytes"),
    row("message.downconversion.enable", Boolean, "true", Any, "Removed in Kafka 4.0.")
        .hidden().standing(Forgotten),
    row("message.format.version", String, "3.0", Any, "Removed in Kafka 4.0.")
        .hidden().standing(Forgotten),
    row("message.timestamp.after.max.ms", Long, "3600000", AtLeast(0),
        "How far ahead of the broker's clock a record's timestamp may be.")
        .behind("log.message.timestamp.after.max.ms"),
    row("message.timestamp.before.max.ms", Long, MAX, AtLeast(0),
        "How far behind the broker's clock a record's timestamp may be.")
        .behind("log.message.timestamp.before.max.ms"),
    row("message.timestamp.difference.max.ms", Long, MAX, Any, "Removed in Kafka 4.0.")
        .hidden().standing(Forgotten),
    row("message.timestamp.type", String, "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]),
        "Whether a record keeps its producer's timestamp or gets the broker's at append.")
        .behind("log.message.timestamp.type"),
    row("min.cleanable.dirty.ratio", Double, "0.5", Ratio,
        "The share of a compacted log that must be uncompacted before compaction runs.")
        .behind("log.cleaner.min.cleanable.ratio"),
    row("min.compaction.lag.ms", Long, "0", AtLeast(0),
        "The least a record stays before it may be compacted away.")
        .behind("log.cleaner.min.compaction.lag.ms"),
    row("min.insync.replicas", Int, "1", AtLeast(1),
        "Replicas that must have a batch before acks=all is answered.")
        .behind("min.insync.replicas"),
    row("preallocate", Boolean, "false", Any,
        "Whether a new segment's file is given its full size at once. jocko never does.")
        .behind("log.preallocate").standing(Reported),
    row("remote.log.copy.disable", Boolean, "false", Any,
        "Whether copying to remote storage is paused.")
        .standing(Reported),
    row("remote.log.delete.on.disable", Boolean, "false", Any,
        "Whether switching remote storage off deletes what is there.")
        .standing(Reported),
    row("remote.storage.enable", Boolean, "false", Any,
        "Whether old segments go to remote storage.")
        .standing(Reported),
    row("retention.bytes", Long, "-1", Any,
        "Bytes a partition may hold before its oldest records go; -1 is no limit.")
        .behind("log.retention.bytes"),
    row("retention.ms", Long, "604800000", AtLeast(-1),
        "How long records are kept; -1 is for ever.")
        .behind_unset("log.retention.ms"),
    row("segment.bytes", Int, "1073741824", AtLeast(1 << 20),
        "The size at which a log segment is closed and the next begun.")
        .behind("log.segment.bytes"),
    row("segment.index.bytes", Int, "10485760", AtLeast(4),
        "The most an offset index may grow to.")
        .behind("log.index.size.max.bytes"),
    row("segment.jitter.ms", Long, "0", AtLeast(0),
        "The most that is randomly taken off segment.ms, so that segments do not all roll at \
         one time.")
        .behind_unset("log.roll.jitter.ms"),
    row("segment.ms", Long, "604800000", AtLeast(1),
        "The age at which a log segment is closed and the next begun.")
        .behind_unset("log.roll.ms"),
    row("unclean.leader.election.enable", Boolean, "false", Any,
        "Whether a replica that is not in sync may lead when no other can, losing records.")
        .behind("unclean.leader.election.enable"),
];
