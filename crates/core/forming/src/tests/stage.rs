//! A few nodes, a network that loses, delays and doubles, disks that are wiped, and views that are
//! partial: all from one seed. The oracle sits at the place where nodes act.

use crate::machine::{Action, Forming, Fresh, Input, Output, Planted, Sending, Settings, Sighting};
use crate::message::{Envelope, Message};
use crate::proposal::{Bound, Seat};
use jocko_types::{Now, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Numbers from a seed (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    pub(super) fn in_hundred(&mut self, chance: u64) -> bool {
        self.roll() % 100 < chance
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        let number = (u128::from(self.roll()) << 64) | u128::from(self.roll());
        Uuid::from_random(number.to_be_bytes())
    }
}

/// What goes wrong on purpose, beside what a machine can be told to do wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mistakes {
    pub(super) machine: Planted,
    pub(super) pledge_not_durable: bool,
    pub(super) abandon_not_durable: bool,
}

struct Node {
    address: String,
    id: Uuid,
    disk: Bound,
    machine: Option<Forming>,
    /// Ids its disk had before it was wiped.
    ghosts: Vec<Uuid>,
}

/// How often things came to pass: a history in which nothing does, proves nothing.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    pub(super) founded: usize,
    pub(super) abandoned: usize,
    pub(super) gave_way: usize,
    pub(super) refused: usize,
    pub(super) crashed: usize,
    pub(super) wiped: usize,
    pub(super) stuck: usize,
    pub(super) one_cluster: usize,
}

pub(super) struct Stage {
    pub(super) dice: Dice,
    pub(super) seen: Seen,
    expect: u32,
    now: Now,
    nodes: Vec<Node>,
    flying: BTreeMap<(Duration, u64), Sending>,
    sent: u64,
    mistakes: Mistakes,
    /// By proposal: who are members of what was founded.
    founded: BTreeMap<Uuid, BTreeSet<Uuid>>,
    settled: BTreeMap<Uuid, Uuid>,
    pub(super) trace: u64,
    pub(super) violation: Option<String>,
}

