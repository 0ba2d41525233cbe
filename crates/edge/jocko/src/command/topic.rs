//! `jocko topic create|list|describe|delete|alter|add-partitions|trim`.

mod applies;
mod changing;

use crate::command::{choice, client, confirm, pairs, retention};
use crate::failure::{Failure, Result};
use crate::output::{grouped, json, say, table, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, ClientError, NewTopic, Position, Resource};
use jocko_protocol::rpc::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use jocko_types::ErrorCode;
use serde_json::{Value, json};
use std::time::Instant;

/// The source of a value that was set on the topic itself.
const SOURCE_TOPIC: i8 = 1;

pub(crate) async fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("create", matches)) => create(matches).await,
        Some(("list", matches)) => list(matches).await,
        Some(("describe", matches)) => describe(matches).await,
        Some(("delete", matches)) => delete(matches).await,
        Some(("alter", matches)) => changing::alter(matches).await,
        Some(("add-partitions", matches)) => changing::add_partitions(matches).await,
        Some(("trim", matches)) => changing::trim(matches).await,
        _ => Err(choice("topic")),
    }
}

async fn create(matches: &ArgMatches) -> Result<()> {
    let topic = new_topic(matches)?;
    let mut client = client(matches)?;
    let started = Instant::now();
    let created = match client.create_topic(&topic).await {
        Err(ClientError::Refused { code: ErrorCode::TopicAlreadyExists, .. })
            if matches.get_flag("if-not-exists") =>
        {
            if wants_json(matches) {
                return json(&json!({ "topic": topic.name, "created": false }));
            }
            return say(format_args!("{} exists", topic.name));
        }
        Err(refused @ ClientError::Refused { code: ErrorCode::TopicAlreadyExists, .. }) => {
            return Err(Failure::new(refused.to_string())
                .cure("--if-not-exists, if a topic that is there already will do"));
        }
        created => created?,
    };
    let verb = if topic.validate_only { "would create" } else { "created" };
    if wants_json(matches) {
        return json(&json!({
            "topic": topic.name,
            "id": created.id.to_string(),
            "partitions": created.partitions,
            "replication": created.replication,
            "created": !topic.validate_only,
        }));
    }
    say(format_args!(
        "{verb} {}  partitions {}  replication {}  took {} ms",
        topic.name,
        created.partitions,
        created.replication,
        started.elapsed().as_millis()
    ))
}

fn new_topic(matches: &ArgMatches) -> Result<NewTopic> {
    let mut configs = pairs(matches, "set")?;
    configs.extend(retention(matches)?);
    Ok(NewTopic {
        name: name(matches).to_owned(),
        partitions: matches.get_one("partitions").copied(),
        replication: matches.get_one("replication").copied(),
        configs,
        validate_only: matches.get_flag("dry-run"),
    })
}

async fn list(matches: &ArgMatches) -> Result<()> {
    let mut client = client(matches)?;
    let metadata = client.metadata(None, false).await?;
    let mut topics: Vec<&MetadataResponseTopic> = metadata
        .topics
        .iter()
        .filter(|topic| !topic.is_internal || matches.get_flag("internal"))
        .collect();
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    if wants_json(matches) {
        return json(&topics.iter().map(|topic| summary(topic)).collect::<Value>());
    }
    if topics.is_empty() {
        return say("no topics");
    }
    let rows: Vec<Vec<String>> = topics
        .iter()
        .map(|topic| {
            vec![
                topic.name.clone().unwrap_or_default(),
                topic.partitions.len().to_string(),
                replication(topic).to_string(),
            ]
        })
        .collect();
    table(&["TOPIC", ">PARTITIONS", ">REPLICATION"], &rows)
}

fn summary(topic: &MetadataResponseTopic) -> Value {
    json!({
        "topic": topic.name,
        "id": topic.topic_id.to_string(),
        "partitions": topic.partitions.len(),
        "replication": replication(topic),
        "internal": topic.is_internal,
    })
}

fn replication(topic: &MetadataResponseTopic) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replica_nodes.len())
}

