//! The controller: pure decisions over the committed image.
//!
//! Texts and codes of refusals are Kafka's where Kafka has the case: clients and their test
//! suites read them.

mod alter_partition;
mod assignment;
mod brokers;
mod configs;
mod copies;
mod disks;
mod elections;
mod features;
mod partitions;
mod producer_ids;
mod reassignments;
mod replicas;
mod topics;

use crate::command::{Command, DecideContext, Decision, Refusal, Reply};
use crate::image::ClusterImage;
use crate::randomness::Randomness;
use crate::record::{ConfigResource, MetadataRecord};
use jocko_config::kafka::BrokerLayers;
use jocko_types::{BrokerEpoch, ErrorCode, Timestamp, Uuid};

use brokers::Wish;
use features::METADATA_VERSION;

pub use features::{FEATURES, Feature, GROUP_VERSION};
pub use producer_ids::PRODUCER_ID_BLOCK;

/// The most partitions that one request may create, as in Kafka: what a request asks for costs
/// the asker nothing and the cluster a lot.
pub const PARTITIONS_PER_REQUEST_MAX: u64 = 10_000;

/// The most records that one request may make, as in Kafka.
pub const RECORDS_PER_REQUEST_MAX: usize = 10_000;

/// What a new cluster's log begins with.
///
/// `min.insync.replicas` is set for all brokers from the start, as Kafka does since brokers that
/// disagree about it would disagree about what is committed (KIP-966).
#[must_use]
pub fn bootstrap(cluster_id: Uuid, now: Timestamp, founders: u32) -> Vec<MetadataRecord> {
    let min_insync = if founders >= 3 { "2" } else { "1" };
    let level = |feature: Feature| MetadataRecord::FeatureLevel {
        name: feature.name.to_owned(),
        level: feature.max,
    };
    vec![
        MetadataRecord::Cluster {
            cluster_id,
            created: now,
            last_broker_epoch: BrokerEpoch::new(0),
        },
        level(METADATA_VERSION),
        level(GROUP_VERSION),
        MetadataRecord::Config {
            resource: ConfigResource::Cluster,
            name: "min.insync.replicas".to_owned(),
            value: Some(min_insync.to_owned()),
        },
    ]
}

/// Decides one command on an image. Reads only; the same arguments decide the same.
#[must_use]
pub fn decide(image: &ClusterImage, cx: &DecideContext<'_>, command: Command) -> Decision {
    let mut decider = Decider::new(image, cx);
    let reply = decider.reply(command);
    Decision { records: decider.records, reply }
}

/// Decides commands one after another, each on what those before it decided; the records of all
/// go into one Raft entry. The seed of each command follows from the batch's.
#[must_use]
pub fn decide_batch(
    image: &ClusterImage,
    cx: &DecideContext<'_>,
    commands: Vec<Command>,
) -> (Vec<MetadataRecord>, Vec<Reply>) {
    let mut working = image.clone();
    let mut seeds = Randomness::from_seed(cx.seed);
    let mut records = Vec::new();
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        let seed = std::array::from_fn(|_| seeds.next_u64());
        let decision = decide(&working, &DecideContext { seed, ..*cx }, command);
        working.apply_all(&decision.records);
        records.extend(decision.records);
        replies.push(decision.reply);
    }
    (records, replies)
}

/// One decision being made.
struct Decider<'a> {
    image: &'a ClusterImage,
    cx: &'a DecideContext<'a>,
    random: Randomness,
    records: Vec<MetadataRecord>,
}

impl<'a> Decider<'a> {
    fn new(image: &'a ClusterImage, cx: &'a DecideContext<'a>) -> Self {
        Self { image, cx, random: Randomness::from_seed(cx.seed), records: Vec::new() }
    }

