//! What this node proposes, and on what ground.
//!
//! A proposal was decided on some state. It must not come into the log behind anything that this
//! state does not show: an entry of another leader, or one of this node's own whose outcome nobody
//! knew in time. The first is what the term is for; the second is waited for.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use std::fmt;
use std::future::poll_fn;
use std::sync::PoisonError;
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;

use jocko_disk::Open;

use super::{Raft, silence};
use crate::entry::PAYLOAD_BYTES_MAX;
use crate::error::ProposeError;
use crate::status::{RaftStatus, Role};
use crate::types::{Payload, Types};
use openraft::async_runtime::WatchReceiver;

/// Room that must be left on the disk beside a proposal's own bytes: a new segment with its
/// indexes, the raft state, and entries that are on their way already.
const ROOM_BYTES_MIN: u64 = 1024 * 1024;
/// A file that exists only while its blocks are asked for.
const ROOM_PROBE: &str = "room.tmp";
/// How long a proposal whose outcome is not known holds up the next one, before that is refused.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// That this node leads, knows everything, and that whatever it has proposed is in its state.
/// Whoever decides takes this first, then looks at the state, then proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    term: u64,
}

/// What comes of an entry: its index once it is applied here, or nothing that anybody knows of.
type Outcome = Result<u64, ClientWriteError<Types>>;

/// A proposal whose outcome was not known in time.
pub(super) struct Pending {
    term: u64,
    outcome: BoxFuture<'static, Option<Outcome>>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("term", &self.term).finish_non_exhaustive()
    }
}

impl Raft {
    /// Proposes a payload that no state was looked at for. Returns its index once it is committed
    /// and applied here, its effect published.
    ///
    /// # Errors
    /// See [`ProposeError`]; [`ProposeError::is_retriable`] tells whether nothing was proposed.
    pub async fn propose(&self, payload: Bytes) -> Result<u64, ProposeError> {
        let lead = match self.lead().await {
            Ok(lead) => lead,
            Err(error) => {
                self.inner.counters.proposed(true);
                return Err(error);
            }
        };
        self.propose_as(lead, payload).await
    }

    /// Leave to decide on the state as it is published from now on. Waits a moment for earlier
    /// proposals of this term that nobody knows the outcome of.
    ///
    /// # Errors
    /// As for a proposal.
    pub async fn lead(&self) -> Result<Lead, ProposeError> {
        let term = self.check_may_propose()?;
        // What an earlier term has left is in the log before this term's first entry, or never.
        self.pending().retain(|it| it.term == term);
        let settled = poll_fn(|context| {
            let mut pending = self.pending();
            pending.retain_mut(|it| it.outcome.as_mut().poll(context).is_pending());
            match pending.is_empty() {
                true => Poll::Ready(()),
                false if self.inner.log.wants_room() => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        let in_time = timeout(SETTLE_MAX, settled).await.is_ok();
        if in_time && !self.pending().is_empty() {
            return Err(self.no_space());
        }
        if !in_time {
            return Err(ProposeError::Unsettled);
        }
        Ok(Lead { term })
    }

    /// Proposes what was decided on a state that was looked at after `lead` was given. It comes
    /// into the log only if this node has led ever since. Returns as [`Raft::propose`] does.
    ///
    /// # Errors
    /// As [`Raft::propose`].
    pub async fn propose_as(&self, lead: Lead, payload: Bytes) -> Result<u64, ProposeError> {
        let outcome = self.try_propose(lead, payload).await;
        self.inner.counters.proposed(outcome.is_err());
        outcome
    }

    async fn try_propose(&self, lead: Lead, payload: Bytes) -> Result<u64, ProposeError> {
        let bytes = payload.len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, bytes_max: PAYLOAD_BYTES_MAX });
        }
        self.check_may_propose()?;
        self.check_room(bytes)?;
        let mut outcome = self.write(lead, payload).await?;
        let written = timeout(self.inner.config.propose_timeout, &mut outcome);
        let mut news = self.watch();
        // Nobody answers for a Raft that has ended.
        let ended = news.wait_for(|status| status.role == Role::Stopped);
        let ended_words = || ProposeError::Fatal("raft has ended".into());
        let written = tokio::select! {
            biased;
            written = written => written,
            _ = ended => return Err(ended_words()),
        };
        let Ok(written) = written else {
            self.pending().push(Pending { term: lead.term, outcome });
            let why = match self.inner.log.wants_room() {
                true => "the disk has no room for it; it is written once there is",
                false => "no commit in time",
            };
            return Err(ProposeError::OutcomeUnknown(why));
        };
        written.ok_or_else(ended_words)?.map_err(propose_error)
    }

