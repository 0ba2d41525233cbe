//! The requests that the loads share.

use crate::{REQUEST_MAX, Target};
use anyhow::{Result, ensure};
use jocko_client::Connection;
use jocko_protocol::error_code;
use jocko_protocol::rpc::find_coordinator_request::FindCoordinatorRequest;
use jocko_protocol::rpc::heartbeat_request::HeartbeatRequest;
use jocko_protocol::rpc::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use jocko_types::ErrorCode;
use std::time::{Duration, Instant};

/// The last version of OffsetCommit and OffsetFetch that names topics.
pub(crate) const BY_NAME: i16 = 9;

/// A connection to the group's coordinator (there is one broker), once it answers for the group.
pub(crate) async fn coordinator(target: &Target, group: &str) -> Result<Connection> {
    let mut connection = target.connect().await?;
    let begun = Instant::now();
    loop {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![group.to_owned()],
            ..Default::default()
        };
        let answer = connection.call_within(&request, REQUEST_MAX).await?;
        let mut error = error_code(answer.get()?.coordinators.first().map_or(-1, |c| c.error_code));
        if error == ErrorCode::None {
            // It may be named before it has loaded: one that has says that it does not know this.
            let heartbeat = HeartbeatRequest {
                group_id: group.to_owned(),
                generation_id: 1,
                member_id: "nobody".to_owned(),
                ..Default::default()
            };
            let answer = connection.call_within(&heartbeat, REQUEST_MAX).await?;
            error = error_code(answer.get()?.error_code);
        }
        if error == ErrorCode::UnknownMemberId {
            return Ok(connection);
        }
        ensure!(begun.elapsed() < REQUEST_MAX, "no coordinator: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A commit of a consumer without membership: `offset` for so many partitions of a topic.
pub(crate) fn commit(
    group: &str,
    topic: &str,
    partitions: i32,
    offset: i64,
) -> OffsetCommitRequest {
    let partitions = (0..partitions).map(|partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: offset,
        committed_metadata: Some(String::new()),
        ..Default::default()
    });
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        group_instance_id: None,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: partitions.collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Sends a commit until the coordinator is there to take it.
pub(crate) async fn commit_until_taken(
    connection: &mut Connection,
    request: &OffsetCommitRequest,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        let answer = connection.call_at(request, BY_NAME, REQUEST_MAX).await?;
        let response = answer.get()?;
        let mut each = response.topics.iter().flat_map(|topic| &topic.partitions);
        let error = each.find(|partition| partition.error_code != 0);
        let Some(error) = error.map(|partition| error_code(partition.error_code)) else {
            return Ok(());
        };
        ensure!(begun.elapsed() < REQUEST_MAX, "a commit is refused: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn quantile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
