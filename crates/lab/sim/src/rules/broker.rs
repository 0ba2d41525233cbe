//! A broker: a disk that stays, and a process that comes and goes.

use super::flaw::Flaw;
use super::log::ToyLog;
use super::world::{CONTROLLER, Event, Message, PARTITIONS, TOPIC, World, place_of_id};
use crate::dice::Dice;
use jocko_metadata::{
    BrokerRegistration, ClusterImage, Command, InSyncReplica, IsrChange, Partition, Reply,
};
use jocko_replica::{
    Assignment, Caller, Durability, Input, Outcome, Output, Peer, Proposal, ProposalOutcome,
    Replica, Role,
};
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode, Offset, PartitionIndex, Uuid};
use std::collections::BTreeMap;

/// A broker.
pub(super) struct Broker {
    pub(super) id: BrokerId,
    /// The disk: its identity, logs, high watermarks as checkpointed, and the metadata.
    pub(super) directory: Uuid,
    pub(super) logs: BTreeMap<i32, ToyLog>,
    pub(super) checkpoints: BTreeMap<i32, i64>,
    pub(super) image: ClusterImage,
    pub(super) applied: usize,
    kept_page_cache: bool,
    /// It has lost what others count on, and has not said so yet.
    pub(super) is_lossy: bool,
    pub(super) process: Option<Process>,
}

/// A process of a broker.
pub(super) struct Process {
    number: u64,
    incarnation: Uuid,
    epoch: Option<BrokerEpoch>,
    pub(super) replicas: BTreeMap<i32, Replica>,
    /// Flushes under way, by partition.
    flushing: BTreeMap<i32, u64>,
    pub(super) calls: BTreeMap<u64, Call>,
    /// Answers that wait for the image.
    replies: Vec<(usize, u64, Reply)>,
    /// Producers that wait: partition, offset, value.
    pub(super) tickets: BTreeMap<u64, (i32, i64, u64)>,
    /// The high watermark that the oracle has seen, by partition.
    exposed: BTreeMap<i32, i64>,
    /// How far followers ever said they are, for a flaw.
    words: BTreeMap<(i32, BrokerId), i64>,
    pub(super) is_retiring: bool,
}

/// What a process asked the controller.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    Register,
    Heartbeat,
    Proposal { partition: i32, number: u64 },
}

impl Call {
    pub(super) fn is_proposal(self) -> bool {
        matches!(self, Self::Proposal { .. })
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It stops; everything is synced.
    Clean,
    /// It is killed; the page cache lives on.
    Killed,
    /// The machine loses power; what was not synced is gone, or most of it.
    PowerLost,
    /// And the disk with it.
    Wiped,
}

impl Broker {
    pub(super) fn new(place: usize, dice: &mut Dice) -> Self {
        Self {
            id: BrokerId::new(i32::try_from(place).expect("few")),
            directory: Uuid::from_bytes(dice.bytes()),
            logs: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            image: ClusterImage::default(),
            applied: 0,
            kept_page_cache: true,
            is_lossy: false,
            process: None,
        }
    }
}

impl Process {
    fn new(number: u64, incarnation: Uuid) -> Self {
        Self {
            number,
            incarnation,
            epoch: None,
            replicas: BTreeMap::new(),
            flushing: BTreeMap::new(),
            calls: BTreeMap::new(),
            replies: Vec::new(),
            tickets: BTreeMap::new(),
            exposed: BTreeMap::new(),
            words: BTreeMap::new(),
            is_retiring: false,
        }
    }
}

impl World {
    pub(super) fn broker(&mut self, place: usize) -> &mut Broker {
        &mut self.brokers[place - 1]
    }

    /// Places and numbers of the processes there are.
    pub(super) fn processes(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let alive = |broker: &Broker| {
            broker.process.as_ref().map(|process| (place_of_id(broker.id), process.number))
        };
        self.brokers.iter().filter_map(alive)
    }

    pub(super) fn place_of(&self, process: u64) -> Option<usize> {
        self.processes().find(|(_, number)| *number == process).map(|(place, _)| place)
    }

