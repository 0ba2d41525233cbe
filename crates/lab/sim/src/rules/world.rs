//! The world of one run: its queue of events, its network, and how it ends.

use super::broker::Broker;
use super::controller::Controller;
use super::flaw::Flaw;
use super::log::Entry;
use super::oracle::{Coverage, Oracle};
use crate::dice::Dice;
use jocko_metadata::{Command, Reply};
use jocko_replica::{Caller, Durability, EpochEnd, Following, Policy};
use jocko_types::{BrokerId, LeaderEpoch, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The one topic.
pub(super) const TOPIC: &str = "t";
/// Its partitions.
pub(super) const PARTITIONS: i32 = 2;
/// Silence after which a broker is fenced.
pub(super) const SESSION: Duration = Duration::from_millis(1_500);
/// How long there is chaos.
const CHAOS_MS: u64 = 15_000;
/// How long clients go on writing after that.
const CALM_MS: u64 = 1_000;
/// How long everything may take to drain.
const HEAL_MS: u64 = 60_000;
/// The controller's place in the network.
pub(super) const CONTROLLER: usize = 0;

/// What travels.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Command { process: u64, call: u64, command: Command },
    Reply { process: u64, call: u64, index: usize, reply: Reply },
    Fetch { process: u64, partition: i32, caller: Caller, offset: i64, last: Option<LeaderEpoch> },
    Answer { process: u64, partition: i32, asked: Following, last: Option<LeaderEpoch>, told: Told },
    Claim { partition: i32, caller: Caller, end: i64 },
}

/// What a leader tells a follower.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Records { entries: Vec<Entry>, high_watermark: i64, start: i64 },
    Parting { leader: EpochEnd, high_watermark: i64 },
    Outside { start: i64, end: i64 },
}

/// What happens. Brokers are known by their place, processes by their number: what was meant for a
/// process that is gone does not happen.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Arrive { from: usize, to: usize, message: Box<Message> },
    Start { broker: usize },
    Deliver { process: u64 },
    Fetch { process: u64, partition: i32 },
    Heartbeat { process: u64 },
    Sweep { process: u64 },
    Flushed { process: u64, partition: i32, end: i64, cuts: u64 },
    CallTimeout { process: u64, call: u64 },
    Supervise,
    Produce,
    Read,
    Chaos,
    Heal,
}

/// What is fixed for a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) brokers: usize,
    pub(super) min_isr: usize,
    pub(super) durability: Durability,
    /// Messages lost and doubled, in a thousand.
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// Kinds of trouble, a bit each.
    pub(super) troubles: u64,
}

/// The world.
pub(super) struct World {
    pub(super) now_ms: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub(super) dice: Dice,
    pub(super) setup: Setup,
    pub(super) flaw: Option<Flaw>,
    pub(super) controller: Controller,
    /// By place; place 0 is the controller's, so this begins with place 1.
    pub(super) brokers: Vec<Broker>,
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// Links on which everything is late.
    pub(super) slow: BTreeSet<(usize, usize)>,
    /// Until when clients write nothing.
    pub(super) quiet_until: u64,
    pub(super) oracle: Oracle,
    pub(super) coverage: Coverage,
    pub(super) is_healed: bool,
    pub(super) value: u64,
    /// Numbers for processes, calls and tickets.
    numbers: u64,
    trace: Trace,
    /// What a reader of a failed run wants to know, if there is one.
    story: Option<Vec<String>>,
}

/// How a run went.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The same for the same seed: a hash of everything that happened.
    pub trace: u64,
    /// How many events that was.
    pub events: u64,
    /// How much happened.
    pub coverage: Coverage,
    /// The first promise that was broken, if one was.
    pub violation: Option<String>,
    /// What happened, in words, if that was asked for.
    pub story: Vec<String>,
}

/// A hash of everything that happens.
struct Trace(u64);

impl std::fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// Plays one seed, with one rule broken if so wished. Never panics: a panic of the rules is a
/// violation.
#[must_use]
pub fn run(seed: u64, flaw: Option<Flaw>) -> Report {
    play(World::new(seed, flaw), seed)
}

