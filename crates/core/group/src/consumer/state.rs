//! What the log says of a consumer group, and how each record changes it.

use super::EPOCH_LEAVE;
use crate::record::consumer::{
    Assignment, ConsumerRecord, CurrentAssignment, GroupEpoch, Holdings, MemberMetadata,
    MemberState, ResolvedRegex, TargetEpoch,
};
use imbl::OrdMap;
use jocko_types::{PartitionIndex, Timestamp, TopicId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What the log says of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupState {
    /// The group's epoch. As in Kafka a new group is at 1, with a target that is empty; neither
    /// needs a record.
    pub(super) epoch: i32,
    /// Over the subscribed topics as of the last epoch.
    pub(super) metadata_hash: i64,
    /// The group epoch that the targets were computed for.
    pub(super) target_epoch: i32,
    /// When; zero if not known.
    pub(super) target_computed_at: Timestamp,
    pub(super) members: OrdMap<Arc<str>, Arc<Member>>,
    pub(super) targets: OrdMap<Arc<str>, Arc<Assignment>>,
    /// Instance id to member id.
    pub(super) static_members: OrdMap<Arc<str>, Arc<str>>,
    /// Who has which partition, be it for keeps or until it has given it back.
    pub(super) owners: OrdMap<(TopicId, PartitionIndex), Arc<str>>,
    pub(super) regexes: OrdMap<Arc<str>, Arc<ResolvedRegex>>,
    /// Whether a record of an older Kafka stands in the log that is of no use any more.
    pub(super) partition_metadata_stands: bool,
}

/// A member, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: Arc<str>,
    pub(crate) metadata: Arc<MemberMetadata>,
    pub(crate) current: Arc<CurrentAssignment>,
}

impl Default for GroupState {
    fn default() -> Self {
        Self {
            epoch: 1,
            metadata_hash: 0,
            target_epoch: 1,
            target_computed_at: Timestamp::from_millis(0),
            members: OrdMap::new(),
            targets: OrdMap::new(),
            static_members: OrdMap::new(),
            owners: OrdMap::new(),
            regexes: OrdMap::new(),
            partition_metadata_stands: false,
        }
    }
}

impl Member {
    /// Nobody yet.
    pub(super) fn new(id: Arc<str>) -> Self {
        let metadata = MemberMetadata { rebalance_timeout_ms: -1, ..MemberMetadata::default() };
        let current = CurrentAssignment {
            member_epoch: 0,
            previous_member_epoch: -1,
            state: MemberState::Stable,
            assigned: Holdings::new(),
            revoking: Holdings::new(),
        };
        Self { id, metadata: Arc::new(metadata), current: Arc::new(current) }
    }

    pub(crate) fn speaks_classic(&self) -> bool {
        self.metadata.classic.is_some()
    }

    /// How long it may take to give partitions back, or to join and sync.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.metadata.rebalance_timeout_ms).unwrap_or(0))
    }

    /// How long it may be silent, given what members of the consumer protocol may.
    pub(super) fn session_timeout(&self, of_consumers: Duration) -> Duration {
        match &self.metadata.classic {
            Some(classic) => {
                Duration::from_millis(u64::try_from(classic.session_timeout_ms).unwrap_or(0))
            }
            None => of_consumers,
        }
    }

    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.member_epoch == epoch
    }
}