    /// A process starts: it recovers its logs, and asks to be let in.
    pub(super) fn start(&mut self, place: usize) {
        if self.broker(place).process.is_some() {
            return;
        }
        let (number, incarnation) = (self.number(), Uuid::from_bytes(self.dice.bytes()));
        self.note(|world| format!("{place} starts with {}", world.holding(place)));
        let broker = self.broker(place);
        for log in broker.logs.values_mut() {
            // What recovery keeps it syncs before anybody is served.
            log.synced(log.end());
        }
        broker.process = Some(Process::new(number, incarnation));
        self.assign(place);
        self.after(1, Event::Deliver { process: number });
        self.after(50, Event::Sweep { process: number });
        for partition in 0..PARTITIONS {
            self.after(20, Event::Fetch { process: number, partition });
        }
        self.after(1, Event::Heartbeat { process: number });
    }

    /// What the logs of a broker hold, in words.
    fn holding(&self, place: usize) -> String {
        let logs = self.brokers[place - 1].logs.iter();
        let one = |(partition, log): (&i32, &ToyLog)| {
            format!("{partition}: {}..{}..{}", log.start(), log.durable(), log.end())
        };
        logs.map(one).collect::<Vec<_>>().join(" ")
    }

    /// A process ends.
    pub(super) fn stop(&mut self, place: usize, end: End) {
        let kept = i64::try_from(self.dice.below(3)).expect("few");
        self.note(|_| format!("{place} stops: {end:?}"));
        let directory = Uuid::from_bytes(self.dice.bytes());
        let is_relaxed = self.setup.durability == Durability::Relaxed;
        let keeps_identity = self.flaw == Some(Flaw::KeepWipedIdentity);
        let (image, applied) = (self.controller.image.clone(), self.controller.index());
        let broker = self.broker(place);
        if broker.process.take().is_none() {
            return;
        }
        // What a life lost it must tell, even if it is a later life that is let in.
        broker.kept_page_cache &= matches!(end, End::Clean | End::Killed);
        for log in broker.logs.values_mut() {
            match end {
                End::Clean => log.synced(log.end()),
                End::Killed => {}
                End::PowerLost => log.lose_tail(kept),
                End::Wiped => log.restart(0),
            }
        }
        if end == End::Wiped {
            broker.checkpoints.clear();
            if !keeps_identity {
                broker.directory = directory;
            }
            (broker.image, broker.applied) = (image, applied);
        }
        let loses = end == End::Wiped || (is_relaxed && end == End::PowerLost);
        // Until it says so when it registers, nobody can know.
        broker.is_lossy |= loses;
        if loses {
            self.forget_proposals(place);
        }
        self.check_holders();
    }

    /// Metadata arrives, an entry or all there are.
    pub(super) fn deliver(&mut self, process: u64) {
        let Some(place) = self.place_of(process) else { return };
        let (applied, index) = (self.broker(place).applied, self.controller.index());
        if applied < index {
            let entry = self.controller.entries[applied].clone();
            let broker = self.broker(place);
            broker.image.apply_all(entry.iter());
            broker.applied += 1;
            self.assign(place);
            self.after(1, Event::Deliver { process });
        }
        let applied = self.broker(place).applied;
        let Some(process) = &mut self.broker(place).process else { return };
        let (due, later) = std::mem::take(&mut process.replies)
            .into_iter()
            .partition(|(index, _, _)| *index <= applied);
        process.replies = later;
        for (_, call, reply) in due {
            self.replied(place, call, reply);
        }
    }

    /// Tells all replicas of a broker what its image says.
    fn assign(&mut self, place: usize) {
        for partition in 0..PARTITIONS {
            let broker = &self.brokers[place - 1];
            let id = broker.id;
            let state = broker
                .image
                .topic(TOPIC)
                .and_then(|topic| topic.partitions.get(&PartitionIndex::new(partition)).cloned());
            let Some(state) = state else { continue };
            if !state.replicas.contains(&id) {
                // Deletion follows a committed record, never mere absence (DR5).
                let broker = self.broker(place);
                broker.logs.remove(&partition);
                broker.checkpoints.remove(&partition);
                if let Some(process) = &mut broker.process {
                    process.replicas.remove(&partition);
                    process.exposed.remove(&partition);
                    process.flushing.remove(&partition);
                }
                continue;
            }
            self.open(place, partition);
            let assignment = self.assignment(place, &state);
            self.take_assignment(place, partition, assignment);
        }
    }

    fn open(&mut self, place: usize, partition: i32) {
        let policy = self.policy();
        let broker = self.broker(place);
        let log = broker.logs.entry(partition).or_default();
        let known = broker.checkpoints.get(&partition).copied().unwrap_or(log.start());
        let replica = || Replica::new(broker.id, policy, log.ends(), Offset::new(known));
        if let Some(process) = &mut broker.process {
            process.replicas.entry(partition).or_insert_with(replica);
        }
    }

