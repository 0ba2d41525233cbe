//! DescribeConfigs (key 32): settings of topics and brokers (KIP-133, KIP-226, KIP-569).

use super::requests::{OFFSETS_TOPIC, bad_names, describe_configs, set_group_config};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::DescribeConfigsRequest;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::DescribeConfigs, "topics", topics),
    Scenario::new(ApiKey::DescribeConfigs, "brokers", brokers),
    Scenario::new(ApiKey::DescribeConfigs, "groups", groups),
    Scenario::new(ApiKey::DescribeConfigs, "resources that are none", bad_resources),
];

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

fn topics(run: &mut Run<'_>) -> Result<()> {
    let plain = run.create("plain", 1, &[])?;
    let set = run.create(
        "set",
        1,
        &[
            ("retention.ms", "1234567"),
            ("cleanup.policy", "compact"),
            ("compression.type", "gzip"),
            ("min.insync.replicas", "1"),
        ],
    )?;
    for topic in [&plain, &set] {
        for synonyms in [false, true] {
            for documentation in [false, true] {
                if documentation && run.version() < 3 {
                    continue;
                }
                let request = DescribeConfigsRequest {
                    include_synonyms: synonyms,
                    include_documentation: documentation,
                    ..describe_configs(TOPIC, &topic.name, None)
                };
                let base = topic.name.split_once('-').map_or("", |(_, base)| base);
                let label = format!("{base}, synonyms {synonyms}, documentation {documentation}");
                run.send(label, &request)?;
            }
        }
    }
    let cases: &[(&str, &[&str])] = &[
        ("one key", &["retention.ms"]),
        ("two keys", &["segment.bytes", "cleanup.policy"]),
        ("a key twice", &["segment.bytes", "segment.bytes"]),
        ("an unknown key", &["no.such.config"]),
        ("a known and an unknown key", &["retention.ms", "no.such.config"]),
        ("a broker's key", &["log.retention.ms"]),
        ("an empty key", &[""]),
        ("no keys", &[]),
    ];
    for (label, keys) in cases {
        let request = DescribeConfigsRequest {
            include_synonyms: true,
            ..describe_configs(TOPIC, &set.name, Some(keys))
        };
        run.send(*label, &request)?;
    }
    super::groups::ready(run, ["group"])?;
    for synonyms in [false, true] {
        let request = DescribeConfigsRequest {
            include_synonyms: synonyms,
            ..describe_configs(TOPIC, OFFSETS_TOPIC, None)
        };
        run.send(format!("the broker's own, synonyms {synonyms}"), &request)?;
    }
    let none = run.name("none");
    run.send("an unknown topic", &describe_configs(TOPIC, &none, None))?;
    let mut both = describe_configs(TOPIC, &none, None);
    both.resources.extend(describe_configs(TOPIC, &plain.name, Some(&["segment.ms"])).resources);
    run.send("an unknown and a known topic", &both)?;
    let mut twice = describe_configs(TOPIC, &plain.name, Some(&["segment.ms"]));
    twice.resources.extend(twice.resources.clone());
    run.send("a topic twice", &twice)?;
    for (label, name) in bad_names() {
        run.send(label, &describe_configs(TOPIC, &name, None))?;
    }
    Ok(())
}

fn brokers(run: &mut Run<'_>) -> Result<()> {
    let own = run.broker_id().to_string();
    for (who, name) in [("itself", own.as_str()), ("the default of all", "")] {
        for synonyms in [false, true] {
            let request = DescribeConfigsRequest {
                include_synonyms: synonyms,
                ..describe_configs(BROKER, name, None)
            };
            run.send(format!("{who}, synonyms {synonyms}"), &request)?;
        }
        let keys: &[&[&str]] = &[
            &["num.partitions"],
            &["num.partitions", "auto.create.topics.enable"],
            &["no.such.config"],
            &["retention.ms"],
            &[],
        ];
        for keys in keys {
            let label = format!("{who}, keys {keys:?}");
            run.send(label, &describe_configs(BROKER, name, Some(keys)))?;
        }
    }
    for name in ["9999", "-1", "x", "1x", " ", "99999999999"] {
        run.send(format!("broker {name:?}"), &describe_configs(BROKER, name, None))?;
    }
    Ok(())
}

fn groups(run: &mut Run<'_>) -> Result<()> {
    let (set, none) = (run.name("set"), run.name("none"));
    for (name, value) in
        [("consumer.session.timeout.ms", "50000"), ("share.auto.offset.reset", "earliest")]
    {
        run.ask(&set_group_config(&set, name, value))?;
    }
    run.settle()?;
    for (who, name) in [("one that is set", &set), ("one that is not", &none)] {
        for synonyms in [false, true] {
            let request = DescribeConfigsRequest {
                include_synonyms: synonyms,
                include_documentation: run.version() >= 3 && synonyms,
                ..describe_configs(GROUP, name, None)
            };
            run.send(format!("{who}, synonyms {synonyms}"), &request)?;
        }
        let keys: &[&[&str]] = &[
            &["consumer.session.timeout.ms"],
            &["consumer.session.timeout.ms", "no.such.config"],
            &["group.consumer.session.timeout.ms"],
            &["retention.ms"],
            &[""],
            &[],
        ];
        for keys in keys {
            let label = format!("{who}, keys {keys:?}");
            run.send(label, &describe_configs(GROUP, name, Some(keys)))?;
        }
    }
    let mut twice = describe_configs(GROUP, &set, Some(&["consumer.session.timeout.ms"]));
    twice.resources.extend(twice.resources.clone());
    run.send("one twice", &twice)?;
    for (label, odd) in super::groups::odd_groups(run) {
        let request = describe_configs(GROUP, &odd, Some(&["consumer.session.timeout.ms"]));
        run.send(label, &request)?;
    }
    Ok(())
}

fn bad_resources(run: &mut Run<'_>) -> Result<()> {
    run.send("no resource", &DescribeConfigsRequest::default())?;
    for kind in [-1, 0, 1, 3, 5, 6, 7, 8, 9, 16, 100, 127] {
        for name in ["", "x"] {
            run.send(format!("type {kind}, name {name:?}"), &describe_configs(kind, name, None))?;
        }
    }
    Ok(())
}
