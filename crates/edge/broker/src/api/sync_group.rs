//! SyncGroup (key 14, versions 0-5): bring, or fetch, the assignment of a classic group. Answered
//! when the leader has brought it.

use crate::groups::asking::{Worth, ask};
use crate::session::{Exchange, Session};
use jocko_group::{Answer, Command, Sync};
use jocko_net::Call;
use jocko_protocol::rpc::sync_group_request::SyncGroupRequest;
use jocko_protocol::rpc::sync_group_response::SyncGroupResponse;
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;

/// The first version that must say what the members speak (KIP-559).
const NAMES_PROTOCOL: i16 = 5;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = SyncGroupRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= NAMES_PROTOCOL && !says_protocol {
        return Ok(answer.now(&refused(ErrorCode::InconsistentGroupProtocol)));
    }
    let group_id = request.group_id.clone();
    let sync = Sync {
        group_id: request.group_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: request
            .assignments
            .into_iter()
            .map(|each| (each.member_id, each.assignment.into()))
            .collect(),
    };
    let respond = |given| match given {
        Ok(Answer::Synced(synced)) => SyncGroupResponse {
            error_code: synced.error.code(),
            protocol_type: synced.protocol_type,
            protocol_name: synced.protocol_name,
            assignment: synced.assignment.to_vec(),
            ..Default::default()
        },
        Ok(_) => unreachable!("each command has its own kind of answer"),
        Err(error) => refused(error),
    };
    Ok(ask(session, answer, &group_id, Command::Sync(sync), Worth::WhileConnected, respond))
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error.code(),
        protocol_type: None,
        protocol_name: None,
        ..Default::default()
    }
}
