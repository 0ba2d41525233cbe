//! The state machine: ours to the outside, openraft's to the inside.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jocko_net::ports::SpawnRef;
use openraft::async_runtime::WatchSender;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use std::fmt;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::blocking::{in_io, run_blocking};
use crate::runtime::Sender;
use crate::snapshot::{SnapshotStore, Stored};
use crate::types::{Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, Types, term_of};

/// Why a snapshot's state cannot be restored.
pub type RestoreError = Box<dyn std::error::Error + Send + Sync>;

/// The state that the group agrees on, as its owner keeps it.
///
/// Every node calls [`apply`](StateMachine::apply) with the same payloads in the same order, each
/// index once, so the same index means the same state everywhere (M-1). Indexes rise but have
/// gaps: entries of Raft's own are not shown. All calls come from one task at a time. A panic here
/// stops Raft for good, and the process must end.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies a committed payload. It was valid when it was proposed; there is nobody to refuse
    /// it to any more.
    fn apply(&mut self, index: u64, payload: &[u8]);

    /// Called after each run of applied entries, and after a restore, with the last index of it,
    /// Raft's own entries included: the moment to publish what changed. Whoever waits for this
    /// index is woken afterwards. A node applies all that it finds at a start, and what was committed
    /// meanwhile, before this is called: what was true once is not done again.
    fn publish(&mut self, index: u64);

    /// The whole state as bytes, for a snapshot. Restoring them gives an equal state.
    fn snapshot(&self) -> Vec<u8>;

    /// Replaces the state by that of a snapshot, which this or another node took.
    ///
    /// # Errors
    /// If the bytes are of a format this program does not know. Raft then stops.
    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError>;
}

/// What openraft drives.
pub(crate) struct Machine {
    state: Box<dyn StateMachine>,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: Arc<SnapshotStore>,
    spawn: SpawnRef,
    /// Tells the last applied index, once it is published.
    applied_index: Sender<Option<u64>>,
    hold: Arc<Hold>,
}

/// When what is applied may be published. A disk may hold the deeds of more than its log shows to
/// be committed, so a node that starts waits until it has caught up with what is committed: the
/// states in between were true once, and must not be acted upon again.
#[derive(Debug)]
pub(crate) struct Hold {
    /// From this index on.
    from: AtomicU64,
    /// Or from an entry of a later term on: whoever leads that term has everything that was
    /// committed before it, and put it before its own entries.
    above_term: AtomicU64,
}

impl Hold {
    /// Holds back everything.
    pub(crate) fn everything() -> Self {
        Self { from: AtomicU64::new(u64::MAX), above_term: AtomicU64::new(u64::MAX) }
    }

    /// Holds back nothing.
    #[cfg(test)]
    pub(crate) fn until_nothing() -> Self {
        let hold = Self::everything();
        hold.until_index(0);
        hold
    }

    /// Holds back what comes before this index.
    pub(crate) fn until_index(&self, index: u64) {
        self.from.fetch_min(index, Ordering::AcqRel);
    }

    /// Holds back what comes before a later term than this.
    pub(crate) fn until_above_term(&self, term: u64) {
        self.above_term.store(term, Ordering::Release);
    }

    fn allows(&self, applied: &LogId) -> bool {
        if applied.index >= self.from.load(Ordering::Acquire) {
            return true;
        }
        let is_later = term_of(applied) > self.above_term.load(Ordering::Acquire);
        if is_later {
            self.until_index(applied.index);
        }
        is_later
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("applied", &self.applied).finish_non_exhaustive()
    }
}

impl Machine {
    pub(crate) fn new(
        state: Box<dyn StateMachine>,
        snapshots: Arc<SnapshotStore>,
        spawn: SpawnRef,
        applied_index: Sender<Option<u64>>,
        hold: Arc<Hold>,
    ) -> Self {
        let membership = StoredMembership::default();
        Self { state, applied: None, membership, snapshots, spawn, applied_index, hold }
    }

