//! OffsetDelete (key 47, version 0): forget a group's offsets of topics that nobody in it
//! subscribes to (KIP-496).

use crate::groups::asking::{Worth, ask};
use crate::session::{Exchange, Session};
use jocko_group::{Answer, Command};
use jocko_net::Call;
use jocko_protocol::rpc::offset_delete_request::OffsetDeleteRequest;
use jocko_protocol::rpc::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, PartitionIndex};

/// Topics with partitions, as asked for.
type Asked = Vec<(String, Vec<PartitionIndex>)>;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let request = OffsetDeleteRequest::decode(&mut exchange.body, exchange.version)?;
    let asked: Asked = request
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic.partitions.iter();
            let partitions = partitions.map(|each| PartitionIndex::new(each.partition_index));
            (topic.name, partitions.collect())
        })
        .collect();
    let published = session.context.published.load();
    // As with commits, a partition that does not exist is answered here.
    let exists = |topic: &str, index: PartitionIndex| {
        published.image.topic(topic).is_some_and(|topic| topic.partitions.contains_key(&index))
    };
    let mut errors: Vec<Vec<ErrorCode>> = Vec::new();
    let mut known: Asked = Vec::new();
    for (topic, partitions) in &asked {
        let mut there = Vec::new();
        let answers = partitions.iter().map(|index| {
            if exists(topic, *index) {
                there.push(*index);
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            }
        });
        errors.push(answers.collect());
        known.push((topic.clone(), there));
    }
    let answer = exchange.answer();
    let group_id = request.group_id.clone();
    let command = Command::DeleteOffsets { group_id: request.group_id, topics: known };
    let respond = move |given| match given {
        Ok(Answer::OffsetsDeleted(Ok(given))) => respond(asked, errors, given),
        Ok(Answer::OffsetsDeleted(Err(error))) | Err(error) => {
            OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
        }
        Ok(_) => unreachable!("each command has its own kind of answer"),
    };
    Ok(ask(session, answer, &group_id, command, Worth::Always, respond))
}

/// Puts the coordinator's answers into the places that were left for them. A topic without
/// partitions is not answered, as in Kafka.
fn respond(
    asked: Asked,
    errors: Vec<Vec<ErrorCode>>,
    given: Vec<Vec<ErrorCode>>,
) -> OffsetDeleteResponse {
    let mut given = given.into_iter();
    let topics = asked.into_iter().zip(errors).map(|((name, partitions), errors)| {
        let mut given = given.next().unwrap_or_default().into_iter();
        let partitions = partitions.into_iter().zip(errors).map(|(index, error)| {
            let error =
                if error == ErrorCode::None { given.next().unwrap_or(error) } else { error };
            OffsetDeleteResponsePartition { partition_index: index.get(), error_code: error.code() }
        });
        OffsetDeleteResponseTopic { name, partitions: partitions.collect() }
    });
    let topics = topics.filter(|topic| !topic.partitions.is_empty());
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}
