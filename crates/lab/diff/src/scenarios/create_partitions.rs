//! CreatePartitions (key 37): more partitions for topics (KIP-195).

use super::requests::{OFFSETS_TOPIC, TIMEOUT_MS, bad_names, metadata};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::CreatePartitionsRequest;
use jocko_protocol::rpc::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::CreatePartitions, "counts", counts),
    Scenario::new(ApiKey::CreatePartitions, "assignments", assignments),
    Scenario::new(ApiKey::CreatePartitions, "several", several),
];

fn grow(topics: Vec<CreatePartitionsTopic>, validate_only: bool) -> CreatePartitionsRequest {
    CreatePartitionsRequest { topics, timeout_ms: TIMEOUT_MS, validate_only, ..Default::default() }
}

fn topic(name: &str, count: i32, lists: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let assignment = |list: &&[i32]| CreatePartitionsAssignment {
        broker_ids: list.to_vec(),
        ..Default::default()
    };
    CreatePartitionsTopic {
        name: name.to_owned(),
        count,
        assignments: lists.map(|lists| lists.iter().map(assignment).collect()),
        ..Default::default()
    }
}

/// More partitions of one topic, on these brokers.
pub(super) fn grow_by_hand(name: &str, count: i32, lists: &[&[i32]]) -> CreatePartitionsRequest {
    grow(vec![topic(name, count, Some(lists))], false)
}

fn counts(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    run.send("no topic at all", &grow(vec![], false))?;
    for validate_only in [true, false] {
        // Kafka does not survive requests for many thousands.
        for count in [i32::MIN, -1, 0, 1, 3, 3, 2, 5] {
            let label = format!("to {count}, validate only {validate_only}");
            run.send(label, &grow(vec![topic(&one.name, count, None)], validate_only))?;
            if !validate_only {
                run.settle()?;
            }
            run.send(format!("after {count}"), &metadata(&[&one.name]))?;
        }
    }
    let none = run.name("none");
    for validate_only in [true, false] {
        run.send("an unknown topic", &grow(vec![topic(&none, 3, None)], validate_only))?;
        for (label, name) in bad_names() {
            run.send(label, &grow(vec![topic(&name, 3, None)], validate_only))?;
        }
    }
    Ok(())
}

fn assignments(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    let id = run.broker_id();
    type Case<'a> = (&'a str, i32, &'a [&'a [i32]]);
    let cases: &[Case<'_>] = &[
        ("none for one", 2, &[]),
        ("one for two", 3, &[&[id]]),
        ("two for one", 2, &[&[id], &[id]]),
        ("an unknown broker", 2, &[&[9_999]]),
        ("a negative broker", 2, &[&[-1]]),
        ("no broker", 2, &[&[]]),
        ("a broker twice", 2, &[&[id, id]]),
        ("more brokers than the others have", 2, &[&[id, 9_999]]),
        ("a good and a bad one", 3, &[&[id], &[9_999]]),
        ("one, and no more partitions", 1, &[&[id]]),
        ("none, and no more partitions", 1, &[]),
        ("one", 2, &[&[id]]),
        ("two", 4, &[&[id], &[id]]),
    ];
    for (label, count, lists) in cases {
        for validate_only in [true, false] {
            let request = grow(vec![topic(&one.name, *count, Some(lists))], validate_only);
            run.send(format!("{label}, validate only {validate_only}"), &request)?;
        }
        run.settle()?;
        run.send(format!("after {label}"), &metadata(&[&one.name]))?;
    }
    Ok(())
}

fn several(run: &mut Run<'_>) -> Result<()> {
    super::groups::ready(run, ["group"])?;
    for count in [1, 50, 51] {
        let request = grow(vec![topic(OFFSETS_TOPIC, count, None)], true);
        run.send(format!("the broker's own to {count}, only checked"), &request)?;
    }
    let (one, two) = (run.create("one", 1, &[])?, run.create("two", 2, &[])?);
    let none = run.name("none");
    let mixed = |count| {
        vec![topic(&one.name, count, None), topic(&none, 3, None), topic(&two.name, count, None)]
    };
    run.send("a good, an unknown, a bad one", &grow(mixed(2), false))?;
    run.send("the same again", &grow(mixed(2), false))?;
    run.send("two good, an unknown one", &grow(mixed(3), false))?;
    let twice = vec![topic(&one.name, 5, None), topic(&one.name, 6, None)];
    run.send("one twice", &grow(twice, false))?;
    let beside = vec![
        topic(&one.name, 5, None),
        topic(&two.name, 5, None),
        topic(&one.name, 5, None),
        topic(&none, 5, None),
        topic(&none, 5, None),
    ];
    run.send("one twice beside others", &grow(beside, false))?;
    run.settle()?;
    run.send("which are there", &metadata(&[&one.name, &two.name]))?;
    Ok(())
}
