//! What the leader does for all: it fences brokers that are silent, keeps the voters, gives topics
//! more copies where brokers have come, brings leaders back to where they belong, and hands over
//! where its own disk is in trouble.

use super::succession::LOOK_MAX;
use super::{Cluster, addresses, heartbeats};
use crate::controller::{Decided, Undecided};
use crate::quorum::LAG_MAX;
use futures_util::future::join_all;
use jocko_consensus::{MembershipError, NodeId, Peer, Raft, RaftStatus};
use jocko_forming::voters::{self, Change, MemberView};
use jocko_metadata::{Broker, BrokerState, Command, DiskTroubleKind, Election, Reply};
use jocko_net::ports::spawn;
use jocko_types::{BrokerId, Now, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How often sessions are looked at.
const ROUND: Duration = Duration::from_millis(100);
/// A broker that is silent for so long has missed a beat: it is looked for.
const SUSPECT: Duration = Duration::from_millis(450);
/// Rounds between looks at who votes.
const VOTERS_EVERY: u32 = 5;
/// How often leaders are brought back to where they belong.
const BALANCE_EVERY: Duration = Duration::from_secs(60);
/// Partitions that are given more copies at once.
const RAISED_MAX: u32 = 20;
/// How long a change of the members may take; it may go on after that.
const CHANGE_MAX: Duration = Duration::from_secs(10);
/// A member that has not answered for so long is not made a voter.
const SILENT_MAX: Duration = Duration::from_secs(1);

/// How often a leader that is drained, or whose disk is in trouble, looks for another to lead in its place.
const STEP_ASIDE_EVERY: Duration = Duration::from_secs(2);
/// How long it waits for Raft to take the order.
const STEP_ASIDE_MAX: Duration = Duration::from_secs(1);

/// Runs until it is aborted, and sleeps while another leads or nobody else is there.
pub(crate) async fn keep(cluster: Arc<Cluster>) {
    let mut news = cluster.raft.watch();
    let mut led = None;
    let mut round: u32 = 0;
    let mut changing: Option<JoinHandle<()>> = None;
    let mut raised = Raised::default();
    let mut balanced = cluster.clock.now();
    let mut stepped_aside = None;
    loop {
        let is_on_duty = |status: &RaftStatus| {
            status.is_serving && status.voters.len() + status.learners.len() > 1
        };
        let Some(status) = news.wait_for(is_on_duty).await else { return };
        let now = cluster.clock.now();
        let (since, has_just_begun) = match led {
            Some((term, since)) if term == status.term => (since, false),
            _ => {
                begin_sessions(&cluster, now);
                led = Some((status.term, now));
                (now, true)
            }
        };
        fence_silent(&cluster, now, has_just_begun).await;
        if stepped_aside.is_none_or(|at| now.since(at) >= STEP_ASIDE_EVERY)
            && step_aside(&cluster, &status).await
        {
            stepped_aside = Some(now);
        }
        round = round.wrapping_add(1);
        // A change waits for its commit; sessions are looked at meanwhile.
        let is_changing = changing.as_ref().is_some_and(|change| !change.is_finished());
        if round.is_multiple_of(VOTERS_EVERY) && !is_changing {
            let members = view(&cluster, &status, now.since(since));
            raise_replication(&cluster, &mut raised).await;
            if now.since(balanced) >= BALANCE_EVERY {
                balanced = now;
                balance_leaders(&cluster).await;
            }
            let unfinished = status.voters_to_be.as_ref();
            let unfinished: Option<BTreeSet<Uuid>> =
                unfinished.map(|nodes| nodes.iter().map(|node| node.directory_id()).collect());
            changing = voters::plan(cluster.node, &members, unfinished.as_ref())
                .map(|change| spawn(carry_out(cluster.raft.clone(), change)));
        }
        sleep(ROUND).await;
    }
}

/// A new leader gives everybody a whole session, but for the node that led before: this one was
/// elected because that one was silent for longer than its lease.
fn begin_sessions(cluster: &Cluster, now: Now) {
    cluster.sessions.begin();
    let lease = cluster.raft.lease();
    let Some((before, silence)) = cluster.raft.leader_silence() else { return };
    // Where leadership was handed over, or a process has ended, nobody was silent for so long.
    if before.directory_id() == cluster.node || silence < lease + lease / 4 {
        return;
    }
    let published = cluster.published.load();
    let mut brokers = published.image.live_brokers();
    let was_led = brokers.find(|it| it.registration.directory == before.directory_id());
    if let Some(broker) = was_led {
        // All who voted had not heard of it for the lease, so it has had no quorum for as long, and
        // its own session, which counts from its last quorum, ends before this one.
        let heard = Now::from_start(now.since_start().saturating_sub(lease));
        cluster.sessions.lock().note(broker.id(), broker.epoch(), heard);
    }
}

/// Brokers that are to be fenced: silent for a whole session, or for longer than between two
/// beats while nobody listens where they were. A process that ended leaves a port that refuses, so
/// its partitions need not wait; one that hangs or is cut off does not, and gets its session.
async fn lost(cluster: &Cluster, now: Now, has_just_begun: bool) -> Vec<Command> {
    let published = cluster.published.load_full();
    let image = &published.image;
    let mut overdue = cluster.sessions.lock().due(image, now, heartbeats::SESSION);
    let is_overdue = |id: BrokerId| {
        let is_about =
            |it: &Command| matches!(it, Command::FenceBroker { broker_id, .. } if *broker_id == id);
        overdue.iter().any(is_about)
    };
    let is_own =
        |id: BrokerId| image.broker(id).is_some_and(|it| it.registration.directory == cluster.node);
    let suspects = image.live_brokers().filter(|broker| {
        let silence = cluster.sessions.lock().silence(broker.id(), broker.epoch(), now);
        let is_suspect = silence >= SUSPECT || has_just_begun;
        is_suspect && !is_own(broker.id()) && !is_overdue(broker.id())
    });
    let looks = suspects.map(|broker| async move {
        let endpoint = broker.endpoint(addresses::PEERS)?;
        let known = addresses::joined(&endpoint.host, endpoint.port);
        let address = cluster.book.find(broker.registration.directory, &known);
        let is_refused = cluster.peers.is_refused(&address, LOOK_MAX).await;
        // One that registers anew meanwhile is left alone.
        let (broker_id, broker_epoch) = (broker.id(), Some(broker.epoch()));
        is_refused.then_some(Command::FenceBroker { broker_id, broker_epoch })
    });
    let ended = join_all(looks.collect::<Vec<_>>()).await;
    overdue.extend(ended.into_iter().flatten());
    // Whoever fences has not ended.
    overdue
        .retain(|it| !matches!(it, Command::FenceBroker { broker_id, .. } if is_own(*broker_id)));
    overdue
}

async fn fence_silent(cluster: &Cluster, now: Now, has_just_begun: bool) {
    let Some(controller) = cluster.controller.get() else { return };
    for command in lost(cluster, now, has_just_begun).await {
        let Command::FenceBroker { broker_id, .. } = command else { continue };
        match controller.decide_here(command).await {
            Ok(_) => tracing::warn!(%broker_id, "a silent broker was fenced"),
            // Whoever leads by then will see to it.
            Err(Undecided(code)) => {
                tracing::debug!(%code, %broker_id, "a silent broker was not fenced");
                return;
            }
        }
    }
}

/// Hands the lead of Raft to a voter that stays and has a good disk, where this node's is in trouble
/// or its broker is to go: what a disk cannot write, or only late, cannot be decided, not even who
/// leads in its place elsewhere. Returns whether it tried.
async fn step_aside(cluster: &Cluster, status: &RaftStatus) -> bool {
    // The ballast is for metadata.
    let trouble = cluster.health.trouble().filter(|it| it.kind != DiskTroubleKind::Short);
    if trouble.is_none() && !is_drained(cluster) {
        return false;
    }
    let Some(next) = heir(cluster, status, status.voters.keys()) else { return false };
    match trouble {
        Some(trouble) => {
            tracing::warn!(%next, "this broker has trouble with its disk ({trouble}): another is to lead the metadata's group");
        }
        None => {
            tracing::info!(%next, "this broker is drained: another is to lead the metadata's group");
        }
    }
    match timeout(STEP_ASIDE_MAX, cluster.raft.hand_over_to(next)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the lead was not handed over"),
        Err(_) => tracing::warn!("the lead was not handed over in time"),
    }
    true
}

/// Whether this node's broker is to go.
fn is_drained(cluster: &Cluster) -> bool {
    let image = &cluster.published.load().image;
    let mut brokers = image.brokers();
    let own = brokers.find(|it| it.registration.directory == cluster.node);
    own.is_some_and(|it| image.is_drained(it.id()))
}

/// Which of some members is to lead in this node's place: the furthest that answers, is not far
/// behind, and whose broker is there, stays and has a good disk.
pub(crate) fn heir<'n>(
    cluster: &Cluster,
    status: &RaftStatus,
    nodes: impl Iterator<Item = &'n NodeId>,
) -> Option<NodeId> {
    let published = cluster.published.load_full();
    let fit: BTreeSet<Uuid> =
        published.image.fit_brokers().map(|it| it.registration.directory).collect();
    let progress = cluster.raft.progress();
    let last = status.last_index.unwrap_or(0);
    let able = |node: &&NodeId| {
        let known = progress.get(node);
        let is_there = known.and_then(|it| it.silent).is_some_and(|silent| silent < SILENT_MAX);
        let matched = known.and_then(|it| it.matched_index);
        let is_near = matched.is_some_and(|index| index.saturating_add(LAG_MAX) >= last);
        let id = node.directory_id();
        id != cluster.node && fit.contains(&id) && is_there && is_near
    };
    let furthest = |node: &&NodeId| progress.get(node).and_then(|it| it.matched_index);
    nodes.filter(able).max_by_key(furthest).copied()
}

