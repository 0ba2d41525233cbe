//! Which protocol a request of the classic protocol meets, and what is refused before.

use super::{Coordinator, Group, Renewal};
use crate::classic;
use crate::command::{Answer, Decision, Heartbeat, Join, Joined, Leave, Sync, Synced, Ticket};
use crate::context::DecideContext;
use jocko_types::ErrorCode;
use std::sync::Arc;

impl Coordinator {
    pub(super) fn decide_join(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        join: &Join,
        decision: &mut Decision,
    ) {
        let session_timeouts = cx.policy.session_timeout_min..=cx.policy.session_timeout_max;
        let refusal = if join.group_id.is_empty() {
            Some(Joined::refused(&join.member_id, ErrorCode::InvalidGroupId))
        } else if !session_timeouts.contains(&join.session_timeout) {
            Some(Joined::refused(&join.member_id, ErrorCode::InvalidSessionTimeout))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return decision.answers.push((ticket, Answer::Joined(refusal)));
        }
        match self.find(&join.group_id) {
            Some((_, Group::Consumer(group))) if !group.is_empty() => {
                self.join_consumer_group(cx, ticket, join, decision);
            }
            Some((group_id, Group::Consumer(group))) => {
                // An empty consumer group gives way, with all its records.
                let tombstones = group.tombstones(group_id);
                classic::join(cx, ticket, join, None, decision);
                if !decision.records.is_empty() {
                    decision.records.splice(0..0, tombstones);
                }
            }
            Some((group_id, Group::Classic(group))) => {
                classic::join(cx, ticket, join, Some((group_id, group)), decision);
            }
            None => classic::join(cx, ticket, join, None, decision),
        }
    }

    pub(super) fn decide_sync(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        sync: &Sync,
        decision: &mut Decision,
    ) {
        let error = match self.find(&sync.group_id) {
            _ if sync.group_id.is_empty() => ErrorCode::InvalidGroupId,
            Some((_, group)) if group.is_empty() => ErrorCode::UnknownMemberId,
            Some((group_id, Group::Classic(group))) => {
                return classic::sync(cx, ticket, sync, (group_id, group), decision);
            }
            Some((_, Group::Consumer(_))) => {
                return self.sync_consumer_group(cx, ticket, sync, decision);
            }
            None => ErrorCode::UnknownMemberId,
        };
        decision.answers.push((ticket, Answer::Synced(Synced::refused(error))));
    }

    pub(super) fn decide_heartbeat(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        beat: &Heartbeat,
        decision: &mut Decision,
    ) {
        let error = match self.find(&beat.group_id) {
            _ if beat.group_id.is_empty() => ErrorCode::InvalidGroupId,
            Some((group_id, Group::Classic(group))) => {
                let (error, member) = group.live.heartbeat(beat);
                decision.changes.renewal = member.map(|(member_id, session_timeout)| Renewal {
                    group_id: Arc::clone(group_id),
                    member_id,
                    deadline: cx.now.plus(session_timeout),
                });
                error
            }
            Some((_, Group::Consumer(_))) => {
                return self.heartbeat_consumer_group(cx, ticket, beat, decision);
            }
            None => ErrorCode::UnknownMemberId,
        };
        decision.answers.push((ticket, Answer::HeartbeatTaken(error)));
    }

    pub(super) fn decide_leave(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        leave: &Leave,
        decision: &mut Decision,
    ) {
        let error = match self.find(&leave.group_id) {
            _ if leave.group_id.is_empty() => ErrorCode::InvalidGroupId,
            Some((group_id, Group::Classic(group))) => {
                return classic::leave(cx, ticket, leave, (group_id, group), decision);
            }
            Some((_, Group::Consumer(_))) => {
                return self.leave_consumer_group(cx, ticket, leave, decision);
            }
            None => {
                // Nobody is a member of what is not there: said of each, not of the request.
                let each = leave.members.iter().cloned();
                let left = each.map(|member| (member, ErrorCode::UnknownMemberId)).collect();
                return decision.answers.push((ticket, Answer::Left(Ok(left))));
            }
        };
        decision.answers.push((ticket, Answer::Left(Err(error))));
    }
}
