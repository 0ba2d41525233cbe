//! The broker under abuse as the rows see it.

use super::PATIENCE;
use anyhow::{Context, Result, bail, ensure};
use jocko_client::{Client, NewTopic, Position};
use jocko_records::Records;
use jocko_testkit::{Connection, PartitionBatch, produce_answers, produce_request, wait_until};
use jocko_types::{ErrorCode, Offset, TopicId};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The topic that everything is produced to.
pub(crate) const TOPIC: &str = "target";
/// Nothing may ever be appended here.
pub(crate) const REFUSING: i32 = 0;
/// Here damage may turn out harmless and be appended.
pub(crate) const TOLERANT: i32 = 1;
/// The bystander's own.
pub(crate) const BYSTANDER: i32 = 2;

/// A running broker with one topic.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) topic_id: TopicId,
}

impl Target {
    /// Creates the topic and waits until it serves.
    pub(crate) fn prepare(address: SocketAddr, http: SocketAddr) -> Result<Self> {
        let mut client = Client::new(vec![address.to_string()], PATIENCE);
        let runtime = runtime()?;
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            partitions: Some(3),
            replication: Some(1),
            ..Default::default()
        };
        let mut made = None;
        wait_until(PATIENCE * 4, || {
            made = runtime.block_on(client.create_topic(&topic)).ok();
            Ok(made.is_some())
        })
        .context("creating the topic")?;
        let topic_id = made.context("just created")?.id;
        let target = Self { address, http, topic_id };
        wait_until(PATIENCE, || Ok(target.end_offset(BYSTANDER).is_ok()))?;
        Ok(target)
    }

    /// Where a partition ends.
    pub(crate) fn end_offset(&self, partition: i32) -> Result<i64> {
        let mut client = Client::new(vec![self.address.to_string()], PATIENCE);
        Ok(runtime()?.block_on(client.offset(TOPIC, partition, Position::End))?.get())
    }

    /// Reads a whole partition, checking that offsets follow each other; how many records.
    pub(crate) fn read_all(&self, partition: i32) -> Result<i64> {
        let mut client = Client::new(vec![self.address.to_string()], PATIENCE);
        let runtime = runtime()?;
        let end = self.end_offset(partition)?;
        let mut at = 0;
        while at < end {
            let fetch = client.fetch(TOPIC, partition, Offset::new(at), Duration::ZERO);
            let fetched = runtime.block_on(fetch)?;
            let mut records = Records::new(&fetched.records, Offset::new(at), 1 << 30);
            let before = at;
            while let Some(record) = records.next()? {
                ensure!(record.offset.get() == at, "{} follows {at}", record.offset);
                at += 1;
            }
            ensure!(at > before, "nothing at {at}, though the end is {end}");
        }
        Ok(at)
    }

    /// Sends one batch with acks=all in that version of Produce; the broker must answer.
    pub(crate) fn produce(&self, version: i16, partition: i32, batch: &[u8]) -> Result<ErrorCode> {
        let mut connection = Connection::open(self.address, PATIENCE)?;
        let batches = [PartitionBatch { partition, records: batch }];
        let topic = (TOPIC, self.topic_id);
        connection.send(&produce_request(1, version, -1, topic, &batches)?)?;
        let answer = connection.receive().context("no answer to Produce")?;
        let (_, answers) = produce_answers(&answer, version)?;
        Ok(answers.first().context("an answer without partitions")?.code)
    }

    /// Sends one frame on a connection of its own; the broker may answer or close, nothing else.
    pub(crate) fn answers(&self, bytes: &[u8]) -> Result<bool> {
        let mut connection = Connection::open(self.address, PATIENCE)?;
        if connection.send(bytes).is_err() {
            return Ok(false);
        }
        match connection.receive() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                bail!("neither answered nor closed within {PATIENCE:?}")
            }
            Err(_) => Ok(false),
        }
    }

    /// Sends bytes that no broker should answer: it must close.
    pub(crate) fn must_close(&self, bytes: &[u8]) -> Result<()> {
        ensure!(!self.answers(bytes)?, "answered {:02x?}", &bytes[..bytes.len().min(24)]);
        Ok(())
    }

    /// A newcomer must be served.
    pub(crate) fn must_serve(&self) -> Result<()> {
        let served = self.answers(&jocko_testkit::api_versions_request())?;
        ensure!(served, "a newcomer is not served");
        Ok(())
    }
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
