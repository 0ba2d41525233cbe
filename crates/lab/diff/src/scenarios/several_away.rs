//! Three brokers of which the third was stopped.

use super::elect_leaders::elect;
use super::reassignments::moves;
use super::requests::{creatable, create, metadata, produce};
use crate::batches;
use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::describe_topic_partitions_request::TopicRequest;
use jocko_protocol::rpc::{DescribeClusterRequest, DescribeTopicPartitionsRequest, ProduceRequest};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::Produce, "too few in sync", too_few),
    Scenario::new(ApiKey::Metadata, "one is away", shown),
    Scenario::new(ApiKey::DescribeTopicPartitions, "one is away", described),
    Scenario::new(ApiKey::DescribeCluster, "one is away", cluster),
    Scenario::new(ApiKey::CreateTopics, "one is away", created),
    Scenario::new(ApiKey::ElectLeaders, "one is away", elected),
    Scenario::new(ApiKey::AlterPartitionReassignments, "one is away", moved),
];

/// The third replica of each is away.
const PLACES: &[&[i32]] = &[&[1, 2, 3], &[2, 3, 1]];

fn too_few(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", PLACES, &[("min.insync.replicas", "3")])?;
    let batch = batches::plain(run.time(), &["a"]);
    for (leader, partition) in [(1, 0), (2, 1)] {
        run.at(leader);
        for acks in [1, -1] {
            let request = ProduceRequest { acks, ..produce(&topic, partition, &batch) };
            run.send(format!("partition {partition}, acks {acks}"), &request)?;
        }
    }
    Ok(())
}

fn shown(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", &[&[1, 2], &[3, 2], &[2, 3]], &[])?;
    for id in [1, 2] {
        run.at(id);
        let asked = metadata(&[&topic.name]);
        let asked = if run.version() < 4 {
            jocko_protocol::rpc::MetadataRequest { topics: asked.topics, ..Default::default() }
        } else {
            asked
        };
        run.send(format!("at {id}"), &asked)?;
    }
    Ok(())
}

fn described(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", PLACES, &[("min.insync.replicas", "2")])?;
    let topics = vec![TopicRequest { name: topic.name, ..Default::default() }];
    let limit = 2_000;
    let request = DescribeTopicPartitionsRequest {
        topics,
        response_partition_limit: limit,
        ..Default::default()
    };
    run.send("a topic", &request).map(drop)
}

fn cluster(run: &mut Run<'_>) -> Result<()> {
    for include_fenced_brokers in [false, true] {
        if include_fenced_brokers && run.version() < 2 {
            continue;
        }
        let request = DescribeClusterRequest { include_fenced_brokers, ..Default::default() };
        run.send(format!("fenced {include_fenced_brokers}"), &request)?;
    }
    Ok(())
}

fn created(run: &mut Run<'_>) -> Result<()> {
    for copies in [1, 2, 3, 4] {
        let name = run.name(&format!("copies{copies}"));
        run.send(format!("{copies} copies"), &create(vec![creatable(&name, 1, copies)]))?;
    }
    let alone = jocko_protocol::rpc::create_topics_request::CreatableReplicaAssignment {
        broker_ids: vec![3],
        ..Default::default()
    };
    let topic = jocko_protocol::rpc::create_topics_request::CreatableTopic {
        assignments: vec![alone],
        ..creatable(&run.name("alone"), -1, -1)
    };
    run.send("only where nobody is", &create(vec![topic])).map(drop)
}

fn elected(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", &[&[3, 1], &[1, 3]], &[])?;
    let both: &[(&str, &[i32])] = &[(&topic.name, &[0, 1])];
    run.send("preferred", &elect(0, Some(both)))?;
    if run.version() >= 1 {
        run.send("unclean, but led", &elect(1, Some(both)))?;
    }
    Ok(())
}

fn moved(run: &mut Run<'_>) -> Result<()> {
    let topic = run.place("one", &[&[1]], &[])?;
    let name = topic.name.as_str();
    run.send("to who is away", &moves(&[(name, &[(0, Some(&[3]))])]))?;
    run.send("called off", &moves(&[(name, &[(0, None)])]))?;
    run.await_places("one", &[&[1]])?;
    run.send("called off again", &moves(&[(name, &[(0, None)])])).map(drop)
}