impl GroupState {
    /// Applies a record of this group; tells whether the group is still there.
    ///
    /// Takes whatever a log may hold, compacted in any way: nothing here depends on an order
    /// between records of different keys, save that the last word on a partition counts.
    pub(crate) fn apply(&mut self, record: &ConsumerRecord) -> bool {
        match record {
            ConsumerRecord::Group { value, .. } => {
                let Some(GroupEpoch { epoch, metadata_hash }) = *value else {
                    *self = Self::default();
                    return false;
                };
                self.epoch = epoch;
                self.metadata_hash = metadata_hash;
            }
            ConsumerRecord::PartitionMetadata { stands, .. } => {
                self.partition_metadata_stands = *stands;
            }
            ConsumerRecord::Member { member_id, value, .. } => {
                self.set_metadata(member_id, value.as_ref());
            }
            ConsumerRecord::TargetEpoch { value, .. } => {
                let none = TargetEpoch { epoch: 1, computed_at: Timestamp::from_millis(0) };
                let TargetEpoch { epoch, computed_at } = value.unwrap_or(none);
                self.target_epoch = epoch;
                self.target_computed_at = computed_at;
            }
            ConsumerRecord::TargetMember { member_id, value: Some(target), .. } => {
                self.targets.insert(Arc::clone(member_id), Arc::clone(target));
            }
            ConsumerRecord::TargetMember { member_id, value: None, .. } => {
                self.targets.remove(member_id);
            }
            ConsumerRecord::Current { member_id, value: Some(current), .. } => {
                self.set_current(member_id, Arc::clone(current));
            }
            ConsumerRecord::Current { member_id, value: None, .. } => {
                if self.members.contains_key(member_id) {
                    self.set_current(member_id, Arc::new(CurrentAssignment::gone()));
                }
            }
            ConsumerRecord::Regex { regex, value: Some(resolved), .. } => {
                self.regexes.insert(Arc::clone(regex), Arc::clone(resolved));
            }
            ConsumerRecord::Regex { regex, value: None, .. } => {
                self.regexes.remove(regex);
            }
        }
        true
    }

    fn set_metadata(&mut self, member_id: &Arc<str>, metadata: Option<&Arc<MemberMetadata>>) {
        let before = self.members.get(member_id).cloned();
        if let Some(before) = &before {
            self.forget_instance(before);
        }
        let Some(metadata) = metadata else {
            if let Some(before) = before {
                self.release(&before);
                self.members.remove(member_id);
            }
            return;
        };
        let mut member =
            before.map_or_else(|| Member::new(Arc::clone(member_id)), |member| (*member).clone());
        member.metadata = Arc::clone(metadata);
        if let Some(instance_id) = &metadata.instance_id {
            self.static_members.insert(instance_id.as_str().into(), Arc::clone(member_id));
        }
        self.members.insert(Arc::clone(member_id), Arc::new(member));
    }

    fn set_current(&mut self, member_id: &Arc<str>, current: Arc<CurrentAssignment>) {
        let before = self.members.get(member_id).cloned();
        if let Some(before) = &before {
            self.release(before);
        }
        for at in current.held() {
            self.owners.insert(at, Arc::clone(member_id));
        }
        let mut member =
            before.map_or_else(|| Member::new(Arc::clone(member_id)), |member| (*member).clone());
        member.current = current;
        self.members.insert(Arc::clone(member_id), Arc::new(member));
    }

    /// Takes what the member has out of its hands.
    fn release(&mut self, member: &Member) {
        for at in member.current.held() {
            if self.owners.get(&at) == Some(&member.id) {
                self.owners.remove(&at);
            }
        }
    }

    fn forget_instance(&mut self, member: &Member) {
        if let Some(instance_id) = member.metadata.instance_id.as_deref()
            && self.static_members.get(instance_id) == Some(&member.id)
        {
            self.static_members.remove(instance_id);
        }
    }

    pub(crate) fn member(&self, member_id: &str) -> Option<&Arc<Member>> {
        self.members.get(member_id)
    }

