//! Holding back what is copied of replicas that are not in sync, as `kafka-reassign-partitions.sh
//! --throttle` wants it (KIP-73): so many bytes a second for all that this broker hands out, and for
//! all that it fetches. What is in sync is never held back, but counts.

use crate::governing::layers;
use crate::published::Published;
use arc_swap::ArcSwap;
use jocko_config::LoadedSettings;
use jocko_config::kafka::ThrottledEnd;
use jocko_partition::Throttle;
use jocko_types::{BrokerId, Now, TopicIdPartition};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a follower lets a partition rest whose rate is used up.
pub(super) const REST: Duration = Duration::from_millis(100);

/// What is held back at one end.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Which partitions; none where there is no rate.
    partitions: ArcSwap<BTreeSet<TopicIdPartition>>,
    throttle: Mutex<Option<Throttle>>,
}

/// Both ends.
#[derive(Debug, Default)]
pub(crate) struct Throttles {
    pub(super) leader: End,
    pub(super) follower: End,
}

impl Throttles {
    /// Takes over what the image says.
    pub(super) fn update(
        &self,
        published: &Published,
        settings: &LoadedSettings,
        own: BrokerId,
        now: Now,
    ) {
        let ends = [(&self.leader, ThrottledEnd::Leader), (&self.follower, ThrottledEnd::Follower)];
        for (end, which) in ends {
            let rate = which.rate(&layers(&published.image, own, settings));
            let partitions =
                if rate.is_some() { throttled(published, which, own) } else { BTreeSet::new() };
            end.update(rate, partitions, now);
        }
    }
}

/// The partitions whose topics say that they are throttled here.
fn throttled(
    published: &Published,
    which: ThrottledEnd,
    own: BrokerId,
) -> BTreeSet<TopicIdPartition> {
    let mut partitions = BTreeSet::new();
    for topic in published.image.topics() {
        let replicas = which.replicas(published.image.topic_configs(&topic.name), own);
        if replicas.is_empty() {
            continue;
        }
        let named = topic.partitions.keys().filter(|partition| replicas.holds(**partition));
        partitions.extend(
            named.map(|partition| TopicIdPartition { topic_id: topic.id, partition: *partition }),
        );
    }
    partitions
}

impl End {
    fn update(&self, rate: Option<u64>, partitions: BTreeSet<TopicIdPartition>, now: Now) {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        match (rate, throttle.as_mut()) {
            (None, _) => *throttle = None,
            (Some(rate), Some(known)) if known.bytes_per_second() != rate => known.set(rate, now),
            (Some(_), Some(_)) => {}
            (Some(rate), None) => *throttle = Some(Throttle::new(rate, now)),
        }
        if **self.partitions.load() != partitions {
            self.partitions.store(Arc::new(partitions));
        }
    }

    /// Whether a partition is throttled at this end. Cheap where none is.
    pub(super) fn holds(&self, key: &TopicIdPartition) -> bool {
        let partitions = self.partitions.load();
        !partitions.is_empty() && partitions.contains(key)
    }

    /// Bytes that may be copied now.
    pub(super) fn allowance(&self, now: Now) -> usize {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.as_mut().map_or(usize::MAX, |throttle| throttle.allowance(now))
    }

    /// Takes note of what was copied of partitions that are throttled.
    pub(super) fn record(&self, bytes: usize, now: Now) {
        if bytes > 0
            && let Some(throttle) =
                self.throttle.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            throttle.record(bytes, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_metadata::{ConfigResource, MetadataRecord, PartitionState, Replication};
    use jocko_types::{PartitionIndex, TopicId, TopicName};

    const TOPIC: TopicId = TopicId::from_bytes([4; 16]);
    const OWN: BrokerId = BrokerId::new(2);

    fn key(partition: i32) -> TopicIdPartition {
        TopicIdPartition { topic_id: TOPIC, partition: PartitionIndex::new(partition) }
    }

    fn set(resource: ConfigResource, name: &str, value: &str) -> MetadataRecord {
        MetadataRecord::Config { resource, name: name.to_owned(), value: Some(value.to_owned()) }
    }

    #[test]
    fn what_is_throttled_follows_the_image() {
        let name = TopicName::new("t").unwrap();
        let mut published = Published::default();
        let partition = |index| MetadataRecord::Partition {
            topic_id: TOPIC,
            partition: PartitionIndex::new(index),
            state: PartitionState::default(),
        };
        let topic = MetadataRecord::Topic {
            topic_id: TOPIC,
            name: name.clone(),
            replication: Replication::Fixed(1),
        };
        published.image.apply_all(&[topic, partition(0), partition(1)]);
        let settings = LoadedSettings::default();
        let throttles = Throttles::default();
        let now = Now::default();
        let of_topic = ConfigResource::Topic(name);
        let of_broker = ConfigResource::Broker(OWN);
        published.image.apply(&set(of_topic, "leader.replication.throttled.replicas", "0:2,1:7"));
        throttles.update(&published, &settings, OWN, now);
        assert!(!throttles.leader.holds(&key(0)), "there is no rate");
        assert_eq!(throttles.leader.allowance(now), usize::MAX);
        published.image.apply(&set(of_broker, "leader.replication.throttled.rate", "100"));
        throttles.update(&published, &settings, OWN, now);
        assert!(throttles.leader.holds(&key(0)) && !throttles.follower.holds(&key(0)));
        assert!(!throttles.leader.holds(&key(1)), "it is throttled elsewhere");
        throttles.leader.record(60, now);
        assert_eq!(throttles.leader.allowance(now), 40);
        // Nothing else changes for another image.
        throttles.update(&published, &settings, OWN, now);
        assert_eq!(throttles.leader.allowance(now), 40);
    }
}
