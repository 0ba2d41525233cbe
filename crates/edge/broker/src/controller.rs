//! Where commands become decisions: one loop that decides on the committed image, a batch of
//! commands per Raft entry, the next batch after that commit.

use crate::cluster::Forwarding;
use crate::disk_guard::DiskGuard;
use crate::published::Published;
use arc_swap::ArcSwap;
use bytes::Bytes;
use jocko_config::LoadedSettings;
use jocko_consensus::{ProposeError, Raft};
use jocko_metadata::{Command, DecideContext, Reply, decide, encode_entry};
use jocko_net::ports::ClockRef;
use jocko_types::ErrorCode;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait to be decided; then whoever asks waits to ask.
const QUEUE_MAX: usize = 1_024;
/// Commands decided together, in one Raft entry.
const BATCH_MAX: usize = 64;
/// Bytes of records after which an entry takes no further command.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Why a command came to nothing that anybody knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undecided(pub(crate) ErrorCode);

/// A decision, and the Raft index whose image shows it.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) reply: Reply,
    pub(crate) index: u64,
}

/// Takes commands from any thread.
#[derive(Debug, Clone)]
pub(crate) struct ControllerHandle {
    queue: mpsc::Sender<Submission>,
    raft: Raft,
    forwarding: Option<Forwarding>,
}

#[derive(Debug)]
struct Submission {
    command: Command,
    reply: oneshot::Sender<Result<Decided, Undecided>>,
}

impl ControllerHandle {
    /// Has a command decided, here or by the broker that leads. The answer comes once what was
    /// decided is committed and this broker's own image shows it.
    pub(crate) async fn submit(&self, command: Command) -> Result<Reply, Undecided> {
        self.submit_for_index(command).await.map(|decided| decided.reply)
    }

    /// As [`Self::submit`], with the index.
    pub(crate) async fn submit_for_index(&self, command: Command) -> Result<Decided, Undecided> {
        let status = self.raft.status();
        match &self.forwarding {
            Some(forwarding) if !status.is_serving || status.voters.len() > 1 => {
                forwarding.submit(self, command).await
            }
            // Nobody else can lead.
            _ => self.decide_here(command).await,
        }
    }

    /// Has a command decided by this broker, which must lead: [`ErrorCode::NotController`] says
    /// that it does not, and that nothing was proposed.
    pub(crate) async fn decide_here(&self, command: Command) -> Result<Decided, Undecided> {
        let gone = |_| Undecided(ErrorCode::BrokerNotAvailable);
        let (reply, decided) = oneshot::channel();
        self.queue.send(Submission { command, reply }).await.map_err(|_| gone(()))?;
        decided.await.map_err(|_| gone(()))?
    }
}

/// What the loop works with.
pub(crate) struct ControllerLoop {
    pub(crate) raft: Raft,
    pub(crate) published: Arc<ArcSwap<Published>>,
    pub(crate) settings: Arc<LoadedSettings>,
    pub(crate) clock: ClockRef,
    pub(crate) guard: Arc<DiskGuard>,
    /// Why the last change was not committed, as the log has it; empty if it was.
    trouble: String,
    queue: mpsc::Receiver<Submission>,
}

impl ControllerLoop {
    /// The loop, to be run, and the handle that feeds it.
    pub(crate) fn new(
        raft: Raft,
        published: Arc<ArcSwap<Published>>,
        settings: Arc<LoadedSettings>,
        clock: ClockRef,
        guard: Arc<DiskGuard>,
        forwarding: Option<Forwarding>,
    ) -> (Self, ControllerHandle) {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let handle = ControllerHandle { queue: sender, raft: raft.clone(), forwarding };
        let trouble = String::new();
        (Self { raft, published, settings, clock, guard, trouble, queue }, handle)
    }

    /// Decides until all handles are gone.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        loop {
            waiting.clear();
            if self.queue.recv_many(&mut waiting, BATCH_MAX).await == 0 {
                return;
            }
            let mut submissions = std::mem::take(&mut waiting).into_iter();
            while submissions.len() > 0 {
                self.decide_entry(&mut submissions).await;
            }
        }
    }

    /// Decides as many commands as fit one entry, and answers them once it is committed.
    async fn decide_entry(&mut self, submissions: &mut impl Iterator<Item = Submission>) {
        // Before the image is looked at: it then shows all that this broker has ever proposed.
        let lead = self.raft.lead().await;
        let (mut image, shown) = {
            let published = self.published.load();
            (published.image.clone(), published.index)
        };
        if image.cluster_id().is_none() {
            // The log begins with the cluster's id: whoever leads writes it before anything else.
            for submission in submissions {
                let _ = submission.reply.send(Err(Undecided(ErrorCode::NotController)));
            }
            return;
        }
        let mut records = Vec::new();
        let mut answers = Vec::new();
        let mut bytes = 0;
        for submission in submissions {
            let context = DecideContext {
                now: self.clock.wall(),
                seed: std::array::from_fn(|_| fastrand::u64(..)),
                settings: &self.settings,
            };
            let decision = decide(&image, &context, submission.command);
            // Later commands of the entry see what earlier ones decided.
            image.apply_all(&decision.records);
            bytes += encode_entry(&decision.records).len();
            records.extend(decision.records);
            answers.push((submission.reply, decision.reply));
            if bytes >= ENTRY_BYTES_MAX {
                break;
            }
        }
        if !records.is_empty() {
            // On a full disk even a deletion needs a place to be written down.
            self.guard.make_room_for_metadata();
        }
        let outcome = match lead {
            // What needs no record needs no room.
            Ok(_) | Err(ProposeError::NoSpace { .. }) if records.is_empty() => {
                Ok(u64::try_from(shown).unwrap_or(0))
            }
            Ok(lead) => self.raft.propose_as(lead, Bytes::from(encode_entry(&records))).await,
            Err(error) => Err(error),
        };
        self.tell(outcome.as_ref().err());
        let outcome = outcome.map_err(|error| undecided(&error));
        for (waiter, reply) in answers {
            // Whoever asked may have gone.
            let _ = waiter.send(outcome.map(|index| Decided { reply, index }));
        }
    }

    /// Says in the log why a change was not committed: each trouble once, for everybody asks again.
    fn tell(&mut self, error: Option<&ProposeError>) {
        let trouble = error.map(ToString::to_string).unwrap_or_default();
        if !trouble.is_empty() && trouble != self.trouble {
            tracing::warn!(error = trouble, "metadata change was not committed");
        }
        self.trouble = trouble;
    }
}

/// The answer for a client whose command was not committed.
fn undecided(error: &ProposeError) -> Undecided {
    Undecided(match error {
        ProposeError::NotLeader { .. }
        | ProposeError::NotReady
        | ProposeError::NoLease
        | ProposeError::Unsettled => ErrorCode::NotController,
        ProposeError::TooLarge { .. } => ErrorCode::PolicyViolation,
        error if error.is_retriable() => ErrorCode::BrokerNotAvailable,
        _ => ErrorCode::RequestTimedOut,
    })
}
