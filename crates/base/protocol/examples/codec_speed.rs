//! How long the hot messages take: `cargo run --release -p jocko-protocol --example codec_speed`.

#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchTopic};
use jocko_protocol::rpc::fetch_response::{FetchableTopicResponse, PartitionData};
use jocko_protocol::rpc::produce_request::{PartitionProduceData, TopicProduceData};
use jocko_protocol::rpc::{FetchRequest, FetchResponse, ProduceRequest};
use jocko_protocol::{Decode, Encode, Reader, RecordBytes, Writer, frame};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 200_000;

fn main() {
    let records = vec![7_u8; 16 * 1024];
    for partitions in [1, 100] {
        let produce = ProduceRequest {
            topic_data: vec![TopicProduceData {
                name: "orders",
                partition_data: (0..partitions)
                    .map(|index| PartitionProduceData {
                        index,
                        records: Some(RecordBytes::Inline(&records)),
                        ..PartitionProduceData::default()
                    })
                    .collect(),
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        decode::<ProduceRequest<'_>>("ProduceRequest 12", partitions, &produce, 12);
        let fetch = FetchRequest {
            topics: vec![FetchTopic {
                topic: "orders",
                partitions: (0..partitions)
                    .map(|partition| FetchPartition { partition, ..FetchPartition::default() })
                    .collect(),
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        decode::<FetchRequest<'_>>("FetchRequest 12", partitions, &fetch, 12);
        answer(partitions);
    }
}

fn decode<'a, M: Decode<'a>>(name: &str, partitions: i32, message: &impl Encode, version: i16) {
    let mut w = Writer::new();
    message.encode(&mut w, version).expect("valid");
    let bytes: &'static [u8] = w.into_bytes().expect("whole").leak();
    report(&format!("decode {name}"), partitions, || {
        let message = M::decode(&mut Reader::new(black_box(bytes)), version).expect("valid");
        black_box(&message);
    });
}

fn answer(partitions: i32) {
    let response = FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "orders",
            partitions: (0..partitions)
                .map(|partition_index| PartitionData {
                    partition_index,
                    records: Some(RecordBytes::Detached { piece: 0, len: 16 * 1024 }),
                    ..PartitionData::default()
                })
                .collect(),
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    };
    let mut w = Writer::new();
    report("encode FetchResponse 12, detached", partitions, || {
        w.clear();
        frame::encode_response(1, 12, black_box(&response), &mut w).expect("valid");
        black_box(w.bytes());
    });
}

fn report(what: &str, partitions: i32, mut once: impl FnMut()) {
    let rounds = ROUNDS / u32::try_from(partitions).expect("small");
    (0..rounds / 10).for_each(|_| once());
    let begun = Instant::now();
    (0..rounds).for_each(|_| once());
    println!("{what}, {partitions} partitions: {:?}", begun.elapsed() / rounds);
}
