//! Members of a consumer group (KIP-848), who share the topic's partitions among them: nobody is given
//! what another has, whatever becomes of coordinators (G-1). One that gets no answer is gone, and
//! another comes in its place.

use super::grouped::find_coordinator;
use super::{Client, PARTITIONS, TOPIC};
use crate::cluster::machine::kafka_at;
use jocko_protocol::error_code;
use jocko_protocol::rpc::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use jocko_types::{ErrorCode, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;
use tokio::time::Instant;

const HEARTBEAT: i16 = 1;
/// What the group is called.
const GROUP: &str = "team";
/// Joining, and leaving.
const JOIN: i32 = 0;
const LEAVE: i32 = -1;
/// How long a member may take to give back what it has: longer than any run.
const REBALANCE_MS: i32 = 600_000;
/// How long a coordinator waits for a silent member, as set by default.
const SESSION: Duration = Duration::from_secs(45);
/// How often a member leaves by itself.
const LEAVE_PER_MILLE: u64 = 60;

/// Who has which partition, as its members know: with the moment at which its last answered heartbeat
/// was sent.
pub(crate) type Owners = BTreeMap<u32, (String, Instant)>;

/// A member that has been given an answer, or none yet.
#[derive(Debug)]
struct Member {
    id: String,
    epoch: i32,
    owned: BTreeSet<u32>,
    coordinator: Option<u32>,
    topic: Option<TopicId>,
}

/// What a coordinator says.
struct Answer {
    code: ErrorCode,
    epoch: i32,
    assigned: Option<BTreeSet<u32>>,
}

/// Is a member, one after the other, until the run is over; then once more, which must come about.
pub(crate) async fn take_part(mut client: Client) {
    loop {
        let is_last = client.is_over();
        let mut member = Member {
            id: format!("member-{}", client.shared.process()),
            epoch: JOIN,
            owned: BTreeSet::new(),
            coordinator: None,
            topic: None,
        };
        let stays = live(&mut client, &mut member, is_last).await;
        // It reads nothing any more, whether the coordinator knows that or not.
        give_up(&client, &member.id, |_| true);
        leave(&mut client, &member).await;
        if is_last && stays {
            return;
        }
    }
}

/// Beats until the member is to leave (`true`), or is none any more. The last one only has to get in.
async fn live(client: &mut Client, member: &mut Member, is_last: bool) -> bool {
    while is_last || !client.is_over() {
        client.rest(400).await;
        if member.coordinator.is_none() {
            member.coordinator = find_coordinator(client, GROUP).await;
        }
        if member.topic.is_none() {
            let anyone = client.anyone();
            member.topic = client.id_at(anyone).await.filter(|id| !id.is_zero());
        }
        let (Some(coordinator), Some(topic)) = (member.coordinator, member.topic) else { continue };
        if client.dice.per_mille(LEAVE_PER_MILLE) && member.epoch != JOIN {
            return true;
        }
        let sent = Instant::now();
        let answered = beat(client, coordinator, member, topic).await;
        client.shared.meet("member", &answered.as_ref().map(|answer| answer.code));
        match answered {
            Ok(Answer { code: ErrorCode::None, epoch, assigned }) => {
                member.epoch = epoch;
                take(client, member, assigned, sent);
                client.shared.beats.set(client.shared.beats.get() + 1);
                if is_last {
                    return true;
                }
            }
            Ok(Answer {
                code: ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId, ..
            })
            // What was sent may be read later than what comes next.
            | Err(_) => return false,
            Ok(_) => member.coordinator = None,
        }
    }
    true
}

/// Takes what the coordinator has given, and gives back what it has not.
fn take(client: &Client, member: &mut Member, assigned: Option<BTreeSet<u32>>, sent: Instant) {
    if let Some(assigned) = assigned {
        give_up(client, &member.id, |partition| !assigned.contains(&partition));
        member.owned = assigned;
    }
    let mut owners = client.shared.owners.borrow_mut();
    for partition in &member.owned {
        let other = owners.insert(*partition, (member.id.clone(), sent));
        if let Some((other, heard)) = other
            && other != member.id
            && heard.elapsed() < SESSION
        {
            client.shared.blame(format!(
                "G-1: {} is given partition {partition}, which {other} has",
                member.id
            ));
        }
    }
}

/// Is done with some of what the member has.
fn give_up(client: &Client, id: &str, which: impl Fn(u32) -> bool) {
    let mut owners = client.shared.owners.borrow_mut();
    owners.retain(|partition, (owner, _)| owner != id || !which(*partition));
}

/// Leaves, until a coordinator says that it is so.
async fn leave(client: &mut Client, member: &Member) {
    let Some(topic) = member.topic else { return };
    let gone = Member {
        id: member.id.clone(),
        epoch: LEAVE,
        owned: BTreeSet::new(),
        coordinator: None,
        topic: None,
    };
    loop {
        if let Some(coordinator) = find_coordinator(client, GROUP).await {
            let answered = beat(client, coordinator, &gone, topic).await;
            client.shared.meet("leave", &answered.as_ref().map(|answer| answer.code));
            let codes = [ErrorCode::None, ErrorCode::UnknownMemberId, ErrorCode::GroupIdNotFound];
            if answered.is_ok_and(|answer| codes.contains(&answer.code)) {
                return;
            }
        }
        client.rest(300).await;
    }
}

/// One heartbeat, which says all there is to say.
async fn beat(client: &mut Client, to: u32, member: &Member, topic: TopicId) -> io::Result<Answer> {
    let partitions = member.owned.iter().filter_map(|it| i32::try_from(*it).ok()).collect();
    let owned = TopicPartitions { topic_id: topic, partitions, ..Default::default() };
    let request = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: member.id.clone(),
        member_epoch: member.epoch,
        rebalance_timeout_ms: REBALANCE_MS,
        subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
        topic_partitions: Some(if member.owned.is_empty() { Vec::new() } else { vec![owned] }),
        ..Default::default()
    };
    let answered = client.wire.ask(kafka_at(to), HEARTBEAT, &request, |response| {
        let assigned = response.assignment.as_ref().map(|assignment| {
            let all = assignment.topic_partitions.iter().flat_map(|it| &it.partitions);
            all.filter_map(|it| u32::try_from(*it).ok()).filter(|it| *it < PARTITIONS).collect()
        });
        Answer { code: error_code(response.error_code), epoch: response.member_epoch, assigned }
    });
    answered.await
}
