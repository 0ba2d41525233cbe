//! `jocko produce TOPIC`: lines of standard input become records.

mod input;
mod sending;

use crate::command::{client, partition_exists, topic_name};
use crate::failure::{Failure, Result};
use crate::output::wants_json;
use clap::ArgMatches;
use input::{Input, Line, Shape};
use jocko_client::{Client, ClientError, partition_for_key};
use jocko_records::{Codec, Encoding};
use jocko_types::ErrorCode;
use sending::Sending;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio::io::{BufReader, stdin};

/// How long a topic that was just created may take to be known.
const CREATION_MAX: Duration = Duration::from_secs(2);
const CREATION_PAUSE: Duration = Duration::from_millis(50);

/// What all records have in common.
struct Plan {
    topic: String,
    only: Option<i32>,
    headers: Vec<(String, Vec<u8>)>,
    encoding: Encoding,
    acks: i16,
    json: bool,
}

pub(crate) async fn run(matches: &ArgMatches) -> Result<()> {
    let plan = plan(matches)?;
    let mut client = client(matches)?;
    let mut partitions = known_partitions(&mut client, &plan).await?;
    if std::io::stdin().is_terminal() {
        eprintln!("each line is a record; Ctrl-D ends");
    }
    let mut input = Input::new(BufReader::new(stdin()), shape(matches));
    let mut sending = Sending::new(&mut client, &plan);
    let mut next = 0;
    loop {
        let group = match input.next_group().await {
            Ok(Some(group)) => group,
            Ok(None) => break,
            Err(failure) => return Err(failure.and(&sending.so_far())),
        };
        // Only a topic that something is written to is created.
        let count = match partitions {
            Some(count) => count,
            None => create(sending.client(), &plan).await?,
        };
        partitions = Some(count);
        for (partition, lines) in divide(group, &plan, count, next) {
            sending.send(partition, lines).await?;
        }
        next = (next + 1) % count.max(1);
    }
    if sending.written() == 0 {
        // No fault of its own: in a script what comes before it may have had nothing to say.
        eprintln!("standard input had no lines, so nothing was written");
    }
    Ok(())
}

/// The lines of a group by the partition they go to; those without keys go to `next`.
fn divide(group: Vec<Line>, plan: &Plan, partitions: i32, next: i32) -> BTreeMap<i32, Vec<Line>> {
    let mut by_partition: BTreeMap<i32, Vec<Line>> = BTreeMap::new();
    for line in group {
        let partition = match (plan.only, &line.key) {
            (Some(only), _) => only,
            (None, Some(key)) => partition_for_key(key, partitions),
            (None, None) => next,
        };
        by_partition.entry(partition).or_default().push(line);
    }
    by_partition
}

/// How many partitions the topic has, if it is there.
async fn known_partitions(client: &mut Client, plan: &Plan) -> Result<Option<i32>> {
    match client.partitions(&plan.topic, false).await {
        Ok(count) => {
            plan.only.map_or(Ok(()), |only| partition_exists(&plan.topic, only, count))?;
            Ok(Some(count))
        }
        Err(ClientError::NoSuchTopic(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Lets the cluster create the topic, if it does so unasked, and waits until it is there.
async fn create(client: &mut Client, plan: &Plan) -> Result<i32> {
    let give_up = Instant::now() + CREATION_MAX;
    loop {
        match client.partitions(&plan.topic, true).await {
            Ok(count) => {
                plan.only.map_or(Ok(()), |only| partition_exists(&plan.topic, only, count))?;
                return Ok(count);
            }
            Err(
                ClientError::NoSuchTopic(_)
                | ClientError::Refused { code: ErrorCode::LeaderNotAvailable, .. },
            ) if Instant::now() < give_up => tokio::time::sleep(CREATION_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

fn shape(matches: &ArgMatches) -> Shape {
    Shape {
        separator: matches.get_one("key-separator").cloned(),
        key: matches.get_one::<String>("key").map(|key| key.as_bytes().to_vec()),
        empty_is_null: matches.get_flag("tombstone"),
    }
}

fn plan(matches: &ArgMatches) -> Result<Plan> {
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
        topic: topic_name(matches),
        only: matches.get_one("partition").copied(),
        headers,
        encoding: Encoding::new(codec),
        acks: match matches.get_one::<String>("acks").map(String::as_str) {
            Some("0") => 0,
            Some("1") => 1,
            _ => -1,
        },
        json: wants_json(matches),
    })
}
