//! The scenarios by name; each fails by returning an error.

use std::io::BufRead;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rskafka::client::partition::{Compression, OffsetAt};

use crate::{Run, Unsupported, read, record, same, values};

/// A parked fetch has to be answered within this of the append.
const WAKE_MAX: Duration = Duration::from_millis(250);

pub(crate) const NAMES: [&str; 22] = [
    "create-describe-delete-topic",
    "acks-0",
    "acks-1",
    "acks-all",
    "codec-none",
    "codec-gzip",
    "codec-snappy",
    "codec-lz4",
    "codec-zstd",
    "headers",
    "null-key-value",
    "record-1mb",
    "idempotent",
    "batches-1-to-10000",
    "read-from-start",
    "read-from-end",
    "read-from-offset",
    "read-from-timestamp",
    "long-poll-latency",
    "many-partitions",
    "delete-and-recreate",
    "reconnect",
];

pub(crate) async fn run(name: &str, run: &Run) -> Result<()> {
    let plain = Compression::NoCompression;
    match name {
        "create-describe-delete-topic" => create_describe_delete(run).await,
        "acks-0" | "acks-1" => bail!(Unsupported("the client always waits for all replicas")),
        "idempotent" => bail!(Unsupported("the client has no idempotent producer")),
        "acks-all" => run.round_trip(values(20, "all"), plain).await,
        "codec-none" => codec(run, plain).await,
        "codec-gzip" => codec(run, Compression::Gzip).await,
        "codec-snappy" => codec(run, Compression::Snappy).await,
        "codec-lz4" => codec(run, Compression::Lz4).await,
        "codec-zstd" => codec(run, Compression::Zstd).await,
        "headers" => headers(run).await,
        "null-key-value" => null_key_value(run).await,
        // With its framing it stays under the million bytes that most clients allow by default.
        "record-1mb" => {
            run.round_trip(vec![record(Some(b"big".to_vec()), Some(vec![7; 990_000]))], plain).await
        }
        "batches-1-to-10000" => batches(run).await,
        "read-from-start" => read_from_start(run).await,
        "read-from-end" => read_from_end(run).await,
        "read-from-offset" => read_from_offset(run).await,
        "read-from-timestamp" => read_from_timestamp(run).await,
        "long-poll-latency" => long_poll_latency(run).await,
        "many-partitions" => many_partitions(run).await,
        "delete-and-recreate" => delete_and_recreate(run).await,
        "reconnect" => reconnect(run).await,
        other => bail!("no scenario named {other}"),
    }
}

async fn create_describe_delete(run: &Run) -> Result<()> {
    run.create(3).await?;
    ensure!(
        run.controller.create_topic(&run.topic, 3, -1, 10_000).await.is_err(),
        "a topic that exists was created again"
    );
    run.controller.delete_topic(&run.topic, 10_000).await.context("delete topic")?;
    run.until(async || Ok(run.partitions().await? == 0)).await
}

async fn codec(run: &Run, compression: Compression) -> Result<()> {
    run.round_trip(values(200, &"a text that compresses well ".repeat(10)), compression).await
}

async fn headers(run: &Run) -> Result<()> {
    let mut records = values(3, "with-headers");
    for (key, value) in [("trace", "1"), ("empty", ""), ("\u{e9}", "\u{0}")] {
        records[0].headers.insert(key.to_owned(), value.as_bytes().to_vec());
    }
    run.round_trip(records, Compression::NoCompression).await
}

async fn null_key_value(run: &Run) -> Result<()> {
    let records = vec![
        record(None, Some(b"null key".to_vec())),
        record(Some(b"null value".to_vec()), None),
        record(None, None),
        record(Some(Vec::new()), Some(Vec::new())),
    ];
    run.round_trip(records, Compression::NoCompression).await
}

async fn batches(run: &Run) -> Result<()> {
    run.create(1).await?;
    let partition = run.partition(0).await?;
    let mut first = 0;
    for count in [1, 10, 1000, 10_000] {
        let records = values(count, &format!("of-{count}"));
        partition.produce(records.clone(), Compression::NoCompression).await.context("produce")?;
        same(&records, &read(&partition, first, count).await?, first)?;
        first += i64::try_from(count)?;
    }
    Ok(())
}

async fn read_from_start(run: &Run) -> Result<()> {
    run.create(1).await?;
    let partition = run.partition(0).await?;
    let records = values(50, "start");
    for part in [&records[..20], &records[20..21], &records[21..]] {
        partition.produce(part.to_vec(), Compression::NoCompression).await.context("produce")?;
    }
    let start = partition.get_offset(OffsetAt::Earliest).await?;
    same(&records, &read(&partition, start, 50).await?, 0)
}

