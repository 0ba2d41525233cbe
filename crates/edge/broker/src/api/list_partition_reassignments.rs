//! ListPartitionReassignments (key 46, version 0): the moves under way (KIP-455). Every broker's own
//! image tells.

use crate::session::{Exchange, Session};
use jocko_metadata::{ClusterImage, Partition, Topic};
use jocko_net::Call;
use jocko_protocol::rpc::list_partition_reassignments_request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use jocko_protocol::rpc::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, PartitionIndex};

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = ListPartitionReassignmentsRequest::decode(&mut exchange.body, version)?;
    let published = session.context.published.load();
    let response = ListPartitionReassignmentsResponse {
        error_message: None,
        topics: under_way(&published.image, request.topics.as_deref()),
        ..Default::default()
    };
    Ok(exchange.answer().now(&response))
}

/// What moves: of the partitions that are asked about, or of all. Nobody's names are passed over.
fn under_way(
    image: &ClusterImage,
    asked: Option<&[ListPartitionReassignmentsTopics]>,
) -> Vec<OngoingTopicReassignment> {
    let all = |topic: &Topic| {
        let moving = topic.partitions.iter().filter(|(_, partition)| partition.is_reassigned());
        shown(topic, moving.map(|(index, partition)| (*index, &**partition)))
    };
    let some = |asked: &ListPartitionReassignmentsTopics| {
        let topic = image.topic(&asked.name)?;
        let named = asked.partition_indexes.iter().map(|index| PartitionIndex::new(*index));
        let found = named.filter_map(|index| Some((index, &**topic.partitions.get(&index)?)));
        Some(shown(topic, found.filter(|(_, partition)| partition.is_reassigned())))
    };
    let found: Vec<OngoingTopicReassignment> = match asked {
        None => image.topics().map(|topic| all(topic)).collect(),
        Some(asked) => asked.iter().filter_map(some).collect(),
    };
    found.into_iter().filter(|topic| !topic.partitions.is_empty()).collect()
}

fn shown<'a>(
    topic: &Topic,
    moving: impl Iterator<Item = (PartitionIndex, &'a Partition)>,
) -> OngoingTopicReassignment {
    let numbers = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.get()).collect();
    let partitions = moving.map(|(index, partition)| OngoingPartitionReassignment {
        partition_index: index.get(),
        replicas: numbers(&partition.replicas),
        adding_replicas: numbers(&partition.adding),
        removing_replicas: numbers(&partition.removing),
        ..Default::default()
    });
    OngoingTopicReassignment {
        name: topic.name.to_string(),
        partitions: partitions.collect(),
        ..Default::default()
    }
}
