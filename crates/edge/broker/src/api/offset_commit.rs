//! OffsetCommit (key 8, versions 2-10): a group remembers how far it has read.

use crate::groups::asking::{Worth, ask};
use crate::published::Published;
use crate::session::{Exchange, Session};
use jocko_group::{Answer, Command, CommitOffsets, OffsetToCommit};
use jocko_net::Call;
use jocko_protocol::rpc::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use jocko_protocol::rpc::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};
use std::time::Duration;

/// The first version that names topics by id (KIP-848).
const TOPIC_IDS: i16 = 10;
/// The first version that knows member epochs.
const MEMBER_EPOCHS: i16 = 9;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = OffsetCommitRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let published = session.context.published.load();
    let mut offsets = Vec::new();
    let topics: Vec<OffsetCommitResponseTopic> = request
        .topics
        .into_iter()
        // A topic without partitions is not answered, as in Kafka.
        .filter(|topic| !topic.partitions.is_empty())
        .map(|topic| sort_out(&published, topic, version, &mut offsets))
        .collect();
    let response = OffsetCommitResponse { topics, ..Default::default() };
    if offsets.is_empty() {
        return Ok(answer.now(&response));
    }
    let group_id = request.group_id.clone();
    let command = Command::CommitOffsets(CommitOffsets {
        group_id: request.group_id,
        generation_or_member_epoch: request.generation_id_or_member_epoch,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        retention: u64::try_from(request.retention_time_ms).ok().map(Duration::from_millis),
        knows_member_epochs: version >= MEMBER_EPOCHS,
        offsets,
    });
    let respond = move |given| match given {
        Ok(Answer::Committed(given)) => fill_in(response, given),
        Ok(_) => unreachable!("each command has its own kind of answer"),
        Err(error) => fill_in(response, Err(error)),
    };
    Ok(ask(session, answer, &group_id, command, Worth::Always, respond))
}

/// What can be committed goes to `offsets`; what cannot is answered in the topic's response.
fn sort_out(
    published: &Published,
    topic: OffsetCommitRequestTopic,
    version: i16,
    offsets: &mut Vec<OffsetToCommit>,
) -> OffsetCommitResponseTopic {
    let by_id = version >= TOPIC_IDS;
    let known = if by_id {
        published.image.topic_by_id(topic.topic_id)
    } else {
        published.image.topic(&topic.name)
    };
    let unknown =
        if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let name = known.map_or_else(|| topic.name.clone(), |known| known.name.as_str().to_owned());
    let partitions = topic.partitions.into_iter().map(|asked| {
        let index = PartitionIndex::new(asked.partition_index);
        let error = match known {
            None => unknown,
            Some(known) if !known.partitions.contains_key(&index) => {
                ErrorCode::UnknownTopicOrPartition
            }
            Some(known) => {
                offsets.push(to_commit(&name, known.id, asked));
                ErrorCode::None
            }
        };
        OffsetCommitResponsePartition {
            partition_index: index.get(),
            error_code: error.code(),
            ..Default::default()
        }
    });
    OffsetCommitResponseTopic {
        partitions: partitions.collect(),
        name: topic.name,
        topic_id: topic.topic_id,
        ..Default::default()
    }
}

fn to_commit(
    topic: &str,
    topic_id: TopicId,
    asked: OffsetCommitRequestPartition,
) -> OffsetToCommit {
    OffsetToCommit {
        topic: topic.to_owned(),
        topic_id,
        partition: PartitionIndex::new(asked.partition_index),
        offset: Offset::new(asked.committed_offset),
        leader_epoch: LeaderEpoch::new(asked.committed_leader_epoch),
        metadata: asked.committed_metadata.unwrap_or_default(),
    }
}

/// Puts the coordinator's answers into the places that were left for them.
fn fill_in(
    mut response: OffsetCommitResponse,
    given: Result<Vec<ErrorCode>, ErrorCode>,
) -> OffsetCommitResponse {
    let mut each = given.as_ref().map(|errors| errors.iter());
    let places = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for place in places.filter(|place| place.error_code == ErrorCode::None.code()) {
        let error = match &mut each {
            Ok(errors) => errors.next().copied().unwrap_or(ErrorCode::UnknownServerError),
            Err(error) => **error,
        };
        place.error_code = error.code();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response of one topic whose partitions have these codes so far.
    fn response(codes: &[ErrorCode]) -> OffsetCommitResponse {
        let partitions =
            codes.iter().enumerate().map(|(index, code)| OffsetCommitResponsePartition {
                partition_index: i32::try_from(index).unwrap(),
                error_code: code.code(),
                ..Default::default()
            });
        let topic =
            OffsetCommitResponseTopic { partitions: partitions.collect(), ..Default::default() };
        OffsetCommitResponse { topics: vec![topic], ..Default::default() }
    }

    #[test]
    fn what_the_coordinator_says_goes_where_it_was_asked() {
        const UNKNOWN: ErrorCode = ErrorCode::UnknownTopicOrPartition;
        const NONE: ErrorCode = ErrorCode::None;
        const LONG: ErrorCode = ErrorCode::OffsetMetadataTooLarge;
        const FENCED: ErrorCode = ErrorCode::FencedInstanceId;
        for (before, given, expected) in [
            (vec![NONE, UNKNOWN, NONE], Ok(vec![LONG, NONE]), vec![LONG, UNKNOWN, NONE]),
            (vec![NONE, UNKNOWN, NONE], Err(FENCED), vec![FENCED, UNKNOWN, FENCED]),
            (vec![NONE], Ok(vec![]), vec![ErrorCode::UnknownServerError]),
        ] {
            let told = fill_in(response(&before), given);
            let codes = told.topics[0].partitions.iter().map(|partition| partition.error_code);
            let expected: Vec<i16> = expected.iter().map(|code| code.code()).collect();
            assert_eq!(codes.collect::<Vec<_>>(), expected, "{before:?}");
        }
    }
}