/// As [`run`], and tells the story.
#[must_use]
pub fn tell(seed: u64, flaw: Option<Flaw>) -> Report {
    let mut world = World::new(seed, flaw);
    world.story = Some(Vec::new());
    play(world, seed)
}

fn play(mut world: World, seed: u64) -> Report {
    let mut events = 0;
    let limit = CHAOS_MS + CALM_MS + HEAL_MS;
    let mut drained = false;
    while world.oracle.violation.is_none() && !drained && world.now_ms < limit {
        let Some(((at, _), event)) = world.queue.pop_first() else { break };
        world.now_ms = at;
        events += 1;
        let _ = write!(world.trace, "{at} {event:?}");
        let handled = catch_unwind(AssertUnwindSafe(|| world.handle(event)));
        if let Err(panic) = handled {
            let what = panic.downcast_ref::<String>().map(String::as_str);
            let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            world.oracle.fail(format!("a rule panicked: {what}"));
        }
        let is_time = world.is_healed && world.now_ms > CHAOS_MS + CALM_MS + 500;
        drained = is_time && events % 64 == 0 && world.undrained().is_none();
    }
    world.coverage.acknowledged = world.oracle.acked_count();
    if world.oracle.violation.is_none()
        && let Some(what) = world.undrained()
    {
        world.oracle.fail(format!("it does not drain: {what}"));
    }
    Report {
        seed,
        trace: world.trace.0,
        events,
        coverage: world.coverage,
        violation: world.oracle.violation.map(|what| format!("at {} ms: {what}", world.now_ms)),
        story: world.story.unwrap_or_default(),
    }
}

impl World {
    fn new(seed: u64, flaw: Option<Flaw>) -> Self {
        let mut dice = Dice::new(seed);
        let brokers = usize::try_from(dice.between(3, 5)).expect("few");
        let is_relaxed = dice.per_mille(300);
        let setup = Setup {
            brokers,
            min_isr: if dice.per_mille(800) { 2 } else { 1 },
            durability: if is_relaxed { Durability::Relaxed } else { Durability::Fsync },
            lost: dice.pick(&[0, 10, 50]).unwrap_or(0),
            doubled: dice.pick(&[0, 20, 80]).unwrap_or(0),
            troubles: dice.below(u64::MAX),
        };
        let mut world = Self {
            now_ms: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            dice,
            setup,
            flaw,
            controller: Controller::new(),
            brokers: Vec::new(),
            cut: BTreeSet::new(),
            slow: BTreeSet::new(),
            quiet_until: 0,
            oracle: Oracle::default(),
            coverage: Coverage::default(),
            is_healed: false,
            value: 0,
            numbers: 0,
            trace: Trace(0xcbf2_9ce4_8422_2325),
            story: None,
        };
        for place in 1..=brokers {
            let broker = Broker::new(place, &mut world.dice);
            world.brokers.push(broker);
            world.after(place as u64, Event::Start { broker: place });
        }
        for (at, event) in [
            (100, Event::Supervise),
            (1_000, Event::Produce),
            (1_000, Event::Read),
            (2_000, Event::Chaos),
            (CHAOS_MS, Event::Heal),
        ] {
            world.after(at, event);
        }
        world
    }

    /// How this partition's brokers decide. The flaw lets them forget the minimum, of which the
    /// controller knows.
    pub(super) fn policy(&self) -> Policy {
        let is_flawed = self.flaw == Some(Flaw::IgnoreMinIsr);
        Policy {
            min_insync_replicas: if is_flawed { 1 } else { self.setup.min_isr },
            durability: self.setup.durability,
            lag_time_max: Duration::from_millis(800),
        }
    }

