//! Where requests meet consumer groups.

use super::{Coordinator, Group};
use crate::command::{
    Answer, CommitOffsets, ConsumerHeartbeat, ConsumerHeartbeatAnswer, Decision,
    DescribedConsumerGroup, FetchOffsets, Heartbeat, Join, Joined, Leave, Sync, Synced, Ticket,
};
use crate::consumer::ConsumerGroup;
use crate::context::DecideContext;
use jocko_types::ErrorCode;

impl Coordinator {
    /// ConsumerGroupHeartbeat.
    pub(crate) fn decide_consumer_heartbeat(
        &self,
        _cx: &DecideContext<'_>,
        ticket: Ticket,
        _beat: &ConsumerHeartbeat,
        decision: &mut Decision,
    ) {
        let answer = ConsumerHeartbeatAnswer {
            error: ErrorCode::UnsupportedVersion,
            ..ConsumerHeartbeatAnswer::default()
        };
        decision.answers.push((ticket, Answer::ConsumerHeartbeat(Box::new(answer))));
    }

    /// JoinGroup to a consumer group that has members.
    pub(crate) fn join_consumer_group(
        &self,
        _cx: &DecideContext<'_>,
        ticket: Ticket,
        join: &Join,
        decision: &mut Decision,
    ) {
        let refused = Joined::refused("", ErrorCode::InconsistentGroupProtocol);
        let _ = join;
        decision.answers.push((ticket, Answer::Joined(refused)));
    }

    /// SyncGroup to a consumer group that has members.
    pub(crate) fn sync_consumer_group(
        &self,
        _cx: &DecideContext<'_>,
        ticket: Ticket,
        _sync: &Sync,
        decision: &mut Decision,
    ) {
        let refused = Synced::refused(ErrorCode::UnknownMemberId);
        decision.answers.push((ticket, Answer::Synced(refused)));
    }

    /// Heartbeat to a consumer group.
    pub(crate) fn heartbeat_consumer_group(
        &self,
        _cx: &DecideContext<'_>,
        ticket: Ticket,
        _beat: &Heartbeat,
        decision: &mut Decision,
    ) {
        let answer = Answer::HeartbeatTaken(ErrorCode::UnknownMemberId);
        decision.answers.push((ticket, answer));
    }

    /// LeaveGroup to a consumer group.
    pub(crate) fn leave_consumer_group(
        &self,
        _cx: &DecideContext<'_>,
        ticket: Ticket,
        _leave: &Leave,
        decision: &mut Decision,
    ) {
        decision.answers.push((ticket, Answer::Left(Err(ErrorCode::UnknownMemberId))));
    }

    /// A consumer group, as ConsumerGroupDescribe shows it; an error message if it is none.
    ///
    /// # Errors
    /// The message that goes with `GROUP_ID_NOT_FOUND`.
    pub fn describe_consumer(&self, group_id: &str) -> Result<DescribedConsumerGroup, String> {
        match self.groups.get(group_id) {
            Some(Group::Consumer(group)) => {
                Ok(DescribedConsumerGroup { state: group.state(), ..Default::default() })
            }
            Some(Group::Classic(_)) => Err(format!("Group {group_id} is not a consumer group.")),
            None => Err(format!("Group {group_id} not found.")),
        }
    }
}

impl ConsumerGroup {
    /// Whether a member's subscription covers `topic`.
    pub(crate) fn is_subscribed(&self, _topic: &str) -> bool {
        false
    }

    /// Whether the one who commits may.
    pub(crate) fn check_commit(&self, _commit: &CommitOffsets) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether the one who asks may know.
    pub(crate) fn check_fetch(&self, _fetch: &FetchOffsets) -> Result<(), ErrorCode> {
        Ok(())
    }
}