    fn reply(&mut self, command: Command) -> Reply {
        match command {
            Command::CreateTopics { topics, validate_only } => {
                Reply::CreateTopics(self.create_topics(topics, validate_only))
            }
            Command::DeleteTopics { topics } => Reply::DeleteTopics(self.delete_topics(topics)),
            Command::CreatePartitions { topics, validate_only } => {
                Reply::CreatePartitions(self.create_partitions(topics, validate_only))
            }
            Command::AlterConfigs { resources, validate_only } => {
                Reply::AlterConfigs(self.alter_configs(resources, validate_only))
            }
            Command::ElectLeaders { election, partitions } => {
                Reply::ElectLeaders(self.elect_leaders(election, partitions))
            }
            Command::UpdateFeatures { updates, validate_only } => {
                Reply::UpdateFeatures(self.update_features(updates, validate_only))
            }
            Command::AllocateProducerIds { broker_id, broker_epoch } => {
                Reply::AllocateProducerIds(self.allocate_producer_ids(broker_id, broker_epoch))
            }
            Command::RegisterBroker(registration) => {
                Reply::RegisterBroker(self.register_broker(registration))
            }
            Command::BrokerHeartbeat { broker_id, broker_epoch, want_fence, want_shutdown } => {
                let wish = Wish { fence: want_fence, shutdown: want_shutdown };
                Reply::BrokerHeartbeat(self.heartbeat(broker_id, broker_epoch, wish))
            }
            Command::ReportDisk { broker_id, broker_epoch, trouble } => {
                Reply::ReportDisk(self.report_disk(broker_id, broker_epoch, trouble))
            }
            Command::GiveUpCopies { broker_id, broker_epoch, copies } => {
                Reply::GiveUpCopies(self.give_up_copies(broker_id, broker_epoch, &copies))
            }
            Command::FenceBroker { broker_id, broker_epoch } => {
                Reply::FenceBroker(self.fence(broker_id, broker_epoch))
            }
            Command::UnregisterBroker { broker_id } => {
                Reply::UnregisterBroker(self.unregister(broker_id))
            }
            Command::AlterPartition { broker_id, broker_epoch, partitions } => {
                Reply::AlterPartition(self.alter_partition(broker_id, broker_epoch, &partitions))
            }
            Command::AlterPartitionReassignments {
                partitions,
                allow_replication_factor_change,
            } => Reply::AlterPartitionReassignments(
                self.alter_reassignments(partitions, allow_replication_factor_change),
            ),
            Command::RaiseReplication { partitions_max } => {
                Reply::RaiseReplication(self.raise_replication(partitions_max))
            }
        }
    }

    /// The configs below a topic's own.
    fn layers(&self) -> BrokerLayers<'a> {
        BrokerLayers {
            cluster: self.image.configs(&ConfigResource::Cluster),
            ..BrokerLayers::of_settings(self.cx.settings)
        }
    }

    /// How many partitions the cluster may still get.
    fn partition_room(&self) -> u64 {
        let limit = u64::from(self.cx.settings.settings().limits.partitions.get());
        limit.saturating_sub(self.image.partition_count())
    }

    fn too_many_partitions(&self) -> Refusal {
        let limit = self.cx.settings.settings().limits.partitions;
        let there = self.image.partition_count();
        let message = format!(
            "The cluster has {there} partition(s) and may hold {limit} (limits.partitions)."
        );
        Refusal::new(ErrorCode::PolicyViolation, message)
    }
}

fn unknown_topic() -> Refusal {
    Refusal::new(
        ErrorCode::UnknownTopicOrPartition,
        "This server does not host this topic-partition.",
    )
}

fn too_large_a_request() -> Refusal {
    Refusal::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.")
}

fn too_large_a_batch() -> Refusal {
    Refusal::new(ErrorCode::PolicyViolation, "Unable to perform excessively large batch operation.")
}

/// Names that appear more than once, each once.
fn duplicates<'n>(names: impl Iterator<Item = &'n str>) -> std::collections::BTreeSet<String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut twice = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            twice.insert(name.to_owned());
        }
    }
    twice
}

#[cfg(test)]
mod tests;
