//! What only the inside of brokers shows, for clients to judge what they are told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// For how long a broker that was replaced may not know it: a session of the cluster's membership.
const SESSION: Duration = Duration::from_millis(1_500);
/// Brokers are looked at from inside only so often, and a request takes its time.
const SLACK: Duration = Duration::from_millis(100);

/// After this time every election shows, even one that only a broker knew which is gone.
const SETTLED: Duration = Duration::from_secs(1);

/// A broker and a partition of the topic of every run.
type Place = (u32, u32);

/// Something that a leader alone acknowledged.
#[derive(Debug)]
struct Acknowledged {
    place: Place,
    sent: Instant,
    at: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// Since when somebody else leads, or nobody, where a broker has led.
    replaced: BTreeMap<Place, Instant>,
    leaders: BTreeMap<u32, Option<u32>>,
    /// The epoch a broker itself knows.
    epochs: BTreeMap<Place, i32>,
    /// What is to be judged, the oldest first.
    acknowledged: VecDeque<Acknowledged>,
}

impl Knowledge {
    /// The newest image shows this leader.
    pub(super) fn led_by(&mut self, partition: u32, leader: Option<u32>) {
        let before = self.leaders.insert(partition, leader).flatten();
        if before == leader {
            return;
        }
        if let Some(before) = before {
            self.replaced.insert((before, partition), Instant::now());
        }
        if let Some(leader) = leader {
            self.replaced.remove(&(leader, partition));
        }
    }

    /// A broker knows of this epoch.
    pub(super) fn knows(&mut self, broker: u32, partition: u32, epoch: i32) {
        self.epochs.insert((broker, partition), epoch);
    }

    /// Its process is gone.
    pub(super) fn forget(&mut self, broker: u32) {
        self.epochs.retain(|(of, _), _| *of != broker);
    }

    /// The epoch that a broker knew when it was last looked at.
    pub(super) fn epoch(&self, broker: u32, partition: u32) -> Option<i32> {
        self.epochs.get(&(broker, partition)).copied()
    }

    /// A broker has just acknowledged, by itself, what it was sent then.
    pub(super) fn acknowledged(&mut self, broker: u32, partition: u32, sent: Instant) {
        let (place, at) = ((broker, partition), Instant::now());
        self.acknowledged.push_back(Acknowledged { place, sent, at });
    }

    /// Judges what was acknowledged long enough ago.
    ///
    /// # Errors
    /// A broker acknowledged what it was sent when it had been replaced for longer than it may not
    /// have known.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        let is_due = |it: &mut Acknowledged| it.at.elapsed() >= SETTLED;
        while let Some(one) = self.acknowledged.pop_front_if(is_due) {
            let (broker, partition) = one.place;
            let Some(since) = self.replaced.get(&one.place) else { continue };
            let late = one.sent.saturating_duration_since(*since);
            if late > SESSION + SLACK {
                return Err(format!(
                    "C-1: broker {broker} acknowledged what was sent to partition {partition} \
                     {late:?} after it had been replaced"
                ));
            }
        }
        Ok(())
    }
}
