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
use crate::pieces::Piece;
use crate::snapshot::Stored;
use crate::types::{Entry, EntryPayload, LogId, Snapshot, Types, Vote};
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

/// The entries of one message, in bytes, unless a single one is larger.
const APPEND_BYTES_MAX: usize = 1 << 20;
/// So many bytes may take a millisecond longer to bring and to write than a short message may.
const BYTES_PER_MILLI: usize = 1 << 10;
/// How long a peer has for one piece of a snapshot.
const PIECE_MAX: Duration = Duration::from_secs(10);
/// The pause after a piece that was not answered; after each further one as much more.
const PIECE_PAUSE: Duration = Duration::from_millis(100);
/// How often in a row a piece goes unanswered, and how often a peer may want what it was sent
/// before, until this attempt is given up. The next one goes on where the peer is by then.
const SETBACKS_MAX: u32 = 5;

/// Makes connections for openraft.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    pub(crate) network: NetworkRef,
    /// A snapshot above this goes in pieces.
    pub(crate) piece_bytes: usize,
}

impl RaftNetworkFactory<Types> for Connections {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, node: &Peer) -> Connection {
        let (network, piece_bytes) = (Arc::clone(&self.network), self.piece_bytes);
        Connection { network, target, peer: node.clone(), piece_bytes }
    }
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Connection {
    network: NetworkRef,
    target: NodeId,
    peer: Peer,
    piece_bytes: usize,
}

type CallResult<T> = Result<T, Unreachable<Types>>;

impl Connection {
    async fn call(&self, request: Request, option: &RPCOption) -> CallResult<Response> {
        self.call_for(request, option.hard_ttl()).await
    }

    async fn call_for(&self, request: Request, timeout: Duration) -> CallResult<Response> {
        let request = request.encode().map_err(|error| Unreachable::new(&error))?;
        let call = self.network.call(self.target, &self.peer, request, timeout);
        let answer = tokio::time::timeout(timeout, call)
            .await
            .map_err(|error| Unreachable::new(&error))?
            .map_err(|error| Unreachable::new(&error))?;
        Response::decode(&answer).map_err(|error| Unreachable::new(&error))
    }

    /// Sends a snapshot piece by piece, each from where the peer says that it wants more.
    async fn send_in_pieces(
        &self,
        vote: Vote,
        stored: &Stored,
        option: &RPCOption,
    ) -> CallResult<SnapshotResponse<Types>> {
        let checksum = jocko_records::crc32c(&stored.state);
        let (mut offset, mut unanswered, mut setbacks) = (0, 0, 0);
        loop {
            let piece = Piece::of(vote, stored, checksum, offset, self.piece_bytes);
            // The peer writes it all before it answers the last.
            let timeout = if piece.is_last() { option.hard_ttl() } else { PIECE_MAX };
            match self.call_for(Request::Piece(piece), timeout).await {
                Ok(Response::Snapshot(response)) => return Ok(response),
                Ok(Response::Piece(next)) => {
                    let next = usize::try_from(next).unwrap_or(usize::MAX);
                    unanswered = 0;
                    setbacks += u32::from(next <= offset);
                    offset = next;
                }
                Ok(_) => return Err(unexpected()),
                Err(error) => {
                    unanswered += 1;
                    if unanswered > SETBACKS_MAX {
                        return Err(error);
                    }
                    tokio::time::sleep(PIECE_PAUSE * unanswered).await;
                }
            }
            if setbacks > SETBACKS_MAX {
                return Err(unexpected());
            }
        }
    }
}

/// Leaves so many of the entries as fit into one message, at least one; says how many bytes they
/// have, and which is the last where some were left out.
fn cut_to_fit(entries: &mut Vec<Entry>) -> (usize, Option<LogId>) {
    let size = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(payload) => payload.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    let mut bytes = 0_usize;
    let mut count = 0;
    for entry in &*entries {
        let more = bytes.saturating_add(size(entry));
        if count > 0 && more > APPEND_BYTES_MAX {
            break;
        }
        (bytes, count) = (more, count + 1);
    }
    let is_cut = count < entries.len();
    entries.truncate(count);
    (bytes, entries.last().filter(|_| is_cut).map(|last| last.log_id))
}

/// The peer is broken in a way that more haste does not mend.
fn unexpected() -> Unreachable<Types> {
    Unreachable::new(&WireError::Unexpected)
}

impl RaftNetworkV2<Types> for Connection {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        mut rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let (bytes, cut_after) = cut_to_fit(&mut rpc.entries);
        let more = u64::try_from(bytes / BYTES_PER_MILLI).unwrap_or(u64::MAX);
        let timeout = option.hard_ttl().saturating_add(Duration::from_millis(more));
        match self.call_for(Request::Append(rpc), timeout).await? {
            Response::Append(AppendEntriesResponse::Success) if cut_after.is_some() => {
                Ok(AppendEntriesResponse::PartialSuccess(cut_after))
            }
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
        let sent = async {
            if stored.state.len() > self.piece_bytes {
                return self.send_in_pieces(vote, &stored, &option).await;
            }
            match self.call(Request::Snapshot(vote, stored), &option).await? {
                Response::Snapshot(response) => Ok(response),
                _ => Err(unexpected()),
            }
        };
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = sent => Ok(answer?),
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
