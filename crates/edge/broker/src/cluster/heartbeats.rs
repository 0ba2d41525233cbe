//! Brokers tell the controller that they are there; those that do not are fenced. Times are kept in
//! memory only, by whoever leads: a new leader gives everybody a whole session first.

use super::{Cluster, kinds, service};
use crate::controller::Undecided;
use bytes::Bytes;
use jocko_metadata::{BrokerState, Command};
use jocko_net::peers::{Lane, PeerRefusal};
use jocko_types::{BrokerEpoch, BrokerId, Now};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often a broker tells that it is there.
pub(super) const INTERVAL: Duration = Duration::from_millis(300);
/// How long a broker may be silent before it is fenced.
pub(super) const SESSION: Duration = Duration::from_millis(1_500);
/// How long one heartbeat may take.
const BEAT_MAX: Duration = Duration::from_secs(1);
/// A broker whose image is no further behind than this many entries has caught up.
const LAG_MAX: u64 = 64;
/// Refused: no such registration. There is another by now, or none.
const STALE: u16 = 8;

/// What a broker says.
#[derive(Debug, Serialize, Deserialize)]
struct Beat {
    broker_id: BrokerId,
    broker_epoch: BrokerEpoch,
    /// The index its image shows.
    shown_index: u64,
    /// Whether it wants to lead nothing: it is going.
    wants_fence: bool,
}

/// What the controller says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// Whether the broker is fenced now.
    pub(crate) is_fenced: bool,
    /// Milliseconds since the controller last knew of a quorum that follows it.
    #[serde(default)]
    quorum_silence_ms: u64,
}

/// When brokers were last heard of, as the leader knows.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<BTreeMap<BrokerId, Now>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BrokerId, Now>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody is as good as heard of now: another has led until now.
    pub(super) fn begin(&self) {
        self.lock().clear();
    }

    fn hear(&self, broker: BrokerId, now: Now) {
        self.lock().insert(broker, now);
    }

    /// How long a broker has been silent. One that was never heard of begins its session now.
    pub(super) fn silence(&self, broker: BrokerId, now: Now) -> Duration {
        now.since(*self.lock().entry(broker).or_insert(now))
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
    let (state, shown) = {
        let published = cluster.published.load();
        let broker = published.image.broker(beat.broker_id);
        let Some(broker) = broker.filter(|broker| broker.epoch() == beat.broker_epoch) else {
            let words = format!("broker {} is not registered so", beat.broker_id);
            return Err(PeerRefusal::new(STALE, words));
        };
        (broker.state(), u64::try_from(published.index).unwrap_or(0))
    };
    cluster.sessions.hear(beat.broker_id, cluster.clock.now());
    let has_caught_up = beat.shown_index.saturating_add(LAG_MAX) >= shown;
    let wanted = match state {
        BrokerState::Fenced if !beat.wants_fence && has_caught_up => Some(false),
        BrokerState::Live if beat.wants_fence => Some(true),
        BrokerState::Fenced | BrokerState::Live => None,
    };
    let Some(want_fence) = wanted else {
        return Ok(Pulse { is_fenced: state == BrokerState::Fenced, quorum_silence_ms });
    };
    let command = Command::BrokerHeartbeat {
        broker_id: beat.broker_id,
        broker_epoch: beat.broker_epoch,
        want_fence,
        want_shutdown: false,
    };
    match controller.decide_here(command).await {
        Ok(_) => Ok(Pulse { is_fenced: want_fence, quorum_silence_ms }),
        Err(Undecided(code)) => Err(service::not_ready(code.to_string())),
    }
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
            match self.beat(false).await {
                Ok(_) => trouble.clear(),
                Err(words) if words != trouble => {
                    tracing::warn!(
                        "the controller was not told that this broker is there: {words}"
                    );
                    trouble = words;
                }
                Err(_) => {}
            }
            sleep(INTERVAL).await;
        }
    }

    /// Asks to be fenced, so that others lead what this broker does; returns when its own image
    /// shows it, or after `wait`.
    pub(crate) async fn step_back(&self, wait: Duration) {
        let shown = async {
            while self.beat(true).await.is_err() || !self.is_fenced_here() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(wait, shown).await.is_err() {
            tracing::warn!("others did not take over in time");
        }
    }

    fn is_fenced_here(&self) -> bool {
        let published = self.cluster.published.load();
        published.image.broker(self.broker_id).is_none_or(|it| it.state() == BrokerState::Fenced)
    }

    async fn beat(&self, wants_fence: bool) -> Result<Pulse, String> {
        let asked = self.cluster.clock.now();
        let pulse = self.tell(wants_fence).await?;
        let silence = Duration::from_millis(pulse.quorum_silence_ms);
        let known = asked.since_start().saturating_sub(silence);
        self.cluster.contact.heard(Now::from_start(known));
        Ok(pulse)
    }

    async fn tell(&self, wants_fence: bool) -> Result<Pulse, String> {
        let cluster = &self.cluster;
        let shown_index = u64::try_from(cluster.published.load().index).unwrap_or(0);
        let (broker_id, broker_epoch) = (self.broker_id, self.broker_epoch);
        let beat = Beat { broker_id, broker_epoch, shown_index, wants_fence };
        let status = cluster.raft.status();
        if status.is_serving {
            return take(cluster, &beat).await.map_err(|refusal| refusal.to_string());
        }
        let (leader, peer) = status.leader.ok_or("no leader is known")?;
        let address = cluster.book.find(leader.directory_id(), &peer.address);
        let body = serde_json::to_vec(&beat).map_err(|error| error.to_string())?;
        let call = cluster.peers.call(&address, Lane::Control, kinds::HEARTBEAT, body, BEAT_MAX);
        let answer = call.await.map_err(|error| format!("{address}: {error}"))?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_begins_when_a_broker_is_first_looked_for() {
        let at = |millis| Now::from_start(Duration::from_millis(millis));
        let sessions = Sessions::default();
        let broker = BrokerId::new(1);
        let silence = |now| sessions.silence(broker, at(now)).as_millis();
        assert_eq!(silence(10_000), 0);
        assert_eq!(silence(11_499), 1_499);
        sessions.hear(broker, at(11_400));
        assert_eq!(silence(12_900), 1_500);
        sessions.begin();
        assert_eq!(silence(12_950), 0);
    }
}
