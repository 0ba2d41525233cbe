//! The handle: start, propose, watch, serve, stop.

use openraft::async_runtime::{WatchReceiver, WatchSender};
use openraft::errors::{ClientWriteError, Fatal, InitializeError, RaftError};
use openraft::{ChangeMembers, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jocko_disk::DiskRef;
use jocko_net::ports::SpawnRef;

use crate::blocking::run_blocking;
use crate::config::RaftConfig;
use crate::error::{MembershipError, ProposeError, StartError};
use crate::id::{NodeId, Peer};
use crate::log::LogStore;
use crate::machine::{Hold, Machine, StateMachine};
use crate::metrics::{Counters, RaftMetrics};
use crate::network::{Connections, NetworkRef};
use crate::pieces::Incoming;
use crate::runtime::{Receiver, Sender, channel};
use crate::snapshot::SnapshotStore;
use crate::status::{PeerProgress, RaftStatus, Role, StatusWatch};
use crate::types::{LogId, Types};

mod proposing;
mod serving;

pub use proposing::Lead;
use proposing::{Pending, propose_error};
use serving::Heard;

type Openraft = openraft::Raft<Types, Machine>;

/// One node of the group. Clones share it.
#[derive(Clone)]
pub struct Raft {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Openraft,
    disk: DiskRef,
    config: RaftConfig,
    log: LogStore,
    voters_found: BTreeSet<NodeId>,
    counters: Arc<Counters>,
    status: Receiver<RaftStatus>,
    applied_index: Receiver<Option<u64>>,
    hold: Arc<Hold>,
    incoming: Incoming,
    heard: Mutex<Option<Heard>>,
    pending: Mutex<Vec<Pending>>,
    is_shut_down: Arc<AtomicBool>,
}

impl fmt::Debug for Raft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raft").field("node", &self.inner.config.node).finish_non_exhaustive()
    }
}

impl Raft {
    /// Opens the log and starts this node on the current tokio runtime. Blocking work goes to
    /// `spawn`. The newest snapshot and all entries known to be committed are applied to `state`
    /// before this returns. A node that is the only voter begins its election at once, without
    /// waiting for a timeout.
    ///
    /// # Errors
    /// Any fault of the disk, and contradictions in what it holds.
    pub async fn start(
        config: RaftConfig,
        disk: DiskRef,
        spawn: SpawnRef,
        state: Box<dyn StateMachine>,
        network: NetworkRef,
    ) -> Result<Self, StartError> {
        let openraft_config = Arc::new(config.to_openraft()?);
        let counters = Arc::new(Counters::default());
        let (log, snapshots) = open_files(&config, disk.clone(), &spawn, &counters).await?;
        let (applied_sender, applied_index) = channel(None);
        let hold = Arc::new(Hold::everything());
        let (snapshots, held) = (Arc::new(snapshots), Arc::clone(&hold));
        let (last_index, newest_term) = (log.last_index(), log.newest_term());
        let machine = Machine::new(state, snapshots, spawn, applied_sender, held);
        let connections = Connections { network, piece_bytes: config.snapshot_piece_bytes };
        let raft = Openraft::new(config.node, openraft_config, connections, log.clone(), machine)
            .await
            .map_err(|fatal| StartError::Stopped(fatal.to_string().into()))?;

        // The metrics say nothing before the core has run once; its own state does.
        let voters_found: BTreeSet<NodeId> = raft
            .with_raft_state(|state| state.membership_state.effective().voter_ids().collect())
            .await
            .map_err(|fatal| StartError::Stopped(fatal.to_string().into()))?;
        let (status_sender, status) = channel(RaftStatus::of(&raft.metrics().borrow_watched()));
        let is_shut_down = Arc::new(AtomicBool::new(false));
        jocko_net::ports::spawn(observe(raft.clone(), status_sender, Arc::clone(&is_shut_down)));
        jocko_net::ports::spawn(beat(raft.clone(), status.clone(), config.heartbeat_interval));
        if voters_found.iter().eq([&config.node]) {
            // All that its log holds will be committed.
            hold.until_index(last_index);
            let elected = raft.trigger().elect(false).await;
            elected.map_err(|fatal| StartError::Stopped(fatal.to_string().into()))?;
        } else if log.is_blank() {
            hold.until_index(0);
        } else {
            // Others may hold other entries than the last ones here, and more of them.
            hold.until_above_term(newest_term);
        }
        let inner = Inner {
            raft,
            disk,
            config,
            log,
            voters_found,
            counters,
            status,
            applied_index,
            hold,
            incoming: Incoming::default(),
            heard: Mutex::default(),
            pending: Mutex::default(),
            is_shut_down,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether this node's directory holds nothing of any group: no vote, no entry.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.inner.log.is_blank()
    }

    /// Who voted, as far as the directory knew when this node started; nobody on a blank one. A
    /// node that is alone and not among them waits for ever: its log came from another directory.
    #[must_use]
    pub fn voters_found(&self) -> &BTreeSet<NodeId> {
        &self.inner.voters_found
    }

    /// Forms a group of this node alone. It then elects itself at once; watch for
    /// [`RaftStatus::is_serving`].
    ///
    /// # Errors
    /// As [`Raft::bootstrap`].
    pub async fn bootstrap_single(&self) -> Result<(), StartError> {
        let config = &self.inner.config;
        self.bootstrap(BTreeMap::from([(config.node, config.peer.clone())])).await
    }

    /// Forms a group of `voters`. One node of them is enough to do this, and several may if they
    /// name the same voters.
    ///
    /// # Errors
    /// [`StartError::NotBlank`] if this node belongs to a group already.
    pub async fn bootstrap(&self, voters: BTreeMap<NodeId, Peer>) -> Result<(), StartError> {
        match self.inner.raft.initialize(voters).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Err(StartError::NotBlank),
            Err(RaftError::APIError(InitializeError::NotInMembers(error))) => {
                Err(StartError::Config(error.to_string()))
            }
            Err(RaftError::Fatal(fatal)) => Err(StartError::Stopped(fatal.to_string().into())),
        }
    }

