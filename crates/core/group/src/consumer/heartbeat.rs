//! ConsumerGroupHeartbeat: join, stay, follow.
//!
//! What is wrong with a request is said in Kafka's order and words: clients and their tests read
//! both.

use super::draft::{Draft, Refusal};
use super::reconcile::{Listed, Reconciliation};
use super::{Clock, EPOCH_LEAVE, EPOCH_LEAVE_STATIC, Member};
use crate::command::{ConsumerHeartbeat, ConsumerHeartbeatAnswer};
use crate::context::{ConsumerPolicy, DecideContext};
use crate::record::consumer::{ConsumerRecord, Holdings, MemberMetadata, MemberState};
use jocko_types::{ErrorCode, PartitionIndex, TopicId, Uuid};
use std::sync::Arc;
use std::time::Duration;

/// What is wrong with a request whatever the group.
///
/// # Errors
/// INVALID_REQUEST or UNSUPPORTED_ASSIGNOR.
pub(crate) fn validate(
    request: &ConsumerHeartbeat,
    policy: &ConsumerPolicy,
) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let is_blank = |text: Option<&str>| text.is_some_and(|text| text.trim().is_empty());
    let epoch = request.member_epoch;
    let must_say_who = request.member_id_from_client || epoch > 0 || epoch == EPOCH_LEAVE;
    if must_say_who && is_blank(Some(&request.member_id)) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(Some(&request.group_id)) {
        return invalid("GroupId can't be empty.");
    }
    if is_blank(request.instance_id.as_deref()) {
        return invalid("InstanceId can't be empty.");
    }
    if is_blank(request.rack_id.as_deref()) {
        return invalid("RackId can't be empty.");
    }
    if epoch == 0 {
        if request.rebalance_timeout.is_none() {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topics.is_none() && request.subscribed_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null \
                 when (re-)joining.",
            );
        }
    } else if epoch == EPOCH_LEAVE_STATIC && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    } else if epoch < EPOCH_LEAVE_STATIC {
        return invalid("MemberEpoch is invalid.");
    }
    match &request.server_assignor {
        Some(name) if !policy.assignors.contains(name) => Err(Refusal::new(
            ErrorCode::UnsupportedAssignor,
            format!(
                "ServerAssignor {name} is not supported. Supported assignors: {}.",
                policy.assignors.join(", ")
            ),
        )),
        _ => Ok(()),
    }
}

/// A member id for a client that brings none: version 0 of the request.
pub(super) fn new_member_id(cx: &DecideContext<'_>) -> Arc<str> {
    // Two different 64-bit numbers from one: enough for an id that need not be a secret.
    let high = cx.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    let mut bytes = [0; 16];
    for (to, from) in
        bytes.iter_mut().zip(cx.seed.to_be_bytes().into_iter().chain(high.to_be_bytes()))
    {
        *to = from;
    }
    Uuid::from_random(bytes).to_string().into()
}

