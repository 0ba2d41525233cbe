//! Groups change their protocol while they have members (KIP-848, `group.consumer.migration.policy`).
//!
//! *Up*: the first consumer of the new protocol that comes to a classic group of consumers makes
//! it a consumer group. What the classic leader assigned becomes both what members have and what
//! they shall have, and the members go on with JoinGroup, SyncGroup and Heartbeat.
//! *Down*: when the last member of the consumer protocol has gone, the others become a classic
//! group again, and rebalance.

use super::classic_member::{PROTOCOL_TYPE, assignment, assignment_bytes, subscription};
use super::draft::{Draft, Refusal};
use super::{Clock, Member, hash};
use crate::classic::{self, ClassicGroup, Migrant};
use crate::command::Decision;
use crate::context::DecideContext;
use crate::record::GroupRecord;
use crate::record::consumer::{
    Assignment, ClassicMember, ConsumerRecord, CurrentAssignment, GroupEpoch, Holdings,
    MemberMetadata, MemberState, TargetEpoch,
};
use jocko_types::{ErrorCode, PartitionIndex, Timestamp, TopicId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The consumer group that a classic group becomes for the member that joins it. Who waits there
/// is sent back to join again.
///
/// # Errors
/// GROUP_ID_NOT_FOUND if it must stay as it is.
pub(crate) fn upgrade<'a>(
    cx: &'a DecideContext<'a>,
    group_id: &Arc<str>,
    group: &ClassicGroup,
    decision: &mut Decision,
) -> Result<Draft<'a>, Refusal> {
    let refuse = |reason: &str| {
        let message =
            format!("Cannot upgrade classic group {group_id} to consumer group because {reason}");
        Refusal::new(ErrorCode::GroupIdNotFound, message)
    };
    let policy = &cx.policy.consumer;
    if !policy.migration.may_upgrade() {
        return Err(refuse("online upgrade is disabled."));
    }
    if group.live.protocol_type() != PROTOCOL_TYPE {
        return Err(refuse("the group does not use the consumer embedded protocol."));
    }
    if group.live.member_count() > policy.group_size_max {
        return Err(refuse("the group size exceeds the consumer group maximum size."));
    }
    let mut draft = Draft::new(cx, group_id, None);
    draft.replace_classic(group);
    let mut taken = BTreeSet::new();
    let mut members = Vec::new();
    for migrant in group.live.migrants() {
        members.push(draft.member_from(&migrant, group.live.generation(), &mut taken).map_err(
            |reason| {
                refuse(match reason {
                    Illegible::Malformed => "the embedded consumer protocol is malformed.",
                    Illegible::CustomAssignor => {
                        "an unsupported custom assignor is in use. Please refer to the \
                         documentation or switch to a default assignor before re-attempting \
                         the upgrade."
                    }
                })
            },
        )?);
    }
    draft.populate(&members, group.live.generation());
    group.live.send_back(&mut decision.answers);
    Ok(draft)
}

/// Why a classic member cannot come along.
enum Illegible {
    Malformed,
    CustomAssignor,
}

