//! DescribeProducers (key 61, version 0): the idempotent and transactional producers that partitions
//! remember (KIP-664).

use crate::published::Published;
use crate::session::{Exchange, Session};
use jocko_net::{Call, Outcome};
use jocko_partition::ProducerState as Remembered;
use jocko_protocol::rpc::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use jocko_protocol::rpc::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, Offset, Sequence, TopicName};
use std::sync::Arc;

/// "None" for a sequence or an offset.
const NONE: i32 = -1;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = DescribeProducersRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let context = Arc::clone(&session.context);
    // A partition that nobody has used yet is opened for it.
    let work = session.reactor.run_blocking(move || {
        let published = context.published.load_full();
        let topics = request.topics.into_iter().map(|topic| describe_topic(&published, topic));
        topics.collect()
    });
    Ok(Call::Later(Box::pin(async move {
        let Some(topics) = work.await else {
            return Outcome::Close("producers cannot be described: the broker is busy".into());
        };
        Outcome::Reply(answer.encode(&DescribeProducersResponse { topics, ..Default::default() }))
    })))
}

fn describe_topic(published: &Published, topic: TopicRequest) -> TopicResponse {
    let is_known = published.image.topic(&topic.name).is_some();
    let describe = |partition_index: i32| {
        let found = if TopicName::new(&topic.name).is_err() {
            Err(ErrorCode::InvalidTopicException)
        } else {
            let hosted = published.by_name(&topic.name, partition_index);
            hosted.and_then(|hosted| hosted.partition.producers())
        };
        match found {
            Ok(producers) => PartitionResponse {
                partition_index,
                active_producers: producers.into_iter().map(shown).collect(),
                ..Default::default()
            },
            Err(error) => PartitionResponse {
                partition_index,
                error_code: error.code(),
                // Of a partition of a known topic Kafka lets the code speak.
                error_message: (!is_known).then(|| error.to_string()),
                ..Default::default()
            },
        }
    };
    let partitions = topic.partition_indexes.iter().map(|index| describe(*index)).collect();
    TopicResponse { name: topic.name, partitions, ..Default::default() }
}

fn shown(producer: Remembered) -> ProducerState {
    ProducerState {
        producer_id: producer.id.get(),
        producer_epoch: producer.epoch.get().into(),
        last_sequence: producer.last_sequence.map_or(NONE, Sequence::get),
        last_timestamp: producer.last_timestamp.as_millis(),
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.transaction_start.map_or(NONE.into(), Offset::get),
        ..Default::default()
    }
}
