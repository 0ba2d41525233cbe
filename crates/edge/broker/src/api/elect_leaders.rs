//! ElectLeaders (key 43, versions 0-2): choose leaders anew, by preference or at any price (KIP-183,
//! KIP-460). The controller decides.

use crate::controller::Undecided;
use crate::session::{Exchange, Session};
use jocko_metadata::{Answer, Command, Election, Refusal, Reply};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use jocko_protocol::rpc::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, PartitionIndex};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = ElectLeadersRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        other => {
            return Ok(answer.now(&unknown_election(version, other, request.topic_partitions)));
        }
    };
    let mut listed: Vec<String> = Vec::new();
    for topic in request.topic_partitions.iter().flatten() {
        listed.push(topic.topic.clone());
    }
    let is_about_all = request.topic_partitions.is_none();
    let partitions: Option<Vec<_>> = request.topic_partitions.map(|topics| {
        let named = topics.into_iter().flat_map(|topic| {
            let name = topic.topic;
            let index = PartitionIndex::new;
            topic.partitions.into_iter().map(move |at| (name.clone(), index(at)))
        });
        named.collect()
    });
    let context = Arc::clone(&session.context);
    Ok(Call::Later(Box::pin(async move {
        let command = Command::ElectLeaders { election, partitions };
        let response = match context.controller.submit(command).await {
            Ok(Reply::ElectLeaders(answers)) => {
                if election == Election::Unclean {
                    warn_of_loss(&answers);
                }
                // Kafka lists every topic then, most without a partition.
                let published = context.published.load();
                let all = published.image.topics().filter(|_| is_about_all);
                listed.extend(all.map(|topic| topic.name.to_string()));
                shown(listed, answers)
            }
            Ok(_) => unreachable!("each command has its own kind of reply"),
            Err(Undecided(code)) => refused(version, code),
        };
        Outcome::Reply(answer.encode(&response))
    })))
}

/// Somebody chose a leader that may lack records: whoever looks for them later finds this.
fn warn_of_loss(answers: &[(String, PartitionIndex, Answer<()>)]) {
    for (topic, partition, _) in answers.iter().filter(|(_, _, answer)| answer.is_ok()) {
        tracing::warn!(
            %topic,
            %partition,
            "an unclean election was asked for: records that the new leader does not have are lost"
        );
    }
}

/// Nobody knows how to elect so.
fn unknown_election(
    version: i16,
    kind: i8,
    asked: Option<Vec<TopicPartitions>>,
) -> ElectLeadersResponse {
    let Some(topics) = asked else { return refused(version, ErrorCode::InvalidRequest) };
    let answers = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let refusal = Refusal {
                code: ErrorCode::InvalidRequest,
                message: format!("Unknown election type {kind}: 0 is preferred, 1 is unclean"),
            };
            (topic.topic.clone(), PartitionIndex::new(*partition), Err(refusal))
        })
    });
    let listed: Vec<String> = topics.iter().map(|topic| topic.topic.clone()).collect();
    let overall = if listed.is_empty() { ErrorCode::None } else { ErrorCode::InvalidRequest };
    let answers = shown(listed, answers.collect());
    ElectLeadersResponse { error_code: refused(version, overall).error_code, ..answers }
}

/// Nothing was done. The first version has no place for the reason.
fn refused(version: i16, code: ErrorCode) -> ElectLeadersResponse {
    let error_code = if version >= 1 { code.code() } else { ErrorCode::None.code() };
    ElectLeadersResponse { error_code, ..Default::default() }
}

fn shown(
    listed: Vec<String>,
    answers: Vec<(String, PartitionIndex, Answer<()>)>,
) -> ElectLeadersResponse {
    let mut topics: BTreeMap<String, Vec<PartitionResult>> =
        listed.into_iter().map(|topic| (topic, Vec::new())).collect();
    for (topic, partition, answer) in answers {
        let (error_code, error_message) = match answer {
            Ok(()) => (ErrorCode::None.code(), None),
            Err(refusal) => (refusal.code.code(), Some(refusal.message)),
        };
        let partition_id = partition.get();
        let result =
            PartitionResult { partition_id, error_code, error_message, ..Default::default() };
        topics.entry(topic).or_default().push(result);
    }
    let results = topics.into_iter().map(|(topic, partition_result)| ReplicaElectionResult {
        topic,
        partition_result,
        ..Default::default()
    });
    ElectLeadersResponse { replica_election_results: results.collect(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(topic: &str, partitions: &[i32]) -> TopicPartitions {
        TopicPartitions {
            topic: topic.to_owned(),
            partitions: partitions.to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn a_kind_that_nobody_knows_is_refused_for_each_partition_asked() {
        let invalid = ErrorCode::InvalidRequest.code();
        let response = unknown_election(1, 7, Some(vec![asked("a", &[0, 1]), asked("b", &[])]));
        assert_eq!(response.error_code, invalid);
        let results = &response.replica_election_results;
        let told: Vec<(&str, Vec<i16>)> = results
            .iter()
            .map(|topic| {
                let codes = topic.partition_result.iter().map(|result| result.error_code);
                (topic.topic.as_str(), codes.collect())
            })
            .collect();
        assert_eq!(told, [("a", vec![invalid, invalid]), ("b", vec![])]);
        assert_eq!(unknown_election(1, 7, Some(vec![])).error_code, 0);
        assert_eq!(unknown_election(1, 7, None).error_code, invalid);
        // The first version has no place for it.
        assert_eq!(unknown_election(0, 7, None).error_code, 0);
    }

    #[test]
    fn topics_without_an_answer_are_listed() {
        let index = PartitionIndex::new;
        let answers = vec![("b".to_owned(), index(1), Ok(())), ("b".to_owned(), index(0), Ok(()))];
        let response = shown(vec!["b".into(), "a".into()], answers);
        let told: Vec<(&str, usize)> = response
            .replica_election_results
            .iter()
            .map(|topic| (topic.topic.as_str(), topic.partition_result.len()))
            .collect();
        assert_eq!(told, [("a", 0), ("b", 2)]);
    }
}
