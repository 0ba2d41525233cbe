//! The group as it is now.

use super::protocols;
use crate::command::{Answer, CommitOffsets, Heartbeat, Join, Joined, Opaque, Synced, Ticket};
use crate::context::DecideContext;
use crate::record::{ClassicMemberRecord, ClassicMetadata};
use imbl::OrdMap;
use jocko_types::{ErrorCode, Now, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Where a group is in its life. "Dead", Kafka's fifth state, is a group that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// No members.
    #[default]
    Empty,
    /// Waits for all members to join.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
}

impl State {
    /// As Kafka names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A classic group at work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    pub(super) state: State,
    /// The state before: an initial rebalance is one that began when the group was empty.
    pub(super) previous: State,
    pub(super) state_since: Option<Timestamp>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Member ids by static name.
    pub(super) static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Members that were sent away to come back with the id they were given (KIP-394), and how
    /// long that id holds.
    ///
    /// Anybody may ask for ids, so that there may be many: copies of the group share them.
    pub(super) pending: OrdMap<Arc<str>, Now>,
    /// Members that joined this generation and have not synced yet.
    pub(super) pending_sync: BTreeSet<Arc<str>>,
    pub(super) join_deadline: Option<JoinDeadline>,
    pub(super) sync_deadline: Option<Now>,
    /// Whether somebody joined since the initial delay was last extended.
    pub(super) member_added: bool,
    /// What the members subscribe to, if that could be read.
    pub(super) subscribed: Option<Arc<BTreeSet<String>>>,
}

/// Until when the group waits for members to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JoinDeadline {
    pub(super) at: Now,
    /// In an initial rebalance, the delay that ends then, and by how much the sum of delays may
    /// still grow.
    pub(super) initial: Option<InitialDelay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InitialDelay {
    pub(super) delay: Duration,
    pub(super) remaining: Duration,
}

/// A member at work.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(super) facts: Arc<MemberFacts>,
    pub(super) assignment: Opaque,
    /// When the session ends; `None` while a waiting request speaks for the member.
    pub(super) session: Option<Now>,
    /// Whether it has not been part of a generation yet.
    pub(super) is_new: bool,
    pub(super) join: Option<Ticket>,
    pub(super) sync: Option<Ticket>,
}

/// What a member said of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MemberFacts {
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Best first; each name once.
    pub(super) protocols: Vec<(Arc<str>, Opaque)>,
}

impl MemberFacts {
    /// What `join` says. A static member that returns keeps the client it was first seen with.
    pub(super) fn of(join: &Join, before: Option<&Self>) -> Self {
        let client = |before: Option<&Arc<str>>, now: &str| before.map_or(now.into(), Arc::clone);
        Self {
            instance_id: join.instance_id.as_deref().map(Arc::from),
            client_id: client(before.map(|facts| &facts.client_id), &join.client_id),
            client_host: client(before.map(|facts| &facts.client_host), &join.client_host),
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: protocols::distinct(&join.protocols),
        }
    }

    /// What it said of itself in a dialect.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Opaque {
        let of = |name: &str| self.protocols.iter().find(|(known, _)| known.as_ref() == name);
        protocol.and_then(of).map_or_else(|| Opaque::from([]), |(_, metadata)| metadata.clone())
    }

    pub(super) fn speaks(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name.as_ref() == protocol)
    }

    fn load(record: &ClassicMemberRecord, protocol: Option<&Arc<str>>) -> Self {
        let name = protocol.map_or_else(|| "".into(), Arc::clone);
        Self {
            instance_id: record.instance_id.clone(),
            client_id: Arc::clone(&record.client_id),
            client_host: Arc::clone(&record.client_host),
            session_timeout: record.session_timeout,
            rebalance_timeout: record.rebalance_timeout,
            protocols: vec![(name, record.subscription.clone())],
        }
    }
}

impl Live {
    /// A group that somebody is about to join first.
    pub(super) fn new(wall: Timestamp) -> Self {
        Self { state_since: Some(wall), ..Self::default() }
    }

