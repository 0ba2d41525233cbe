//! The Kafka APIs, one file each: decode, translate, ask, answer. `versions.rs` of the protocol
//! crate says which versions are advertised; this table says who answers.

use crate::session::{Exchange, Session};
use jocko_net::Call;
use jocko_protocol::{ApiKey, DecodeError};

pub(crate) mod api_versions;
mod create_topics;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_topic_partitions;
mod fetch;
mod fetch_answer;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;

/// Answers one request. An error means the body could not be read: the connection is closed.
pub(crate) type Handler = fn(&mut Session, Exchange<'_>) -> Result<Call, DecodeError>;

/// Who answers which API; in the protocol's order.
const HANDLERS: &[(ApiKey, Handler)] = &[
    (ApiKey::Produce, produce::handle),
    (ApiKey::Fetch, fetch::handle),
    (ApiKey::ListOffsets, list_offsets::handle),
    (ApiKey::Metadata, metadata::handle),
    (ApiKey::ApiVersions, api_versions::handle),
    (ApiKey::CreateTopics, create_topics::handle),
    (ApiKey::DeleteTopics, delete_topics::handle),
    (ApiKey::InitProducerId, init_producer_id::handle),
    (ApiKey::OffsetForLeaderEpoch, offset_for_leader_epoch::handle),
    (ApiKey::DescribeConfigs, describe_configs::handle),
    (ApiKey::DescribeCluster, describe_cluster::handle),
    (ApiKey::DescribeTopicPartitions, describe_topic_partitions::handle),
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
