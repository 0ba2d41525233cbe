//! The client against a broker that answers as it is told to.

mod patience;
mod producing;

use super::*;
use jocko_codec::Writer;
use jocko_protocol::frame::{RequestFrame, encode_response};
use jocko_protocol::rpc::api_versions_response::{ApiVersion, ApiVersionsResponse};
use jocko_protocol::rpc::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use jocko_protocol::rpc::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use jocko_protocol::rpc::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use jocko_protocol::rpc::{FetchRequest, ListOffsetsRequest, ProduceRequest};
use jocko_protocol::{ApiKey, Decode, RecordBytes, Response};
use jocko_types::Offset;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TIMEOUT: Duration = Duration::from_secs(5);
/// The partitions of topic `t`, and who leads them.
const LEADERS: [i32; 4] = [1, 1, 2, 2];

/// What a cluster of two brokers was asked, and how it answers.
#[derive(Default)]
struct Script {
    /// Every request: the broker's number and the API.
    asked: Vec<(i32, ApiKey)>,
    /// The next so many ListOffsets are refused with this.
    refusals: Vec<ErrorCode>,
    addresses: Vec<(i32, u16)>,
    /// By broker: the leader of all partitions and its epoch, as that one sees it.
    views: BTreeMap<i32, (i32, i32)>,
    log: producing::Log,
    /// Instead of an answer, the connection ends.
    hangs_up: bool,
    /// This broker takes connections and says nothing.
    frozen: Option<i32>,
}

type Shared = Arc<Mutex<Script>>;

/// Two brokers on free ports, and a client of theirs.
async fn cluster() -> (Shared, Client) {
    let script = Shared::default();
    for broker in [1, 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        script.lock().unwrap().addresses.push((broker, port));
        let script = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, broker, Arc::clone(&script)));
            }
        });
    }
    let bootstrap = format!("127.0.0.1:{}", script.lock().unwrap().addresses[0].1);
    (script, Client::new(vec![bootstrap], TIMEOUT))
}

async fn serve(mut stream: TcpStream, broker: i32, script: Shared) {
    while let Ok(size) = stream.read_u32().await {
        let mut frame = vec![0; usize::try_from(size).unwrap()];
        stream.read_exact(&mut frame).await.unwrap();
        let request = RequestFrame::parse(&frame).unwrap();
        let (answer, hangs_up) = {
            let mut script = script.lock().unwrap();
            (script.answer(broker, request), std::mem::take(&mut script.hangs_up))
        };
        if hangs_up {
            return;
        }
        if script.lock().unwrap().frozen == Some(broker) {
            std::future::pending::<()>().await;
        }
        if let Some(answer) = answer {
            stream.write_all(&answer).await.unwrap();
        }
    }
}

impl Script {
    fn answer(&mut self, broker: i32, mut request: RequestFrame<'_>) -> Option<Vec<u8>> {
        self.asked.push((broker, request.api));
        let version = request.version;
        match request.api {
            ApiKey::ApiVersions => Some(encoded(&request, &versions())),
            ApiKey::Metadata => Some(encoded(&request, &self.metadata(broker))),
            ApiKey::ListOffsets => {
                let asked = ListOffsetsRequest::decode(&mut request.body, version).unwrap();
                let refusal = self.refusals.pop().unwrap_or(ErrorCode::None);
                Some(encoded(&request, &offsets(&asked, refusal)))
            }
            ApiKey::Fetch => {
                let body = &mut request.body.clone();
                let asked = FetchRequest::decode(body, version).unwrap();
                Some(encoded(&request, &fetched(&asked, broker)))
            }
            ApiKey::InitProducerId => {
                self.log.ids += 1;
                Some(encoded(&request, &self.log.identity()))
            }
            ApiKey::Produce => {
                let asked = ProduceRequest::decode(&mut request.body.clone(), version).unwrap();
                let answer = self.log.answer(&asked);
                if answer.is_none() && asked.acks != 0 {
                    self.hangs_up = true;
                }
                answer.map(|answer| encoded(&request, &answer))
            }
            other => panic!("{other:?} is not in this play"),
        }
    }

