//! The cluster's metadata: what is known of topics, partitions, brokers and configs, and who may
//! change it.
//!
//! - [`MetadataRecord`]: one fact, as it stands in the Raft log.
//! - [`ClusterImage`]: all facts up to one Raft index, immutable and cheap to share. Applying a
//!   record is the only way to change one, and cannot fail.
//! - [`ClusterDelta`]: what changed between two images, for those who act on it.
//! - [`decide`]: a command in, records and a reply out. The controller is this function.
//!
//! The caller's duties, in this order: decide on the image of what is *committed* (a whole batch
//! with [`decide_batch`], which lets each command see what those before it did); append the
//! records to the Raft log as one entry ([`encode_entry`]); when the entry has committed, apply
//! it to the image on every broker; only then release the replies. A refused append has changed
//! nothing, so the replies are simply dropped.
//!
//! Invariants, checked by [`ClusterImage::check_invariants`]: P-2 a leader is in the ISR and the
//! ISR within the replicas; P-4 leader epochs never fall ([`ClusterDelta::check_epochs`]); M-1 the
//! same records give the same [`ClusterImage::hash`].
//!
//! This crate must not know Raft, sockets, disks or clocks: time and randomness are arguments.

#![warn(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::wildcard_enum_match_arm,
        reason = "a test that panics has failed, which is its task"
    )
)]

mod command;
mod decide;
mod delta;
mod heartbeats;
mod image;
mod placement;
mod randomness;
mod record;
mod wire;

pub use command::{
    AllocatedProducerIds, AlteredConfigs, AlteredPartition, Answer, BrokerRegistration, Command,
    ConfigChange, ConfigOp, CreatedTopic, DecideContext, Decision, DeletedTopic, Election,
    FeatureDirection, FeatureUpdate, HeartbeatState, InSyncReplica, IsrChange, NewPartitions,
    NewTopic, RaisedReplication, Reassignment, Refusal, RegisteredBroker, ReplicaAssignment, Reply,
    TopicRef,
};
pub use decide::{
    FEATURES, Feature, GROUP_VERSION, PARTITIONS_PER_REQUEST_MAX, PRODUCER_ID_BLOCK,
    RECORDS_PER_REQUEST_MAX, bootstrap, decide, decide_batch,
};
pub use delta::{ClusterDelta, PartitionChange};
pub use heartbeats::Heartbeats;
pub use image::{Broker, BrokerState, ClusterImage, Partition, Topic};
pub use randomness::Randomness;
pub use record::{
    ConfigResource, DiskTrouble, DiskTroubleKind, Endpoint, MetadataRecord, PartitionState,
    Registration, Replication,
};
pub use wire::{EntryError, decode_entry, encode_entry};