async fn read_from_end(run: &Run) -> Result<()> {
    run.create(1).await?;
    let partition = run.partition(0).await?;
    partition.produce(values(5, "before"), Compression::NoCompression).await.context("produce")?;
    let end = partition.get_offset(OffsetAt::Latest).await?;
    let after = values(2, "after");
    partition.produce(after.clone(), Compression::NoCompression).await.context("produce")?;
    same(&after, &read(&partition, end, 2).await?, 5)
}

async fn read_from_offset(run: &Run) -> Result<()> {
    run.create(1).await?;
    let partition = run.partition(0).await?;
    let records = values(100, "offset");
    partition.produce(records.clone(), Compression::NoCompression).await.context("produce")?;
    for offset in [0_u8, 1, 57, 99] {
        let wanted = &records[usize::from(offset)..];
        same(wanted, &read(&partition, offset.into(), wanted.len()).await?, offset.into())?;
    }
    Ok(())
}

async fn read_from_timestamp(run: &Run) -> Result<()> {
    run.create(1).await?;
    let partition = run.partition(0).await?;
    let mut records = values(10, "time");
    let base = records[0].timestamp - Duration::from_secs(60);
    for (second, record) in (0..).zip(&mut records) {
        record.timestamp = base + Duration::from_secs(second);
    }
    partition.produce(records.clone(), Compression::NoCompression).await.context("produce")?;
    // Between the fourth and the fifth record: the fifth is the first at or after it.
    for after in [3500, 4000] {
        let at = base + Duration::from_millis(after);
        let offset = partition.get_offset(OffsetAt::Timestamp(at)).await?;
        same(&records[4..], &read(&partition, offset, 6).await?, 4)?;
    }
    Ok(())
}

async fn long_poll_latency(run: &Run) -> Result<()> {
    const ROUNDS: usize = 3;
    run.create(1).await?;
    let writer = run.partition(0).await?;
    let mut took = Vec::new();
    writer.produce(values(1, "warm"), Compression::NoCompression).await.context("produce")?;
    for round in 1..=ROUNDS {
        let reader = run.partition(0).await?;
        let offset = i64::try_from(round)?;
        let parked =
            tokio::spawn(async move { read(&reader, offset, 1).await.map(|_| Instant::now()) });
        // Long enough for the fetch to be waiting at the broker, which nothing outside can see.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let sent = Instant::now();
        writer.produce(values(1, "tick"), Compression::NoCompression).await.context("produce")?;
        took.push(parked.await??.duration_since(sent));
    }
    // One round may meet a busy machine; a fetch that is not woken misses all of them.
    let in_time = took.iter().filter(|each| **each <= WAKE_MAX).count();
    ensure!(in_time >= ROUNDS - 1, "a parked fetch was answered after {took:?}");
    Ok(())
}

async fn many_partitions(run: &Run) -> Result<()> {
    run.create(100).await?;
    for p in 0..100 {
        let records = values(3, &format!("p{p}"));
        let partition = run.partition(p).await?;
        partition.produce(records.clone(), Compression::NoCompression).await.context("produce")?;
        same(&records, &read(&partition, 0, 3).await?, 0)
            .with_context(|| format!("partition {p}"))?;
    }
    Ok(())
}

async fn delete_and_recreate(run: &Run) -> Result<()> {
    run.create(1).await?;
    run.partition(0)
        .await?
        .produce(values(5, "old"), Compression::NoCompression)
        .await
        .context("produce")?;
    run.controller.delete_topic(&run.topic, 10_000).await.context("delete topic")?;
    run.until(async || Ok(run.controller.create_topic(&run.topic, 1, -1, 10_000).await.is_ok()))
        .await?;
    run.until(async || Ok(run.partitions().await? == 1)).await?;
    let partition = run.partition(0).await?;
    let fresh = values(2, "new");
    partition.produce(fresh.clone(), Compression::NoCompression).await.context("produce")?;
    same(&fresh, &read(&partition, 0, 2).await?, 0)?;
    let end = partition.get_offset(OffsetAt::Latest).await?;
    ensure!(end == 2, "end offset is {end} after two records in a new topic");
    Ok(())
}

async fn reconnect(run: &Run) -> Result<()> {
    run.create(1).await?;
    let partition = run.partition(0).await?;
    let records = values(20, "reconnect");
    partition
        .produce(records[..10].to_vec(), Compression::NoCompression)
        .await
        .context("produce")?;
    same(&records[..10], &read(&partition, 0, 10).await?, 0)?;
    println!("READY-FOR-RESTART");
    let line = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next().transpose())
        .await??;
    if line.is_none() {
        bail!(Unsupported("nobody is there to restart the broker"));
    }
    partition
        .produce(records[10..].to_vec(), Compression::NoCompression)
        .await
        .context("produce again")?;
    same(&records, &read(&partition, 0, 20).await?, 0)
}
