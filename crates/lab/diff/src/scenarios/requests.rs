//! The ordinary request of each API, for scenarios to bend.

use crate::run::Topic;
use jocko_protocol::RecordBytes;
use jocko_protocol::rpc::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use jocko_protocol::rpc::describe_configs_request::DescribeConfigsResource;
use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchTopic};
use jocko_protocol::rpc::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use jocko_protocol::rpc::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use jocko_protocol::rpc::metadata_request::MetadataRequestTopic;
use jocko_protocol::rpc::produce_request::{PartitionProduceData, TopicProduceData};
use jocko_protocol::rpc::{
    CreateTopicsRequest, DescribeConfigsRequest, FetchRequest, IncrementalAlterConfigsRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use jocko_types::Uuid;

/// Waits that are long enough for any broker and short enough for us.
pub(super) const TIMEOUT_MS: i32 = 10_000;
/// The topic in which a broker keeps its groups; there once a group has been asked for.
pub(super) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// An id that no topic has.
pub(super) const UNKNOWN_ID: Uuid = Uuid::from_bytes([0x5a; 16]);

/// Names that no topic may have, with what is wrong with them.
pub(super) fn bad_names() -> Vec<(&'static str, String)> {
    vec![
        ("an empty name", String::new()),
        ("one dot", ".".into()),
        ("two dots", "..".into()),
        ("a blank", "a b".into()),
        ("a slash", "a/b".into()),
        ("a letter beyond ASCII", "caf\u{e9}".into()),
        ("a zero byte", "a\0b".into()),
        ("250 letters", "n".repeat(250)),
    ]
}

pub(super) fn produce<'a>(
    topic: &'a Topic,
    partition: i32,
    records: &'a [u8],
) -> ProduceRequest<'a> {
    produce_to(topic, vec![(partition, Some(records))])
}

pub(super) fn produce_to<'a>(
    topic: &'a Topic,
    partitions: Vec<(i32, Option<&'a [u8]>)>,
) -> ProduceRequest<'a> {
    let partition_data = partitions.into_iter().map(|(index, records)| PartitionProduceData {
        index,
        records: records.map(RecordBytes::Inline),
        ..Default::default()
    });
    ProduceRequest {
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: &topic.name,
            topic_id: topic.id,
            partition_data: partition_data.collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A fetch without a session that answers at once.
pub(super) fn fetch(topic: &Topic, partitions: Vec<FetchPartition>) -> FetchRequest<'_> {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1 << 20,
        topics: vec![fetch_topic(topic, partitions)],
        ..Default::default()
    }
}

pub(super) fn fetch_topic(topic: &Topic, partitions: Vec<FetchPartition>) -> FetchTopic<'_> {
    FetchTopic { topic: &topic.name, topic_id: topic.id, partitions, ..Default::default() }
}

pub(super) fn fetch_from(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition { partition, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() }
}

pub(crate) fn list_offsets(topic: &str, partitions: &[(i32, i64)]) -> ListOffsetsRequest {
    let partitions = partitions.iter().map(|(partition_index, timestamp)| ListOffsetsPartition {
        partition_index: *partition_index,
        timestamp: *timestamp,
        ..Default::default()
    });
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: partitions.collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Metadata of topics by name, creating none.
pub(super) fn metadata(names: &[&str]) -> MetadataRequest {
    MetadataRequest {
        topics: Some(names.iter().map(|name| metadata_topic(name)).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    }
}

pub(super) fn metadata_topic(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() }
}

pub(super) fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() }
}

pub(super) fn creatable(
    name: &str,
    num_partitions: i32,
    replication_factor: i16,
) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions,
        replication_factor,
        ..Default::default()
    }
}

pub(super) fn configured(name: &str, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
        ..Default::default()
    });
    CreatableTopic { configs: configs.collect(), ..creatable(name, 1, 1) }
}

/// One config set on a group.
pub(crate) fn set_group_config(
    group: &str,
    name: &str,
    value: &str,
) -> IncrementalAlterConfigsRequest {
    let config = AlterableConfig {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 32,
        resource_name: group.to_owned(),
        configs: vec![config],
        ..Default::default()
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }
}

pub(crate) fn describe_configs(
    resource_type: i8,
    resource_name: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: resource_name.to_owned(),
            configuration_keys: keys.map(|keys| keys.iter().map(ToString::to_string).collect()),
            ..Default::default()
        }],
        ..Default::default()
    }
}
