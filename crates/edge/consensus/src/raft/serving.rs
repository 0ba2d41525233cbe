//! What others send to this node, and what it hears of its leader by that.

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{Fatal, RaftError};
use openraft::raft::{SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

use super::Raft;
use crate::error::{ProposeError, ServeError};
use crate::id::NodeId;
use crate::pieces::{Piece, Taken};
use crate::snapshot::Stored;
use crate::types::{Snapshot, Types, Vote};
use crate::wire::{Request, Response};

/// Who led when a leader was last heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    leader: NodeId,
    at: Instant,
}

impl Raft {
    /// Answers a message that a peer sent through its [`Network`](crate::Network). Who may send is
    /// the caller's business.
    ///
    /// # Errors
    /// [`ServeError`]; the peer gets no answer then, and tries again.
    pub async fn serve(&self, request: Bytes) -> Result<Bytes, ServeError> {
        let malformed =
            |error: crate::wire::WireError| ServeError::Malformed(error.to_string().into());
        let stopped = |fatal: RaftError<Types>| ServeError::Stopped(fatal.to_string().into());
        let raft = &self.inner.raft;
        let response = match Request::decode(&request).map_err(malformed)? {
            Request::Append(rpc) => {
                self.hear(&rpc.vote);
                if !rpc.entries.is_empty() {
                    self.inner.incoming.forget();
                }
                Response::Append(raft.append_entries(rpc).await.map_err(stopped)?)
            }
            Request::Vote(rpc) => Response::Vote(raft.vote(rpc).await.map_err(stopped)?),
            Request::PreVote(rpc) => Response::PreVote(raft.pre_vote(rpc).await.map_err(stopped)?),
            Request::Snapshot(vote, stored) => self.install(vote, stored).await?,
            Request::Piece(piece) => self.take(piece).await?,
            Request::TransferLeader(rpc) => {
                self.hear(rpc.from_leader());
                let transferred: Result<TransferLeaderResponse<Types>, Fatal<Types>> =
                    raft.handle_transfer_leader(rpc).await;
                let stopped = |fatal: Fatal<Types>| ServeError::Stopped(fatal.to_string().into());
                Response::TransferLeader(transferred.map_err(stopped)?)
            }
        };
        Ok(response.encode())
    }

    async fn install(&self, vote: Vote, stored: Stored) -> Result<Response, ServeError> {
        let snapshot = Snapshot { meta: stored.meta, snapshot: stored.state };
        let installed = self.inner.raft.install_full_snapshot(vote, snapshot).await;
        let stopped = |fatal: Fatal<Types>| ServeError::Stopped(fatal.to_string().into());
        Ok(Response::Snapshot(installed.map_err(stopped)?))
    }

    /// Takes a piece of a snapshot; the last one installs it.
    async fn take(&self, piece: Piece) -> Result<Response, ServeError> {
        let (own, committed) = {
            let metrics = self.inner.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.vote, metrics.local_committed)
        };
        // Another leads by now, or all of it is here: nothing more has to be sent.
        let is_known = own == piece.vote && committed >= piece.meta.last_log_id;
        if own > piece.vote || is_known {
            return Ok(Response::Snapshot(SnapshotResponse::new(own)));
        }
        match self.inner.incoming.take(&piece) {
            Taken::More(next) => Ok(Response::Piece(next)),
            Taken::Whole(stored) => self.install(piece.vote, stored).await,
            Taken::TooLarge => {
                Err(ServeError::Malformed("a snapshot that is larger than any".into()))
            }
        }
    }

    fn hear(&self, vote: &Vote) {
        let heard = Heard { leader: vote.leader_id.voted_for, at: Instant::now() };
        *self.inner.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
    }

    /// Which other node led when this one last heard a leader, and how long ago that was. `None` if
    /// it has heard nobody since it started.
    #[must_use]
    pub fn leader_silence(&self) -> Option<(NodeId, Duration)> {
        let heard = *self.inner.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|heard| (heard.leader, heard.at.elapsed()))
    }

    /// How long a leader that nobody hears is waited for before another may be elected.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.inner.config.lease()
    }

    /// Stands for election at once, in place of a leader that has surely ended: nobody waits for its
    /// lease. The votes of a quorum decide as ever. Does nothing where another leads by now.
    ///
    /// Whoever calls this for a leader that is alive makes the group change its leader without need.
    ///
    /// # Errors
    /// [`ProposeError::Fatal`] if Raft has ended.
    pub async fn succeed(&self, gone: NodeId) -> Result<(), ProposeError> {
        let raft = &self.inner.raft;
        let vote = raft.with_raft_state(|state| *state.vote_ref()).await;
        let vote: Vote = vote.map_err(|fatal| self.fatal(&fatal))?;
        if vote.leader_id.voted_for != gone || !vote.committed {
            return Ok(());
        }
        // As if the old leader had handed over: that is what a vote before the lease is over needs.
        let handed = TransferLeaderRequest::new(vote, self.inner.config.node, None);
        let outcome = raft.handle_transfer_leader(handed).await;
        if let Err(why) = outcome.map_err(|fatal| self.fatal(&fatal))? {
            tracing::debug!(?why, "this node does not stand for election before the lease is over");
        }
        Ok(())
    }
}
