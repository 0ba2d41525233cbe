//! A topic's configs: checked when they are set, typed where they are used.

use super::rule::{canonical, list_items};
use super::topic_table::{Standing, TOPIC_DEFINITIONS, TopicDefinition};
use super::{BrokerLayers, ConfigMap, ConfigSource};
use crate::nearest::nearest;
use crate::value::{ByteSize, Durability, Percent, SettingValue};
use std::time::Duration;

/// Whether old records are deleted, compacted, both, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CleanupPolicy {
    /// Records go by age and size.
    pub delete: bool,
    /// The last record of each key stays.
    pub compact: bool,
}

/// How the broker stores batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// Whose clock a record's timestamp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at append.
    LogAppendTime,
}

/// The effective configs of one topic on one broker, typed. Times without end are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `compression.gzip.level`; `None` for gzip's own default.
    pub compression_gzip_level: Option<u32>,
    /// `compression.lz4.level`.
    pub compression_lz4_level: u32,
    /// `compression.zstd.level`.
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`.
    pub delete_retention: Duration,
    /// `file.delete.delay.ms`.
    pub file_delete_delay: Duration,
    /// `flush.messages`; `None` for never.
    pub flush_messages: Option<u64>,
    /// `flush.ms`; `None` for never.
    pub flush_interval: Option<Duration>,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.compaction.lag.ms`; `None` for no bound.
    pub max_compaction_lag: Option<Duration>,
    /// `max.message.bytes`, of one batch.
    pub max_message_bytes: u32,
    /// `message.timestamp.after.max.ms`; `None` for no bound.
    pub timestamp_after_max: Option<Duration>,
    /// `message.timestamp.before.max.ms`; `None` for no bound.
    pub timestamp_before_max: Option<Duration>,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`, 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag: Duration,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `retention.bytes` of one partition; `None` for no limit.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None` for ever.
    pub retention: Option<Duration>,
    /// `jocko.retention.topic.bytes` of all the topic's partitions on this broker; `None` for no
    /// limit.
    pub retention_topic_bytes: Option<ByteSize>,
    /// `jocko.retention.percent` of this broker's disk; `None` for no limit.
    pub retention_percent: Option<Percent>,
    /// `segment.bytes`, or `internal.segment.bytes` where that is set.
    pub segment_bytes: u32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `segment.jitter.ms`.
    pub segment_jitter: Duration,
    /// `segment.ms`. Where nobody set it and records are kept for a shorter time than ten of
    /// these, it is a tenth of the retention: an old record in the newest segment would
    /// otherwise outlive it by days.
    pub segment_age: Duration,
    /// `jocko.storage.durability`.
    pub durability: Durability,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
}

/// Segments younger than this are not rolled for the sake of retention alone.
const SEGMENT_AGE_MIN: Duration = Duration::from_secs(1);

impl TopicConfig {
    /// What holds for a topic with these overrides on a broker with these layers. A stored value
    /// that is not valid (an older version checked less) counts as not set.
    #[must_use]
    pub fn resolve(overrides: &ConfigMap, layers: &BrokerLayers<'_>) -> Self {
        let text = |name: &str| effective(name, overrides, layers);
        let long = |name: &str| text(name).0.parse::<i64>().unwrap_or(-1);
        let whole = |name: &str| u32::try_from(long(name).max(0)).unwrap_or(u32::MAX);
        let wait = |name: &str| Duration::from_millis(u64::try_from(long(name)).unwrap_or(0));
        let bounded = |name: &str| (long(name) != i64::MAX).then(|| wait(name));
        let policy = list_items(&text("cleanup.policy").0);
        let has = |item: &str| policy.iter().any(|one| one == item);
        let cleanup_policy = CleanupPolicy { delete: has("delete"), compact: has("compact") };
        let retention = u64::try_from(long("retention.ms")).ok().map(Duration::from_millis);
        let internal = text("internal.segment.bytes").0.parse().ok();
        Self {
            cleanup_policy,
            compression_type: compression_type(&text("compression.type").0),
            compression_gzip_level: u32::try_from(long("compression.gzip.level")).ok(),
            compression_lz4_level: whole("compression.lz4.level"),
            compression_zstd_level: text("compression.zstd.level").0.parse().unwrap_or(3),
            delete_retention: wait("delete.retention.ms"),
            file_delete_delay: wait("file.delete.delay.ms"),
            flush_messages: u64::try_from(long("flush.messages"))
                .ok()
                .filter(|&count| count != i64::MAX.unsigned_abs()),
            flush_interval: bounded("flush.ms"),
            index_interval_bytes: whole("index.interval.bytes"),
            max_compaction_lag: bounded("max.compaction.lag.ms"),
            max_message_bytes: whole("max.message.bytes"),
            timestamp_after_max: bounded("message.timestamp.after.max.ms"),
            timestamp_before_max: bounded("message.timestamp.before.max.ms"),
            timestamp_type: match text("message.timestamp.type").0.as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio").0.parse().unwrap_or(0.5),
            min_compaction_lag: wait("min.compaction.lag.ms"),
            min_insync_replicas: whole("min.insync.replicas").max(1),
            retention_bytes: u64::try_from(long("retention.bytes")).ok(),
            retention,
            retention_topic_bytes: u64::try_from(long("jocko.retention.topic.bytes"))
                .ok()
                .map(ByteSize::new),
            retention_percent: text("jocko.retention.percent")
                .0
                .parse()
                .ok()
                .and_then(Percent::new),
            segment_bytes: internal.unwrap_or_else(|| whole("segment.bytes")).max(1),
            segment_index_bytes: whole("segment.index.bytes"),
            segment_jitter: wait("segment.jitter.ms"),
            segment_age: segment_age(
                text("segment.ms"),
                wait("segment.ms"),
                cleanup_policy,
                retention,
            ),
            durability: Durability::parse(&text("jocko.storage.durability").0)
                .unwrap_or(Durability::Fsync),
            unclean_leader_election: text("unclean.leader.election.enable").0 == "true",
        }
    }
}

