//! Metadata (key 3, versions 0-13): brokers, topics, who leads what; and auto-creation.
//!
//! A topic that is created because somebody asked for it is answered once it is there, with its
//! leader: no LEADER_NOT_AVAILABLE to retry on.

use crate::context::Context;
use crate::groups::complete;
use crate::operations;
use crate::published::Published;
use crate::session::{Exchange, Session};
use jocko_metadata::{Command, NewTopic, PartitionState, Reply, Topic};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::metadata_request::{MetadataRequest, MetadataRequestTopic};
use jocko_protocol::rpc::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode, PartitionIndex, TopicId, TopicName};
use std::collections::BTreeSet;
use std::sync::Arc;

/// "No such broker" in an answer.
const NO_BROKER: i32 = -1;

/// What a client wants to know, apart from how it asked.
struct Wanted {
    /// `None`: all topics.
    topics: Option<Vec<MetadataRequestTopic>>,
    version: i16,
    operations_of_topics: bool,
    operations_of_cluster: bool,
    /// The address this client should come back to.
    own_address: (String, u16),
}

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = MetadataRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    // In version 0 an empty list means all; later a null one does.
    let topics = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let topics = topics.map(once_each);
    let wanted = Wanted {
        topics,
        version,
        operations_of_topics: request.include_topic_authorized_operations,
        operations_of_cluster: request.include_cluster_authorized_operations,
        own_address: session.advertised(),
    };
    let context = Arc::clone(&session.context);
    let missing = if request.allow_auto_topic_creation || version < 4 {
        missing_topics(&context, &wanted)
    } else {
        Vec::new()
    };
    if missing.is_empty() {
        return Ok(answer.now(&respond(&context, &wanted)));
    }
    Ok(Call::Later(Box::pin(async move {
        create(&context, missing).await;
        Outcome::Reply(answer.encode(&respond(&context, &wanted)))
    })))
}

/// The topics asked for without those asked for before.
fn once_each(mut topics: Vec<MetadataRequestTopic>) -> Vec<MetadataRequestTopic> {
    let mut seen = BTreeSet::new();
    topics.retain(|topic| seen.insert((topic.name.clone(), topic.topic_id)));
    topics
}

/// The legal names asked for that no topic has, if asking may create them.
fn missing_topics(context: &Context, wanted: &Wanted) -> Vec<TopicName> {
    if !context.settings.settings().topics.auto_create {
        return Vec::new();
    }
    let published = context.published.load();
    let named = wanted.topics.iter().flatten().filter(|topic| topic.topic_id.is_zero());
    named
        .filter_map(|topic| TopicName::new(topic.name.as_deref()?).ok())
        .filter(|name| published.image.topic(name.as_str()).is_none())
        .collect()
}

/// Creates topics with the cluster's defaults. What fails stays missing, and is answered so.
async fn create(context: &Context, names: Vec<TopicName>) {
    let settings = Arc::clone(&context.published.load().settings);
    let topics = names
        .iter()
        .map(|name| NewTopic {
            name: name.as_str().to_owned(),
            partitions: -1,
            replication_factor: -1,
            ..NewTopic::default()
        })
        .filter_map(|topic| complete(topic, &settings).ok())
        .collect();
    let command = Command::CreateTopics { topics, validate_only: false };
    let Ok(Reply::CreateTopics(answers)) = context.controller.submit(command).await else { return };
    for (name, answer) in answers {
        match answer {
            Ok(created) => {
                tracing::info!(topic = %name, partitions = created.partitions, "topic created because a client asked for it");
            }
            Err(refusal) if refusal.code == ErrorCode::TopicAlreadyExists => {}
            Err(refusal) => {
                tracing::warn!(topic = %name, error = %refusal.code, reason = refusal.message, "topic not created");
            }
        }
    }
}

