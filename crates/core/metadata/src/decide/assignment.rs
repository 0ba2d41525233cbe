//! Replicas that a client chose by hand, checked.

use super::Decider;
use crate::command::{Answer, Refusal};
use crate::image::Broker;
use crate::record::PartitionState;
use jocko_types::{BrokerId, ErrorCode, PartitionEpoch, PartitionIndex, Uuid};

fn refuse<T>(message: String) -> Answer<T> {
    Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message))
}

impl Decider<'_> {
    /// Checks the brokers someone chose for a partition. `copies` is how many those before it
    /// have.
    pub(super) fn check_assignment(
        &self,
        brokers: &[BrokerId],
        copies: Option<usize>,
    ) -> Answer<()> {
        if brokers.is_empty() {
            return refuse(
                "The manual partition assignment includes an empty replica list.".to_owned(),
            );
        }
        let mut sorted = brokers.to_vec();
        sorted.sort_unstable();
        let mut previous = None;
        for id in sorted {
            if self.image.broker(id).is_none() {
                return refuse(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is \
                     registered."
                ));
            }
            if previous == Some(id) {
                return refuse(format!(
                    "The manual partition assignment includes the broker {id} more than once."
                ));
            }
            previous = Some(id);
        }
        match copies {
            Some(copies) if copies != brokers.len() => refuse(format!(
                "The manual partition assignment includes a partition with {} replica(s), but \
                 this is not consistent with previous partitions, which have {copies} replica(s).",
                brokers.len()
            )),
            _ => Ok(()),
        }
    }

    /// The first state of a partition on these brokers: those that are live are in sync, if their
    /// disks take writes, and the first of them with a good disk leads. Where no disk is good, those
    /// that are there have to do.
    pub(super) fn first_state(
        &self,
        partition: PartitionIndex,
        replicas: Vec<BrokerId>,
    ) -> Answer<PartitionState> {
        let among = |able: &dyn Fn(&Broker) -> bool| -> Vec<BrokerId> {
            let is_able = |id: &BrokerId| self.image.broker(*id).is_some_and(|it| able(it));
            replicas.iter().copied().filter(is_able).collect()
        };
        let fit = among(&|broker| self.image.is_fit(broker.id()));
        let isr = match fit.is_empty() {
            true => among(&|broker| broker.is_active()),
            false => among(&|broker| broker.is_active() && broker.takes_writes()),
        };
        let Some(&leader) = fit.first().or(isr.first()) else {
            return refuse(format!(
                "All brokers specified in the manual partition assignment for partition \
                 {partition} are fenced or in controlled shutdown."
            ));
        };
        let directory = |id: &BrokerId| {
            self.image.broker(*id).map_or(Uuid::ZERO, |broker| broker.registration.directory)
        };
        Ok(PartitionState {
            directories: replicas.iter().map(directory).collect(),
            replicas,
            isr,
            leader: Some(leader),
            leader_epoch: jocko_types::LeaderEpoch::new(0),
            partition_epoch: PartitionEpoch::new(0),
            ..PartitionState::default()
        })
    }
}
