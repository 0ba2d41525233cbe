//! Which requests meet a consumer group, or make one, and what becomes of them.

use super::{Coordinator, Group};
use crate::command::{
    Answer, ConsumerHeartbeat, ConsumerHeartbeatAnswer, Decision, DescribedConsumerGroup,
    Heartbeat, Join, Joined, Leave, Sync, Ticket,
};
use crate::consumer::convert::upgrade;
use crate::consumer::draft::{Draft, Refusal};
use crate::consumer::heartbeat::{refused, validate};
use crate::consumer::{ConsumerGroup, EPOCH_LEAVE, EPOCH_LEAVE_STATIC};
use crate::context::{DecideContext, Policy, Topics};
use jocko_types::ErrorCode;
use std::sync::Arc;

impl Coordinator {
    /// ConsumerGroupHeartbeat.
    pub(crate) fn decide_consumer_heartbeat(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        beat: &ConsumerHeartbeat,
        decision: &mut Decision,
    ) {
        let answer = validate(beat, &cx.policy.consumer).and_then(|()| {
            if matches!(beat.member_epoch, EPOCH_LEAVE | EPOCH_LEAVE_STATIC) {
                self.leave_by_heartbeat(cx, beat, decision)
            } else {
                self.take_heartbeat(cx, beat, decision)
            }
        });
        let answer = answer.unwrap_or_else(refused);
        decision.answers.push((ticket, Answer::ConsumerHeartbeat(Box::new(answer))));
    }

    fn take_heartbeat(
        &self,
        cx: &DecideContext<'_>,
        beat: &ConsumerHeartbeat,
        decision: &mut Decision,
    ) -> Result<ConsumerHeartbeatAnswer, Refusal> {
        let joins = beat.member_epoch == 0;
        let group_id = beat.group_id.as_str();
        let mut meanwhile = Decision::default();
        let mut draft = match self.find(group_id) {
            Some((group_id, Group::Consumer(group))) => Draft::new(cx, group_id, Some(group)),
            Some((group_id, Group::Classic(group))) if joins && group.live.is_empty() => {
                let mut draft = Draft::new(cx, group_id, None);
                draft.replace_classic(group);
                draft
            }
            Some((group_id, Group::Classic(group))) if joins => {
                upgrade(cx, group_id, group, &mut meanwhile)?
            }
            Some((_, Group::Classic(_))) => return Err(not_consumer(group_id)),
            None if joins => Draft::new(cx, &group_id.into(), None),
            None => return Err(not_found(&format!("Consumer group {group_id}"))),
        };
        let answer = draft.heartbeat(beat)?;
        decision.answers.append(&mut meanwhile.answers);
        draft.finish(decision);
        Ok(answer)
    }

    fn leave_by_heartbeat(
        &self,
        cx: &DecideContext<'_>,
        beat: &ConsumerHeartbeat,
        decision: &mut Decision,
    ) -> Result<ConsumerHeartbeatAnswer, Refusal> {
        match self.find(&beat.group_id) {
            Some((group_id, Group::Consumer(group))) => {
                let mut draft = Draft::new(cx, group_id, Some(group));
                let (leaving, answer) = draft.leave(beat)?;
                draft.depart(&leaving, decision);
                Ok(answer)
            }
            Some((_, Group::Classic(_))) => Err(not_consumer(&beat.group_id)),
            None => Err(not_found(&format!("Group {}", beat.group_id))),
        }
    }

    fn consumer_group(&self, group_id: &str) -> Option<(&Arc<str>, &ConsumerGroup)> {
        match self.find(group_id) {
            Some((group_id, Group::Consumer(group))) => Some((group_id, group)),
            Some((_, Group::Classic(_))) | None => None,
        }
    }

    /// JoinGroup to a consumer group that has members.
    pub(crate) fn join_consumer_group(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        join: &Join,
        decision: &mut Decision,
    ) {
        let joined = match self.consumer_group(&join.group_id) {
            Some((group_id, group)) => classic_join(cx, group_id, group, join, decision),
            None => Err(Box::new(Joined::refused("", ErrorCode::UnknownMemberId))),
        };
        let joined = joined.unwrap_or_else(|refused| *refused);
        decision.answers.push((ticket, Answer::Joined(joined)));
    }

    /// SyncGroup to a consumer group that has members.
    pub(crate) fn sync_consumer_group(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        sync: &Sync,
        decision: &mut Decision,
    ) {
        if let Some((group_id, group)) = self.consumer_group(&sync.group_id) {
            let mut draft = Draft::new(cx, group_id, Some(group));
            let synced = draft.classic_sync(sync);
            draft.finish(decision);
            decision.answers.push((ticket, Answer::Synced(synced)));
        }
    }

    /// Heartbeat to a consumer group.
    pub(crate) fn heartbeat_consumer_group(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        beat: &Heartbeat,
        decision: &mut Decision,
    ) {
        if let Some((group_id, group)) = self.consumer_group(&beat.group_id) {
            let mut draft = Draft::new(cx, group_id, Some(group));
            let error = draft.classic_heartbeat(beat);
            draft.finish(decision);
            decision.answers.push((ticket, Answer::HeartbeatTaken(error)));
        }
    }

    /// LeaveGroup to a consumer group.
    pub(crate) fn leave_consumer_group(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        leave: &Leave,
        decision: &mut Decision,
    ) {
        if let Some((group_id, group)) = self.consumer_group(&leave.group_id) {
            let draft = Draft::new(cx, group_id, Some(group));
            let (leaving, answers) = draft.leaving(&leave.members);
            draft.depart(&leaving, decision);
            decision.answers.push((ticket, Answer::Left(Ok(answers))));
        }
    }

    /// A consumer group, as ConsumerGroupDescribe shows it.
    ///
    /// # Errors
    /// The message that goes with `GROUP_ID_NOT_FOUND`.
    pub fn describe_consumer(
        &self,
        group_id: &str,
        policy: &Policy,
        topics: &dyn Topics,
    ) -> Result<DescribedConsumerGroup, String> {
        match self.find(group_id) {
            Some((_, Group::Consumer(group))) => Ok(group.describe(policy, topics)),
            Some((_, Group::Classic(_))) => Err(not_consumer(group_id).message),
            None => Err(not_found(&format!("Group {group_id}")).message),
        }
    }
}

fn classic_join(
    cx: &DecideContext<'_>,
    group_id: &Arc<str>,
    group: &ConsumerGroup,
    join: &Join,
    decision: &mut Decision,
) -> Result<Joined, Box<Joined>> {
    let mut draft = Draft::new(cx, group_id, Some(group));
    let joining = draft.classic_join(join)?;
    if !joining.downgrades {
        draft.update_target();
        let joined = draft.classic_joined(join, &joining)?;
        draft.await_sync(join, &joining);
        draft.finish(decision);
        return Ok(joined);
    }
    // With other wishes the group rebalances anyway, and what it has now is of no use.
    let joined = if joining.wishes_changed {
        draft.classic_waiting(join, &joining)
    } else {
        draft.classic_joined(join, &joining)?
    };
    draft.downgrade(joining.epoch, joining.wishes_changed, decision);
    Ok(joined)
}

fn not_consumer(group_id: &str) -> Refusal {
    let message = format!("Group {group_id} is not a consumer group.");
    Refusal::new(ErrorCode::GroupIdNotFound, message)
}

fn not_found(what: &str) -> Refusal {
    Refusal::new(ErrorCode::GroupIdNotFound, format!("{what} not found."))
}
