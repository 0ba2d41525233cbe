//! Random histories: whatever clients do, and whenever the coordinator moves or its log refuses,
//! the invariants hold (the stage checks them at every step), nobody waits longer than the
//! timeouts say, and once clients behave, all of them get an assignment.

use super::stage::Stage;
use crate::command::{
    Answer, Command, CommitOffsets, FetchOffsets, Heartbeat, Join, Leave, LeavingMember,
    OffsetToCommit, Opaque, Sync, Ticket,
};
use crate::record::{Decoded, GroupRecord};
use jocko_types::{ErrorCode, LeaderEpoch, Now, Offset, PartitionIndex, TopicId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const CLIENTS: usize = 5;
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(30);

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    /// A client does the next thing a client would do.
    Acts(usize),
    /// A client joins though it need not, and may have changed its dialects.
    Rejoins(usize, usize),
    /// A client stops without a word; whoever has its name next is another process.
    Vanishes(usize),
    Leaves(usize),
    /// An administrator removes whoever has the static name.
    Removed(usize),
    Commits(usize, i64),
    CommitsAlone(i64),
    DeletesOffsets,
    DeletesGroup,
    Expires,
    Passes(u64),
    Reloads,
    /// The next append is refused.
    Refused,
}

fn any_event() -> impl Strategy<Value = Event> {
    let client = || 0..CLIENTS;
    prop_oneof![
        30 => client().prop_map(Event::Acts),
        3 => (client(), 0_usize..3).prop_map(|(client, speaks)| Event::Rejoins(client, speaks)),
        2 => client().prop_map(Event::Vanishes),
        2 => client().prop_map(Event::Leaves),
        1 => client().prop_map(Event::Removed),
        6 => (client(), 0_i64..50).prop_map(|(client, offset)| Event::Commits(client, offset)),
        1 => (0_i64..50).prop_map(Event::CommitsAlone),
        1 => Just(Event::DeletesOffsets),
        1 => Just(Event::DeletesGroup),
        1 => Just(Event::Expires),
        10 => prop_oneof![Just(0), Just(500), Just(3_000), Just(9_000), Just(40_000), Just(4_000_000)]
            .prop_map(Event::Passes),
        2 => Just(Event::Reloads),
        3 => Just(Event::Refused),
    ]
}

/// Where a client is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Out,
    Joining(Ticket, Now),
    Joined {
        leads: bool,
        members: Vec<String>,
    },
    Syncing(Ticket, Now),
    Assigned(String),
    /// Another process has its name.
    Fenced,
}

#[derive(Debug, Clone, Default)]
struct Client {
    instance_id: Option<String>,
    member_id: String,
    generation: i32,
    speaks: usize,
    phase: Phase,
}

struct World {
    stage: Stage,
    clients: Vec<Client>,
    refuse_next: bool,
    /// What was committed, and whether it may have been removed since.
    committed: BTreeMap<i32, (i64, bool)>,
    log_read: usize,
    /// What each generation's members were given, by member.
    given: BTreeMap<i32, BTreeSet<String>>,
}

