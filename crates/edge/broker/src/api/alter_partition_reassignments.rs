//! AlterPartitionReassignments (key 45, versions 0-1): move replicas, or stop moving them (KIP-455,
//! KIP-860). Every partition is answered for itself; the controller decides.

use crate::controller::Undecided;
use crate::session::{Exchange, Session};
use jocko_metadata::{Answer, Command, Reassignment, Reply};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignableTopic,
};
use jocko_protocol::rpc::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode, PartitionIndex};
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = AlterPartitionReassignmentsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let context = Arc::clone(&session.context);
    Ok(Call::Later(Box::pin(async move {
        let may_resize = request.allow_replication_factor_change;
        let command = Command::AlterPartitionReassignments {
            partitions: asked(&request.topics),
            allow_replication_factor_change: may_resize,
        };
        let response = match context.controller.submit(command).await {
            Ok(Reply::AlterPartitionReassignments(answers)) => {
                AlterPartitionReassignmentsResponse {
                    allow_replication_factor_change: may_resize,
                    // Kafka answers a request for nothing before it looks further.
                    error_message: request.topics.is_empty().then(String::new),
                    responses: shown(&request.topics, answers),
                    ..Default::default()
                }
            }
            Ok(_) => unreachable!("each command has its own kind of reply"),
            Err(Undecided(code)) => AlterPartitionReassignmentsResponse {
                error_code: code.code(),
                error_message: Some(code.to_string()),
                ..Default::default()
            },
        };
        Outcome::Reply(answer.encode(&response))
    })))
}

/// The partitions in the order of the request.
fn asked(topics: &[ReassignableTopic]) -> Vec<Reassignment> {
    let brokers = |ids: &Vec<i32>| ids.iter().map(|id| BrokerId::new(*id)).collect();
    let of_topic = |topic: &ReassignableTopic| {
        let name = topic.name.clone();
        let partitions = topic.partitions.iter().map(move |partition| Reassignment {
            topic: name.clone(),
            partition: PartitionIndex::new(partition.partition_index),
            replicas: partition.replicas.as_ref().map(brokers),
        });
        partitions.collect::<Vec<_>>()
    };
    topics.iter().flat_map(of_topic).collect()
}

/// The answers, which are in the order of the request, under its topics: those without a partition
/// are listed too.
fn shown(
    topics: &[ReassignableTopic],
    answers: Vec<(String, PartitionIndex, Answer<()>)>,
) -> Vec<ReassignableTopicResponse> {
    let mut answers = answers.into_iter();
    let mut of_topic = |topic: &ReassignableTopic| {
        let partitions = answers.by_ref().take(topic.partitions.len());
        ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.map(|(_, at, answer)| partition(at, answer)).collect(),
            ..Default::default()
        }
    };
    topics.iter().map(&mut of_topic).collect()
}

fn partition(at: PartitionIndex, answer: Answer<()>) -> ReassignablePartitionResponse {
    let (code, message) = match answer {
        Ok(()) => (ErrorCode::None, None),
        // Kafka lets this code speak for itself.
        Err(refusal) if refusal.code == ErrorCode::NoReassignmentInProgress => (refusal.code, None),
        Err(refusal) => (refusal.code, Some(refusal.message)),
    };
    ReassignablePartitionResponse {
        partition_index: at.get(),
        error_code: code.code(),
        error_message: message,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_metadata::Refusal;
    use jocko_protocol::rpc::alter_partition_reassignments_request::ReassignablePartition;

    fn topic(name: &str, partitions: &[i32]) -> ReassignableTopic {
        let partition = |index: &i32| ReassignablePartition {
            partition_index: *index,
            replicas: (*index > 0).then(|| vec![2, 1]),
            ..Default::default()
        };
        ReassignableTopic {
            name: name.to_owned(),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn answers_stand_where_the_request_had_them() {
        let topics = [topic("b", &[1, 0]), topic("none", &[]), topic("a", &[7])];
        let asked = asked(&topics);
        assert_eq!(asked.len(), 3);
        assert_eq!(asked[0].replicas, Some(vec![BrokerId::new(2), BrokerId::new(1)]));
        assert_eq!(asked[1].replicas, None);
        let refusal =
            Refusal { code: ErrorCode::NoReassignmentInProgress, message: "no".to_owned() };
        let answers = asked.into_iter().map(|it| {
            let answer = if it.replicas.is_some() { Ok(()) } else { Err(refusal.clone()) };
            (it.topic, it.partition, answer)
        });
        let told: Vec<(String, Vec<(i32, i16)>)> = shown(&topics, answers.collect())
            .into_iter()
            .map(|topic| {
                let partitions = topic.partitions.iter();
                (topic.name, partitions.map(|it| (it.partition_index, it.error_code)).collect())
            })
            .collect();
        let expected = [("b", vec![(1, 0), (0, 85)]), ("none", vec![]), ("a", vec![(7, 0)])];
        assert_eq!(told, expected.map(|(name, rows)| (name.to_owned(), rows)));
    }
}
