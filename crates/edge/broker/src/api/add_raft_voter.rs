//! AddRaftVoter (key 80, versions 0-1): a broker that follows the metadata shall vote on it (KIP-853).
//! The leader decides. Votes are given by themselves, too, so that 1, 3 or 5 brokers vote: this is for
//! those who want it now, and takes back a RemoveRaftVoter.
//!
//! A voter is a broker: its number and the id of its directory must belong together. Where it is
//! reached it has said itself, so the listeners of the request are not needed. It is answered when
//! the change is committed, also where version 1 would be content with less.

use crate::quorum::{self, QuorumCall};
use crate::session::{Exchange, Session};
use jocko_metadata::{ClusterImage, Refusal};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::add_raft_voter_request::AddRaftVoterRequest;
use jocko_protocol::rpc::add_raft_voter_response::AddRaftVoterResponse;
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode, Uuid};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = AddRaftVoterRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let (id, node) = (request.voter_id, request.voter_directory_id);
    let checked = {
        let image = &session.context.published.load().image;
        check(image, request.cluster_id.as_deref(), ("Add", id, node))
            .and_then(|()| is_registered(image, id, node))
    };
    if let Err(refusal) = checked {
        return Ok(answer.now(&refused(refusal)));
    }
    let context = Arc::clone(&session.context);
    let patience = Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into());
    Ok(Call::Later(Box::pin(async move {
        let asked = quorum::ask(&context.cluster, QuorumCall::AddVoter { node });
        let response = match timeout(patience, asked).await {
            Ok(Ok(_)) => AddRaftVoterResponse { error_message: None, ..Default::default() },
            Ok(Err(refusal)) => refused(refusal),
            Err(_) => refused(Refusal {
                code: ErrorCode::RequestTimedOut,
                message: "The change is not made yet; it may go on".to_owned(),
            }),
        };
        Outcome::Reply(answer.encode(&response))
    })))
}

/// What a change of the voters must say whatever it is: the right cluster, if any, and a voter by
/// number and directory.
pub(super) fn check(
    image: &ClusterImage,
    cluster_id: Option<&str>,
    (verb, id, directory): (&str, i32, Uuid),
) -> Result<(), Refusal> {
    let refuse = |code, message: String| Err(Refusal { code, message });
    let own = image.cluster_id().map(|id| id.to_string()).unwrap_or_default();
    if let Some(theirs) = cluster_id.filter(|theirs| *theirs != own) {
        let words = format!("The given id \"{theirs}\" doesn't match the cluster id \"{own}\"");
        return refuse(ErrorCode::InconsistentClusterId, words);
    }
    if id < 0 || directory.is_zero() {
        let words = format!("{verb} voter request didn't include a valid voter");
        return refuse(ErrorCode::InvalidRequest, words);
    }
    Ok(())
}

/// A vote belongs to a disk, and the disk to the broker that is named.
fn is_registered(image: &ClusterImage, id: i32, directory: Uuid) -> Result<(), Refusal> {
    if quorum::broker_on(image, directory) == Some(BrokerId::new(id)) {
        return Ok(());
    }
    let message =
        format!("No broker {id} with directory {directory} is registered; start it first");
    Err(Refusal { code: ErrorCode::InvalidRequest, message })
}

fn refused(refusal: Refusal) -> AddRaftVoterResponse {
    AddRaftVoterResponse {
        error_code: refusal.code.code(),
        error_message: Some(refusal.message),
        ..Default::default()
    }
}