/// What is remembered between looks at topics whose replication follows the number of brokers.
#[derive(Default)]
struct Raised {
    /// How many there were.
    brokers: usize,
    is_more: bool,
}

/// Has partitions led by the first of their replicas again where that is in sync: after a broker
/// was away, others lead what it led.
async fn balance_leaders(cluster: &Cluster) {
    let is_off = {
        let published = cluster.published.load();
        let image = &published.image;
        let states = image.topics().flat_map(|topic| topic.partitions.values());
        states.into_iter().any(|state| {
            let first = state.replicas.first();
            let may_lead = |id: &&BrokerId| state.isr.contains(id) && image.is_fit(**id);
            state.leader != first.copied() && first.is_some_and(|id| may_lead(&id))
        })
    };
    let Some(controller) = cluster.controller.get().filter(|_| is_off) else { return };
    let command = Command::ElectLeaders { election: Election::Preferred, partitions: None };
    match controller.decide_here(command).await {
        Ok(_) => tracing::info!("leaders went back to the first of their replicas"),
        Err(undecided) => tracing::debug!(?undecided, "leaders stay for now"),
    }
}

/// Gives topics that leave the number of copies to the cluster more of them where there are more
/// brokers now, some partitions at a time.
async fn raise_replication(cluster: &Cluster, raised: &mut Raised) {
    let brokers = cluster.published.load().image.fit_brokers().count();
    let Some(controller) = cluster.controller.get() else { return };
    if brokers < 2 || (brokers == raised.brokers && !raised.is_more) {
        return;
    }
    let command = Command::RaiseReplication { partitions_max: RAISED_MAX };
    match controller.decide_here(command).await {
        Ok(Decided { reply: Reply::RaiseReplication(Ok(done)), .. }) => {
            *raised = Raised { brokers, is_more: done.is_more };
            if done.partitions > 0 {
                tracing::info!(partitions = done.partitions, brokers, "given more copies");
            }
        }
        // The next look asks again.
        other => tracing::debug!(?other, "no copies were added"),
    }
}