impl Draft<'_> {
    /// A member joins, or says that it is still there.
    ///
    /// # Errors
    /// What keeps it out; nothing of the draft must be used then.
    pub(crate) fn heartbeat(
        &mut self,
        request: &ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer, Refusal> {
        self.check_room(&request.member_id, self.cx.policy.consumer.group_size_max)?;
        let member_id: Arc<str> = if request.member_id.is_empty() {
            new_member_id(self.cx)
        } else {
            request.member_id.as_str().into()
        };
        let before = self.admit(&member_id, request)?;
        if before.speaks_classic() {
            // From now on it follows the other protocol.
            self.stop_clock(&before.id, Clock::Join);
            self.stop_clock(&before.id, Clock::Sync);
        }
        let metadata = updated(&before.metadata, request);
        let wishes_changed = self.update_member(&before, metadata)?;
        self.update_target();
        let member = self.reconcile(&before.id, wishes_changed, request.owned.as_deref())?;

        let (session_timeout, heartbeat_interval, _) = self.cx.policy.consumer_of(&self.group_id);
        self.start_clock(&member.id, Clock::Session, session_timeout);
        let says_all = request.rebalance_timeout.is_some()
            && (request.subscribed_topics.is_some() || request.subscribed_regex.is_some())
            && request.owned.is_some();
        let tell = request.member_epoch == 0
            || says_all
            || member.current.assigned != before.current.assigned;
        Ok(ConsumerHeartbeatAnswer {
            error: ErrorCode::None,
            message: None,
            member_id: Some(member.id.as_ref().to_owned()),
            member_epoch: member.current.member_epoch,
            heartbeat_interval,
            assignment: tell.then(|| listed(&member.current.assigned)),
        })
    }

    /// Refuses a member that is one too many.
    pub(super) fn check_room(&self, member_id: &str, size_max: usize) -> Result<(), Refusal> {
        if self.state.members.len() >= size_max && !self.state.members.contains_key(member_id) {
            return Err(Refusal::new(
                ErrorCode::GroupMaxSizeReached,
                format!(
                    "The consumer group has reached its maximum capacity of {size_max} members."
                ),
            ));
        }
        Ok(())
    }

    /// The member as it was before this heartbeat; one that takes the place of a static member
    /// has what that one had.
    fn admit(
        &mut self,
        member_id: &Arc<str>,
        request: &ConsumerHeartbeat,
    ) -> Result<Arc<Member>, Refusal> {
        let joins = request.member_epoch == 0;
        let Some(instance_id) = request.instance_id.as_deref() else {
            let member = self.member_or_new(member_id, joins)?;
            self.check_epoch(&member, request)?;
            return Ok(member);
        };
        let existing = self.state.static_member(instance_id).cloned();
        if !joins {
            let existing = self.check_static(existing, member_id, instance_id)?;
            self.check_epoch(&existing, request)?;
            return Ok(existing);
        }
        let Some(existing) = existing else {
            return self.member_or_new(member_id, true);
        };
        let released = existing.current.member_epoch == EPOCH_LEAVE_STATIC;
        if !existing.speaks_classic() && !released {
            return Err(Refusal::new(
                ErrorCode::UnreleasedInstanceId,
                format!(
                    "Static member {member_id} with instance id {instance_id} cannot join the \
                     group because the instance id is owned by {} member.",
                    existing.id
                ),
            ));
        }
        Ok(self.replace(&existing, member_id))
    }

    pub(super) fn member_or_new(
        &self,
        member_id: &Arc<str>,
        joins: bool,
    ) -> Result<Arc<Member>, Refusal> {
        match self.state.member(member_id) {
            Some(member) => Ok(Arc::clone(member)),
            None if joins => Ok(Arc::new(Member::new(Arc::clone(member_id)))),
            None => Err(self.unknown_member(member_id)),
        }
    }

    pub(super) fn unknown_member(&self, member_id: &str) -> Refusal {
        Refusal::new(
            ErrorCode::UnknownMemberId,
            format!("Member {member_id} is not a member of group {}.", self.group_id),
        )
    }

    /// The static member, if it is the one that speaks.
    pub(super) fn check_static(
        &self,
        existing: Option<Arc<Member>>,
        member_id: &str,
        instance_id: &str,
    ) -> Result<Arc<Member>, Refusal> {
        let Some(existing) = existing else {
            return Err(Refusal::new(
                ErrorCode::UnknownMemberId,
                format!("Instance id {instance_id} is unknown."),
            ));
        };
        if &*existing.id != member_id {
            return Err(Refusal::new(
                ErrorCode::FencedInstanceId,
                format!(
                    "Static member {member_id} with instance id {instance_id} was fenced by \
                     member {}.",
                    existing.id
                ),
            ));
        }
        Ok(existing)
    }

    /// Puts a member with a new id in the place of a static one that left or is pushed out.
    pub(super) fn replace(&mut self, existing: &Arc<Member>, member_id: &Arc<str>) -> Arc<Member> {
        let target = self.state.target(&existing.id).cloned().unwrap_or_default();
        let mut current = (*existing.current).clone();
        current.member_epoch = 0;
        current.previous_member_epoch = 0;
        let metadata = Arc::clone(&existing.metadata);
        let current = Arc::new(current);
        self.remove_member(&existing.id);
        self.emit_metadata(member_id, Some(Arc::clone(&metadata)));
        self.emit(ConsumerRecord::TargetMember {
            group_id: Arc::clone(&self.group_id),
            member_id: Arc::clone(member_id),
            value: Some(target),
        });
        self.emit_current(member_id, Some(Arc::clone(&current)));
        Arc::new(Member { id: Arc::clone(member_id), metadata, current })
    }

    /// Fences a member that speaks of another epoch than the one it is at. The one before is
    /// taken if the member has nothing that it should not: the answer may have been lost.
    fn check_epoch(&self, member: &Member, request: &ConsumerHeartbeat) -> Result<(), Refusal> {
        let epoch = request.member_epoch;
        let known = member.current.member_epoch;
        if epoch == 0 || epoch == known {
            return Ok(());
        }
        let is_previous = epoch < known
            && epoch == member.current.previous_member_epoch
            && request
                .owned
                .as_deref()
                .is_some_and(|owned| is_within(owned, &member.current.assigned));
        if is_previous {
            return Ok(());
        }
        let relation = if epoch > known { "greater" } else { "smaller" };
        Err(Refusal::new(
            ErrorCode::FencedMemberEpoch,
            format!(
                "The consumer group member has a {relation} member epoch ({epoch}) than the one \
                 known by the group coordinator ({known}). The member must abandon all its \
                 partitions and rejoin."
            ),
        ))
    }

    /// Takes over what the member says of itself, and brings the group to its next epoch if that
    /// or the cluster asks for it. Tells whether the member wants other topics than before.
    pub(super) fn update_member(
        &mut self,
        before: &Member,
        metadata: Arc<MemberMetadata>,
    ) -> Result<bool, Refusal> {
        let is_new = !self.state.members.contains_key(&before.id);
        if is_new || metadata != before.metadata {
            self.emit_metadata(&before.id, Some(metadata));
        }
        let member = self.present(&before.id);
        let names_changed = member.metadata.subscribed_topics != before.metadata.subscribed_topics;
        let regex_changed = self.follow_regex(&before.metadata.subscribed_regex, &member)?;
        let meaning_changed = self.refresh_regexes();
        self.advance(names_changed || regex_changed || meaning_changed);
        Ok(names_changed || regex_changed)
    }

    /// A member that is known to be there.
    pub(super) fn present(&self, member_id: &Arc<str>) -> Arc<Member> {
        let member = self.state.member(member_id).map(Arc::clone);
        member.unwrap_or_else(|| Arc::new(Member::new(Arc::clone(member_id))))
    }

    /// Brings the member on its way to its target.
    pub(super) fn reconcile(
        &mut self,
        member_id: &Arc<str>,
        wishes_changed: bool,
        owned: Option<&Listed>,
    ) -> Result<Arc<Member>, Refusal> {
        let member = self.present(member_id);
        if !wishes_changed && member.is_reconciled_to(self.state.target_epoch) {
            return Ok(member);
        }
        let names = self.state.wishes_of(&member.metadata);
        let topics = self.cx.topics;
        let wants = |id: TopicId| topics.by_id(id).is_some_and(|topic| names.contains(topic.name));
        let step = Reconciliation {
            group: &self.state,
            member: &member,
            wants: &wants,
            wishes_changed,
            owned,
        };
        let Some(next) = step.next()? else { return Ok(member) };
        let revokes = next.state == MemberState::UnrevokedPartitions;
        self.emit_current(member_id, Some(Arc::new(next)));
        // Classic members have to join and sync in time instead.
        if !member.speaks_classic() {
            if revokes {
                self.start_clock(member_id, Clock::Rebalance, member.rebalance_timeout());
            } else {
                self.stop_clock(member_id, Clock::Rebalance);
            }
        }
        Ok(self.present(member_id))
    }
}

