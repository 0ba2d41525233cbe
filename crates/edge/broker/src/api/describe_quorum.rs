//! DescribeQuorum (key 55, versions 0-2): how the Raft group that keeps the metadata stands (KIP-595,
//! KIP-836, KIP-853). Its log has the name Kafka gives it, and is no topic that clients can read.

use crate::cluster::addresses::PEERS;
use crate::context::Context;
use crate::quorum::{self, MemberProgress, QuorumAnswer, QuorumCall, QuorumView};
use crate::session::{Exchange, Session};
use jocko_metadata::ClusterImage;
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::describe_quorum_request::{
    DescribeQuorumRequest, TopicData as AskedTopic,
};
use jocko_protocol::rpc::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode, Uuid};
use std::sync::Arc;

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
    let answer = exchange.answer();
    if !is_about_metadata(&request.topics) {
        return Ok(answer.now(&unknown(version, request.topics)));
    }
    let context = Arc::clone(&session.context);
    if context.raft.status().is_serving {
        let view = quorum::here(&context.cluster);
        return Ok(answer.now(&describe(&context, &view, version)));
    }
    Ok(Call::Later(Box::pin(async move {
        // Only the leader knows how far the others are. Without one, what is known here has to do.
        let view = match quorum::ask(&context.cluster, QuorumCall::Describe).await {
            Ok(QuorumAnswer::Described(view)) => view,
            _ => quorum::here(&context.cluster),
        };
        Outcome::Reply(answer.encode(&describe(&context, &view, version)))
    })))
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

fn describe(context: &Context, view: &QuorumView, version: i16) -> DescribeQuorumResponse {
    let published = context.published.load();
    let image = &published.image;
    let now = context.clock.wall().as_millis();
    let last = view.members.values().filter_map(|member| member.index).max();
    let state = |(node, member): (&Uuid, &MemberProgress)| {
        let heard = member
            .silent_ms
            .map(|silent| now.saturating_sub(i64::try_from(silent).unwrap_or(i64::MAX)));
        let caught_up = heard.filter(|_| member.has_caught_up(last));
        ReplicaState {
            replica_id: broker_of(image, *node),
            replica_directory_id: if version >= 2 { *node } else { Uuid::ZERO },
            log_end_offset: member.index.map_or(NONE.into(), |index| end(Some(index))),
            last_fetch_timestamp: heard.unwrap_or(NONE.into()),
            last_caught_up_timestamp: caught_up.unwrap_or(NONE.into()),
            ..Default::default()
        }
    };
    let members = |votes: bool| view.members.iter().filter(move |(_, it)| it.votes == votes);
    let partition = PartitionData {
        leader_id: view.leader.map_or(NONE, |leader| broker_of(image, leader)),
        leader_epoch: i32::try_from(view.term).unwrap_or(i32::MAX),
        high_watermark: end(view.commit_index),
        current_voters: members(true).map(state).collect(),
        observers: members(false).map(state).collect(),
        ..Default::default()
    };
    let topic = TopicData {
        topic_name: METADATA_TOPIC.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let nodes = if version >= 2 { nodes(image, view) } else { Vec::new() };
    DescribeQuorumResponse { topics: vec![topic], nodes, ..Default::default() }
}

/// The offset after an index, as Kafka counts the end of a log.
fn end(index: Option<u64>) -> i64 {
    index.map_or(0, |index| i64::try_from(index.saturating_add(1)).unwrap_or(i64::MAX))
}

/// The number of the broker that lives on a directory.
fn broker_of(image: &ClusterImage, node: Uuid) -> i32 {
    quorum::broker_on(image, node).map_or(NONE, BrokerId::get)
}

/// Where the voters are reached by each other; by clients, where a lone one has no such port.
fn nodes(image: &ClusterImage, view: &QuorumView) -> Vec<Node> {
    let node = |(node, _): (&Uuid, &MemberProgress)| {
        let broker = image.brokers().find(|broker| broker.registration.directory == *node)?;
        let endpoint = broker.endpoint(PEERS).or(broker.registration.endpoints.first());
        let listeners = endpoint.into_iter().map(|endpoint| Listener {
            name: endpoint.listener.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            ..Default::default()
        });
        let listeners = listeners.collect();
        Some(Node { node_id: broker.id().get(), listeners, ..Default::default() })
    };
    view.members.iter().filter(|(_, member)| member.votes).filter_map(node).collect()
}
