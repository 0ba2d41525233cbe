//! The hot path: Produce and Fetch decode without copying strings or records, and a Fetch response
//! is written around records that lie elsewhere.

use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchTopic};
use jocko_protocol::rpc::fetch_response::{FetchableTopicResponse, PartitionData};
use jocko_protocol::rpc::produce_request::{PartitionProduceData, TopicProduceData};
use jocko_protocol::rpc::{FetchRequest, FetchResponse, ProduceRequest};
use jocko_protocol::{Decode, Encode, Hole, Reader, RecordBytes, Writer, frame};

const PARTITIONS: i32 = 40;

fn encoded(message: &impl Encode, version: i16) -> Vec<u8> {
    let mut w = Writer::new();
    message.encode(&mut w, version).expect("can be written");
    w.into_bytes().expect("nothing is detached")
}

/// How many times decoding and dropping a message asks for memory.
fn allocations<'a, M: Decode<'a>>(bytes: &'a [u8], version: i16) -> u64 {
    let measured = allocation_counter::measure(|| {
        M::decode(&mut Reader::new(bytes), version).expect("valid");
    });
    measured.count_total
}

fn produce(records: &[u8]) -> ProduceRequest<'_> {
    let partition = |index| PartitionProduceData {
        index,
        records: Some(RecordBytes::Inline(records)),
        ..PartitionProduceData::default()
    };
    let topic = |name| TopicProduceData {
        name,
        partition_data: (0..PARTITIONS).map(partition).collect(),
        ..TopicProduceData::default()
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 1500,
        topic_data: vec![topic("orders"), topic("payments")],
        ..ProduceRequest::default()
    }
}

#[test]
fn produce_decodes_to_slices_of_the_frame() {
    let records = [0xab; 500];
    for version in 3..=12 {
        let bytes = encoded(&produce(&records), version);
        let decoded = ProduceRequest::decode(&mut Reader::new(&bytes), version).expect("valid");
        assert_eq!(decoded, produce(&records));
        let within = |part: &[u8]| bytes.as_ptr_range().contains(&part.as_ptr());
        for topic in &decoded.topic_data {
            assert!(within(topic.name.as_bytes()));
            for partition in &topic.partition_data {
                assert!(within(partition.records.and_then(|one| one.inline()).expect("inline")));
            }
        }
        // One vector of topics, one of partitions for each of the two.
        assert_eq!(allocations::<ProduceRequest<'_>>(&bytes, version), 3);
    }
}

#[test]
fn fetch_requests_take_one_vector_a_topic() {
    let topic = |topic| FetchTopic {
        topic,
        partitions: (0..PARTITIONS)
            .map(|partition| FetchPartition { partition, ..FetchPartition::default() })
            .collect(),
        ..FetchTopic::default()
    };
    let request = FetchRequest { topics: vec![topic("a"), topic("b")], ..FetchRequest::default() };
    for version in 4..=12 {
        let bytes = encoded(&request, version);
        assert_eq!(FetchRequest::decode(&mut Reader::new(&bytes), version), Ok(request.clone()));
        assert_eq!(allocations::<FetchRequest<'_>>(&bytes, version), 3);
    }
}

fn fetched(records: [RecordBytes<'static>; 3]) -> FetchResponse<'static> {
    let partition = |records| PartitionData {
        high_watermark: 9,
        aborted_transactions: None,
        records: Some(records),
        ..PartitionData::default()
    };
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "orders",
            partitions: records.map(partition).into(),
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

#[test]
fn a_fetch_response_is_written_around_its_records() {
    static LONG: [u8; 70_000] = [7; 70_000];
    let inline = [&LONG[..], &[], &LONG[..100]].map(RecordBytes::Inline);
    let detached =
        [(0, 70_000), (1, 0), (2, 100)].map(|(piece, len)| RecordBytes::Detached { piece, len });
    for version in 4..=12 {
        let (mut whole, mut holed) = (Writer::new(), Writer::new());
        frame::encode_response(77, version, &fetched(inline), &mut whole).expect("valid");
        frame::encode_response(77, version, &fetched(detached), &mut holed).expect("valid");
        assert_eq!(holed.holes().len(), 2, "nothing needs no hole");
        assert!(holed.len() < 300, "no record byte was copied");
        assert_eq!(holed.wire_len_since(0), whole.wire_len_since(0));
        // What the sender does.
        let mut sent = Vec::new();
        let mut from = 0;
        for Hole { at, piece, len } in holed.holes().iter().copied() {
            assert_eq!(len, [70_000, 0, 100][usize::try_from(piece).expect("small")]);
            sent.extend_from_slice(&holed.bytes()[from..at]);
            sent.extend_from_slice(&LONG[..usize::try_from(len).expect("small")]);
            from = at;
        }
        sent.extend_from_slice(&holed.bytes()[from..]);
        assert_eq!(sent, whole.bytes(), "version {version}");
    }
}
