//! A coordinator with a log, a clock and no network: what the edge does, in a few lines.

use crate::command::{Answer, Command, Ticket};
use crate::context::{DecideContext, Policy, TopicFacts, Topics};
use crate::coordinator::Coordinator;
use crate::record::{Decoded, GroupRecord};
use jocko_types::{Now, PartitionIndex, Timestamp, TopicId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The topics that were made. The classic protocol needs none: only the ids of offsets are theirs.
#[derive(Debug, Default)]
pub(super) struct Made(BTreeMap<String, TopicId>);

impl Made {
    /// Makes a topic; `number` is all there is to its id.
    pub(super) fn make(&mut self, name: &str, number: u8) {
        self.0.insert(name.to_owned(), TopicId::from_bytes([number; 16]));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The id of a topic; zero if there is none.
    pub(super) fn id(&self, name: &str) -> TopicId {
        self.0.get(name).copied().unwrap_or(TopicId::ZERO)
    }
}

impl Topics for Made {
    fn by_name(&self, name: &str) -> Option<TopicFacts<'_>> {
        let (name, id) = self.0.get_key_value(name)?;
        Some(TopicFacts { id: *id, name, partition_count: 1 })
    }

    fn by_id(&self, id: TopicId) -> Option<TopicFacts<'_>> {
        let (name, id) = self.0.iter().find(|(_, known)| **known == id)?;
        Some(TopicFacts { id: *id, name, partition_count: 1 })
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.0.keys().map(String::as_str))
    }

    fn racks(&self, _id: TopicId, _partition: PartitionIndex) -> Vec<String> {
        Vec::new()
    }

    fn index(&self) -> u64 {
        0
    }
}

/// The bytes of a record: its key, and its value unless it is a tombstone.
type Entry = (Vec<u8>, Option<Vec<u8>>);

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) coordinator: Coordinator,
    /// Another broker, which only applies what the log says.
    follower: Coordinator,
    pub(super) policy: Policy,
    pub(super) topics: Made,
    pub(super) now: Now,
    /// Every record that was appended, in bytes.
    pub(super) log: Vec<Entry>,
    /// The largest batch that the log takes, of which tombstones alone may be larger by one record.
    pub(super) batch_bytes_max: usize,
    /// How many batches were appended.
    pub(super) batches: usize,
    /// Records of this group are refused.
    pub(super) refused_group: Option<String>,
    /// Whether appends are refused.
    pub(super) refuses: bool,
    next_ticket: Ticket,
    seed: u64,
}

