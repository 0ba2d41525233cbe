//! Heartbeat (key 12, versions 0-4): a member of a classic group is still there.

use crate::groups::asking::{Worth, ask};
use crate::session::{Exchange, Session};
use jocko_group::{Answer, Command, Heartbeat};
use jocko_net::Call;
use jocko_protocol::rpc::heartbeat_request::HeartbeatRequest;
use jocko_protocol::rpc::heartbeat_response::HeartbeatResponse;
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let request = HeartbeatRequest::decode(&mut exchange.body, exchange.version)?;
    let group_id = request.group_id.clone();
    let heartbeat = Heartbeat {
        group_id: request.group_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
    };
    let respond = |given| {
        let error = match given {
            Ok(Answer::HeartbeatTaken(error)) => error,
            Ok(_) => unreachable!("each command has its own kind of answer"),
            // As in Kafka: while its group is being loaded a member is taken to be well.
            Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
            Err(error) => error,
        };
        HeartbeatResponse { error_code: error.code(), ..Default::default() }
    };
    let command = Command::Heartbeat(heartbeat);
    Ok(ask(session, exchange.answer(), &group_id, command, Worth::WhileConnected, respond))
}
