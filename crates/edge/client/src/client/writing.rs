//! Writing batches to the leaders of partitions.

use super::{Client, millis, no_partition};
use crate::connection::Connection;
use crate::error::{ClientError, Result};
use jocko_protocol::RecordBytes;
use jocko_protocol::rpc::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use jocko_types::Offset;
use std::time::Duration;

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// The offset of its first record; `None` with acks=0.
    pub base_offset: Option<Offset>,
}

impl Client {
    /// Sends one batch to a partition's leader. `acks` is -1 (all), 1 or 0; with 0 there is no
    /// answer to wait for, and nobody says whether the batch was written.
    ///
    /// # Errors
    /// The leader's refusal; or the connection's end, after which the batch may or may not be
    /// there.
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &[u8],
        acks: i16,
    ) -> Result<Produced> {
        self.produce_within(topic, partition, batch, (acks, self.timeout)).await
    }

    /// The same, waiting for the leader as long as this.
    pub(super) async fn produce_within(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &[u8],
        (acks, patience): (i16, Duration),
    ) -> Result<Produced> {
        self.learn_leaders(topic, std::iter::once(partition)).await?;
        let (leader, topic_id) = self.known_leader(topic, partition)?;
        let request = ProduceRequest {
            acks,
            timeout_ms: millis(patience),
            topic_data: vec![TopicProduceData {
                name: topic,
                topic_id,
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(RecordBytes::Inline(batch)),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let outcome = match self.address_of(leader) {
            Ok(address) => self.send_produce(&address, &request, (partition, patience)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            self.forget_leader(topic, partition, error);
        }
        outcome
    }

    async fn send_produce(
        &mut self,
        address: &str,
        request: &ProduceRequest<'_>,
        (partition, patience): (i32, Duration),
    ) -> Result<Produced> {
        let mut connection = self.take_connection(address).await?;
        let outcome = if request.acks == 0 {
            connection.tell(request).await.map(|()| None)
        } else {
            ask_produce(&mut connection, request, (partition, patience)).await.map(Some)
        };
        self.done_with(connection, outcome.as_ref().err());
        Ok(Produced { base_offset: outcome? })
    }
}

async fn ask_produce(
    connection: &mut Connection,
    request: &ProduceRequest<'_>,
    (partition, patience): (i32, Duration),
) -> Result<Offset> {
    let topic = request.topic_data.first().map_or("", |data| data.name);
    let answer = connection.call_within(request, patience).await?;
    let response = answer.get()?;
    let done = response.responses.first().and_then(|topic| topic.partition_responses.first());
    let done = done.ok_or_else(|| no_partition(topic, partition))?;
    ClientError::check(done.error_code, done.error_message.as_deref())?;
    Ok(Offset::new(done.base_offset))
}
