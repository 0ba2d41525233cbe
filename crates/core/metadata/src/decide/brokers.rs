//! Membership: who is in, who may lead (KIP-631).

use super::Decider;
use crate::command::{Answer, BrokerRegistration, HeartbeatState, Refusal, RegisteredBroker};
use crate::image::{Broker, BrokerState};
use crate::record::{ConfigResource, MetadataRecord, Registration};
use jocko_config::kafka::CORDONED;
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode, Uuid};
use std::sync::Arc;

/// Numbers given out begin here; 0 is legal but looks like "none" in too many tools.
const FIRST_ID: i32 = 1;

/// The longest name, host or rack of a broker, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// The most addresses a broker may have.
const ENDPOINTS_MAX: usize = 64;

/// What a heartbeat asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) fence: bool,
    pub(super) shutdown: bool,
}

fn check_lengths(asked: &BrokerRegistration) -> Answer<()> {
    let endpoints = asked.endpoints.iter().flat_map(|one| [&one.listener, &one.host]);
    let mut texts = endpoints.chain(&asked.rack).chain([&asked.release]);
    if asked.endpoints.len() > ENDPOINTS_MAX || texts.any(|text| text.len() > TEXT_BYTES_MAX) {
        let message = format!(
            "A broker may have {ENDPOINTS_MAX} addresses, and names of {TEXT_BYTES_MAX} bytes."
        );
        return Err(Refusal::new(ErrorCode::InvalidRegistration, message));
    }
    Ok(())
}

/// Whether a disk may have the number that is registered with another.
fn check_takeover(known: &Broker, asked: &BrokerRegistration) -> Answer<()> {
    let id = known.id();
    let message = if asked.is_claimed {
        // It may be silent only for now, and it is the rightful one.
        format!(
            "This disk was broker {id} until it was removed or replaced, and another disk \
             ({}) is broker {id} now: start this one with an empty data directory and without \
             node.id, as a new broker. Or remove broker {id} first, if that other disk will not \
             come back.",
            known.registration.directory
        )
    } else if known.state() == BrokerState::Live {
        format!(
            "Another broker is registered as {id}, with another disk ({}): give this one another \
             node.id, or stop that one first.",
            known.registration.directory
        )
    } else {
        return Ok(());
    };
    Err(Refusal::new(ErrorCode::DuplicateBrokerRegistration, message))
}

