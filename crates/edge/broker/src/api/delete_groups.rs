//! DeleteGroups (key 42, versions 0-2): remove empty groups with their offsets (KIP-229).

use crate::groups::Asked;
use crate::session::{Exchange, Session};
use jocko_group::{Answer, Command};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::delete_groups_request::DeleteGroupsRequest;
use jocko_protocol::rpc::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;
use std::collections::BTreeSet;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let request = DeleteGroupsRequest::decode(&mut exchange.body, exchange.version)?;
    let answer = exchange.answer();
    let mut seen = BTreeSet::new();
    let asked: Vec<(String, Result<Asked, ErrorCode>)> = request
        .groups_names
        .into_iter()
        .filter(|group_id| seen.insert(group_id.clone()))
        .map(|group_id| {
            let asked = ask(session, &group_id);
            (group_id, asked)
        })
        .collect();
    Ok(Call::Later(Box::pin(async move {
        let mut results = Vec::with_capacity(asked.len());
        for (group_id, asked) in asked {
            let given = match asked {
                Ok(Asked::Now(given)) => Ok(given),
                Ok(Asked::Later(waiting)) => waiting.answered().await,
                Err(error) => Err(error),
            };
            let error = match given {
                Ok(Answer::GroupDeleted(error)) | Err(error) => error,
                Ok(_) => unreachable!("each command has its own kind of answer"),
            };
            results.push(DeletableGroupResult {
                group_id,
                error_code: error.code(),
                ..Default::default()
            });
        }
        Outcome::Reply(answer.encode(&DeleteGroupsResponse { results, ..Default::default() }))
    })))
}

fn ask(session: &Session, group_id: &str) -> Result<Asked, ErrorCode> {
    let context = &session.context;
    let shard = context.groups.shard(context, group_id)?;
    let command = Command::DeleteGroup { group_id: group_id.to_owned() };
    shard.ask(context, &session.reactor, command)
}