    /// A line for the story.
    pub(super) fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = format!("{} ms: {}", self.now_ms, line(self));
            self.story.iter_mut().for_each(|story| story.push(line.clone()));
        }
    }

    pub(super) fn now(&self) -> Now {
        Now::from_start(Duration::from_millis(self.now_ms))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn after(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now_ms + delay_ms, self.sequence), event);
    }

    /// Sends a message: it may be lost, doubled, late, and overtaken.
    pub(super) fn send(&mut self, from: usize, to: usize, message: Message) {
        let is_lost = !self.is_healed && self.dice.per_mille(self.setup.lost);
        if is_lost || self.cut.contains(&(from, to)) {
            self.coverage.lost += 1;
            return;
        }
        let message = Box::new(message);
        if !self.is_healed && self.dice.per_mille(self.setup.doubled) {
            self.coverage.doubled += 1;
            // The second comes when much may have changed.
            let delay = self.delay_of(from, to) + self.dice.between(0, 1_500);
            self.after(delay, Event::Arrive { from, to, message: message.clone() });
        }
        let delay = self.delay_of(from, to);
        self.after(delay, Event::Arrive { from, to, message });
    }

    fn delay_of(&mut self, from: usize, to: usize) -> u64 {
        let late = if self.slow.contains(&(from, to)) { self.dice.between(300, 1_500) } else { 0 };
        late + self.delay()
    }

    fn delay(&mut self) -> u64 {
        if !self.is_healed && self.dice.per_mille(30) {
            self.dice.between(100, 3_000)
        } else {
            self.dice.between(1, 15)
        }
    }

    /// Forgets what a machine that lost its memory wanted of the controller: its connections are
    /// gone, and what it knew with them.
    pub(super) fn forget_proposals(&mut self, place: usize) {
        self.queue.retain(|_, event| match event {
            Event::Arrive { from, message, .. } if *from == place => {
                let command = match &**message {
                    Message::Command { command, .. } => Some(command),
                    _ => None,
                };
                !matches!(command, Some(Command::AlterPartition { .. }))
            }
            _ => true,
        });
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive { from, to, message } => self.arrive(from, to, *message),
            Event::Start { broker } => self.start(broker),
            Event::Deliver { process } => self.deliver(process),
            Event::Fetch { process, partition } => self.fetch(process, partition),
            Event::Heartbeat { process } => self.heartbeat(process),
            Event::Sweep { process } => self.sweep(process),
            Event::Flushed { process, partition, end, cuts } => {
                self.flushed(process, partition, end, cuts);
            }
            Event::CallTimeout { process, call } => self.call_timed_out(process, call),
            Event::Supervise => self.supervise(),
            Event::Produce => {
                if self.now_ms >= self.quiet_until {
                    self.produce();
                }
                if self.now_ms < CHAOS_MS + CALM_MS {
                    let pause = self.dice.between(5, 60);
                    self.after(pause, Event::Produce);
                }
            }
            Event::Read => {
                self.read();
                let pause = self.dice.between(20, 100);
                self.after(pause, Event::Read);
            }
            Event::Chaos => self.chaos(),
            Event::Heal => self.heal(),
        }
    }

    fn arrive(&mut self, from: usize, to: usize, message: Message) {
        match message {
            Message::Command { process, call, command } => {
                self.command(from, process, call, command);
            }
            Message::Reply { process, call, index, reply } => {
                self.reply(process, call, index, reply);
            }
            Message::Fetch { process, partition, caller, offset, last } => {
                self.serve(from, to, process, (partition, caller, offset, last));
            }
            Message::Answer { process, partition, asked, last, told } => {
                self.answer(process, partition, asked, last, told);
            }
            Message::Claim { partition, caller, end } => self.claimed(to, partition, caller, end),
        }
    }

    /// A command at the controller.
    fn command(&mut self, from: usize, process: u64, call: u64, command: Command) {
        self.controller.hear(&command, self.now());
        let is_registration = matches!(command, Command::RegisterBroker(_));
        let reply = self.decide(command);
        if is_registration && self.place_of(process) == Some(from) {
            // What it lost is known now.
            self.broker(from).is_lossy = false;
            self.check_holders();
        }
        let index = self.controller.index();
        self.send(CONTROLLER, from, Message::Reply { process, call, index, reply });
    }

    /// Has the controller decide, and tells all brokers in time.
    pub(super) fn decide(&mut self, command: Command) -> Reply {
        let before = self.controller.index();
        let reply = self.controller.decide(
            command,
            &mut self.dice,
            &mut self.oracle,
            &mut self.coverage,
            self.flaw,
        );
        if self.controller.index() > before {
            self.note(|world| format!("committed {:?}", world.controller.last()));
            self.check_holders();
            let processes: Vec<u64> = self.processes().map(|(_, number)| number).collect();
            for process in processes {
                let delay = self.delay();
                self.after(delay, Event::Deliver { process });
            }
        }
        reply
    }

    fn supervise(&mut self) {
        for command in self.controller.silent(self.now()) {
            self.coverage.fencings += 1;
            self.decide(command);
        }
        // Nothing may hang on a notice that was slow.
        let processes: Vec<u64> = self.processes().map(|(_, number)| number).collect();
        for process in processes {
            self.after(1, Event::Deliver { process });
        }
        self.after(200, Event::Supervise);
    }

    /// All replicas that the controller counts on hold all that is committed (P-3).
    pub(super) fn check_holders(&mut self) {
        for partition in 0..PARTITIONS {
            let Some(state) = self.controller.partition(partition) else { continue };
            for id in state.isr.iter().chain(&state.elr) {
                let broker = &self.brokers[place_of_id(*id) - 1];
                let is_there = state.directory(*id) == Some(broker.directory) && !broker.is_lossy;
                let Some(log) = broker.logs.get(&partition) else { continue };
                if !is_there {
                    continue;
                }
                let held = match self.setup.durability {
                    Durability::Fsync => log.durable(),
                    Durability::Relaxed => log.end(),
                };
                self.oracle.holds(partition, &format!("replica {id}"), log, held);
            }
        }
    }

    /// What is not as it should be once everything is healed.
    fn undrained(&self) -> Option<String> {
        for broker in &self.brokers {
            let id = broker.id;
            let Some(process) = &broker.process else { return Some(format!("{id} is down")) };
            if broker.applied < self.controller.index() || !self.controller.image.is_active(id) {
                return Some(format!("{id} is behind or fenced"));
            }
            if process.calls.values().any(|call| call.is_proposal()) {
                return Some(format!("{id} waits for an answer"));
            }
        }
        (0..PARTITIONS).find_map(|partition| self.undrained_partition(partition))
    }

    fn undrained_partition(&self, partition: i32) -> Option<String> {
        let state = self.controller.partition(partition)?;
        if state.is_reassigned() || state.isr.len() < state.replicas.len() {
            return Some(format!("partition {partition} stands at {state:?}"));
        }
        let Some(leader) = state.leader else { return Some(format!("{partition}: no leader")) };
        let truth = self.brokers[place_of_id(leader) - 1].logs.get(&partition)?;
        for id in &state.replicas {
            let broker = &self.brokers[place_of_id(*id) - 1];
            let replica = broker.process.as_ref()?.replicas.get(&partition);
            let log = broker.logs.get(&partition);
            let (Some(replica), Some(log)) = (replica, log) else {
                return Some(format!("{id} keeps no replica of {partition}"));
            };
            let start = log.start().max(truth.start());
            let is_equal = log.end() == truth.end()
                && log.read(start, usize::MAX) == truth.read(start, usize::MAX);
            if !is_equal {
                return Some(format!("{id} differs in {partition}"));
            }
            if replica.high_watermark().get() != log.end() || replica.waiting() > 0 {
                let high_watermark = replica.high_watermark();
                return Some(format!(
                    "{id} has committed {high_watermark} of {} in {partition}",
                    log.end()
                ));
            }
        }
        (self.oracle.committed_end(partition) != truth.end())
            .then(|| format!("{partition} has committed less than it holds"))
    }
}

/// A broker's place in the network.
pub(super) fn place_of_id(id: BrokerId) -> usize {
    usize::try_from(id.get()).expect("brokers are numbered from 1")
}
