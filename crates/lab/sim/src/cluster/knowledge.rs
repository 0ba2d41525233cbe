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
    /// Who leads, and in which epoch.
    leaders: BTreeMap<u32, (Option<u32>, i32)>,
    /// The epoch a broker itself knows.
    epochs: BTreeMap<Place, i32>,
    /// What is to be judged, the oldest first.
    acknowledged: VecDeque<Acknowledged>,
}

impl Knowledge {
    /// The newest image shows this leader, in this epoch.
    pub(super) fn led_by(&mut self, partition: u32, leader: Option<u32>, epoch: i32) {
        let now = Instant::now();
        let (before, epoch_before) =
            self.leaders.insert(partition, (leader, epoch)).unwrap_or((None, epoch));
        if epoch > epoch_before + 1 {
            // Whoever has led before may have led again meanwhile, without being seen to.
            let of_it = self.replaced.iter_mut().filter(|((_, of), _)| *of == partition);
            of_it.for_each(|(_, since)| *since = now);
        }
        if before == leader {
            return;
        }
        if let Some(before) = before {
            self.replaced.insert((before, partition), now);
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
                    "L-1: broker {broker} acknowledged what was sent to partition {partition} \
                     {late:?} after it had been replaced"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn who_acknowledges_long_after_it_was_replaced_is_found_out() {
        let mut known = Knowledge::default();
        known.led_by(0, Some(3), 0);
        known.led_by(0, Some(1), 1);
        advance(SESSION).await;
        known.acknowledged(3, 0, Instant::now());
        advance(SETTLED).await;
        assert_eq!(known.judge(), Ok(()), "it may not have known");
        known.acknowledged(3, 0, Instant::now());
        advance(SETTLED).await;
        assert!(known.judge().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_have_led_again_between_two_looks_is_not_blamed() {
        let mut known = Knowledge::default();
        known.led_by(0, Some(3), 0);
        known.led_by(0, Some(1), 1);
        advance(SESSION * 2).await;
        // In epoch 2 it was 3 again; nobody looked.
        known.led_by(0, None, 3);
        known.acknowledged(3, 0, Instant::now());
        advance(SETTLED).await;
        assert_eq!(known.judge(), Ok(()));
        advance(SESSION).await;
        known.acknowledged(3, 0, Instant::now());
        advance(SETTLED).await;
        assert!(known.judge().is_err(), "it was replaced again, at the latest then");
    }
}
