//! The APIs and versions that this broker serves and advertises.
//!
//! Written by hand and apart from what the codec can decode: an API stands here when it works. The
//! ranges are those of Kafka 4.3.1 (`schema/kafka/api-versions-4.3.1.csv`).

use crate::ApiKey;
use jocko_codec::VersionRange;

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertised {
    /// The API.
    pub api: ApiKey,
    /// The versions that `ApiVersions` names.
    pub versions: VersionRange,
    /// The first version that is served; older ones are advertised for show.
    pub served_min: i16,
}

const fn line(api: ApiKey, min: i16, max: i16) -> Advertised {
    Advertised { api, versions: VersionRange::new(min, max), served_min: min }
}

/// Every API that works, by number.
pub const ADVERTISED: &[Advertised] = &[
    // Kafka says 0 and means 3: librdkafka takes a range without the old versions for a broker
    // that cannot decompress (KAFKA-18659).
    Advertised { api: ApiKey::Produce, versions: VersionRange::new(0, 13), served_min: 3 },
    line(ApiKey::Fetch, 4, 18),
    line(ApiKey::ListOffsets, 1, 11),
    line(ApiKey::Metadata, 0, 13),
    line(ApiKey::OffsetCommit, 2, 10),
    line(ApiKey::OffsetFetch, 1, 10),
    line(ApiKey::FindCoordinator, 0, 6),
    line(ApiKey::JoinGroup, 0, 9),
    line(ApiKey::Heartbeat, 0, 4),
    line(ApiKey::LeaveGroup, 0, 5),
    line(ApiKey::SyncGroup, 0, 5),
    line(ApiKey::DescribeGroups, 0, 6),
    line(ApiKey::ListGroups, 0, 5),
    line(ApiKey::ApiVersions, 0, 4),
    line(ApiKey::CreateTopics, 2, 7),
    line(ApiKey::DeleteTopics, 1, 6),
    line(ApiKey::DeleteRecords, 0, 2),
    line(ApiKey::InitProducerId, 0, 5),
    line(ApiKey::OffsetForLeaderEpoch, 2, 4),
    line(ApiKey::DescribeConfigs, 1, 4),
    line(ApiKey::AlterConfigs, 0, 2),
    line(ApiKey::AlterReplicaLogDirs, 1, 2),
    line(ApiKey::DescribeLogDirs, 1, 5),
    line(ApiKey::CreatePartitions, 0, 3),
    line(ApiKey::DeleteGroups, 0, 2),
    line(ApiKey::ElectLeaders, 0, 2),
    line(ApiKey::IncrementalAlterConfigs, 0, 1),
    line(ApiKey::AlterPartitionReassignments, 0, 1),
    line(ApiKey::ListPartitionReassignments, 0, 0),
    line(ApiKey::OffsetDelete, 0, 0),
    line(ApiKey::DescribeQuorum, 0, 2),
    line(ApiKey::UpdateFeatures, 0, 2),
    line(ApiKey::DescribeCluster, 0, 2),
    line(ApiKey::DescribeProducers, 0, 0),
    line(ApiKey::UnregisterBroker, 0, 0),
    line(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    line(ApiKey::ConsumerGroupDescribe, 0, 1),
    line(ApiKey::ListConfigResources, 0, 1),
    line(ApiKey::DescribeTopicPartitions, 0, 0),
    line(ApiKey::AddRaftVoter, 0, 1),
    line(ApiKey::RemoveRaftVoter, 0, 0),
];

/// What is advertised for `api`; nothing if it does not work.
#[must_use]
pub fn advertised(api: ApiKey) -> Option<&'static Advertised> {
    ADVERTISED.iter().find(|line| line.api == api)
}

/// Whether a request of this API and version is served.
#[must_use]
pub fn is_served(api: ApiKey, version: i16) -> bool {
    advertised(api).is_some_and(|line| line.served_min <= version && version <= line.versions.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_can_be_decoded() {
        assert!(ADVERTISED.is_sorted_by_key(|line| line.api));
        for line in ADVERTISED {
            let decodable = line.api.versions();
            assert!(decodable.contains(line.served_min), "{:?}", line.api);
            assert!(decodable.contains(line.versions.max), "{:?}", line.api);
            assert!(line.versions.min <= line.served_min, "{:?}", line.api);
        }
    }

    #[test]
    fn table_agrees_with_kafka() {
        let csv = include_str!("../../../../schema/kafka/api-versions-4.3.1.csv");
        for line in ADVERTISED {
            let key = line.api.code().to_string();
            let row = csv.lines().find(|row| row.split(',').next() == Some(&key)).expect("listed");
            let cells: Vec<&str> = row.split(',').collect();
            let VersionRange { min, max } = line.versions;
            let range = if min == max { min.to_string() } else { format!("{min} to {max}") };
            assert_eq!(cells, [key.as_str(), line.api.name(), range.as_str()]);
        }
    }

    #[test]
    fn produce_is_served_from_3() {
        assert!(!is_served(ApiKey::Produce, 2));
        assert!(is_served(ApiKey::Produce, 3));
        assert!(!is_served(ApiKey::Produce, 14));
    }
}
