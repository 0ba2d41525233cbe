//! Many members: what groups cost while they are at rest.

use crate::wire::coordinator;
use crate::{REQUEST_MAX, Target};
use anyhow::{Result, ensure};
use jocko_protocol::error_code;
use jocko_protocol::rpc::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use std::time::Instant;

/// Members of each group.
const MEMBERS: u64 = 10;
/// Partitions of the topic that all groups read.
const PARTITIONS: i32 = 10;
const TOPIC: &str = "grouploads-members";

/// Lets the members of many consumer groups join, and leaves them there.
pub(crate) async fn run(target: &Target, groups: u64) -> Result<String> {
    target.topic(TOPIC, PARTITIONS).await?;
    let mut connection = coordinator(target, "crowd-0").await?;
    let begun = Instant::now();
    for group in 0..groups {
        for member in 0..MEMBERS {
            let heartbeat = ConsumerGroupHeartbeatRequest {
                group_id: format!("crowd-{group}"),
                member_id: format!("member-{member}-of-crowd-{group}"),
                member_epoch: 0,
                instance_id: None,
                rack_id: None,
                rebalance_timeout_ms: 30_000,
                subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
                subscribed_topic_regex: None,
                server_assignor: None,
                topic_partitions: Some(Vec::new()),
                ..Default::default()
            };
            let answer = connection.call_within(&heartbeat, REQUEST_MAX).await?;
            let response = answer.get()?;
            ensure!(response.error_code == 0, "heartbeat: {}", error_code(response.error_code));
        }
    }
    Ok(format!("members {} took_ms {}", groups * MEMBERS, begun.elapsed().as_millis()))
}