    pub(super) fn static_member(&self, instance_id: &str) -> Option<&Arc<Member>> {
        self.static_members.get(instance_id).and_then(|id| self.members.get(id))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Who has the partition.
    pub(super) fn owner(&self, topic_id: TopicId, partition: PartitionIndex) -> Option<&Arc<str>> {
        self.owners.get(&(topic_id, partition))
    }

    /// What the member shall have; `None` if no target was computed for it yet.
    pub(super) fn target(&self, member_id: &str) -> Option<&Arc<Assignment>> {
        self.targets.get(member_id)
    }

    /// The group's state, as Kafka names it.
    pub(crate) fn name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(|m| m.is_reconciled_to(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// The records that make this state.
    pub(crate) fn records(&self, group_id: &Arc<str>) -> Vec<ConsumerRecord> {
        let group = || Arc::clone(group_id);
        let mut records = Vec::new();
        if self.partition_metadata_stands {
            records.push(ConsumerRecord::PartitionMetadata { group_id: group(), stands: true });
        }
        for member in self.members.values() {
            records.push(ConsumerRecord::Member {
                group_id: group(),
                member_id: Arc::clone(&member.id),
                value: Some(Arc::clone(&member.metadata)),
            });
        }
        for (regex, resolved) in &self.regexes {
            records.push(ConsumerRecord::Regex {
                group_id: group(),
                regex: Arc::clone(regex),
                value: Some(Arc::clone(resolved)),
            });
        }
        let value = GroupEpoch { epoch: self.epoch, metadata_hash: self.metadata_hash };
        records.push(ConsumerRecord::Group { group_id: group(), value: Some(value) });
        for (member_id, target) in &self.targets {
            records.push(ConsumerRecord::TargetMember {
                group_id: group(),
                member_id: Arc::clone(member_id),
                value: Some(Arc::clone(target)),
            });
        }
        let value = TargetEpoch { epoch: self.target_epoch, computed_at: self.target_computed_at };
        records.push(ConsumerRecord::TargetEpoch { group_id: group(), value: Some(value) });
        for member in self.members.values() {
            records.push(ConsumerRecord::Current {
                group_id: group(),
                member_id: Arc::clone(&member.id),
                value: Some(Arc::clone(&member.current)),
            });
        }
        records
    }

    /// The records that remove this group, in Kafka's order.
    pub(crate) fn tombstones(&self, group_id: &Arc<str>) -> Vec<ConsumerRecord> {
        let group = || Arc::clone(group_id);
        let ids = || self.members.keys().map(Arc::clone);
        let current = ids().map(|member_id| ConsumerRecord::Current {
            group_id: group(),
            member_id,
            value: None,
        });
        // Members without a target get a tombstone too, as in Kafka; it does no harm.
        let targets: BTreeSet<Arc<str>> =
            ids().chain(self.targets.keys().map(Arc::clone)).collect();
        let targets = targets.into_iter().map(|member_id| ConsumerRecord::TargetMember {
            group_id: group(),
            member_id,
            value: None,
        });
        let mut records: Vec<_> = current.chain(targets).collect();
        records.push(ConsumerRecord::TargetEpoch { group_id: group(), value: None });
        let members = ids().map(|member_id| ConsumerRecord::Member {
            group_id: group(),
            member_id,
            value: None,
        });
        records.extend(members);
        records.extend(self.regexes.keys().map(|regex| ConsumerRecord::Regex {
            group_id: group(),
            regex: Arc::clone(regex),
            value: None,
        }));
        if self.partition_metadata_stands {
            records.push(ConsumerRecord::PartitionMetadata { group_id: group(), stands: false });
        }
        records.push(ConsumerRecord::Group { group_id: group(), value: None });
        records
    }

    /// Panics unless what must always hold does: G-1 above all.
    pub(crate) fn check_invariants(&self) {
        let mut held = 0;
        for member in self.members.values() {
            for (topic_id, partition) in member.current.held() {
                let owner = self.owner(topic_id, partition);
                assert_eq!(owner, Some(&member.id), "G-1: two have {topic_id}-{partition:?}");
                held += 1;
            }
            let revoking = &member.current.revoking;
            for (topic_id, partitions) in &member.current.assigned {
                let also = revoking.get(topic_id);
                let twice =
                    partitions.keys().any(|p| also.is_some_and(|also| also.contains_key(p)));
                assert!(!twice, "a partition to keep and to give back");
            }
        }
        assert_eq!(held, self.owners.len(), "G-1: a partition in the hands of nobody");
        for (instance_id, member_id) in &self.static_members {
            let member = self.members.get(member_id).expect("static members are members");
            assert_eq!(member.metadata.instance_id.as_deref(), Some(&**instance_id));
        }
        assert!(self.target_epoch <= self.epoch, "a target of the future");
    }
}

impl CurrentAssignment {
    /// Of a member that has left.
    pub(super) fn gone() -> Self {
        Self {
            member_epoch: EPOCH_LEAVE,
            previous_member_epoch: EPOCH_LEAVE,
            state: MemberState::Stable,
            assigned: Holdings::new(),
            revoking: Holdings::new(),
        }
    }

    /// What the member has in its hands.
    pub(super) fn held(&self) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
        self.assigned
            .iter()
            .chain(&self.revoking)
            .flat_map(|(&id, partitions)| partitions.keys().map(move |&p| (id, p)))
    }
}