    /// The group as its record has it. Sessions begin with [`Live::loaded`].
    pub(super) fn load(metadata: &ClassicMetadata) -> Self {
        let mut live = Self {
            state: if metadata.members.is_empty() { State::Empty } else { State::Stable },
            state_since: metadata.state_since,
            generation: metadata.generation,
            protocol_type: (!metadata.protocol_type.is_empty())
                .then(|| Arc::clone(&metadata.protocol_type)),
            protocol: metadata.protocol.clone(),
            leader: metadata.leader.clone(),
            ..Self::default()
        };
        for record in &metadata.members {
            if let Some(instance_id) = &record.instance_id {
                let member_id = Arc::clone(&record.member_id);
                live.static_members.insert(Arc::clone(instance_id), member_id);
            }
            let member = Member {
                facts: Arc::new(MemberFacts::load(record, metadata.protocol.as_ref())),
                assignment: record.assignment.clone(),
                session: None,
                is_new: false,
                join: None,
                sync: None,
            };
            live.members.insert(Arc::clone(&record.member_id), member);
        }
        // A record of unknown origin may name a leader that is no member, or none.
        if live.leader.as_ref().is_none_or(|leader| !live.members.contains_key(leader)) {
            live.leader = live.members.keys().next().cloned();
        }
        live.subscribed = protocols::subscribed(&live);
        live
    }

