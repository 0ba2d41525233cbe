//! Trouble, of random kinds, and its end.

use super::broker::End;
use super::controller::Controller;
use super::log::ToyLog;
use super::world::{CONTROLLER, Event, Message, PARTITIONS, TOPIC, World, place_of_id};
use jocko_metadata::{Command, Election, Reassignment};
use jocko_replica::{Caller, Durability};
use jocko_types::{BrokerId, PartitionIndex};

/// Kinds of trouble. A run has a random subset of them, which may be empty (DR30).
const KINDS: [Kind; 13] = [
    Kind::Kill,
    Kind::PowerLoss,
    Kind::PowerLossOfAll,
    Kind::Wipe,
    Kind::Cut,
    Kind::Mend,
    Kind::Retire,
    Kind::Move,
    Kind::Prefer,
    Kind::Delete,
    Kind::Slow,
    Kind::Quiet,
    Kind::Fence,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    PowerLoss,
    PowerLossOfAll,
    Wipe,
    Cut,
    Mend,
    Retire,
    Move,
    Prefer,
    Delete,
    Slow,
    Quiet,
    Fence,
}

impl World {
    /// Makes the topic once brokers are there, then trouble.
    pub(super) fn chaos(&mut self) {
        if self.is_healed {
            return;
        }
        if self.controller.image.topic(TOPIC).is_none() {
            self.make_topic();
        } else {
            let chosen = self.setup.troubles;
            let kinds: Vec<Kind> = KINDS
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| (chosen >> bit) & 1 == 1)
                .map(|(_, kind)| kind)
                .collect();
            if let Some(kind) = self.dice.pick(&kinds) {
                self.trouble(kind);
            }
        }
        let pause = self.dice.between(50, 900);
        self.after(pause, Event::Chaos);
    }

    fn make_topic(&mut self) {
        if self.controller.image.live_brokers().count() < self.setup.brokers {
            return;
        }
        let count = i32::try_from(self.setup.brokers).expect("few");
        let replicas: Vec<Vec<i32>> = (0..PARTITIONS)
            .map(|partition| (0..3).map(|copy| 1 + (partition + copy) % count).collect())
            .collect();
        let is_relaxed = self.setup.durability == Durability::Relaxed;
        for command in Controller::topic_commands(&replicas, self.setup.min_isr, is_relaxed) {
            self.decide(command);
        }
        assert!(self.controller.image.topic(TOPIC).is_some(), "the topic was refused");
    }

    fn trouble(&mut self, kind: Kind) {
        let count = self.setup.brokers as u64;
        let place = usize::try_from(self.dice.between(1, count)).expect("few");
        let partition = i32::try_from(self.dice.below(2)).expect("few");
        match kind {
            Kind::Kill => self.fall(place, End::Killed),
            Kind::PowerLoss => self.fall(place, End::PowerLost),
            Kind::PowerLossOfAll if self.setup.durability == Durability::Fsync => {
                if self.dice.per_mille(200) {
                    (1..=self.setup.brokers).for_each(|place| self.fall(place, End::PowerLost));
                }
            }
            Kind::PowerLossOfAll => {}
            Kind::Wipe => self.fall(place, End::Wiped),
            Kind::Cut => self.cut_link(place),
            Kind::Mend => {
                self.cut.clear();
                self.slow.clear();
            }
            Kind::Slow => {
                let other = usize::try_from(self.dice.between(1, count)).expect("few");
                self.slow.insert((place, other));
                if self.dice.per_mille(500) {
                    self.slow.insert((other, place));
                }
            }
            // Taken for dead, as after a pause: its process goes on.
            Kind::Fence => {
                let (broker_id, broker_epoch) = (self.broker(place).id, None);
                self.decide(Command::FenceBroker { broker_id, broker_epoch });
            }
            Kind::Quiet => self.quiet_until = self.now_ms + self.dice.between(500, 3_000),
            Kind::Retire => {
                if let Some(process) = &mut self.broker(place).process {
                    process.is_retiring = true;
                }
            }
            Kind::Move => self.reassign(partition),
            Kind::Prefer => {
                let partitions = Some(vec![(TOPIC.to_owned(), PartitionIndex::new(partition))]);
                self.decide(Command::ElectLeaders { election: Election::Preferred, partitions });
            }
            Kind::Delete => self.delete_records(place, partition),
        }
    }

    fn fall(&mut self, place: usize, end: End) {
        let is_lossy = end == End::Wiped
            || (end == End::PowerLost && self.setup.durability == Durability::Relaxed);
        if self.broker(place).process.is_none() || (is_lossy && !self.may_lose(place)) {
            return;
        }
        match end {
            End::Clean => {}
            End::Killed => self.coverage.kills += 1,
            End::PowerLost => self.coverage.unclean_restarts += 1,
            End::Wiped => self.coverage.wipes += 1,
        }
        self.leave_words(place);
        if end == End::Wiped && self.dice.per_mille(800) {
            self.quiet_until = self.now_ms + 2_000;
        }
        self.stop(place, end);
        // A quick start may be noticed by nobody.
        let pause = if self.dice.per_mille(600) { 5 } else { self.dice.between(50, 4_000) };
        self.after(pause, Event::Start { broker: place });
    }

    /// The last words of a process may arrive when the next one is long there.
    fn leave_words(&mut self, place: usize) {
        let Some(broker_epoch) = self.own_epoch(place) else { return };
        for partition in 0..PARTITIONS {
            let Some(replica) = self.replica(place, partition) else { continue };
            let Some(following) = replica.following() else { continue };
            let caller = Caller {
                broker: self.brokers[place - 1].id,
                broker_epoch,
                leader_epoch: following.leader_epoch,
            };
            let (offset, claim) = (following.offset.get(), replica.claim());
            let last = self.brokers[place - 1].logs.get(&partition).and_then(ToyLog::last_epoch);
            let (from, to) = (place, place_of_id(following.leader));
            for _ in 0..8 {
                let fetch = Message::Fetch { process: 0, partition, caller, offset, last };
                let delay = self.dice.between(100, 1_500);
                self.after(delay, Event::Arrive { from, to, message: Box::new(fetch) });
                let Some(claim) = claim else { continue };
                let claim = Message::Claim { partition, caller, end: claim.end.get() };
                self.after(delay - 1, Event::Arrive { from, to, message: Box::new(claim) });
            }
        }
    }

    /// Whether this broker may lose what it acknowledged: one at a time, of as many as the minimum
    /// promises. No rule can save what the only copy of is lost.
    fn may_lose(&self, place: usize) -> bool {
        let is_alone = !self.brokers.iter().any(|broker| broker.is_lossy);
        self.setup.min_isr > 1
            && is_alone
            && (0..PARTITIONS).all(|partition| {
                let Some(state) = self.controller.partition(partition) else { return true };
                let mut others = state
                    .isr
                    .iter()
                    .chain(&state.elr)
                    .filter(|id| place_of_id(**id) != place)
                    .map(|id| {
                        state.directory(*id) == Some(self.brokers[place_of_id(*id) - 1].directory)
                    })
                    .peekable();
                others.peek().is_some() && others.all(|is_intact| is_intact)
            })
    }

    /// Cuts a link, one way or both; of a broker to another or to all, the controller among them.
    fn cut_link(&mut self, place: usize) {
        self.coverage.cuts += 1;
        let both = self.dice.per_mille(600);
        let all = self.dice.per_mille(400);
        let other = usize::try_from(self.dice.below(self.setup.brokers as u64 + 1)).expect("few");
        for end in CONTROLLER..=self.setup.brokers {
            if end != place && (all || end == other) {
                self.cut.insert((place, end));
                if both {
                    self.cut.insert((end, place));
                }
            }
        }
    }

    fn reassign(&mut self, partition: i32) {
        let replicas = self.dice.per_mille(850).then(|| {
            let mut all: Vec<i32> = (1..).take(self.setup.brokers).collect();
            let mut target = Vec::new();
            let copies = self.dice.between(2, 3);
            while (target.len() as u64) < copies {
                let at = usize::try_from(self.dice.below(all.len() as u64)).expect("few");
                target.push(BrokerId::new(all.remove(at)));
            }
            target
        });
        let topic = TOPIC.to_owned();
        let partition = PartitionIndex::new(partition);
        self.decide(Command::AlterPartitionReassignments {
            partitions: vec![Reassignment { topic, partition, replicas }],
            allow_replication_factor_change: true,
        });
    }

    /// All trouble ends, and everybody comes back.
    pub(super) fn heal(&mut self) {
        self.is_healed = true;
        self.cut.clear();
        self.slow.clear();
        self.quiet_until = 0;
        for place in 1..=self.setup.brokers {
            self.after(1, Event::Start { broker: place });
        }
    }
}
