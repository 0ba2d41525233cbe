//! Brokers tell the controller that they are there; those that do not are fenced. Times are kept in
//! memory only, by whoever leads: a new leader gives everybody a whole session first, but for the
//! broker that led before it and was silent (`keeper`).

use super::{Cluster, addresses, kinds, service, succession};
use crate::controller::{ControllerHandle, Decided, Undecided};
use bytes::Bytes;
use jocko_metadata::{
    Broker, BrokerState, Command, DiskTrouble, HeartbeatState, Heartbeats, Reply,
};
use jocko_net::peers::{Lane, PeerError, PeerRefusal};
use jocko_types::{BrokerEpoch, BrokerId, Now};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// How often a broker tells that it is there.
pub(super) const INTERVAL: Duration = Duration::from_millis(300);
/// How long a broker may be silent before it is fenced.
pub(super) const SESSION: Duration = Duration::from_millis(1_500);
/// How often a broker that is going asks whether it may.
const STEP: Duration = Duration::from_millis(20);
/// Answers that may wait for what they tell of; older ones say little by then.
const ANSWERED_MAX: usize = 8;
/// How long one heartbeat may take.
const BEAT_MAX: Duration = Duration::from_secs(1);
/// A broker whose image is no further behind than this many entries has caught up.
const LAG_MAX: u64 = 64;
/// Refused: there is no such broker any more.
const REMOVED: u16 = 8;
/// Refused: another process has registered as this broker since.
const DISPLACED: u16 = 9;

/// What a broker says.
#[derive(Debug, Serialize, Deserialize)]
struct Beat {
    broker_id: BrokerId,
    broker_epoch: BrokerEpoch,
    /// The index its image shows.
    shown_index: u64,
    #[serde(flatten)]
    wish: Wish,
    /// What is wrong with its disk.
    #[serde(default)]
    disk: Option<DiskTrouble>,
}

/// What a broker wants, besides being heard.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Wish {
    /// To lead nothing from now on: it is gone in a moment.
    wants_fence: bool,
    /// To hand over what it leads, and then to leave the in-sync sets: it is going.
    #[serde(default)]
    wants_shutdown: bool,
}

/// What the controller says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// Whether the broker is fenced now.
    pub(crate) is_fenced: bool,
    /// Whether others lead whatever they can by now, and nobody counts on this broker's copies.
    #[serde(default)]
    may_shut_down: bool,
    /// All that the controller knows to be committed. Whoever has not seen that yet may lead by an
    /// old image.
    #[serde(default)]
    shown_index: u64,
    /// Milliseconds since the controller last knew of a quorum that follows it.
    #[serde(default)]
    quorum_silence_ms: u64,
}

/// When brokers were last heard of, as the leader knows.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Heartbeats>);

impl Sessions {
    pub(super) fn lock(&self) -> MutexGuard<'_, Heartbeats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody is as good as heard of now: another has led until now.
    pub(super) fn begin(&self) {
        *self.lock() = Heartbeats::default();
    }
}

/// Takes a heartbeat.
pub(super) async fn hear(cluster: &Cluster, body: &Bytes) -> Result<Vec<Bytes>, PeerRefusal> {
    let malformed =
        |error: serde_json::Error| PeerRefusal::new(kinds::MALFORMED, error.to_string());
    let beat: Beat = serde_json::from_slice(body).map_err(malformed)?;
    let pulse = take(cluster, &beat).await?;
    Ok(vec![serde_json::to_vec(&pulse).map_err(malformed)?.into()])
}

