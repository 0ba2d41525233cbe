//! LeaveGroup: members go by themselves, or an administrator takes them out (KIP-345).

use super::ClassicGroup;
use super::live::State;
use super::step::Step;
use crate::command::{Answer, Decision, Leave, LeavingMember, Ticket};
use crate::context::DecideContext;
use jocko_types::ErrorCode;
use std::sync::Arc;

/// Members go.
pub(crate) fn leave(
    cx: &DecideContext<'_>,
    ticket: Ticket,
    leave: &Leave,
    (group_id, group): (&Arc<str>, &ClassicGroup),
    decision: &mut Decision,
) {
    let mut step = Step::new(cx, Arc::clone(group_id), group.live.clone());
    let left: Vec<(LeavingMember, ErrorCode)> =
        leave.members.iter().map(|member| (member.clone(), step.leave(member))).collect();
    if left.iter().any(|(_, error)| *error == ErrorCode::None) {
        match step.live.state {
            State::CompletingRebalance | State::Stable => step.rebalance_or_complete(),
            State::PreparingRebalance => step.complete_if_all_joined(),
            State::Empty => {}
        }
    }
    step.answer(ticket, Answer::Left(Ok(left)));
    step.finish(decision);
}

impl Step<'_> {
    fn leave(&mut self, member: &LeavingMember) -> ErrorCode {
        let instance_id = member.instance_id.as_deref();
        if member.member_id.is_empty() {
            let named = instance_id.and_then(|id| self.live.static_members.get(id)).cloned();
            let Some(member_id) = named else { return ErrorCode::UnknownMemberId };
            self.remove(&member_id);
            return ErrorCode::None;
        }
        if self.live.pending.remove(member.member_id.as_str()).is_some() {
            self.complete_if_all_joined();
            return ErrorCode::None;
        }
        match self.live.check_member(&member.member_id, instance_id) {
            Ok(_) => {
                self.remove(&member.member_id);
                ErrorCode::None
            }
            Err(error) => error,
        }
    }
}