async fn describe(matches: &ArgMatches) -> Result<()> {
    let mut client = client(matches)?;
    let name = name(matches);
    // Says so, with the cure, if there is no such topic.
    client.partitions(name, false).await?;
    let metadata = client.metadata(Some(&[name]), false).await?;
    let topic = metadata.topics.into_iter().next();
    let mut topic = topic.ok_or_else(|| ClientError::NoSuchTopic(name.to_owned()))?;
    topic.partitions.sort_by_key(|partition| partition.partition_index);
    let mut ends = Vec::new();
    for partition in &topic.partitions {
        let index = partition.partition_index;
        let start = client.offset(name, index, Position::Start).await?;
        let end = client.offset(name, index, Position::End).await?;
        ends.push((start.get(), end.get()));
    }
    let configs = overrides(&mut client, name).await?;
    let applies = applies::ask(&mut client, name).await?;
    if wants_json(matches) {
        let places = topic.partitions.iter().zip(&ends);
        let partitions: Vec<Value> = places.map(|(it, ends)| partition_json(it, *ends)).collect();
        let mut described = summary(&topic);
        described["partitions"] = partitions.into();
        described["configs"] = configs
            .into_iter()
            .map(|(name, value)| (name, Value::from(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        described["retention"] = applies.map_or(Value::Null, |applies| applies.json());
        return json(&described);
    }
    say(format_args!(
        "{name}  id {}  partitions {}  replication {}",
        topic.topic_id,
        topic.partitions.len(),
        replication(&topic)
    ))?;
    for (name, value) in configs {
        say(format_args!("  {name} = {value}"))?;
    }
    if let Some(words) = applies.and_then(|applies| applies.words()) {
        say(format_args!("  {words}"))?;
    }
    let rows: Vec<Vec<String>> = topic
        .partitions
        .iter()
        .zip(&ends)
        .map(|(partition, (start, end))| {
            vec![
                partition.partition_index.to_string(),
                partition.leader_id.to_string(),
                list_of(&partition.replica_nodes),
                list_of(&partition.isr_nodes),
                grouped(*start),
                grouped(*end),
                grouped(end - start),
            ]
        })
        .collect();
    table(&[">PARTITION", ">LEADER", "REPLICAS", "ISR", ">START", ">END", ">RECORDS"], &rows)
}

fn partition_json(partition: &MetadataResponsePartition, (start, end): (i64, i64)) -> Value {
    json!({
        "partition": partition.partition_index,
        "leader": partition.leader_id,
        "leaderEpoch": partition.leader_epoch,
        "replicas": partition.replica_nodes,
        "isr": partition.isr_nodes,
        "start": start,
        "end": end,
    })
}

fn list_of(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// The settings that somebody set on the topic itself.
async fn overrides(client: &mut Client, name: &str) -> Result<Vec<(String, String)>> {
    let configs = client.describe_configs(&Resource::Topic(name.to_owned()), None).await?;
    let set = configs.into_iter().filter(|config| config.config_source == SOURCE_TOPIC);
    Ok(set.map(|config| (config.name, config.value.unwrap_or_default())).collect())
}

async fn delete(matches: &ArgMatches) -> Result<()> {
    let names: Vec<&String> = matches.get_many("name").expect("is required").collect();
    let mut client = client(matches)?;
    let dry_run = matches.get_flag("dry-run");
    for name in &names {
        if let Err(error) = client.partitions(name, false).await {
            return Err(match error {
                ClientError::NoSuchTopic(_) => {
                    Failure::new(error.to_string()).cure("jocko topic list")
                }
                other => other.into(),
            });
        }
    }
    for name in &names {
        changing::refuse_internal(&mut client, name).await?;
    }
    if !dry_run {
        let shown: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        confirm(matches, &format!("delete {} and all records?", shown.join(", ")))?;
    }
    let mut deleted = Vec::new();
    for name in &names {
        if !dry_run {
            client.delete_topic(name).await?;
        }
        deleted.push(json!({ "topic": name, "deleted": !dry_run }));
        if !wants_json(matches) {
            say(format_args!("{} {name}", if dry_run { "would delete" } else { "deleted" }))?;
        }
    }
    if wants_json(matches) {
        return json(&deleted.into());
    }
    Ok(())
}

fn name(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("name").expect("is required")
}
