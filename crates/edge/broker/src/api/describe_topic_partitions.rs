//! DescribeTopicPartitions (key 75, version 0): Metadata in pages (KIP-966).

use crate::internal;
use crate::operations;
use crate::published::Published;
use crate::session::{Exchange, Session};
use jocko_metadata::{PartitionState, Topic};
use jocko_net::Call;
use jocko_protocol::rpc::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use jocko_protocol::rpc::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode, PartitionIndex, TopicId, TopicName};
use std::collections::BTreeSet;

/// Partitions in one answer at most, whatever the client asks for
/// (`max.request.partition.size.limit`).
const PARTITIONS_MAX: i32 = 2_000;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = DescribeTopicPartitionsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    if let Some(cursor) = &request.cursor
        && (cursor.partition_index < 0 || !is_among(&request, &cursor.topic_name))
    {
        return Ok(answer.now(&refuse(&request)));
    }
    let published = session.context.published.load();
    let from = request.cursor.as_ref().map_or("", |cursor| cursor.topic_name.as_str());
    let limit = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    let mut page = Page {
        left: usize::try_from(limit).unwrap_or(1),
        disowned: session.context.disowned(),
        response: DescribeTopicPartitionsResponse::default(),
    };
    let first_partition = |name: &str| match &request.cursor {
        Some(cursor) if cursor.topic_name == name => cursor.partition_index.max(0),
        _ => 0,
    };
    if request.topics.is_empty() {
        for topic in published.image.topics_from(from) {
            if !page.add(&published, topic, first_partition(topic.name.as_str())) {
                break;
            }
        }
    } else {
        let names: BTreeSet<&str> =
            request.topics.iter().map(|topic| topic.name.as_str()).collect();
        for name in names.into_iter().skip_while(|name| *name < from) {
            let going_on = match published.image.topic(name) {
                Some(topic) => page.add(&published, topic, first_partition(name)),
                None if page.left == 0 => {
                    page.turn(name, 0);
                    false
                }
                None => {
                    page.response.topics.push(unknown(name));
                    true
                }
            };
            if !going_on {
                break;
            }
        }
    }
    Ok(answer.now(&page.response))
}

/// Whether a cursor may point there: at any topic if all are asked for.
fn is_among(request: &DescribeTopicPartitionsRequest, name: &str) -> bool {
    request.topics.is_empty() || request.topics.iter().any(|topic| topic.name == name)
}

/// The answer to a cursor that points at nothing the request asks for.
fn refuse(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.clone()),
        ..Default::default()
    });
    DescribeTopicPartitionsResponse { topics: topics.collect(), ..Default::default() }
}

/// An answer being filled.
struct Page {
    left: usize,
    /// Who is not to be called a leader.
    disowned: Option<BrokerId>,
    response: DescribeTopicPartitionsResponse,
}

impl Page {
    /// Adds a topic's partitions from `first` on. `false` when the page is full: the cursor then
    /// says where the next one begins.
    fn add(&mut self, published: &Published, topic: &Topic, first: i32) -> bool {
        let name = topic.name.as_str();
        if self.left == 0 {
            self.turn(name, first);
            return false;
        }
        let mut partitions = Vec::new();
        let mut rest = topic.partitions.range(PartitionIndex::new(first)..);
        for (index, state) in rest.by_ref().take(self.left) {
            partitions.push(partition(published, *index, state, self.disowned));
        }
        self.left -= partitions.len();
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.to_owned()),
            topic_id: topic.id,
            is_internal: internal::is_internal(&topic.name),
            partitions,
            topic_authorized_operations: operations::TOPIC,
            ..Default::default()
        });
        match rest.next() {
            Some((index, _)) => {
                self.turn(name, index.get());
                false
            }
            None => true,
        }
    }

    fn turn(&mut self, topic: &str, partition: i32) {
        self.response.next_cursor = Some(Cursor {
            topic_name: topic.to_owned(),
            partition_index: partition,
            ..Default::default()
        });
    }
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let error = match TopicName::new(name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name.to_owned()),
        topic_id: TopicId::ZERO,
        topic_authorized_operations: operations::TOPIC,
        ..Default::default()
    }
}

fn partition(
    published: &Published,
    index: PartitionIndex,
    state: &PartitionState,
    disowned: Option<BrokerId>,
) -> DescribeTopicPartitionsResponsePartition {
    let numbers = |brokers: &[BrokerId]| brokers.iter().map(|id| id.get()).collect::<Vec<i32>>();
    let offline = state.replicas.iter().filter(|id| !published.image.is_live(**id));
    let leader = state.leader.filter(|leader| Some(*leader) != disowned);
    DescribeTopicPartitionsResponsePartition {
        error_code: match leader {
            Some(_) => ErrorCode::None.code(),
            None => ErrorCode::LeaderNotAvailable.code(),
        },
        partition_index: index.get(),
        leader_id: leader.map_or(-1, BrokerId::get),
        leader_epoch: state.leader_epoch.get(),
        replica_nodes: numbers(&state.replicas),
        isr_nodes: numbers(&state.isr),
        // Lists even where they are empty: the Java tool dies of a null one.
        eligible_leader_replicas: Some(numbers(&state.elr)),
        last_known_elr: Some(Vec::new()),
        offline_replicas: offline.map(|id| id.get()).collect(),
        ..Default::default()
    }
}
