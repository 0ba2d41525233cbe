//! What can be asked of the controller, and what it answers.

use crate::record::{ConfigResource, DiskTrouble, Endpoint, MetadataRecord};
use jocko_config::LoadedSettings;
use jocko_config::kafka::ConfigMap;
use jocko_types::{
    BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerId,
    Timestamp, TopicId, TopicIdPartition, TopicName, Uuid,
};
use serde::{Deserialize, Serialize};

/// What a decision may depend on beside the image and the command.
#[derive(Debug, Clone, Copy)]
pub struct DecideContext<'a> {
    /// The wall clock.
    pub now: Timestamp,
    /// A fresh seed for each decision: topic ids and placement come from it.
    pub seed: [u64; 4],
    /// The settings of the broker that decides.
    pub settings: &'a LoadedSettings,
}

/// Something to be decided. Its JSON form travels between brokers of neighbouring releases: unknown
/// fields are passed over, and a field that is added must have a default (`#[serde(default)]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Create topics, each for itself.
    CreateTopics {
        /// The topics.
        topics: Vec<NewTopic>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// Delete topics, each for itself.
    DeleteTopics {
        /// The topics.
        topics: Vec<TopicRef>,
    },
    /// Give topics more partitions, each for itself.
    CreatePartitions {
        /// The topics.
        topics: Vec<NewPartitions>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// Change configs, resource by resource (KIP-339).
    AlterConfigs {
        /// The resources, with their changes.
        resources: Vec<ConfigChange>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// Choose leaders anew (KIP-183, KIP-460).
    ElectLeaders {
        /// How.
        election: Election,
        /// The partitions; `None` is all there are.
        partitions: Option<Vec<(String, PartitionIndex)>>,
    },
    /// Change the levels of features, all of them or none (KIP-584, KIP-778).
    UpdateFeatures {
        /// The features.
        updates: Vec<FeatureUpdate>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// Hand out a block of producer ids (KIP-730).
    AllocateProducerIds {
        /// The broker that asks.
        broker_id: BrokerId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
    },
    /// Let a broker in, or back in after a restart.
    RegisterBroker(BrokerRegistration),
    /// A broker is there, and wants to be in this state.
    BrokerHeartbeat {
        /// The broker.
        broker_id: BrokerId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// Whether it wants to lead nothing: it is starting.
        want_fence: bool,
        /// Whether it wants to stop. It asks again until it is told that it may.
        #[serde(default)]
        want_shutdown: bool,
    },
    /// A broker's disk is in trouble, or not any more: others lead what they can meanwhile.
    ReportDisk {
        /// The broker.
        broker_id: BrokerId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// What is wrong; `None` for nothing.
        trouble: Option<DiskTrouble>,
    },
    /// A broker's copies of these partitions are damaged: others are to lead them, and it fetches them
    /// anew. Each for itself.
    GiveUpCopies {
        /// The broker.
        broker_id: BrokerId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// The partitions.
        copies: Vec<TopicIdPartition>,
    },
    /// A broker has not been heard of.
    FenceBroker {
        /// The broker.
        broker_id: BrokerId,
        /// The registration that was not; a newer one is left alone. `None` means any.
        #[serde(default)]
        broker_epoch: Option<BrokerEpoch>,
    },
    /// A broker is not coming back.
    UnregisterBroker {
        /// The broker.
        broker_id: BrokerId,
    },
    /// A leader wants other in-sync sets (KIP-497), each for itself.
    AlterPartition {
        /// The leader.
        broker_id: BrokerId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// The partitions.
        partitions: Vec<IsrChange>,
    },
    /// Move replicas, or stop moving them (KIP-455), each partition for itself.
    AlterPartitionReassignments {
        /// The partitions.
        partitions: Vec<Reassignment>,
        /// Whether a partition may get more or fewer replicas than it has (KIP-860).
        allow_replication_factor_change: bool,
    },
    /// Give partitions of topics whose replication is `auto` more replicas, where there are brokers
    /// now. To be asked again while something remains.
    RaiseReplication {
        /// The most partitions to change at once.
        partitions_max: u32,
    },
}

/// A topic to create. Numbers are as on the wire: -1 asks for the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NewTopic {
    /// Its name, as the client wrote it.
    pub name: String,
    /// How many partitions; -1 for the default, or where `assignments` says.
    pub partitions: i32,
    /// How many copies of each; -1 for the default, or where `assignments` says.
    pub replication_factor: i16,
    /// Which brokers keep which partition; empty lets the controller choose.
    pub assignments: Vec<ReplicaAssignment>,
    /// Configs; a null value is refused.
    pub configs: Vec<(String, Option<String>)>,
}

/// The brokers of one partition, as a client chose them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaAssignment {
    /// The partition.
    pub partition: PartitionIndex,
    /// Its brokers, the preferred leader first.
    pub brokers: Vec<BrokerId>,
}

/// A topic as a client names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicRef {
    /// By name; null from version 6 on if by id.
    pub name: Option<String>,
    /// By id; zero if by name.
    pub id: TopicId,
}

