//! SyncGroup.

use super::ClassicGroup;
use super::live::{Live, State};
use super::step::Step;
use crate::command::{self, Answer, Decision, Opaque, Synced, Ticket};
use crate::context::DecideContext;
use jocko_types::ErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A member brings the assignment, or comes for its own.
pub(crate) fn sync(
    cx: &DecideContext<'_>,
    ticket: Ticket,
    sync: &command::Sync,
    (group_id, group): (&Arc<str>, &ClassicGroup),
    decision: &mut Decision,
) {
    if let Err(error) = group.live.check_sync(sync) {
        return decision.answers.push((ticket, Answer::Synced(Synced::refused(error))));
    }
    let mut step = Step::new(cx, Arc::clone(group_id), group.live.clone());
    step.sync(ticket, sync);
    step.finish(decision);
}

impl Live {
    fn check_sync(&self, sync: &command::Sync) -> Result<(), ErrorCode> {
        self.check_member(&sync.member_id, sync.instance_id.as_deref())?;
        if sync.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        // Both are checked if both sides know them (KIP-559).
        let differ = |said: Option<&str>, known: Option<&str>| {
            said.zip(known).is_some_and(|(said, known)| said != known)
        };
        if differ(sync.protocol_type.as_deref(), self.protocol_type.as_deref())
            || differ(sync.protocol_name.as_deref(), self.protocol.as_deref())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::CompletingRebalance | State::Stable => Ok(()),
        }
    }
}

impl Step<'_> {
    fn sync(&mut self, ticket: Ticket, sync: &command::Sync) {
        self.live.pending_sync.remove(sync.member_id.as_str());
        if self.live.pending_sync.is_empty() {
            self.live.sync_deadline = None;
        }
        if self.live.state == State::Stable {
            let synced = self.synced(&sync.member_id);
            return self.answer(ticket, Answer::Synced(synced));
        }
        let Some(member) = self.live.members.get_mut(sync.member_id.as_str()) else { return };
        if let Some(superseded) = member.sync.replace(ticket) {
            // The client that sent it has come again, so it does not read this any more.
            let refused = Synced::refused(ErrorCode::RebalanceInProgress);
            self.answer(superseded, Answer::Synced(refused));
        }
        if self.live.is_leader(&sync.member_id) {
            self.assign(&sync.assignments);
        }
    }

    /// The leader has assigned: written down, and handed out to those who wait for it.
    fn assign(&mut self, assignments: &[(String, Opaque)]) {
        let assignments: BTreeMap<&str, &Opaque> = assignments
            .iter()
            .map(|(member_id, assignment)| (member_id.as_str(), assignment))
            .collect();
        for (member_id, member) in &mut self.live.members {
            let assignment = assignments.get(member_id.as_ref()).copied().cloned();
            member.assignment = assignment.unwrap_or_else(|| Opaque::from([]));
        }
        // Kafka writes the time of the state that ends here, and so do we.
        self.write();
        let member_ids: Vec<Arc<str>> = self.live.members.keys().cloned().collect();
        for member_id in member_ids {
            let synced = self.synced(&member_id);
            let Some(member) = self.live.members.get_mut(&member_id) else { continue };
            if let Some(ticket) = member.sync.take() {
                member.session = Some(self.cx.now.plus(member.facts.session_timeout));
                self.answer(ticket, Answer::Synced(synced));
            }
        }
        self.enter(State::Stable);
    }
}
