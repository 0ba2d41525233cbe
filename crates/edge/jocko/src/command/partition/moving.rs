//! `jocko partition move` and `move-status`: replicas to other brokers (KIP-455).

use super::{numbers, told, topics};
use crate::command::{client, partition_exists, timeout};
use crate::failure::{Failure, Result};
use crate::output::{json, reader_has_gone, say, table, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, Move, TopicPartition};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often moves under way are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often it is said how many there still are, where that changes.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// Where partitions are to go; `None` ends a move.
pub(in crate::command) type Moves = Vec<(TopicPartition, Option<Vec<i32>>)>;

pub(super) async fn start(matches: &ArgMatches) -> Result<()> {
    let topic: &String = matches.get_one("topic").expect("is required");
    let mut client = client(matches)?;
    let count = client.partitions(topic, false).await?;
    let named = matches.get_many::<i32>("partition").map(|named| named.copied().collect());
    let partitions: Vec<i32> = named.unwrap_or_else(|| (0..count).collect());
    for partition in &partitions {
        partition_exists(topic, *partition, count)?;
    }
    let to: Option<Vec<i32>> = matches.get_many("to").map(|to| to.copied().collect());
    let mut moves: Moves = partitions.iter().map(|at| ((topic.clone(), *at), to.clone())).collect();
    if to.is_none() {
        only_under_way(&mut client, &mut moves).await?;
    }
    check(&mut client, to.as_deref()).await?;
    let is_dry = matches.get_flag("dry-run");
    if !is_dry && !moves.is_empty() {
        told(client.reassign(&moves).await?)?;
    }
    if matches.get_flag("wait") && !is_dry && !moves.is_empty() {
        let moving: Vec<TopicPartition> = moves.iter().map(|(at, _)| at.clone()).collect();
        wait_for_moves(&mut client, Some(&moving), timeout(matches)?).await?;
    }
    tell(matches, topic, &moves, to.as_deref())
}

/// What is not under way cannot be ended.
async fn only_under_way(client: &mut Client, moves: &mut Moves) -> Result<()> {
    let asked: Vec<TopicPartition> = moves.iter().map(|(at, _)| at.clone()).collect();
    let found = client.moves(Some(&asked)).await?;
    moves.retain(|(at, _)| found.iter().any(|each| each.partition == *at));
    Ok(())
}

/// Says before anything is tried what the controller would refuse, for `--dry-run` too.
async fn check(client: &mut Client, to: Option<&[i32]>) -> Result<()> {
    let Some(to) = to else { return Ok(()) };
    let mut sorted = to.to_vec();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Failure::usage(format!("--to {} names a broker twice", numbers(to))));
    }
    let known = client.members().await?.brokers;
    match to.iter().find(|id| known.iter().all(|broker| broker.id != **id)) {
        Some(unknown) => Err(jocko_client::ClientError::NoSuchBroker(*unknown).into()),
        None => Ok(()),
    }
}

fn tell(matches: &ArgMatches, topic: &str, moves: &Moves, to: Option<&[i32]>) -> Result<()> {
    let is_dry = matches.get_flag("dry-run");
    let is_done = matches.get_flag("wait") && !is_dry;
    let partitions: Vec<i32> = moves.iter().map(|((_, at), _)| *at).collect();
    if wants_json(matches) {
        return json(&json!({
            "topic": topic,
            "partitions": partitions,
            "to": to,
            "cancelled": to.is_none(),
            "started": !is_dry,
            "done": is_done,
        }));
    }
    let count = partitions.len();
    let noun = if count == 1 { "partition" } else { "partitions" };
    let would = if is_dry { "would have " } else { "" };
    match to {
        _ if count == 0 => say(format_args!("nothing of {topic} is moving")),
        Some(to) if is_dry => {
            say(format_args!("{count} {noun} of {topic} would go to {}", numbers(to)))
        }
        Some(to) if is_done => {
            say(format_args!("{count} {noun} of {topic} went to {}", numbers(to)))
        }
        Some(to) => say(format_args!(
            "{count} {noun} of {topic} go to {}; jocko partition move-status tells how far",
            numbers(to)
        )),
        None => say(format_args!("{would}ended the moves of {count} {noun} of {topic}")),
    }
}

pub(super) async fn status(matches: &ArgMatches) -> Result<()> {
    let mut client = client(matches)?;
    let named = topics(matches);
    let mut asked: Option<Vec<TopicPartition>> = None;
    for topic in named.iter().flatten() {
        let count = client.partitions(topic, false).await?;
        let all = (0..count).map(|at| ((*topic).to_owned(), at));
        asked.get_or_insert_default().extend(all);
    }
    if matches.get_flag("wait") {
        return match wait_for_moves(&mut client, asked.as_deref(), timeout(matches)?).await {
            Ok(()) => show(matches, &[]),
            Err(failure) => Err(failure),
        };
    }
    show(matches, &client.moves(asked.as_deref()).await?)
}

fn show(matches: &ArgMatches, moves: &[Move]) -> Result<()> {
    if wants_json(matches) {
        let one = |each: &Move| {
            json!({
                "topic": each.partition.0,
                "partition": each.partition.1,
                "replicas": each.replicas,
                "adding": each.adding,
                "removing": each.removing,
            })
        };
        return json(&moves.iter().map(one).collect::<Value>());
    }
    if moves.is_empty() {
        return say("nothing moves");
    }
    let row = |each: &Move| {
        vec![
            each.partition.0.clone(),
            each.partition.1.to_string(),
            numbers(&each.replicas),
            numbers(&each.adding),
            numbers(&each.removing),
        ]
    };
    let rows: Vec<Vec<String>> = moves.iter().map(row).collect();
    table(&["TOPIC", ">PART", "COPIES", "ADDING", "REMOVING"], &rows)
}

/// Waits until none of these partitions moves any more, and says meanwhile how many still do.
pub(in crate::command) async fn wait_for_moves(
    client: &mut Client,
    partitions: Option<&[TopicPartition]>,
    patience: Duration,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    let (mut said, mut said_at) = (0, Instant::now());
    loop {
        let left = client.moves(partitions).await?.len();
        if left == 0 {
            return Ok(());
        }
        if left != said && said_at.elapsed() >= SAY_EVERY {
            let noun = if left == 1 { "partition still moves" } else { "partitions still move" };
            eprintln!("{left} {noun}");
            (said, said_at) = (left, Instant::now());
        }
        if Instant::now() + LOOK_EVERY > deadline || reader_has_gone() {
            let noun = if left == 1 { "partition still moves" } else { "partitions still move" };
            return Err(Failure::unmet_because(format!("{left} {noun} after {patience:?}"))
                .cure("a longer --timeout; jocko partition move-status"));
        }
        sleep(LOOK_EVERY).await;
    }
}
