//! Choosing leaders because somebody asks for it (KIP-183, KIP-460).

use super::replicas::Turn;
use super::{Decider, RECORDS_PER_REQUEST_MAX, too_large_a_batch};
use crate::command::{Answer, Election, Refusal};
use crate::record::{MetadataRecord, PartitionState};
use jocko_types::{BrokerId, ErrorCode, PartitionIndex, TopicId};
use std::collections::BTreeSet;

impl Decider<'_> {
    pub(super) fn elect_leaders(
        &mut self,
        election: Election,
        partitions: Option<Vec<(String, PartitionIndex)>>,
    ) -> Vec<(String, PartitionIndex, Answer<()>)> {
        let Some(partitions) = partitions else { return self.elect_everywhere(election) };
        let mut done = BTreeSet::new();
        let mut answers = Vec::with_capacity(partitions.len());
        for (name, partition) in partitions {
            // What is asked for twice was done the first time.
            let answer = if done.insert((name.clone(), partition)) {
                self.elect(&name, partition, election)
            } else {
                Err(not_needed())
            };
            answers.push((name, partition, answer));
        }
        answers
    }

    fn elect_everywhere(
        &mut self,
        election: Election,
    ) -> Vec<(String, PartitionIndex, Answer<()>)> {
        let image = self.image;
        let mut answers = Vec::new();
        for topic in image.topics() {
            for (partition, state) in &topic.partitions {
                let answer = self.elect_partition(topic.id, *partition, state, election);
                if !matches!(&answer, Err(refusal) if refusal.code == ErrorCode::ElectionNotNeeded)
                {
                    answers.push((topic.name.to_string(), *partition, answer));
                }
            }
        }
        answers
    }

    fn elect(&mut self, name: &str, partition: PartitionIndex, election: Election) -> Answer<()> {
        let image = self.image;
        let refuse =
            |message: String| Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
        let Some(topic) = image.topic(name) else {
            return refuse(format!("No such topic as {name}"));
        };
        let Some(state) = topic.partitions.get(&partition) else {
            return refuse(format!("No such partition as {name}-{partition}"));
        };
        self.elect_partition(topic.id, partition, state, election)
    }

    fn elect_partition(
        &mut self,
        topic_id: TopicId,
        partition: PartitionIndex,
        state: &PartitionState,
        election: Election,
    ) -> Answer<()> {
        if self.records.len() >= RECORDS_PER_REQUEST_MAX {
            return Err(too_large_a_batch());
        }
        let preferred = state.replicas.first().copied();
        let mut elected = match election {
            Election::Preferred if state.leader == preferred => return Err(not_needed()),
            Election::Unclean if state.leader.is_some() => return Err(not_needed()),
            Election::Preferred => {
                let may_lead = |id: &BrokerId| {
                    let turn = Turn::default();
                    let is_able = self.may_lead(*id, state, turn) && self.has_good_disk(*id, turn);
                    state.isr.contains(id) && is_able && !self.image.is_drained(*id)
                };
                let leader = preferred.filter(may_lead).ok_or_else(|| {
                    let message = "The preferred leader is not in sync, not there, or to go.";
                    Refusal::new(ErrorCode::PreferredLeaderNotAvailable, message)
                })?;
                PartitionState { leader: Some(leader), ..state.clone() }
            }
            Election::Unclean => self.unclean(state)?,
        };
        elected.leader_epoch = elected.leader_epoch.next();
        elected.partition_epoch = elected.partition_epoch.next();
        self.records.push(MetadataRecord::Partition { topic_id, partition, state: elected });
        Ok(())
    }

    /// The partition led by the first live replica: one in sync if there is one, else one that
    /// held all that was committed, else any that still has its disk, else any.
    fn unclean(&self, state: &PartitionState) -> Answer<PartitionState> {
        let first = |able: &dyn Fn(BrokerId) -> bool| {
            let live = |id: &BrokerId| self.image.is_live(*id);
            state.replicas.iter().copied().filter(live).find(|id| able(*id))
        };
        let has_disk = |id| self.has_disk_of(id, state);
        let in_sync = first(&|id| state.isr.contains(&id) && has_disk(id));
        let found = in_sync
            .or_else(|| first(&|id| state.elr.contains(&id) && has_disk(id)))
            .or_else(|| first(&has_disk))
            .or_else(|| first(&|_| true));
        let Some(leader) = found else {
            let message = "No replica of the partition is there.";
            return Err(Refusal::new(ErrorCode::EligibleLeadersNotAvailable, message));
        };
        let mut led = PartitionState { leader: Some(leader), ..state.clone() };
        if in_sync.is_none() {
            led.isr = vec![leader];
            led.elr = Vec::new();
            let disks = led.replicas.iter().zip(&mut led.directories);
            for (_, directory) in disks.filter(|(id, _)| **id == leader) {
                if let Some(broker) = self.image.broker(leader) {
                    *directory = broker.registration.directory;
                }
            }
        }
        Ok(led)
    }
}

fn not_needed() -> Refusal {
    Refusal::new(ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition.")
}
