//! `jocko group list|describe|lag|seek|delete|offset-delete`: who reads what, and how far behind.

mod lag;
mod seek;
mod standing;

use crate::command::{choice, client, confirm};
use crate::failure::{Failure, Result};
use crate::output::{json, say, table, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, ClientError, DescribedGroup};
use jocko_types::ErrorCode;
use serde_json::{Value, json};

pub(crate) async fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("list", matches)) => list(matches).await,
        Some(("describe", matches)) => lag::describe(matches).await,
        Some(("lag", matches)) => lag::lag(matches).await,
        Some(("seek", matches)) => seek::run(matches).await,
        Some(("delete", matches)) => delete(matches).await,
        Some(("offset-delete", matches)) => delete_offsets(matches).await,
        _ => Err(choice("group")),
    }
}

async fn list(matches: &ArgMatches) -> Result<()> {
    let mut groups = client(matches)?.list_groups().await?;
    if let Some(state) = matches.get_one::<String>("state") {
        groups.retain(|group| group.state.eq_ignore_ascii_case(state));
    }
    if wants_json(matches) {
        let all = groups.iter().map(|group| {
            json!({
                "group": group.group,
                "type": group.kind,
                "protocol": group.protocol_type,
                "state": group.state,
            })
        });
        return json(&all.collect::<Value>());
    }
    if groups.is_empty() {
        return say("no groups");
    }
    let rows: Vec<Vec<String>> = groups
        .into_iter()
        .map(|group| vec![group.group, group.kind, group.protocol_type, group.state])
        .collect();
    table(&["GROUP", "TYPE", "PROTOCOL", "STATE"], &rows)
}

async fn delete(matches: &ArgMatches) -> Result<()> {
    let names: Vec<&String> = matches.get_many("groups").expect("is required").collect();
    let mut client = client(matches)?;
    let dry_run = matches.get_flag("dry-run");
    for name in &names {
        let group = existing(&mut client, name).await?;
        refuse_active(&group, "only a group without members can be deleted")?;
    }
    if !dry_run {
        confirm(matches, &format!("delete {} and all committed offsets?", listed(&names)))?;
    }
    let mut deleted = Vec::new();
    for name in names {
        if !dry_run {
            client.delete_group(name).await.map_err(explained)?;
        }
        deleted.push(json!({ "group": name, "deleted": !dry_run }));
        if !wants_json(matches) {
            say(format_args!("{} {name}", if dry_run { "would delete" } else { "deleted" }))?;
        }
    }
    if wants_json(matches) { json(&deleted.into()) } else { Ok(()) }
}

async fn delete_offsets(matches: &ArgMatches) -> Result<()> {
    let name = group_name(matches);
    let topic: &String = matches.get_one("topic").expect("is required");
    let mut client = client(matches)?;
    let group = existing(&mut client, name).await?;
    let mut found = client.committed(name).await?;
    found.retain(|each| each.topic == *topic && is_wanted(matches, each.partition));
    if found.is_empty() {
        return Err(nothing_committed(&mut client, &group, topic).await);
    }
    let mut read = group.members.iter().flat_map(|member| &member.assignment);
    if read.any(|(assigned, _)| assigned == topic) {
        refuse_active(&group, "what its members read cannot be forgotten")?;
    }
    let dry_run = matches.get_flag("dry-run");
    if !dry_run {
        let question = format!("forget {} offsets of {name} in {topic}?", found.len());
        confirm(matches, &question)?;
        let partitions: Vec<i32> = found.iter().map(|each| each.partition).collect();
        client.delete_offsets(name, topic, &partitions).await.map_err(explained)?;
    }
    if wants_json(matches) {
        let offsets = found.iter().map(|each| {
            json!({ "topic": each.topic, "partition": each.partition, "offset": each.offset.get() })
        });
        let offsets: Value = offsets.collect();
        return json(&json!({ "group": name, "deleted": !dry_run, "offsets": offsets }));
    }
    let verb = if dry_run { "would forget" } else { "forgot" };
    found.iter().try_for_each(|each| {
        say(format_args!("{verb} {} partition {} at {}", each.topic, each.partition, each.offset))
    })
}

/// Why a group has no offsets in a topic: the first of the reasons that there may be.
async fn nothing_committed(client: &mut Client, group: &DescribedGroup, topic: &str) -> Failure {
    let refused = match client.partitions(topic, false).await {
        Err(error @ ClientError::NoSuchTopic(_)) => {
            return Failure::new(error.to_string()).cure("jocko topic list");
        }
        Err(error) => return error.into(),
        Ok(_) => refuse_active(group, &format!("they have committed nothing in {topic} yet")),
    };
    let name = &group.group;
    refused.err().unwrap_or_else(|| {
        Failure::new(format!("group {name:?} has committed nothing in {topic} there"))
            .cure(format!("jocko group describe {name} shows where it has"))
    })
}

/// Whether a partition is among those named, if any are.
fn is_wanted(matches: &ArgMatches, partition: i32) -> bool {
    matches.get_many::<i32>("partition").is_none_or(|mut some| some.any(|it| *it == partition))
}

fn group_name(matches: &ArgMatches) -> &String {
    matches.get_one("group").expect("is required")
}

/// A group that somebody has heard of: one that only commits offsets is dead to the protocol, but
/// has offsets.
async fn existing(client: &mut Client, name: &str) -> Result<DescribedGroup> {
    let group = client.describe_group(name).await?;
    if group.state == "Dead" && client.committed(name).await?.is_empty() {
        return Err(ClientError::NoSuchGroup(name.to_owned()).into());
    }
    Ok(group)
}

/// What only works without members says so before it is tried.
fn refuse_active(group: &DescribedGroup, why: &str) -> Result<()> {
    if group.members.is_empty() {
        return Ok(());
    }
    let count = group.members.len();
    let members = if count == 1 { "1 member".to_owned() } else { format!("{count} members") };
    Err(Failure::new(format!("group {:?} has {members}: {why}", group.group)).cure(format!(
        "stop them first; jocko group describe {} shows where they are",
        group.group
    )))
}

/// Refusals that only groups know.
fn explained(error: ClientError) -> Failure {
    let cure = match &error {
        ClientError::Refused { code: ErrorCode::NonEmptyGroup, .. }
        | ClientError::Refused { code: ErrorCode::UnknownMemberId, .. } => {
            "the group has members by now; stop them first"
        }
        ClientError::Refused { code: ErrorCode::GroupSubscribedToTopic, .. } => {
            "the group's members read that topic; stop them first"
        }
        _ => return error.into(),
    };
    Failure::new(error.to_string()).cure(cure)
}

fn listed(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}