/// More partitions for a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPartitions {
    /// The topic's name.
    pub name: String,
    /// How many it shall have in all.
    pub count: i32,
    /// The brokers of each new partition in order; `None` lets the controller choose.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// How a leader is to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Election {
    /// The first replica of the list, if it is in sync.
    Preferred,
    /// Any replica where none in sync can lead: what the others had alone is lost.
    Unclean,
}

/// A level a feature shall have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureUpdate {
    /// The feature's name.
    pub name: String,
    /// The level; 0 switches it off.
    pub level: i16,
    /// Whether the level may fall.
    pub direction: FeatureDirection,
}

/// Which way a feature's level may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeatureDirection {
    /// Up only.
    Upgrade,
    /// Down too, where that loses nothing.
    SafeDowngrade,
    /// Down too, whatever that loses.
    UnsafeDowngrade,
    /// A number that nobody knows.
    Unknown(i8),
}

/// Changes to the configs of one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// Kafka's number for the resource's type: 2 is a topic, 4 a broker, 32 a group.
    pub resource_type: i8,
    /// The topic's name, the broker's number, the group's id, or empty for all brokers.
    pub resource_name: String,
    /// What to do, in order.
    pub ops: Vec<(String, ConfigOp)>,
    /// Whether configs not named in `ops` are removed, as the old `AlterConfigs` does.
    pub replace: bool,
}

/// What to do with one config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigOp {
    /// Set it; null is refused.
    Set(Option<String>),
    /// Back to its default.
    Delete,
    /// Add these items to a list.
    Append(Option<String>),
    /// Take these items from a list.
    Subtract(Option<String>),
    /// A kind of change that nobody knows, by its number.
    Unknown(i8),
}

/// What a broker says of itself to be let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerRegistration {
    /// The number it has or wants; `None` asks for one.
    pub broker_id: Option<BrokerId>,
    /// The cluster it believes to be in; `None` if it is new.
    pub cluster_id: Option<Uuid>,
    /// Drawn at the start of its process.
    pub incarnation: Uuid,
    /// The identity of its disk.
    pub directory: Uuid,
    /// Where it can be reached.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands.
    pub rack: Option<String>,
    /// Its release of jocko.
    pub release: String,
    /// Whether all that was written since a process of it was last registered is still there, synced
    /// or not: each stopped cleanly, or the machine has not restarted. A start that lost something
    /// and stopped before it was let in leaves the telling to the next. Decides for topics that
    /// are not synced before they are acknowledged.
    #[serde(default)]
    pub kept_page_cache: bool,
    /// Whether its directory says that it is the one of `broker_id`: it was registered so before. A
    /// blank one may take the number of a broker that is gone; one with a past may not.
    #[serde(default)]
    pub is_claimed: bool,
}

/// An in-sync set that a leader wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrChange {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The state it is to replace.
    pub partition_epoch: PartitionEpoch,
    /// The set.
    pub isr: Vec<InSyncReplica>,
}

/// A replica that is found in sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSyncReplica {
    /// Its broker.
    pub broker_id: BrokerId,
    /// The registration that was found in sync (KIP-903); must be there for one that joins.
    pub broker_epoch: Option<BrokerEpoch>,
}

/// Where the replicas of a partition are to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassignment {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The brokers, the preferred leader first; `None` cancels what is under way.
    pub replicas: Option<Vec<BrokerId>>,
}

