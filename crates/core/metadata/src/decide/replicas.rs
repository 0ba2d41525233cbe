//! What becomes of partitions when a broker goes and when it comes back.

use super::Decider;
use crate::image::Broker;
use crate::record::{MetadataRecord, PartitionState};
use jocko_types::BrokerId;

impl Decider<'_> {
    /// A broker may no longer lead: others in sync take over, and it leaves their ISR. The last
    /// replica in sync stays in the ISR without leading, since only it has what was committed.
    pub(super) fn move_away(&mut self, gone: BrokerId) {
        self.change_partitions(|decider, state| {
            if let Some(changed) = decider.without(gone, state) {
                return Some(changed);
            }
            if state.leader != Some(gone) {
                return None;
            }
            let mut alone = state.clone();
            alone.leader = None;
            alone.leader_epoch = alone.leader_epoch.next();
            Some(alone)
        });
    }

    /// A broker has started again. As [`Decider::move_away`], but where it is alone it stays the
    /// leader: nobody else could lead, and it gets a new leader epoch when it is unfenced.
    pub(super) fn move_away_for_restart(&mut self, restarted: BrokerId) {
        self.change_partitions(|decider, state| decider.without(restarted, state));
    }

    /// A broker may lead again: it takes what nobody else in sync leads. Each of its partitions
    /// gets a new leader epoch, so that a log that lost its tail in a crash shows it (KIP-101).
    /// A disk that is not the one a replica was on has nothing to lead with.
    pub(super) fn lead_again(&mut self, broker: &Broker) {
        let id = broker.id();
        let directory = broker.registration.directory;
        self.change_partitions(|_, state| {
            let at = state.replicas.iter().position(|replica| *replica == id)?;
            let same_disk = state.directories.get(at) == Some(&directory);
            let may_lead =
                state.isr.contains(&id) && state.leader.is_none_or(|leader| leader == id);
            if !may_lead || !same_disk {
                return None;
            }
            let mut led = state.clone();
            led.leader = Some(id);
            led.leader_epoch = led.leader_epoch.next();
            Some(led)
        });
    }

    /// The state without `gone` in the ISR, led by another if it led; `None` if it was not in it
    /// or nobody else is.
    fn without(&self, gone: BrokerId, state: &PartitionState) -> Option<PartitionState> {
        if !state.isr.contains(&gone) || state.isr.len() == 1 {
            return None;
        }
        let mut changed = state.clone();
        changed.isr.retain(|id| *id != gone);
        if state.leader == Some(gone) {
            let may_lead = |id: &&BrokerId| changed.isr.contains(id) && self.image.is_live(**id);
            changed.leader = changed.replicas.iter().find(may_lead).copied();
            changed.leader_epoch = changed.leader_epoch.next();
        }
        Some(changed)
    }

    /// Records a new state for each partition for which `change` has one.
    fn change_partitions(
        &mut self,
        change: impl Fn(&Self, &PartitionState) -> Option<PartitionState>,
    ) {
        let mut records = Vec::new();
        for topic in self.image.topics() {
            for (partition, state) in &topic.partitions {
                let Some(mut changed) = change(self, state) else { continue };
                changed.partition_epoch = changed.partition_epoch.next();
                let (topic_id, partition) = (topic.id, *partition);
                records.push(MetadataRecord::Partition { topic_id, partition, state: changed });
            }
        }
        self.records.append(&mut records);
    }
}
