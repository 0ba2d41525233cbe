//! The Kafka APIs, one file each: decode, translate, ask, answer. `versions.rs` of the protocol
//! crate says which versions are advertised; this table says who answers.

use crate::session::{Exchange, Session};
use jocko_net::Call;
use jocko_protocol::{ApiKey, DecodeError};

mod add_raft_voter;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod altering;
pub(crate) mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod fetch_answer;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod remove_raft_voter;
mod sync_group;
mod unregister_broker;
mod update_features;

/// Answers one request. An error means the body could not be read: the connection is closed.
pub(crate) type Handler = fn(&mut Session, Exchange<'_>) -> Result<Call, DecodeError>;

/// Who answers which API; in the protocol's order.
const HANDLERS: &[(ApiKey, Handler)] = &[
    (ApiKey::Produce, produce::handle),
    (ApiKey::Fetch, fetch::handle),
    (ApiKey::ListOffsets, list_offsets::handle),
    (ApiKey::Metadata, metadata::handle),
    (ApiKey::OffsetCommit, offset_commit::handle),
    (ApiKey::OffsetFetch, offset_fetch::handle),
    (ApiKey::FindCoordinator, find_coordinator::handle),
    (ApiKey::JoinGroup, join_group::handle),
    (ApiKey::Heartbeat, heartbeat::handle),
    (ApiKey::LeaveGroup, leave_group::handle),
    (ApiKey::SyncGroup, sync_group::handle),
    (ApiKey::DescribeGroups, describe_groups::handle),
    (ApiKey::ListGroups, list_groups::handle),
    (ApiKey::ApiVersions, api_versions::handle),
    (ApiKey::CreateTopics, create_topics::handle),
    (ApiKey::DeleteTopics, delete_topics::handle),
    (ApiKey::DeleteRecords, delete_records::handle),
    (ApiKey::InitProducerId, init_producer_id::handle),
    (ApiKey::OffsetForLeaderEpoch, offset_for_leader_epoch::handle),
    (ApiKey::DescribeConfigs, describe_configs::handle),
    (ApiKey::AlterConfigs, alter_configs::handle),
    (ApiKey::AlterReplicaLogDirs, alter_replica_log_dirs::handle),
    (ApiKey::DescribeLogDirs, describe_log_dirs::handle),
    (ApiKey::CreatePartitions, create_partitions::handle),
    (ApiKey::DeleteGroups, delete_groups::handle),
    (ApiKey::ElectLeaders, elect_leaders::handle),
    (ApiKey::IncrementalAlterConfigs, incremental_alter_configs::handle),
    (ApiKey::AlterPartitionReassignments, alter_partition_reassignments::handle),
    (ApiKey::ListPartitionReassignments, list_partition_reassignments::handle),
    (ApiKey::OffsetDelete, offset_delete::handle),
    (ApiKey::DescribeQuorum, describe_quorum::handle),
    (ApiKey::UpdateFeatures, update_features::handle),
    (ApiKey::DescribeCluster, describe_cluster::handle),
    (ApiKey::DescribeProducers, describe_producers::handle),
    (ApiKey::UnregisterBroker, unregister_broker::handle),
    (ApiKey::ConsumerGroupHeartbeat, consumer_group_heartbeat::handle),
    (ApiKey::ConsumerGroupDescribe, consumer_group_describe::handle),
    (ApiKey::ListConfigResources, list_config_resources::handle),
    (ApiKey::DescribeTopicPartitions, describe_topic_partitions::handle),
    (ApiKey::AddRaftVoter, add_raft_voter::handle),
    (ApiKey::RemoveRaftVoter, remove_raft_voter::handle),
];

/// Who answers `api`, if anybody does.
pub(crate) fn handler(api: ApiKey) -> Option<Handler> {
    HANDLERS.iter().find(|(key, _)| *key == api).map(|(_, handler)| *handler)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_protocol::versions::ADVERTISED;

    #[test]
    fn what_is_advertised_is_answered_and_nothing_else() {
        let advertised: Vec<ApiKey> = ADVERTISED.iter().map(|line| line.api).collect();
        let answered: Vec<ApiKey> = HANDLERS.iter().map(|(api, _)| *api).collect();
        assert_eq!(answered, advertised);
    }
}
