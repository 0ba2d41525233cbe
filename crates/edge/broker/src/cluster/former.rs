//! Drives the forming machine: discovery and the cluster port in, the durable record and messages
//! out. It runs as long as the broker: a node that is pledged to a proposal of this one may ask
//! about it any time.

use super::{Cluster, kinds};
use jocko_disk::Slots;
use jocko_forming::{Action, Envelope, Forming, Fresh, Input, Output, Seat, Sighting};
use jocko_net::peers::Lane;
use jocko_net::ports::{SpawnRef, run_on};
use jocko_types::Uuid;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// How often a node that waits says again what for.
const REMINDER: Duration = Duration::from_secs(30);

/// Longer than a process runs.
const FOREVER: Duration = Duration::from_secs(1 << 30);

/// The forming machine with all it needs.
pub(super) struct Former {
    pub(super) cluster: Arc<Cluster>,
    pub(super) machine: Forming,
    /// `None` for a member: its record changes no more.
    pub(super) slots: Option<Arc<Mutex<Slots>>>,
    pub(super) spawn: SpawnRef,
    pub(super) inbox: mpsc::Receiver<Envelope>,
    pub(super) outcome: watch::Sender<Option<Action>>,
}

impl Former {
    /// Steps until the broker ends, or the disk fails: whoever waits for the outcome sees the
    /// sender gone then.
    pub(super) async fn run(mut self, first: Output) {
        let Some(discovery) = self.cluster.discovery().cloned() else { return };
        let mut seen = discovery.changed();
        if !self.carry_out(first).await {
            return;
        }
        let mut told = (String::new(), self.cluster.clock.now());
        let mut input = Input::Seen(sightings(&discovery.members()));
        loop {
            let fresh = Fresh { proposal: random_id(), cluster: random_id() };
            let output = self.machine.step(self.cluster.clock.now(), fresh, input);
            if !self.carry_out(output).await {
                return;
            }
            self.tell(&mut told);
            let wait = self.wait();
            input = tokio::select! {
                biased;
                changed = seen.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    Input::Seen(sightings(&seen.borrow_and_update()))
                }
                Some(envelope) = self.inbox.recv() => Input::Received(envelope),
                () = sleep(wait) => Input::Tick,
            };
        }
    }

    /// How long until something is due if nothing happens.
    fn wait(&self) -> Duration {
        let due = self.machine.next_deadline();
        let wait = due.map(|at| at.since(self.cluster.clock.now()));
        match self.outcome.borrow().is_none() {
            true => wait.unwrap_or(REMINDER).min(REMINDER),
            // A member only answers.
            false => wait.unwrap_or(FOREVER),
        }
    }

    /// The record first, then messages, then the deed. `false` if the disk failed: nothing may be
    /// said any more.
    async fn carry_out(&mut self, output: Output) -> bool {
        if let (Some(bound), Some(slots)) = (output.store_first, &self.slots) {
            let slots = Arc::clone(slots);
            let stored = run_on(&*self.spawn, move || {
                let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
                slots.store(&bound.to_bytes())
            });
            match stored.await {
                Some(Ok(_)) => {}
                Some(Err(fault)) => {
                    tracing::error!(%fault, "what this broker agreed to cannot be written");
                    return false;
                }
                None => return false,
            }
        }
        for sending in output.then.send {
            let body = sending.envelope.to_bytes();
            // What is not taken on is sent again by the machine.
            let _ = self.cluster.peers.tell(&sending.address, Lane::Control, kinds::FORMING, body);
        }
        if let Some(action) = output.then.action {
            self.outcome.send_replace(Some(action));
        }
        true
    }

    fn tell(&self, told: &mut (String, jocko_types::Now)) {
        if self.outcome.borrow().is_some() {
            return;
        }
        let now = self.cluster.clock.now();
        let words = self.machine.waiting(now);
        self.cluster.waiting.is_for(&words);
        if words != told.0 || now.since(told.1) >= REMINDER {
            tracing::info!("{words}");
            *told = (words, now);
        }
    }
}

fn sightings(members: &[jocko_discovery::Member]) -> Vec<Sighting> {
    let sighting = |member: &jocko_discovery::Member| Sighting {
        seat: Seat { node: member.node, address: member.cluster_address.clone() },
        expect: member.expect,
        cluster: member.cluster_id,
    };
    members.iter().map(sighting).collect()
}

fn random_id() -> Uuid {
    crate::assembly::random_uuid()
}
