//! Consumers read from the copy in their own rack (KIP-392).

use super::{Meeting, ask};
use crate::harness::{DEADLINE, command, run};
use jocko_client::Connection;
use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use jocko_protocol::rpc::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use jocko_protocol::rpc::metadata_request::{MetadataRequest, MetadataRequestTopic};
use jocko_testkit::{BrokerProcess, wait_until};
use jocko_types::{ErrorCode, TopicId};
use std::time::Duration;
use tokio::runtime::Runtime;

const WAIT: Duration = Duration::from_secs(60);
const TOPIC: &str = "racked";

/// What a broker answers about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) error: ErrorCode,
    reader: i32,
    pub(super) high_watermark: i64,
    pub(super) has_records: bool,
}

/// A client that asks one broker about one partition, whoever leads it.
pub(super) struct Asking {
    runtime: Runtime,
    connection: Connection,
    topic: &'static str,
    partition: i32,
}

impl Asking {
    pub(super) fn new(process: &BrokerProcess, topic: &'static str, partition: i32) -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        let address = process.address().to_string();
        let connection = runtime.block_on(Connection::open(&address, WAIT)).unwrap();
        Self { runtime, connection, topic, partition }
    }

    /// The topic's id, the broker that leads the partition, and the brokers by their ports.
    pub(super) fn metadata(&mut self) -> (TopicId, i32, Vec<(i32, i32)>) {
        let topic =
            MetadataRequestTopic { name: Some(self.topic.to_owned()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let answer = self.runtime.block_on(self.connection.call(&request)).unwrap();
        let told = answer.get().unwrap();
        let ports = told.brokers.iter().map(|broker| (broker.node_id, broker.port)).collect();
        let topic = &told.topics[0];
        let mut partitions = topic.partitions.iter();
        let leader = partitions.find(|it| it.partition_index == self.partition).unwrap().leader_id;
        (topic.topic_id, leader, ports)
    }

    pub(super) fn fetch(
        &mut self,
        topic_id: TopicId,
        from: i64,
        rack_id: &str,
        wait_ms: i32,
    ) -> Found {
        let request = self.question(topic_id, from, rack_id, wait_ms);
        let answer = self.runtime.block_on(self.connection.call(&request)).unwrap();
        let told = answer.get().unwrap();
        let data = &told.responses[0].partitions[0];
        let records = data.records.as_ref().and_then(|records| records.inline());
        Found {
            error: ErrorCode::from_code(data.error_code).unwrap(),
            reader: data.preferred_read_replica,
            high_watermark: data.high_watermark,
            has_records: records.is_some_and(|bytes| !bytes.is_empty()),
        }
    }

    /// As a client of before KIP-392 asks.
    fn fetch_of_old(&mut self) -> i16 {
        let mut request = self.question(TopicId::ZERO, 0, "", 0);
        request.topics[0].topic = self.topic;
        let call = self.connection.call_at(&request, 10, WAIT);
        let answer = self.runtime.block_on(call).unwrap();
        answer.get().unwrap().responses[0].partitions[0].error_code
    }

    pub(super) fn latest(&mut self) -> i16 {
        let partition = ListOffsetsPartition {
            partition_index: self.partition,
            timestamp: -1,
            ..Default::default()
        };
        let topic = ListOffsetsTopic {
            name: self.topic.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let answer = self.runtime.block_on(self.connection.call(&request)).unwrap();
        answer.get().unwrap().topics[0].partitions[0].error_code
    }

    fn question<'r>(
        &self,
        topic_id: TopicId,
        from: i64,
        rack_id: &'r str,
        wait_ms: i32,
    ) -> FetchRequest<'r> {
        let partition = FetchPartition {
            partition: self.partition,
            fetch_offset: from,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topic = FetchTopic { topic_id, partitions: vec![partition], ..Default::default() };
        FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes: 1,
            topics: vec![topic],
            rack_id,
            ..Default::default()
        }
    }
}

fn produce(process: &BrokerProcess, records: &str) {
    let address = process.address().to_string();
    wait_until(DEADLINE, || {
        let produce = command(&["produce", TOPIC, "-b", &address]);
        Ok(run(produce, records.as_bytes()).code == 0)
    })
    .unwrap();
}

#[test]
fn a_consumer_is_sent_to_the_copy_in_its_rack_and_served_there() {
    let meeting = Meeting::new();
    let racks = ["east", "west", "north"];
    let mut three: Vec<BrokerProcess> = racks
        .iter()
        .enumerate()
        .map(|(at, rack)| {
            let rack = format!("--node-rack={rack}");
            BrokerProcess::spawn(meeting.options(at, &["--expect=3", &rack])).unwrap()
        })
        .collect();
    for process in &mut three {
        process.wait_ready().unwrap();
    }
    ask(&three[0], &["cluster", "health", "--wait", "--expect", "3"]);
    ask(&three[0], &["topic", "create", TOPIC, "-p", "1", "-r", "3"]);
    produce(&three[0], "a\nb\n");
    let mut clients: Vec<Asking> =
        three.iter().map(|process| Asking::new(process, TOPIC, 0)).collect();
    let (topic_id, leader, ports) = clients[0].metadata();
    let id_of = |process: &BrokerProcess| {
        let own = i32::from(process.address().port());
        ports.iter().find(|(_, port)| *port == own).unwrap().0
    };
    let ids: Vec<i32> = three.iter().map(id_of).collect();
    let leads = ids.iter().position(|id| *id == leader).unwrap();
    let follows = (leads + 1) % 3;
    let here = Found { error: ErrorCode::None, reader: -1, high_watermark: 2, has_records: true };
    // Nobody is sent away who names no rack, the leader's or one where nobody is.
    for rack in ["", racks[leads], "south"] {
        assert_eq!(clients[leads].fetch(topic_id, 0, rack, 0), here, "{rack}");
    }
    let there = Found { reader: ids[follows], has_records: false, ..here };
    wait_until(DEADLINE, || Ok(clients[leads].fetch(topic_id, 0, racks[follows], 10_000) == there))
        .unwrap();
    wait_until(DEADLINE, || Ok(clients[follows].fetch(topic_id, 0, racks[follows], 0) == here))
        .unwrap();
    // Who asks for the end of the log, and who knows nothing of reading elsewhere, needs the leader.
    let not_leader = ErrorCode::NotLeaderOrFollower.code();
    assert_eq!(
        (clients[follows].latest(), clients[follows].fetch_of_old()),
        (not_leader, not_leader)
    );
    let beyond = clients[follows].fetch(topic_id, 1_000, racks[follows], 0);
    assert_eq!(beyond.error, ErrorCode::OffsetNotAvailable);
    let beyond = clients[leads].fetch(topic_id, 1_000, racks[follows], 0);
    assert_eq!((beyond.error, beyond.reader), (ErrorCode::OffsetOutOfRange, -1));
    // Who waits at a follower is answered when it has learnt what is committed.
    let mut waiting = clients.remove(follows);
    let rack = racks[follows];
    let waits = std::thread::spawn(move || waiting.fetch(topic_id, 2, rack, 55_000));
    produce(&three[follows], "c\n");
    let woken = waits.join().unwrap();
    assert_eq!(woken, Found { high_watermark: 3, ..here });
}
