//! JoinGroup (key 11, versions 0-9): become, or stay, a member of a classic group. Answered when
//! everybody has joined.

use crate::groups::asking::{Worth, ask, client_host};
use crate::session::{Exchange, Session};
use jocko_group::{Answer, Command, Join, Joined};
use jocko_net::Call;
use jocko_protocol::rpc::join_group_request::JoinGroupRequest;
use jocko_protocol::rpc::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;
use std::time::Duration;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = JoinGroupRequest::decode(&mut exchange.body, version)?;
    let (answer, client_id) = (exchange.answer(), exchange.client_id.to_owned());
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let session_timeout = millis(request.session_timeout_ms);
    let group_id = request.group_id.clone();
    let member_id = request.member_id.clone();
    let join = Join {
        group_id: request.group_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name, protocol.metadata.into()))
            .collect(),
        session_timeout,
        // Version 0 had one timeout for both.
        rebalance_timeout: if version == 0 {
            session_timeout
        } else {
            millis(request.rebalance_timeout_ms)
        },
        reason: request.reason,
        client_id,
        client_host: client_host(&session.peer),
        member_id_required: version >= 4,
        may_skip_assignment: version >= 9,
    };
    let respond = move |given| match given {
        Ok(Answer::Joined(joined)) => joined_response(joined, version),
        Ok(_) => unreachable!("each command has its own kind of answer"),
        Err(error) => refused(error, member_id, version),
    };
    Ok(ask(session, answer, &group_id, Command::Join(join), Worth::WhileConnected, respond))
}

fn joined_response(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        metadata: member.metadata.to_vec(),
        ..Default::default()
    });
    JoinGroupResponse {
        error_code: joined.error.code(),
        generation_id: joined.generation,
        protocol_type: joined.protocol_type,
        protocol_name: protocol_name(joined.protocol_name, version),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: members.collect(),
        ..Default::default()
    }
}

fn refused(error: ErrorCode, member_id: String, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        generation_id: -1,
        protocol_type: None,
        protocol_name: protocol_name(None, version),
        member_id,
        ..Default::default()
    }
}

/// Before version 7 there was no null for it; since then there is no empty one.
fn protocol_name(name: Option<String>, version: i16) -> Option<String> {
    if version >= 7 { name.filter(|name| !name.is_empty()) } else { Some(name.unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_dialect_is_null_where_null_can_be_said() {
        for (name, version, expected) in [
            (Some("range"), 6, Some("range")),
            (Some("range"), 7, Some("range")),
            (Some(""), 6, Some("")),
            (Some(""), 7, None),
            (None, 6, Some("")),
            (None, 7, None),
        ] {
            let shown = protocol_name(name.map(str::to_owned), version);
            assert_eq!(shown.as_deref(), expected, "{name:?} in version {version}");
        }
    }

    #[test]
    fn a_refused_member_gets_its_id_back_and_no_generation() {
        let response = refused(ErrorCode::InvalidGroupId, "m".into(), 9);
        assert_eq!((response.error_code, response.generation_id), (24, -1));
        assert_eq!((response.member_id.as_str(), response.protocol_name), ("m", None));
    }
}
