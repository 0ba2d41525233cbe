//! What the scenarios of groups share: the ordinary requests of members, and the way into a group.

use crate::run::{Answer, Run, Topic};
use crate::scenarios::set_group_config;
use anyhow::{Result, ensure};
use jocko_protocol::rpc::consumer_group_heartbeat_request::TopicPartitions;
use jocko_protocol::rpc::join_group_request::JoinGroupRequestProtocol;
use jocko_protocol::rpc::leave_group_request::MemberIdentity;
use jocko_protocol::rpc::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use jocko_protocol::rpc::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use jocko_protocol::rpc::sync_group_request::SyncGroupRequestAssignment;
use jocko_protocol::rpc::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DescribeGroupsRequest,
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use std::time::{Duration, Instant};

/// Long enough that no session and no rebalance ends by itself during a scenario.
pub(super) const SESSION_MS: i32 = 60_000;
/// The errors of a coordinator that is not there yet.
const NOT_YET: [i64; 3] = [14, 15, 16];
/// A member id must be brought along.
pub(super) const MEMBER_ID_REQUIRED: i64 = 79;
/// The members shall join again.
pub(super) const REBALANCE: i64 = 27;
/// How long a coordinator may take to be there.
const READY_MAX: Duration = Duration::from_secs(30);

/// Group ids that are refused somewhere, or nearly: this run's own.
pub(super) fn odd_groups(run: &Run<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("an empty group id", String::new()),
        ("a blank at the end", run.name(" ")),
        ("a slash and letters beyond ASCII", run.name("caf\u{e9}/\u{1f600}")),
        ("a zero byte", run.name("a\0b")),
        ("400 letters", run.name(&"g".repeat(400))),
    ]
}

/// Waits until the coordinators of these groups serve; records nothing. Yields the names.
pub(super) fn ready<const N: usize>(run: &mut Run<'_>, bases: [&str; N]) -> Result<[String; N]> {
    let names = bases.map(|base| run.name(base));
    for name in &names {
        wait_for(run, name)?;
    }
    Ok(names)
}

/// Waits until the coordinator of a group serves.
pub(super) fn wait_for(run: &mut Run<'_>, group: &str) -> Result<()> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        let found = run.ask(&find(&[group]))?;
        if found.int("/coordinators/0/errorCode") == 0 {
            let answer = run.ask(&describe(&[group]))?;
            if !NOT_YET.contains(&answer.int("/groups/0/errorCode")) {
                return Ok(());
            }
        }
        ensure!(Instant::now() < deadline, "{group} gets no coordinator: {}", found.0);
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Lets the target of consumer groups be computed whenever it is due, and waits until the
/// coordinator knows of that and of all topics there are.
pub(super) fn hurried(run: &mut Run<'_>, groups: &[&str]) -> Result<()> {
    for group in groups {
        let request = set_group_config(group, "consumer.assignment.interval.ms", "0");
        let answer = run.ask(&request)?;
        ensure!(answer.int("/responses/0/errorCode") == 0, "hurrying {group}: {}", answer.0);
    }
    run.settle()
}

pub(super) fn find(keys: &[&str]) -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        coordinator_keys: keys.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

/// What a consumer says of itself when it joins: topics, and what it owns.
pub(super) fn subscription(version: i16, topics: &[&str], owned: &[(&str, &[i32])]) -> Vec<u8> {
    let mut bytes = version.to_be_bytes().to_vec();
    put_count(&mut bytes, topics.len());
    topics.iter().for_each(|topic| put_text(&mut bytes, topic));
    bytes.extend((-1_i32).to_be_bytes());
    if version >= 1 {
        put_partitions(&mut bytes, owned);
    }
    if version >= 2 {
        bytes.extend((-1_i32).to_be_bytes());
    }
    if version >= 3 {
        bytes.extend((-1_i16).to_be_bytes());
    }
    bytes
}

/// What a leader gives a consumer.
pub(super) fn assignment(version: i16, partitions: &[(&str, &[i32])]) -> Vec<u8> {
    let mut bytes = version.to_be_bytes().to_vec();
    put_partitions(&mut bytes, partitions);
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

fn put_partitions(bytes: &mut Vec<u8>, topics: &[(&str, &[i32])]) {
    put_count(bytes, topics.len());
    for (topic, partitions) in topics {
        put_text(bytes, topic);
        put_count(bytes, partitions.len());
        partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend(i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes());
    bytes.extend(text.as_bytes());
}

/// A consumer that subscribes to the topic "t" and knows the dialect "range".
pub(super) fn join(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: SESSION_MS,
        member_id: member.to_owned(),
        protocol_type: "consumer".into(),
        protocols: protocols(&[("range", &subscription(0, &["t"], &[]))]),
        ..Default::default()
    }
}

pub(super) fn protocols(each: &[(&str, &[u8])]) -> Vec<JoinGroupRequestProtocol> {
    let protocol = |(name, metadata): &(&str, &[u8])| JoinGroupRequestProtocol {
        name: (*name).to_owned(),
        metadata: metadata.to_vec(),
        ..Default::default()
    };
    each.iter().map(protocol).collect()
}

/// Joins; comes back with the member id where it is told to.
pub(super) fn admit(run: &mut Run<'_>, label: &str, request: &JoinGroupRequest) -> Result<Answer> {
    let answer = run.send(label, request)?;
    if answer.int("/errorCode") != MEMBER_ID_REQUIRED {
        return Ok(answer);
    }
    let member_id = answer.text("/memberId");
    let again = JoinGroupRequest { member_id, ..request.clone() };
    run.send(format!("{label}, with an id"), &again)
}

/// Joins without waiting for the group: the member's id where it has been given one, else empty.
pub(super) fn knock(run: &mut Run<'_>, label: &str, request: &JoinGroupRequest) -> Result<String> {
    let needs_id = run.version_of(jocko_protocol::ApiKey::JoinGroup) >= 4;
    let is_new = request.member_id.is_empty() && request.group_instance_id.is_none();
    if !needs_id || !is_new {
        run.post(label, request)?;
        return Ok(request.member_id.clone());
    }
    let member_id = run.send(label, request)?.text("/memberId");
    let again = JoinGroupRequest { member_id: member_id.clone(), ..request.clone() };
    run.post(format!("{label}, with an id"), &again)?;
    Ok(member_id)
}

pub(super) fn sync(group: &str, member: &str, generation: i64) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: i32::try_from(generation).unwrap_or(-1),
        member_id: member.to_owned(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        ..Default::default()
    }
}

/// The leader's: what each gets.
pub(super) fn assigning(mut request: SyncGroupRequest, each: &[(&str, &[u8])]) -> SyncGroupRequest {
    let one = |(member_id, assignment): &(&str, &[u8])| SyncGroupRequestAssignment {
        member_id: (*member_id).to_owned(),
        assignment: assignment.to_vec(),
        ..Default::default()
    };
    request.assignments = each.iter().map(one).collect();
    request
}

pub(super) fn heartbeat(group: &str, member: &str, generation: i64) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id: i32::try_from(generation).unwrap_or(-1),
        member_id: member.to_owned(),
        ..Default::default()
    }
}

