//! A member of a consumer group (KIP-848): the broker shares partitions out.

use crate::wire::{Owner, Trouble, check, pause};
use crate::world::{REBALANCE, REQUEST_MAX, SESSION, World, group_id, topic};
use jocko_client::Connection;
use jocko_protocol::rpc::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use jocko_types::{ErrorCode, Uuid};
use std::time::{Duration, Instant};

const JOIN: i32 = 0;
const LEAVE: i32 = -1;
/// How often a member is heard of.
const BEAT: Duration = Duration::from_millis(250);

/// Lives over and over until the storm is over.
pub(crate) async fn live(world: &World, group: u32, number: u32) {
    tokio::time::sleep(Duration::from_millis(world.random(500) + u64::from(number))).await;
    while !world.is_stopped() {
        let mut owner = Owner { group, life: world.new_life(), positions: Default::default() };
        let ended = one_life(world, &mut owner).await;
        owner.release_all(world);
        match ended {
            Ok(()) | Err(Trouble::Connection(_)) => {}
            Err(trouble) => world.fault(format!("group {group}: a consumer got {trouble}")),
        }
        pause().await;
    }
}

/// What a member knows between two heartbeats.
struct Member {
    id: String,
    epoch: i32,
    topic_id: Uuid,
}

async fn one_life(world: &World, owner: &mut Owner) -> Result<(), Trouble> {
    let mut connection = world.connect().await?;
    let id = format!("member-{}", owner.life);
    let mut member = Member { id, epoch: JOIN, topic_id: Uuid::ZERO };
    let dies_at = Instant::now() + Duration::from_millis(300 + world.random(6_000));
    loop {
        if world.is_stopped() || (Instant::now() >= dies_at && !world.is_calm()) {
            owner.release_all(world);
            // Half of them say that they go.
            if world.is_stopped() || world.random(2) == 0 {
                member.epoch = LEAVE;
                connection.call_within(&heartbeat(owner, &member), REQUEST_MAX).await?;
            }
            return Ok(());
        }
        match beat(world, &mut connection, owner, &mut member).await {
            Ok(()) => {}
            Err(Trouble::Refused(ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId)) => {
                owner.release_all(world);
                member.epoch = JOIN;
            }
            Err(Trouble::Refused(code)) if passes(code) => pause().await,
            Err(trouble) => return Err(trouble),
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// Errors that pass by themselves.
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::StaleMemberEpoch
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
    )
}

async fn beat(
    world: &World,
    connection: &mut Connection,
    owner: &mut Owner,
    member: &mut Member,
) -> Result<(), Trouble> {
    let sent = Instant::now();
    let answer = connection.call_within(&heartbeat(owner, member), REQUEST_MAX).await?;
    let response = answer.get()?;
    check(response.error_code)?;
    member.epoch = response.member_epoch;
    world.ledger(owner.group).renewed(owner.life, sent, SESSION);
    if let Some(assignment) = &response.assignment {
        let mut wanted = Vec::new();
        for given in &assignment.topic_partitions {
            member.topic_id = given.topic_id;
            wanted.extend_from_slice(&given.partitions);
        }
        let before = owner.partitions();
        let revoked: Vec<i32> =
            before.iter().copied().filter(|each| !wanted.contains(each)).collect();
        let added: Vec<i32> =
            wanted.iter().copied().filter(|each| !before.contains(each)).collect();
        world.ledger(owner.group).released(owner.life, &revoked);
        owner.positions.retain(|partition, _| wanted.contains(partition));
        world.ledger(owner.group).claimed(owner.life, &added, sent, SESSION);
        for partition in &added {
            owner.positions.insert(*partition, world.ledger(owner.group).acknowledged(*partition));
        }
        owner.take_over(world, connection, &added, Some((&member.id, member.epoch))).await?;
    }
    owner.commit(world, connection, (&member.id, member.epoch)).await
}

fn heartbeat(owner: &Owner, member: &Member) -> ConsumerGroupHeartbeatRequest {
    let owned = owner.partitions();
    let topic_partitions = if owned.is_empty() {
        Vec::new()
    } else {
        vec![TopicPartitions { topic_id: member.topic_id, partitions: owned, ..Default::default() }]
    };
    ConsumerGroupHeartbeatRequest {
        group_id: group_id(owner.group),
        member_id: member.id.clone(),
        member_epoch: member.epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: i32::try_from(REBALANCE.as_millis()).unwrap_or(i32::MAX),
        subscribed_topic_names: Some(vec![topic(owner.group)]),
        subscribed_topic_regex: None,
        server_assignor: None,
        topic_partitions: Some(topic_partitions),
        ..Default::default()
    }
}
