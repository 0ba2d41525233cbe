//! ListOffsets (key 2): special timestamps, and the first record not older than a time.

use super::requests::list_offsets;
use crate::batches;
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::ListOffsetsRequest;
use jocko_protocol::rpc::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use jocko_records::Codec;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::ListOffsets, "special timestamps", special),
    Scenario::new(ApiKey::ListOffsets, "times", times),
    Scenario::new(ApiKey::ListOffsets, "epochs and isolation", epochs),
    Scenario::new(ApiKey::ListOffsets, "topics and partitions", places),
];

const SPECIAL: [i64; 10] = [-1, -2, -3, -4, -5, -6, -7, -100, i64::MIN, i64::MAX];

/// Batches of every codec whose records are 10 ms apart, the third batch older than the second.
fn fill(run: &mut Run<'_>, topic: &Topic, partition: i32) -> Result<()> {
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    for (codec, start) in codecs.into_iter().zip([0, 100, 50, 200, 300]) {
        let mut builder = jocko_records::BatchBuilder::new(jocko_records::Encoding::new(codec));
        for record in 0..4 {
            let time = jocko_types::Timestamp::from_millis(run.time() + start + record * 10);
            builder.push(time, None, Some(b"value"), &[]).expect("small");
        }
        run.append(topic, partition, &batches::bytes(&builder))?;
    }
    Ok(())
}

fn special(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 2, &[])?;
    fill(run, &topic, 1)?;
    for (partition, filled) in [(0, "an empty log"), (1, "a log with records")] {
        for timestamp in SPECIAL {
            let request = list_offsets(&topic.name, &[(partition, timestamp)]);
            run.send(format!("{timestamp} of {filled}"), &request)?;
        }
    }
    Ok(())
}

fn times(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    fill(run, &topic, 0)?;
    let offsets = (-10..=340).step_by(5).chain([1_000, -600_000]);
    for offset in offsets {
        let request = list_offsets(&topic.name, &[(0, run.time() + offset)]);
        run.send(format!("{offset} ms after the first"), &request)?;
    }
    run.send("0", &list_offsets(&topic.name, &[(0, 0)]))?;
    let stamped = run.create("stamped", 1, &[("message.timestamp.type", "LogAppendTime")])?;
    fill(run, &stamped, 0)?;
    run.send("0 of a log stamped by the broker", &list_offsets(&stamped.name, &[(0, 0)]))?;
    run.send("latest of a log stamped by the broker", &list_offsets(&stamped.name, &[(0, -1)]))?;
    Ok(())
}

fn epochs(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    fill(run, &topic, 0)?;
    for timestamp in [-1, -2, -3, run.time()] {
        let what = if timestamp < 0 { timestamp.to_string() } else { "a time".into() };
        if run.version() >= 2 {
            for isolation_level in [0, 1, 2, -1] {
                let request = ListOffsetsRequest {
                    isolation_level,
                    ..list_offsets(&topic.name, &[(0, timestamp)])
                };
                run.send(format!("{what}, isolation level {isolation_level}"), &request)?;
            }
        }
        if run.version() >= 4 {
            for epoch in [-1, 0, 1, 9, -2, i32::MAX] {
                let mut request = list_offsets(&topic.name, &[(0, timestamp)]);
                request.topics[0].partitions[0].current_leader_epoch = epoch;
                run.send(format!("{what}, current epoch {epoch}"), &request)?;
            }
        }
        for replica_id in [-2, 0, 9_999, -3] {
            let request =
                ListOffsetsRequest { replica_id, ..list_offsets(&topic.name, &[(0, timestamp)]) };
            run.send(format!("{what}, as replica {replica_id}"), &request)?;
        }
    }
    Ok(())
}

fn places(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 3, &[])?.name;
    let two = run.create("two", 1, &[])?.name;
    let none = run.name("none");
    let of = |name: &str, partitions: &[(i32, i64)]| list_offsets(name, partitions).topics;
    let cases = [
        ("no topic", vec![]),
        ("no partition", of(&one, &[])),
        ("an unknown topic", of(&none, &[(0, -1)])),
        ("an unknown partition", of(&one, &[(3, -1)])),
        ("a negative partition", of(&one, &[(-1, -1)])),
        ("three partitions", of(&one, &[(2, -1), (0, -2), (1, 0)])),
        ("a partition twice", of(&one, &[(0, -1), (0, -2)])),
        ("a partition twice and another once", of(&one, &[(0, -1), (1, -1), (0, -1)])),
        ("an unknown partition twice", of(&one, &[(8, -1), (8, -1)])),
        ("a topic twice", [of(&one, &[(0, -1)]), of(&one, &[(0, -1)])].concat()),
        ("a topic twice, other partitions", [of(&one, &[(0, -1)]), of(&one, &[(1, -2)])].concat()),
        ("two topics", [of(&two, &[(0, -1)]), of(&one, &[(0, -2)])].concat()),
        ("good and bad", [of(&none, &[(0, -1)]), of(&two, &[(0, -1), (1, -1)])].concat()),
        ("an empty name", of("", &[(0, -1)])),
        ("a bad name", of("a b", &[(0, -1)])),
    ];
    for (label, topics) in cases {
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        run.send(label, &request)?;
    }
    if run.version() >= 10 {
        for timeout_ms in [-1, 0, 1, i32::MAX] {
            let request = ListOffsetsRequest { timeout_ms, ..list_offsets(&one, &[(0, -1)]) };
            run.send(format!("a timeout of {timeout_ms} ms"), &request)?;
        }
    }
    let many: Vec<ListOffsetsPartition> = (0..50)
        .map(|index| ListOffsetsPartition {
            partition_index: index % 5,
            timestamp: i64::from(index % 3) - 2,
            ..Default::default()
        })
        .collect();
    let topics = vec![ListOffsetsTopic { name: one, partitions: many, ..Default::default() }];
    run.send("fifty", &ListOffsetsRequest { replica_id: -1, topics, ..Default::default() })?;
    Ok(())
}
