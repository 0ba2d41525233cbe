//! Whoever calls on the clients' port as brokers call each other (CVE-2018-1288).

use super::PATIENCE;
use super::target::{REFUSING, TOPIC, Target};
use anyhow::{Context, Result, ensure};
use jocko_client::Connection;
use jocko_protocol::rpc::FetchRequest;
use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use jocko_testkit::frame;
use jocko_types::ErrorCode;

/// What only brokers and controllers say, to each other: `LeaderAndIsr` to `ControlledShutdown`,
/// `WriteTxnMarkers`, `Vote` to `EndQuorumEpoch`, `AlterPartition`, `Envelope`, `FetchSnapshot`,
/// `BrokerRegistration`, `BrokerHeartbeat`, `AllocateProducerIds`, `ControllerRegistration`,
/// `AssignReplicasToDirs`, and what keeps the state of share groups.
const OF_BROKERS: [i16; 21] =
    [4, 5, 6, 7, 27, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 83, 84, 85, 86, 87];
/// Versions of Fetch that the broker serves, up to the one that has its replica in a place of its own
/// (KIP-903) and beyond.
const FETCH: std::ops::RangeInclusive<i16> = 4..=18;
const REPLICA_STATE: i16 = 15;
/// Errors of the whole request come with it.
const WITH_ERROR: i16 = 7;

/// Nothing of brokers is served to clients, and no replica of theirs is believed in: with topics or
/// without, in any version.
pub(crate) fn pretenders(target: &Target) -> Result<String> {
    let before = target.end_offset(REFUSING)?;
    for key in OF_BROKERS {
        for body in [&[][..], &[0; 64]] {
            target.must_close(&frame(key, 0, false, body)).with_context(|| format!("api {key}"))?;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut fetches = 0;
    for version in FETCH {
        for replica in [0, 1, 2, i32::MAX] {
            for with_topic in [false, true] {
                let codes = runtime.block_on(fetch_as(target, replica, version, with_topic))?;
                let refusal = ErrorCode::ClusterAuthorizationFailed as i16;
                ensure!(
                    codes.iter().all(|code| *code == refusal),
                    "replica {replica}, version {version}: {codes:?}"
                );
                ensure!(!codes.is_empty() || (version < WITH_ERROR && !with_topic), "no error");
                fetches += 1;
            }
        }
    }
    ensure!(target.end_offset(REFUSING)? == before, "the log or its high watermark has moved");
    Ok(format!("{} APIs closed, {fetches} fetches of replicas refused", OF_BROKERS.len()))
}

/// Fetches as a replica; all error codes that came back.
async fn fetch_as(
    target: &Target,
    replica: i32,
    version: i16,
    with_topic: bool,
) -> Result<Vec<i16>> {
    let partition = FetchPartition {
        partition: REFUSING,
        // Were it believed, the high watermark would be there.
        fetch_offset: i64::from(i32::MAX),
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: if version < 13 { TOPIC } else { "" },
        topic_id: if version < 13 { jocko_types::TopicId::ZERO } else { target.topic_id },
        partitions: vec![partition],
        ..Default::default()
    };
    let mut request = FetchRequest {
        topics: if with_topic { vec![topic] } else { Vec::new() },
        ..Default::default()
    };
    if version >= REPLICA_STATE {
        request.replica_state = ReplicaState { replica_id: replica, ..Default::default() };
    } else {
        request.replica_id = replica;
    }
    let mut connection = Connection::open(&target.address.to_string(), PATIENCE).await?;
    let answer = connection.call_at(&request, version, PATIENCE).await?;
    let response = answer.get()?;
    let of_partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let mut codes: Vec<i16> = of_partitions.map(|partition| partition.error_code).collect();
    if version >= WITH_ERROR {
        codes.push(response.error_code);
    }
    Ok(codes)
}
