//! RemoveRaftVoter (key 81, version 0): a broker shall not vote on the metadata any more (KIP-853). The
//! leader decides, and refuses what would leave too few voters that answer. The broker goes on
//! following; it gets no vote by itself again, unless a dead voter cannot be replaced otherwise.

use super::add_raft_voter::check;
use crate::quorum::{self, QuorumCall};
use crate::session::{Exchange, Session};
use jocko_metadata::{ClusterImage, Refusal};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::remove_raft_voter_request::RemoveRaftVoterRequest;
use jocko_protocol::rpc::remove_raft_voter_response::RemoveRaftVoterResponse;
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode, Uuid};
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = RemoveRaftVoterRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let (id, node) = (request.voter_id, request.voter_directory_id);
    let checked = {
        let image = &session.context.published.load().image;
        check(image, request.cluster_id.as_deref(), ("Remove", id, node))
            .and_then(|()| belongs_to_nobody_else(image, id, node))
    };
    if let Err(refusal) = checked {
        return Ok(answer.now(&refused(refusal)));
    }
    let context = Arc::clone(&session.context);
    Ok(Call::Later(Box::pin(async move {
        let response = match quorum::ask(&context.cluster, QuorumCall::RemoveVoter { node }).await {
            Ok(_) => RemoveRaftVoterResponse { error_message: None, ..Default::default() },
            Err(refusal) => refused(refusal),
        };
        Outcome::Reply(answer.encode(&response))
    })))
}

/// The disk of a broker that came back with another one is nobody's, and may be named with the
/// number it had.
fn belongs_to_nobody_else(image: &ClusterImage, id: i32, directory: Uuid) -> Result<(), Refusal> {
    match quorum::broker_on(image, directory) {
        Some(other) if other != BrokerId::new(id) => {
            let message = format!("Directory {directory} is that of broker {other}, not {id}");
            Err(Refusal { code: ErrorCode::VoterNotFound, message })
        }
        _ => Ok(()),
    }
}

fn refused(refusal: Refusal) -> RemoveRaftVoterResponse {
    RemoveRaftVoterResponse {
        error_code: refusal.code.code(),
        error_message: Some(refusal.message),
        ..Default::default()
    }
}