    /// How long ago this node, which leads and serves, knew of a quorum that follows it: zero where
    /// it votes alone, `None` where it does not lead or the time is above the leader's lease.
    #[must_use]
    pub fn quorum_silence(&self) -> Option<Duration> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let status = RaftStatus::of(&metrics);
        let silence = silence(&status, &metrics).filter(|_| status.is_serving)?;
        (silence < self.inner.config.lease()).then_some(silence)
    }

    fn fatal(&self, fatal: &Fatal<Types>) -> ProposeError {
        let told = self.inner.status.borrow_watched().fatal.clone();
        ProposeError::Fatal(told.unwrap_or_else(|| fatal.to_string().into()))
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        self.inner.status.borrow_watched().clone()
    }

    /// Sees every later change of the status.
    #[must_use]
    pub fn watch(&self) -> StatusWatch {
        StatusWatch(self.inner.status.clone())
    }

    /// Says that `index` was committed after this node started, as a leader told it: from there on
    /// what is applied is published. A node with peers publishes nothing before that, or before an
    /// entry of a new term shows that it has caught up.
    ///
    /// # Errors
    /// [`ProposeError::Fatal`] if Raft has ended.
    pub async fn publish_from(&self, index: u64) -> Result<(), ProposeError> {
        self.inner.hold.until_index(index);
        // It may be applied already, and nothing may come after it for long.
        let published = self.inner.raft.with_state_machine(|machine: &mut Machine| {
            let published = machine.publish();
            Box::pin(async move { published })
        });
        let published = published.await;
        match published.map_err(|fatal| self.fatal(&fatal))? {
            Ok(()) => Ok(()),
            Err(error) => Err(ProposeError::Fatal(error.to_string().into())),
        }
    }

    /// How far the others are, as long as this node leads.
    #[must_use]
    pub fn progress(&self) -> BTreeMap<NodeId, PeerProgress> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (Some(matched), Some(heard)) = (&metrics.replication, &metrics.heartbeat) else {
            return BTreeMap::new();
        };
        let progress = |(id, matched): (&NodeId, &Option<LogId>)| {
            let heard = heard.get(id).copied().flatten();
            let silent = heard.map(|at| Instant::elapsed(&*at));
            (*id, PeerProgress { matched_index: matched.map(|id| id.index), silent })
        };
        matched.iter().map(progress).collect()
    }

    /// Waits until the entry at `index` is applied here and published. `false` if Raft ended
    /// before that.
    pub async fn wait_applied(&self, index: u64) -> bool {
        let mut applied = self.inner.applied_index.clone();
        applied.wait_until(|applied| *applied >= Some(index)).await.is_ok()
    }

    /// Waits until all that this node has heard so far is on its own disk. A follower applies what a
    /// majority holds, which need not be this disk: whoever notes elsewhere what was applied here,
    /// and has to find it again after a power cut, waits for this first.
    ///
    /// # Errors
    /// [`StartError::Stopped`] if the disk fails, which ends Raft.
    pub async fn flush(&self) -> Result<(), StartError> {
        let flushed = self.inner.log.flush().await;
        flushed.map_err(|error| StartError::Stopped(error.to_string().into()))
    }

    /// Figures for `/metrics`.
    #[must_use]
    pub fn metrics(&self) -> RaftMetrics {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let status = RaftStatus::of(&metrics);
        let (flushes, flush_time) = self.inner.counters.flushes();
        let (proposals, proposals_refused) = self.inner.counters.proposals();
        RaftMetrics {
            term: status.term,
            is_leader: status.role == Role::Leader,
            voters: status.voters.len(),
            last_index: status.last_index,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            snapshot_index: metrics.snapshot.as_ref().map(|id| id.index),
            purged_index: metrics.purged.as_ref().map(|id| id.index),
            proposals,
            proposals_refused,
            flushes,
            flush_time,
        }
    }

    /// Adds a node that receives the log without a vote, and waits until it has caught up.
    ///
    /// # Errors
    /// As for a proposal, or [`MembershipError::Refused`].
    pub async fn add_learner(&self, node: NodeId, peer: Peer) -> Result<(), MembershipError> {
        self.check_may_propose()?;
        let added = self.inner.raft.add_learner(node, peer, true).await;
        added.map(drop).map_err(|error| self.membership_error(error))
    }

    /// Adds a node that receives the log without a vote, and does not wait for it. One that is a
    /// member already stays what it is.
    ///
    /// # Errors
    /// As for a proposal, or [`MembershipError::Refused`].
    pub async fn admit(&self, node: NodeId, peer: Peer) -> Result<(), MembershipError> {
        self.check_may_propose()?;
        let added = self.inner.raft.add_learner(node, peer, false).await;
        added.map(drop).map_err(|error| self.membership_error(error))
    }

    /// Lets go of members that do not vote.
    ///
    /// # Errors
    /// As for a proposal, or [`MembershipError::Refused`]: of a voter, too.
    pub async fn dismiss(&self, nodes: BTreeSet<NodeId>) -> Result<(), MembershipError> {
        self.check_may_propose()?;
        let change = ChangeMembers::RemoveNodes(nodes);
        let changed = self.inner.raft.change_membership(change, true).await;
        changed.map(drop).map_err(|error| self.membership_error(error))
    }

    /// Notes where a member is reached now. Its identity is its directory's and stays, so that no
    /// other node is brought in by this.
    ///
    /// # Errors
    /// As for a proposal, or [`MembershipError::Refused`].
    pub async fn relocate(&self, node: NodeId, peer: Peer) -> Result<(), MembershipError> {
        self.check_may_propose()?;
        let change = ChangeMembers::SetNodes(BTreeMap::from([(node, peer)]));
        let changed = self.inner.raft.change_membership(change, true).await;
        changed.map(drop).map_err(|error| self.membership_error(error))
    }

    /// Notes that a member shall not be given a vote by itself, or may be again. Whether it has one
    /// now does not change.
    ///
    /// # Errors
    /// As for a proposal, or [`MembershipError::Refused`]: of one that is no member, too.
    pub async fn keep_out(&self, node: NodeId, stays_out: bool) -> Result<(), MembershipError> {
        let status = self.status();
        let known = status.voters.get(&node).or_else(|| status.learners.get(&node));
        match known {
            Some(peer) if peer.stays_out == stays_out => Ok(()),
            Some(peer) => self.relocate(node, Peer { stays_out, ..peer.clone() }).await,
            None => Err(MembershipError::Refused(format!("{node} is no member").into())),
        }
    }

    /// Makes exactly these members the voters. All must be members already; former voters that are
    /// not named remain as learners if `keep_others`, and are removed otherwise.
    ///
    /// # Errors
    /// As for a proposal, or [`MembershipError::Refused`].
    pub async fn set_voters(
        &self,
        voters: BTreeSet<NodeId>,
        keep_others: bool,
    ) -> Result<(), MembershipError> {
        self.check_may_propose()?;
        let change = ChangeMembers::ReplaceAllVoters(voters);
        let changed = self.inner.raft.change_membership(change, keep_others).await;
        changed.map(drop).map_err(|error| self.membership_error(error))
    }

    fn membership_error(
        &self,
        error: RaftError<Types, ClientWriteError<Types>>,
    ) -> MembershipError {
        match error {
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
                MembershipError::Refused(error.to_string().into())
            }
            RaftError::APIError(error) => propose_error(error).into(),
            RaftError::Fatal(fatal) => self.fatal(&fatal).into(),
        }
    }

    /// Hands leadership to a voter, before a shutdown. The change shows in the status.
    ///
    /// # Errors
    /// [`ProposeError::Fatal`] if Raft has ended.
    pub async fn hand_over_to(&self, node: NodeId) -> Result<(), ProposeError> {
        let asked = self.inner.raft.trigger().transfer_leader(node).await;
        asked.map_err(|fatal| self.fatal(&fatal))
    }

    /// Takes a snapshot now, in the background.
    ///
    /// # Errors
    /// [`ProposeError::Fatal`] if Raft has ended.
    pub async fn snapshot(&self) -> Result<(), ProposeError> {
        self.inner.raft.trigger().snapshot().await.map_err(|fatal| self.fatal(&fatal))
    }

    /// Stops this node and closes its log cleanly. Proposals under way end as
    /// [`ProposeError::Fatal`]; whether they commit is then up to the others.
    ///
    /// # Errors
    /// Any fault of the disk while closing: the next start recovers as after a crash.
    pub async fn shutdown(&self) -> Result<(), StartError> {
        self.inner.is_shut_down.store(true, Ordering::Release);
        self.inner.log.stop_waiting();
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop in order");
        }
        let closed = self.inner.log.close().await;
        closed.map_err(|error| StartError::Stopped(error.to_string().into()))
    }
}

