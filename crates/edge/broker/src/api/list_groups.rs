//! ListGroups (key 16, versions 0-5): the groups this broker coordinates.

use crate::session::{Exchange, Session};
use jocko_group::ListedGroup as Listed;
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::list_groups_request::ListGroupsRequest;
use jocko_protocol::rpc::list_groups_response::{ListGroupsResponse, ListedGroup};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let request = ListGroupsRequest::decode(&mut exchange.body, exchange.version)?;
    let answer = exchange.answer();
    let context = &session.context;
    let read: Vec<_> = context
        .groups
        .all()
        .into_iter()
        .map(|shard| {
            shard.read(context, &session.reactor, |coordinator, _| {
                coordinator.list(&request.states_filter, &request.types_filter)
            })
        })
        .collect();
    Ok(Call::Later(Box::pin(async move {
        let mut response = ListGroupsResponse::default();
        for reading in read {
            let listed = match reading {
                Ok(reading) => reading.settled().await,
                Err(error) => Err(error),
            };
            match listed {
                Ok(groups) => response.groups.extend(groups.into_iter().map(shown)),
                // Whoever leads elsewhere answers for itself.
                Err(ErrorCode::NotCoordinator) => {}
                Err(error) => {
                    response.error_code = error.code();
                    response.groups.clear();
                    break;
                }
            }
        }
        Outcome::Reply(answer.encode(&response))
    })))
}

fn shown(group: Listed) -> ListedGroup {
    ListedGroup {
        group_id: group.group_id,
        protocol_type: group.protocol_type,
        group_state: group.state.to_owned(),
        group_type: group.kind.to_owned(),
        ..Default::default()
    }
}
