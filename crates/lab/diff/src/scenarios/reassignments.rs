//! AlterPartitionReassignments (key 45) and ListPartitionReassignments (key 46): replicas that are to
//! move (KIP-455, KIP-860). With one broker none can, and every wish is refused or done at once.

use super::requests::{TIMEOUT_MS, bad_names};
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use jocko_protocol::rpc::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use jocko_protocol::rpc::{AlterPartitionReassignmentsRequest, ListPartitionReassignmentsRequest};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::AlterPartitionReassignments, "replicas", replicas),
    Scenario::new(ApiKey::ListPartitionReassignments, "nothing moves", nothing_moves),
];

/// The only broker.
const ONE: &[i32] = &[1];

/// A partition, and the replicas it shall have; `None` calls a move off.
pub(super) type Wanted<'w> = (i32, Option<&'w [i32]>);

pub(super) fn moves(topics: &[(&str, &[Wanted<'_>])]) -> AlterPartitionReassignmentsRequest {
    let partition = |(index, replicas): &Wanted<'_>| ReassignablePartition {
        partition_index: *index,
        replicas: replicas.map(<[i32]>::to_vec),
        ..Default::default()
    };
    let topic = |(name, partitions): &(&str, &[Wanted<'_>])| ReassignableTopic {
        name: (*name).to_owned(),
        partitions: partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    AlterPartitionReassignmentsRequest {
        timeout_ms: TIMEOUT_MS,
        topics: topics.iter().map(topic).collect(),
        ..Default::default()
    }
}

fn replicas(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 2, &[])?;
    let none = run.name("none");
    let one = one.name.as_str();
    run.send("no topic", &moves(&[]))?;
    run.send("no partition", &moves(&[(one, &[])]))?;
    run.send("where it is already", &moves(&[(one, &[(0, Some(ONE))])]))?;
    run.send("nothing to cancel", &moves(&[(one, &[(0, None), (1, None)])]))?;
    for (label, to) in [
        ("to nobody", &[][..]),
        ("to an unknown broker", &[99]),
        ("to an unknown broker too", &[1, 99]),
        ("to a negative broker", &[-1]),
        ("twice to the same", &[1, 1]),
    ] {
        run.send(label, &moves(&[(one, &[(0, Some(to))])]))?;
    }
    run.send("unknown partitions", &moves(&[(one, &[(2, Some(ONE)), (-1, None)])]))?;
    run.send("an unknown topic", &moves(&[(&none, &[(0, Some(ONE)), (1, None)])]))?;
    run.send("a good one among bad", &moves(&[(&none, &[(0, None)]), (one, &[(1, Some(ONE))])]))?;
    for (label, name) in bad_names() {
        run.send(label, &moves(&[(&name, &[(0, Some(ONE))])]))?;
    }
    if run.version() >= 1 {
        for (label, to) in [("the same number", ONE), ("another number", &[1, 99]), ("none", &[])] {
            let request = AlterPartitionReassignmentsRequest {
                allow_replication_factor_change: false,
                ..moves(&[(one, &[(0, Some(to))])])
            };
            run.send(format!("replicas stay as many: {label}"), &request)?;
        }
    }
    Ok(())
}

fn nothing_moves(run: &mut Run<'_>) -> Result<()> {
    let one = run.create("one", 2, &[])?;
    let none = run.name("none");
    let about = |topics: Option<&[(&str, &[i32])]>| {
        let topic = |(name, partitions): &(&str, &[i32])| ListPartitionReassignmentsTopics {
            name: (*name).to_owned(),
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        };
        ListPartitionReassignmentsRequest {
            timeout_ms: TIMEOUT_MS,
            topics: topics.map(|topics| topics.iter().map(topic).collect()),
            ..Default::default()
        }
    };
    run.send("all", &about(None))?;
    run.send("no topic", &about(Some(&[])))?;
    run.send("no partition", &about(Some(&[(&one.name, &[])])))?;
    run.send("its partitions", &about(Some(&[(&one.name, &[0, 1])])))?;
    run.send("unknown partitions", &about(Some(&[(&one.name, &[2, -1])])))?;
    run.send("an unknown topic", &about(Some(&[(&none, &[0])])))?;
    for (label, name) in bad_names() {
        run.send(label, &about(Some(&[(&name, &[0])])))?;
    }
    Ok(())
}
