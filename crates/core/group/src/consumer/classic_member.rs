//! Members of a consumer group that still speak the classic protocol (KIP-848, online migration).
//!
//! Their JoinGroup is a heartbeat of the consumer protocol in other words: the subscription and
//! what they own come with it, the generation they get is their member epoch, and SyncGroup brings
//! the assignment. A Heartbeat tells them when to join again. Nobody leads, and nobody waits for
//! anybody: what the barrier did, partition by partition revocation does.

use super::draft::{Draft, Refusal};
use super::{Clock, Member};
use crate::command::{Heartbeat, Join, Joined, Opaque, Sync, Synced};
use crate::context::{Migration, Topics};
use crate::record::consumer::{ClassicMember, MemberMetadata, MemberState};
use jocko_codec::{Decode, DecodeError, Encode, Message, Reader, Writer};
use jocko_protocol::messages::rpc::consumer_protocol_assignment::TopicPartition;
use jocko_protocol::messages::rpc::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use jocko_types::{ErrorCode, PartitionIndex, TopicId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What the classic protocol calls the members of consumer groups.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

/// The subscription in a member's metadata.
///
/// # Errors
/// If the bytes are no subscription.
pub(crate) fn subscription(metadata: &[u8]) -> Result<ConsumerProtocolSubscription, DecodeError> {
    let mut r = Reader::new(metadata);
    let version = known(r.i16("ConsumerProtocolSubscription.version")?);
    ConsumerProtocolSubscription::decode(&mut r, version)
}

/// The assignment that a classic member was given.
///
/// # Errors
/// If the bytes are no assignment.
pub(crate) fn assignment(bytes: &[u8]) -> Result<ConsumerProtocolAssignment, DecodeError> {
    if bytes.is_empty() {
        return Ok(ConsumerProtocolAssignment::default());
    }
    let mut r = Reader::new(bytes);
    let version = known(r.i16("ConsumerProtocolAssignment.version")?);
    ConsumerProtocolAssignment::decode(&mut r, version)
}

/// Later versions begin like the latest that is known.
fn known(version: i16) -> i16 {
    version.min(ConsumerProtocolSubscription::VERSIONS.max)
}

/// An assignment as the classic protocol carries it, at the version of the member's `metadata`.
/// Topics that are no more are left out.
pub(super) fn assignment_bytes<'h>(
    partitions: impl Iterator<Item = (TopicId, Box<dyn Iterator<Item = PartitionIndex> + 'h>)>,
    metadata: &[u8],
    topics: &dyn Topics,
) -> Opaque {
    let mut assigned: Vec<TopicPartition> = partitions
        .filter_map(|(id, partitions)| {
            let topic = topics.by_id(id)?.name.to_owned();
            Some(TopicPartition {
                topic,
                partitions: partitions.map(PartitionIndex::get).collect(),
            })
        })
        .collect();
    assigned.sort_by(|a, b| a.topic.cmp(&b.topic));
    let version = match *metadata {
        [high, low, ..] => known(i16::from_be_bytes([high, low])).max(0),
        _ => 0,
    };
    let mut w = Writer::with_capacity(64);
    w.i16(version);
    let message = ConsumerProtocolAssignment { assigned_partitions: assigned, user_data: None };
    // Names of topics that exist are short, and so is what is made of them.
    let encoded = message.encode(&mut w, version).is_ok();
    Opaque::from(w.into_bytes().filter(|_| encoded).unwrap_or_default())
}

/// What a classic member is given, as the classic protocol carries it.
fn given(member: &Member, topics: &dyn Topics) -> Opaque {
    let classic = member.metadata.classic.as_ref();
    let metadata = classic.and_then(|classic| classic.protocols.first());
    let metadata: &[u8] = metadata.map_or(&[], |(_, metadata)| metadata);
    let held = member.current.assigned.iter().map(|(&id, held)| {
        let partitions: Box<dyn Iterator<Item = _>> = Box::new(held.keys().copied());
        (id, partitions)
    });
    assignment_bytes(held, metadata, topics)
}

impl ClassicMember {
    fn of(join: &Join) -> Self {
        let mut seen = BTreeSet::new();
        let protocols = join.protocols.iter().filter(|(name, _)| seen.insert(name.as_str()));
        Self {
            session_timeout_ms: super::heartbeat::millis(join.session_timeout),
            protocols: protocols.cloned().collect(),
        }
    }
}

impl Draft<'_> {
    /// Whether `join` must come back with the member id that it is given.
    fn must_come_back(join: &Join) -> bool {
        join.member_id_required && join.instance_id.is_none() && join.member_id.is_empty()
    }

    /// A classic member joins, or joins again. Returns the answer and whether what the member
    /// wants has changed; the caller may yet turn the group into a classic one.
    ///
    /// # Errors
    /// The error that the join is refused with; MEMBER_ID_REQUIRED comes with an id.
    pub(crate) fn classic_join(&mut self, join: &Join) -> Result<Joining, Box<Joined>> {
        let policy = &self.cx.policy.consumer;
        // As in Kafka no id comes with a refusal, save with the one that asks to come back with it.
        let refuse_as = |error| Box::new(Joined::refused("", error));
        let refuse = |refusal: Refusal| refuse_as(refusal.error);
        if policy.migration == Migration::Disabled {
            return Err(refuse_as(ErrorCode::InconsistentGroupProtocol));
        }
        let is_unknown = join.member_id.is_empty();
        let member_id = if is_unknown {
            super::heartbeat::new_member_id(self.cx)
        } else {
            join.member_id.as_str().into()
        };
        self.check_room(&member_id, policy.group_size_max).map_err(refuse)?;
        if !self.state.supports(join) {
            return Err(refuse_as(ErrorCode::InconsistentGroupProtocol));
        }
        if Self::must_come_back(join) {
            return Err(Box::new(Joined::refused(&member_id, ErrorCode::MemberIdRequired)));
        }
        let Some(Ok(wish)) = join.protocols.first().map(|(_, metadata)| subscription(metadata))
        else {
            return Err(refuse_as(ErrorCode::UnknownServerError));
        };
        let replaces = join.instance_id.as_deref().and_then(|id| self.state.static_member(id));
        let downgrades = replaces.is_some_and(|replaced| self.may_downgrade_by(replaced));
        let epoch = self.state.epoch;
        let before = self.admit_classic(&member_id, join, is_unknown).map_err(refuse)?;
        self.stop_clock(&before.id, Clock::Rebalance);
        let metadata = Arc::new(updated(&before.metadata, join, &wish));
        let wishes_changed = self.update_member(&before, metadata).map_err(refuse)?;
        Ok(Joining { member_id, wish, wishes_changed, downgrades, epoch })
    }

    /// Brings a member that has joined on its way, and answers it.
    ///
    /// # Errors
    /// The error that the join is refused with.
    pub(crate) fn classic_joined(
        &mut self,
        join: &Join,
        joining: &Joining,
    ) -> Result<Joined, Box<Joined>> {
        let owned = owned(&joining.wish, self.cx.topics);
        self.reconcile(&joining.member_id, joining.wishes_changed, Some(&owned))
            .map_err(|refusal| Box::new(Joined::refused("", refusal.error)))?;
        Ok(self.classic_waiting(join, joining))
    }

    /// What a member that has joined is answered, as it stands.
    pub(crate) fn classic_waiting(&self, join: &Join, joining: &Joining) -> Joined {
        let member = self.present(&joining.member_id);
        Joined {
            error: ErrorCode::None,
            generation: member.current.member_epoch,
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: join.protocols.first().map(|(name, _)| name.clone()),
            leader: String::new(),
            skip_assignment: false,
            member_id: member.id.as_ref().to_owned(),
            members: Vec::new(),
        }
    }

    /// Starts the clocks of a member that has joined: it shall sync in time.
    pub(crate) fn await_sync(&mut self, join: &Join, joining: &Joining) {
        self.stop_clock(&joining.member_id, Clock::Join);
        self.start_clock(&joining.member_id, Clock::Session, join.session_timeout);
        self.start_clock(&joining.member_id, Clock::Sync, join.rebalance_timeout);
    }

    fn admit_classic(
        &mut self,
        member_id: &Arc<str>,
        join: &Join,
        is_unknown: bool,
    ) -> Result<Arc<Member>, Refusal> {
        let Some(instance_id) = join.instance_id.as_deref() else {
            return self.member_or_new(member_id, true);
        };
        let existing = self.state.static_member(instance_id).cloned();
        match existing {
            existing if !is_unknown => self.check_static(existing, member_id, instance_id),
            Some(existing) => Ok(self.replace(&existing, member_id)),
            None => self.member_or_new(member_id, true),
        }
    }

    /// A classic member fetches what it is given.
    pub(crate) fn classic_sync(&mut self, sync: &Sync) -> Synced {
        match self.check_sync(sync) {
            Ok(member) => {
                self.stop_clock(&member.id, Clock::Sync);
                self.start_clock(
                    &member.id,
                    Clock::Session,
                    member.session_timeout(Duration::ZERO),
                );
                Synced {
                    error: ErrorCode::None,
                    protocol_type: sync.protocol_type.clone(),
                    protocol_name: sync.protocol_name.clone(),
                    assignment: given(&member, self.cx.topics),
                }
            }
            Err(error) => Synced::refused(error),
        }
    }

    fn check_sync(&mut self, sync: &Sync) -> Result<Arc<Member>, ErrorCode> {
        let member = self.classic_member(&sync.member_id, sync.instance_id.as_deref())?;
        if member.current.member_epoch != sync.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let classic = member.metadata.classic.as_ref();
        let protocol = classic.and_then(|classic| classic.protocols.first()).map(|(name, _)| name);
        let is_other_type = sync.protocol_type.as_deref().is_some_and(|name| name != PROTOCOL_TYPE);
        let is_other_name = sync.protocol_name.as_ref().is_some_and(|name| Some(name) != protocol);
        if is_other_type || is_other_name {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        // One that must give back first has joined for that already.
        if self.state.epoch > member.current.member_epoch
            && member.current.state != MemberState::UnrevokedPartitions
        {
            self.await_join(&member);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(member)
    }

    /// A classic member is still there; it is told when to join again.
    pub(crate) fn classic_heartbeat(&mut self, beat: &Heartbeat) -> ErrorCode {
        let member = match self.classic_member(&beat.member_id, beat.instance_id.as_deref()) {
            Ok(member) => member,
            Err(error) => return error,
        };
        if member.current.member_epoch != beat.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.start_clock(&member.id, Clock::Session, member.session_timeout(Duration::ZERO));
        let is_behind = member.current.member_epoch < self.state.epoch;
        let revokes = member.current.state == MemberState::UnrevokedPartitions;
        let may_take = member.current.state == MemberState::UnreleasedPartitions
            && !self.state.waits_for_others(&member);
        if is_behind || revokes || may_take {
            self.await_join(&member);
            return ErrorCode::RebalanceInProgress;
        }
        ErrorCode::None
    }

    /// The member was told to join again; it shall do so in time.
    fn await_join(&mut self, member: &Member) {
        self.start_clock_if_stopped(&member.id, Clock::Join, member.rebalance_timeout());
    }

    fn classic_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<Arc<Member>, ErrorCode> {
        let member = match instance_id {
            None => self.state.member(member_id).cloned().ok_or(ErrorCode::UnknownMemberId)?,
            Some(instance_id) => {
                let existing = self.state.static_member(instance_id).cloned();
                self.check_static(existing, member_id, instance_id)
                    .map_err(|refusal| refusal.error)?
            }
        };
        if member.speaks_classic() { Ok(member) } else { Err(ErrorCode::UnknownMemberId) }
    }
}

/// A classic member on its way into the group.
pub(crate) struct Joining {
    pub(crate) member_id: Arc<str>,
    wish: ConsumerProtocolSubscription,
    /// Whether it wants other topics than before.
    pub(crate) wishes_changed: bool,
    /// Whether it takes the place of the last member that spoke the consumer protocol.
    pub(crate) downgrades: bool,
    /// The group's epoch before it came.
    pub(crate) epoch: i32,
}

impl super::GroupState {
    /// Whether all classic members know one of the dialects that `join` offers.
    fn supports(&self, join: &Join) -> bool {
        if join.protocol_type != PROTOCOL_TYPE {
            return false;
        }
        if self.is_empty() {
            return !join.protocols.is_empty();
        }
        let mut classic =
            self.members.values().filter_map(|member| member.metadata.classic.as_ref());
        let knows = |member: &ClassicMember, name: &String| {
            member.protocols.iter().any(|(known, _)| known == name)
        };
        let mut common: Vec<&String> = join.protocols.iter().map(|(name, _)| name).collect();
        classic.all(|member| {
            common.retain(|name| knows(member, name));
            !common.is_empty()
        }) && !common.is_empty()
    }

    /// Whether something that the member shall have is still in the hands of others.
    fn waits_for_others(&self, member: &Member) -> bool {
        let target = self.target(&member.id);
        target.into_iter().flat_map(|target| target.iter()).any(|(&id, partitions)| {
            let assigned = member.current.assigned.get(&id);
            partitions.iter().any(|&p| {
                !assigned.is_some_and(|assigned| assigned.contains_key(&p))
                    && self.owner(id, p).is_some()
            })
        })
    }
}

fn updated(
    before: &MemberMetadata,
    join: &Join,
    wish: &ConsumerProtocolSubscription,
) -> MemberMetadata {
    let mut metadata = before.clone();
    if let Some(instance_id) = &join.instance_id {
        metadata.instance_id = Some(instance_id.clone());
    }
    if let Some(rack_id) = wish.rack_id.as_ref().filter(|rack_id| !rack_id.is_empty()) {
        metadata.rack_id = Some(rack_id.clone());
    }
    metadata.rebalance_timeout_ms = super::heartbeat::millis(join.rebalance_timeout);
    metadata.subscribed_topics = wish.topics.iter().cloned().collect();
    // The classic protocol resolves regular expressions in the client.
    metadata.subscribed_regex = String::new();
    metadata.client_id.clone_from(&join.client_id);
    metadata.client_host.clone_from(&join.client_host);
    metadata.classic = Some(ClassicMember::of(join));
    metadata
}

/// What the member says it has, by topic id.
fn owned(
    wish: &ConsumerProtocolSubscription,
    topics: &dyn Topics,
) -> Vec<(TopicId, Vec<PartitionIndex>)> {
    let listed = wish.owned_partitions.iter();
    listed
        .filter_map(|owned| {
            let id = topics.by_name(&owned.topic)?.id;
            Some((id, owned.partitions.iter().copied().map(PartitionIndex::new).collect()))
        })
        .collect()
}
