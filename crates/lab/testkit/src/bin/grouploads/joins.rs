//! From a consumer's first word to its first record, by both protocols, over and over with groups
//! that are new each time. The consumer is this program: what is measured is the broker.

use crate::wire::{BY_NAME, coordinator, quantile};
use crate::{REQUEST_MAX, Target};
use anyhow::{Result, ensure};
use jocko_client::{Client, Connection};
use jocko_protocol::error_code;
use jocko_protocol::rpc::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use jocko_protocol::rpc::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use jocko_protocol::rpc::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use jocko_protocol::rpc::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use jocko_records::{BatchBuilder, Encoding};
use jocko_types::{ErrorCode, Offset, Timestamp};
use std::time::{Duration, Instant};

const TOPIC: &str = "grouploads-joins";
/// A fetch waits at most so long; there is a record, so it does not.
const POLL: Duration = Duration::from_secs(5);

pub(crate) async fn run(target: &Target, rounds: u64) -> Result<String> {
    target.topic(TOPIC, 1).await?;
    let mut client = Client::new(vec![target.address.clone()], REQUEST_MAX);
    let mut batch = BatchBuilder::new(Encoding::NONE);
    batch.push(Timestamp::from_millis(1), None, Some(b"first"), &[])?;
    client.produce(TOPIC, 0, &batch.build()?, -1).await?;
    let mut classic = Vec::new();
    let mut consumer = Vec::new();
    // The first round warms the broker up.
    for round in 0..=rounds {
        let mut connection = coordinator(target, &format!("classic-{round}")).await?;
        let begun = Instant::now();
        join_classic(&mut connection, &format!("classic-{round}")).await?;
        first_record(&mut client, &mut connection, &format!("classic-{round}")).await?;
        let took_classic = begun.elapsed();
        let mut connection = coordinator(target, &format!("consumer-{round}")).await?;
        let begun = Instant::now();
        join_consumer(&mut connection, &format!("consumer-{round}")).await?;
        first_record(&mut client, &mut connection, &format!("consumer-{round}")).await?;
        if round > 0 {
            classic.push(took_classic);
            consumer.push(begun.elapsed());
        }
    }
    Ok(format!(
        "classic_p50_ms {:.2} classic_p99_ms {:.2} consumer_p50_ms {:.2} consumer_p99_ms {:.2}",
        quantile(&mut classic, 50),
        quantile(&mut classic, 99),
        quantile(&mut consumer, 50),
        quantile(&mut consumer, 99),
    ))
}

async fn join_classic(connection: &mut Connection, group: &str) -> Result<()> {
    let mut join = JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        group_instance_id: None,
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            // Version 0 of the embedded protocol: no topics, no user data.
            metadata: vec![0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            ..Default::default()
        }],
        reason: None,
        ..Default::default()
    };
    let mut answer = connection.call_within(&join, REQUEST_MAX).await?;
    if error_code(answer.get()?.error_code) == ErrorCode::MemberIdRequired {
        join.member_id = answer.get()?.member_id;
        answer = connection.call_within(&join, REQUEST_MAX).await?;
    }
    let joined = answer.get()?;
    ensure!(joined.error_code == 0, "join: {}", error_code(joined.error_code));
    let sync = SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: None,
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id,
            assignment: vec![0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = connection.call_within(&sync, REQUEST_MAX).await?;
    let synced = answer.get()?;
    ensure!(synced.error_code == 0, "sync: {}", error_code(synced.error_code));
    Ok(())
}

async fn join_consumer(connection: &mut Connection, group: &str) -> Result<()> {
    let mut epoch = 0;
    let begun = Instant::now();
    loop {
        let heartbeat = ConsumerGroupHeartbeatRequest {
            group_id: group.to_owned(),
            member_id: format!("member-of-{group}"),
            member_epoch: epoch,
            instance_id: None,
            rack_id: None,
            rebalance_timeout_ms: if epoch == 0 { 30_000 } else { -1 },
            subscribed_topic_names: (epoch == 0).then(|| vec![TOPIC.to_owned()]),
            subscribed_topic_regex: None,
            server_assignor: None,
            topic_partitions: (epoch == 0).then(Vec::new),
            ..Default::default()
        };
        let answer = connection.call_within(&heartbeat, REQUEST_MAX).await?;
        let response = answer.get()?;
        ensure!(response.error_code == 0, "heartbeat: {}", error_code(response.error_code));
        if response.assignment.is_some_and(|given| !given.topic_partitions.is_empty()) {
            return Ok(());
        }
        epoch = response.member_epoch;
        ensure!(begun.elapsed() < REQUEST_MAX, "nothing is assigned");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What a consumer asks next: where it was, and what there is.
async fn first_record(client: &mut Client, connection: &mut Connection, group: &str) -> Result<()> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: TOPIC.to_owned(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    connection.call_at(&request, BY_NAME, REQUEST_MAX).await?;
    let fetched = client.fetch(TOPIC, 0, Offset::ZERO, POLL).await?;
    ensure!(!fetched.records.is_empty(), "there is a record, and it was not fetched");
    Ok(())
}