    fn metadata(&self, asked: i32) -> MetadataResponse {
        let view = self.views.get(&asked).copied();
        let brokers = self.addresses.iter().map(|(node_id, port)| MetadataResponseBroker {
            node_id: *node_id,
            host: "127.0.0.1".to_owned(),
            port: i32::from(*port),
            ..Default::default()
        });
        let partitions =
            LEADERS.iter().zip(0..).map(|(leader_id, partition_index)| MetadataResponsePartition {
                partition_index,
                leader_id: view.map_or(*leader_id, |(leader, _)| leader),
                leader_epoch: view.map_or(-1, |(_, epoch)| epoch),
                ..Default::default()
            });
        MetadataResponse {
            brokers: brokers.collect(),
            topics: vec![MetadataResponseTopic {
                name: Some("t".to_owned()),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }
}

fn versions() -> ApiVersionsResponse {
    let served = [
        (ApiKey::InitProducerId, 4),
        (ApiKey::Produce, 12),
        (ApiKey::Fetch, 12),
        (ApiKey::ListOffsets, 6),
        (ApiKey::Metadata, 9),
        (ApiKey::ApiVersions, 3),
    ];
    let line = |(api, max_version): (ApiKey, i16)| ApiVersion {
        api_key: api.code(),
        min_version: 0,
        max_version,
        ..Default::default()
    };
    ApiVersionsResponse { api_keys: served.map(line).to_vec(), ..Default::default() }
}

/// Every offset is ten times its partition.
fn offsets(asked: &ListOffsetsRequest, refusal: ErrorCode) -> ListOffsetsResponse {
    let partitions = asked.topics[0].partitions.iter().map(|asked| ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        offset: i64::from(asked.partition_index) * 10,
        error_code: refusal.code(),
        ..Default::default()
    });
    let topic = ListOffsetsTopicResponse {
        name: "t".to_owned(),
        partitions: partitions.collect(),
        ..Default::default()
    };
    ListOffsetsResponse { topics: vec![topic], ..Default::default() }
}

/// The last partition of each broker is refused, the others have a few bytes.
fn fetched(asked: &FetchRequest<'_>, broker: i32) -> FetchResponse<'static> {
    let partitions = asked.topics[0].partitions.iter().map(|asked| {
        let is_last = asked.partition == broker * 2 - 1;
        PartitionData {
            partition_index: asked.partition,
            error_code: if is_last { ErrorCode::OffsetOutOfRange.code() } else { 0 },
            records: (!is_last).then_some(RecordBytes::Inline(b"records")),
            ..Default::default()
        }
    });
    let topic = FetchableTopicResponse { partitions: partitions.collect(), ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

fn encoded<R: Response>(request: &RequestFrame<'_>, response: &R) -> Vec<u8> {
    let mut writer = Writer::new();
    encode_response(request.correlation_id, request.version, response, &mut writer).unwrap();
    writer.bytes().to_vec()
}

fn asked(script: &Shared, api: ApiKey) -> Vec<i32> {
    let script = script.lock().unwrap();
    script.asked.iter().filter(|(_, asked)| *asked == api).map(|(broker, _)| *broker).collect()
}

#[tokio::test]
async fn each_leader_is_asked_once_for_all_its_partitions() {
    let (script, mut client) = cluster().await;
    let found = client.offsets("t", &[3, 0, 2, 1], Position::End).await.unwrap();
    assert_eq!(found, [30, 0, 20, 10].map(Offset::new), "in the order asked");
    assert_eq!(asked(&script, ApiKey::ListOffsets), [1, 2]);

    let wanted = [3, 0, 2, 1, 9].map(|partition| (partition, Offset::ZERO));
    let mut fetched = client.fetch_all("t", &wanted, Duration::from_millis(10)).await.unwrap();
    let mut brokers = asked(&script, ApiKey::Fetch);
    brokers.sort_unstable();
    assert_eq!(brokers, [1, 2]);
    fetched.sort_by_key(|(partition, _)| *partition);
    let told: Vec<(i32, String)> = fetched
        .iter()
        .map(|(partition, outcome)| match outcome {
            Ok(fetched) => (*partition, String::from_utf8_lossy(&fetched.records).into_owned()),
            Err(error) => (*partition, error.to_string()),
        })
        .collect();
    let expect = [
        (0, "records"),
        (1, "OFFSET_OUT_OF_RANGE"),
        (2, "records"),
        (3, "OFFSET_OUT_OF_RANGE"),
        (9, "topic \"t\" has no partition 9"),
    ];
    assert_eq!(told, expect.map(|(partition, words)| (partition, words.to_owned())));
}

#[tokio::test]
async fn a_leader_that_has_moved_is_looked_for_again() {
    let (script, mut client) = cluster().await;
    script.lock().unwrap().refusals = vec![ErrorCode::NotLeaderOrFollower; 2];
    assert_eq!(client.offset("t", 1, Position::Start).await.unwrap(), Offset::new(10));
    assert_eq!(asked(&script, ApiKey::ListOffsets).len(), 3);
    assert_eq!(asked(&script, ApiKey::Metadata).len(), 3, "asked for anew each time");

    script.lock().unwrap().refusals = vec![ErrorCode::UnsupportedForMessageFormat];
    let error = client.offset("t", 1, Position::Start).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "what is final is told: {error}");
    assert!(client.offset("t", 9, Position::Start).await.is_err());
}

#[tokio::test]
async fn who_is_behind_is_not_believed() {
    let (script, mut client) = cluster().await;
    let sees = |views: [(i32, (i32, i32)); 2]| {
        script.lock().unwrap().views = BTreeMap::from(views);
    };
    sees([(1, (2, 5)), (2, (2, 5))]);
    client.offset("t", 0, Position::End).await.unwrap();
    // Broker 2 has not heard of the newest leader.
    sees([(1, (2, 6)), (2, (1, 4))]);
    script.lock().unwrap().refusals = vec![ErrorCode::NotLeaderOrFollower];
    client.offset("t", 0, Position::End).await.unwrap();
    assert_eq!(asked(&script, ApiKey::ListOffsets), [2, 2, 2]);
    assert_eq!(asked(&script, ApiKey::Metadata), [1, 2, 1], "another one is asked then");
    // Nor one that knows that it does not know.
    sees([(1, (2, 6)), (2, (-1, 6))]);
    script.lock().unwrap().refusals = vec![ErrorCode::NotLeaderOrFollower];
    client.offset("t", 0, Position::End).await.unwrap();
    assert_eq!(asked(&script, ApiKey::Metadata), [1, 2, 1, 2, 1]);
}

#[tokio::test]
async fn who_names_a_leader_that_denies_it_is_not_asked_again() {
    let (script, mut client) = cluster().await;
    // Broker 1 is cut off, and names the leader it knew last.
    script.lock().unwrap().views = BTreeMap::from([(1, (2, 5)), (2, (1, 6))]);
    script.lock().unwrap().refusals = vec![ErrorCode::NotLeaderOrFollower];
    client.offset("t", 0, Position::End).await.unwrap();
    assert_eq!(asked(&script, ApiKey::ListOffsets), [2, 1]);
    assert_eq!(asked(&script, ApiKey::Metadata), [1, 2]);
}

#[tokio::test]
async fn acks_0_waits_for_no_answer() {
    let (script, mut client) = cluster().await;
    let produced = client.produce("t", 2, b"a batch", 0).await.unwrap();
    assert_eq!(produced.base_offset, None);
    // Answers come in turn, so the broker has seen the batch by now.
    client.offset("t", 2, Position::End).await.unwrap();
    assert_eq!(asked(&script, ApiKey::Produce), [2]);
}

#[tokio::test]
async fn a_broker_that_is_gone_is_told_for_each_of_its_partitions() {
    let (script, mut client) = cluster().await;
    // Nobody listens on a port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    script.lock().unwrap().addresses[1].1 = free;
    let wanted = [0, 2, 3].map(|partition| (partition, Offset::ZERO));
    let fetched = client.fetch_all("t", &wanted, Duration::from_millis(10)).await.unwrap();
    let mut lost: Vec<i32> = fetched
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Err(ClientError::Unreachable { .. })))
        .map(|(partition, _)| *partition)
        .collect();
    lost.sort_unstable();
    assert_eq!(lost, [2, 3]);
    assert_eq!(fetched.len(), 3, "the others go on");
}
