//! The requests of members that both protocols have, and what may go wrong with any.

use crate::ledger::Life;
use crate::world::{REQUEST_MAX, World, group_id, topic};
use jocko_client::{ClientError, Connection};
use jocko_protocol::error_code;
use jocko_protocol::rpc::find_coordinator_request::FindCoordinatorRequest;
use jocko_protocol::rpc::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use jocko_protocol::rpc::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use jocko_types::ErrorCode;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The last versions that name topics.
const BY_NAME: i16 = 9;

/// Why a member cannot go on as it was.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection is gone: the broker was killed, or never answered.
    Connection(String),
    /// An error of the group.
    Refused(ErrorCode),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(why) => f.write_str(why),
            Self::Refused(code) => write!(f, "{code}"),
        }
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Self::Connection(error.to_string())
    }
}

/// An error code of an answer as a result.
pub(crate) fn check(code: i16) -> Result<(), Trouble> {
    match error_code(code) {
        ErrorCode::None => Ok(()),
        error => Err(Trouble::Refused(error)),
    }
}

pub(crate) async fn find_coordinator(
    connection: &mut Connection,
    group: &str,
) -> Result<(), Trouble> {
    let request =
        FindCoordinatorRequest { coordinator_keys: vec![group.to_owned()], ..Default::default() };
    let answer = connection.call_within(&request, REQUEST_MAX).await?;
    let response = answer.get()?;
    check(response.coordinators.first().map_or(0, |found| found.error_code))
}

/// What a group has committed, by partition; -1 where nothing is.
pub(crate) async fn fetch_offsets(
    connection: &mut Connection,
    group: u32,
    partitions: &[i32],
    member: Option<(&str, i32)>,
) -> Result<BTreeMap<i32, i64>, Trouble> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group_id(group),
            member_id: member.map(|(id, _)| id.to_owned()),
            member_epoch: member.map_or(-1, |(_, epoch)| epoch),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic(group),
                partition_indexes: partitions.to_vec(),
                ..Default::default()
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = connection.call_at(&request, BY_NAME, REQUEST_MAX).await?;
    let response = answer.get()?;
    let mut offsets = BTreeMap::new();
    for found in &response.groups {
        check(found.error_code)?;
        for partition in found.topics.iter().flat_map(|topic| &topic.partitions) {
            check(partition.error_code)?;
            offsets.insert(partition.partition_index, partition.committed_offset);
        }
    }
    Ok(offsets)
}

/// A member that owns partitions: where it is in each, and how it commits.
pub(crate) struct Owner {
    pub(crate) group: u32,
    pub(crate) life: Life,
    /// The last offset it fetched or committed.
    pub(crate) positions: BTreeMap<i32, i64>,
}

impl Owner {
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.positions.keys().copied().collect()
    }

    /// Takes partitions over from where they were left.
    pub(crate) async fn take_over(
        &mut self,
        world: &World,
        connection: &mut Connection,
        partitions: &[i32],
        member: Option<(&str, i32)>,
    ) -> Result<(), Trouble> {
        if partitions.is_empty() {
            return Ok(());
        }
        let before: BTreeMap<i32, i64> = {
            let ledger = world.ledger(self.group);
            partitions.iter().map(|each| (*each, ledger.acknowledged(*each))).collect()
        };
        let offsets = fetch_offsets(connection, self.group, partitions, member).await?;
        let mut ledger = world.ledger(self.group);
        for (partition, offset) in offsets {
            ledger.fetched(partition, offset, before.get(&partition).copied().unwrap_or(-1));
            self.positions.insert(partition, offset);
        }
        Ok(())
    }

    /// Commits one further in every partition.
    pub(crate) async fn commit(
        &mut self,
        world: &World,
        connection: &mut Connection,
        (member_id, generation): (&str, i32),
    ) -> Result<(), Trouble> {
        if self.positions.is_empty() {
            return Ok(());
        }
        let mut before = BTreeMap::new();
        let partitions: Vec<_> = {
            let mut ledger = world.ledger(self.group);
            let each = self.positions.iter().map(|(&partition, &position)| {
                ledger.sending(partition, position + 1);
                before.insert(partition, ledger.acknowledged(partition));
                OffsetCommitRequestPartition {
                    partition_index: partition,
                    committed_offset: position + 1,
                    committed_metadata: Some(String::new()),
                    ..Default::default()
                }
            });
            each.collect()
        };
        let request = OffsetCommitRequest {
            group_id: group_id(self.group),
            generation_id_or_member_epoch: generation,
            member_id: member_id.to_owned(),
            group_instance_id: None,
            topics: vec![OffsetCommitRequestTopic {
                name: topic(self.group),
                partitions,
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = connection.call_at(&request, BY_NAME, REQUEST_MAX).await?;
        let response = answer.get()?;
        let mut first = Ok(());
        for answered in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let partition = answered.partition_index;
            match check(answered.error_code) {
                Ok(()) => {
                    let Some(position) = self.positions.get_mut(&partition) else { continue };
                    *position += 1;
                    let acknowledged = before.get(&partition).copied().unwrap_or(-1);
                    world.ledger(self.group).committed(partition, *position, acknowledged);
                }
                Err(trouble) => first = first.and(Err(trouble)),
            }
        }
        first
    }

    /// Lets go of everything.
    pub(crate) fn release_all(&mut self, world: &World) {
        let partitions = self.partitions();
        world.ledger(self.group).released(self.life, &partitions);
        self.positions.clear();
    }
}

/// A pause before what failed is tried again.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