    fn assignment(&self, place: usize, state: &Partition) -> Assignment {
        let broker = &self.brokers[place - 1];
        let image = &broker.image;
        let peer = |id: &BrokerId| {
            image.broker(*id).map(|peer| Peer {
                broker: *id,
                broker_epoch: peer.epoch(),
                may_join: peer.is_active(),
            })
        };
        let own = image.broker(broker.id);
        let is_own = broker.process.as_ref().is_some_and(|process| {
            own.is_some_and(|own| {
                own.registration.incarnation == process.incarnation && !own.registration.fenced
            })
        });
        Assignment {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            replicas: state.replicas.clone(),
            isr: state.isr.clone(),
            peers: state.replicas.iter().filter_map(peer).collect(),
            is_fenced: !is_own && self.flaw != Some(Flaw::LeadInOldEpoch),
        }
    }

    fn take_assignment(&mut self, place: usize, partition: i32, assignment: Assignment) {
        let Some(replica) = self.replica(place, partition) else { return };
        let (was, led) = (replica.leader_epoch(), replica.role() == Role::Leader);
        let epoch = assignment.leader_epoch;
        self.step(place, partition, Input::Assigned(assignment));
        let Some(replica) = self.replica(place, partition) else { return };
        let leads = replica.role() == Role::Leader;
        if leads && (epoch > was || !led) {
            self.became_leader(place, partition);
        }
        if !leads && epoch > was && self.flaw == Some(Flaw::TruncateToHighWatermark) {
            let Some(replica) = self.replica(place, partition) else { return };
            let to = replica.high_watermark().get();
            self.cut(place, partition, to);
        }
    }

    fn became_leader(&mut self, place: usize, partition: i32) {
        let Some(replica) = self.replica(place, partition) else { return };
        let epoch = replica.leader_epoch();
        let current = self.controller.partition(partition).map(|state| state.leader_epoch);
        let broker = &mut self.brokers[place - 1];
        let Some(log) = broker.logs.get_mut(&partition) else { return };
        log.assign_epoch(epoch);
        if current == Some(epoch) {
            let who = format!("leader {}", broker.id);
            self.oracle.holds(partition, &who, log, log.end());
        }
        if self.flaw == Some(Flaw::KeepOldProgress) {
            let Some(process) = &self.brokers[place - 1].process else { return };
            let image = &self.brokers[place - 1].image;
            let words: Vec<(Caller, i64)> = process
                .words
                .iter()
                .filter(|((of, _), _)| *of == partition)
                .filter_map(|((_, id), end)| {
                    let broker_epoch = image.broker(*id)?.epoch();
                    Some((Caller { broker: *id, broker_epoch, leader_epoch: epoch }, *end))
                })
                .collect();
            for (caller, end) in words {
                let now = self.now();
                let offset = Offset::new(end);
                self.step(place, partition, Input::Fetched { caller, offset, now });
                self.step(place, partition, Input::Progress { caller, end: offset, now });
            }
        }
    }

    /// The registration of this process, if it has one.
    pub(super) fn own_epoch(&self, place: usize) -> Option<BrokerEpoch> {
        self.brokers[place - 1].process.as_ref()?.epoch
    }

    pub(super) fn remember(&mut self, place: usize, partition: i32, caller: Caller, end: i64) {
        if let Some(process) = &mut self.broker(place).process {
            let known = process.words.entry((partition, caller.broker)).or_default();
            *known = end.max(*known);
        }
    }

    pub(super) fn replica(&self, place: usize, partition: i32) -> Option<&Replica> {
        self.brokers[place - 1].process.as_ref()?.replicas.get(&partition)
    }

    /// Steps a replica, and does what it says.
    pub(super) fn step(&mut self, place: usize, partition: i32, input: Input) {
        let grows = matches!(input, Input::Appended { .. } | Input::Replicated { .. });
        let Some(process) = &mut self.brokers[place - 1].process else { return };
        let Some(replica) = process.replicas.get_mut(&partition) else { return };
        let output = replica.step(input);
        replica.check_invariants();
        self.act(place, partition, output);
        if grows && self.flaw == Some(Flaw::CountUnsynced) {
            let Some(replica) = self.replica(place, partition) else { return };
            let end = replica.ends().end;
            if replica.ends().durable < end {
                self.step(place, partition, Input::Durable { end });
            }
        }
    }

