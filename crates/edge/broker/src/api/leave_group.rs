//! LeaveGroup (key 13, versions 0-5): members go, of their own will or an administrator's.

use crate::groups::asking::{Worth, ask};
use crate::session::{Exchange, Session};
use jocko_group::{Answer, Command, Leave, LeavingMember};
use jocko_net::Call;
use jocko_protocol::rpc::leave_group_request::LeaveGroupRequest;
use jocko_protocol::rpc::leave_group_response::{LeaveGroupResponse, MemberResponse};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;

/// The first version in which many may go at once (KIP-345).
const BATCHED: i16 = 3;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = LeaveGroupRequest::decode(&mut exchange.body, version)?;
    let members = if version < BATCHED {
        let member_id = request.member_id;
        vec![LeavingMember { member_id, instance_id: None, reason: None }]
    } else {
        let each = request.members.into_iter().map(|member| LeavingMember {
            member_id: member.member_id,
            instance_id: member.group_instance_id,
            reason: member.reason,
        });
        each.collect()
    };
    let group_id = request.group_id.clone();
    let command = Command::Leave(Leave { group_id: request.group_id, members });
    let respond = move |given| match given {
        Ok(Answer::Left(Ok(members))) => left(members, version),
        Ok(Answer::Left(Err(error))) | Err(error) => {
            LeaveGroupResponse { error_code: error.code(), ..Default::default() }
        }
        Ok(_) => unreachable!("each command has its own kind of answer"),
    };
    Ok(ask(session, exchange.answer(), &group_id, command, Worth::Always, respond))
}

fn left(members: Vec<(LeavingMember, ErrorCode)>, version: i16) -> LeaveGroupResponse {
    if version < BATCHED {
        let error = members.first().map_or(ErrorCode::None, |(_, error)| *error);
        return LeaveGroupResponse { error_code: error.code(), ..Default::default() };
    }
    let members = members.into_iter().map(|(member, error)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        error_code: error.code(),
        ..Default::default()
    });
    LeaveGroupResponse { members: members.collect(), ..Default::default() }
}
