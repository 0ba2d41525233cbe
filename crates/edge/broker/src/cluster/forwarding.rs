//! Commands go to whoever leads; the answer is held back until this broker's own image shows what
//! was decided, so that a client that asked here sees its own change here.

use super::book::AddressBook;
use super::{Cluster, kinds, registering};
use crate::controller::{ControllerHandle, Decided, Undecided};
use bytes::Bytes;
use jocko_consensus::Raft;
use jocko_metadata::{Command, ConfigOp, Reply};
use jocko_net::peers::{Lane, PeerError, PeerRefusal, Peers};
use jocko_types::ErrorCode;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a command may look for a leader and wait for its answer, and for its effect here.
const SUBMIT_MAX: Duration = Duration::from_secs(15);
/// How long a command may look for a leader in vain. Less than tools usually wait for an answer (10 s), so
/// that they hear why there is none.
const LEADERLESS_MAX: Duration = Duration::from_secs(8);
/// How long a leader has for one attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// How long to wait for news of a leader before asking again.
const PAUSE: Duration = Duration::from_millis(50);

/// What a leader says to a forwarded command.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// It was decided; the image at `index` shows it.
    Decided { index: u64, reply: Reply },
    /// Nobody knows what came of it, or why not.
    Undecided(ErrorCode),
}

/// The way to the leader.
#[derive(Debug, Clone)]
pub(crate) struct Forwarding {
    pub(crate) raft: Raft,
    pub(crate) peers: Peers,
    pub(crate) book: AddressBook,
}

/// What came of one attempt.
enum Attempt {
    Answered(Result<Decided, Undecided>),
    /// Nothing was proposed.
    Nothing,
    /// Something may have been.
    Unknown,
}

impl Forwarding {
    pub(crate) async fn submit(
        &self,
        here: &ControllerHandle,
        command: Command,
    ) -> Result<Decided, Undecided> {
        let deadline = Instant::now() + SUBMIT_MAX;
        let mut leaderless_until = Instant::now() + LEADERLESS_MAX;
        let may_repeat = is_idempotent(&command);
        // One over all turns: a fresh one takes what is long known for news, and the loop would
        // not wait at all while nobody leads.
        let mut news = self.raft.watch();
        loop {
            let attempt = if news.get().is_serving {
                match here.decide_here(command.clone()).await {
                    Err(Undecided(ErrorCode::NotController)) => Attempt::Nothing,
                    answered => Attempt::Answered(answered),
                }
            } else {
                self.ask_leader(&command, deadline).await
            };
            match attempt {
                Attempt::Answered(answer) => return answer,
                Attempt::Unknown if !may_repeat => {
                    return Err(Undecided(ErrorCode::RequestTimedOut));
                }
                // It may have been proposed: the answer is worth more patience.
                Attempt::Unknown => leaderless_until = deadline,
                Attempt::Nothing => {}
            }
            if Instant::now() + PAUSE >= leaderless_until.min(deadline) {
                return Err(Undecided(ErrorCode::NotController));
            }
            // News, or none: then the same again. Where Raft has ended there never will be any.
            if timeout(PAUSE, news.changed()).await == Ok(None) {
                return Err(Undecided(ErrorCode::BrokerNotAvailable));
            }
        }
    }

