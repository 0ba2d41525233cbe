//! DescribeQuorum (key 55, versions 0-2): how the Raft group that keeps the metadata stands (KIP-595,
//! KIP-836, KIP-853). Its log has the name Kafka gives it, and is no topic that clients can read.

use crate::context::Context;
use crate::session::{Exchange, Session};
use jocko_consensus::{NodeId, RaftStatus};
use jocko_metadata::ClusterImage;
use jocko_net::Call;
use jocko_protocol::rpc::describe_quorum_request::{
    DescribeQuorumRequest, TopicData as AskedTopic,
};
use jocko_protocol::rpc::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;

/// The metadata log's name.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// "Nobody", and what is not known.
const NONE: i32 = -1;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = DescribeQuorumRequest::decode(&mut exchange.body, version)?;
    let context = &session.context;
    let response = if is_about_metadata(&request.topics) {
        describe(context, version)
    } else {
        unknown(version, request.topics)
    };
    Ok(exchange.answer().now(&response))
}

/// Kafka answers about one log only, asked for alone.
fn is_about_metadata(topics: &[AskedTopic]) -> bool {
    matches!(topics, [topic] if topic.topic_name == METADATA_TOPIC
        && matches!(topic.partitions.as_slice(), [partition] if partition.partition_index == 0))
}

fn unknown(version: i16, topics: Vec<AskedTopic>) -> DescribeQuorumResponse {
    let error = ErrorCode::UnknownTopicOrPartition;
    let topics = topics.into_iter().map(|topic| TopicData {
        topic_name: topic.topic_name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| PartitionData {
                partition_index: partition.partition_index,
                error_code: error.code(),
                error_message: (version >= 2).then(|| error.to_string()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    DescribeQuorumResponse { topics: topics.collect(), ..Default::default() }
}

fn describe(context: &Context, version: i16) -> DescribeQuorumResponse {
    let status = context.raft.status();
    let published = context.published.load();
    let image = &published.image;
    let now = context.clock.wall().as_millis();
    let leader = status.leader.as_ref().map(|(id, _)| *id);
    let state = |id: NodeId| {
        // Only the leader knows how far the others are; alone, there are none.
        let is_leader = leader == Some(id);
        let known = |value: i64| if is_leader { value } else { NONE.into() };
        ReplicaState {
            replica_id: broker_of(image, id),
            replica_directory_id: if version >= 2 {
                id.directory_id()
            } else {
                jocko_types::Uuid::ZERO
            },
            log_end_offset: known(end(status.last_index)),
            last_fetch_timestamp: known(now),
            last_caught_up_timestamp: known(now),
            ..Default::default()
        }
    };
    let partition = PartitionData {
        leader_id: leader.map_or(NONE, |id| broker_of(image, id)),
        leader_epoch: i32::try_from(status.term).unwrap_or(i32::MAX),
        high_watermark: end(status.commit_index),
        current_voters: status.voters.keys().map(|id| state(*id)).collect(),
        observers: status.learners.keys().map(|id| state(*id)).collect(),
        ..Default::default()
    };
    let topic = TopicData {
        topic_name: METADATA_TOPIC.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let nodes = if version >= 2 { nodes(image, &status) } else { Vec::new() };
    DescribeQuorumResponse { topics: vec![topic], nodes, ..Default::default() }
}

/// The offset after an index, as Kafka counts the end of a log.
fn end(index: Option<u64>) -> i64 {
    index.map_or(0, |index| i64::try_from(index.saturating_add(1)).unwrap_or(i64::MAX))
}

/// The number of the broker that lives on a directory.
fn broker_of(image: &ClusterImage, id: NodeId) -> i32 {
    let on_it = |broker: &&std::sync::Arc<jocko_metadata::Broker>| {
        broker.registration.directory == id.directory_id()
    };
    image.brokers().find(on_it).map_or(NONE, |broker| broker.id().get())
}

/// Where the voters are reached.
fn nodes(image: &ClusterImage, status: &RaftStatus) -> Vec<Node> {
    let node = |id: &NodeId| {
        let node_id = broker_of(image, *id);
        let broker = image.brokers().find(|broker| broker.id().get() == node_id)?;
        let listeners = broker.registration.endpoints.iter().map(|endpoint| Listener {
            name: endpoint.listener.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            ..Default::default()
        });
        Some(Node { node_id, listeners: listeners.collect(), ..Default::default() })
    };
    status.voters.keys().filter_map(node).collect()
}
