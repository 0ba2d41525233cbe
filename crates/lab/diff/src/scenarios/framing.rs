//! Frames that are cut, padded, extended or of a version or API that is not served.

use super::requests::{
    self, TIMEOUT_MS, UNKNOWN_ID, creatable, describe_configs, fetch_from, list_offsets, metadata,
};
use crate::batches;
use crate::run::{CLIENT_ID, Run, Topic};
use crate::scenario::{Scenario, served};
use anyhow::Result;
use jocko_protocol::json::ToJson;
use jocko_protocol::rpc::delete_topics_request::DeleteTopicState;
use jocko_protocol::rpc::describe_topic_partitions_request::TopicRequest;
use jocko_protocol::rpc::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use jocko_protocol::rpc::{
    ApiVersionsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeTopicPartitionsRequest, InitProducerIdRequest, MetadataRequest,
    OffsetForLeaderEpochRequest,
};
use jocko_protocol::{ApiKey, Request, Writer, frame, versions};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::Produce, FRAMES, frames),
    Scenario::new(ApiKey::Fetch, FRAMES, frames),
    Scenario::new(ApiKey::ListOffsets, FRAMES, frames),
    Scenario::new(ApiKey::Metadata, FRAMES, frames),
    Scenario::new(ApiKey::ApiVersions, FRAMES, frames),
    Scenario::new(ApiKey::CreateTopics, FRAMES, frames),
    Scenario::new(ApiKey::DeleteTopics, FRAMES, frames),
    Scenario::new(ApiKey::InitProducerId, FRAMES, frames),
    Scenario::new(ApiKey::OffsetForLeaderEpoch, FRAMES, frames),
    Scenario::new(ApiKey::DescribeConfigs, FRAMES, frames),
    Scenario::new(ApiKey::DescribeCluster, FRAMES, frames),
    Scenario::new(ApiKey::DescribeTopicPartitions, FRAMES, frames),
    Scenario::new(ApiKey::ApiVersions, "APIs and versions not served", not_served).since(4),
    Scenario::new(ApiKey::ApiVersions, "answers in order", in_order),
];

const FRAMES: &str = "frames cut, padded, extended";

