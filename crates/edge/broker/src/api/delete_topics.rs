//! DeleteTopics (key 20, versions 1-6): by name, or from version 6 on by name or id.

use crate::controller::Undecided;
use crate::session::{Exchange, Session};
use jocko_metadata::{Command, Reply, TopicRef};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::delete_topics_request::DeleteTopicsRequest;
use jocko_protocol::rpc::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::TopicId;
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = DeleteTopicsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let context = Arc::clone(&session.context);
    let topics: Vec<TopicRef> = if version >= 6 {
        let named = request.topics.into_iter();
        named.map(|topic| TopicRef { name: topic.name, id: topic.topic_id }).collect()
    } else {
        let named = request.topic_names.into_iter();
        named.map(|name| TopicRef { name: Some(name), id: TopicId::ZERO }).collect()
    };
    Ok(Call::Later(Box::pin(async move {
        let command = Command::DeleteTopics { topics: topics.clone() };
        let responses = match context.controller.submit(command).await {
            Ok(Reply::DeleteTopics(answers)) => answers
                .into_iter()
                .map(|(asked, answer)| match answer {
                    Ok(deleted) => DeletableTopicResult {
                        name: Some(deleted.name.as_str().to_owned()),
                        topic_id: deleted.id,
                        ..Default::default()
                    },
                    Err(refusal) => DeletableTopicResult {
                        error_code: refusal.code.code(),
                        error_message: Some(refusal.message),
                        ..result(asked)
                    },
                })
                .collect(),
            Ok(_) => unreachable!("each command has its own kind of reply"),
            Err(Undecided(code)) => topics
                .into_iter()
                .map(|asked| DeletableTopicResult { error_code: code.code(), ..result(asked) })
                .collect(),
        };
        Outcome::Reply(answer.encode(&DeleteTopicsResponse { responses, ..Default::default() }))
    })))
}

fn result(asked: TopicRef) -> DeletableTopicResult {
    DeletableTopicResult { name: asked.name, topic_id: asked.id, ..Default::default() }
}
