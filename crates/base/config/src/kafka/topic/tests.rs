use super::*;
use crate::kafka::NO_CONFIGS;
use crate::load::{Layers, LoadedSettings, load};
use std::num::NonZeroU32;

fn configs(list: &[(&str, &str)]) -> ConfigMap {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn definitions_are_sorted_and_their_defaults_valid() {
    assert!(TOPIC_DEFINITIONS.is_sorted_by_key(|definition| definition.name));
    for definition in TOPIC_DEFINITIONS.iter().filter(|definition| !definition.default.is_empty()) {
        let read = canonical(definition.name, definition.kind, definition.rule, definition.default);
        assert_eq!(read.as_deref(), Ok(definition.default), "{}", definition.name);
    }
}

#[test]
fn nothing_set_is_kafkas_default() {
    let settings = LoadedSettings::default();
    let config = TopicConfig::resolve(&NO_CONFIGS, &BrokerLayers::of_settings(&settings));
    let day = Duration::from_hours(24);
    assert_eq!(
        config,
        TopicConfig {
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            compression_type: CompressionType::Producer,
            compression_gzip_level: None,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            delete_retention: day,
            file_delete_delay: Duration::from_mins(1),
            flush_messages: None,
            flush_interval: None,
            index_interval_bytes: 4096,
            max_compaction_lag: None,
            max_message_bytes: 1_048_588,
            timestamp_after_max: Some(Duration::from_hours(1)),
            timestamp_before_max: None,
            timestamp_type: TimestampType::CreateTime,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag: Duration::ZERO,
            min_insync_replicas: 1,
            retention_bytes: None,
            retention: Some(7 * day),
            retention_topic_bytes: None,
            retention_percent: None,
            segment_bytes: 1 << 30,
            segment_index_bytes: 10_485_760,
            segment_jitter: Duration::ZERO,
            // A tenth of the retention, so that it is kept to within a day.
            segment_age: 7 * day / 10,
            durability: Durability::Fsync,
            unclean_leader_election: false,
        }
    );
}

#[test]
fn a_layer_overrides_those_below() {
    let env = [("JOCKO_TOPICS_RETENTION".to_owned(), "6d".to_owned())];
    let settings = load(&Layers { env: &env, ..Layers::default() }).expect("valid");
    let (cluster, broker, topic) = (
        configs(&[("log.retention.ms", "3")]),
        configs(&[("log.retention.ms", "2")]),
        configs(&[("retention.ms", "1")]),
    );
    let retention = |topic: &ConfigMap, broker, cluster| {
        let layers = BrokerLayers { broker, cluster, settings: &settings };
        TopicConfig::resolve(topic, &layers).retention.map(|retention| retention.as_millis())
    };
    assert_eq!(retention(&topic, &broker, &cluster), Some(1));
    assert_eq!(retention(&NO_CONFIGS, &broker, &cluster), Some(2));
    assert_eq!(retention(&NO_CONFIGS, &NO_CONFIGS, &cluster), Some(3));
    assert_eq!(retention(&NO_CONFIGS, &NO_CONFIGS, &NO_CONFIGS), Some(6 * 86_400_000));
}

#[test]
fn values_are_typed() {
    let settings = LoadedSettings::default();
    let topic = configs(&[
        ("cleanup.policy", "compact, delete"),
        ("compression.type", "zstd"),
        ("compression.gzip.level", "9"),
        ("flush.messages", "1"),
        ("flush.ms", "1000"),
        ("internal.segment.bytes", "4096"),
        ("jocko.retention.percent", "40"),
        ("jocko.storage.durability", "relaxed"),
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.bytes", "1000"),
        ("retention.ms", "-1"),
        ("segment.ms", "60000"),
        ("unclean.leader.election.enable", "TRUE"),
    ]);
    let config = TopicConfig::resolve(&topic, &BrokerLayers::of_settings(&settings));
    assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: true });
    assert_eq!(config.compression_type, CompressionType::Zstd);
    assert_eq!(config.compression_gzip_level, Some(9));
    assert_eq!(config.flush_messages, Some(1));
    assert_eq!(config.flush_interval, Some(Duration::from_secs(1)));
    assert_eq!(config.segment_bytes, 4096);
    assert_eq!(config.retention_percent, Percent::new(40));
    assert_eq!(config.durability, Durability::Relaxed);
    assert_eq!(config.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(config.retention_bytes, Some(1000));
    assert_eq!(config.retention, None);
    assert_eq!(config.segment_age, Duration::from_mins(1));
    assert!(config.unclean_leader_election);
}

