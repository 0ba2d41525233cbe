//! ConsumerGroupDescribe (key 69, versions 0-1): consumer groups with their members (KIP-848).

use super::consumer_group_heartbeat::speaks_consumer_protocol;
use crate::groups::Reading;
use crate::operations;
use crate::published::Published;
use crate::session::{Exchange, Session};
use jocko_group::{DescribedConsumerGroup, DescribedConsumerMember};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use jocko_protocol::rpc::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, PartitionIndex, TopicId};
use std::collections::BTreeMap;

/// A group, or why there is none to describe.
type Found = Result<DescribedConsumerGroup, Refusal>;
/// An error, with words where Kafka has some.
type Refusal = (ErrorCode, Option<String>);

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let request = ConsumerGroupDescribeRequest::decode(&mut exchange.body, exchange.version)?;
    let answer = exchange.answer();
    let operations = operations::shown(request.include_authorized_operations, operations::GROUP);
    if !speaks_consumer_protocol(&session.context) {
        let refusal = (ErrorCode::UnsupportedVersion, None);
        let groups = request.group_ids.into_iter().map(|group_id| refused(group_id, &refusal));
        let response =
            ConsumerGroupDescribeResponse { groups: groups.collect(), ..Default::default() };
        return Ok(answer.now(&response));
    }
    let published = session.context.published.load_full();
    let read: Vec<(String, Result<Reading<Found>, ErrorCode>)> = request
        .group_ids
        .into_iter()
        .map(|group_id| {
            let found = read(session, &group_id);
            (group_id, found)
        })
        .collect();
    Ok(Call::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(read.len());
        for (group_id, reading) in read {
            let found = match reading {
                Ok(reading) => reading.settled().await,
                Err(error) => Err(error),
            };
            let found = found.unwrap_or_else(|error| Err((error, None)));
            groups.push(shown(&published, group_id, found, operations));
        }
        let response = ConsumerGroupDescribeResponse { groups, ..Default::default() };
        Outcome::Reply(answer.encode(&response))
    })))
}

fn read(session: &Session, group_id: &str) -> Result<Reading<Found>, ErrorCode> {
    if group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let context = &session.context;
    let shard = context.groups.shard(context, group_id)?;
    shard.read(context, &session.reactor, |coordinator, cx| {
        coordinator
            .describe_consumer(group_id, cx.policy, cx.topics)
            .map_err(|message| (ErrorCode::GroupIdNotFound, Some(message)))
    })
}

fn shown(published: &Published, group_id: String, found: Found, operations: i32) -> DescribedGroup {
    let group = match found {
        Ok(group) => group,
        Err(refusal) => return refused(group_id, &refusal),
    };
    DescribedGroup {
        group_id,
        group_state: group.state.to_owned(),
        group_epoch: group.group_epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: group.assignor,
        members: group.members.into_iter().map(|each| member(published, each)).collect(),
        authorized_operations: operations,
        error_message: None,
        ..Default::default()
    }
}

fn refused(group_id: String, (error, message): &Refusal) -> DescribedGroup {
    DescribedGroup {
        error_code: error.code(),
        error_message: message.clone(),
        group_id,
        ..Default::default()
    }
}

fn member(published: &Published, member: DescribedConsumerMember) -> Member {
    Member {
        member_id: member.member_id,
        instance_id: member.instance_id,
        rack_id: member.rack_id,
        member_epoch: member.member_epoch,
        client_id: member.client_id,
        client_host: member.client_host,
        subscribed_topic_names: member.subscribed_topics,
        subscribed_topic_regex: member.subscribed_regex,
        assignment: assignment(published, member.assignment),
        target_assignment: assignment(published, member.target),
        member_type: member.member_type,
        ..Default::default()
    }
}

/// Topics with their names, where they still have one.
fn assignment(published: &Published, topics: BTreeMap<TopicId, Vec<PartitionIndex>>) -> Assignment {
    let topic_partitions = topics.into_iter().filter_map(|(topic_id, partitions)| {
        let topic = published.image.topic_by_id(topic_id)?;
        Some(TopicPartitions {
            topic_id,
            topic_name: topic.name.as_str().to_owned(),
            partitions: partitions.into_iter().map(PartitionIndex::get).collect(),
            ..Default::default()
        })
    });
    Assignment { topic_partitions: topic_partitions.collect(), ..Default::default() }
}