async fn take(cluster: &Cluster, beat: &Beat) -> Result<Pulse, PeerRefusal> {
    let Some(controller) = cluster.controller.get() else {
        return Err(service::not_ready("this broker does not lead"));
    };
    // One that others may have replaced must not let anybody go on.
    let Some(quorum_silence) = cluster.raft.quorum_silence() else {
        return Err(service::not_ready("this broker does not know that it leads"));
    };
    let quorum_silence_ms = u64::try_from(quorum_silence.as_millis()).unwrap_or(u64::MAX);
    let (state, shown, known) = {
        let published = cluster.published.load();
        let broker = published.image.broker(beat.broker_id);
        let broker = broker.ok_or_else(|| disowned(beat.broker_id, None))?;
        if broker.epoch() < beat.broker_epoch {
            return Err(service::not_ready("that registration is not seen here yet"));
        }
        if broker.epoch() != beat.broker_epoch {
            return Err(disowned(beat.broker_id, Some(broker)));
        }
        (broker.state(), u64::try_from(published.index).unwrap_or(0), broker.disk.clone())
    };
    // What this node has not applied yet, others may have, and lead by it.
    let committed = cluster.raft.metrics().commit_index.unwrap_or(0).max(shown);
    cluster.sessions.lock().note(beat.broker_id, beat.broker_epoch, cluster.clock.now());
    if known.map(|it| it.kind) != beat.disk.as_ref().map(|it| it.kind) {
        report_disk(controller, beat).await;
    }
    let has_caught_up = beat.shown_index.saturating_add(LAG_MAX) >= shown;
    let Wish { wants_fence: want_fence, wants_shutdown: want_shutdown } = beat.wish;
    let is_news = match state {
        BrokerState::Fenced => !want_fence && has_caught_up,
        BrokerState::Live => want_fence,
    };
    if !is_news && !want_shutdown {
        let is_fenced = state == BrokerState::Fenced;
        let may_shut_down = false;
        return Ok(Pulse { is_fenced, may_shut_down, shown_index: committed, quorum_silence_ms });
    }
    let command = Command::BrokerHeartbeat {
        broker_id: beat.broker_id,
        broker_epoch: beat.broker_epoch,
        want_fence,
        want_shutdown,
    };
    match controller.decide_here(command).await {
        Ok(Decided { reply: Reply::BrokerHeartbeat(Ok(state)), .. }) => {
            let HeartbeatState { is_fenced, may_shut_down } = state;
            Ok(Pulse { is_fenced, may_shut_down, shown_index: committed, quorum_silence_ms })
        }
        Ok(Decided { reply, .. }) => Err(service::not_ready(format!("{reply:?}"))),
        Err(Undecided(code)) => Err(service::not_ready(code.to_string())),
    }
}

/// What a process is told that is no broker of the cluster any more.
fn disowned(broker_id: BrokerId, successor: Option<&Broker>) -> PeerRefusal {
    let Some(successor) = successor else {
        let words = format!(
            "broker {broker_id} was removed from the cluster: stop it; started again, it comes \
             back to the cluster"
        );
        return PeerRefusal::new(REMOVED, words);
    };
    let at = successor.endpoint(addresses::PEERS);
    let at = at.map(|it| addresses::joined(&it.host, it.port)).unwrap_or_default();
    let words = format!(
        "broker {broker_id} is another process by now, at {at}: only one of the two can be it, and \
         this one ends"
    );
    PeerRefusal::new(DISPLACED, words)
}

/// Has decided what follows from what a broker says of its disk. What cannot be decided now is
/// with its next beat: that it is there counts all the same.
async fn report_disk(controller: &ControllerHandle, beat: &Beat) {
    let (broker_id, broker_epoch) = (beat.broker_id, beat.broker_epoch);
    let trouble = beat.disk.clone();
    let words = trouble.as_ref().map_or_else(|| "its disk is well".to_owned(), |it| it.to_string());
    let command = Command::ReportDisk { broker_id, broker_epoch, trouble };
    match controller.decide_here(command).await {
        Ok(Decided { reply: Reply::ReportDisk(Ok(())), .. }) => {
            tracing::warn!(broker = broker_id.get(), "broker {broker_id}: {words}");
        }
        other => tracing::debug!(?other, "what a broker says of its disk was not decided"),
    }
}

/// An answer that does not count yet.
struct Answered {
    /// When it was asked for, or when the controller last had a quorum before that.
    asked: Now,
    shown_index: u64,
}

/// A broker's own heart.
#[derive(Clone)]
pub(crate) struct Beating {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) broker_id: BrokerId,
    pub(crate) broker_epoch: BrokerEpoch,
}

