//! A consumer that speaks the classic protocol: it gives everything up before it joins again, and
//! if it leads, it deals out the partitions one by one.

use super::{GROUP, Partitions, WISHES};
use crate::consumer::classic_member::{assignment, subscription};
use crate::{Answer, Command, Heartbeat, Join, Joined, Leave, LeavingMember, Opaque, Sync, Topics};
use jocko_types::{ErrorCode, PartitionIndex};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the classic protocol needs to know beside what a client knows anyway.
#[derive(Debug, Default)]
pub(super) struct Classic {
    /// Given by the coordinator; empty at first.
    pub(super) member_id: String,
    generation: i32,
    state: State,
    /// Whether it must join once more: what it said last is not true any more.
    outdated: bool,
    /// What it has to deal out with its next sync, if it leads.
    deals: Vec<(String, Opaque)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    MustJoin,
    MustSync,
    Working,
    /// A request of it is not answered yet.
    Waiting,
}

impl Classic {
    /// A process that knows nothing yet.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Whether it gives up what it has before its next request.
    pub(super) fn gives_up(&self) -> bool {
        self.state == State::MustJoin || (self.outdated && self.state == State::Working)
    }

    /// Its next request, if it has one.
    pub(super) fn request(&mut self, wish: usize) -> Option<Command> {
        if self.outdated && self.state == State::Working {
            self.state = State::MustJoin;
        }
        if self.state == State::MustJoin {
            self.outdated = false;
        }
        let command = match self.state {
            State::MustJoin => Command::Join(Join {
                group_id: GROUP.to_owned(),
                member_id: self.member_id.clone(),
                instance_id: None,
                protocol_type: "consumer".to_owned(),
                protocols: vec![("range".to_owned(), said(WISHES[wish].0))],
                session_timeout: super::SESSION,
                rebalance_timeout: Duration::from_secs(20),
                reason: None,
                client_id: "classic".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                member_id_required: false,
                may_skip_assignment: false,
            }),
            State::MustSync => Command::Sync(Sync {
                group_id: GROUP.to_owned(),
                member_id: self.member_id.clone(),
                instance_id: None,
                generation: self.generation,
                protocol_type: Some("consumer".to_owned()),
                protocol_name: Some("range".to_owned()),
                assignments: std::mem::take(&mut self.deals),
            }),
            State::Working => Command::Heartbeat(Heartbeat {
                group_id: GROUP.to_owned(),
                member_id: self.member_id.clone(),
                instance_id: None,
                generation: self.generation,
            }),
            State::Waiting => return None,
        };
        self.state = State::Waiting;
        Some(command)
    }

    /// Its subscription, or what it knows of the topics, has changed.
    pub(super) fn must_join(&mut self) {
        self.outdated = true;
    }

    pub(super) fn leave(&self) -> Option<Command> {
        let member_id = self.member_id.clone();
        let members = vec![LeavingMember { member_id, instance_id: None, reason: None }];
        let leave = Leave { group_id: GROUP.to_owned(), members };
        (!self.member_id.is_empty()).then_some(Command::Leave(leave))
    }

    /// The log refused its request, so it tries again from the start.
    pub(super) fn refused(&mut self) {
        self.state = State::MustJoin;
    }

    /// Takes an answer in; returns what it owns from now on, if that changes.
    pub(super) fn hear(&mut self, answer: &Answer, topics: &dyn Topics) -> Option<Partitions> {
        match answer {
            Answer::Joined(joined) => self.joined(joined, topics),
            Answer::Synced(synced) if synced.error == ErrorCode::None => {
                self.state = State::Working;
                let given = assignment(&synced.assignment).expect("an assignment");
                let each = given.assigned_partitions.into_iter().flat_map(|topic| {
                    let id = topics.by_name(&topic.topic).map(|facts| facts.id);
                    let held = topic.partitions.into_iter().map(PartitionIndex::new);
                    held.filter_map(move |p| id.map(|id| (id, p))).collect::<Vec<_>>()
                });
                return Some(each.collect());
            }
            Answer::Synced(synced) => self.failed(synced.error),
            Answer::HeartbeatTaken(ErrorCode::None) => self.state = State::Working,
            Answer::HeartbeatTaken(error) => self.failed(*error),
            other => panic!("{other:?}"),
        }
        None
    }

    fn joined(&mut self, joined: &Joined, topics: &dyn Topics) {
        if joined.error != ErrorCode::None {
            return self.failed(joined.error);
        }
        self.member_id.clone_from(&joined.member_id);
        self.generation = joined.generation;
        self.state = State::MustSync;
        self.deals = if joined.members.is_empty() { Vec::new() } else { deal(joined, topics) };
    }

    fn failed(&mut self, error: ErrorCode) {
        self.state = State::MustJoin;
        match error {
            ErrorCode::RebalanceInProgress | ErrorCode::NotCoordinator => {}
            ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId => self.member_id.clear(),
            other => panic!("{other}"),
        }
    }
}

/// A subscription, version 0.
fn said(topics: &[&str]) -> Opaque {
    let mut bytes = vec![0, 0];
    bytes.extend(u32::try_from(topics.len()).expect("few").to_be_bytes());
    for topic in topics {
        bytes.extend(u16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// Deals the partitions of each topic out among those who want it.
fn deal(joined: &Joined, topics: &dyn Topics) -> Vec<(String, Opaque)> {
    let mut hands: BTreeMap<&str, BTreeMap<String, Vec<i32>>> = BTreeMap::new();
    let mut wanting: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for member in &joined.members {
        hands.insert(&member.member_id, BTreeMap::new());
        for topic in subscription(&member.metadata).expect("a subscription").topics {
            wanting.entry(topic).or_default().push(&member.member_id);
        }
    }
    for (topic, members) in wanting {
        let count = topics.by_name(&topic).map_or(0, |facts| facts.partition_count);
        for (partition, member) in (0..count).zip(members.iter().cycle()) {
            let hand = hands.get_mut(member).expect("a member");
            hand.entry(topic.clone()).or_default().push(partition);
        }
    }
    hands.into_iter().map(|(member, hand)| (member.to_owned(), dealt(&hand))).collect()
}

/// An assignment, version 0.
fn dealt(hand: &BTreeMap<String, Vec<i32>>) -> Opaque {
    let mut bytes = vec![0, 0];
    bytes.extend(u32::try_from(hand.len()).expect("few").to_be_bytes());
    for (topic, partitions) in hand {
        bytes.extend(u16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend(topic.as_bytes());
        bytes.extend(u32::try_from(partitions.len()).expect("few").to_be_bytes());
        bytes.extend(partitions.iter().flat_map(|p| p.to_be_bytes()));
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}
