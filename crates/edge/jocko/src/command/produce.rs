//! `jocko produce TOPIC`: lines of standard input become records.

use crate::command::{client, topic_name};
use crate::failure::{Failure, Result};
use crate::output::{say, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, ClientError, partition_for_key};
use jocko_records::{BatchBuilder, BuildError, Codec, Encoding, Header};
use jocko_types::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, BufReader, Split, Stdin, stdin};

/// Records in one batch at most; and bytes, so that Kafka's default limit holds.
const BATCH_RECORDS_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// How long a slow typist's line waits for company.
const LINGER: Duration = Duration::from_millis(5);
/// How long a batch is retried before it is given up.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How lines become records, and where these go.
struct Plan {
    topic: String,
    partitions: i32,
    only: Option<i32>,
    key: Option<Vec<u8>>,
    separator: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    encoding: Encoding,
    empty_is_null: bool,
    acks: i16,
    json: bool,
}

/// One line, taken apart.
struct Line {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

pub(crate) async fn run(matches: &ArgMatches) -> Result<()> {
    let mut client = client(matches)?;
    let plan = plan(matches, &mut client).await?;
    if std::io::stdin().is_terminal() {
        eprintln!("each line is a record; Ctrl-D ends");
    }
    let mut lines = BufReader::new(stdin()).split(b'\n');
    let mut next = 0;
    let mut written = 0;
    while let Some(batch) = read_batch(&mut lines, &plan).await? {
        let mut by_partition: BTreeMap<i32, Vec<Line>> = BTreeMap::new();
        for line in batch {
            let partition = match (plan.only, &line.key) {
                (Some(only), _) => only,
                (None, Some(key)) => partition_for_key(key, plan.partitions),
                (None, None) => next,
            };
            by_partition.entry(partition).or_default().push(line);
        }
        next = (next + 1) % plan.partitions.max(1);
        for (partition, lines) in by_partition {
            written += lines.len();
            send(&mut client, &plan, partition, &lines).await?;
        }
    }
    if written == 0 {
        return Err(Failure::new("standard input had no lines, so nothing was written")
            .cure(format!("echo hello | jocko produce {}", plan.topic)));
    }
    Ok(())
}

async fn plan(matches: &ArgMatches, client: &mut Client) -> Result<Plan> {
    let topic = topic_name(matches);
    let partitions = client.partitions(&topic, true).await?;
    let only: Option<i32> = matches.get_one("partition").copied();
    if let Some(partition) = only.filter(|only| *only >= partitions) {
        return Err(ClientError::NoSuchPartition { topic, partition }.into());
    }
    let mut headers = Vec::new();
    for header in matches.get_many::<String>("header").unwrap_or_default() {
        let (name, value) = header.split_once('=').ok_or_else(|| {
            Failure::usage(format!("--header {header} has no value")).cure("--header NAME=VALUE")
        })?;
        headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }
    let codec = match matches.get_one::<String>("compression").map(String::as_str) {
        Some("gzip") => Codec::Gzip,
        Some("snappy") => Codec::Snappy,
        Some("lz4") => Codec::Lz4,
        Some("zstd") => Codec::Zstd,
        _ => Codec::None,
    };
    Ok(Plan {
        topic,
        partitions,
        only,
        key: matches.get_one::<String>("key").map(|key| key.as_bytes().to_vec()),
        separator: matches.get_one("key-separator").cloned(),
        headers,
        encoding: Encoding::new(codec),
        empty_is_null: matches.get_flag("tombstone"),
        acks: match matches.get_one::<String>("acks").map(String::as_str) {
            Some("0") => 0,
            Some("1") => 1,
            _ => -1,
        },
        json: wants_json(matches),
    })
}

/// The lines that are there, up to a batch full; waits for the first. `None` at the end.
async fn read_batch(lines: &mut Split<BufReader<Stdin>>, plan: &Plan) -> Result<Option<Vec<Line>>> {
    let Some(first) = lines.next_segment().await? else { return Ok(None) };
    let mut bytes = first.len();
    let mut batch = vec![take_apart(first, plan)?];
    let full = tokio::time::Instant::now() + LINGER;
    while batch.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
        match tokio::time::timeout_at(full, lines.next_segment()).await {
            Ok(line) => {
                let Some(line) = line? else { break };
                bytes += line.len();
                batch.push(take_apart(line, plan)?);
            }
            Err(_) => break,
        }
    }
    Ok(Some(batch))
}

/// A line as it came, byte for byte, without its end.
fn take_apart(mut line: Vec<u8>, plan: &Plan) -> Result<Line> {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let (key, value) = match &plan.separator {
        Some(separator) => {
            let (key, value) = split_once(&line, separator.as_bytes()).ok_or_else(|| {
                let line = String::from_utf8_lossy(&line);
                Failure::new(format!(
                    "the line {line:?} has no {separator:?} between key and value"
                ))
                .cure(format!("lines like KEY{separator}VALUE, or no --key-separator"))
            })?;
            (Some(key.to_vec()), value.to_vec())
        }
        None => (plan.key.clone(), line),
    };
    let is_null = plan.empty_is_null && value.is_empty();
    Ok(Line { key, value: (!is_null).then_some(value) })
}

/// What stands before and after the first `separator`.
fn split_once<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    if separator.is_empty() {
        return None;
    }
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}

/// Sends one batch, again and again while that may help.
async fn send(client: &mut Client, plan: &Plan, partition: i32, lines: &[Line]) -> Result<()> {
    let batch = encode(plan, lines)?;
    let started = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        match client.produce(&plan.topic, partition, &batch, plan.acks).await {
            Ok(produced) => {
                if plan.json {
                    // Lines that are still to come are worth more than a reader who left.
                    let _ = say(json!({
                        "topic": plan.topic,
                        "partition": partition,
                        "offset": produced.base_offset.map(jocko_types::Offset::get),
                        "records": lines.len(),
                    }));
                }
                return Ok(());
            }
            Err(error) if error.is_retriable() && started.elapsed() < RETRY_MAX => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn encode(plan: &Plan, lines: &[Line]) -> Result<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = Timestamp::from_millis(i64::try_from(now).unwrap_or(i64::MAX));
    let mut builder = BatchBuilder::new(plan.encoding);
    let headers: Vec<Header<'_>> = plan
        .headers
        .iter()
        .map(|(name, value)| Header { key: name.as_bytes(), value: Some(value) })
        .collect();
    let too_large = |error: BuildError| Failure::new(error.to_string());
    for line in lines {
        builder
            .push(now, line.key.as_deref(), line.value.as_deref(), &headers)
            .map_err(too_large)?;
    }
    builder.build().map_err(too_large)
}
