//! OffsetForLeaderEpoch (key 23): where an epoch ended (KIP-101, KIP-279, KIP-320).

use crate::batches;
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::OffsetForLeaderEpochRequest;
use jocko_protocol::rpc::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::OffsetForLeaderEpoch, "epochs", epochs),
    Scenario::new(ApiKey::OffsetForLeaderEpoch, "topics and partitions", places),
];

fn of(topic: &str, partitions: &[(i32, i32, i32)]) -> OffsetForLeaderTopic {
    let partitions =
        partitions.iter().map(|(partition, current, asked)| OffsetForLeaderPartition {
            partition: *partition,
            current_leader_epoch: *current,
            leader_epoch: *asked,
            ..Default::default()
        });
    OffsetForLeaderTopic {
        topic: topic.to_owned(),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn ask(run: &Run<'_>, topics: Vec<OffsetForLeaderTopic>) -> OffsetForLeaderEpochRequest {
    // Before version 3 the asker does not say whether it is a replica.
    let replica_id = if run.version() >= 3 { -1 } else { -2 };
    OffsetForLeaderEpochRequest { replica_id, topics, ..Default::default() }
}

fn epochs(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    for filled in ["an empty log", "three records"] {
        if filled != "an empty log" {
            run.append(&topic, 0, &batches::plain(run.time(), &["a", "b", "c"]))?;
        }
        for current in [-1, 0, 1, 5, -2, i32::MAX] {
            for asked in [-1, 0, 1, 7, -2, i32::MAX] {
                let request = ask(run, vec![of(&topic.name, &[(0, current, asked)])]);
                let label = format!("{filled}, current epoch {current}, asked for {asked}");
                run.send(label, &request)?;
            }
        }
    }
    if run.version() >= 3 {
        for replica_id in [-2, -3, 0, run.broker_id(), 99] {
            let topics = vec![of(&topic.name, &[(0, -1, 0)])];
            let request = OffsetForLeaderEpochRequest { replica_id, topics, ..Default::default() };
            // The broker's own id has a number of its own at each broker.
            let who = if replica_id == run.broker_id() {
                "itself".into()
            } else {
                replica_id.to_string()
            };
            run.send(format!("asked as replica {who}"), &request)?;
        }
    }
    Ok(())
}

fn places(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 2, &[])?.name;
    let none = run.name("none");
    let cases = [
        ("no topic", vec![]),
        ("no partition", vec![of(&one, &[])]),
        ("an unknown topic", vec![of(&none, &[(0, -1, 0)])]),
        ("an unknown partition", vec![of(&one, &[(2, -1, 0)])]),
        ("a negative partition", vec![of(&one, &[(-1, -1, 0)])]),
        ("two partitions", vec![of(&one, &[(1, -1, 0), (0, 0, 0)])]),
        ("good and bad", vec![of(&one, &[(0, -1, 0), (9, -1, 0)]), of(&none, &[(0, 0, 0)])]),
        ("an empty name", vec![of("", &[(0, -1, 0)])]),
        ("a bad name", vec![of("a b", &[(0, -1, 0)])]),
    ];
    for (label, topics) in cases {
        let request = ask(run, topics);
        run.send(label, &request)?;
    }
    Ok(())
}
