//! Writes three records with rskafka and reads them back. This client has no groups: the program
//! remembers itself where it is.

use anyhow::{Context, Result};
use chrono::Utc;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use std::collections::BTreeMap;
use std::time::Duration;

const TOPIC: &str = "greetings-rust";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let broker = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    tokio::time::timeout(Duration::from_secs(30), run(broker)).await.context("took too long")?
}

async fn run(broker: String) -> Result<()> {
    let client = ClientBuilder::new(vec![broker]).build().await?;
    create_topic(&client).await?;
    let partition = client.partition_client(TOPIC, 0, UnknownTopicHandling::Retry).await?;
    let first = write(&partition).await?;
    read(&partition, first).await
}

async fn create_topic(client: &Client) -> Result<()> {
    // As many copies as the cluster thinks right.
    match client.controller_client()?.create_topic(TOPIC, 1, -1, 10_000).await {
        Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. }) => Ok(()),
        created => Ok(created?),
    }
}

/// Yields the offset of the first. The client always waits for acks=all.
async fn write(partition: &PartitionClient) -> Result<i64> {
    let records = (1..=3).map(|n| Record {
        key: Some(b"key".to_vec()),
        value: Some(format!("hello {n} from rust").into_bytes()),
        headers: BTreeMap::new(),
        timestamp: Utc::now(),
    });
    let offsets = partition.produce(records.collect(), Compression::NoCompression).await?;
    for offset in &offsets {
        println!("wrote partition 0, offset {offset}");
    }
    offsets.first().copied().context("nothing was written")
}

async fn read(partition: &PartitionClient, first: i64) -> Result<()> {
    let (mut next, end) = (first, first + 3);
    while next < end {
        let (records, _) = partition.fetch_records(next, 1..1_000_000, 1_000).await?;
        for record in records {
            let value = record.record.value.unwrap_or_default();
            println!("read {}", String::from_utf8_lossy(&value));
            next = record.offset + 1;
        }
    }
    Ok(())
}
