//! One step of a group: a copy of it that is worked on, and what comes of that.

use super::live::{Live, State};
use crate::command::{Answer, Decision, Joined, JoinedMember, Synced, Ticket};
use crate::context::DecideContext;
use crate::record::{ClassicMetadata, GroupRecord};
use jocko_types::ErrorCode;
use std::sync::Arc;

/// A group being worked on. Dropped, it has changed nothing.
pub(super) struct Step<'a> {
    pub(super) cx: &'a DecideContext<'a>,
    pub(super) live: Live,
    group_id: Arc<str>,
    records: Vec<GroupRecord>,
    answers: Vec<(Ticket, Answer)>,
}

impl<'a> Step<'a> {
    pub(super) const fn new(cx: &'a DecideContext<'a>, group_id: Arc<str>, live: Live) -> Self {
        Self { cx, live, group_id, records: Vec::new(), answers: Vec::new() }
    }

    /// Hands over what came of it.
    pub(super) fn finish(mut self, decision: &mut Decision) {
        decision.records.append(&mut self.records);
        decision.answers.append(&mut self.answers);
        decision.changes.classic.push((self.group_id, self.live));
    }

    pub(super) fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    /// Writes the group down as it stands.
    pub(super) fn write(&mut self) {
        let metadata = self.live.metadata();
        self.write_metadata(metadata);
    }

    /// Writes down that the group is there, before anybody is in it.
    pub(super) fn write_empty(&mut self) {
        let metadata = ClassicMetadata {
            protocol_type: "".into(),
            generation: 0,
            protocol: None,
            leader: None,
            state_since: self.live.state_since,
            members: Vec::new(),
        };
        self.write_metadata(metadata);
    }

    fn write_metadata(&mut self, metadata: ClassicMetadata) {
        let group_id = Arc::clone(&self.group_id);
        self.records.push(GroupRecord::Classic { group_id, value: Some(Arc::new(metadata)) });
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.answers.push((ticket, answer));
    }

    pub(super) fn refuse_join(&mut self, ticket: Ticket, member_id: &str, error: ErrorCode) {
        self.answer(ticket, Answer::Joined(Joined::refused(member_id, error)));
    }

    pub(super) fn enter(&mut self, state: State) {
        self.live.previous = self.live.state;
        self.live.state = state;
        self.live.state_since = Some(self.cx.wall);
    }

    /// What a member of this generation is told that joined it.
    pub(super) fn joined(&self, member_id: &str) -> Joined {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let live = &self.live;
        Joined {
            error: ErrorCode::None,
            generation: live.generation,
            protocol_type: text(&live.protocol_type),
            protocol_name: text(&live.protocol),
            leader: text(&live.leader).unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: if live.is_leader(member_id) { self.everybody() } else { Vec::new() },
        }
    }

    /// The members, as their leader learns of them.
    fn everybody(&self) -> Vec<JoinedMember> {
        let protocol = self.live.protocol.as_deref();
        let members = self.live.members.iter().map(|(member_id, member)| JoinedMember {
            member_id: member_id.as_ref().to_owned(),
            instance_id: member.facts.instance_id.as_deref().map(str::to_owned),
            metadata: member.facts.metadata(protocol),
        });
        members.collect()
    }

    /// What a member is told that brings or fetches an assignment.
    pub(super) fn synced(&self, member_id: &str) -> Synced {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let Some(member) = self.live.members.get(member_id) else {
            return Synced::refused(ErrorCode::UnknownMemberId);
        };
        Synced {
            error: ErrorCode::None,
            protocol_type: text(&self.live.protocol_type),
            protocol_name: text(&self.live.protocol),
            assignment: member.assignment.clone(),
        }
    }

    /// Takes a member out. Should it wait for an answer, it learns that it is unknown, so that it
    /// joins anew if it is still there.
    pub(super) fn remove(&mut self, member_id: &str) {
        let live = &mut self.live;
        live.pending.remove(member_id);
        live.pending_sync.remove(member_id);
        let Some(member) = live.members.remove(member_id) else { return };
        if let Some(instance_id) = &member.facts.instance_id {
            live.static_members.remove(instance_id);
        }
        if live.is_leader(member_id) {
            live.leader = live.members.keys().next().cloned();
        }
        if let Some(ticket) = member.join {
            self.refuse_join(ticket, "", ErrorCode::UnknownMemberId);
        }
        if let Some(ticket) = member.sync {
            let refused = Synced::refused(ErrorCode::UnknownMemberId);
            self.answer(ticket, Answer::Synced(refused));
        }
    }
}
