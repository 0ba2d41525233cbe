//! CreateTopics (key 19): every check, and what the answer says of a topic that was made.

use super::requests::{bad_names, configured, creatable, create, describe_configs, metadata};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::CreateTopicsRequest;
use jocko_protocol::rpc::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::CreateTopics, "counts", counts),
    Scenario::new(ApiKey::CreateTopics, "names", names),
    Scenario::new(ApiKey::CreateTopics, "assignments", assignments),
    Scenario::new(ApiKey::CreateTopics, "configs", configs),
    Scenario::new(ApiKey::CreateTopics, "every config with good and bad values", config_values),
    Scenario::new(ApiKey::CreateTopics, "several at once", several),
];

/// Sends a topic for validation, then for creation, and asks for what came of it.
fn attempt(run: &mut Run<'_>, label: &str, topic: &CreatableTopic) -> Result<()> {
    let request = create(vec![topic.clone()]);
    let only_checked = CreateTopicsRequest { validate_only: true, ..request.clone() };
    run.send(format!("{label}, only checked"), &only_checked)?;
    let answer = run.send(label, &request)?;
    if answer.int("/topics/0/errorCode") == 0 {
        let base = topic.name.split_once('-').map_or("", |(_, base)| base).to_owned();
        run.await_topic(&base)?;
    }
    run.send(format!("{label}: its metadata"), &metadata(&[&topic.name]))?;
    Ok(())
}

fn counts(run: &mut Run<'_>) -> Result<()> {
    let cases = [
        (1, 1),
        (3, 1),
        (-1, 1),
        (1, -1),
        (-1, -1),
        (0, 1),
        (-2, 1),
        (i32::MIN, 1),
        (1, 0),
        (1, -2),
        (1, 2),
        (1, i16::MAX),
        (0, 0),
        (-1, 2),
        (0, 2),
    ];
    for (number, (partitions, factor)) in cases.into_iter().enumerate() {
        let topic = creatable(&run.name(&format!("c{number}")), partitions, factor);
        attempt(run, &format!("{partitions} partitions, {factor} replicas"), &topic)?;
    }
    Ok(())
}

fn names(run: &mut Run<'_>) -> Result<()> {
    for (label, name) in bad_names() {
        run.send(label, &create(vec![creatable(&name, 1, 1)]))?;
        let request = create(vec![creatable(&name, 0, 7)]);
        run.send(format!("{label} and bad counts"), &request)?;
    }
    let longest = format!("{:n<249}", run.name("long"));
    run.send("249 letters", &create(vec![creatable(&longest, 1, 1)]))?;
    let dotted = creatable(&run.name("a.b"), 1, 1);
    attempt(run, "a dot", &dotted)?;
    let scored = creatable(&run.name("a_b"), 1, 1);
    attempt(run, "an underscore where another has a dot", &scored)?;
    let known = creatable(&run.name("a.b"), 1, 1);
    attempt(run, "a name that is taken", &known)?;
    let known = creatable(&run.name("a.b"), 0, 9);
    attempt(run, "a name that is taken, and bad counts", &known)?;
    run.send("no topic at all", &create(Vec::new()))?;
    Ok(())
}

fn assignments(run: &mut Run<'_>) -> Result<()> {
    let id = run.broker_id();
    // What it is, the brokers of each partition, and the counts beside them.
    type Case<'a> = (&'a str, &'a [(i32, &'a [i32])], i32, i16);
    let cases: &[Case<'_>] = &[
        ("one partition", &[(0, &[id])], -1, -1),
        ("two partitions", &[(0, &[id]), (1, &[id])], -1, -1),
        ("two partitions, backwards", &[(1, &[id]), (0, &[id])], -1, -1),
        ("counts beside it", &[(0, &[id])], 1, 1),
        ("a count of partitions beside it", &[(0, &[id])], 1, -1),
        ("a count of replicas beside it", &[(0, &[id])], -1, 1),
        ("not from 0", &[(1, &[id])], -1, -1),
        ("with a gap", &[(0, &[id]), (2, &[id])], -1, -1),
        ("a negative partition", &[(-1, &[id])], -1, -1),
        ("a partition twice", &[(0, &[id]), (0, &[id])], -1, -1),
        ("a broker twice", &[(0, &[id, id])], -1, -1),
        ("an unknown broker", &[(0, &[9_999])], -1, -1),
        ("a known and an unknown broker", &[(0, &[id, 9_999])], -1, -1),
        ("a negative broker", &[(0, &[-1])], -1, -1),
        ("no broker", &[(0, &[])], -1, -1),
        ("unequal counts", &[(0, &[id]), (1, &[])], -1, -1),
    ];
    for (number, (label, partitions, count, factor)) in cases.iter().enumerate() {
        let assignments = partitions.iter().map(|(index, brokers)| CreatableReplicaAssignment {
            partition_index: *index,
            broker_ids: brokers.to_vec(),
            ..Default::default()
        });
        let topic = CreatableTopic {
            assignments: assignments.collect(),
            ..creatable(&run.name(&format!("a{number}")), *count, *factor)
        };
        attempt(run, label, &topic)?;
    }
    Ok(())
}

