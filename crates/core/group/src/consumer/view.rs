//! What others may know of a consumer group: descriptions, and whether a member may commit.

use super::{ConsumerGroup, Member};
use crate::command::{
    CommitOffsets, DescribedConsumerGroup, DescribedConsumerMember, FetchOffsets, OffsetToCommit,
};
use crate::context::{DecideContext, Policy, Topics};
use crate::record::consumer::Holdings;
use jocko_types::{ErrorCode, PartitionIndex, TopicId};
use std::collections::BTreeMap;

/// What a member hears that speaks of an epoch it is not at.
fn wrong_epoch(member: &Member) -> ErrorCode {
    if member.speaks_classic() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
}

impl ConsumerGroup {
    /// Whether these offsets may be committed: members may at their epoch, and at an earlier one
    /// for partitions that they had by then (KIP-1251).
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; UNSUPPORTED_VERSION if a member of the consumer protocol uses a request
    /// that does not know member epochs; STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for classic
    /// members. None of the offsets may be committed then.
    pub(crate) fn check_commit(
        &self,
        cx: &DecideContext<'_>,
        commit: &CommitOffsets,
    ) -> Result<(), ErrorCode> {
        let epoch = commit.generation_or_member_epoch;
        // Administrators, and consumers without membership.
        if epoch < 0 && self.state.is_empty() {
            return Ok(());
        }
        let member = self.state.member(&commit.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if !member.speaks_classic() && !commit.knows_member_epochs {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if epoch == member.current.member_epoch {
            return Ok(());
        }
        let had = |offset: &OffsetToCommit| {
            let id = if offset.topic_id.is_zero() {
                cx.topics.by_name(&offset.topic)?.id
            } else {
                offset.topic_id
            };
            let given_in = |held: &Holdings| held.get(&id)?.get(&offset.partition).copied();
            given_in(&member.current.assigned).or_else(|| given_in(&member.current.revoking))
        };
        let is_late = epoch < member.current.member_epoch
            && commit.offsets.iter().all(|offset| had(offset).is_some_and(|given| epoch >= given));
        if is_late { Ok(()) } else { Err(wrong_epoch(member)) }
    }

    /// Whether the one who asks may know what was committed.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for classic members.
    pub(crate) fn check_fetch(&self, fetch: &FetchOffsets) -> Result<(), ErrorCode> {
        let member_id = match fetch.member_id.as_deref() {
            None if fetch.member_epoch < 0 => return Ok(()),
            member_id => member_id.unwrap_or_default(),
        };
        let member = self.state.member(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if member.current.member_epoch == fetch.member_epoch {
            Ok(())
        } else {
            Err(wrong_epoch(member))
        }
    }

    /// Whether a member wants the topic: its offsets must not be deleted then (KIP-496).
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        self.state.is_subscribed_to(topic)
    }

    /// As ConsumerGroupDescribe shows it. Topics that are no more are left out.
    pub(crate) fn describe(&self, policy: &Policy, topics: &dyn Topics) -> DescribedConsumerGroup {
        let assignor = self.state.preferred_assignor(&policy.consumer.assignors);
        DescribedConsumerGroup {
            state: self.state.name(),
            group_epoch: self.state.epoch,
            assignment_epoch: self.state.target_epoch,
            assignor: assignor.unwrap_or_default().to_owned(),
            members: self.state.members.values().map(|m| self.describe_member(m, topics)).collect(),
        }
    }

    fn describe_member(&self, member: &Member, topics: &dyn Topics) -> DescribedConsumerMember {
        let exists = |id: &TopicId| topics.by_id(*id).is_some();
        // What it must give back is still in its hands.
        let mut assignment: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for (&id, partitions) in member.current.assigned.iter().chain(&member.current.revoking) {
            if exists(&id) {
                assignment.entry(id).or_default().extend(partitions.keys());
            }
        }
        for partitions in assignment.values_mut() {
            partitions.sort_unstable();
        }
        let target = self.state.target(&member.id);
        let target = target.iter().flat_map(|target| target.iter()).filter(|(id, _)| exists(id));
        DescribedConsumerMember {
            member_id: member.id.as_ref().to_owned(),
            instance_id: member.metadata.instance_id.clone(),
            rack_id: member.metadata.rack_id.clone(),
            member_epoch: member.current.member_epoch,
            client_id: member.metadata.client_id.clone(),
            client_host: member.metadata.client_host.clone(),
            subscribed_topics: member.metadata.subscribed_topics.iter().cloned().collect(),
            subscribed_regex: Some(member.metadata.subscribed_regex.clone()),
            assignment,
            target: target.map(|(&id, held)| (id, held.iter().copied().collect())).collect(),
            member_type: if member.speaks_classic() { 0 } else { 1 },
        }
    }
}
