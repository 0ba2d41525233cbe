//! The cluster as its clients see it: who is there, who leads what, who is in sync, who controls.

use crate::workload::{Rover, pause};
use anyhow::{Context, Result};
use jocko_client::NewTopic;
use jocko_protocol::rpc::DescribeQuorumRequest;
use jocko_protocol::rpc::describe_quorum_request::{PartitionData, TopicData};
use jocko_testkit::Cluster;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long somebody may need to answer what all brokers know.
const SETTLE_MAX: Duration = Duration::from_secs(15);

/// More than so many brokers do not vote.
const VOTERS_MAX: usize = 5;

/// The state of one partition; brokers by their place in the [`Cluster`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) leader: Option<usize>,
    pub(crate) leader_epoch: i32,
    pub(crate) in_sync: Vec<usize>,
    pub(crate) replicas: Vec<usize>,
}

/// Brokers that could be asked now.
pub(crate) fn rover(cluster: &Cluster) -> Result<Rover> {
    let up = (0..cluster.len()).filter(|node| cluster.answers(*node));
    let mut bootstrap: Vec<String> = up.map(|node| cluster.address(node)).collect();
    // Not the run's own chance: how often somebody is asked is nobody's choice.
    fastrand::shuffle(&mut bootstrap);
    Rover::new(&bootstrap, 0)
}

/// The places of the brokers that metadata lists, by their ids.
fn places(
    cluster: &Cluster,
    metadata: &jocko_protocol::rpc::MetadataResponse,
) -> BTreeMap<i32, usize> {
    let places = metadata
        .brokers
        .iter()
        .filter_map(|broker| Some((broker.node_id, cluster.node_at(&broker.host, broker.port)?)));
    places.collect()
}

/// Asks again while nobody answers: right after a start some are not there yet.
pub(crate) fn settled<T>(mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(_) if begun.elapsed() < SETTLE_MAX => pause(Duration::from_millis(20)),
            answer => return answer,
        }
    }
}

/// How many brokers any of them lists.
pub(crate) fn members(cluster: &Cluster) -> Result<usize> {
    let metadata = rover(cluster)?.with(async |client| client.metadata(Some(&[]), false).await)?;
    Ok(places(cluster, &metadata).len())
}

/// The id of the broker at a place, if any of them lists it.
pub(crate) fn id(cluster: &Cluster, node: usize) -> Result<Option<i32>> {
    let metadata = rover(cluster)?.with(async |client| client.metadata(Some(&[]), false).await)?;
    let found = places(cluster, &metadata).into_iter().find(|(_, place)| *place == node);
    Ok(found.map(|(id, _)| id))
}

/// The ids of the brokers, by their places, as any of them lists them.
pub(crate) fn ids(cluster: &Cluster) -> Result<BTreeMap<usize, i32>> {
    let metadata = rover(cluster)?.with(async |client| client.metadata(Some(&[]), false).await)?;
    Ok(places(cluster, &metadata).into_iter().map(|(id, place)| (place, id)).collect())
}

/// The partitions of a topic, as some broker sees them now.
pub(crate) fn partitions(cluster: &Cluster, topic: &str) -> Result<Vec<Seen>> {
    partitions_through(cluster, &mut rover(cluster)?, topic)
}

/// The partitions of a topic, as each broker sees them now. One that was cut off tells for a while
/// what was true before.
pub(crate) fn partitions_of_each(cluster: &Cluster, topic: &str) -> Result<Vec<Vec<Seen>>> {
    let ask = |node| {
        let mut only = Rover::new(&[cluster.address(node)], 0)?;
        partitions_through(cluster, &mut only, topic)
    };
    (0..cluster.len()).map(ask).collect()
}

fn partitions_through(cluster: &Cluster, rover: &mut Rover, topic: &str) -> Result<Vec<Seen>> {
    let metadata = rover.with(async |client| client.metadata(Some(&[topic]), false).await)?;
    let places = places(cluster, &metadata);
    let found = metadata.topics.first().context("a topic")?;
    let mut partitions: Vec<_> = found.partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.partition_index);
    let place = |id: &i32| places.get(id).copied();
    let seen = partitions.into_iter().map(|partition| Seen {
        leader: place(&partition.leader_id),
        leader_epoch: partition.leader_epoch,
        in_sync: partition.isr_nodes.iter().filter_map(place).collect(),
        replicas: partition.replica_nodes.iter().filter_map(place).collect(),
    });
    Ok(seen.collect())
}

/// The metadata's quorum: the ids of its leader and its voters (-1: a node that is no broker).
fn quorum(rover: &mut Rover) -> Result<Option<(i32, Vec<i32>)>> {
    let request = DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: "__cluster_metadata".to_owned(),
            partitions: vec![PartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let found = rover.with(async |client| {
        let answer = client.ask(&request).await?;
        let response = answer.get()?;
        let partition = response.topics.first().and_then(|topic| topic.partitions.first());
        Ok(partition.map(|partition| {
            let voters = partition.current_voters.iter().map(|voter| voter.replica_id);
            (partition.leader_id, voters.collect())
        }))
    })?;
    Ok(found)
}

/// The broker that leads the metadata's quorum.
pub(crate) fn controller(cluster: &Cluster) -> Result<Option<usize>> {
    let mut rover = rover(cluster)?;
    let metadata = rover.with(async |client| client.metadata(Some(&[]), false).await)?;
    let found = quorum(&mut rover)?;
    Ok(found.and_then(|(leader, _)| places(cluster, &metadata).get(&leader).copied()))
}

/// Whether as many brokers vote as can, and nobody else does: none that was wiped and is no more.
pub(crate) fn all_vote(cluster: &Cluster) -> Result<bool> {
    let mut rover = rover(cluster)?;
    let metadata = rover.with(async |client| client.metadata(Some(&[]), false).await)?;
    let known = places(cluster, &metadata);
    let Some((_, voters)) = quorum(&mut rover)? else { return Ok(false) };
    let most = cluster.len().min(VOTERS_MAX);
    let wanted = most - usize::from(most.is_multiple_of(2));
    Ok(voters.len() >= wanted && voters.iter().all(|id| known.contains_key(id)))
}

/// Creates the topic of a round; `false` if it must be tried again.
pub(crate) fn create(
    cluster: &Cluster,
    (name, partitions, replicas): (&str, u32, usize),
    settings: &[(&str, &str)],
) -> Result<bool> {
    let mut configs: Vec<(String, String)> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    if replicas >= 3 {
        configs.push(("min.insync.replicas".to_owned(), "2".to_owned()));
    }
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(i32::try_from(partitions)?),
        replication: Some(i16::try_from(replicas)?),
        configs,
        ..Default::default()
    };
    let created = rover(cluster)?.with(async |client| client.create_topic(&topic).await);
    match created {
        Ok(_) => Ok(true),
        Err(jocko_client::ClientError::Refused {
            code: jocko_types::ErrorCode::TopicAlreadyExists,
            ..
        }) => Ok(true),
        Err(error) if error.is_retriable() => Ok(false),
        Err(error) => Err(error).with_context(|| format!("creating {name}")),
    }
}