async fn carry_out(raft: Raft, change: Change) {
    let made = async {
        match &change {
            Change::Voters(nodes) => {
                let voters: BTreeSet<NodeId> = nodes.iter().copied().map(NodeId::new).collect();
                raft.set_voters(voters, true).await
            }
            Change::Dismiss(node) => raft.dismiss(BTreeSet::from([NodeId::new(*node)])).await,
        }
    };
    match timeout(CHANGE_MAX, made).await {
        Ok(Ok(())) => tracing::info!(?change, "changed the members of the metadata's group"),
        Ok(Err(MembershipError::Refused(why))) => tracing::debug!(%why, "members stay for now"),
        Ok(Err(error)) => tracing::warn!(%error, "the members were not changed"),
        Err(_) => tracing::warn!(?change, "a change of the members takes long"),
    }
}

fn view(cluster: &Cluster, status: &RaftStatus, led: Duration) -> BTreeMap<Uuid, MemberView> {
    let progress = raft_progress(cluster);
    let published = cluster.published.load();
    let by_directory = |it: &Arc<Broker>| (it.registration.directory, Arc::clone(it));
    let registered: BTreeMap<Uuid, Arc<Broker>> =
        published.image.brokers().map(by_directory).collect();
    let last = status.last_index.unwrap_or(0);
    let member = |votes: bool, node: &NodeId, peer: &Peer| {
        let id = node.directory_id();
        let is_leader = id == cluster.node;
        let (matched, silent) = progress.get(&id).copied().unwrap_or((None, None));
        // Nobody is silent for longer than this node listens.
        let silent = if is_leader { Duration::ZERO } else { silent.unwrap_or(led).min(led) };
        let is_near = matched.is_some_and(|index| index.saturating_add(LAG_MAX) >= last);
        let broker = registered.get(&id);
        let view = MemberView {
            votes,
            has_caught_up: is_leader || (is_near && silent < SILENT_MAX),
            silent,
            is_registered: broker.is_some(),
            is_live: broker.is_some_and(|it| it.state() == BrokerState::Live && !it.is_retiring),
            rack: broker.and_then(|it| it.registration.rack.clone()).unwrap_or_default(),
            stays_out: peer.stays_out,
            is_drained: broker.is_some_and(|it| published.image.is_drained(it.id())),
        };
        (id, view)
    };
    let voters = status.voters.iter().map(|(node, peer)| member(true, node, peer));
    let learners = status.learners.iter().map(|(node, peer)| member(false, node, peer));
    voters.chain(learners).collect()
}

/// By node: the index its log matches to, and how long it has been silent.
fn raft_progress(cluster: &Cluster) -> BTreeMap<Uuid, (Option<u64>, Option<Duration>)> {
    let progress = cluster.raft.progress().into_iter();
    progress.map(|(node, it)| (node.directory_id(), (it.matched_index, it.silent))).collect()
}