impl World {
    fn new(delay: u64) -> Self {
        let mut stage = Stage::new();
        stage.policy.initial_rebalance_delay = Duration::from_secs(delay);
        let clients = (0..CLIENTS).map(|index| Client {
            // Two of them are static, and a third claims the name of the second.
            instance_id: match index {
                0 => Some("i0".to_owned()),
                1 | 2 => Some("i1".to_owned()),
                _ => None,
            },
            ..Client::default()
        });
        Self {
            stage,
            clients: clients.collect(),
            refuse_next: false,
            committed: BTreeMap::new(),
            log_read: 0,
            given: BTreeMap::new(),
        }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Acts(index) => self.acts(*index),
            Event::Rejoins(index, speaks) => {
                self.clients[*index].speaks = *speaks;
                self.joins(*index);
            }
            Event::Vanishes(index) => {
                let client = &mut self.clients[*index];
                client.member_id = String::new();
                client.phase = Phase::Out;
            }
            Event::Leaves(index) => {
                let client = &self.clients[*index];
                let member = LeavingMember {
                    member_id: client.member_id.clone(),
                    instance_id: client.instance_id.clone(),
                    reason: None,
                };
                self.leave(member);
                let client = &mut self.clients[*index];
                client.member_id = String::new();
                client.phase = Phase::Out;
            }
            Event::Removed(index) => {
                let instance_id = self.clients[*index].instance_id.clone();
                self.leave(LeavingMember { member_id: String::new(), instance_id, reason: None });
            }
            Event::Commits(index, offset) => self.commits(*index, *offset),
            Event::CommitsAlone(offset) => {
                self.commit(&Client { generation: -1, ..Client::default() }, *offset);
            }
            Event::DeletesOffsets => {
                let topics = vec![("t".to_owned(), vec![PartitionIndex::new(0)])];
                self.send(&Command::DeleteOffsets { group_id: "g".to_owned(), topics });
                self.may_be_gone();
            }
            Event::DeletesGroup => {
                self.send(&Command::DeleteGroup { group_id: "g".to_owned() });
                self.may_be_gone();
            }
            Event::Expires => {
                self.send(&Command::Expire);
                self.may_be_gone();
            }
            Event::Passes(millis) => self.passes(Duration::from_millis(*millis)),
            Event::Reloads => {
                let answers = self.stage.reload();
                self.answered(answers);
            }
            Event::Refused => self.refuse_next = true,
        }
        self.check();
    }

    fn may_be_gone(&mut self) {
        self.committed.values_mut().for_each(|(_, may_be_gone)| *may_be_gone = true);
    }

    fn send(&mut self, command: &Command) -> Ticket {
        self.stage.refuses = std::mem::take(&mut self.refuse_next);
        let (ticket, outcome) = self.stage.send(command);
        self.stage.refuses = false;
        self.answered(outcome.answers);
        ticket
    }

    fn passes(&mut self, time: Duration) {
        for outcome in self.stage.wait(time) {
            self.answered(outcome.answers);
        }
    }

    /// What a client does by itself.
    fn acts(&mut self, index: usize) {
        let client = self.clients[index].clone();
        match client.phase {
            Phase::Out => self.joins(index),
            Phase::Joined { leads, members } => {
                let given = members.iter().map(|member_id| {
                    (member_id.clone(), Opaque::from(format!("for {member_id}").as_bytes()))
                });
                let sync = Command::Sync(Sync {
                    group_id: "g".to_owned(),
                    member_id: client.member_id,
                    instance_id: client.instance_id,
                    generation: client.generation,
                    protocol_type: Some("consumer".to_owned()),
                    protocol_name: None,
                    assignments: if leads { given.collect() } else { Vec::new() },
                });
                self.asks(index, &sync, Phase::Syncing);
            }
            Phase::Assigned(_) => {
                let beat = Command::Heartbeat(Heartbeat {
                    group_id: "g".to_owned(),
                    member_id: client.member_id,
                    instance_id: client.instance_id,
                    generation: client.generation,
                });
                self.refuse_next = false;
                let (_, outcome) = self.stage.send(&beat);
                for (_, answer) in outcome.answers {
                    let Answer::HeartbeatTaken(error) = answer else { panic!("{answer:?}") };
                    self.heard(index, error);
                }
            }
            Phase::Joining(..) | Phase::Syncing(..) | Phase::Fenced => {}
        }
    }

    fn joins(&mut self, index: usize) {
        let client = self.clients[index].clone();
        if client.phase == Phase::Fenced {
            return;
        }
        // All like one best that all speak: after a reload only that one is remembered.
        let dialects: &[&str] = match client.speaks {
            0 => &["range", "sticky"],
            1 => &["sticky", "range"],
            _ => &["sticky", "rr", "range"],
        };
        let metadata = Opaque::from([0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]);
        let join = Command::Join(Join {
            group_id: "g".to_owned(),
            member_id: client.member_id,
            instance_id: client.instance_id,
            protocol_type: "consumer".to_owned(),
            protocols: dialects.iter().map(|d| ((*d).to_owned(), metadata.clone())).collect(),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: REBALANCE_TIMEOUT,
            reason: None,
            client_id: format!("c{index}"),
            client_host: "/127.0.0.1".to_owned(),
            member_id_required: index != 4,
            may_skip_assignment: index == 0,
        });
        self.asks(index, &join, Phase::Joining);
    }

    /// Sends what may be answered later: the client waits first, and then learns what it learns.
    fn asks(&mut self, index: usize, command: &Command, waits: fn(Ticket, Now) -> Phase) {
        self.stage.refuses = std::mem::take(&mut self.refuse_next);
        let (ticket, outcome) = self.stage.send(command);
        self.stage.refuses = false;
        self.clients[index].phase = waits(ticket, self.stage.now);
        self.answered(outcome.answers);
    }

    fn leave(&mut self, member: LeavingMember) {
        self.send(&Command::Leave(Leave { group_id: "g".to_owned(), members: vec![member] }));
    }

    fn commits(&mut self, index: usize, offset: i64) {
        let client = self.clients[index].clone();
        self.commit(&client, offset);
    }

    fn commit(&mut self, client: &Client, offset: i64) {
        let partition = i32::try_from(offset % 3).expect("small");
        let commit = Command::CommitOffsets(CommitOffsets {
            group_id: "g".to_owned(),
            generation_or_member_epoch: client.generation,
            member_id: client.member_id.clone(),
            instance_id: client.instance_id.clone(),
            retention: None,
            knows_member_epochs: true,
            offsets: vec![OffsetToCommit {
                topic: "t".to_owned(),
                topic_id: TopicId::ZERO,
                partition: PartitionIndex::new(partition),
                offset: Offset::new(offset),
                leader_epoch: LeaderEpoch::NONE,
                metadata: String::new(),
            }],
        });
        self.stage.refuses = std::mem::take(&mut self.refuse_next);
        let (_, outcome) = self.stage.send(&commit);
        self.stage.refuses = false;
        if outcome.answers.iter().any(|(_, answer)| {
            matches!(answer, Answer::Committed(Ok(errors)) if errors == &[ErrorCode::None])
        }) {
            self.committed.insert(partition, (offset, false));
        }
    }

    fn answered(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers {
            let waits = |client: &Client| match client.phase {
                Phase::Joining(at, _) | Phase::Syncing(at, _) => at == ticket,
                _ => false,
            };
            // Nobody reads what a vanished process was told.
            let Some(index) = self.clients.iter().position(waits) else { continue };
            let client = &mut self.clients[index];
            match answer {
                Answer::Joined(joined) if joined.error == ErrorCode::None => {
                    client.member_id = joined.member_id.clone();
                    client.generation = joined.generation;
                    client.phase = Phase::Joined {
                        leads: joined.leader == joined.member_id && !joined.skip_assignment,
                        members: joined.members.into_iter().map(|m| m.member_id).collect(),
                    };
                }
                Answer::Joined(joined) => {
                    if joined.error == ErrorCode::MemberIdRequired {
                        client.member_id = joined.member_id;
                    }
                    self.heard(index, joined.error);
                }
                Answer::Synced(synced) if synced.error == ErrorCode::None => {
                    let given = String::from_utf8(synced.assignment.to_vec()).expect("text");
                    client.phase = Phase::Assigned(given);
                }
                Answer::Synced(synced) => self.heard(index, synced.error),
                other => panic!("{other:?} to somebody who waits"),
            }
        }
    }

    /// An error, and what a client makes of it.
    fn heard(&mut self, index: usize, error: ErrorCode) {
        let client = &mut self.clients[index];
        match error {
            ErrorCode::None => {}
            ErrorCode::FencedInstanceId => client.phase = Phase::Fenced,
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                client.member_id = String::new();
                client.phase = Phase::Out;
            }
            ErrorCode::RebalanceInProgress
            | ErrorCode::MemberIdRequired
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable => client.phase = Phase::Out,
            other => panic!("no client expects {other}"),
        }
    }

    fn check(&mut self) {
        self.check_waiting();
        self.check_offsets();
        self.check_generations();
    }

    /// Nobody waits longer than the timeouts say.
    fn check_waiting(&self) {
        for client in &self.clients {
            if let Phase::Joining(_, since) | Phase::Syncing(_, since) = client.phase {
                assert!(self.stage.now.since(since) <= REBALANCE_TIMEOUT, "{client:?} waits on");
            }
        }
    }

    /// G-2: what was committed is there, unless it was removed by request or by age.
    fn check_offsets(&self) {
        let fetch = FetchOffsets { group_id: "g".to_owned(), ..FetchOffsets::default() };
        let topics = self.stage.coordinator.fetch_offsets(&self.stage.topics, &fetch);
        let topics = topics.expect("no member asks");
        let found: BTreeMap<i32, i64> = topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
            .map(|p| (p.partition.get(), p.committed.expect("listed").offset.get()))
            .collect();
        for (partition, offset) in &found {
            assert_eq!(self.committed.get(partition).map(|(offset, _)| offset), Some(offset));
        }
        for (partition, (offset, may_be_gone)) in &self.committed {
            assert!(*may_be_gone || found.contains_key(partition), "{partition}={offset} is lost");
        }
    }

    /// G-1: in one generation nobody has what another has.
    fn check_generations(&mut self) {
        for (key, value) in &self.stage.log[self.log_read..] {
            let decoded = GroupRecord::decode(key, value.as_deref()).expect("our own bytes");
            let Decoded::Known(GroupRecord::Classic { value, .. }) = decoded else { continue };
            let Some(group) = value else {
                // Generations begin anew with the next group of this name.
                self.given.clear();
                continue;
            };
            let all: Vec<String> = group
                .members
                .iter()
                .map(|member| String::from_utf8(member.assignment.to_vec()).expect("text"))
                .filter(|given| !given.is_empty())
                .collect();
            let given: BTreeSet<String> = all.iter().cloned().collect();
            assert_eq!(all.len(), given.len(), "generation {}: given twice", group.generation);
            if !given.is_empty() {
                let before = self.given.entry(group.generation).or_insert_with(|| given.clone());
                assert!(given.is_subset(before), "generation {} assigned twice", group.generation);
            }
        }
        self.log_read = self.stage.log.len();
    }

    /// All clients behave for a while; then all that were not fenced are assigned.
    fn settles(&mut self) {
        self.refuse_next = false;
        for _ in 0..100 {
            for index in 0..CLIENTS {
                self.acts(index);
            }
            self.passes(Duration::from_secs(1));
            self.check();
        }
        let generations: BTreeSet<i32> = self
            .clients
            .iter()
            .filter(|client| client.phase != Phase::Fenced)
            .map(|client| {
                assert!(matches!(client.phase, Phase::Assigned(_)), "{client:?} has nothing");
                client.generation
            })
            .collect();
        assert_eq!(generations.len(), 1, "all are in one generation");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn random_histories(
        delay in prop_oneof![Just(0_u64), Just(3)],
        events in proptest::collection::vec(any_event(), 1..80),
    ) {
        let mut world = World::new(delay);
        for event in &events {
            world.happens(event);
        }
        world.settles();
    }
}
