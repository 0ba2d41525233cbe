//! Committed offsets: read, written and removed, for a member or for an administrator.

use super::Client;
use crate::error::{ClientError, Result};
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use jocko_protocol::rpc::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use jocko_protocol::rpc::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use jocko_protocol::rpc::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use jocko_protocol::rpc::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use jocko_types::{ErrorCode, Offset};
use std::collections::BTreeMap;

/// The last versions of OffsetFetch and OffsetCommit that name topics, not their ids.
const NAMES_MAX: i16 = 9;
/// From here on a request for offsets names several groups (KIP-709).
const FETCH_SEVERAL: i16 = 8;

/// An offset that a group has committed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Committed {
    /// Of which topic.
    pub topic: String,
    /// Of which partition.
    pub partition: i32,
    /// The next record that the group has not read.
    pub offset: Offset,
}

/// In whose name offsets are committed.
#[derive(Debug, Clone, Copy)]
pub struct Committer<'a> {
    /// The member; empty for an administrator, whom only a group without members obeys.
    pub member: &'a str,
    /// Its epoch or generation; -1 for an administrator.
    pub epoch: i32,
}

impl Committer<'static> {
    /// Nobody in the group.
    pub const ADMINISTRATOR: Self = Self { member: "", epoch: -1 };
}

impl Client {
    /// All that a group has committed, by topic and partition.
    ///
    /// # Errors
    /// The coordinator's refusal, or that there is none.
    pub async fn committed(&mut self, group: &str) -> Result<Vec<Committed>> {
        let (_, address) = self.find_coordinator(group).await?;
        let several = self.ask_version(&address, ApiKey::OffsetFetch).await? >= FETCH_SEVERAL;
        let request = if several {
            let all = OffsetFetchRequestGroup {
                group_id: group.to_owned(),
                topics: None,
                ..Default::default()
            };
            OffsetFetchRequest { groups: vec![all], ..Default::default() }
        } else {
            OffsetFetchRequest { group_id: group.to_owned(), topics: None, ..Default::default() }
        };
        let answer = self
            .ask_coordinator(group, &request, NAMES_MAX, |answer| {
                let response = answer.get()?;
                let of_group = response.groups.first().map(|group| group.error_code);
                Ok(of_group.unwrap_or(response.error_code))
            })
            .await?;
        let response = answer.get()?;
        let mut found = Vec::new();
        let mut note = |topic: &str, partition, offset, error: i16| -> Result<()> {
            ClientError::check(error, None)?;
            if offset >= 0 {
                let offset = Offset::new(offset);
                found.push(Committed { topic: topic.to_owned(), partition, offset });
            }
            Ok(())
        };
        ClientError::check(response.error_code, None)?;
        for topic in &response.topics {
            for each in &topic.partitions {
                note(&topic.name, each.partition_index, each.committed_offset, each.error_code)?;
            }
        }
        for group in &response.groups {
            ClientError::check(group.error_code, None)?;
            for topic in &group.topics {
                for each in &topic.partitions {
                    let (partition, offset) = (each.partition_index, each.committed_offset);
                    note(&topic.name, partition, offset, each.error_code)?;
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Commits offsets for a group.
    ///
    /// # Errors
    /// The coordinator's first refusal; other offsets may have been committed.
    pub async fn commit(
        &mut self,
        group: &str,
        by: Committer<'_>,
        offsets: &[Committed],
    ) -> Result<()> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for each in offsets {
            topics.entry(&each.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: each.partition,
                committed_offset: each.offset.get(),
                committed_leader_epoch: -1,
                committed_metadata: Some(String::new()),
                ..Default::default()
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions,
            ..Default::default()
        });
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            member_id: by.member.to_owned(),
            generation_id_or_member_epoch: by.epoch,
            topics: topics.collect(),
            ..Default::default()
        };
        let answer = self
            .ask_coordinator(group, &request, NAMES_MAX, |answer| {
                let response = answer.get()?;
                let mut all = response.topics.iter().flat_map(|topic| &topic.partitions);
                Ok(all.next().map_or(0, |partition| partition.error_code))
            })
            .await?;
        let response = answer.get()?;
        let mut all = response.topics.iter().flat_map(|topic| &topic.partitions);
        all.try_for_each(|partition| ClientError::check(partition.error_code, None))
    }

    /// Forgets committed offsets of a group.
    ///
    /// # Errors
    /// [`ClientError::NoSuchGroup`], or the coordinator's first refusal: offsets of a topic that
    /// members read stay.
    pub async fn delete_offsets(
        &mut self,
        group: &str,
        topic: &str,
        partitions: &[i32],
    ) -> Result<()> {
        let partitions = partitions
            .iter()
            .map(|partition| OffsetDeleteRequestPartition { partition_index: *partition });
        let request = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: vec![OffsetDeleteRequestTopic {
                name: topic.to_owned(),
                partitions: partitions.collect(),
            }],
        };
        let answer = self
            .ask_coordinator(group, &request, i16::MAX, |answer| Ok(answer.get()?.error_code))
            .await?;
        let response = answer.get()?;
        if jocko_protocol::error_code(response.error_code) == ErrorCode::GroupIdNotFound {
            return Err(ClientError::NoSuchGroup(group.to_owned()));
        }
        ClientError::check(response.error_code, None)?;
        let mut all = response.topics.iter().flat_map(|topic| &topic.partitions);
        all.try_for_each(|partition| ClientError::check(partition.error_code, None))
    }

    /// Tells the coordinator that a member lives, in the protocol in which brokers assign
    /// partitions (KIP-848).
    ///
    /// # Errors
    /// The coordinator's refusal; [`ClientError::NotServed`] before Kafka 4.0.
    pub async fn heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse> {
        let answer = self
            .ask_coordinator(&request.group_id, request, i16::MAX, |answer| {
                Ok(answer.get()?.error_code)
            })
            .await?;
        let response: ConsumerGroupHeartbeatResponse = answer.get()?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        Ok(response)
    }

    /// The highest version of an API that a broker serves; -1 for none.
    async fn ask_version(&mut self, address: &str, api: ApiKey) -> Result<i16> {
        let connection = self.take_connection(address).await?;
        let served = connection.advertised(api).map_or(-1, |versions| versions.max);
        self.put_back(connection);
        Ok(served)
    }
}