    fn act(&mut self, place: usize, partition: i32, output: Output) {
        self.expose(place, partition);
        let Some(process) = &mut self.brokers[place - 1].process else { return };
        let mut acked = Vec::new();
        for released in output.released {
            let ticket = process.tickets.remove(&released.ticket.0);
            acked.extend(ticket.filter(|_| released.outcome == Outcome::Reached));
        }
        for (partition, offset, value) in acked {
            self.oracle.acked(partition, offset, value);
        }
        let is_dirty = self.brokers[place - 1]
            .logs
            .get(&partition)
            .is_some_and(|log| log.durable() < log.end());
        if output.flush_due || is_dirty {
            self.begin_flush(place, partition);
        }
        if let Some(proposal) = output.proposal {
            self.propose(place, partition, &proposal);
        }
        if let Some(claim) = output.claim {
            self.claim(place, partition, claim);
        }
    }

    /// Lets the oracle compare what a replica says is committed.
    fn expose(&mut self, place: usize, partition: i32) {
        let broker = &mut self.brokers[place - 1];
        let Some(process) = &mut broker.process else { return };
        let Some(replica) = process.replicas.get(&partition) else { return };
        let Some(log) = broker.logs.get(&partition) else { return };
        let high_watermark = replica.high_watermark().get();
        let leads = replica.role() == Role::Leader;
        let from = process.exposed.insert(partition, high_watermark).unwrap_or(0);
        if from < high_watermark {
            self.oracle.exposes(partition, log, from, high_watermark, leads);
        }
    }

    fn begin_flush(&mut self, place: usize, partition: i32) {
        let is_relaxed = self.setup.durability == Durability::Relaxed;
        let delay = if is_relaxed || self.dice.per_mille(20) {
            // A disk that hangs, or nobody who waits for it.
            self.dice.between(300, 2_500)
        } else {
            self.dice.between(1, 20)
        };
        let broker = &mut self.brokers[place - 1];
        let (Some(process), Some(log)) = (&mut broker.process, broker.logs.get(&partition)) else {
            return;
        };
        if process.flushing.contains_key(&partition) {
            return;
        }
        process.flushing.insert(partition, log.cuts);
        let (process, end, cuts) = (process.number, log.end(), log.cuts);
        self.after(delay, Event::Flushed { process, partition, end, cuts });
    }

    /// A flush ended. One that began before the log was cut says nothing.
    pub(super) fn flushed(&mut self, process: u64, partition: i32, end: i64, cuts: u64) {
        let Some(place) = self.place_of(process) else { return };
        let broker = self.broker(place);
        if let Some(process) = &mut broker.process {
            process.flushing.remove(&partition);
        }
        let Some(log) = broker.logs.get_mut(&partition) else { return };
        if log.cuts == cuts {
            log.synced(end);
        }
        let (end, is_dirty) = (Offset::new(log.durable()), log.durable() < log.end());
        if let Some(process) = &broker.process
            && let Some(replica) = process.replicas.get(&partition)
        {
            broker.checkpoints.insert(partition, replica.high_watermark().get());
        }
        self.step(place, partition, Input::Durable { end });
        if is_dirty {
            self.begin_flush(place, partition);
        }
    }

    fn propose(&mut self, place: usize, partition: i32, proposal: &Proposal) {
        let broker = &self.brokers[place - 1];
        let Some(topic_id) = broker.image.topic(TOPIC).map(|topic| topic.id) else { return };
        let image = &broker.image;
        let forgets = self.flaw == Some(Flaw::ForgetBrokerEpoch);
        let isr = proposal.isr.iter().map(|member| InSyncReplica {
            broker_id: member.broker,
            broker_epoch: if forgets {
                image.broker(member.broker).map(|broker| broker.epoch())
            } else {
                member.broker_epoch
            },
        });
        let change = IsrChange {
            topic_id,
            partition: PartitionIndex::new(partition),
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            isr: isr.collect(),
        };
        let broker_epoch = broker.process.as_ref().and_then(|process| process.epoch);
        let command = Command::AlterPartition {
            broker_id: broker.id,
            broker_epoch: broker_epoch.unwrap_or_default(),
            partitions: vec![change],
        };
        let number = proposal.number;
        self.call(place, Call::Proposal { partition, number }, command);
    }

    /// Asks the controller.
    pub(super) fn call(&mut self, place: usize, call: Call, command: Command) {
        let number = self.number();
        let Some(process) = &mut self.brokers[place - 1].process else { return };
        process.calls.insert(number, call);
        let process = process.number;
        self.after(700, Event::CallTimeout { process, call: number });
        self.send(place, CONTROLLER, Message::Command { process, call: number, command });
    }