/// One member leaves, in the form of the version.
pub(super) fn leave(version: i16, group: &str, member: &str) -> LeaveGroupRequest {
    if version < 3 {
        return LeaveGroupRequest {
            group_id: group.to_owned(),
            member_id: member.to_owned(),
            ..Default::default()
        };
    }
    leave_all(group, &[(member, None)])
}

/// Several leave, from version 3 on.
pub(super) fn leave_all(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let member = |(member_id, instance): &(&str, Option<&str>)| MemberIdentity {
        member_id: (*member_id).to_owned(),
        group_instance_id: instance.map(str::to_owned),
        ..Default::default()
    };
    LeaveGroupRequest {
        group_id: group.to_owned(),
        members: members.iter().map(member).collect(),
        ..Default::default()
    }
}

pub(super) fn describe(groups: &[&str]) -> DescribeGroupsRequest {
    DescribeGroupsRequest {
        groups: groups.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

pub(super) fn describe_consumers(groups: &[&str]) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest {
        group_ids: groups.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

pub(super) fn list(states: &[&str], types: &[&str]) -> ListGroupsRequest {
    ListGroupsRequest {
        states_filter: states.iter().map(ToString::to_string).collect(),
        types_filter: types.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

/// Offsets with epoch -1 and no words.
pub(super) fn commit_topic(topic: &Topic, offsets: &[(i32, i64)]) -> OffsetCommitRequestTopic {
    let one = |(partition_index, committed_offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index: *partition_index,
        committed_offset: *committed_offset,
        committed_metadata: Some(String::new()),
        ..Default::default()
    };
    OffsetCommitRequestTopic {
        name: topic.name.clone(),
        topic_id: topic.id,
        partitions: offsets.iter().map(one).collect(),
        ..Default::default()
    }
}

/// A commit by nobody in particular.
pub(super) fn commit(group: &str, topics: Vec<OffsetCommitRequestTopic>) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        topics,
        ..Default::default()
    }
}

/// Asks for offsets of one group in the form of the version; `None` is all.
pub(super) fn fetch_offsets(
    version: i16,
    group: &str,
    topics: Option<&[(&Topic, &[i32])]>,
) -> OffsetFetchRequest {
    if version < 8 {
        let one = |(topic, partitions): &(&Topic, &[i32])| OffsetFetchRequestTopic {
            name: topic.name.clone(),
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        };
        return OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: topics.map(|topics| topics.iter().map(one).collect()),
            ..Default::default()
        };
    }
    OffsetFetchRequest { groups: vec![fetch_group(group, topics)], ..Default::default() }
}

pub(super) fn fetch_group(
    group: &str,
    topics: Option<&[(&Topic, &[i32])]>,
) -> OffsetFetchRequestGroup {
    let one = |(topic, partitions): &(&Topic, &[i32])| OffsetFetchRequestTopics {
        name: topic.name.clone(),
        topic_id: topic.id,
        partition_indexes: partitions.to_vec(),
        ..Default::default()
    };
    OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: topics.map(|topics| topics.iter().map(one).collect()),
        member_epoch: -1,
        ..Default::default()
    }
}

/// A member of the consumer protocol joins.
pub(super) fn consumer(
    group: &str,
    member: &str,
    topics: &[&str],
) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: 0,
        rebalance_timeout_ms: SESSION_MS,
        subscribed_topic_names: Some(topics.iter().map(ToString::to_string).collect()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// A member of the consumer protocol is still there, and nothing has changed.
pub(super) fn beat(group: &str, member: &str, epoch: i64) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: i32::try_from(epoch).unwrap_or(i32::MIN),
        rebalance_timeout_ms: -1,
        ..Default::default()
    }
}

/// The same, saying what it owns.
pub(super) fn owning(
    mut request: ConsumerGroupHeartbeatRequest,
    owned: &[(&Topic, &[i32])],
) -> ConsumerGroupHeartbeatRequest {
    let one = |(topic, partitions): &(&Topic, &[i32])| TopicPartitions {
        topic_id: topic.id,
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    request.topic_partitions = Some(owned.iter().map(one).collect());
    request
}

/// Whether an answer to a consumer's heartbeat gives it partitions.
pub(super) fn has_partitions(answer: &Answer) -> bool {
    answer.0["assignment"]["topicPartitions"].as_array().is_some_and(|topics| !topics.is_empty())
}
