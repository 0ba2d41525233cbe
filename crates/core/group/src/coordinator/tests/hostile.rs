//! Commands of any content in any order: each is answered once, the invariants hold (the stage
//! checks them), and timers come to rest.

use super::stage::Stage;
use crate::command::{
    Answer, Command, CommitOffsets, ConsumerHeartbeat, Heartbeat, Join, Leave, LeavingMember,
    OffsetToCommit, Opaque, Sync, Ticket,
};
use jocko_types::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeSet;
use std::time::Duration;

/// Member ids are chosen among those that were seen so far, by number; 0 is the empty one.
#[derive(Debug, Clone)]
enum Hostile {
    Send(Box<Command>, usize),
    Pass(u64),
    Reload,
    Refuse,
}

fn group() -> impl Strategy<Value = String> {
    select(vec!["g", "g", "g", "h", ""]).prop_map(str::to_owned)
}

fn instance() -> impl Strategy<Value = Option<String>> {
    select(vec![None, None, Some("i"), Some("j"), Some("")]).prop_map(|id| id.map(str::to_owned))
}

fn number() -> impl Strategy<Value = i32> {
    prop_oneof![6 => -2_i32..4, 1 => Just(i32::MAX), 1 => Just(i32::MIN)]
}

fn timeout() -> impl Strategy<Value = Duration> {
    select(vec![0_u64, 1, 1_000, 10_000, 60_000, 2_147_483_647]).prop_map(Duration::from_millis)
}

fn session() -> impl Strategy<Value = Duration> {
    select(vec![1_000_u64, 10_000, 1_800_000]).prop_map(Duration::from_millis)
}

fn opaque() -> impl Strategy<Value = Opaque> {
    let subscription = vec![0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];
    select(vec![vec![], vec![1], vec![0, 0, 0x7f, 0xff, 0xff, 0xff], subscription])
        .prop_map(Opaque::from)
}

fn join() -> impl Strategy<Value = Command> {
    let dialects = select(vec!["range", "range", "sticky", ""]).prop_map(str::to_owned);
    let protocols = proptest::collection::vec((dialects, opaque()), 0..4);
    let kind = select(vec!["consumer", "consumer", "connect", ""]).prop_map(str::to_owned);
    (group(), instance(), kind, protocols, session(), timeout(), any::<[bool; 2]>()).prop_map(
        |(group_id, instance_id, protocol_type, protocols, session, rebalance, flags)| {
            Command::Join(Join {
                group_id,
                member_id: String::new(),
                instance_id,
                protocol_type,
                protocols,
                session_timeout: session,
                rebalance_timeout: rebalance,
                reason: None,
                client_id: "c".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                member_id_required: flags[0],
                may_skip_assignment: flags[1],
            })
        },
    )
}

fn classic() -> impl Strategy<Value = Command> {
    let text = || select(vec![None, Some("consumer"), Some("range")]);
    let name = |text: Option<&str>| text.map(str::to_owned);
    prop_oneof![
        5 => join(),
        3 => (group(), instance(), number(), text(), text(), opaque()).prop_map(
            move |(group_id, instance_id, generation, protocol_type, protocol_name, bytes)| {
                Command::Sync(Sync {
                    group_id,
                    member_id: String::new(),
                    instance_id,
                    generation,
                    protocol_type: name(protocol_type),
                    protocol_name: name(protocol_name),
                    assignments: vec![("x".to_owned(), bytes)],
                })
            }
        ),
        2 => (group(), instance(), number()).prop_map(|(group_id, instance_id, generation)| {
            let member_id = String::new();
            Command::Heartbeat(Heartbeat { group_id, member_id, instance_id, generation })
        }),
        1 => (group(), proptest::collection::vec(instance(), 0..3)).prop_map(|(group_id, ids)| {
            let members = ids.into_iter().map(|instance_id| LeavingMember {
                member_id: String::new(),
                instance_id,
                reason: None,
            });
            Command::Leave(Leave { group_id, members: members.collect() })
        }),
    ]
}

fn offsets() -> impl Strategy<Value = Command> {
    let partition = || (0_i32..3).prop_map(PartitionIndex::new);
    prop_oneof![
        3 => (group(), instance(), number(), partition(), number(), any::<bool>()).prop_map(
            |(group_id, instance_id, generation, partition, offset, flag)| {
                Command::CommitOffsets(CommitOffsets {
                    group_id,
                    generation_or_member_epoch: generation,
                    member_id: String::new(),
                    instance_id,
                    retention: flag.then(|| Duration::from_secs(60)),
                    knows_member_epochs: flag,
                    offsets: vec![OffsetToCommit {
                        topic: "t".to_owned(),
                        topic_id: TopicId::ZERO,
                        partition,
                        offset: Offset::new(offset.into()),
                        leader_epoch: LeaderEpoch::new(offset),
                        metadata: "m".repeat(if flag { 5000 } else { 1 }),
                    }],
                })
            }
        ),
        1 => (group(), partition()).prop_map(|(group_id, partition)| {
            let topics = vec![("t".to_owned(), vec![partition, PartitionIndex::new(-1)])];
            Command::DeleteOffsets { group_id, topics }
        }),
        1 => group().prop_map(|group_id| Command::DeleteGroup { group_id }),
        1 => Just(Command::ForgetTopics { topics: vec![("t".to_owned(), TopicId::ZERO)] }),
        1 => Just(Command::Expire),
        1 => Just(Command::Tick),
    ]
}