impl Draft<'_> {
    /// Removes the record of the classic group that this one takes the place of.
    pub(crate) fn replace_classic(&mut self, group: &ClassicGroup) {
        if group.written.is_some() {
            let group_id = Arc::clone(&self.group_id);
            self.emit_other(GroupRecord::Classic { group_id, value: None });
        }
    }

    /// A member as it comes from a classic group.
    fn member_from(
        &self,
        migrant: &Migrant,
        generation: i32,
        taken: &mut BTreeSet<(TopicId, PartitionIndex)>,
    ) -> Result<Member, Illegible> {
        let wish = subscription(&migrant.metadata).map_err(|_| Illegible::Malformed)?;
        let given = assignment(&migrant.assignment).map_err(|_| Illegible::Malformed)?;
        if given.user_data.is_some_and(|data| !data.is_empty()) {
            return Err(Illegible::CustomAssignor);
        }
        let mut assigned = Holdings::new();
        for topic in given.assigned_partitions {
            let Some(facts) = self.cx.topics.by_name(&topic.topic) else { continue };
            for partition in topic.partitions.into_iter().map(PartitionIndex::new) {
                // An assignor in a client may have given it twice; here nobody may (G-1).
                if taken.insert((facts.id, partition)) {
                    assigned.entry(facts.id).or_default().insert(partition, generation);
                }
            }
        }
        let metadata = MemberMetadata {
            instance_id: migrant.instance_id.as_deref().map(str::to_owned),
            rack_id: wish.rack_id.filter(|rack_id| !rack_id.is_empty()),
            client_id: migrant.client_id.as_ref().to_owned(),
            client_host: migrant.client_host.as_ref().to_owned(),
            subscribed_topics: wish.topics.into_iter().collect(),
            subscribed_regex: String::new(),
            rebalance_timeout_ms: super::heartbeat::millis(migrant.rebalance_timeout),
            server_assignor: None,
            classic: Some(ClassicMember {
                session_timeout_ms: super::heartbeat::millis(migrant.session_timeout),
                protocols: migrant
                    .protocols
                    .iter()
                    .map(|(name, metadata)| (name.as_ref().to_owned(), metadata.clone()))
                    .collect(),
            }),
        };
        let current = CurrentAssignment {
            member_epoch: generation,
            previous_member_epoch: generation,
            state: MemberState::Stable,
            assigned,
            revoking: Holdings::new(),
        };
        let id = Arc::clone(&migrant.member_id);
        Ok(Member { id, metadata: Arc::new(metadata), current: Arc::new(current) })
    }

    /// Fills a new group with members that have what they shall have, in Kafka's order of records.
    fn populate(&mut self, members: &[Member], epoch: i32) {
        for member in members {
            self.emit_metadata(&member.id, Some(Arc::clone(&member.metadata)));
        }
        let metadata_hash = hash::of_topics(self.state.wishes(), self.cx.topics);
        let value = Some(GroupEpoch { epoch, metadata_hash });
        self.emit(ConsumerRecord::Group { group_id: Arc::clone(&self.group_id), value });
        for member in members {
            let held = member.current.assigned.iter();
            let target: Assignment =
                held.map(|(&id, held)| (id, held.keys().copied().collect())).collect();
            self.emit(ConsumerRecord::TargetMember {
                group_id: Arc::clone(&self.group_id),
                member_id: Arc::clone(&member.id),
                value: Some(Arc::new(target)),
            });
        }
        // No time: the next target, which the newcomer asks for, must not have to wait.
        let value = Some(TargetEpoch { epoch, computed_at: Timestamp::from_millis(0) });
        self.emit(ConsumerRecord::TargetEpoch { group_id: Arc::clone(&self.group_id), value });
        for member in members {
            self.emit_current(&member.id, Some(Arc::clone(&member.current)));
            self.start_clock(&member.id, Clock::Session, member.session_timeout(Duration::ZERO));
        }
    }

    /// Takes members out; what is left becomes a classic group if nobody in it speaks the
    /// consumer protocol.
    pub(crate) fn depart(mut self, leaving: &BTreeSet<Arc<str>>, decision: &mut Decision) {
        if leaving.is_empty() || !self.may_downgrade_without(leaving) {
            self.fence(leaving);
            return self.finish(decision);
        }
        for member_id in leaving {
            self.remove_member(member_id);
        }
        let generation = self.state.epoch;
        self.downgrade(generation, true, decision);
    }

    fn may_downgrade_without(&self, leaving: &BTreeSet<Arc<str>>) -> bool {
        let mut left = self.state.members.values().filter(|m| !leaving.contains(&m.id)).peekable();
        left.peek().is_some() && left.all(|m| m.speaks_classic()) && {
            let count = self.state.members.keys().filter(|id| !leaving.contains(*id)).count();
            self.fits_classic(count)
        }
    }

    /// Whether the group becomes a classic one when a classic member takes the place of `replaced`.
    pub(super) fn may_downgrade_by(&self, replaced: &Member) -> bool {
        let mut others = self.state.members.values().filter(|member| member.id != replaced.id);
        !replaced.speaks_classic()
            && others.all(|member| member.speaks_classic())
            && self.fits_classic(self.state.members.len())
    }

    fn fits_classic(&self, members: usize) -> bool {
        self.cx.policy.consumer.migration.may_downgrade()
            && members <= self.cx.policy.group_size_max
    }

    /// Turns the group into a classic one of this generation, which rebalances at once or goes on
    /// as it is.
    pub(crate) fn downgrade(mut self, generation: i32, rebalances: bool, decision: &mut Decision) {
        let members = self.state.members.values();
        let migrants: Vec<Migrant> =
            members.filter_map(|member| self.migrant_from(member, rebalances)).collect();
        for tombstone in self.state.tombstones(&self.group_id) {
            self.emit(tombstone);
        }
        let (cx, group_id) = (self.cx, Arc::clone(&self.group_id));
        self.finish(decision);
        classic::found(cx, &group_id, (generation, migrants), rebalances, decision);
    }

    /// A member as it goes to a classic group. Where that rebalances, its assignment is what it
    /// has in its hands until it joins again: the group may become a consumer group once more
    /// before that (G-1). Where it does not, it is what the member shall have.
    fn migrant_from(&self, member: &Member, rebalances: bool) -> Option<Migrant> {
        let classic = member.metadata.classic.as_ref()?;
        let metadata = classic.protocols.first().map(|(_, metadata)| metadata.clone());
        let metadata = metadata.unwrap_or_else(|| Arc::from([]));
        let mut assigned = Assignment::new();
        if rebalances {
            for (id, partition) in member.current.held() {
                assigned.entry(id).or_default().insert(partition);
            }
        } else if let Some(target) = self.state.target(&member.id) {
            assigned.clone_from(target);
        }
        let assigned = assigned.iter().map(|(&id, partitions)| {
            let partitions: Box<dyn Iterator<Item = _>> = Box::new(partitions.iter().copied());
            (id, partitions)
        });
        let text = |text: &str| Arc::<str>::from(text);
        Some(Migrant {
            member_id: Arc::clone(&member.id),
            instance_id: member.metadata.instance_id.as_deref().map(text),
            client_id: text(&member.metadata.client_id),
            client_host: text(&member.metadata.client_host),
            session_timeout: member.session_timeout(Duration::ZERO),
            rebalance_timeout: member.rebalance_timeout(),
            protocols: classic.protocols.iter().map(|(name, m)| (text(name), m.clone())).collect(),
            assignment: assignment_bytes(assigned, &metadata, self.cx.topics),
            metadata,
        })
    }
}
