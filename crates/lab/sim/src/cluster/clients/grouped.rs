//! Consumers that commit offsets for a group (simple ones, without membership), one after the other
//! and rising. What was acknowledged survives, and never goes back.

use super::{Client, TOPIC};
use crate::cluster::machine::kafka_at;
use jocko_protocol::error_code;
use jocko_protocol::rpc::find_coordinator_request::FindCoordinatorRequest;
use jocko_protocol::rpc::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use jocko_protocol::rpc::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use jocko_types::ErrorCode;
use std::io;

const FIND_COORDINATOR: i16 = 3;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 7;

/// What is known of the offset of a group.
#[derive(Debug)]
struct Group {
    id: String,
    coordinator: Option<u32>,
    /// Who acknowledged the last commit: it must not forget it. Another may be asked that does not
    /// know yet that it was replaced.
    acknowledged_by: Option<u32>,
    /// -1 before the first.
    acknowledged: i64,
    tried: i64,
}

impl Group {
    fn named(process: u32) -> Self {
        let id = format!("group-{process}");
        Self { id, coordinator: None, acknowledged_by: None, acknowledged: -1, tried: -1 }
    }
}

/// Commits and asks until the run is over, then looks what is left of all it has ever committed.
pub(crate) async fn commit(mut client: Client) {
    let mut left = Vec::new();
    while !client.is_over() {
        let mut group = Group::named(client.shared.process());
        // What got no answer may arrive later than what comes next: then another group is used.
        while !client.is_over() && !commit_some(&mut client, &mut group).await {}
        left.push(group);
    }
    for group in &mut left {
        loop {
            group.coordinator = None;
            if find(&mut client, group).await && look(&mut client, group, true).await {
                break;
            }
            client.rest(200).await;
        }
    }
}

/// One commit or question; whether the outcome of a commit is not known.
async fn commit_some(client: &mut Client, group: &mut Group) -> bool {
    client.rest(250).await;
    if !find(client, group).await {
        return false;
    }
    let Some(coordinator) = group.coordinator else { return false };
    if client.dice.per_mille(300) {
        let is_sure = group.acknowledged_by == Some(coordinator);
        look(client, group, is_sure).await;
        return false;
    }
    group.tried = group.acknowledged + 1;
    let committed = send(client, group, coordinator).await;
    client.shared.meet("commit", &committed);
    match committed {
        Ok(ErrorCode::None) => {
            group.acknowledged = group.tried;
            group.acknowledged_by = Some(coordinator);
            client.shared.commits.set(client.shared.commits.get() + 1);
        }
        Ok(_) => group.coordinator = None,
        Err(_) => return true,
    }
    false
}

/// Finds who coordinates the group, unless that is known.
async fn find(client: &mut Client, group: &mut Group) -> bool {
    if group.coordinator.is_some() {
        return true;
    }
    group.coordinator = find_coordinator(client, &group.id).await;
    group.coordinator.is_some()
}

/// Who coordinates a group, as anyone says.
pub(super) async fn find_coordinator(client: &mut Client, group: &str) -> Option<u32> {
    let request = FindCoordinatorRequest { key: group.to_owned(), ..Default::default() };
    let to = kafka_at(client.anyone());
    let found = client.wire.ask(to, FIND_COORDINATOR, &request, |response| {
        (error_code(response.error_code), u32::try_from(response.node_id).ok())
    });
    match found.await {
        Ok((ErrorCode::None, node)) => node,
        other => {
            client.shared.meet("coordinator", &other.map(|(code, _)| code));
            None
        }
    }
}

async fn send(client: &mut Client, group: &Group, to: u32) -> io::Result<ErrorCode> {
    let request = OffsetCommitRequest {
        group_id: group.id.clone(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: group.tried,
                committed_leader_epoch: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answered = client.wire.ask(kafka_at(to), OFFSET_COMMIT, &request, |response| {
        Some(error_code(response.topics.first()?.partitions.first()?.error_code))
    });
    answered.await?.ok_or_else(|| io::Error::other("an answer without the partition"))
}

/// Asks what is committed; whether there was an answer. It may be any of those that are possible, or
/// an older one where nobody is `sure` that this coordinator has not been replaced.
async fn look(client: &mut Client, group: &mut Group, sure: bool) -> bool {
    let Some(coordinator) = group.coordinator else { return false };
    let request = OffsetFetchRequest {
        group_id: group.id.clone(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: TOPIC.to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let to = kafka_at(coordinator);
    let answered = client.wire.ask(to, OFFSET_FETCH, &request, |response| {
        let partition = response.topics.first().and_then(|topic| topic.partitions.first());
        let code = match response.error_code {
            0 => partition.map_or(0, |it| it.error_code),
            code => code,
        };
        (error_code(code), partition.map(|it| it.committed_offset))
    });
    let (code, offset) = match answered.await {
        Ok((ErrorCode::None, Some(offset))) => (ErrorCode::None, offset),
        other => {
            client.shared.meet("committed", &other.map(|(code, _)| code));
            group.coordinator = None;
            return false;
        }
    };
    let least = if sure { group.acknowledged } else { -1 };
    if offset < least || offset > group.tried {
        client.shared.blame(format!(
            "G-2: broker {coordinator} says ({code:?}) that {offset} is committed for {}; \
             acknowledged was {}, tried {}",
            group.id, group.acknowledged, group.tried
        ));
    }
    true
}
