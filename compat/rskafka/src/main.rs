//! Runs the compatibility scenarios with rskafka: `jocko-compat-rskafka BOOTSTRAP [SCENARIO...]`.
//!
//! The client always waits for all replicas, has no idempotent producer, and keeps headers in a map, so those
//! scenarios are skipped or run without repeated header keys.

mod scenarios;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use rskafka::BackoffConfig;
use rskafka::client::controller::ControllerClient;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};

/// A scenario that takes longer has failed; nothing may hang.
const SCENARIO_MAX: Duration = Duration::from_secs(20);
const FETCH_BYTES_MAX: i32 = 4 << 20;

/// What the client cannot do; the scenario is skipped.
#[derive(Debug)]
struct Unsupported(&'static str);

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unsupported {}

/// What one scenario works with.
struct Run {
    client: Arc<Client>,
    controller: ControllerClient,
    topic: String,
}

impl Run {
    async fn create(&self, partitions: i32) -> Result<()> {
        self.controller
            .create_topic(&self.topic, partitions, -1, 10_000)
            .await
            .context("create topic")?;
        let wanted = usize::try_from(partitions)?;
        self.until(async || Ok(self.partitions().await? == wanted)).await
    }

    async fn partitions(&self) -> Result<usize> {
        let topics = self.client.list_topics().await?;
        Ok(topics
            .iter()
            .find(|topic| topic.name == self.topic)
            .map_or(0, |topic| topic.partitions.len()))
    }

    /// Polls a condition that a broker reaches on its own time; the scenario's limit ends it.
    async fn until(&self, condition: impl AsyncFn() -> Result<bool>) -> Result<()> {
        while !condition().await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn partition(&self, partition: i32) -> Result<PartitionClient> {
        Ok(self
            .client
            .partition_client(&self.topic, partition, UnknownTopicHandling::Retry)
            .await?)
    }

    async fn round_trip(&self, records: Vec<Record>, compression: Compression) -> Result<()> {
        self.create(1).await?;
        let partition = self.partition(0).await?;
        partition.produce(records.clone(), compression).await.context("produce")?;
        same(&records, &read(&partition, 0, records.len()).await?, 0)
    }
}

/// Reads `count` records from `offset` on.
async fn read(
    partition: &PartitionClient,
    offset: i64,
    count: usize,
) -> Result<Vec<RecordAndOffset>> {
    let mut records: Vec<RecordAndOffset> = Vec::new();
    while records.len() < count {
        let next = records.last().map_or(offset, |last| last.offset + 1);
        let (more, _) =
            partition.fetch_records(next, 1..FETCH_BYTES_MAX, 5_000).await.context("fetch")?;
        records.extend(more);
    }
    records.truncate(count);
    Ok(records)
}

fn values(count: usize, prefix: &str) -> Vec<Record> {
    (0..count).map(|i| record(None, Some(format!("{prefix}-{i}").into_bytes()))).collect()
}

fn record(key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Record {
    let now = chrono::Utc::now().timestamp_millis();
    Record {
        key,
        value,
        headers: Default::default(),
        // Kafka keeps milliseconds.
        timestamp: chrono::DateTime::from_timestamp_millis(now)
            .expect("the present is a valid time"),
    }
}

/// Compares what was read with what was sent, the first record having been given offset `first`.
fn same(sent: &[Record], got: &[RecordAndOffset], first: i64) -> Result<()> {
    ensure!(sent.len() == got.len(), "sent {} records, read {}", sent.len(), got.len());
    for (at, (a, b)) in (first..).zip(sent.iter().zip(got)) {
        ensure!(b.offset == at, "offset {} instead of {at}", b.offset);
        ensure!(*a == b.record, "the record at offset {at} came back as another");
    }
    Ok(())
}

async fn attempt(bootstrap: &str, name: &'static str) -> String {
    let nanos =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    let topic = format!("compat-rskafka-{name}-{nanos}");
    let scenario = async {
        let backoff =
            BackoffConfig { max_backoff: Duration::from_secs(1), ..BackoffConfig::default() };
        let bootstrap = bootstrap.split(',').map(str::to_owned).collect();
        let client = ClientBuilder::new(bootstrap).backoff_config(backoff).build().await?;
        let controller = client.controller_client()?;
        scenarios::run(name, &Run { client: Arc::new(client), controller, topic }).await
    };
    // A broker's restart lies inside the last one.
    let limit = if name == "reconnect" { SCENARIO_MAX * 3 } else { SCENARIO_MAX };
    match tokio::time::timeout(limit, scenario).await {
        Err(_) => format!("FAIL {name}: still running after {} s", limit.as_secs()),
        Ok(Ok(())) => format!("PASS {name}"),
        Ok(Err(error)) => {
            let verdict = if error.is::<Unsupported>() { "SKIP" } else { "FAIL" };
            let reason = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{verdict} {name}: {reason}")
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((bootstrap, names)) = arguments.split_first() else {
        bail!("usage: jocko-compat-rskafka BOOTSTRAP [SCENARIO...]");
    };
    println!("CLIENT rskafka {}", env!("RSKAFKA_VERSION"));
    let mut failed = false;
    for name in scenarios::NAMES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let verdict = attempt(bootstrap, name).await;
            failed |= verdict.starts_with("FAIL");
            println!("{verdict}");
            std::io::stdout().flush()?;
        }
    }
    // A blocked read of the standard input would keep the runtime from ending.
    std::process::exit(i32::from(failed));
}