#[test]
fn settings_stand_behind_our_own_configs() {
    let flags = [
        ("topics.retention_size".to_owned(), "20GiB".to_owned()),
        ("storage.durability".to_owned(), "relaxed".to_owned()),
        ("limits.message".to_owned(), "2MiB".to_owned()),
    ];
    let settings = load(&Layers { flags: &flags, ..Layers::default() }).expect("valid");
    let config = TopicConfig::resolve(&NO_CONFIGS, &BrokerLayers::of_settings(&settings));
    assert_eq!(config.retention_topic_bytes, Some(ByteSize::new(20 << 30)));
    assert_eq!(config.retention_percent, None);
    assert_eq!(config.durability, Durability::Relaxed);
    assert_eq!(NonZeroU32::new(config.max_message_bytes), NonZeroU32::new(2 << 20));
}

#[test]
fn short_retention_rolls_segments_sooner() {
    let settings = LoadedSettings::default();
    let age = |list: &[(&str, &str)]| {
        TopicConfig::resolve(&configs(list), &BrokerLayers::of_settings(&settings)).segment_age
    };
    assert_eq!(age(&[("retention.ms", "3600000")]), Duration::from_mins(6));
    assert_eq!(age(&[("retention.ms", "10")]), Duration::from_secs(1));
    assert_eq!(age(&[("retention.ms", "-1")]), Duration::from_hours(168));
    assert_eq!(
        age(&[("retention.ms", "3600000"), ("cleanup.policy", "compact")]),
        Duration::from_hours(168)
    );
    assert_eq!(
        age(&[("retention.ms", "3600000"), ("segment.ms", "86400000")]),
        Duration::from_hours(24)
    );
}

#[test]
fn configs_are_checked_together() {
    let settings = LoadedSettings::default();
    let check = |list: &[(&str, &str)], expect: Result<(), &str>| {
        let result = check_topic_configs(&configs(list), &BrokerLayers::of_settings(&settings));
        assert_eq!(result, expect.map_err(str::to_owned), "{list:?}");
    };
    check(&[], Ok(()));
    check(&[("message.format.version", "3.0")], Ok(()));
    check(
        &[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")],
        Err("conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"),
    );
    check(
        &[("remote.storage.enable", "true")],
        Err("Tiered Storage functionality is disabled in the broker. Topic cannot be configured \
             with remote log storage."),
    );
    check(&[("retention.ms", "abc"), ("zzz", "1")], Err("Unknown topic config name: zzz"));
}

#[test]
fn dynamic_configs_change_the_settings_behind_them() {
    let settings = LoadedSettings::default();
    let cluster = configs(&[("max.connections", "500"), ("log.retention.ms", "60000")]);
    let broker = configs(&[("max.connections", "5"), ("producer.id.expiration.ms", "x")]);
    let layers = BrokerLayers { broker: &broker, cluster: &cluster, settings: &settings };
    let effective = layers.effective_settings();
    assert_eq!(effective.limits.connections.get(), 5);
    assert_eq!(effective.topics.retention, Some(Duration::from_mins(1)));
    assert_eq!(effective.storage.producer_expiry, Duration::from_hours(24));
    let none = BrokerLayers::of_settings(&settings).effective_settings();
    assert_eq!(&none, settings.settings());
}