/// What was decided: facts to record, and what to say once they are committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// To be appended as one entry; may be empty.
    pub records: Vec<MetadataRecord>,
    /// The answer, to be held back until the records are committed.
    pub reply: Reply,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The code for the client.
    pub code: ErrorCode,
    /// A sentence for the client.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Done, with what came of it; or why not.
pub type Answer<T> = Result<T, Refusal>;

/// The answer to a [`Command`], with one part for each part of the command, in its order.
/// Its JSON form obeys the same rule as the command's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Command::CreateTopics`].
    CreateTopics(Vec<(String, Answer<CreatedTopic>)>),
    /// To [`Command::DeleteTopics`].
    DeleteTopics(Vec<(TopicRef, Answer<DeletedTopic>)>),
    /// To [`Command::CreatePartitions`].
    CreatePartitions(Vec<(String, Answer<()>)>),
    /// To [`Command::AlterConfigs`].
    AlterConfigs(Vec<AlteredConfigs>),
    /// To [`Command::ElectLeaders`]. Where all partitions were asked about, those that have the
    /// right leader already are left out.
    ElectLeaders(Vec<(String, PartitionIndex, Answer<()>)>),
    /// To [`Command::UpdateFeatures`]: the features, in the order asked, or the first that is
    /// refused.
    UpdateFeatures(Answer<Vec<String>>),
    /// To [`Command::AllocateProducerIds`].
    AllocateProducerIds(Answer<AllocatedProducerIds>),
    /// To [`Command::RegisterBroker`].
    RegisterBroker(Answer<RegisteredBroker>),
    /// To [`Command::BrokerHeartbeat`].
    BrokerHeartbeat(Answer<HeartbeatState>),
    /// To [`Command::ReportDisk`].
    ReportDisk(Answer<()>),
    /// To [`Command::GiveUpCopies`]: for each copy in order the leader epoch from which on nobody counts
    /// on it; or one refusal for all.
    GiveUpCopies(Answer<Vec<Answer<LeaderEpoch>>>),
    /// To [`Command::FenceBroker`].
    FenceBroker(Answer<()>),
    /// To [`Command::UnregisterBroker`].
    UnregisterBroker(Answer<()>),
    /// To [`Command::AlterPartition`]: for each change in order, or one refusal for all.
    AlterPartition(Answer<Vec<Answer<AlteredPartition>>>),
    /// To [`Command::AlterPartitionReassignments`].
    AlterPartitionReassignments(Vec<(String, PartitionIndex, Answer<()>)>),
    /// To [`Command::RaiseReplication`].
    RaiseReplication(Answer<RaisedReplication>),
}

/// A topic that was created, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTopic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many copies of each there are.
    pub replication_factor: i16,
    /// What was set on it, for describing all its configs.
    pub configs: ConfigMap,
}

/// A topic that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
}

/// What came of the changes to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlteredConfigs {
    /// As the client gave it.
    pub resource_type: i8,
    /// As the client gave it.
    pub resource_name: String,
    /// The resource, or why nothing changed.
    pub answer: Answer<ConfigResource>,
}

/// A block of producer ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocatedProducerIds {
    /// The first.
    pub first: ProducerId,
    /// How many, from there on.
    pub count: i32,
}

/// A broker that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredBroker {
    /// Its number.
    pub broker_id: BrokerId,
    /// The number of its registration.
    pub broker_epoch: BrokerEpoch,
}

/// How a broker stands after its heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatState {
    /// Whether it is fenced.
    pub is_fenced: bool,
    /// Whether it may stop, as it asked to: others lead what they can, and nobody waits for it.
    #[serde(default)]
    pub may_shut_down: bool,
}

/// A partition with the in-sync set its leader asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlteredPartition {
    /// The leader.
    pub leader: Option<BrokerId>,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the new state.
    pub partition_epoch: PartitionEpoch,
    /// The in-sync set now.
    pub isr: Vec<BrokerId>,
}

/// How many partitions get another replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedReplication {
    /// So many now.
    pub partitions: u32,
    /// Whether more could, or wait for those under way.
    pub is_more: bool,
}

#[cfg(test)]
mod tests;
