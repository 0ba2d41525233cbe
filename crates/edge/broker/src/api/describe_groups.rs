//! DescribeGroups (key 15, versions 0-6): classic groups with their members.

use crate::groups::Reading;
use crate::operations;
use crate::session::{Exchange, Session};
use jocko_group::DescribedGroup as Described;
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::describe_groups_request::DescribeGroupsRequest;
use jocko_protocol::rpc::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;

/// The first version that tells a missing group from a dead one (KIP-1043).
const SAYS_MISSING: i16 = 6;

/// A group, or why there is none to describe.
type Found = Result<Described, (ErrorCode, String)>;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = DescribeGroupsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let shows_operations = request.include_authorized_operations;
    let read: Vec<(String, Result<Reading<Found>, ErrorCode>)> = request
        .groups
        .into_iter()
        .map(|group_id| {
            let found = read(session, &group_id);
            (group_id, found)
        })
        .collect();
    Ok(Call::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(read.len());
        for (group_id, reading) in read {
            let found = match reading {
                Ok(reading) => reading.settled().await,
                Err(error) => Err(error),
            };
            let found = found.unwrap_or_else(|error| Err((error, error.name().to_owned())));
            groups.push(shown(group_id, found, version, shows_operations));
        }
        let response = DescribeGroupsResponse { groups, ..Default::default() };
        Outcome::Reply(answer.encode(&response))
    })))
}

fn read(session: &Session, group_id: &str) -> Result<Reading<Found>, ErrorCode> {
    let context = &session.context;
    let shard = context.groups.shard(context, group_id)?;
    shard.read(context, &session.reactor, |coordinator, _| {
        coordinator.describe(group_id).map_err(|message| (ErrorCode::GroupIdNotFound, message))
    })
}

fn shown(group_id: String, found: Found, version: i16, shows_operations: bool) -> DescribedGroup {
    let operations = operations::shown(shows_operations, operations::GROUP);
    match found {
        Ok(group) => DescribedGroup {
            group_id,
            group_state: group.state.to_owned(),
            protocol_type: group.protocol_type,
            protocol_data: group.protocol_name,
            members: group.members.into_iter().map(member).collect(),
            authorized_operations: operations,
            error_message: None,
            ..Default::default()
        },
        Err((ErrorCode::GroupIdNotFound, message)) if version >= SAYS_MISSING => DescribedGroup {
            group_id,
            group_state: "Dead".to_owned(),
            error_code: ErrorCode::GroupIdNotFound.code(),
            error_message: Some(message),
            ..Default::default()
        },
        Err((ErrorCode::GroupIdNotFound, _)) => DescribedGroup {
            group_id,
            group_state: "Dead".to_owned(),
            error_message: None,
            authorized_operations: operations,
            ..Default::default()
        },
        Err((error, _)) => DescribedGroup {
            group_id,
            error_code: error.code(),
            error_message: None,
            ..Default::default()
        },
    }
}

fn member(member: jocko_group::DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata.to_vec(),
        member_assignment: member.assignment.to_vec(),
        ..Default::default()
    }
}