    /// The group as a record: as it stands, with what each member was given.
    pub(super) fn metadata(&self) -> ClassicMetadata {
        let members = self.members.iter().map(|(member_id, member)| ClassicMemberRecord {
            member_id: Arc::clone(member_id),
            instance_id: member.facts.instance_id.clone(),
            client_id: Arc::clone(&member.facts.client_id),
            client_host: Arc::clone(&member.facts.client_host),
            rebalance_timeout: member.facts.rebalance_timeout,
            session_timeout: member.facts.session_timeout,
            subscription: member.facts.metadata(self.protocol.as_deref()),
            assignment: member.assignment.clone(),
        });
        ClassicMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since: self.state_since,
            members: members.collect(),
        }
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) const fn generation(&self) -> i32 {
        self.generation
    }

    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// What the members speak; empty if nobody has said.
    pub(crate) fn protocol_type(&self) -> &str {
        self.protocol_type.as_deref().unwrap_or_default()
    }

    /// Whether it has no members, as Kafka sees it: a group that waits for its first is not empty.
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    /// Whether nobody is in it and nobody is about to join.
    pub(crate) fn is_vacant(&self) -> bool {
        self.is_empty() && self.members.is_empty() && self.pending.is_empty()
    }

    /// Whether the members are consumers, whose subscriptions we can read.
    pub(crate) fn is_consumers(&self) -> bool {
        self.protocol_type() == "consumer"
    }

    /// Whether a member subscribes to `topic`. Consumers whose subscriptions cannot be read may
    /// subscribe to anything; others to nothing that we know of.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        self.subscribed
            .as_ref()
            .map_or_else(|| self.is_consumers(), |topics| topics.contains(topic))
    }

    /// Whether subscriptions are known.
    pub(crate) const fn knows_subscriptions(&self) -> bool {
        self.subscribed.is_some()
    }

    pub(crate) const fn state_since(&self) -> Option<Timestamp> {
        self.state_since
    }

    /// The longest that a member wants to be waited for.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|member| member.facts.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    pub(super) fn has_all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.join.is_some())
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Whether `member_id` is a member and, if it gives a static name, the one that has it.
    ///
    /// # Errors
    /// `FENCED_INSTANCE_ID` if another has the name by now, `UNKNOWN_MEMBER_ID` otherwise.
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(&Arc<str>, &Member), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current.as_ref() != member_id => {
                    return Err(ErrorCode::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        self.members.get_key_value(member_id).ok_or(ErrorCode::UnknownMemberId)
    }

    /// A heartbeat: its answer, and whose session goes on for how long.
    pub(crate) fn heartbeat(&self, beat: &Heartbeat) -> (ErrorCode, Option<(Arc<str>, Duration)>) {
        let (member_id, member) =
            match self.check_member(&beat.member_id, beat.instance_id.as_deref()) {
                Ok(found) => found,
                Err(error) => return (error, None),
            };
        if beat.generation != self.generation {
            return (ErrorCode::IllegalGeneration, None);
        }
        let error = match self.state {
            State::Empty => return (ErrorCode::UnknownMemberId, None),
            State::PreparingRebalance => ErrorCode::RebalanceInProgress,
            // Members may beat as soon as they have joined, before they are assigned anything.
            State::CompletingRebalance | State::Stable => ErrorCode::None,
        };
        (error, Some((Arc::clone(member_id), member.facts.session_timeout)))
    }

    /// Whether the one who commits may: members of this generation, or anybody while the group
    /// is empty. Returns whose session goes on for how long, since a commit is a sign of life.
    ///
    /// # Errors
    /// What the whole commit is refused with.
    pub(crate) fn check_commit(
        &self,
        commit: &CommitOffsets,
    ) -> Result<Option<(Arc<str>, Duration)>, ErrorCode> {
        let generation = commit.generation_or_member_epoch;
        if generation < 0 && self.is_empty() {
            return Ok(None);
        }
        let instance_id = commit.instance_id.as_deref();
        let is_member = generation >= 0 || !commit.member_id.is_empty() || instance_id.is_some();
        if !is_member {
            return Err(ErrorCode::UnknownMemberId);
        }
        let (member_id, member) = self.check_member(&commit.member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.state {
            State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::Stable | State::PreparingRebalance => {
                Ok(Some((Arc::clone(member_id), member.facts.session_timeout)))
            }
            State::Empty => Ok(None),
        }
    }

    pub(crate) fn renew(&mut self, member_id: &str, deadline: Now) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.session = Some(deadline);
        }
    }

    /// Sessions of all members begin anew: their coordinator was another broker, or this one
    /// before it started again.
    pub(crate) fn loaded(&mut self, cx: &DecideContext<'_>) {
        for member in self.members.values_mut() {
            member.session = Some(cx.now.plus(member.facts.session_timeout));
        }
        if self.members.len() > cx.policy.group_size_max {
            // The limit was lowered: all must join again, and only so many are let in.
            self.previous = self.state;
            self.state = State::PreparingRebalance;
            self.state_since = Some(cx.wall);
            let at = cx.now.plus(self.rebalance_timeout());
            self.join_deadline = Some(JoinDeadline { at, initial: None });
        }
    }

    /// Tells all who wait that the coordinator is not here any more.
    pub(crate) fn unload(&mut self, answers: &mut Vec<(Ticket, Answer)>) {
        for (member_id, member) in &mut self.members {
            if let Some(ticket) = member.join.take() {
                let refused = Joined::refused(member_id, ErrorCode::NotCoordinator);
                answers.push((ticket, Answer::Joined(refused)));
            }
            if let Some(ticket) = member.sync.take() {
                let refused = Synced::refused(ErrorCode::NotCoordinator);
                answers.push((ticket, Answer::Synced(refused)));
            }
        }
    }

    /// When something in the group is due.
    pub(crate) fn next_deadline(&self) -> Option<Now> {
        let sessions = self.members.values().filter_map(|member| member.session);
        let pending = self.pending.values().copied();
        let join = self.join_deadline.map(|deadline| deadline.at);
        sessions.chain(pending).chain(join).chain(self.sync_deadline).min()
    }

    /// Checks what must hold at all times.
    pub(super) fn check_invariants(&self) {
        for (instance_id, member_id) in &self.static_members {
            let member = self.members.get(member_id).expect("a static name belongs to a member");
            assert_eq!(member.facts.instance_id.as_ref(), Some(instance_id));
        }
        let statics = self.members.values().filter(|member| member.facts.instance_id.is_some());
        assert_eq!(statics.count(), self.static_members.len());
        match &self.leader {
            Some(leader) => assert!(self.members.contains_key(leader), "the leader is a member"),
            None => assert!(self.members.is_empty(), "a group with members has a leader"),
        }
        assert!(self.pending.keys().all(|member_id| !self.members.contains_key(member_id)));
        assert!(self.pending_sync.iter().all(|member_id| self.members.contains_key(member_id)));
        assert_eq!(self.join_deadline.is_some(), self.state == State::PreparingRebalance);
        match self.state {
            State::Empty => assert!(self.members.is_empty() && self.sync_deadline.is_none()),
            State::PreparingRebalance => assert!(self.sync_deadline.is_none()),
            State::CompletingRebalance => {
                assert!(!self.members.is_empty() && self.protocol.is_some());
                assert!(self.sync_deadline.is_some(), "nobody waits for ever");
            }
            State::Stable => assert!(!self.members.is_empty() && self.protocol.is_some()),
        }
        for member in self.members.values() {
            let waits = member.join.is_some() || member.sync.is_some();
            assert!(member.session.is_some() || waits, "a silent member is found out");
            assert!(member.join.is_none() || self.state == State::PreparingRebalance);
            assert!(member.sync.is_none() || self.state == State::CompletingRebalance);
        }
    }
}
