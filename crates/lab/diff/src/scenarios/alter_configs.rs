//! IncrementalAlterConfigs (key 44) and AlterConfigs (key 33): what is set on topics, groups, one
//! broker and all of them (KIP-133, KIP-226, KIP-339).

use super::config_values::{
    DYNAMIC_CONFIGS, GROUP_CONFIGS, READ_ONLY_CONFIGS, TOPIC_CONFIGS, VALUES,
};
use super::requests::{bad_names, describe_configs};
use crate::run::{Answer, Run};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use jocko_protocol::rpc::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    alter_configs_request,
};

const CHANGES: ApiKey = ApiKey::IncrementalAlterConfigs;
const WHOLE: ApiKey = ApiKey::AlterConfigs;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(CHANGES, "topics", topics),
    Scenario::new(CHANGES, "every topic config with good and bad values", topic_values).since(1),
    Scenario::new(CHANGES, "groups", groups),
    Scenario::new(CHANGES, "every group config with good and bad values", group_values).since(1),
    Scenario::new(CHANGES, "brokers", brokers).alone(),
    Scenario::new(CHANGES, "every broker config with good and bad values", broker_values)
        .since(1)
        .alone(),
    Scenario::new(CHANGES, "resources that are none", bad_resources),
    Scenario::new(WHOLE, "topics", whole_topics),
    Scenario::new(WHOLE, "every topic config with good and bad values", whole_topic_values)
        .since(2),
    Scenario::new(WHOLE, "groups", whole_groups),
    Scenario::new(WHOLE, "brokers", whole_brokers).alone(),
    Scenario::new(WHOLE, "resources that are none", whole_bad_resources),
];

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Only the operations that there are: one that is not makes Kafka's controller step down, and other
/// runs' requests go unanswered meanwhile.
type Op<'a> = (i8, &'a str, Option<&'a str>);

fn resource(kind: i8, name: &str, ops: &[Op<'_>]) -> AlterConfigsResource {
    let config = |(op, name, value): &Op<'_>| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: *op,
        value: value.map(str::to_owned),
        ..Default::default()
    };
    AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: ops.iter().map(config).collect(),
        ..Default::default()
    }
}

fn changes(resources: Vec<AlterConfigsResource>) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest { resources, ..Default::default() }
}

fn change(kind: i8, name: &str, ops: &[Op<'_>]) -> IncrementalAlterConfigsRequest {
    changes(vec![resource(kind, name, ops)])
}

/// One setting of a broker.
pub(super) fn set_on_broker(
    broker: &str,
    name: &str,
    value: &str,
) -> IncrementalAlterConfigsRequest {
    change(BROKER, broker, &[(SET, name, Some(value))])
}

/// What is set on a resource, and where it comes from.
fn told(kind: i8, name: &str, keys: &[&str]) -> DescribeConfigsRequest {
    DescribeConfigsRequest { include_synonyms: true, ..describe_configs(kind, name, Some(keys)) }
}

/// Waits until a change shows, if it was one: what is refused changes nothing.
fn settle_after(run: &mut Run<'_>, made: &Answer) -> Result<()> {
    if made.int("/responses/0/errorCode") == 0 { run.settle() } else { Ok(()) }
}

/// The same change, first only checked, then made, then looked at.
fn attempt(run: &mut Run<'_>, label: &str, kind: i8, name: &str, ops: &[Op<'_>]) -> Result<()> {
    let keys: Vec<&str> = ops.iter().map(|(_, key, _)| *key).collect();
    let checked = IncrementalAlterConfigsRequest { validate_only: true, ..change(kind, name, ops) };
    run.send(format!("{label}: checked"), &checked)?;
    let made = run.send(format!("{label}: made"), &change(kind, name, ops))?;
    settle_after(run, &made)?;
    if !keys.is_empty() {
        run.send(format!("{label}: what is set"), &told(kind, name, &keys))?;
    }
    Ok(())
}