    /// Applies one entry; `Err` if the state machine panicked.
    fn apply_one(&mut self, entry: Entry) -> Result<(), io::Error> {
        let id = entry.log_id;
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(payload) => {
                let state = &mut self.state;
                catching("apply", || state.apply(id.index, &payload.0))?;
            }
            EntryPayload::Membership(members) => {
                self.membership = StoredMembership::new(Some(id), members);
            }
        }
        self.applied = Some(id);
        Ok(())
    }

    /// Publishes what is applied, unless it is held back still.
    pub(crate) fn publish(&mut self) -> Result<(), io::Error> {
        let Some(applied) = self.applied.filter(|applied| self.hold.allows(applied)) else {
            return Ok(());
        };
        let state = &mut self.state;
        catching("publish", || state.publish(applied.index))?;
        // Nobody listening is fine: the handle may be gone already.
        let _unheard = self.applied_index.send(Some(applied.index));
        Ok(())
    }
}

/// Runs a call of the state machine. openraft would not notice that the task which makes these
/// calls is gone, so a panic becomes an error here, which ends Raft; the state that panicked is
/// never used again.
fn catching<T>(call: &'static str, run: impl FnOnce() -> T) -> Result<T, io::Error> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|_| io::Error::other(format!("the state machine panicked in {call}")))
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        // Proposers hear of their entry only when its effect can be seen.
        let mut responders = Vec::new();
        let mut outcome = Ok(());
        while let Some(next) = entries.next().await {
            let (entry, responder) = match next {
                Ok(next) => next,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            };
            if let Err(error) = self.apply_one(entry) {
                outcome = Err(error);
                break;
            }
            responders.extend(responder);
        }
        outcome?;
        self.publish()?;
        for responder in responders {
            responder.send(());
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        let builder = self.get_snapshot_builder().await;
        let bytes = builder.taken.as_ref().map_or(0, |taken| taken.state.len());
        // A snapshot that does not fit would end Raft. Without it the log only grows; the next
        // entries ask again.
        if !force && !self.snapshots.has_room_for(bytes) {
            tracing::warn!(bytes, "no room on the disk for a snapshot; it is put off");
            return None;
        }
        Some(builder)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        let state = &self.state;
        let taken = catching("snapshot", || state.snapshot());
        Builder {
            taken: taken.map(|state| Stored { meta, state: state.into() }),
            snapshots: Arc::clone(&self.snapshots),
            spawn: Arc::clone(&self.spawn),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Bytes,
    ) -> Result<(), io::Error> {
        let stored = Stored { meta: meta.clone(), state: snapshot };
        let snapshots = Arc::clone(&self.snapshots);
        // Durable first: what this node then says it has applied must survive a crash.
        let stored = run_blocking(&self.spawn, move || snapshots.save(&stored).map(|()| stored))
            .await?
            .map_err(in_io)?;
        let state = &mut self.state;
        catching("restore", || state.restore(&stored.state))?.map_err(io::Error::other)?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish()
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Bytes>>, io::Error> {
        let snapshots = Arc::clone(&self.snapshots);
        let newest = run_blocking(&self.spawn, move || snapshots.newest()).await?.map_err(in_io)?;
        Ok(newest.map(|Stored { meta, state }| Snapshot { meta, snapshot: state }))
    }
}

/// Writes the state as it was when the builder was made.
pub(crate) struct Builder {
    /// `Err` if the state machine panicked.
    taken: Result<Stored, io::Error>,
    snapshots: Arc<SnapshotStore>,
    spawn: SpawnRef,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot<Bytes>, io::Error> {
        let used = || io::Error::other("a snapshot is built once");
        let taken = mem::replace(&mut self.taken, Err(used()))?;
        let snapshots = Arc::clone(&self.snapshots);
        let saved = run_blocking(&self.spawn, move || snapshots.save(&taken).map(|()| taken));
        let Stored { meta, state } = saved.await?.map_err(in_io)?;
        Ok(Snapshot { meta, snapshot: state })
    }
}
