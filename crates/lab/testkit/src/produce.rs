//! Produce requests as whole frames, for tests that pipeline them or fill them with damage.

use anyhow::Result;
use jocko_codec::Writer;
use jocko_protocol::frame::{encode_request, parse_response};
use jocko_protocol::rpc::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use jocko_protocol::rpc::produce_response::ProduceResponse;
use jocko_protocol::{ApiKey, Decode, RecordBytes};
use jocko_types::{ErrorCode, TopicId};

/// What goes to one partition.
#[derive(Debug, Clone, Copy)]
pub struct PartitionBatch<'a> {
    /// Which partition.
    pub partition: i32,
    /// A record batch, or what is given for one.
    pub records: &'a [u8],
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionAnswer {
    /// Which partition.
    pub partition: i32,
    /// The outcome.
    pub code: ErrorCode,
    /// Where the batch begins, if there is no error.
    pub base_offset: i64,
}

/// A produce request with its size in front, to one topic: named up to version 12, by its id from
/// 13 on (KIP-516).
///
/// # Errors
/// When there is no such version.
pub fn produce_request(
    correlation_id: i32,
    version: i16,
    acks: i16,
    (topic, topic_id): (&str, TopicId),
    batches: &[PartitionBatch<'_>],
) -> Result<Vec<u8>> {
    let partition_data = batches.iter().map(|batch| PartitionProduceData {
        index: batch.partition,
        records: Some(RecordBytes::Inline(batch.records)),
        ..Default::default()
    });
    let request = ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic,
            topic_id,
            partition_data: partition_data.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut writer = Writer::new();
    encode_request(correlation_id, Some("testkit"), version, &request, &mut writer)?;
    Ok(writer.bytes().to_vec())
}

/// Reads the answer (without its size) to a produce request of that version: the correlation id
/// and what became of each partition.
///
/// # Errors
/// When the bytes are no such answer.
pub fn produce_answers(frame: &[u8], version: i16) -> Result<(i32, Vec<PartitionAnswer>)> {
    let (correlation_id, mut body) = parse_response(frame, ApiKey::Produce, version)?;
    let response = ProduceResponse::decode(&mut body, version)?;
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let answers = partitions.map(|answer| PartitionAnswer {
        partition: answer.index,
        code: jocko_protocol::error_code(answer.error_code),
        base_offset: answer.base_offset,
    });
    Ok((correlation_id, answers.collect()))
}