fn topics(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[("retention.ms", "777"), ("segment.bytes", "2000000")])?;
    let cases: &[(&str, &[Op<'_>])] = &[
        ("nothing", &[]),
        ("one set", &[(SET, "retention.ms", Some("1234"))]),
        ("the same again", &[(SET, "retention.ms", Some("1234"))]),
        ("two set", &[(SET, "retention.ms", Some("5")), (SET, "retention.bytes", Some("6"))]),
        ("one deleted", &[(DELETE, "retention.ms", None)]),
        ("deleted again", &[(DELETE, "retention.ms", None)]),
        ("deleted with a value", &[(DELETE, "segment.bytes", Some("1"))]),
        ("an unknown one deleted", &[(DELETE, "no.such.config", None)]),
        ("an unknown one set", &[(SET, "no.such.config", Some("1"))]),
        ("an empty name set", &[(SET, "", Some("1"))]),
        ("a null value", &[(SET, "retention.ms", None)]),
        ("null appended", &[(APPEND, "cleanup.policy", None)]),
        ("null subtracted", &[(SUBTRACT, "cleanup.policy", None)]),
        ("one twice", &[(SET, "retention.ms", Some("1")), (SET, "retention.ms", Some("2"))]),
        ("set and deleted", &[(SET, "retention.ms", Some("1")), (DELETE, "retention.ms", None)]),
        (
            "a good and a bad one",
            &[(SET, "retention.ms", Some("1")), (SET, "segment.ms", Some("x"))],
        ),
        ("appended to the default", &[(APPEND, "cleanup.policy", Some("compact"))]),
        ("appended again", &[(APPEND, "cleanup.policy", Some("compact"))]),
        ("appended a bad one", &[(APPEND, "cleanup.policy", Some("nonsense"))]),
        ("subtracted", &[(SUBTRACT, "cleanup.policy", Some("delete"))]),
        ("subtracted what is not there", &[(SUBTRACT, "cleanup.policy", Some("delete"))]),
        ("subtracted the last", &[(SUBTRACT, "cleanup.policy", Some("compact"))]),
        ("appended to nothing", &[(APPEND, "cleanup.policy", Some("delete,compact"))]),
        ("policy deleted", &[(DELETE, "cleanup.policy", None)]),
        ("appended to a number", &[(APPEND, "retention.ms", Some("1"))]),
        ("subtracted from a number", &[(SUBTRACT, "retention.ms", Some("1"))]),
        ("appended to an unknown one", &[(APPEND, "no.such.config", Some("1"))]),
        (
            "lag bounds that cross",
            &[
                (SET, "min.compaction.lag.ms", Some("100")),
                (SET, "max.compaction.lag.ms", Some("50")),
            ],
        ),
        ("one half of a crossing", &[(SET, "min.compaction.lag.ms", Some("100"))]),
        ("the other half", &[(SET, "max.compaction.lag.ms", Some("50"))]),
        ("a broker's name for it", &[(SET, "log.retention.ms", Some("1"))]),
        ("a group's config", &[(SET, "consumer.session.timeout.ms", Some("50000"))]),
        ("tiered storage, which is off", &[(SET, "remote.storage.enable", Some("true"))]),
        ("throttles appended", &[(APPEND, "leader.replication.throttled.replicas", Some("0:1"))]),
        (
            "throttles appended again",
            &[(APPEND, "leader.replication.throttled.replicas", Some("1:1,2:1"))],
        ),
        (
            "throttles subtracted",
            &[(SUBTRACT, "leader.replication.throttled.replicas", Some("0:1,2:1"))],
        ),
    ];
    for (label, ops) in cases {
        attempt(run, label, TOPIC, &one.name, ops)?;
    }
    run.send("all that is set", &describe_configs(TOPIC, &one.name, None))?;
    Ok(())
}

fn topic_values(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    values_of(run, TOPIC, &one.name, TOPIC_CONFIGS, VALUES)
}

/// Each name with each value; between names the resource is put back. In a smoke run every name has
/// some of the values, and every value comes with some of the names.
fn values_of(
    run: &mut Run<'_>,
    kind: i8,
    resource_name: &str,
    names: &[&str],
    values: &[&str],
) -> Result<()> {
    for (number, name) in names.iter().enumerate() {
        for value in part_of(run, values, number) {
            let set = change(kind, resource_name, &[(SET, name, Some(value))]);
            let made = run.send(format!("{name}={value:?}"), &set)?;
            settle_after(run, &made)?;
            run.send(
                format!("{name}={value:?}: what is set"),
                &told(kind, resource_name, &[name]),
            )?;
        }
        let deleted = change(kind, resource_name, &[(DELETE, name, None)]);
        run.send(format!("{name} deleted"), &deleted)?;
    }
    Ok(())
}

/// The values to ask of the name of that number.
fn part_of<'v>(run: &Run<'_>, values: &[&'v str], number: usize) -> Vec<&'v str> {
    const PARTS: usize = 6;
    let is_smoke = run.is_smoke();
    let wanted = |at: usize| !is_smoke || at % PARTS == number % PARTS;
    values.iter().enumerate().filter(|(at, _)| wanted(*at)).map(|(_, value)| *value).collect()
}

fn groups(run: &mut Run<'_>) -> Result<()> {
    let (one, two) = (run.name("group"), run.name("other"));
    let cases: &[(&str, &[Op<'_>])] = &[
        ("nothing", &[]),
        ("one set", &[(SET, "consumer.session.timeout.ms", Some("50000"))]),
        ("the same again", &[(SET, "consumer.session.timeout.ms", Some("50000"))]),
        (
            "two set",
            &[
                (SET, "consumer.session.timeout.ms", Some("55000")),
                (SET, "consumer.heartbeat.interval.ms", Some("6000")),
            ],
        ),
        ("one deleted", &[(DELETE, "consumer.session.timeout.ms", None)]),
        ("deleted again", &[(DELETE, "consumer.session.timeout.ms", None)]),
        ("an unknown one deleted", &[(DELETE, "no.such.config", None)]),
        ("an unknown one set", &[(SET, "no.such.config", Some("1"))]),
        ("an empty name set", &[(SET, "", Some("1"))]),
        ("a null value", &[(SET, "consumer.session.timeout.ms", None)]),
        ("appended", &[(APPEND, "consumer.session.timeout.ms", Some("1"))]),
        ("subtracted", &[(SUBTRACT, "share.auto.offset.reset", Some("latest"))]),
        ("a topic's config", &[(SET, "retention.ms", Some("1"))]),
        ("a broker's name for it", &[(SET, "group.consumer.session.timeout.ms", Some("50000"))]),
        (
            "a good and a bad one",
            &[
                (SET, "share.isolation.level", Some("read_committed")),
                (SET, "share.auto.offset.reset", Some("never")),
            ],
        ),
    ];
    for (label, ops) in cases {
        attempt(run, label, GROUP, &one, ops)?;
    }
    run.send("all that is set", &describe_configs(GROUP, &one, None))?;
    run.send("a group of which nothing is set", &describe_configs(GROUP, &two, None))?;
    attempt(run, "no name", GROUP, "", &[(SET, "consumer.session.timeout.ms", Some("50000"))])?;
    run.send("no name, described", &describe_configs(GROUP, "", None))?;
    for (keys, label) in [(&["no.such.config"][..], "an unknown key"), (&[], "no keys")] {
        run.send(label, &told(GROUP, &one, keys))?;
    }
    Ok(())
}

fn group_values(run: &mut Run<'_>) -> Result<()> {
    let group = run.name("group");
    values_of(run, GROUP, &group, GROUP_CONFIGS, VALUES)
}

fn brokers(run: &mut Run<'_>) -> Result<()> {
    let own = run.broker_id().to_string();
    for (who, name) in [("itself", own.as_str()), ("all", "")] {
        let cases: &[(&str, &[Op<'_>])] = &[
            ("nothing", &[]),
            ("one set", &[(SET, "log.retention.ms", Some("1234567"))]),
            (
                "two set",
                &[(SET, "log.segment.bytes", Some("2000000")), (SET, "log.roll.ms", Some("5"))],
            ),
            ("appended", &[(APPEND, "log.cleanup.policy", Some("compact"))]),
            ("subtracted", &[(SUBTRACT, "log.cleanup.policy", Some("delete"))]),
            ("appended to a number", &[(APPEND, "log.retention.ms", Some("1"))]),
            ("an empty name", &[(SET, "", Some("1"))]),
            ("a topic's config", &[(SET, "retention.ms", Some("1"))]),
            ("a null value", &[(SET, "log.retention.ms", None)]),
            ("one twice", &[(SET, "log.roll.ms", Some("1")), (SET, "log.roll.ms", Some("2"))]),
            (
                "a good and a bad one",
                &[(SET, "log.roll.ms", Some("7")), (SET, "log.segment.bytes", Some("x"))],
            ),
            (
                "deleted",
                &[
                    (DELETE, "log.retention.ms", None),
                    (DELETE, "log.segment.bytes", None),
                    (DELETE, "log.roll.ms", None),
                    (DELETE, "log.cleanup.policy", None),
                ],
            ),
            ("deleted again", &[(DELETE, "log.retention.ms", None)]),
        ];
        for (label, ops) in cases {
            attempt(run, &format!("{who}: {label}"), BROKER, name, ops)?;
        }
        for key in READ_ONLY_CONFIGS {
            let ops = [(SET, *key, Some("1"))];
            attempt(run, &format!("{who}: {key}, which is read only"), BROKER, name, &ops)?;
        }
    }
    for name in ["9999", "-1", "x", " "] {
        let set = change(BROKER, name, &[(SET, "log.retention.ms", Some("1"))]);
        run.send(format!("broker {name:?}"), &set)?;
    }
    // A topic's default follows at once.
    let topic = run.create("one", 1, &[])?;
    for (label, name) in [("all", ""), ("itself", own.as_str())] {
        let value = if name.is_empty() { "111111" } else { "222222" };
        let set = change(BROKER, name, &[(SET, "log.retention.ms", Some(value))]);
        run.send(format!("{label}: a default of topics"), &set)?;
        run.settle()?;
        let synonyms = told(TOPIC, &topic.name, &["retention.ms"]);
        run.send(format!("{label}: the topic's value"), &synonyms)?;
    }
    for name in ["", own.as_str()] {
        let deleted = change(BROKER, name, &[(DELETE, "log.retention.ms", None)]);
        run.send("a default of topics put back", &deleted)?;
    }
    Ok(())
}

fn broker_values(run: &mut Run<'_>) -> Result<()> {
    let own = run.broker_id().to_string();
    // Few: each of them is a change of the whole broker.
    let values = ["-2", "-1", "0", "1", "1048576", "2147483648", "0.5", "x", "", "true", "delete"];
    for name in [own.as_str(), ""] {
        values_of(run, BROKER, name, DYNAMIC_CONFIGS, &values)?;
    }
    let set = change(BROKER, "", &[(SET, "min.insync.replicas", Some("1"))]);
    run.send("min.insync.replicas put back", &set)?;
    Ok(())
}

fn bad_resources(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    run.send("no resource", &changes(Vec::new()))?;
    for kind in [-1, 0, 1, 3, 5, 7, 8, 9, 16, 100, 127] {
        for name in ["", "x"] {
            let set = change(kind, name, &[(SET, "retention.ms", Some("1"))]);
            run.send(format!("type {kind}, name {name:?}"), &set)?;
        }
    }
    let ops: &[Op<'_>] = &[(SET, "retention.ms", Some("5"))];
    for (label, name) in bad_names() {
        run.send(label, &change(TOPIC, &name, ops))?;
    }
    let none = run.name("none");
    run.send("an unknown topic", &change(TOPIC, &none, ops))?;
    let mixed = vec![
        resource(TOPIC, &none, ops),
        resource(TOPIC, &one.name, ops),
        resource(99, "x", ops),
        resource(BROKER, "x", ops),
    ];
    run.send("one good, three bad", &changes(mixed))?;
    run.settle()?;
    run.send("what is set", &told(TOPIC, &one.name, &["retention.ms"]))?;
    let twice = vec![
        resource(TOPIC, &one.name, &[(SET, "retention.ms", Some("6"))]),
        resource(TOPIC, &one.name, &[(SET, "retention.ms", Some("7"))]),
        resource(TOPIC, &none, ops),
    ];
    run.send("one twice", &changes(twice))?;
    run.settle()?;
    run.send("what is set then", &told(TOPIC, &one.name, &["retention.ms"]))?;
    Ok(())
}

type Pair<'a> = (&'a str, Option<&'a str>);

fn whole(kind: i8, name: &str, configs: &[Pair<'_>]) -> AlterConfigsRequest {
    let config = |(name, value): &Pair<'_>| alter_configs_request::AlterableConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = alter_configs_request::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    AlterConfigsRequest { resources: vec![resource], ..Default::default() }
}

fn replace(
    run: &mut Run<'_>,
    label: &str,
    kind: i8,
    name: &str,
    configs: &[Pair<'_>],
    keys: Option<&[&str]>,
) -> Result<()> {
    let checked = AlterConfigsRequest { validate_only: true, ..whole(kind, name, configs) };
    run.send(format!("{label}: checked"), &checked)?;
    let made = run.send(format!("{label}: made"), &whole(kind, name, configs))?;
    settle_after(run, &made)?;
    let synonyms =
        DescribeConfigsRequest { include_synonyms: true, ..describe_configs(kind, name, keys) };
    run.send(format!("{label}: what is set"), &synonyms)?;
    Ok(())
}

fn whole_topics(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[("retention.ms", "777"), ("segment.bytes", "2000000")])?;
    let cases: &[(&str, &[Pair<'_>])] = &[
        ("one", &[("retention.ms", Some("1234"))]),
        ("another", &[("retention.bytes", Some("99"))]),
        ("two", &[("retention.ms", Some("5")), ("cleanup.policy", Some("compact"))]),
        ("an unknown one", &[("no.such.config", Some("1"))]),
        ("a null value", &[("retention.ms", None)]),
        ("one twice", &[("retention.ms", Some("1")), ("retention.ms", Some("2"))]),
        ("a good and a bad one", &[("retention.ms", Some("1")), ("segment.ms", Some("x"))]),
        (
            "lag bounds that cross",
            &[("min.compaction.lag.ms", Some("100")), ("max.compaction.lag.ms", Some("50"))],
        ),
        ("none", &[]),
    ];
    for (label, configs) in cases {
        replace(run, label, TOPIC, &one.name, configs, None)?;
    }
    Ok(())
}

fn whole_topic_values(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    for (number, name) in TOPIC_CONFIGS.iter().enumerate() {
        for value in part_of(run, VALUES, number) {
            let request = whole(TOPIC, &one.name, &[(name, Some(value))]);
            run.send(format!("{name}={value:?}"), &request)?;
        }
    }
    Ok(())
}

fn whole_groups(run: &mut Run<'_>) -> Result<()> {
    let group = run.name("group");
    let cases: &[(&str, &[Pair<'_>])] = &[
        ("one", &[("consumer.session.timeout.ms", Some("50000"))]),
        ("another", &[("consumer.heartbeat.interval.ms", Some("6000"))]),
        ("a bad one", &[("consumer.session.timeout.ms", Some("1"))]),
        ("an unknown one", &[("no.such.config", Some("1"))]),
        ("a null value", &[("consumer.session.timeout.ms", None)]),
        ("none", &[]),
    ];
    for (label, configs) in cases {
        replace(run, label, GROUP, &group, configs, None)?;
    }
    Ok(())
}

fn whole_brokers(run: &mut Run<'_>) -> Result<()> {
    let own = run.broker_id().to_string();
    let cases: &[(&str, &[Pair<'_>])] = &[
        ("one", &[("log.retention.ms", Some("1234567")), ("min.insync.replicas", Some("1"))]),
        ("another", &[("log.roll.ms", Some("99")), ("min.insync.replicas", Some("1"))]),
        ("one that all must share left out", &[("log.roll.ms", Some("98"))]),
        ("a bad one", &[("log.roll.ms", Some("x")), ("min.insync.replicas", Some("1"))]),
        ("a read-only one", &[("num.partitions", Some("2")), ("min.insync.replicas", Some("1"))]),
        ("put back", &[("min.insync.replicas", Some("1"))]),
    ];
    let keys = ["log.retention.ms", "log.roll.ms", "min.insync.replicas"];
    for (label, configs) in cases {
        replace(run, &format!("all: {label}"), BROKER, "", configs, Some(&keys))?;
        let own_configs: Vec<Pair<'_>> =
            configs.iter().filter(|(name, _)| *name != "min.insync.replicas").copied().collect();
        replace(run, &format!("itself: {label}"), BROKER, &own, &own_configs, Some(&keys))?;
    }
    for name in ["9999", "-1", "x"] {
        let request = whole(BROKER, name, &[("log.roll.ms", Some("1"))]);
        run.send(format!("broker {name:?}"), &request)?;
    }
    Ok(())
}

fn whole_bad_resources(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    run.send("no resource", &AlterConfigsRequest::default())?;
    for kind in [-1, 0, 1, 3, 5, 7, 8, 9, 16, 100, 127] {
        for name in ["", "x"] {
            let request = whole(kind, name, &[("retention.ms", Some("1"))]);
            run.send(format!("type {kind}, name {name:?}"), &request)?;
        }
    }
    for (label, name) in bad_names() {
        run.send(label, &whole(TOPIC, &name, &[("retention.ms", Some("1"))]))?;
    }
    let none = run.name("none");
    run.send("an unknown topic", &whole(TOPIC, &none, &[("retention.ms", Some("1"))]))?;
    // A resource named twice is left out: Kafka never answers.
    run.settle()?;
    run.send("what is set", &told(TOPIC, &one.name, &["retention.ms"]))?;
    Ok(())
}
