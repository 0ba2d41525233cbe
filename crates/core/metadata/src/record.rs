//! Metadata records: the facts that the Raft log carries, one variant each.

use jocko_types::{
    BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerId, Timestamp,
    TopicId, TopicName, Uuid,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One change of the cluster's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataRecord {
    /// The cluster's identity, and the counter of broker registrations.
    Cluster {
        /// The cluster's id; zero until the cluster is formed.
        cluster_id: Uuid,
        /// When it was formed.
        created: Timestamp,
        /// The largest broker epoch ever given out.
        last_broker_epoch: BrokerEpoch,
    },
    /// A feature is at this level; 0 removes it.
    FeatureLevel {
        /// The feature's name.
        name: String,
        /// The level in force.
        level: i16,
    },
    /// A broker joined, or came back after a restart.
    RegisterBroker(Registration),
    /// A broker may no longer lead.
    FenceBroker {
        /// The broker.
        broker_id: BrokerId,
        /// Its registration; another one is left alone.
        broker_epoch: BrokerEpoch,
    },
    /// A broker may lead.
    UnfenceBroker {
        /// The broker.
        broker_id: BrokerId,
        /// Its registration; another one is left alone.
        broker_epoch: BrokerEpoch,
    },
    /// A broker is about to stop: it leads until somebody else can, and gets nothing new (KIP-841).
    RetireBroker {
        /// The broker.
        broker_id: BrokerId,
        /// Its registration; another one is left alone.
        broker_epoch: BrokerEpoch,
    },
    /// How a broker's disk is.
    BrokerDisk {
        /// The broker.
        broker_id: BrokerId,
        /// Its registration; another one is left alone.
        broker_epoch: BrokerEpoch,
        /// What is wrong with it; `None` for nothing (any more).
        trouble: Option<DiskTrouble>,
    },
    /// A broker is no longer a member.
    UnregisterBroker {
        /// The broker.
        broker_id: BrokerId,
        /// Its registration; another one is left alone.
        broker_epoch: BrokerEpoch,
    },
    /// A topic exists.
    Topic {
        /// Its id.
        topic_id: TopicId,
        /// Its name.
        name: TopicName,
        /// How many copies its creator asked for.
        replication: Replication,
    },
    /// A partition exists, in this state.
    Partition {
        /// Its topic.
        topic_id: TopicId,
        /// Its number.
        partition: PartitionIndex,
        /// Its state.
        state: PartitionState,
    },
    /// A topic is gone, with its partitions and configs.
    RemoveTopic {
        /// The topic.
        topic_id: TopicId,
    },
    /// A config is set or removed.
    Config {
        /// On what.
        resource: ConfigResource,
        /// Its name.
        name: String,
        /// Its value; `None` removes it.
        value: Option<String>,
    },
    /// Brokers were removed. Whoever asks for any number gets a larger one than they had.
    BrokerIds {
        /// The largest number of one.
        last: BrokerId,
    },
    /// Producer ids below this one have been given out.
    ProducerIds {
        /// The first that has not.
        next: ProducerId,
    },
}

/// How many copies of each partition a topic's creator asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replication {
    /// As many as jocko finds right; the number grows with the cluster.
    Auto,
    /// So many, at least 1.
    Fixed(i16),
}

/// What a broker says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its number.
    pub broker_id: BrokerId,
    /// The number of this registration, larger than any before.
    pub broker_epoch: BrokerEpoch,
    /// Drawn at each start of its process.
    pub incarnation: Uuid,
    /// The identity of its disk: a wiped disk is another.
    pub directory: Uuid,
    /// Where it can be reached.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands.
    pub rack: Option<String>,
    /// Its release of jocko.
    pub release: String,
    /// Whether it must not lead yet.
    pub fenced: bool,
}

/// What is wrong with a broker's disk. While it lasts others lead in its place where they can, and
/// it gets no new copies (Kafka tells the like by `OfflineLogDirs`, KIP-858).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskTrouble {
    /// Which kind of trouble it is: all that decisions depend on.
    pub kind: DiskTroubleKind,
    /// The same for people, in a line.
    pub words: String,
}

/// A kind of trouble with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskTroubleKind {
    /// So little space is left that producers are refused. What others lead can still be copied.
    Short,
    /// A write found no room.
    Full,
    /// What is written takes seconds to be durable, or does not become so.
    Slow,
    /// It reported an error: what was not durable may be lost, and nothing is written to the logs
    /// concerned until the process has started again.
    Failed,
}

impl DiskTroubleKind {
    /// Whether a copy on it can still be kept in sync, if perhaps slowly.
    #[must_use]
    pub fn takes_writes(self) -> bool {
        matches!(self, Self::Short | Self::Slow)
    }

    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Full => "full",
            Self::Slow => "slow",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for DiskTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk {}: {}", self.kind.name(), self.words)
    }
}

/// An address of a broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The listener it belongs to: `PLAINTEXT` for Kafka clients, `CLUSTER` for peers.
    pub listener: String,
    /// A host name or address.
    pub host: String,
    /// A port.
    pub port: u16,
}

/// The state of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionState {
    /// The brokers that keep a copy, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// Replicas out of sync that still hold all that is committed (KIP-966).
    pub elr: Vec<BrokerId>,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Grows by one with each leader.
    pub leader_epoch: LeaderEpoch,
    /// Grows by one with each change of this state.
    pub partition_epoch: PartitionEpoch,
    /// The disk of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// Replicas that a reassignment adds (KIP-455); all are among `replicas`.
    pub adding: Vec<BrokerId>,
    /// Replicas that it takes away once those it adds are in sync; all are among `replicas`.
    pub removing: Vec<BrokerId>,
}

impl PartitionState {
    /// The disk a replica is on; `None` if the broker keeps none.
    #[must_use]
    pub fn directory(&self, broker: BrokerId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|id| *id == broker)?;
        self.directories.get(at).copied()
    }

    /// Whether a replica is out of sync, other than those that a reassignment adds: they are only
    /// on their way.
    #[must_use]
    pub fn is_under_replicated(&self) -> bool {
        self.replicas.iter().any(|id| !self.isr.contains(id) && !self.adding.contains(id))
    }

    /// Whether its replicas are being moved.
    #[must_use]
    pub fn is_reassigned(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }
}

/// What a config is set on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConfigResource {
    /// A topic.
    Topic(TopicName),
    /// One broker.
    Broker(BrokerId),
    /// All brokers.
    Cluster,
    /// A group, by its id, whether it exists or not.
    Group(String),
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::Cluster => f.write_str("all brokers"),
            Self::Group(id) => write!(f, "group {id}"),
        }
    }
}