async fn open_files(
    config: &RaftConfig,
    disk: DiskRef,
    spawn: &SpawnRef,
    counters: &Arc<Counters>,
) -> Result<(LogStore, SnapshotStore), StartError> {
    let (dir, counters, log_spawn) = (config.dir.clone(), Arc::clone(counters), Arc::clone(spawn));
    let opened = run_blocking(spawn, move || {
        let log = LogStore::open(&disk, &dir, log_spawn, counters)?;
        Ok((log, SnapshotStore::open(disk, dir)?))
    });
    opened.await.map_err(|error| StartError::Stopped(error.to_string().into()))?
}

/// How long ago a quorum last answered this leader.
fn silence(status: &RaftStatus, metrics: &openraft::RaftMetrics<Types>) -> Option<Duration> {
    match status.voters.len() {
        // A node that votes alone agrees with itself at all times.
        0 | 1 => Some(Duration::ZERO),
        _ => metrics.last_quorum_acked.as_deref().map(Instant::elapsed),
    }
}

/// Publishes every change, and keeps the timers running only while there is somebody to talk to:
/// a node that is alone sleeps until it is asked something.
async fn observe(raft: Openraft, status: Sender<RaftStatus>, is_shut_down: Arc<AtomicBool>) {
    let mut metrics = raft.metrics();
    let mut changed = Ok(());
    loop {
        let now = RaftStatus::of(&metrics.borrow_and_update());
        raft.runtime_config().tick(now.has_peers());
        let has_ended = changed.is_err() || metrics.borrow_watched().running_state.is_err();
        let before = status.borrow_watched().clone();
        log_change(&before, &now);
        let mut now = now;
        if has_ended && now.fatal.is_none() && !is_shut_down.load(Ordering::Acquire) {
            now.fatal = Some("raft ended unasked".into());
        }
        if let Some(words) = &now.fatal {
            tracing::error!(reason = %words, "raft has ended");
        }
        status.send_if_different(now);
        if has_ended {
            return;
        }
        changed = metrics.changed().await;
    }
}

/// While this node leads others, tells them so once an interval. A follower is asked one thing at a
/// time: to one that takes longer to answer, the next heartbeat goes out when it has.
async fn beat(raft: Openraft, mut status: Receiver<RaftStatus>, interval: Duration) {
    let leads_others = |status: &RaftStatus| status.role == Role::Leader && status.has_peers();
    loop {
        let is_due = leads_others(&status.borrow_watched());
        let has_ended = if is_due {
            tokio::time::sleep(interval).await;
            raft.trigger().heartbeat().await.is_err()
        } else {
            status.changed().await.is_err()
        };
        if has_ended {
            return;
        }
    }
}

/// One line per change of role or leader.
fn log_change(before: &RaftStatus, now: &RaftStatus) {
    if before.role != now.role || before.leader != now.leader {
        let leader = now.leader.as_ref().map(|(id, _)| id.to_string());
        let leader = leader.as_deref().unwrap_or("none");
        tracing::info!(role = ?now.role, leader, term = now.term, "raft role changed");
    }
}
