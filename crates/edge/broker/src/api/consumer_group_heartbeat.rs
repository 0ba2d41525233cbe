//! ConsumerGroupHeartbeat (key 68, versions 0-1): all that a member of a consumer group says and
//! hears (KIP-848).

use crate::context::Context;
use crate::groups::asking::{Worth, ask, client_host};
use crate::session::{Exchange, Session};
use jocko_group::{Answer, Command, ConsumerHeartbeat, ConsumerHeartbeatAnswer};
use jocko_metadata::GROUP_VERSION;
use jocko_net::Call;
use jocko_protocol::rpc::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use jocko_protocol::rpc::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, PartitionIndex};
use std::time::Duration;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = ConsumerGroupHeartbeatRequest::decode(&mut exchange.body, version)?;
    if !speaks_consumer_protocol(&session.context) {
        let refusal = ConsumerGroupHeartbeatResponse {
            error_message: None,
            ..refused(ErrorCode::UnsupportedVersion)
        };
        return Ok(exchange.answer().now(&refusal));
    }
    let group_id = request.group_id.clone();
    let heartbeat = ConsumerHeartbeat {
        group_id: request.group_id,
        member_id: request.member_id,
        member_epoch: request.member_epoch,
        instance_id: request.instance_id,
        rack_id: request.rack_id,
        // -1 is "as before".
        rebalance_timeout: u64::try_from(request.rebalance_timeout_ms)
            .ok()
            .map(Duration::from_millis),
        subscribed_topics: request.subscribed_topic_names,
        subscribed_regex: request.subscribed_topic_regex,
        server_assignor: request.server_assignor,
        owned: request.topic_partitions.map(|topics| {
            let each = topics.into_iter().map(|topic| {
                let partitions = topic.partitions.into_iter().map(PartitionIndex::new);
                (topic.topic_id, partitions.collect())
            });
            each.collect()
        }),
        client_id: exchange.client_id.to_owned(),
        client_host: client_host(&session.peer),
        member_id_from_client: version >= 1,
    };
    let respond = |given| match given {
        Ok(Answer::ConsumerHeartbeat(given)) => response(*given),
        Ok(_) => unreachable!("each command has its own kind of answer"),
        Err(error) => refused(error),
    };
    let command = Command::ConsumerHeartbeat(heartbeat);
    Ok(ask(session, exchange.answer(), &group_id, command, Worth::Always, respond))
}

/// Whether the cluster's feature `group.version` allows groups of this kind.
pub(super) fn speaks_consumer_protocol(context: &Context) -> bool {
    context.published.load().image.feature(GROUP_VERSION.name) >= GROUP_VERSION.max
}

fn response(given: ConsumerHeartbeatAnswer) -> ConsumerGroupHeartbeatResponse {
    let assignment = given.assignment.map(|topics| {
        let topic_partitions = topics.into_iter().map(|(topic_id, partitions)| TopicPartitions {
            topic_id,
            partitions: partitions.into_iter().map(PartitionIndex::get).collect(),
            ..Default::default()
        });
        Assignment { topic_partitions: topic_partitions.collect(), ..Default::default() }
    });
    ConsumerGroupHeartbeatResponse {
        error_code: given.error.code(),
        error_message: given.message,
        member_id: given.member_id,
        member_epoch: given.member_epoch,
        heartbeat_interval_ms: i32::try_from(given.heartbeat_interval.as_millis())
            .unwrap_or(i32::MAX),
        assignment,
        ..Default::default()
    }
}

fn refused(error: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: error.code(),
        error_message: Some(error.name().to_owned()),
        member_id: None,
        assignment: None,
        ..Default::default()
    }
}
