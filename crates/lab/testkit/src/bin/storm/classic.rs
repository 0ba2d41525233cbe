//! A member of a classic group: eager rebalances, the leader shares partitions out.

use crate::wire::{Owner, Trouble, check, pause};
use crate::world::{PARTITIONS, REBALANCE, REQUEST_MAX, SESSION, World, group_id};
use jocko_client::Connection;
use jocko_protocol::error_code;
use jocko_protocol::rpc::heartbeat_request::HeartbeatRequest;
use jocko_protocol::rpc::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use jocko_protocol::rpc::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use jocko_protocol::rpc::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use jocko_types::ErrorCode;
use std::time::{Duration, Instant};

/// What the members speak; to the broker it is one protocol like any other.
const PROTOCOL_TYPE: &str = "storm";
const PROTOCOL: &str = "turns";
/// How often a member is heard of.
const BEAT: Duration = Duration::from_millis(250);

/// A member that is in.
struct Seat {
    member_id: String,
    generation: i32,
}

/// Lives over and over until the storm is over.
pub(crate) async fn live(world: &World, group: u32, number: u32) {
    tokio::time::sleep(Duration::from_millis(world.random(500) + u64::from(number))).await;
    while !world.is_stopped() {
        let mut owner = Owner { group, life: world.new_life(), positions: Default::default() };
        let ended = one_life(world, &mut owner).await;
        owner.release_all(world);
        match ended {
            Ok(()) | Err(Trouble::Connection(_)) => {}
            Err(trouble) => world.fault(format!("group {group}: a classic member got {trouble}")),
        }
        pause().await;
    }
}

async fn one_life(world: &World, owner: &mut Owner) -> Result<(), Trouble> {
    let mut connection = world.connect().await?;
    let mut member_id = String::new();
    let dies_at = Instant::now() + Duration::from_millis(300 + world.random(6_000));
    loop {
        let seat = match join_and_sync(world, &mut connection, owner, &member_id).await {
            Ok(seat) => seat,
            Err(Trouble::Refused(code)) if may_join_again(code) => {
                if code == ErrorCode::UnknownMemberId {
                    member_id.clear();
                }
                pause().await;
                if world.is_stopped() {
                    return Ok(());
                }
                continue;
            }
            Err(trouble) => return Err(trouble),
        };
        member_id.clone_from(&seat.member_id);
        let ended = hold(world, &mut connection, owner, &seat, dies_at).await;
        owner.release_all(world);
        match ended {
            // Its time has come: half of them say so.
            Ok(()) if world.is_stopped() || world.random(2) == 0 => {
                return leave(&mut connection, owner.group, &seat).await;
            }
            Ok(()) => return Ok(()),
            Err(Trouble::Refused(code)) if may_join_again(code) => {
                if matches!(code, ErrorCode::UnknownMemberId) {
                    member_id.clear();
                }
            }
            Err(trouble) => return Err(trouble),
        }
    }
}

/// Errors that are part of a group's life.
fn may_join_again(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RebalanceInProgress
            | ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
    )
}

async fn join_and_sync(
    world: &World,
    connection: &mut Connection,
    owner: &mut Owner,
    member_id: &str,
) -> Result<Seat, Trouble> {
    let mut request = JoinGroupRequest {
        group_id: group_id(owner.group),
        session_timeout_ms: millis(SESSION),
        rebalance_timeout_ms: millis(REBALANCE),
        member_id: member_id.to_owned(),
        group_instance_id: None,
        protocol_type: PROTOCOL_TYPE.to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: PROTOCOL.to_owned(),
            metadata: owner.life.to_be_bytes().to_vec(),
            ..Default::default()
        }],
        reason: None,
        ..Default::default()
    };
    let asked = Instant::now();
    let patience = REBALANCE + SESSION + REQUEST_MAX;
    let mut answer = connection.call_within(&request, patience).await?;
    if error_code(answer.get()?.error_code) == ErrorCode::MemberIdRequired {
        request.member_id = answer.get()?.member_id;
        answer = connection.call_within(&request, patience).await?;
    }
    let joined = answer.get()?;
    check(joined.error_code)?;
    world.joined(owner.group, asked.elapsed());
    let seat = Seat { member_id: joined.member_id.clone(), generation: joined.generation_id };
    let assignments = if joined.leader == joined.member_id {
        let members: Vec<&str> =
            joined.members.iter().map(|member| member.member_id.as_str()).collect();
        share_out(&members)
    } else {
        Vec::new()
    };
    let request = SyncGroupRequest {
        group_id: group_id(owner.group),
        generation_id: seat.generation,
        member_id: seat.member_id.clone(),
        group_instance_id: None,
        protocol_type: Some(PROTOCOL_TYPE.to_owned()),
        protocol_name: Some(PROTOCOL.to_owned()),
        assignments,
        ..Default::default()
    };
    let answer = connection.call_within(&request, patience).await?;
    let synced = answer.get()?;
    check(synced.error_code)?;
    let partitions: Vec<i32> = synced.assignment.iter().map(|byte| i32::from(*byte)).collect();
    world.ledger(owner.group).given(owner.life, seat.generation, &partitions);
    owner.positions = partitions.iter().map(|partition| (*partition, -1)).collect();
    owner.take_over(world, connection, &partitions, None).await?;
    Ok(seat)
}

/// Partitions by turns; a byte each.
fn share_out(members: &[&str]) -> Vec<SyncGroupRequestAssignment> {
    let count = i32::try_from(members.len()).unwrap_or(i32::MAX);
    let each = members.iter().zip(0..).map(|(member, at)| SyncGroupRequestAssignment {
        member_id: (*member).to_owned(),
        assignment: (0..PARTITIONS)
            .filter(|partition| partition % count == at)
            .filter_map(|partition| u8::try_from(partition).ok())
            .collect(),
        ..Default::default()
    });
    each.collect()
}

/// Stays in until its time has come or the group moves on.
async fn hold(
    world: &World,
    connection: &mut Connection,
    owner: &mut Owner,
    seat: &Seat,
    dies_at: Instant,
) -> Result<(), Trouble> {
    let request = HeartbeatRequest {
        group_id: group_id(owner.group),
        generation_id: seat.generation,
        member_id: seat.member_id.clone(),
        group_instance_id: None,
        ..Default::default()
    };
    loop {
        if world.is_stopped() || (Instant::now() >= dies_at && !world.is_calm()) {
            return Ok(());
        }
        owner.commit(world, connection, (&seat.member_id, seat.generation)).await?;
        let answer = connection.call_within(&request, REQUEST_MAX).await?;
        check(answer.get()?.error_code)?;
        tokio::time::sleep(BEAT).await;
    }
}

async fn leave(connection: &mut Connection, group: u32, seat: &Seat) -> Result<(), Trouble> {
    let request = LeaveGroupRequest {
        group_id: group_id(group),
        members: vec![MemberIdentity {
            member_id: seat.member_id.clone(),
            group_instance_id: None,
            reason: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    // Whether it was still a member makes no difference to one that goes.
    connection.call_within(&request, REQUEST_MAX).await?;
    Ok(())
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