    pub(super) fn call_timed_out(&mut self, process: u64, call: u64) {
        let Some(place) = self.place_of(process) else { return };
        let process = self.broker(place).process.as_mut();
        let Some(call) = process.and_then(|process| process.calls.remove(&call)) else { return };
        if let Call::Proposal { partition, number } = call {
            self.coverage.proposals_unknown += 1;
            self.answered(place, partition, number, ProposalOutcome::Unknown);
        }
    }

    fn answered(&mut self, place: usize, partition: i32, number: u64, outcome: ProposalOutcome) {
        let now = self.now();
        self.step(place, partition, Input::Answered { number, outcome, now });
    }

    /// An answer of the controller waits until the image shows what it is about.
    pub(super) fn reply(&mut self, process: u64, call: u64, index: usize, reply: Reply) {
        let Some(place) = self.place_of(process) else { return };
        if let Some(process) = &mut self.broker(place).process {
            process.replies.push((index, call, reply));
        }
        self.deliver(process);
    }

    fn replied(&mut self, place: usize, call: u64, reply: Reply) {
        let Some(process) = &mut self.broker(place).process else { return };
        let Some(call) = process.calls.remove(&call) else { return };
        match (call, reply) {
            (Call::Register, Reply::RegisterBroker(Ok(registered))) => {
                process.epoch = Some(registered.broker_epoch);
                self.broker(place).kept_page_cache = true;
            }
            (Call::Heartbeat, Reply::BrokerHeartbeat(Ok(state)))
                if state.may_shut_down && process.is_retiring =>
            {
                self.coverage.orderly_stops += 1;
                self.stop(place, End::Clean);
                let pause = self.dice.between(100, 2_500);
                self.after(pause, Event::Start { broker: place });
            }
            (Call::Heartbeat, Reply::BrokerHeartbeat(Err(_))) => process.epoch = None,
            (Call::Proposal { partition, number }, Reply::AlterPartition(answer)) => {
                let outcome = match answer.map(|mut answers| answers.pop()) {
                    Ok(Some(Ok(altered))) => {
                        let partition_epoch = altered.partition_epoch;
                        ProposalOutcome::Accepted { partition_epoch }
                    }
                    Ok(Some(Err(refusal))) | Err(refusal) => ProposalOutcome::Refused(refusal.code),
                    Ok(None) => ProposalOutcome::Refused(ErrorCode::UnknownServerError),
                };
                let is_refused = matches!(outcome, ProposalOutcome::Refused(_));
                self.coverage.proposals_refused += u64::from(is_refused);
                self.answered(place, partition, number, outcome);
            }
            _ => {}
        }
    }

    /// A broker's heart beats; one that is not let in asks to be.
    pub(super) fn heartbeat(&mut self, process: u64) {
        let Some(place) = self.place_of(process) else { return };
        let hides = self.flaw == Some(Flaw::HideLostPageCache);
        let broker = self.broker(place);
        let (id, directory) = (broker.id, broker.directory);
        let kept_page_cache = broker.kept_page_cache || hides;
        let Some(state) = &broker.process else { return };
        let (incarnation, want_shutdown) = (state.incarnation, state.is_retiring);
        match state.epoch {
            Some(broker_epoch) => {
                let command = Command::BrokerHeartbeat {
                    broker_id: id,
                    broker_epoch,
                    want_fence: false,
                    want_shutdown,
                };
                self.call(place, Call::Heartbeat, command);
            }
            None => {
                let registration = BrokerRegistration {
                    broker_id: Some(id),
                    incarnation,
                    directory,
                    kept_page_cache,
                    ..BrokerRegistration::default()
                };
                self.call(place, Call::Register, Command::RegisterBroker(registration));
            }
        }
        let pause = self.dice.between(100, 300);
        self.after(pause, Event::Heartbeat { process });
    }

    /// Time passes for the replicas that want to know.
    pub(super) fn sweep(&mut self, process: u64) {
        let Some(place) = self.place_of(process) else { return };
        let now = self.now();
        for partition in 0..PARTITIONS {
            let due = self.replica(place, partition).and_then(Replica::next_deadline);
            if due.is_some_and(|at| at <= now) {
                self.step(place, partition, Input::Ticked { now });
            }
        }
        self.after(150, Event::Sweep { process });
    }
}
