//! A fixed list of cluster addresses, each asked who it is: for networks without UDP.
//!
//! Nothing is passed on: a broker is found by those whose list leads to it. What asking means is
//! the caller's: a call over the cluster port, where both sides prove the secret.

use crate::member::{Discovery, Event, EventKind, Leaving, Member, Members};
use crate::roster::Roster;
use crate::tags::{self, MemberTooLong};
use futures_util::future::join_all;
use jocko_config::HostPort;
use jocko_types::{Timestamp, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// An address being asked who it is.
pub type Probing = Pin<Box<dyn Future<Output = Result<Member, String>> + Send>>;

/// Asks the cluster port at `host:port` who it is; an error says why it did not tell.
pub type Probe = Arc<dyn Fn(String) -> Probing + Send + Sync>;

/// Addresses that are asked; names may have more than any cluster has brokers.
const ADDRESSES_MAX: usize = 256;

/// How long between two reminders that nobody is found.
const REMINDER: Duration = Duration::from_secs(300);

/// Whom to ask, and how often.
#[derive(Debug, Clone)]
pub struct SeedSettings {
    /// Cluster addresses; a name is asked at all its addresses.
    pub seeds: Vec<HostPort>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The pause between rounds at first. It doubles up to `pause_max` while nothing changes.
    pub pause_min: Duration,
    /// The longest pause between rounds: a broker that falls silent is missed after about
    /// `silent_rounds` of them.
    pub pause_max: Duration,
    /// Rounds a broker may be silent for.
    pub silent_rounds: u32,
}

impl SeedSettings {
    /// The usual pace for these seeds.
    #[must_use]
    pub fn new(seeds: Vec<HostPort>) -> Self {
        Self {
            seeds,
            timeout: Duration::from_secs(2),
            pause_min: Duration::from_millis(200),
            pause_max: Duration::from_secs(5),
            silent_rounds: 3,
        }
    }
}

/// Discovery by a fixed list.
pub struct StaticSeeds {
    roster: Arc<Roster>,
    task: JoinHandle<()>,
}

impl fmt::Debug for StaticSeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticSeeds").field("members", &self.members()).finish_non_exhaustive()
    }
}

impl StaticSeeds {
    /// Begins to ask. `node` is this broker itself, which the list may lead to. It must be called
    /// within a tokio runtime.
    #[must_use]
    pub fn start(settings: SeedSettings, node: Uuid, probe: Probe) -> Self {
        let roster = Arc::new(Roster::new());
        let found = Arc::clone(&roster);
        let task = tokio::spawn(async move {
            Rounds { settings, node, probe, roster: found, silent: BTreeMap::new() }.run().await;
        });
        Self { roster, task }
    }
}

impl Discovery for StaticSeeds {
    fn changed(&self) -> watch::Receiver<Members> {
        self.roster.changed()
    }

    /// Whoever asks is told by the cluster port, not from here.
    fn announce(&self, me: Member) -> Result<(), MemberTooLong> {
        tags::encode(&me).map(|_| ())
    }

    fn leave(&self) -> Leaving {
        self.task.abort();
        self.roster.forget_all();
        Box::pin(std::future::ready(()))
    }

    fn events(&self) -> Vec<Event> {
        self.roster.events()
    }
}

impl Drop for StaticSeeds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task that asks.
struct Rounds {
    settings: SeedSettings,
    node: Uuid,
    probe: Probe,
    roster: Arc<Roster>,
    /// Rounds that each member has been silent for.
    silent: BTreeMap<Uuid, u32>,
}

impl Rounds {
    async fn run(mut self) {
        if self.settings.seeds.is_empty() {
            return;
        }
        let mut pause = self.settings.pause_min;
        let mut said: Option<Instant> = None;
        loop {
            let (changed, trouble) = self.round().await;
            let is_alone = self.silent.is_empty();
            if let Some(trouble) = trouble.filter(|_| is_alone) {
                if said.is_none_or(|said| said.elapsed() >= REMINDER) {
                    tracing::info!(why = trouble, "no other broker answers yet; asking on");
                    said = Some(Instant::now());
                }
            } else if !is_alone {
                said = None;
            }
            let longer = (pause * 2).min(self.settings.pause_max);
            pause = if changed { self.settings.pause_min } else { longer };
            // Brokers that start together would else ask in step.
            sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        }
    }

    /// Asks everybody once: whether anything changed, and why somebody did not answer.
    async fn round(&mut self) -> (bool, Option<String>) {
        let (addresses, mut trouble) = self.addresses().await;
        let limit = self.settings.timeout;
        let asked = addresses.into_iter().map(|address| {
            let answer = (self.probe)(address.clone());
            async move {
                match timeout(limit, answer).await {
                    Ok(Ok(member)) => Ok(member),
                    Ok(Err(why)) => Err(format!("{address}: {why}")),
                    Err(_) => Err(format!("{address}: no answer in {limit:?}")),
                }
            }
        });
        let mut answered = BTreeSet::new();
        let at = wall_clock();
        let mut changed = false;
        for answer in join_all(asked).await {
            match answer {
                Ok(member) if member.node == self.node => {}
                Ok(member) => {
                    answered.insert(member.node);
                    changed |= self.silent.insert(member.node, 0).is_none();
                    self.roster.heard(at, member);
                }
                Err(why) => trouble = Some(why),
            }
        }
        self.silent.retain(|node, rounds| {
            if !answered.contains(node) {
                *rounds += 1;
                // It is asked soon again: silence is to be sure, not long.
                changed = true;
            }
            let is_gone = *rounds >= self.settings.silent_rounds;
            if is_gone {
                self.roster.lost(at, *node, EventKind::Failed, "it does not answer");
            }
            !is_gone
        });
        (changed, trouble)
    }

    /// All addresses of all seeds, as `host:port`.
    async fn addresses(&self) -> (BTreeSet<String>, Option<String>) {
        let (mut all, mut trouble) = (BTreeSet::new(), None);
        for seed in &self.settings.seeds {
            match timeout(self.settings.timeout, lookup_host((seed.host.as_str(), seed.port))).await
            {
                Ok(Ok(found)) => all.extend(found.map(|address| address.to_string())),
                Ok(Err(error)) => trouble = Some(format!("{seed}: {error}")),
                Err(_) => trouble = Some(format!("{seed}: its name is not resolved")),
            }
        }
        while all.len() > ADDRESSES_MAX {
            all.pop_last();
        }
        (all, trouble)
    }
}

/// What the clock on the wall says.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