/// The frame with its size field right, whatever it held.
pub(super) fn with_size(mut frame: Vec<u8>) -> Vec<u8> {
    let size = u32::try_from(frame.len() - 4).expect("a scenario's frame is small");
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

fn frames(run: &mut Run<'_>) -> Result<()> {
    let topic = Topic { name: run.name("none"), id: UNKNOWN_ID };
    let name = topic.name.clone();
    match run.api() {
        ApiKey::Produce => {
            let batch = batches::plain(run.time(), &["v"]);
            bend(run, &requests::produce(&topic, 0, &batch))
        }
        ApiKey::Fetch => bend(run, &requests::fetch(&topic, vec![fetch_from(0, 0)])),
        ApiKey::ListOffsets => bend(run, &list_offsets(&name, &[(0, -1)])),
        // These versions create what they are asked for, if its name is good.
        ApiKey::Metadata if run.version() < 4 => {
            bend(run, &MetadataRequest { allow_auto_topic_creation: true, ..metadata(&["."]) })
        }
        ApiKey::Metadata => bend(run, &metadata(&[&name])),
        ApiKey::ApiVersions => bend(run, &named_client()),
        ApiKey::CreateTopics => bend(run, &requests::create(vec![creatable(".", 1, 1)])),
        ApiKey::DeleteTopics => {
            let request = if run.version() >= 6 {
                let state = DeleteTopicState { name: Some(name), ..Default::default() };
                DeleteTopicsRequest { topics: vec![state], ..Default::default() }
            } else {
                DeleteTopicsRequest { topic_names: vec![name], ..Default::default() }
            };
            bend(run, &DeleteTopicsRequest { timeout_ms: TIMEOUT_MS, ..request })
        }
        ApiKey::InitProducerId => bend(
            run,
            &InitProducerIdRequest { transaction_timeout_ms: TIMEOUT_MS, ..Default::default() },
        ),
        ApiKey::OffsetForLeaderEpoch => bend(
            run,
            &OffsetForLeaderEpochRequest {
                topics: vec![OffsetForLeaderTopic {
                    topic: name,
                    partitions: vec![OffsetForLeaderPartition::default()],
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        ApiKey::DescribeConfigs => bend(run, &describe_configs(2, &name, None)),
        ApiKey::DescribeCluster => bend(run, &DescribeClusterRequest::default()),
        ApiKey::DescribeTopicPartitions => bend(
            run,
            &DescribeTopicPartitionsRequest {
                topics: vec![TopicRequest { name, ..Default::default() }],
                response_partition_limit: 10,
                ..Default::default()
            },
        ),
        other => anyhow::bail!("no sample of {}", other.name()),
    }
}

fn named_client() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "diff".into(),
        client_software_version: "1.0".into(),
        ..Default::default()
    }
}

/// Sends a request whole, then bent in every way that does not need to know it.
fn bend<R>(run: &mut Run<'_>, request: &R) -> Result<()>
where
    R: Request,
    for<'r> R::Response<'r>: ToJson,
{
    let version = run.version();
    let frame = |run: &Run<'_>, client_id: Option<&str>| -> Result<Vec<u8>> {
        let mut w = Writer::default();
        frame::encode_request(run.next_correlation_id(), client_id, version, request, &mut w)?;
        Ok(w.bytes().to_vec())
    };
    run.send("whole", request)?;
    let nameless = frame(run, None)?;
    run.post_bytes::<R>("a null client id", version, &nameless)?;
    run.collect()?;
    let mut padded = frame(run, Some(CLIENT_ID))?;
    padded.extend([0, 1, 2]);
    run.post_bytes::<R>("three bytes too many", version, &with_size(padded))?;
    run.collect()?;
    if R::API_KEY.request_header_version(version) >= 2 {
        // The body ends with the count of its own tagged fields.
        let mut tagged = frame(run, Some(CLIENT_ID))?;
        if tagged.pop() == Some(0) {
            tagged.extend([1, 99, 2, 7, 7]);
            run.post_bytes::<R>("an unknown tagged field", version, &with_size(tagged))?;
            run.collect()?;
        }
        // The header's stands after size, key, version, id and client id.
        let mut tagged = frame(run, Some(CLIENT_ID))?;
        let at = 4 + 8 + 2 + CLIENT_ID.len();
        tagged.splice(at..=at, [1, 99, 2, 7, 7]);
        run.post_bytes::<R>("an unknown tagged field in the header", version, &with_size(tagged))?;
        run.collect()?;
    }
    let whole = frame(run, Some(CLIENT_ID))?;
    // Before the body there is nothing of this API; long bodies are cut at some places only.
    let body = 4 + 8 + 2 + CLIENT_ID.len();
    let stride = ((whole.len() - body) / 24).max(1);
    for end in (body..whole.len()).step_by(stride) {
        let cut = with_size(frame(run, Some(CLIENT_ID))?[..end].to_vec());
        run.post_bytes::<R>(
            format!("cut {} bytes before its end", whole.len() - end),
            version,
            &cut,
        )?;
        run.collect()?;
    }
    Ok(())
}

/// A request that is nothing but its header.
fn bare(api_key: i16, version: i16, correlation_id: i32) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend(api_key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(correlation_id.to_be_bytes());
    frame.extend([0xff, 0xff, 0]);
    with_size(frame)
}

fn not_served(run: &mut Run<'_>) -> Result<()> {
    let mut keys = vec![-1, 4, 5, 6, 7, 200, i16::MAX];
    // Between brokers and controllers: nothing for a client's listener.
    keys.extend([52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 82]);
    for key in keys {
        let frame = bare(key, 0, run.next_correlation_id());
        run.post_bytes::<ApiVersionsRequest>(format!("API {key}"), 0, &frame)?;
        run.collect()?;
    }
    for line in versions::ADVERTISED.iter().filter(|line| line.api != ApiKey::ApiVersions) {
        let served = served(line.api);
        for version in [-1, served.min - 1, served.max + 1, i16::MAX] {
            let frame = bare(line.api.code(), version, run.next_correlation_id());
            let label = format!("{} version {version}", line.api.name());
            run.post_bytes::<ApiVersionsRequest>(label, 0, &frame)?;
            run.collect()?;
        }
    }
    Ok(())
}

/// One answer per request, in the order of the requests, also where a later one has less to do.
fn in_order(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("a", 1, &[])?;
    let batch = batches::plain(run.time(), &["v"]);
    for round in 0..3 {
        run.post(format!("round {round}: append"), &requests::produce(&topic, 0, &batch))?;
        run.post(format!("round {round}: names"), &named_client())?;
        let long_poll = jocko_protocol::rpc::FetchRequest {
            max_wait_ms: 50,
            min_bytes: 1,
            ..requests::fetch(&topic, vec![fetch_from(0, i64::from(round) + 1)])
        };
        run.post(format!("round {round}: wait at the end"), &long_poll)?;
        run.post(format!("round {round}: latest"), &list_offsets(&topic.name, &[(0, -1)]))?;
    }
    for _ in 0..12 {
        run.collect()?;
    }
    Ok(())
}