fn respond(context: &Context, wanted: &Wanted) -> MetadataResponse {
    let published = context.published.load();
    let seen = Seen { published: &published, wanted, disowned: context.disowned() };
    let topics = match &wanted.topics {
        None => published.image.topics().map(|topic| described(&seen, topic)).collect(),
        Some(topics) => topics.iter().map(|topic| answer_for(&seen, topic)).collect(),
    };
    let brokers = published.image.live_brokers().map(|broker| {
        let (host, port) = if broker.id() == context.broker {
            wanted.own_address.clone()
        } else {
            broker.endpoint("PLAINTEXT").map_or_else(
                || (String::new(), 0),
                |endpoint| (endpoint.host.clone(), endpoint.port),
            )
        };
        MetadataResponseBroker {
            node_id: broker.id().get(),
            host,
            port: i32::from(port),
            rack: broker.registration.rack.clone(),
            ..Default::default()
        }
    });
    let has_operations = (8..=10).contains(&wanted.version) && wanted.operations_of_cluster;
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: published.image.cluster_id().map(|id| id.to_string()),
        // Any broker takes administration and forwards it (KIP-590).
        controller_id: context.controller_id().map_or(NO_BROKER, BrokerId::get),
        topics,
        cluster_authorized_operations: operations::shown(has_operations, operations::CLUSTER),
        ..Default::default()
    }
}

/// What an answer is made from.
struct Seen<'s> {
    published: &'s Published,
    wanted: &'s Wanted,
    /// Who is not to be called a leader.
    disowned: Option<BrokerId>,
}

fn answer_for(seen: &Seen<'_>, asked: &MetadataRequestTopic) -> MetadataResponseTopic {
    let Seen { published, wanted, .. } = *seen;
    let failed = |error: ErrorCode, name: Option<String>, topic_id| MetadataResponseTopic {
        error_code: error.code(),
        name,
        topic_id,
        ..Default::default()
    };
    match &asked.name {
        // Versions 10 and 11 have the field but not the feature.
        Some(name) if wanted.version < 12 && !asked.topic_id.is_zero() => {
            failed(ErrorCode::InvalidRequest, Some(name.clone()), TopicId::ZERO)
        }
        // Who says an id means that topic, whatever it is called now.
        Some(name) if asked.topic_id.is_zero() => match published.image.topic(name) {
            Some(topic) => described(seen, topic),
            None => {
                let error = match TopicName::new(name) {
                    Ok(_) => ErrorCode::UnknownTopicOrPartition,
                    Err(_) => ErrorCode::InvalidTopicException,
                };
                MetadataResponseTopic {
                    topic_authorized_operations: operations::shown(
                        wanted.operations_of_topics && error == ErrorCode::UnknownTopicOrPartition,
                        operations::TOPIC,
                    ),
                    ..failed(error, Some(name.clone()), TopicId::ZERO)
                }
            }
        },
        None if wanted.version < 12 => {
            failed(ErrorCode::InvalidRequest, Some(String::new()), TopicId::ZERO)
        }
        Some(_) | None => match published.image.topic_by_id(asked.topic_id) {
            Some(topic) => described(seen, topic),
            None => failed(ErrorCode::UnknownTopicId, None, asked.topic_id),
        },
    }
}

fn described(seen: &Seen<'_>, topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().map(|(index, state)| partition(seen, *index, state));
    MetadataResponseTopic {
        name: Some(topic.name.as_str().to_owned()),
        topic_id: topic.id,
        is_internal: crate::internal::is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: operations::shown(
            seen.wanted.operations_of_topics,
            operations::TOPIC,
        ),
        ..Default::default()
    }
}

fn partition(
    seen: &Seen<'_>,
    index: PartitionIndex,
    state: &PartitionState,
) -> MetadataResponsePartition {
    let offline = state.replicas.iter().filter(|id| !seen.published.image.is_live(**id));
    let leader = state.leader.filter(|leader| Some(*leader) != seen.disowned);
    // The first version cannot say who is offline: it leaves them out, and says that some are.
    let is_shown = |id: &&BrokerId| seen.wanted.version > 0 || seen.published.image.is_live(**id);
    let shown = |ids: &[BrokerId]| ids.iter().filter(is_shown).map(|id| id.get()).collect();
    let is_whole = state.replicas.iter().all(|id| is_shown(&id));
    MetadataResponsePartition {
        error_code: match leader {
            Some(_) if is_whole => ErrorCode::None.code(),
            Some(_) => ErrorCode::ReplicaNotAvailable.code(),
            None => ErrorCode::LeaderNotAvailable.code(),
        },
        partition_index: index.get(),
        leader_id: leader.map_or(NO_BROKER, BrokerId::get),
        leader_epoch: state.leader_epoch.get(),
        replica_nodes: shown(&state.replicas),
        isr_nodes: shown(&state.isr),
        offline_replicas: offline.map(|id| id.get()).collect(),
        ..Default::default()
    }
}
