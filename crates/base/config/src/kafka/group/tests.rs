use super::*;
use crate::kafka::NO_CONFIGS;
use crate::load::{Layers, LoadedSettings, load};

fn configs(list: &[(&str, &str)]) -> ConfigMap {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn definitions_are_sorted_valid_and_lean_on_broker_configs() {
    assert!(GROUP_DEFINITIONS.is_sorted_by_key(|definition| definition.name));
    let settings = LoadedSettings::default();
    let layers = BrokerLayers::of_settings(&settings);
    for definition in GROUP_DEFINITIONS {
        let read = canonical(definition.name, definition.kind, definition.rule, definition.default);
        assert_eq!(read.as_deref(), Ok(definition.default), "{}", definition.name);
        for name in [definition.least, definition.most].into_iter().flatten() {
            let value = broker_value(name, &layers).unwrap_or_else(|| panic!("{name}")).0;
            assert!(value.parse::<i64>().is_ok(), "{name}");
        }
        if let Some(name) = definition.broker_name {
            let value = broker_value(name, &layers).unwrap_or_else(|| panic!("{name}")).0;
            assert_eq!(value, definition.default, "{name}");
        }
    }
}

#[test]
fn values_are_checked_for_themselves_and_together() {
    let settings = LoadedSettings::default();
    let layers = BrokerLayers::of_settings(&settings);
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[], ""),
        (&[("consumer.session.timeout.ms", "50000")], ""),
        (&[("consumer.heartbeat.interval.ms", " 6000 ")], ""),
        (
            &[("consumer.session.timeout.ms", "44999")],
            "consumer.session.timeout.ms must be greater than or equal to \
             group.consumer.min.session.timeout.ms (45000)",
        ),
        (
            &[("consumer.session.timeout.ms", "60001")],
            "consumer.session.timeout.ms must be less than or equal to \
             group.consumer.max.session.timeout.ms (60000)",
        ),
        (
            &[("consumer.session.timeout.ms", "x")],
            "Invalid value x for configuration consumer.session.timeout.ms: \
             Not a number of type INT",
        ),
        (
            &[("consumer.session.timeout", "1")],
            "Unknown group config name: consumer.session.timeout \
             (did you mean consumer.session.timeout.ms?)",
        ),
        (&[("share.auto.offset.reset", "earliest")], ""),
        (&[("share.auto.offset.reset", "by_duration:PT1H30M")], ""),
        (
            &[("share.isolation.level", "any")],
            "Invalid value any for configuration share.isolation.level: String must be one of: \
             read_committed, read_uncommitted",
        ),
        (
            &[("streams.num.standby.replicas", "3")],
            "streams.num.standby.replicas must be less than or equal to \
             group.streams.max.standby.replicas (2)",
        ),
    ];
    for (set, expected) in table {
        let told = check_group_configs(&configs(set), &layers).err().unwrap_or_default();
        assert_eq!(told, *expected, "{set:?}");
    }
}

#[test]
fn sessions_must_outlast_heartbeats() {
    let env: Vec<(String, String)> = [
        ("JOCKO_GROUPS_CONSUMER_SESSION_TIMEOUT_MIN", "1s"),
        ("JOCKO_GROUPS_CONSUMER_HEARTBEAT_INTERVAL_MAX", "1m"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let settings = load(&Layers { env: &env, ..Layers::default() }).expect("valid");
    let layers = BrokerLayers::of_settings(&settings);
    let same = configs(&[
        ("consumer.session.timeout.ms", "9000"),
        ("consumer.heartbeat.interval.ms", "9000"),
    ]);
    assert_eq!(
        check_group_configs(&same, &layers),
        Err("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
            .to_owned())
    );
}

#[test]
fn a_group_overrides_the_broker_within_its_bounds() {
    let settings = LoadedSettings::default();
    let layers = BrokerLayers::of_settings(&settings);
    let plain = GroupConfig::resolve(&NO_CONFIGS, &layers);
    assert_eq!(
        plain,
        GroupConfig {
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            consumer_assignment_interval: Duration::from_secs(1),
        }
    );
    let set = configs(&[
        ("consumer.session.timeout.ms", "50000"),
        ("consumer.heartbeat.interval.ms", "900000"),
        ("consumer.assignment.interval.ms", "nonsense"),
    ]);
    let cluster = configs(&[("group.consumer.assignment.interval.ms", "2000")]);
    let layers = BrokerLayers { cluster: &cluster, ..layers };
    assert_eq!(
        GroupConfig::resolve(&set, &layers),
        GroupConfig {
            consumer_session_timeout: Duration::from_secs(50),
            consumer_heartbeat_interval: Duration::from_secs(15),
            consumer_assignment_interval: Duration::from_secs(2),
        }
    );
}