/// What the member says of itself now; what it does not mention is as before.
fn updated(before: &Arc<MemberMetadata>, request: &ConsumerHeartbeat) -> Arc<MemberMetadata> {
    let says_nothing = request.instance_id.is_none()
        && request.rack_id.is_none()
        && request.rebalance_timeout.is_none()
        && request.server_assignor.is_none()
        && request.subscribed_topics.is_none()
        && request.subscribed_regex.is_none();
    let is_same_client =
        before.client_id == request.client_id && before.client_host == request.client_host;
    if says_nothing && is_same_client && before.classic.is_none() {
        return Arc::clone(before);
    }
    let mut metadata = (**before).clone();
    if let Some(instance_id) = &request.instance_id {
        metadata.instance_id = Some(instance_id.clone());
    }
    if let Some(rack_id) = &request.rack_id {
        metadata.rack_id = Some(rack_id.clone());
    }
    if let Some(timeout) = request.rebalance_timeout {
        metadata.rebalance_timeout_ms = millis(timeout);
    }
    if let Some(name) = &request.server_assignor {
        metadata.server_assignor = Some(name.clone());
    }
    if let Some(topics) = &request.subscribed_topics {
        metadata.subscribed_topics = topics.iter().cloned().collect();
    }
    if let Some(regex) = &request.subscribed_regex {
        metadata.subscribed_regex.clone_from(regex);
    }
    metadata.client_id.clone_from(&request.client_id);
    metadata.client_host.clone_from(&request.client_host);
    metadata.classic = None;
    Arc::new(metadata)
}

pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Whether all that is listed is held.
fn is_within(listed: &Listed, held: &Holdings) -> bool {
    listed.iter().all(|(id, partitions)| {
        held.get(id).is_some_and(|held| partitions.iter().all(|p| held.contains_key(p)))
    })
}

/// As a response lists partitions.
fn listed(holdings: &Holdings) -> Vec<(TopicId, Vec<PartitionIndex>)> {
    holdings.iter().map(|(&id, held)| (id, held.keys().copied().collect())).collect()
}

/// The answer to a request that is refused.
pub(crate) fn refused(refusal: Refusal) -> ConsumerHeartbeatAnswer {
    ConsumerHeartbeatAnswer {
        error: refusal.error,
        message: Some(refusal.message),
        ..ConsumerHeartbeatAnswer::default()
    }
}
