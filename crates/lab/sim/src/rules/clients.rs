//! Clients: they write to whom they take for the leader, and read anywhere.

use super::flaw::Flaw;
use super::log::Entry;
use super::world::{TOPIC, World, place_of_id};
use jocko_replica::{Acks, Input, Role, Ticket};
use jocko_types::{Offset, PartitionIndex};

impl World {
    /// A client writes to whom it takes for the leader.
    pub(super) fn produce(&mut self) {
        let partition = i32::try_from(self.dice.below(2)).expect("few");
        let places: Vec<usize> = self.processes().map(|(place, _)| place).collect();
        let Some(asked) = self.dice.pick(&places) else { return };
        let image = &self.brokers[asked - 1].image;
        let state = image
            .topic(TOPIC)
            .and_then(|topic| topic.partitions.get(&PartitionIndex::new(partition)).cloned());
        let Some(leader) = state.and_then(|state| state.leader) else { return };
        let place = place_of_id(leader);
        let acks = if self.dice.per_mille(800) { Acks::All } else { Acks::Leader };
        let Some(Ok(epoch)) =
            self.replica(place, partition).map(|replica| replica.admit_produce(acks))
        else {
            return;
        };
        self.value += 1;
        let entry = Entry { epoch, value: self.value };
        let Some(log) = self.broker(place).logs.get_mut(&partition) else { return };
        let offset = log.end();
        log.append(entry);
        self.oracle.wrote(partition, offset, entry);
        let end = Offset::new(offset).next();
        self.step(place, partition, Input::Appended { end });
        if acks == Acks::All && self.flaw == Some(Flaw::AckTooEarly) {
            self.oracle.acked(partition, offset, entry.value);
        } else if acks == Acks::All {
            let ticket = self.number();
            if let Some(process) = &mut self.broker(place).process {
                process.tickets.insert(ticket, (partition, offset, entry.value));
            }
            let ticket = Ticket(ticket);
            self.step(place, partition, Input::Parked { ticket, offset: end });
        }
    }

    /// A client reads at any replica, and asks a leader where the log ends.
    pub(super) fn read(&mut self) {
        let partition = i32::try_from(self.dice.below(2)).expect("few");
        let places: Vec<usize> = self.processes().map(|(place, _)| place).collect();
        let Some(place) = self.dice.pick(&places) else { return };
        let Some(replica) = self.replica(place, partition) else { return };
        let (epoch, end) = (replica.leader_epoch(), replica.high_watermark().get());
        let is_early = self.flaw == Some(Flaw::NameEndTooEarly) && replica.role() == Role::Leader;
        let names = replica.admit_latest(None).is_ok() || is_early;
        let reads = replica.admit_reader(None).is_ok();
        if reads {
            // What lies below was compared when the high watermark came there.
            self.coverage.reads += 1;
        }
        if names {
            self.oracle.named(partition, epoch, end);
        }
    }
}