    async fn ask_leader(&self, command: &Command, deadline: Instant) -> Attempt {
        let Some((leader, peer)) = self.raft.status().leader else { return Attempt::Nothing };
        let address = self.book.find(leader.directory_id(), &peer.address);
        let Ok(body) = serde_json::to_vec(command) else {
            return Attempt::Answered(Err(Undecided(ErrorCode::InvalidRequest)));
        };
        let wait = deadline.saturating_duration_since(Instant::now()).min(ATTEMPT_MAX);
        let answer = self.peers.call(&address, Lane::Control, kinds::SUBMIT, body, wait).await;
        let verdict = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_unsent() => return Attempt::Nothing,
            Err(PeerError::Refused(refusal)) => return refused(&refusal),
            Err(error) => {
                tracing::warn!(%error, leader = address, "a command got no answer");
                return Attempt::Unknown;
            }
        };
        match serde_json::from_slice(&verdict) {
            Ok(Verdict::Decided { index, reply }) => {
                Attempt::Answered(self.shown(Decided { reply, index }, deadline).await)
            }
            Ok(Verdict::Undecided(ErrorCode::NotController)) => Attempt::Nothing,
            Ok(Verdict::Undecided(code)) => Attempt::Answered(Err(Undecided(code))),
            Err(error) => {
                tracing::warn!(%error, leader = address, "an answer cannot be read");
                Attempt::Answered(Err(Undecided(ErrorCode::RequestTimedOut)))
            }
        }
    }

    /// Waits until the own image shows it.
    async fn shown(&self, decided: Decided, deadline: Instant) -> Result<Decided, Undecided> {
        if matches!(decided.reply, Reply::RegisterBroker(Err(_))) {
            // It changed nothing, and whoever is refused may never be sent the log.
            return Ok(decided);
        }
        if matches!(decided.reply, Reply::RegisterBroker(Ok(_))) {
            // It was committed after this broker started: what it shows is caught up.
            let published = self.raft.publish_from(decided.index).await;
            published.map_err(|_| Undecided(ErrorCode::BrokerNotAvailable))?;
        }
        let wait = deadline.saturating_duration_since(Instant::now());
        match timeout(wait, self.raft.wait_applied(decided.index)).await {
            Ok(true) => Ok(decided),
            Ok(false) => Err(Undecided(ErrorCode::BrokerNotAvailable)),
            Err(_) => Err(Undecided(ErrorCode::RequestTimedOut)),
        }
    }
}

fn refused(refusal: &PeerRefusal) -> Attempt {
    match refusal.code {
        kinds::NOT_READY | PeerRefusal::BUSY | PeerRefusal::STOPPING => Attempt::Nothing,
        // The reply was too long: it was decided.
        PeerRefusal::ANSWER_TOO_LARGE => Attempt::Unknown,
        _ => {
            tracing::warn!(%refusal, "a command was refused");
            Attempt::Answered(Err(Undecided(ErrorCode::BrokerNotAvailable)))
        }
    }
}

/// Whether deciding it twice does no more than once.
fn is_idempotent(command: &Command) -> bool {
    match command {
        Command::CreateTopics { validate_only, .. }
        | Command::CreatePartitions { validate_only, .. } => *validate_only,
        Command::AlterConfigs { resources, validate_only } => {
            let adds = |op: &ConfigOp| matches!(op, ConfigOp::Append(_) | ConfigOp::Subtract(_));
            *validate_only || !resources.iter().any(|it| it.ops.iter().any(|(_, op)| adds(op)))
        }
        Command::RegisterBroker(_)
        | Command::BrokerHeartbeat { .. }
        | Command::FenceBroker { .. }
        | Command::AllocateProducerIds { .. } => true,
        _ => false,
    }
}

/// Decides a command that another broker forwarded, if this one leads.
pub(super) async fn serve(
    cluster: &Cluster,
    here: ControllerHandle,
    body: Bytes,
) -> Result<Vec<Bytes>, PeerRefusal> {
    let malformed =
        |error: serde_json::Error| PeerRefusal::new(kinds::MALFORMED, error.to_string());
    let command: Command = serde_json::from_slice(&body).map_err(malformed)?;
    let mut refusal = None;
    if let Command::RegisterBroker(asked) = &command {
        refusal = registering::duplicate(cluster, asked);
        if refusal.is_none() {
            registering::admit(cluster, asked).await?;
        }
    }
    let verdict = match refusal {
        // It needs no entry to be seen.
        Some(refusal) => Verdict::Decided { index: 0, reply: Reply::RegisterBroker(Err(refusal)) },
        None => match here.decide_here(command).await {
            Ok(Decided { reply, index }) => Verdict::Decided { index, reply },
            Err(Undecided(code)) => Verdict::Undecided(code),
        },
    };
    Ok(vec![serde_json::to_vec(&verdict).map_err(malformed)?.into()])
}
