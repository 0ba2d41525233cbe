//! From a topic's settings to what its partitions need: the one place where the two meet.

use jocko_commitlog::{CompactionConfig, LogConfig};
use jocko_config::kafka::{
    BrokerLayers, CompressionType, ConfigMap, TimestampType as ConfiguredTimestamp, TopicConfig,
};
use jocko_config::{Durability as ConfiguredDurability, LoadedSettings, Settings};
use jocko_metadata::{ClusterImage, ConfigResource};
use jocko_partition::{Durability, Governed, Policy};
use jocko_records::{AppendRules, Codec, Compression, Encoding, TimestampType};
use jocko_types::{BrokerId, Timestamp, TopicName};
use std::time::Duration;

/// The settings in force for a topic on this broker.
pub(crate) fn topic_config(
    image: &ClusterImage,
    broker: BrokerId,
    settings: &LoadedSettings,
    topic: &TopicName,
) -> TopicConfig {
    TopicConfig::resolve(image.topic_configs(topic), &layers(image, broker, settings))
}

/// This broker's settings, under what was set at run time.
pub(crate) fn layers<'a>(
    image: &'a ClusterImage,
    broker: BrokerId,
    settings: &'a LoadedSettings,
) -> BrokerLayers<'a> {
    let (broker, cluster) = dynamic_configs(image, broker);
    BrokerLayers { broker, cluster, settings }
}

/// What was set at run time for this broker, and for all.
pub(crate) fn dynamic_configs(image: &ClusterImage, broker: BrokerId) -> (&ConfigMap, &ConfigMap) {
    (image.configs(&ConfigResource::Broker(broker)), image.configs(&ConfigResource::Cluster))
}

/// What a topic's settings mean for each of its partitions. `jitter` is a number from 0 to 1 that
/// spreads the rolls of partitions created together.
pub(crate) fn govern(config: &TopicConfig, settings: &Settings, jitter: f64) -> Governed {
    let log = LogConfig {
        segment_bytes_max: config.segment_bytes,
        // A record that waits for compaction longer than it may is in a segment that is too old.
        segment_age_max: match config.max_compaction_lag {
            Some(lag) if config.cleanup_policy.compact => config.segment_age.min(lag),
            _ => config.segment_age,
        },
        // The config has worked out already what holds when nobody said anything.
        segment_age_is_explicit: true,
        segment_jitter: config.segment_jitter.mul_f64(jitter.clamp(0.0, 1.0)),
        index_bytes_max: config.segment_index_bytes,
        index_interval_bytes: config.index_interval_bytes,
        retention_age: config.retention,
        retention_bytes: config.retention_bytes,
        retention_deletes: config.cleanup_policy.delete,
        compacts: config.cleanup_policy.compact,
        compaction: CompactionConfig {
            lag_min: config.min_compaction_lag,
            lag_max: config.max_compaction_lag,
            dirty_ratio_min: config.min_cleanable_dirty_ratio,
            delete_retention: config.delete_retention,
        },
        file_delete_delay: config.file_delete_delay,
        producer_expiration: settings.storage.producer_expiry,
        producers_max: usize::try_from(settings.limits.producers.get()).unwrap_or(usize::MAX),
        ..LogConfig::default()
    };
    let policy = Policy {
        min_insync_replicas: usize::try_from(config.min_insync_replicas).unwrap_or(usize::MAX),
        durability: match config.durability {
            ConfiguredDurability::Fsync => Durability::Fsync,
            ConfiguredDurability::Relaxed => Durability::Relaxed,
        },
        ..Policy::default()
    };
    let max_message_bytes = usize::try_from(config.max_message_bytes).unwrap_or(usize::MAX);
    let rules = AppendRules {
        max_message_bytes,
        decompressed_bytes_max: AppendRules::decompressed_bytes_max_for(max_message_bytes),
        timestamp_type: match config.timestamp_type {
            ConfiguredTimestamp::CreateTime => TimestampType::CreateTime,
            ConfiguredTimestamp::LogAppendTime => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: millis_or_forever(config.timestamp_before_max),
        timestamp_after_max_ms: millis_or_forever(config.timestamp_after_max),
        compression: compression(config),
        compacted: config.cleanup_policy.compact,
        ..AppendRules::defaults(Timestamp::NONE)
    };
    Governed {
        log,
        policy,
        rules,
        flush_records: config
            .flush_messages
            .map_or(i64::MAX, |count| i64::try_from(count).unwrap_or(i64::MAX)),
        flush_ms: millis_or_forever(config.flush_interval),
    }
}

fn millis_or_forever(time: Option<Duration>) -> i64 {
    time.map_or(i64::MAX, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

fn compression(config: &TopicConfig) -> Compression {
    let target = |codec, level| Compression::Target(Encoding { codec, level });
    let level = |level: u32| i32::try_from(level).ok();
    match config.compression_type {
        CompressionType::Producer => Compression::Producer,
        CompressionType::Uncompressed => target(Codec::None, None),
        CompressionType::Gzip => target(Codec::Gzip, config.compression_gzip_level.and_then(level)),
        CompressionType::Snappy => target(Codec::Snappy, None),
        CompressionType::Lz4 => target(Codec::Lz4, level(config.compression_lz4_level)),
        CompressionType::Zstd => target(Codec::Zstd, Some(config.compression_zstd_level)),
    }
}
