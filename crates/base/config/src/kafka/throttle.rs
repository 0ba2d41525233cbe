//! What Kafka's configs say of replicas whose copying is held back while partitions move (KIP-73).

use super::broker::broker_value;
use super::rule::list_items;
use super::{BrokerLayers, ConfigMap};
use jocko_types::{BrokerId, PartitionIndex};

/// One of the two ends of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottledEnd {
    /// The leader, which hands records out.
    Leader,
    /// The follower, which asks for them.
    Follower,
}

impl ThrottledEnd {
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Leader => {
                ("leader.replication.throttled.rate", "leader.replication.throttled.replicas")
            }
            Self::Follower => {
                ("follower.replication.throttled.rate", "follower.replication.throttled.replicas")
            }
        }
    }

    /// Bytes a second that a broker may copy of what is throttled at this end; `None`: no limit.
    #[must_use]
    pub fn rate(self, layers: &BrokerLayers<'_>) -> Option<u64> {
        let (value, _) = broker_value(self.names().0, layers)?;
        let rate = value.parse().ok()?;
        (rate != i64::MAX.unsigned_abs()).then_some(rate)
    }

    /// Which partitions of a topic with these configs are throttled at this end on `broker`.
    #[must_use]
    pub fn replicas(self, topic: &ConfigMap, broker: BrokerId) -> ThrottledReplicas {
        let Some(value) = topic.get(self.names().1) else { return ThrottledReplicas::none() };
        let mut replicas = ThrottledReplicas::none();
        for item in list_items(value) {
            match item.split_once(':') {
                None => replicas.all |= item == "*",
                Some((partition, at)) if at.parse() == Ok(broker.get()) => {
                    replicas.partitions.extend(partition.parse::<i32>().ok());
                }
                Some(_) => {}
            }
        }
        replicas
    }
}

/// Partitions of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThrottledReplicas {
    all: bool,
    partitions: Vec<i32>,
}

impl ThrottledReplicas {
    const fn none() -> Self {
        Self { all: false, partitions: Vec::new() }
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn holds(&self, partition: PartitionIndex) -> bool {
        self.all || self.partitions.contains(&partition.get())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.partitions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoadedSettings;

    #[test]
    fn replicas_are_named_by_partition_and_broker() {
        let end = ThrottledEnd::Follower;
        for (value, held) in [
            ("*", vec![0, 1, 2]),
            ("", vec![]),
            ("0:7,2:7,1:8", vec![0, 2]),
            ("1:8", vec![]),
            ("7:7", vec![]),
        ] {
            let configs =
                [("follower.replication.throttled.replicas".to_owned(), value.to_owned())];
            let replicas = end.replicas(&configs.into(), BrokerId::new(7));
            let found: Vec<i32> =
                (0..3).filter(|index| replicas.holds(PartitionIndex::new(*index))).collect();
            assert_eq!(found, held, "{value}");
            assert_eq!(replicas.is_empty(), held.is_empty() && value != "7:7", "{value}");
        }
        assert!(end.replicas(&ConfigMap::new(), BrokerId::new(7)).is_empty());
    }

    #[test]
    fn a_rate_is_a_brokers_own_or_that_of_all() {
        let settings = LoadedSettings::default();
        let set = |end: ThrottledEnd, value: &str| -> ConfigMap {
            [(end.names().0.to_owned(), value.to_owned())].into()
        };
        let (own, all) = (set(ThrottledEnd::Leader, "5"), set(ThrottledEnd::Leader, "9"));
        let none = ConfigMap::new();
        let rate = |end: ThrottledEnd, broker, cluster| {
            end.rate(&BrokerLayers { broker, cluster, settings: &settings })
        };
        assert_eq!(rate(ThrottledEnd::Leader, &none, &none), None);
        assert_eq!(rate(ThrottledEnd::Leader, &own, &all), Some(5));
        assert_eq!(rate(ThrottledEnd::Leader, &none, &all), Some(9));
        assert_eq!(rate(ThrottledEnd::Follower, &own, &all), None);
    }
}