    /// Hands a payload to Raft: what comes of it, `None` if Raft ends first.
    async fn write(
        &self,
        lead: Lead,
        payload: Bytes,
    ) -> Result<BoxFuture<'static, Option<Outcome>>, ProposeError> {
        let (responder, answered) = ProgressResponder::complete_only();
        let written = self.inner.raft.write(Payload(payload)).with_leader(lead.term);
        written.responder(responder).await.map_err(|fatal| self.fatal(&fatal))?;
        Ok(Box::pin(async move {
            let answer: Result<_, ClientWriteError<Types>> = answered.await.ok()?;
            Some(answer.map(|written| written.log_id.index))
        }))
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Vec<Pending>> {
        self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this node leads, knows everything, and knows that nobody else leads: in which term.
    pub(super) fn check_may_propose(&self) -> Result<u64, ProposeError> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        if let Err(fatal) = &metrics.running_state {
            return Err(self.fatal(fatal));
        }
        let status = RaftStatus::of(&metrics);
        if status.role != Role::Leader {
            return Err(ProposeError::NotLeader { leader: status.leader });
        }
        if !status.is_serving {
            return Err(ProposeError::NotReady);
        }
        let lease = self.inner.config.lease();
        if silence(&status, &metrics).is_none_or(|silence| silence >= lease) {
            return Err(ProposeError::NoLease);
        }
        Ok(status.term)
    }

    /// An append that finds no room waits for it, and everything else with it, so it is not tried
    /// on a disk that is full. One that cannot tell how full it is counts as roomy.
    fn check_room(&self, bytes: usize) -> Result<(), ProposeError> {
        if self.inner.log.wants_room() {
            return Err(self.no_space());
        }
        let needed = (bytes as u64).saturating_add(ROOM_BYTES_MIN);
        match self.inner.disk.space(&self.inner.config.dir) {
            Ok(space) if space.free < needed && !self.can_reserve(needed) => {
                Err(ProposeError::NoSpace { free_bytes: space.free })
            }
            _ => Ok(()),
        }
    }

    fn no_space(&self) -> ProposeError {
        let space = self.inner.disk.space(&self.inner.config.dir);
        ProposeError::NoSpace { free_bytes: space.map_or(0, |space| space.free) }
    }

    /// Whether so many bytes could be written after all. File systems keep blocks back that they
    /// do not count as free, but that a process of root's gets: only asking for them tells.
    fn can_reserve(&self, bytes: u64) -> bool {
        let path = self.inner.config.dir.join(ROOM_PROBE);
        let file = self.inner.disk.open(&path, Open::Create);
        let is_reserved = file.and_then(|file| file.reserve(bytes)).is_ok();
        self.inner.disk.remove_file(&path).is_ok() && is_reserved
    }
}

pub(super) fn propose_error(error: ClientWriteError<Types>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => {
            let leader = forward.leader_id;
            let peer = forward.leader_node.unwrap_or_default();
            ProposeError::NotLeader { leader: leader.map(|id| (id, peer)) }
        }
        ClientWriteError::LogEntryDiscarded(_) => {
            ProposeError::OutcomeUnknown("leadership was lost")
        }
        ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_) => {
            ProposeError::OutcomeUnknown("refused for a reason that a proposal does not have")
        }
    }
}