impl Decider<'_> {
    /// The broker, if `epoch` is its registration.
    pub(super) fn current_broker(&self, id: BrokerId, epoch: BrokerEpoch) -> Answer<Arc<Broker>> {
        let broker = self.registered(id)?;
        if broker.epoch() != epoch {
            let message =
                format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch());
            return Err(Refusal::new(ErrorCode::StaleBrokerEpoch, message));
        }
        Ok(broker)
    }

    fn registered(&self, id: BrokerId) -> Answer<Arc<Broker>> {
        self.image.broker(id).map(Arc::clone).ok_or_else(|| {
            let message = format!("Broker ID {id} is not currently registered");
            Refusal::new(ErrorCode::BrokerIdNotRegistered, message)
        })
    }

    pub(super) fn register_broker(
        &mut self,
        asked: BrokerRegistration,
    ) -> Answer<RegisteredBroker> {
        self.check_cluster(&asked)?;
        check_lengths(&asked)?;
        let broker_id = match asked.broker_id {
            Some(id) => id,
            None => self.free_id(&asked)?,
        };
        if broker_id.get() < 0 {
            let message = format!("Broker id {broker_id} is negative.");
            return Err(Refusal::new(ErrorCode::InvalidRegistration, message));
        }
        if let Some(known) = self.image.broker(broker_id) {
            let same_disk = known.registration.directory == asked.directory;
            if same_disk && known.registration.incarnation == asked.incarnation {
                let broker_epoch = known.epoch();
                return Ok(RegisteredBroker { broker_id, broker_epoch });
            }
            if !same_disk {
                check_takeover(known, &asked)?;
            }
        }
        self.check_disk(broker_id, &asked)?;
        let last = self.image.last_broker_epoch().get();
        let broker_epoch = BrokerEpoch::new(last.saturating_add(1));
        self.records.push(MetadataRecord::RegisterBroker(Registration {
            broker_id,
            broker_epoch,
            incarnation: asked.incarnation,
            directory: asked.directory,
            endpoints: asked.endpoints,
            rack: asked.rack,
            release: asked.release,
            fenced: true,
        }));
        self.move_away_for_restart(broker_id, asked.directory, asked.kept_page_cache);
        Ok(RegisteredBroker { broker_id, broker_epoch })
    }

    /// One disk is one broker: with two numbers, each would be live and silent as the other is.
    fn check_disk(&self, broker_id: BrokerId, asked: &BrokerRegistration) -> Answer<()> {
        let has_it = |id| self.on_disk(asked.directory).any(|it| it.id() == id);
        let Some(other) = self.on_disk(asked.directory).next().filter(|_| !has_it(broker_id))
        else {
            return Ok(());
        };
        let other = other.id();
        let message = format!(
            "This disk is registered as broker {other}, and cannot be broker {broker_id}: start it \
             with node.id {other}, or remove broker {other} first."
        );
        Err(Refusal::new(ErrorCode::InvalidRegistration, message))
    }

    /// The brokers that are registered with a disk: one, or none.
    fn on_disk(&self, directory: Uuid) -> impl Iterator<Item = &Arc<Broker>> {
        self.image.brokers().filter(move |it| it.registration.directory == directory)
    }

    fn check_cluster(&self, asked: &BrokerRegistration) -> Answer<()> {
        match (self.image.cluster_id(), asked.cluster_id) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                let message = format!("Expected cluster ID {ours}, but got cluster ID {theirs}");
                Err(Refusal::new(ErrorCode::InconsistentClusterId, message))
            }
            _ => Ok(()),
        }
    }

    /// The number the disk has, or one that nobody ever had: the disk of a broker that was removed
    /// still says that it is that one, and its replicas are not a newcomer's. Partitions are asked,
    /// too, as older logs do not tell who was removed.
    fn free_id(&self, asked: &BrokerRegistration) -> Answer<BrokerId> {
        if let Some(known) = self.on_disk(asked.directory).next() {
            return Ok(known.id());
        }
        let registered = self.image.brokers().map(|broker| broker.id());
        let partitions = self.image.topics().flat_map(|topic| topic.partitions.values());
        let replicas = partitions.flat_map(|state| state.replicas.iter().copied());
        let known = registered.chain(replicas).chain(self.image.last_removed_id());
        let Some(largest) = known.map(BrokerId::get).max() else {
            return Ok(BrokerId::new(FIRST_ID));
        };
        let next = largest.checked_add(1).ok_or_else(|| {
            let message =
                format!("There is no number above {largest}: give this broker one with node.id.");
            Refusal::new(ErrorCode::InvalidRegistration, message)
        })?;
        Ok(BrokerId::new(next.max(FIRST_ID)))
    }

    pub(super) fn heartbeat(
        &mut self,
        broker_id: BrokerId,
        broker_epoch: BrokerEpoch,
        wish: Wish,
    ) -> Answer<HeartbeatState> {
        let broker = self.current_broker(broker_id, broker_epoch)?;
        if wish.shutdown {
            return Ok(self.shut_down(&broker));
        }
        // There is no way back from wanting to stop but to start again.
        let want_fence = wish.fence || (broker.is_retiring && broker.registration.fenced);
        match (broker.state(), want_fence) {
            (BrokerState::Fenced, false) => self.unfence(&broker),
            (BrokerState::Live, true) => self.fence_known(&broker),
            (BrokerState::Fenced, true) | (BrokerState::Live, false) => {}
        }
        Ok(HeartbeatState { is_fenced: want_fence, may_shut_down: false })
    }

    /// Controlled shutdown, a step a heartbeat: first others lead what they can, then it leaves the
    /// in-sync sets; then it may go. What only it can lead it leads to the end.
    fn shut_down(&mut self, broker: &Broker) -> HeartbeatState {
        let (broker_id, broker_epoch) = (broker.id(), broker.epoch());
        if broker.state() == BrokerState::Fenced {
            return HeartbeatState { is_fenced: true, may_shut_down: true };
        }
        self.hand_over(broker_id);
        let may_shut_down = self.records.is_empty();
        if may_shut_down {
            self.leave_isrs(broker_id);
        }
        if !broker.is_retiring {
            self.records.insert(0, MetadataRecord::RetireBroker { broker_id, broker_epoch });
        }
        HeartbeatState { is_fenced: false, may_shut_down }
    }

    fn unfence(&mut self, broker: &Broker) {
        let (broker_id, broker_epoch) = (broker.id(), broker.epoch());
        self.records.push(MetadataRecord::UnfenceBroker { broker_id, broker_epoch });
        self.lead_again(broker);
    }

    pub(super) fn fence(
        &mut self,
        broker_id: BrokerId,
        broker_epoch: Option<BrokerEpoch>,
    ) -> Answer<()> {
        let broker = match broker_epoch {
            Some(epoch) => self.current_broker(broker_id, epoch)?,
            None => self.registered(broker_id)?,
        };
        if broker.state() == BrokerState::Live {
            self.fence_known(&broker);
        }
        Ok(())
    }

    fn fence_known(&mut self, broker: &Broker) {
        let (broker_id, broker_epoch) = (broker.id(), broker.epoch());
        self.records.push(MetadataRecord::FenceBroker { broker_id, broker_epoch });
        self.move_away(broker_id);
    }

    pub(super) fn unregister(&mut self, broker_id: BrokerId) -> Answer<()> {
        let broker = self.registered(broker_id)?;
        let broker_epoch = broker.epoch();
        if self.image.last_removed_id() < Some(broker_id) {
            self.records.push(MetadataRecord::BrokerIds { last: broker_id });
        }
        self.records.push(MetadataRecord::UnregisterBroker { broker_id, broker_epoch });
        // Who comes back after all comes to stay.
        if self.image.is_drained(broker_id) {
            let resource = ConfigResource::Broker(broker_id);
            let name = CORDONED.to_owned();
            self.records.push(MetadataRecord::Config { resource, name, value: None });
        }
        self.move_away(broker_id);
        Ok(())
    }
}
