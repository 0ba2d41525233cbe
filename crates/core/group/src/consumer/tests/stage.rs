//! A coordinator with all that it needs: a clock, topics, and a log that may refuse.

use crate::{
    Answer, Command, Coordinator, DecideContext, Decoded, GroupRecord, Policy, Ticket, TopicFacts,
    Topics,
};
use jocko_types::{Now, PartitionIndex, Timestamp, TopicId, Uuid};
use std::collections::BTreeMap;
use std::time::Duration;

/// The topics of a test.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    topics: BTreeMap<String, (TopicId, i32)>,
    created: u8,
    index: u64,
}

impl Cluster {
    /// Gives a topic this many partitions, creating it if need be.
    pub(super) fn set(&mut self, name: &str, partitions: i32) {
        self.index += 1;
        if let Some((_, count)) = self.topics.get_mut(name) {
            *count = partitions;
        } else {
            self.created += 1;
            let mut bytes = [0; 16];
            bytes[0] = 1;
            bytes[15] = self.created;
            self.topics.insert(name.to_owned(), (Uuid::from_bytes(bytes), partitions));
        }
    }

    /// A topic of another cluster, with the id it has there.
    pub(super) fn set_with_id(&mut self, name: &str, id: &str, partitions: i32) {
        self.index += 1;
        let id: TopicId = id.parse().expect("an id");
        self.topics.insert(name.to_owned(), (id, partitions));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.index += 1;
        self.topics.remove(name);
    }

    /// Something else changes.
    pub(super) fn touch(&mut self) {
        self.index += 1;
    }
}

impl Topics for Cluster {
    fn by_name(&self, name: &str) -> Option<TopicFacts<'_>> {
        let (name, &(id, partition_count)) = self.topics.get_key_value(name)?;
        Some(TopicFacts { id, name, partition_count })
    }

    fn by_id(&self, id: TopicId) -> Option<TopicFacts<'_>> {
        let (name, &(id, partition_count)) = self.topics.iter().find(|(_, t)| t.0 == id)?;
        Some(TopicFacts { id, name, partition_count })
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.topics.keys().map(String::as_str))
    }

    fn racks(&self, _: TopicId, _: PartitionIndex) -> Vec<String> {
        Vec::new()
    }

    fn index(&self) -> u64 {
        self.index
    }
}

/// What came of a command.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) records: Vec<GroupRecord>,
    pub(super) answers: Vec<(Ticket, Answer)>,
}

pub(super) struct Stage {
    pub(super) coordinator: Coordinator,
    pub(super) cluster: Cluster,
    pub(super) policy: Policy,
    /// Whether the log refuses appends.
    pub(super) refuses: bool,
    elapsed: Duration,
    tickets: Ticket,
    log: Vec<GroupRecord>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self {
            coordinator: Coordinator::new(),
            cluster: Cluster::default(),
            policy: Policy::default(),
            refuses: false,
            elapsed: Duration::from_secs(1000),
            tickets: 0,
            log: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now::from_start(self.elapsed)
    }

    fn context<'a>(&'a self, policy: &'a Policy, cluster: &'a Cluster) -> DecideContext<'a> {
        let millis = i64::try_from(self.elapsed.as_millis()).expect("a short play");
        DecideContext {
            now: self.now(),
            wall: Timestamp::from_millis(1_700_000_000_000 + millis),
            seed: self.tickets,
            policy,
            topics: cluster,
            batch_bytes_max: usize::MAX,
        }
    }

    /// Decides, appends and accepts; `None` if the log refused.
    pub(super) fn send(&mut self, command: &Command) -> (Ticket, Option<Outcome>) {
        self.tickets += 1;
        let cx = self.context(&self.policy, &self.cluster);
        let decision = self.coordinator.decide(&cx, self.tickets, command);
        let records = decision.records.clone();
        if self.refuses && !records.is_empty() {
            self.coordinator.pass_over(decision);
            return (self.tickets, None);
        }
        self.log.extend(records.iter().cloned());
        let answers = self.coordinator.accept(decision);
        self.coordinator.check_invariants();
        (self.tickets, Some(Outcome { records, answers }))
    }

    /// Lets time pass, and what is due happen in time.
    pub(super) fn wait(&mut self, wait: Duration) -> Vec<Outcome> {
        let end = self.elapsed + wait;
        let mut outcomes = Vec::new();
        for _ in 0..10_000 {
            let due = self.coordinator.next_deadline().map(Now::since_start);
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.elapsed = self.elapsed.max(due);
            let (_, outcome) = self.send(&Command::Tick);
            match outcome {
                Some(outcome) => outcomes.push(outcome),
                // Refused: the edge tries again a little later.
                None => self.elapsed += Duration::from_millis(100),
            }
            if self.elapsed >= end {
                break;
            }
        }
        self.elapsed = self.elapsed.max(end);
        outcomes
    }

    /// A coordinator that has read the log, as bytes, from its beginning.
    fn replayed<'r>(records: impl Iterator<Item = &'r GroupRecord>) -> Coordinator {
        let mut coordinator = Coordinator::new();
        for record in records {
            let (key, value) = record.encode().expect("it fits");
            match GroupRecord::decode(&key, value.as_deref()).expect("our own bytes") {
                Decoded::Known(again) => {
                    assert_eq!(&again, record);
                    coordinator.apply(&again);
                }
                Decoded::Unknown { kind } => panic!("kind {kind} is ours"),
            }
        }
        coordinator
    }

    /// Both the log and a snapshot make what there is.
    pub(super) fn check_replay(&self) {
        let now = self.coordinator.records();
        assert_eq!(Self::replayed(self.log.iter()).records(), now, "the log");
        assert_eq!(Self::replayed(now.iter()).records(), now, "the snapshot");
        assert_eq!(Self::replayed(compacted(&self.log).iter()).records(), now, "compacted");
    }

    /// The coordinator moves: another one reads the log.
    pub(super) fn reload(&mut self) -> Vec<(Ticket, Answer)> {
        self.check_replay();
        let answers = self.coordinator.unload();
        self.coordinator = Self::replayed(self.log.iter());
        let cx = DecideContext {
            now: self.now(),
            wall: Timestamp::from_millis(0),
            seed: 0,
            policy: &self.policy,
            topics: &self.cluster,
            batch_bytes_max: usize::MAX,
        };
        self.coordinator.loaded(&cx);
        self.coordinator.check_invariants();
        answers
    }
}

/// What compaction leaves at most: the last record of each key, tombstones among them.
fn compacted(log: &[GroupRecord]) -> Vec<GroupRecord> {
    let key = |record: &GroupRecord| record.encode().expect("it fits").0;
    let last: BTreeMap<Vec<u8>, usize> =
        log.iter().enumerate().map(|(at, record)| (key(record), at)).collect();
    let kept = log.iter().enumerate().filter(|(at, record)| last.get(&key(record)) == Some(at));
    kept.map(|(_, record)| record.clone()).collect()
}
