//! CreatePartitions (key 37, versions 0-3): more partitions for topics. Every topic is answered for
//! itself; the controller decides.

use crate::controller::Undecided;
use crate::session::{Exchange, Session};
use jocko_metadata::{Command, NewPartitions, Reply};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use jocko_protocol::rpc::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode};
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = CreatePartitionsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let context = Arc::clone(&session.context);
    Ok(Call::Later(Box::pin(async move {
        let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let command = Command::CreatePartitions {
            topics: request.topics.into_iter().map(new_partitions).collect(),
            validate_only: request.validate_only,
        };
        let results = match context.controller.submit(command).await {
            Ok(Reply::CreatePartitions(answers)) => answers
                .into_iter()
                .map(|(name, answer)| match answer {
                    Ok(()) => CreatePartitionsTopicResult { name, ..Default::default() },
                    Err(refusal) => CreatePartitionsTopicResult {
                        name,
                        error_code: refusal.code.code(),
                        // Kafka lets the code speak for itself there.
                        error_message: (refusal.code != ErrorCode::UnknownTopicOrPartition)
                            .then_some(refusal.message),
                        ..Default::default()
                    },
                })
                .collect(),
            Ok(_) => unreachable!("each command has its own kind of reply"),
            Err(Undecided(code)) => names
                .into_iter()
                .map(|name| CreatePartitionsTopicResult {
                    name,
                    error_code: code.code(),
                    ..Default::default()
                })
                .collect(),
        };
        Outcome::Reply(answer.encode(&CreatePartitionsResponse { results, ..Default::default() }))
    })))
}

fn new_partitions(topic: CreatePartitionsTopic) -> NewPartitions {
    let assignments = topic.assignments.map(|lists| {
        let ids = |list: Vec<i32>| list.into_iter().map(BrokerId::new).collect();
        lists.into_iter().map(|list| ids(list.broker_ids)).collect()
    });
    NewPartitions { name: topic.name, count: topic.count, assignments }
}