impl Beating {
    /// Beats until it is aborted. A broker that is alone needs no heart: it sleeps until there is
    /// somebody.
    pub(crate) async fn run(self) {
        let mut news = self.cluster.raft.watch();
        let mut trouble = String::new();
        let mut answered = VecDeque::new();
        loop {
            let has_company = |status: &jocko_consensus::RaftStatus| {
                status.voters.len() + status.learners.len() > 1
            };
            if !has_company(&news.get()) {
                self.cluster.contact.alone();
            }
            if news.wait_for(has_company).await.is_none() {
                return;
            }
            self.cluster.contact.in_company();
            let asked = self.cluster.clock.now().since_start();
            match self.tell(Wish::default()).await {
                Ok(pulse) => {
                    trouble.clear();
                    self.cluster.contact.disown("");
                    let silence = Duration::from_millis(pulse.quorum_silence_ms);
                    let asked = Now::from_start(asked.saturating_sub(silence));
                    answered.push_back(Answered { asked, shown_index: pulse.shown_index });
                }
                Err(words) => {
                    if words != trouble {
                        tracing::warn!(
                            "the controller was not told that this broker is there: {words}"
                        );
                        trouble = words;
                    }
                    succession::succeed_if_gone(&self.cluster).await;
                }
            }
            self.rest(&mut answered).await;
        }
    }

    /// Has others lead what this broker does, leaves the in-sync sets, and is fenced; returns when
    /// its own image shows it, or after `wait`. In this order nobody waits: who leads next is there
    /// before this one goes, and does not count on it afterwards.
    pub(crate) async fn step_back(&self, wait: Duration) {
        let leaving = Wish { wants_shutdown: true, ..Wish::default() };
        let gone = Wish { wants_fence: true, ..Wish::default() };
        let shown = async {
            while !self.tell(leaving).await.is_ok_and(|pulse| pulse.may_shut_down) {
                sleep(STEP).await;
            }
            while self.tell(gone).await.is_err() || !self.is_fenced_here() {
                sleep(STEP).await;
            }
        };
        match timeout(wait, shown).await {
            Ok(()) => tracing::info!("others lead what this broker led"),
            Err(_) => tracing::warn!("others did not take over in time"),
        }
    }

    fn is_fenced_here(&self) -> bool {
        let published = self.cluster.published.load();
        published.image.broker(self.broker_id).is_none_or(|it| it.state() == BrokerState::Fenced)
    }

    /// Rests until the next beat is due. What was answered counts once the own image shows all that
    /// the controller's did: after a time apart, this broker may have been replaced meanwhile.
    async fn rest(&self, answered: &mut VecDeque<Answered>) {
        let due = Instant::now() + INTERVAL;
        while let Some(first) = answered.front() {
            let shown = self.cluster.raft.wait_applied(first.shown_index);
            if timeout_at(due, shown).await != Ok(true) {
                break;
            }
            self.cluster.contact.heard(first.asked);
            answered.pop_front();
        }
        if answered.len() > ANSWERED_MAX {
            answered.pop_front();
        }
        sleep_until(due).await;
    }

    /// What the controller says to a process that is no broker any more.
    fn hear_refusal(&self, refusal: &PeerRefusal) {
        let contact = &self.cluster.contact;
        if matches!(refusal.code, REMOVED | DISPLACED) && contact.disown(&refusal.words) {
            tracing::warn!("{}", refusal.words);
        }
        if refusal.code == DISPLACED {
            contact.displace(&refusal.words);
        }
    }

    async fn tell(&self, wish: Wish) -> Result<Pulse, String> {
        let cluster = &self.cluster;
        let shown_index = u64::try_from(cluster.published.load().index).unwrap_or(0);
        let (broker_id, broker_epoch) = (self.broker_id, self.broker_epoch);
        let disk = cluster.health.look(cluster.clock.now());
        let beat = Beat { broker_id, broker_epoch, shown_index, wish, disk };
        let status = cluster.raft.status();
        if status.is_serving {
            return take(cluster, &beat).await.map_err(|refusal| refusal.to_string());
        }
        let (leader, peer) = status.leader.ok_or("no leader is known")?;
        let address = cluster.book.find(leader.directory_id(), &peer.address);
        let body = serde_json::to_vec(&beat).map_err(|error| error.to_string())?;
        let call = cluster.peers.call(&address, Lane::Control, kinds::HEARTBEAT, body, BEAT_MAX);
        let answer = call.await.map_err(|error| {
            if let PeerError::Refused(refusal) = &error {
                self.hear_refusal(refusal);
            }
            format!("{address}: {error}")
        })?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }
}
