//! In-sync sets, as leaders want them (KIP-497, KIP-841, KIP-903).

use super::replicas::Turn;
use super::{Decider, unknown_topic};
use crate::command::{AlteredPartition, Answer, InSyncReplica, IsrChange, Refusal};
use crate::image::Topic;
use crate::record::{MetadataRecord, PartitionState};
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode};
use std::collections::BTreeSet;

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Answer<T> {
    Err(Refusal::new(code, message))
}

impl Decider<'_> {
    pub(super) fn alter_partition(
        &mut self,
        broker_id: BrokerId,
        broker_epoch: BrokerEpoch,
        changes: &[IsrChange],
    ) -> Answer<Vec<Answer<AlteredPartition>>> {
        self.current_broker(broker_id, broker_epoch)?;
        let mut done = BTreeSet::new();
        let mut answers = Vec::with_capacity(changes.len());
        for change in changes {
            // A second change of one partition knows nothing of the first's outcome.
            answers.push(if done.insert((change.topic_id, change.partition)) {
                self.alter_isr(broker_id, change)
            } else {
                refuse(ErrorCode::InvalidRequest, "The partition was named before.")
            });
        }
        Ok(answers)
    }

    fn alter_isr(&mut self, leader: BrokerId, change: &IsrChange) -> Answer<AlteredPartition> {
        let image = self.image;
        let Some(topic) = image.topic_by_id(change.topic_id) else {
            return refuse(ErrorCode::UnknownTopicId, "This server does not host this topic ID.");
        };
        let before = topic.partitions.get(&change.partition).ok_or_else(unknown_topic)?;
        check_epochs(leader, change, before)?;
        self.check_members(leader, change, before)?;
        let state = self.with_isr(topic, before, &change.isr);
        let altered = AlteredPartition {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: state.isr.clone(),
        };
        let (topic_id, partition) = (change.topic_id, change.partition);
        self.records.push(MetadataRecord::Partition { topic_id, partition, state });
        Ok(altered)
    }

    fn with_isr(
        &self,
        topic: &Topic,
        before: &PartitionState,
        isr: &[InSyncReplica],
    ) -> PartitionState {
        let mut draft = before.clone();
        let is_member = |id: &BrokerId| isr.iter().any(|member| member.broker_id == *id);
        draft.isr = before.replicas.iter().copied().filter(is_member).collect();
        // A wiped disk that has caught up is the replica's disk from now on.
        for (id, directory) in draft.replicas.iter().zip(&mut draft.directories) {
            if draft.isr.contains(id)
                && let Some(broker) = self.image.broker(*id)
            {
                *directory = broker.registration.directory;
            }
        }
        self.settle(topic, before, draft, Turn::default())
    }

    fn check_members(
        &self,
        leader: BrokerId,
        change: &IsrChange,
        before: &PartitionState,
    ) -> Answer<()> {
        let mut seen = BTreeSet::new();
        for member in &change.isr {
            let id = member.broker_id;
            if !before.replicas.contains(&id) || !seen.insert(id) {
                return refuse(
                    ErrorCode::InvalidRequest,
                    format!("Broker {id} keeps no replica, or is named twice."),
                );
            }
        }
        if !seen.contains(&leader) {
            return refuse(ErrorCode::InvalidRequest, "The leader is not in its own ISR.");
        }
        for member in change.isr.iter().filter(|member| member.broker_id != leader) {
            self.check_member(member, before.isr.contains(&member.broker_id))?;
        }
        Ok(())
    }

    /// Whoever joins must be there with a disk that takes writes, must not be about to stop, and must be the process that was found
    /// in sync: one that has started since may hold less.
    fn check_member(&self, member: &InSyncReplica, is_in_sync: bool) -> Answer<()> {
        let id = member.broker_id;
        let ineligible =
            |why: &str| refuse(ErrorCode::IneligibleReplica, format!("Broker {id} {why}."));
        let Some(broker) = self.image.broker(id) else { return ineligible("is not registered") };
        match member.broker_epoch {
            Some(epoch) if epoch != broker.epoch() => {
                return ineligible("has been registered anew since");
            }
            None if !is_in_sync => return ineligible("joins without its registration"),
            Some(_) | None => {}
        }
        if is_in_sync || (broker.is_active() && broker.takes_writes()) {
            Ok(())
        } else if broker.is_active() {
            ineligible("has a disk that takes no writes")
        } else {
            ineligible("is fenced or about to stop")
        }
    }
}

fn check_epochs(leader: BrokerId, change: &IsrChange, before: &PartitionState) -> Answer<()> {
    if change.leader_epoch > before.leader_epoch || change.partition_epoch > before.partition_epoch
    {
        // Whoever asks knows more than this controller: it was replaced, and does not know.
        return refuse(ErrorCode::NotController, "The partition has an older epoch here.");
    }
    if change.leader_epoch < before.leader_epoch {
        return refuse(ErrorCode::FencedLeaderEpoch, "The partition has a newer leader epoch.");
    }
    if before.leader != Some(leader) {
        return refuse(ErrorCode::InvalidRequest, "The broker does not lead the partition.");
    }
    if change.partition_epoch < before.partition_epoch {
        return refuse(ErrorCode::InvalidUpdateVersion, "The partition has changed meanwhile.");
    }
    Ok(())
}
