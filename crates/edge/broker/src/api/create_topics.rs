//! CreateTopics (key 19, versions 2-7). Every topic is answered for itself; the controller decides.

use crate::context::Context;
use crate::controller::Undecided;
use crate::governing::layers;
use crate::groups::complete;
use crate::session::{Exchange, Session};
use jocko_config::kafka::describe_topic;
use jocko_metadata::{Command, CreatedTopic, NewTopic, Refusal, ReplicaAssignment, Reply};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use jocko_protocol::rpc::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode, PartitionIndex, TopicId};
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = CreateTopicsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let context = Arc::clone(&session.context);
    Ok(Call::Later(Box::pin(async move {
        let settings = Arc::clone(&context.published.load().settings);
        let (mut topics, mut refused) = (Vec::new(), Vec::new());
        for topic in request.topics {
            let name = topic.name.clone();
            match complete(new_topic(topic), &settings) {
                Ok(topic) => topics.push(topic),
                Err(policy) => refused.push(would_lose_commits(name, &policy)),
            }
        }
        let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        let command = Command::CreateTopics { topics, validate_only: request.validate_only };
        let topics: Vec<_> = match context.controller.submit(command).await {
            Ok(Reply::CreateTopics(answers)) => answers
                .into_iter()
                .map(|(name, answer)| match answer {
                    Ok(created) => success(&context, name, &created, request.validate_only),
                    Err(refusal) => failure(name, refusal),
                })
                .collect(),
            Ok(_) => unreachable!("each command has its own kind of reply"),
            Err(Undecided(code)) => names
                .into_iter()
                .map(|name| CreatableTopicResult { name, error_code: code.code(), ..blank() })
                .collect(),
        };
        let topics = topics.into_iter().chain(refused).collect();
        Outcome::Reply(answer.encode(&CreateTopicsResponse { topics, ..Default::default() }))
    })))
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    let assignments = topic.assignments.into_iter().map(|assignment| ReplicaAssignment {
        partition: PartitionIndex::new(assignment.partition_index),
        brokers: assignment.broker_ids.into_iter().map(BrokerId::new).collect(),
    });
    NewTopic {
        name: topic.name,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs: topic.configs.into_iter().map(|config| (config.name, config.value)).collect(),
    }
}

/// A result of which nothing is known; the list of configs is empty, not null: the Java tool
/// dies of a null one.
fn blank() -> CreatableTopicResult {
    CreatableTopicResult {
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

fn failure(name: String, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: refusal.code.code(),
        error_message: Some(refusal.message),
        ..blank()
    }
}

fn would_lose_commits(name: String, policy: &str) -> CreatableTopicResult {
    let message = format!(
        "'{name}' keeps the commits of groups: with cleanup.policy={policy} it would lose them. \
         Leave cleanup.policy out, or say compact"
    );
    failure(name, Refusal { code: ErrorCode::InvalidConfig, message })
}

fn success(
    context: &Context,
    name: String,
    created: &CreatedTopic,
    validate_only: bool,
) -> CreatableTopicResult {
    let published = context.published.load();
    let layers = layers(&published.image, context.broker, &context.settings);
    let configs = describe_topic(&created.configs, &layers, None).into_iter().map(|row| {
        CreatableTopicConfigs {
            name: row.name,
            value: row.value,
            read_only: row.read_only,
            config_source: row.source.code(),
            is_sensitive: row.sensitive,
            ..Default::default()
        }
    });
    CreatableTopicResult {
        name,
        error_message: None,
        topic_id: if validate_only { TopicId::ZERO } else { created.id },
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs.collect()),
        ..Default::default()
    }
}
