//! FindCoordinator (key 10, versions 0-6): which broker to ask about a group.

use crate::context::Context;
use crate::groups;
use crate::session::{Answer, Exchange, Session};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::find_coordinator_request::FindCoordinatorRequest;
use jocko_protocol::rpc::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode};
use std::sync::Arc;

/// What a key names.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// The first version that asks for many keys at once (KIP-699).
const BATCHED: i16 = 4;

/// A broker and the address this client reaches it at.
type Found = Result<(BrokerId, String, u16), (ErrorCode, String)>;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = FindCoordinatorRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let keys = if version < BATCHED { vec![request.key] } else { request.coordinator_keys };
    let (kind, own_address) = (request.key_type, session.advertised());
    let context = Arc::clone(&session.context);
    if kind != GROUP || groups::topic_exists(&context) {
        return Ok(answer.now(&respond(&context, keys, kind, &own_address, answer)));
    }
    Ok(Call::Later(Box::pin(async move {
        // Where this fails the answer below says that there is no coordinator yet.
        let _ = groups::ensure_topic(&context).await;
        Outcome::Reply(answer.encode(&respond(&context, keys, kind, &own_address, answer)))
    })))
}

fn respond(
    context: &Context,
    keys: Vec<String>,
    kind: i8,
    own_address: &(String, u16),
    answer: Answer,
) -> FindCoordinatorResponse {
    let find = |key: &str| find(context, key, kind, own_address);
    if answer.version >= BATCHED {
        let coordinators = keys.into_iter().map(|key| {
            let found = find(&key);
            shown(key, found, "")
        });
        return FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            ..Default::default()
        };
    }
    // The words of old: Kafka's name for no error.
    let one = shown(String::new(), find(keys.first().map_or("", String::as_str)), "NONE");
    FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: one.error_message,
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..Default::default()
    }
}

fn find(context: &Context, key: &str, kind: i8, own_address: &(String, u16)) -> Found {
    let no = |code: ErrorCode, why: &str| Err((code, why.to_owned()));
    match kind {
        GROUP => {}
        // Transactions do not exist here yet; InitProducerId says so once, and for good. An error
        // from here would be asked for again until the client's patience ends.
        TRANSACTION => {
            return Ok((context.broker, own_address.0.clone(), own_address.1));
        }
        _ => {
            return no(ErrorCode::InvalidRequest, "keys name groups (0) or transactions (1)");
        }
    }
    let published = context.published.load();
    let Some(index) = groups::partition_of(&published, key) else {
        return no(ErrorCode::CoordinatorNotAvailable, "the topic that keeps groups is missing");
    };
    let leader = published
        .image
        .topic(groups::OFFSETS_TOPIC)
        .and_then(|topic| topic.partitions.get(&jocko_types::PartitionIndex::new(index)))
        .and_then(|partition| partition.leader);
    let Some(leader) = leader.filter(|id| published.image.is_live(*id)) else {
        return no(ErrorCode::CoordinatorNotAvailable, "nobody leads the group's partition");
    };
    if Some(leader) == context.disowned() {
        return no(
            ErrorCode::CoordinatorNotAvailable,
            "this broker is cut off from the controller",
        );
    }
    if leader == context.broker {
        return Ok((leader, own_address.0.clone(), own_address.1));
    }
    let broker = published.image.live_brokers().find(|broker| broker.id() == leader);
    match broker.and_then(|broker| broker.endpoint("PLAINTEXT")) {
        Some(endpoint) => Ok((leader, endpoint.host.clone(), endpoint.port)),
        None => no(ErrorCode::CoordinatorNotAvailable, "the coordinator has no address"),
    }
}

fn shown(key: String, found: Found, no_error: &str) -> Coordinator {
    match found {
        Ok((id, host, port)) => Coordinator {
            key,
            node_id: id.get(),
            host,
            port: i32::from(port),
            error_message: Some(no_error.to_owned()),
            ..Default::default()
        },
        Err((code, message)) => Coordinator {
            key,
            node_id: -1,
            host: String::new(),
            port: -1,
            error_code: code.code(),
            error_message: Some(message),
            ..Default::default()
        },
    }
}
