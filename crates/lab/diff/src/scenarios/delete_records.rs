//! DeleteRecords (key 21): partitions that begin later (KIP-107).

use super::requests::{OFFSETS_TOPIC, TIMEOUT_MS, bad_names, fetch, fetch_from, list_offsets};
use crate::batches::{keyed, plain};
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::DeleteRecordsRequest;
use jocko_protocol::rpc::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::DeleteRecords, "offsets", offsets),
    Scenario::new(ApiKey::DeleteRecords, "partitions", partitions),
    Scenario::new(ApiKey::DeleteRecords, "policies", policies),
];

fn topic(name: &str, wishes: &[(i32, i64)]) -> DeleteRecordsTopic {
    let wish = |(partition_index, offset): &(i32, i64)| DeleteRecordsPartition {
        partition_index: *partition_index,
        offset: *offset,
        ..Default::default()
    };
    DeleteRecordsTopic {
        name: name.to_owned(),
        partitions: wishes.iter().map(wish).collect(),
        ..Default::default()
    }
}

fn delete(topics: Vec<DeleteRecordsTopic>) -> DeleteRecordsRequest {
    DeleteRecordsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() }
}

fn fill(run: &mut Run<'_>, topic: &Topic, partition: i32, batches: usize) -> Result<()> {
    for number in 0..batches {
        let batch = plain(run.time() + i64::try_from(number)?, &["a", "b", "c"]);
        run.append(topic, partition, &batch)?;
    }
    Ok(())
}

/// Where a partition begins and ends, and what is read around a place.
fn look(run: &mut Run<'_>, label: &str, topic: &Topic, partition: i32, at: i64) -> Result<()> {
    for (what, timestamp) in [("earliest", -2), ("latest", -1)] {
        let request = list_offsets(&topic.name, &[(partition, timestamp)]);
        run.send(format!("{label}: {what}"), &request)?;
    }
    for offset in [0, at - 1, at, at + 1] {
        let request = fetch(topic, vec![fetch_from(partition, offset.max(0))]);
        run.send(format!("{label}: read from {offset}"), &request)?;
    }
    Ok(())
}

fn offsets(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 1, &[])?;
    for offset in [-1, 0, 1] {
        let request = delete(vec![topic(&one.name, &[(0, offset)])]);
        run.send(format!("an empty one, before {offset}"), &request)?;
    }
    fill(run, &one, 0, 5)?;
    for offset in [i64::MIN, -3, -2, 0, 1, 4, 3, 6, 6, 5, 0, 16, i64::MAX, 14, 15, 15, -1, 16] {
        let request = delete(vec![topic(&one.name, &[(0, offset)])]);
        run.send(format!("before {offset}"), &request)?;
        look(run, &format!("after {offset}"), &one, 0, offset.clamp(0, 20))?;
    }
    fill(run, &one, 0, 2)?;
    look(run, "with more", &one, 0, 15)?;
    run.send("all of it", &delete(vec![topic(&one.name, &[(0, -1)])]))?;
    look(run, "after all", &one, 0, 21)?;
    Ok(())
}

fn partitions(run: &mut Run<'_>) -> Result<()> {
    let (one, two) = (run.create("one", 3, &[])?, run.create("two", 1, &[])?);
    for partition in 0..3 {
        fill(run, &one, partition, 2)?;
    }
    fill(run, &two, 0, 2)?;
    let none = run.name("none");
    run.send("no topic", &delete(vec![]))?;
    run.send("no partition", &delete(vec![topic(&one.name, &[])]))?;
    run.send("an unknown topic", &delete(vec![topic(&none, &[(0, 1), (1, -1)])]))?;
    for (label, name) in bad_names() {
        run.send(label, &delete(vec![topic(&name, &[(0, 1)])]))?;
    }
    run.send(
        "unknown partitions",
        &delete(vec![topic(&one.name, &[(3, 0), (-1, 0), (i32::MAX, 0), (0, 1)])]),
    )?;
    run.send(
        "several",
        &delete(vec![
            topic(&one.name, &[(0, 2), (1, -1), (2, 100)]),
            topic(&none, &[(0, 2)]),
            topic(&two.name, &[(0, 3)]),
        ]),
    )?;
    run.send("a partition twice", &delete(vec![topic(&one.name, &[(0, 3), (0, 4)])]))?;
    run.send(
        "a topic twice",
        &delete(vec![topic(&one.name, &[(0, 4)]), topic(&one.name, &[(1, 4), (2, 5)])]),
    )?;
    for partition in 0..3 {
        look(run, &format!("partition {partition}"), &one, partition, 4)?;
    }
    look(run, "the other topic", &two, 0, 3)?;
    let timeless =
        DeleteRecordsRequest { timeout_ms: 0, ..delete(vec![topic(&two.name, &[(0, 4)])]) };
    run.send("no time", &timeless)?;
    look(run, "after no time", &two, 0, 4)?;
    Ok(())
}

fn policies(run: &mut Run<'_>) -> Result<()> {
    super::groups::ready(run, ["group"])?;
    for offset in [0, 1, -1] {
        let request = delete(vec![topic(OFFSETS_TOPIC, &[(0, offset), (1, offset), (99, 0)])]);
        run.send(format!("the broker's own, before {offset}"), &request)?;
    }
    for policy in ["delete", "compact", "compact,delete", ""] {
        let base = format!("p{}", policy.len());
        let topic_of = run.create(&base, 1, &[("cleanup.policy", policy)])?;
        let batch = keyed(run.time(), "key", "value");
        run.append(&topic_of, 0, &batch)?;
        run.append(&topic_of, 0, &batch)?;
        for offset in [1, -1] {
            let request = delete(vec![topic(&topic_of.name, &[(0, offset)])]);
            run.send(format!("policy {policy:?}, before {offset}"), &request)?;
        }
        look(run, &format!("policy {policy:?}"), &topic_of, 0, 1)?;
    }
    Ok(())
}
