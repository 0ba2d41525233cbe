//! The Network port, and openraft's view of it.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::id::{NodeId, Peer};
use crate::snapshot::Stored;
use crate::types::{Snapshot, Types, Vote};
use crate::wire::{Request, Response, WireError};

/// A shared network.
pub type NetworkRef = Arc<dyn Network>;

/// Why a call was not answered. Raft treats all reasons alike: it waits a little and tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CallError(String);

impl CallError {
    /// An error in words.
    #[must_use]
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// How a node reaches its peers.
///
/// A call carries one message to the node and brings its answer: over there the bytes go to
/// [`Raft::serve`](crate::Raft::serve). Messages may be lost, and answers may be, but bytes arrive
/// as they were sent. Calls to one peer may be many at a time.
pub trait Network: Debug + Send + Sync + 'static {
    /// Sends `request` to `target`, last known at `peer`, and waits for the answer, at most
    /// `timeout`.
    fn call(
        &self,
        target: NodeId,
        peer: &Peer,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>>;
}

/// The network of a node that is alone: nobody is reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNetwork;

impl Network for NoNetwork {
    fn call(
        &self,
        target: NodeId,
        _peer: &Peer,
        _request: Bytes,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        Box::pin(async move { Err(CallError::new(format!("no way to reach {target}"))) })
    }
}

/// Makes connections for openraft.
#[derive(Debug, Clone)]
pub(crate) struct Connections(pub(crate) NetworkRef);

impl RaftNetworkFactory<Types> for Connections {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, node: &Peer) -> Connection {
        Connection { network: Arc::clone(&self.0), target, peer: node.clone() }
    }
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Connection {
    network: NetworkRef,
    target: NodeId,
    peer: Peer,
}

type CallResult<T> = Result<T, Unreachable<Types>>;

impl Connection {
    async fn call(&self, request: Request, option: &RPCOption) -> CallResult<Response> {
        let request = request.encode().map_err(|error| Unreachable::new(&error))?;
        let timeout = option.hard_ttl();
        let call = self.network.call(self.target, &self.peer, request, timeout);
        let answer = tokio::time::timeout(timeout, call)
            .await
            .map_err(|error| Unreachable::new(&error))?
            .map_err(|error| Unreachable::new(&error))?;
        Response::decode(&answer).map_err(|error| Unreachable::new(&error))
    }
}

/// The peer is broken in a way that more haste does not mend.
fn unexpected() -> Unreachable<Types> {
    Unreachable::new(&WireError::Unexpected)
}

impl RaftNetworkV2<Types> for Connection {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self.call(Request::Append(rpc), &option).await? {
            Response::Append(response) => Ok(response),
            _ => Err(unexpected().into()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(Request::Vote(rpc), &option).await? {
            Response::Vote(response) => Ok(response),
            _ => Err(unexpected().into()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(Request::PreVote(rpc), &option).await? {
            Response::PreVote(response) => Ok(response),
            _ => Err(unexpected().into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Bytes>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let stored = Stored { meta: snapshot.meta, state: snapshot.snapshot };
        let call = self.call(Request::Snapshot(vote, stored), &option);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = call => match answer? {
                Response::Snapshot(response) => Ok(response),
                _ => Err(unexpected().into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.call(Request::TransferLeader(req), &option).await? {
            Response::TransferLeader(response) => Ok(response),
            _ => Err(unexpected().into()),
        }
    }
}