/// What came of a command.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) records: Vec<GroupRecord>,
    pub(super) answers: Vec<(Ticket, Answer)>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let policy = Policy {
            session_timeout_min: Duration::from_secs(1),
            offsets_retention: Duration::from_secs(3600),
            ..Policy::default()
        };
        Self {
            coordinator: Coordinator::new(),
            follower: Coordinator::new(),
            policy,
            topics: Made::default(),
            now: Now::default(),
            log: Vec::new(),
            batch_bytes_max: usize::MAX,
            batches: 0,
            refused_group: None,
            refuses: false,
            next_ticket: 1,
            seed: 0,
        }
    }

    pub(super) fn context<'a>(&'a self, policy: &'a Policy) -> DecideContext<'a> {
        let millis = i64::try_from(self.now.since_start().as_millis()).expect("a short play");
        let wall = Timestamp::from_millis(millis);
        DecideContext {
            now: self.now,
            wall,
            seed: self.seed,
            policy,
            topics: &self.topics,
            batch_bytes_max: self.batch_bytes_max,
        }
    }

    /// Sends a command. A refused append answers it, and changes nothing else.
    pub(super) fn send(&mut self, command: &Command) -> (Ticket, Outcome) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let mut outcome = Outcome::default();
        loop {
            self.seed += 1;
            let decision = self.coordinator.decide(&self.context(&self.policy), ticket, command);
            if self.takes_not(&decision.records) {
                self.coordinator.pass_over(decision);
                let error = crate::append_refused(jocko_types::ErrorCode::NotEnoughReplicas);
                outcome.answers.push((ticket, command.refusal(error)));
                return (ticket, outcome);
            }
            let again = decision.again;
            outcome.records.extend(decision.records.iter().cloned());
            self.append(&decision.records);
            outcome.answers.extend(self.coordinator.accept(decision));
            self.check();
            if !again {
                return (ticket, outcome);
            }
        }
    }

    fn takes_not(&self, records: &[GroupRecord]) -> bool {
        let is_of_refused = |record: &GroupRecord| {
            self.refused_group.as_deref().is_some_and(|group| group == record.group_id())
        };
        let is_refused = self.refuses && !records.is_empty();
        is_refused || records.iter().any(is_of_refused)
    }

    /// Records of an earlier coordinator.
    pub(super) fn inherit(&mut self, records: &[GroupRecord]) {
        self.append(records);
        records.iter().for_each(|record| self.coordinator.apply(record));
    }

    fn append(&mut self, records: &[GroupRecord]) {
        self.batches += usize::from(!records.is_empty());
        if records.len() > 1 && records.iter().all(GroupRecord::is_tombstone) {
            assert!(records.len() <= 2_000);
            let bytes = |record: &GroupRecord| record.encode().expect("short enough").0.len();
            let sum: usize = records.iter().map(bytes).sum();
            // The group's own go with its last offset.
            let is_whole =
                matches!(records, [GroupRecord::Offset { .. }, GroupRecord::Classic { .. }]);
            assert!(is_whole || sum <= self.batch_bytes_max, "{sum} bytes: {}", records.len());
        }
        for record in records {
            let (key, value) = record.encode().expect("short enough");
            let decoded = GroupRecord::decode(&key, value.as_deref()).expect("our own bytes");
            assert_eq!(decoded, Decoded::Known(record.clone()), "bytes say what the record says");
            self.follower.apply(record);
            self.log.push((key, value));
        }
    }

    /// Lets time pass, doing what is due when it is due.
    pub(super) fn wait(&mut self, time: Duration) -> Vec<Outcome> {
        let until = self.now.plus(time);
        let mut outcomes = Vec::new();
        // The limit is on our patience: timers that do not move on are a bug.
        for _ in 0..10_000 {
            match self.coordinator.next_deadline() {
                Some(at) if at <= until => {
                    self.now = self.now.max(at);
                    let (_, outcome) = self.send(&Command::Tick);
                    outcomes.push(outcome);
                    if self.refuses {
                        break;
                    }
                }
                Some(_) | None => {
                    self.now = until;
                    return outcomes;
                }
            }
        }
        assert!(self.refuses, "the deadline {:?} never passes", self.coordinator.next_deadline());
        self.now = until;
        outcomes
    }

    /// Another broker takes over: the log is replayed.
    pub(super) fn reload(&mut self) -> Vec<(Ticket, Answer)> {
        let answers = self.coordinator.unload();
        let mut coordinator = Self::replay(&self.log);
        coordinator.loaded(&self.context(&self.policy));
        self.coordinator = coordinator;
        self.check();
        answers
    }

    fn replay(log: &[Entry]) -> Coordinator {
        let mut coordinator = Coordinator::new();
        for (key, value) in log {
            match GroupRecord::decode(key, value.as_deref()).expect("our own bytes") {
                Decoded::Known(record) => coordinator.apply(&record),
                Decoded::Unknown { kind } => panic!("we do not write kind {kind}"),
            }
        }
        coordinator
    }

    /// What must hold after every step.
    fn check(&self) {
        self.coordinator.check_invariants();
        // What is replicated is what the log says, and the snapshot says the same.
        let snapshot = self.coordinator.records();
        assert_eq!(self.follower.records(), snapshot);
        let mut copy = Coordinator::new();
        snapshot.iter().for_each(|record| copy.apply(record));
        assert_eq!(copy.records(), snapshot);
    }
}