fn consumer() -> impl Strategy<Value = Command> {
    let topics = select(vec![None, Some(vec![]), Some(vec!["t".to_owned()])]);
    let regex =
        select(vec![None, Some(String::new()), Some("t.*".to_owned()), Some("(".to_owned())]);
    let owned = select(vec![None, Some(Vec::new())]);
    let timeout = proptest::option::of(timeout());
    (group(), instance(), number(), topics, regex, owned, timeout, any::<bool>()).prop_map(
        |(group_id, instance_id, member_epoch, topics, regex, owned, timeout, flag)| {
            Command::ConsumerHeartbeat(ConsumerHeartbeat {
                group_id,
                member_id: String::new(),
                member_epoch,
                instance_id,
                rack_id: None,
                rebalance_timeout: timeout,
                subscribed_topics: topics,
                subscribed_regex: regex,
                server_assignor: None,
                owned,
                client_id: "c".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                member_id_from_client: flag,
            })
        },
    )
}

fn hostile(command: impl Strategy<Value = Command>) -> impl Strategy<Value = Hostile> {
    prop_oneof![
        12 => (command, 0_usize..6).prop_map(|(command, member)| Hostile::Send(Box::new(command), member)),
        4 => select(vec![0_u64, 1, 1_000, 12_000, 61_000, 4_000_000]).prop_map(Hostile::Pass),
        1 => Just(Hostile::Reload),
        1 => Just(Hostile::Refuse),
    ]
}

#[derive(Debug)]
struct World {
    stage: Stage,
    /// Member ids that were seen; the first is none.
    seen: Vec<String>,
    waiting: BTreeSet<Ticket>,
    refuse_next: bool,
}

impl World {
    fn new() -> Self {
        let mut stage = Stage::new();
        stage.policy.initial_rebalance_delay = Duration::from_millis(500);
        stage.policy.group_size_max = 4;
        stage.policy.session_timeout_max = Duration::MAX;
        let seen = vec![String::new(), "x".to_owned()];
        Self { stage, seen, waiting: BTreeSet::new(), refuse_next: false }
    }

    fn happens(&mut self, event: Hostile) {
        match event {
            Hostile::Send(mut command, member) => {
                self.name_member(&mut command, member);
                self.stage.refuses = std::mem::take(&mut self.refuse_next);
                let (ticket, outcome) = self.stage.send(&command);
                self.stage.refuses = false;
                self.waiting.insert(ticket);
                self.answered(outcome.answers);
                let may_wait = matches!(*command, Command::Join(_) | Command::Sync(_));
                assert!(may_wait || !self.waiting.contains(&ticket), "{command:?} is answered");
            }
            Hostile::Pass(millis) => {
                for mut outcome in self.stage.wait(Duration::from_millis(millis)) {
                    // Ticks have tickets of their own, which nobody waits for.
                    outcome.answers.retain(|(_, answer)| *answer != Answer::Done);
                    self.answered(outcome.answers);
                }
            }
            Hostile::Reload => {
                let answers = self.stage.reload();
                self.answered(answers);
                assert!(self.waiting.is_empty(), "nobody waits for a coordinator that is gone");
            }
            Hostile::Refuse => self.refuse_next = true,
        }
    }

    fn name_member(&self, command: &mut Command, member: usize) {
        // The latest ids are the most likely to be good.
        let recent = self.seen.iter().rev().nth(member.saturating_sub(1));
        let id = if member == 0 { String::new() } else { recent.cloned().unwrap_or_default() };
        match command {
            Command::Join(join) => join.member_id = id,
            Command::Sync(sync) => {
                sync.member_id = id.clone();
                sync.assignments.iter_mut().for_each(|(member_id, _)| member_id.clone_from(&id));
            }
            Command::Heartbeat(beat) => beat.member_id = id,
            Command::Leave(leave) => {
                leave.members.iter_mut().for_each(|member| member.member_id.clone_from(&id));
            }
            Command::CommitOffsets(commit) => commit.member_id = id,
            Command::ConsumerHeartbeat(beat) => beat.member_id = id,
            _ => {}
        }
    }

    fn answered(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers {
            assert!(self.waiting.remove(&ticket), "{ticket} is answered twice: {answer:?}");
            let member_id = match answer {
                Answer::Joined(joined) => joined.member_id,
                Answer::ConsumerHeartbeat(answer) => answer.member_id.unwrap_or_default(),
                _ => continue,
            };
            if !self.seen.contains(&member_id) {
                self.seen.push(member_id);
            }
        }
    }

    /// With time enough everybody is answered, and every group comes to rest.
    fn ends(&mut self) {
        self.refuse_next = false;
        // Longer than any timeout a client can ask for.
        for _ in 0..3 {
            self.happens(Hostile::Pass(2_147_483_648));
        }
        assert!(self.waiting.is_empty(), "{:?} wait for ever", self.waiting);
        assert_eq!(self.stage.coordinator.next_deadline(), None);
        let alive = self.stage.coordinator.groups().filter(|group| group.members > 0);
        assert_eq!(alive.count(), 0, "silent members are found out");
    }
}

fn run(events: Vec<Hostile>) {
    let mut world = World::new();
    for event in events {
        world.happens(event);
    }
    world.ends();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn classic_groups_bear_anything(
        events in proptest::collection::vec(hostile(prop_oneof![3 => classic(), 1 => offsets()]), 1..60),
    ) {
        run(events);
    }

    #[test]
    fn both_protocols_at_once_bear_anything(
        events in proptest::collection::vec(
            hostile(prop_oneof![3 => classic(), 1 => offsets(), 3 => consumer()]),
            1..60,
        ),
    ) {
        run(events);
    }
}
