//! Members go: they leave, are taken out, or are not heard of in time.

use super::draft::{Draft, Refusal};
use super::{Clock, EPOCH_LEAVE_STATIC};
use crate::command::{ConsumerHeartbeat, ConsumerHeartbeatAnswer, LeavingMember};
use crate::record::consumer::{ConsumerRecord, Holdings};
use jocko_types::ErrorCode;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Draft<'_> {
    /// Who leaves with this heartbeat: for good, or, as a static member, for a while.
    ///
    /// # Errors
    /// If it is not a member, or not the one that has the instance id.
    pub(crate) fn leave(
        &mut self,
        request: &ConsumerHeartbeat,
    ) -> Result<(BTreeSet<Arc<str>>, ConsumerHeartbeatAnswer), Refusal> {
        let answer = ConsumerHeartbeatAnswer {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..ConsumerHeartbeatAnswer::default()
        };
        let Some(instance_id) = request.instance_id.as_deref() else {
            let member = self.state.member(&request.member_id);
            let member = member.ok_or_else(|| self.unknown_member(&request.member_id))?;
            return Ok((BTreeSet::from([Arc::clone(&member.id)]), answer));
        };
        let existing = self.state.static_member(instance_id).cloned();
        let member = self.check_static(existing, &request.member_id, instance_id)?;
        if request.member_epoch != EPOCH_LEAVE_STATIC {
            return Ok((BTreeSet::from([Arc::clone(&member.id)]), answer));
        }
        // It keeps what it has until it is back or its session ends.
        let mut current = (*member.current).clone();
        current.member_epoch = EPOCH_LEAVE_STATIC;
        current.revoking = Holdings::new();
        self.emit_current(&member.id, Some(Arc::new(current)));
        self.stop_clock(&member.id, Clock::Rebalance);
        Ok((BTreeSet::new(), answer))
    }

    /// Which members a LeaveGroup means, and what each of its entries is answered with.
    pub(crate) fn leaving(
        &self,
        members: &[LeavingMember],
    ) -> (BTreeSet<Arc<str>>, Vec<(LeavingMember, ErrorCode)>) {
        let mut leaving = BTreeSet::new();
        let mut answers = Vec::with_capacity(members.len());
        for entry in members {
            let found = match entry.instance_id.as_deref() {
                None => match self.state.member(&entry.member_id) {
                    Some(member) => Ok(Arc::clone(member)),
                    None => Err(ErrorCode::UnknownMemberId),
                },
                Some(instance_id) => match self.state.static_member(instance_id) {
                    None => Err(ErrorCode::UnknownMemberId),
                    // An administrator names the instance only.
                    Some(member)
                        if entry.member_id.is_empty() || *member.id == *entry.member_id =>
                    {
                        Ok(Arc::clone(member))
                    }
                    Some(_) => Err(ErrorCode::FencedInstanceId),
                },
            };
            let error = match found {
                Ok(member) => {
                    leaving.insert(Arc::clone(&member.id));
                    ErrorCode::None
                }
                Err(error) => error,
            };
            answers.push((entry.clone(), error));
        }
        (leaving, answers)
    }

    /// Takes members out of the group, which comes to its next epoch.
    pub(crate) fn fence(&mut self, members: &BTreeSet<Arc<str>>) {
        let mut regexes = BTreeSet::new();
        for member_id in members {
            if let Some(member) = self.state.member(member_id) {
                regexes.insert(member.metadata.subscribed_regex.clone());
            }
            self.remove_member(member_id);
        }
        for regex in regexes {
            self.forget_regex(&regex);
        }
        if !members.is_empty() {
            self.advance(true);
        }
    }

    /// What removes a member; the order is Kafka's, and its loader insists on it.
    pub(super) fn remove_member(&mut self, member_id: &Arc<str>) {
        self.emit_current(member_id, None);
        self.emit(ConsumerRecord::TargetMember {
            group_id: Arc::clone(&self.group_id),
            member_id: Arc::clone(member_id),
            value: None,
        });
        self.emit_metadata(member_id, None);
    }
}