fn segment_age(
    (_, source): (String, ConfigSource),
    set: Duration,
    policy: CleanupPolicy,
    retention: Option<Duration>,
) -> Duration {
    match retention {
        Some(retention) if source == ConfigSource::Default && policy.delete => {
            set.min((retention / 10).max(SEGMENT_AGE_MIN))
        }
        _ => set,
    }
}

fn compression_type(text: &str) -> CompressionType {
    match text {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        _ => CompressionType::Producer,
    }
}

/// The value of a topic config and where it comes from, in canonical text.
pub(crate) fn effective(
    name: &str,
    overrides: &ConfigMap,
    layers: &BrokerLayers<'_>,
) -> (String, ConfigSource) {
    let Some(definition) = TopicDefinition::find(name) else {
        return (String::new(), ConfigSource::Default);
    };
    let read = |value: &str| canonical(name, definition.kind, definition.rule, value).ok();
    if let Some(value) = overrides.get(name).and_then(|value| read(value)) {
        return (value, ConfigSource::DynamicTopic);
    }
    let set = definition.broker_name.map(|name| layers.set_values(name)).unwrap_or_default();
    for (value, source) in set {
        if let Some(value) = read(&value) {
            return (value, source);
        }
    }
    (definition.default.to_owned(), ConfigSource::Default)
}

/// Checks one config of a topic. `Ok(false)` means it is accepted and must not be stored, since
/// Kafka 4.0 removed it.
///
/// # Errors
/// A sentence for the client, in Kafka's words where Kafka has some.
pub fn check_topic_config(name: &str, value: &str) -> Result<bool, String> {
    let Some(definition) = TopicDefinition::find(name) else {
        let names = TOPIC_DEFINITIONS.iter().filter(|one| !one.hidden).map(|one| one.name);
        let hint = nearest(name, names)
            .map(|nearest| format!(" (did you mean {nearest}?)"))
            .unwrap_or_default();
        return Err(format!("Unknown topic config name: {name}{hint}"));
    };
    if definition.standing == Standing::Forgotten {
        return Ok(false);
    }
    canonical(name, definition.kind, definition.rule, value).map(|_| true)
}

/// Checks all overrides a topic would have, each for itself and all together.
///
/// # Errors
/// A sentence for the client about the first that is wrong.
pub fn check_topic_configs(overrides: &ConfigMap, layers: &BrokerLayers<'_>) -> Result<(), String> {
    // Names before values, as Kafka does: a typo is told before a bad number.
    for (name, value) in overrides {
        if TopicDefinition::find(name).is_none() {
            check_topic_config(name, value)?;
        }
    }
    for (name, value) in overrides {
        check_topic_config(name, value)?;
    }
    let long = |name: &str| effective(name, overrides, layers).0.parse::<i64>().unwrap_or(0);
    let (least, most) = (long("min.compaction.lag.ms"), long("max.compaction.lag.ms"));
    if least > most {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > \
             max.compaction.lag.ms ({most})"
        ));
    }
    if effective("remote.storage.enable", overrides, layers).0 == "true" {
        return Err("Tiered Storage functionality is disabled in the broker. Topic cannot be \
                    configured with remote log storage."
            .to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
