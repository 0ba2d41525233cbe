//! When each broker was heard of last, and whose silence has lasted too long (KIP-631).
//!
//! Not part of the image: it is what one controller has seen. Another begins anew and waits a whole
//! session before it takes anybody's silence for an end.

use crate::command::Command;
use crate::image::{BrokerState, ClusterImage};
use jocko_types::{BrokerEpoch, BrokerId, Now};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the controller has heard.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats {
    heard: BTreeMap<BrokerId, (BrokerEpoch, Now)>,
}

impl Heartbeats {
    /// A heartbeat or a registration of a broker arrived.
    pub fn note(&mut self, broker: BrokerId, broker_epoch: BrokerEpoch, now: Now) {
        let heard = self.heard.entry(broker).or_insert((broker_epoch, now));
        // A delayed word of an older process says nothing about this one.
        if broker_epoch >= heard.0 {
            *heard = (broker_epoch, heard.1.max(now));
        }
    }

    /// How long a broker has been silent. One that was never heard of, or is another process by now,
    /// counts from now on.
    pub fn silence(&mut self, broker: BrokerId, broker_epoch: BrokerEpoch, now: Now) -> Duration {
        let heard = self.heard.entry(broker).or_insert((broker_epoch, now));
        if heard.0 < broker_epoch {
            *heard = (broker_epoch, now);
        }
        now.since(heard.1)
    }

    /// The commands that fence whoever was silent for `session`. A live broker that was never heard
    /// of counts from now on.
    #[must_use]
    pub fn due(&mut self, image: &ClusterImage, now: Now, session: Duration) -> Vec<Command> {
        self.heard.retain(|id, _| image.broker(*id).is_some());
        let mut commands = Vec::new();
        for broker in image.live_brokers() {
            let (broker_id, epoch) = (broker.id(), broker.epoch());
            if self.silence(broker_id, epoch, now) >= session {
                commands.push(Command::FenceBroker { broker_id, broker_epoch: Some(epoch) });
            }
        }
        commands
    }

    /// When [`Heartbeats::due`] may first have something to say; `None` if nobody is live.
    #[must_use]
    pub fn next_deadline(&self, image: &ClusterImage, session: Duration) -> Option<Now> {
        let live = |id: &BrokerId| {
            image.broker(*id).is_some_and(|broker| broker.state() == BrokerState::Live)
        };
        let heard = self.heard.iter().filter(|(id, _)| live(id));
        heard.map(|(_, (_, at))| at.plus(session)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MetadataRecord, Registration};
    use jocko_types::Uuid;

    const SESSION: Duration = Duration::from_secs(3);

    fn at(seconds: u64) -> Now {
        Now::from_start(Duration::from_secs(seconds))
    }

    fn registered(image: &mut ClusterImage, id: i32, epoch: i64) {
        image.apply(&MetadataRecord::RegisterBroker(Registration {
            broker_id: BrokerId::new(id),
            broker_epoch: BrokerEpoch::new(epoch),
            incarnation: Uuid::ZERO,
            directory: Uuid::ZERO,
            endpoints: Vec::new(),
            rack: None,
            release: String::new(),
            fenced: false,
        }));
    }

    #[test]
    fn silence_counts_from_the_first_look_or_the_last_word() {
        let mut image = ClusterImage::default();
        registered(&mut image, 1, 1);
        registered(&mut image, 2, 2);
        let mut heartbeats = Heartbeats::default();
        let fenced = |heartbeats: &mut Heartbeats, image: &ClusterImage, now| {
            let due = heartbeats.due(image, at(now), SESSION);
            due.iter()
                .map(|command| match command {
                    Command::FenceBroker { broker_id, broker_epoch: Some(epoch) } => {
                        (broker_id.get(), epoch.get())
                    }
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(heartbeats.next_deadline(&image, SESSION), None);
        assert_eq!(fenced(&mut heartbeats, &image, 100), []);
        assert_eq!(heartbeats.next_deadline(&image, SESSION), Some(at(103)));
        heartbeats.note(BrokerId::new(1), BrokerEpoch::new(1), at(102));
        assert_eq!(fenced(&mut heartbeats, &image, 103), [(2, 2)]);
        // A new process of the broker has its own time; the old one's word does not prolong it.
        registered(&mut image, 2, 3);
        assert_eq!(fenced(&mut heartbeats, &image, 104), []);
        heartbeats.note(BrokerId::new(2), BrokerEpoch::new(2), at(106));
        assert_eq!(fenced(&mut heartbeats, &image, 107), [(1, 1), (2, 3)]);
    }
}