impl Stage {
    pub(super) fn new(seed: u64, mistakes: Mistakes) -> Self {
        let mut dice = Dice::new(seed);
        // Half of all histories are full of strife: more nodes than one cluster takes.
        let is_contended = seed.is_multiple_of(2);
        let count = if is_contended { 4 + dice.below(3) } else { 1 + dice.below(7) };
        let most = if is_contended { 2 } else { count.min(5) };
        let expect = u32::from(is_contended) + 1 + dice.below(most) as u32;
        let nodes = (0..count)
            .map(|number| Node {
                address: format!("n{number}:9093"),
                id: dice.uuid(),
                disk: Bound::Free,
                machine: None,
                ghosts: Vec::new(),
            })
            .collect();
        Self {
            dice,
            seen: Seen::default(),
            expect,
            now: Now::from_start(Duration::ZERO),
            nodes,
            flying: BTreeMap::new(),
            sent: 0,
            mistakes,
            founded: BTreeMap::new(),
            settled: BTreeMap::new(),
            trace: seed,
            violation: None,
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Everything may go wrong, for so many events.
    pub(super) fn chaos(&mut self, events: usize) {
        for _ in 0..events {
            self.now = self.now.plus(Duration::from_millis(self.dice.roll() % 400));
            let at = self.dice.below(self.nodes.len());
            match self.dice.below(20) {
                0 | 1 => self.start(at),
                2 => self.crash(at),
                3 if self.dice.in_hundred(15) => self.wipe(at),
                4..=7 => self.look_around(at, false),
                _ => self.deliver(true),
            }
            self.tick_due();
        }
    }

    /// All is well from now on; nodes that wait for one that was wiped get the cure they ask for.
    pub(super) fn heal(&mut self) {
        for round in 0..400 {
            self.now = self.now.plus(Duration::from_millis(125));
            for at in 0..self.nodes.len() {
                self.start(at);
                if round % 8 == 0 {
                    self.look_around(at, true);
                }
                if round == 200 && self.is_stuck(at) {
                    let now = self.now.plus(Duration::from_secs(10));
                    let words = self.nodes[at]
                        .machine
                        .as_ref()
                        .map(|it| it.waiting(now))
                        .unwrap_or_default();
                    assert!(words.contains("remove its data directory"), "{words}");
                    self.seen.stuck += 1;
                    self.wipe(at);
                }
            }
            while self.flying.keys().next().is_some_and(|(at, _)| *at <= self.now.since_start()) {
                self.deliver(false);
            }
            self.tick_due();
        }
    }

    /// After healing: one cluster, and all in it; unless chaos left two that share no member.
    pub(super) fn check_one_cluster(&mut self) {
        let live: Vec<Option<Uuid>> = self
            .nodes
            .iter()
            .map(|node| match &node.disk {
                Bound::Settled { cluster, .. } => Some(*cluster),
                Bound::Free | Bound::Pledged(_) => None,
            })
            .collect();
        let clusters: BTreeSet<Uuid> = live.iter().flatten().copied().collect();
        match clusters.len() {
            0 => self.violate("no cluster formed".to_owned()),
            1 if live.contains(&None) => self.violate("somebody stayed outside".to_owned()),
            1 => self.seen.one_cluster += 1,
            _ => {}
        }
    }

    fn is_stuck(&self, at: usize) -> bool {
        let Bound::Pledged(proposal) = &self.nodes[at].disk else { return false };
        self.nodes.iter().all(|node| node.id != proposal.proposer)
    }

    fn violate(&mut self, words: String) {
        let waiting: Vec<String> = self
            .nodes
            .iter()
            .filter_map(|node| node.machine.as_ref())
            .map(|machine| {
                format!("{}: {}", machine.settings.me.address, machine.waiting(self.now))
            })
            .collect();
        self.violation.get_or_insert(format!("{words} (expect {}): {waiting:#?}", self.expect));
    }

    fn start(&mut self, at: usize) {
        if self.nodes[at].machine.is_some() {
            return;
        }
        self.note(format!("start {at}").as_bytes());
        let node = &mut self.nodes[at];
        let me = Seat { node: node.id, address: node.address.clone() };
        // The last node of many only joins.
        let expect = if at == 6 { None } else { Some(self.expect) };
        // What a disk holds is what its bytes say.
        let disk = Bound::from_bytes(&node.disk.to_bytes()).unwrap();
        let (mut machine, output) = Forming::start(Settings { me, expect }, disk, self.now);
        machine.planted = self.mistakes.machine;
        node.machine = Some(machine);
        self.act(at, output);
    }

    fn crash(&mut self, at: usize) {
        if self.nodes[at].machine.take().is_some() {
            self.note(format!("crash {at}").as_bytes());
            self.seen.crashed += 1;
        }
    }

    fn wipe(&mut self, at: usize) {
        self.note(format!("wipe {at}").as_bytes());
        self.seen.wiped += 1;
        let id = self.dice.uuid();
        let node = &mut self.nodes[at];
        node.machine = None;
        node.disk = Bound::Free;
        let old = std::mem::replace(&mut node.id, id);
        node.ghosts.push(old);
    }

    /// Shows a node what discovery might show it: all that run, or some, or some that are no more.
    fn look_around(&mut self, at: usize, is_well: bool) {
        if self.nodes[at].machine.is_none() {
            return;
        }
        let mut sightings = Vec::new();
        for number in 0..self.nodes.len() {
            let keep = is_well || self.dice.in_hundred(75);
            let with_ghost = !is_well && self.dice.in_hundred(10);
            let node = &self.nodes[number];
            if number == at {
                continue;
            }
            let expect = if number == 6 { 0 } else { self.expect };
            let seat = |id| Seat { node: id, address: node.address.clone() };
            let cluster = match &node.disk {
                Bound::Settled { cluster, .. } => Some(*cluster),
                Bound::Free | Bound::Pledged(_) => None,
            };
            if node.machine.is_some() && keep {
                sightings.push(Sighting { seat: seat(node.id), expect, cluster });
            }
            if let Some(ghost) = node.ghosts.last().filter(|_| with_ghost) {
                sightings.push(Sighting { seat: seat(*ghost), expect, cluster: None });
            }
        }
        self.step(at, Input::Seen(sightings));
    }

    fn deliver(&mut self, is_rough: bool) {
        let Some((_, sending)) = self.flying.pop_first() else { return };
        if is_rough && self.dice.in_hundred(20) {
            return;
        }
        if is_rough && self.dice.in_hundred(15) {
            self.fly(sending.clone());
        }
        let Some(at) = self.nodes.iter().position(|node| node.address == sending.address) else {
            return;
        };
        if self.nodes[at].machine.is_some() {
            let envelope = Envelope::from_bytes(&sending.envelope.to_bytes()).unwrap();
            self.step(at, Input::Received(envelope));
        }
    }

    fn fly(&mut self, sending: Sending) {
        self.sent += 1;
        let delay = if self.dice.in_hundred(5) { 20_000 } else { 300 };
        let delay = Duration::from_millis(self.dice.roll() % delay);
        self.flying.insert((self.now.since_start() + delay, self.sent), sending);
    }

    fn tick_due(&mut self) {
        for at in 0..self.nodes.len() {
            let due = self.nodes[at].machine.as_ref().and_then(Forming::next_deadline);
            if due.is_some_and(|due| due <= self.now) {
                self.step(at, Input::Tick);
            }
        }
    }

    fn step(&mut self, at: usize, input: Input) {
        let fresh = Fresh { proposal: self.dice.uuid(), cluster: self.dice.uuid() };
        let now = self.now;
        let Some(machine) = self.nodes[at].machine.as_mut() else { return };
        let trace = match &input {
            Input::Received(envelope) => envelope.to_bytes(),
            Input::Seen(seen) => seen.iter().flat_map(|it| *it.seat.node.as_bytes()).collect(),
            Input::Tick => vec![0],
        };
        let output = machine.step(now, fresh, input);
        // A deadline that stays in the past would spin.
        let again = machine.next_deadline();
        assert!(again.is_none_or(|again| again > now), "due again at once");
        self.note(&[at as u8]);
        self.note(&trace);
        self.act(at, output);
    }

    fn act(&mut self, at: usize, output: Output) {
        if let Some(bound) = output.store_first {
            self.store(at, bound);
        }
        for sending in output.then.send {
            match &sending.envelope.message {
                Message::GiveWay { .. } => self.seen.gave_way += 1,
                Message::Refused { .. } => self.seen.refused += 1,
                _ => {}
            }
            self.fly(sending);
        }
        let node = self.nodes[at].id;
        let cluster = match output.then.action {
            None => return,
            Some(Action::Join { cluster }) => cluster,
            Some(Action::Found(proposal)) => {
                let members: BTreeSet<Uuid> = proposal.members.iter().map(|it| it.node).collect();
                for (other, theirs) in &self.founded {
                    if *other != proposal.id && !theirs.is_disjoint(&members) {
                        self.violation.get_or_insert("F-1: two clusters share a member".to_owned());
                    }
                }
                for member in &members {
                    if self.settled.get(member).is_some_and(|it| *it != proposal.cluster) {
                        self.violation.get_or_insert("F-2: a member is elsewhere".to_owned());
                    }
                }
                if self.founded.insert(proposal.id, members).is_none() {
                    self.seen.founded += 1;
                }
                proposal.cluster
            }
        };
        if self.settled.insert(node, cluster).is_some_and(|before| before != cluster) {
            self.violation.get_or_insert("F-2: a node in two clusters".to_owned());
        }
        let mine = |members: &BTreeSet<Uuid>| members.contains(&node);
        let elsewhere =
            self.founded.iter().any(|(id, members)| mine(members) && !self.is_of(*id, cluster));
        if elsewhere {
            self.violation.get_or_insert("F-1: a member of one joined another".to_owned());
        }
    }

    /// Whether a founded proposal made this cluster: its founder is settled there.
    fn is_of(&self, proposal: Uuid, cluster: Uuid) -> bool {
        let members = &self.founded[&proposal];
        members.iter().filter_map(|member| self.settled.get(member)).all(|it| *it == cluster)
    }

    fn store(&mut self, at: usize, bound: Bound) {
        let node = &mut self.nodes[at];
        let was_own = matches!(&node.disk, Bound::Pledged(own) if own.proposer == node.id);
        let is_pledge = matches!(&bound, Bound::Pledged(other) if other.proposer != node.id);
        let is_abandon = was_own && !matches!(&bound, Bound::Settled { .. });
        if is_abandon {
            self.seen.abandoned += 1;
        }
        let is_lost = (is_pledge && self.mistakes.pledge_not_durable)
            || (is_abandon && self.mistakes.abandon_not_durable);
        if !is_lost {
            node.disk = bound;
        }
    }
}