fn configs(run: &mut Run<'_>) -> Result<()> {
    type Case<'a> = (&'a str, &'a [(&'a str, Option<&'a str>)]);
    let cases: &[Case<'_>] = &[
        ("one", &[("retention.ms", Some("86400000"))]),
        ("two", &[("cleanup.policy", Some("compact")), ("segment.bytes", Some("1048576"))]),
        ("blanks around the value", &[("retention.ms", Some(" 5000 "))]),
        ("an unknown name", &[("no.such.config", Some("1"))]),
        ("an empty name", &[("", Some("1"))]),
        ("a null value", &[("retention.ms", None)]),
        ("an empty value", &[("retention.ms", Some(""))]),
        ("an empty list", &[("cleanup.policy", Some(""))]),
        ("the same twice", &[("retention.ms", Some("1")), ("retention.ms", Some("2"))]),
        ("a good and a bad one", &[("retention.ms", Some("1")), ("segment.bytes", Some("x"))]),
        ("one that was removed", &[("message.format.version", Some("3.0"))]),
        ("another that was removed", &[("message.downconversion.enable", Some("false"))]),
        (
            "a third that was removed",
            &[("message.timestamp.difference.max.ms", Some("9223372036854775807"))],
        ),
        ("a broker's name for it", &[("log.retention.ms", Some("1"))]),
        ("capitals", &[("Retention.ms", Some("1"))]),
        ("tiered storage, which is off", &[("remote.storage.enable", Some("true"))]),
        ("two policies", &[("cleanup.policy", Some("compact,delete"))]),
        ("a policy twice", &[("cleanup.policy", Some("delete,delete"))]),
        (
            "lag bounds that cross",
            &[("min.compaction.lag.ms", Some("100")), ("max.compaction.lag.ms", Some("50"))],
        ),
        (
            "segment beyond retention",
            &[("segment.bytes", Some("2000000")), ("retention.bytes", Some("1000000"))],
        ),
        (
            "local retention beyond retention",
            &[("local.retention.ms", Some("2000")), ("retention.ms", Some("1000"))],
        ),
        ("min.insync.replicas beyond the replicas", &[("min.insync.replicas", Some("3"))]),
        ("throttled replicas", &[("leader.replication.throttled.replicas", Some("0:1,1:1"))]),
        ("all throttled", &[("follower.replication.throttled.replicas", Some("*"))]),
        (
            "throttled replicas that are none",
            &[("leader.replication.throttled.replicas", Some("abc"))],
        ),
    ];
    for (number, (label, configs)) in cases.iter().enumerate() {
        let topic = configured(&run.name(&format!("c{number}")), configs);
        attempt(run, label, &topic)?;
        run.send(format!("{label}: its configs"), &describe_configs(2, &topic.name, None))?;
    }
    Ok(())
}

/// Values at and beyond the limits of each config, all of them only checked.
fn config_values(run: &mut Run<'_>) -> Result<()> {
    let numbers =
        ["-2", "-1", "0", "1", "13", "14", "1048576", "2147483647", "2147483648", "x", "1.5"];
    let large = ["9223372036854775807", "9223372036854775808", "+5", "0x10", "1e3", ""];
    let words = ["true", "TRUE", "yes", "none", "producer", "uncompressed", "CreateTime", "zstd"];
    let all: Vec<&str> = [&numbers[..], &large, &words].concat();
    for name in TOPIC_CONFIGS {
        // One request for all values of a config: many topics, none of them made.
        let topics = all.iter().enumerate().map(|(number, value)| CreatableTopic {
            configs: vec![CreatableTopicConfig {
                name: (*name).to_owned(),
                value: Some((*value).to_owned()),
                ..Default::default()
            }],
            ..creatable(&run.name(&format!("v{number}")), 1, 1)
        });
        let request = CreateTopicsRequest { validate_only: true, ..create(topics.collect()) };
        run.send(*name, &request)?;
    }
    Ok(())
}

const TOPIC_CONFIGS: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

fn several(run: &mut Run<'_>) -> Result<()> {
    let good = |run: &Run<'_>, base: &str| creatable(&run.name(base), 1, 1);
    let bad = |run: &Run<'_>, base: &str| creatable(&run.name(base), 0, 1);
    let two = vec![good(run, "a"), good(run, "b")];
    run.send("two", &create(two))?;
    run.await_topic("a")?;
    run.await_topic("b")?;
    let mixed = vec![good(run, "c"), bad(run, "d"), good(run, "a"), creatable("", 1, 1)];
    run.send("one good, three bad", &create(mixed))?;
    run.await_topic("c")?;
    let twice = vec![good(run, "e"), good(run, "e"), good(run, "f")];
    run.send("one twice beside another", &create(twice))?;
    let thrice = vec![bad(run, "g"), good(run, "g"), good(run, "g")];
    run.send("one three times", &create(thrice))?;
    let colliding = vec![good(run, "x.y"), good(run, "x_y")];
    run.send("two that differ by a dot", &create(colliding))?;
    let mut names: Vec<String> = ["e", "f", "g", "x.y", "x_y"].map(|base| run.name(base)).into();
    names.push(run.name("c"));
    run.await_topic("f")?;
    run.settle()?;
    run.send("which are there", &metadata(&names.iter().map(String::as_str).collect::<Vec<_>>()))?;
    Ok(())
}
