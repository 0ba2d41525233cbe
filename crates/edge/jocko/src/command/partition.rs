//! `jocko partition list|move|move-status|elect`.

mod electing;
mod moving;

pub(super) use moving::{Moves, wait_for_moves};

use crate::command::{choice, client};
use crate::failure::{Failure, Result};
use crate::output::{json, say, table, wants_json};
use clap::ArgMatches;
use jocko_client::{ClientError, Outcomes};
use jocko_protocol::rpc::metadata_response::MetadataResponsePartition;
use jocko_types::ErrorCode;
use serde_json::{Value, json};

pub(crate) async fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("list", matches)) => list(matches).await,
        Some(("move", matches)) => moving::start(matches).await,
        Some(("move-status", matches)) => moving::status(matches).await,
        Some(("elect", matches)) => electing::elect(matches).await,
        _ => Err(choice("partition")),
    }
}

/// The topics that a command names; nothing for all.
fn topics(matches: &ArgMatches) -> Option<Vec<&str>> {
    let named = matches.get_many::<String>("topics")?;
    Some(named.map(String::as_str).collect())
}

async fn list(matches: &ArgMatches) -> Result<()> {
    let topics = topics(matches);
    let metadata = client(matches)?.metadata(topics.as_deref(), false).await?;
    let broker = matches.get_one::<i32>("broker");
    let is_wanted = |partition: &MetadataResponsePartition| {
        let lacks_copies = partition.isr_nodes.len() < partition.replica_nodes.len();
        (!matches.get_flag("leaderless") || partition.leader_id < 0)
            && (!matches.get_flag("under-replicated") || lacks_copies)
            && broker.is_none_or(|broker| partition.replica_nodes.contains(broker))
    };
    let mut found = Vec::new();
    for topic in &metadata.topics {
        let name = topic.name.clone().unwrap_or_default();
        if jocko_protocol::error_code(topic.error_code) == ErrorCode::UnknownTopicOrPartition {
            return Err(ClientError::NoSuchTopic(name).into());
        }
        ClientError::check(topic.error_code, None)?;
        let wanted = topic.partitions.iter().filter(|partition| is_wanted(partition));
        found.extend(wanted.map(|partition| (name.clone(), partition)));
    }
    found.sort_by(|(one, at), (other, against)| {
        (one, at.partition_index).cmp(&(other, against.partition_index))
    });
    if wants_json(matches) {
        return json(&found.iter().map(|(topic, it)| partition_json(topic, it)).collect::<Value>());
    }
    if found.is_empty() {
        return say("no partitions");
    }
    let rows: Vec<Vec<String>> = found.iter().map(|(topic, it)| row(topic, it)).collect();
    table(&["TOPIC", ">PART", ">LEADER", ">EPOCH", "COPIES", "IN-SYNC", "OFFLINE"], &rows)
}

fn row(topic: &str, partition: &MetadataResponsePartition) -> Vec<String> {
    let leader = match partition.leader_id {
        ..0 => "none".to_owned(),
        leader => leader.to_string(),
    };
    vec![
        topic.to_owned(),
        partition.partition_index.to_string(),
        leader,
        partition.leader_epoch.to_string(),
        numbers(&partition.replica_nodes),
        numbers(&partition.isr_nodes),
        numbers(&partition.offline_replicas),
    ]
}

fn partition_json(topic: &str, partition: &MetadataResponsePartition) -> Value {
    json!({
        "topic": topic,
        "partition": partition.partition_index,
        "leader": (partition.leader_id >= 0).then_some(partition.leader_id),
        "leaderEpoch": partition.leader_epoch,
        "replicas": partition.replica_nodes,
        "inSync": partition.isr_nodes,
        "offline": partition.offline_replicas,
    })
}

/// Brokers as they are typed.
fn numbers(brokers: &[i32]) -> String {
    let brokers: Vec<String> = brokers.iter().map(i32::to_string).collect();
    brokers.join(",")
}

/// The first refusal among outcomes, with the partition it is about and how many there are.
pub(super) fn told(outcomes: Outcomes) -> Result<()> {
    let all = outcomes.len();
    let mut refused = outcomes.into_iter().filter_map(|(at, outcome)| Some((at, outcome.err()?)));
    let Some(((topic, partition), error)) = refused.next() else { return Ok(()) };
    let refusals = 1 + refused.count();
    let failure = Failure::from(error).about(&format!("{topic}/{partition}"));
    Err(if all > 1 { failure.and(&format!("{refusals} of {all} were refused")) } else { failure })
}
