//! Moving replicas (KIP-455, KIP-860), and raising what is replicated automatically.

use super::replicas::{Turn, keep_replicas};
use super::topics::COPIES_AUTO_MAX;
use super::{Decider, RECORDS_PER_REQUEST_MAX, too_large_a_batch};
use crate::command::{Answer, RaisedReplication, Reassignment, Refusal};
use crate::image::Topic;
use crate::record::{MetadataRecord, PartitionState, Replication};
use jocko_types::{BrokerId, ErrorCode, PartitionIndex, Uuid};
use std::collections::{BTreeMap, BTreeSet};

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Answer<T> {
    Err(Refusal::new(code, message))
}

impl Decider<'_> {
    pub(super) fn alter_reassignments(
        &mut self,
        asked: Vec<Reassignment>,
        may_resize: bool,
    ) -> Vec<(String, PartitionIndex, Answer<()>)> {
        let mut done = BTreeSet::new();
        let mut answers = Vec::with_capacity(asked.len());
        for Reassignment { topic, partition, replicas } in asked {
            let answer = if done.insert((topic.clone(), partition)) {
                self.reassign(&topic, partition, replicas.as_deref(), may_resize)
            } else {
                refuse(ErrorCode::InvalidRequest, "The partition was named before.")
            };
            answers.push((topic, partition, answer));
        }
        answers
    }

    fn reassign(
        &mut self,
        name: &str,
        partition: PartitionIndex,
        target: Option<&[BrokerId]>,
        may_resize: bool,
    ) -> Answer<()> {
        let image = self.image;
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let Some(topic) = image.topic(name) else {
            return refuse(unknown, format!("Unable to find a topic named {name}."));
        };
        let Some(before) = topic.partitions.get(&partition) else {
            return refuse(unknown, format!("Unable to find partition {name}:{partition}."));
        };
        if self.records.len() >= RECORDS_PER_REQUEST_MAX {
            return Err(too_large_a_batch());
        }
        let draft = match target {
            Some(target) => self.redirect(before, target, may_resize)?,
            None if before.is_reassigned() => reverted(before),
            None => {
                return refuse(
                    ErrorCode::NoReassignmentInProgress,
                    "No reassignment is in progress for this partition.",
                );
            }
        };
        if draft == **before {
            return Ok(());
        }
        if draft.isr.is_empty() && !before.isr.is_empty() {
            return refuse(
                ErrorCode::InvalidReplicaAssignment,
                format!(
                    "Unable to revert partition assignment for {name}:{partition} because it would \
                     require an unclean leader election."
                ),
            );
        }
        let state = self.settle(topic, before, draft, Turn::default());
        self.records.push(MetadataRecord::Partition { topic_id: topic.id, partition, state });
        Ok(())
    }

    /// The state on its way to these brokers, from wherever it was on its way to.
    fn redirect(
        &self,
        before: &PartitionState,
        target: &[BrokerId],
        may_resize: bool,
    ) -> Answer<PartitionState> {
        self.check_assignment(target, None)?;
        let origin = reverted(before);
        if !may_resize && target.len() != origin.replicas.len() {
            return refuse(
                ErrorCode::InvalidReplicationFactor,
                format!(
                    "The replication factor is changed from {} to {}",
                    origin.replicas.len(),
                    target.len()
                ),
            );
        }
        Ok(self.towards(before, &origin, target))
    }

    /// `before` with the target's brokers, in its order, and those that go once the others are in
    /// sync. Nothing is taken from the target that has come already.
    fn towards(
        &self,
        before: &PartitionState,
        origin: &PartitionState,
        target: &[BrokerId],
    ) -> PartitionState {
        let not_in = |list: &[BrokerId], from: &[BrokerId]| -> Vec<BrokerId> {
            from.iter().copied().filter(|id| !list.contains(id)).collect()
        };
        let adding = not_in(&origin.replicas, target);
        let removing = not_in(target, &origin.replicas);
        let mut state = before.clone();
        keep_replicas(&mut state, |id| target.contains(&id) || origin.replicas.contains(&id));
        let directories: BTreeMap<BrokerId, Uuid> =
            state.replicas.iter().copied().zip(state.directories.iter().copied()).collect();
        state.replicas = target.iter().chain(&removing).copied().collect();
        let directory = |id: &BrokerId| {
            let known = directories.get(id).copied();
            known.unwrap_or_else(|| {
                self.image.broker(*id).map_or(Uuid::ZERO, |broker| broker.registration.directory)
            })
        };
        state.directories = state.replicas.iter().map(directory).collect();
        state.adding = adding;
        state.removing = removing;
        state
    }

    /// Gives partitions of `auto` topics another replica where there are brokers for it, at most
    /// `partitions_max` of them: each costs a copy of the whole partition.
    pub(super) fn raise_replication(&mut self, partitions_max: u32) -> Answer<RaisedReplication> {
        let image = self.image;
        let wanted = image.fit_brokers().count().min(COPIES_AUTO_MAX);
        let mut load = self.replicas_by_broker();
        let mut raised = RaisedReplication { partitions: 0, is_more: false };
        for topic in image.topics().filter(|topic| topic.replication == Replication::Auto) {
            for (partition, before) in &topic.partitions {
                if before.replicas.len().saturating_sub(before.removing.len()) >= wanted {
                    continue;
                }
                let is_full = raised.partitions >= partitions_max
                    || self.records.len() >= RECORDS_PER_REQUEST_MAX;
                if is_full || before.is_reassigned() {
                    raised.is_more = true;
                    continue;
                }
                self.raise(topic, *partition, before, wanted, &mut load);
                raised.partitions = raised.partitions.saturating_add(1);
            }
        }
        Ok(raised)
    }

    fn raise(
        &mut self,
        topic: &Topic,
        partition: PartitionIndex,
        before: &PartitionState,
        wanted: usize,
        load: &mut BTreeMap<BrokerId, u64>,
    ) {
        let mut target = before.replicas.clone();
        while target.len() < wanted {
            let Some(chosen) = self.next_replica(&target, load) else { break };
            *load.entry(chosen).or_default() += 1;
            target.push(chosen);
        }
        let draft = self.towards(before, before, &target);
        let state = self.settle(topic, before, draft, Turn::default());
        self.records.push(MetadataRecord::Partition { topic_id: topic.id, partition, state });
    }

    /// The broker to keep one more copy: in a rack that has none if possible, then with the fewest.
    fn next_replica(
        &self,
        chosen: &[BrokerId],
        load: &BTreeMap<BrokerId, u64>,
    ) -> Option<BrokerId> {
        let rack = |id: &BrokerId| self.image.broker(*id).map(|b| b.registration.rack.clone());
        let racks: Vec<_> = chosen.iter().map(rack).collect();
        let cost = |id: &BrokerId| {
            let is_new_rack = !racks.contains(&rack(id));
            (!is_new_rack, load.get(id).copied().unwrap_or(0), *id)
        };
        let others = self.image.fit_brokers().map(|broker| broker.id());
        others.filter(|id| !chosen.contains(id)).min_by_key(cost)
    }

    fn replicas_by_broker(&self) -> BTreeMap<BrokerId, u64> {
        let mut load = BTreeMap::new();
        for topic in self.image.topics() {
            for id in topic.partitions.values().flat_map(|state| &state.replicas) {
                *load.entry(*id).or_default() += 1;
            }
        }
        load
    }
}

/// The state as it was before a reassignment began, but for who is in sync since.
fn reverted(before: &PartitionState) -> PartitionState {
    let mut state = before.clone();
    let adding = std::mem::take(&mut state.adding);
    state.removing.clear();
    keep_replicas(&mut state, |id| !adding.contains(&id));
    state
}
