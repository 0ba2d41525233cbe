//! `jocko group seek`: commits other offsets for a group that nobody is in.

use super::{existing, explained, group_name, is_wanted, refuse_active};
use crate::command::place::{Place, parse_range};
use crate::command::{client, now, partition_exists};
use crate::failure::{Failure, Result};
use crate::output::{grouped, json, say, table, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, Committed, Committer, Position};
use jocko_types::Offset;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Why a group with members stays where it is.
const OVERRULED: &str = "its members would overrule other offsets";

/// Where to.
enum Target {
    Place(Place),
    /// So many records on, or back, from what is committed.
    By(i64),
}

/// One partition's move.
struct Move {
    topic: String,
    partition: i32,
    from: Option<Offset>,
    to: Offset,
}

pub(super) async fn run(matches: &ArgMatches) -> Result<()> {
    let target = target(matches)?;
    let name = group_name(matches);
    let mut client = client(matches)?;
    let group = client.describe_group(name).await?;
    let committed = client.committed(name).await?;
    let wanted = wanted(matches, &mut client, &committed).await?;
    if wanted.is_empty() {
        // Either nobody knows the group, or it has nothing there.
        existing(&mut client, name).await?;
        refuse_active(&group, OVERRULED)?;
        return Err(Failure::new(format!("group {name:?} has committed nothing there"))
            .cure("--topic TOPIC, for partitions it has not read yet"));
    }
    let mut moves = Vec::new();
    for (topic, partitions) in wanted {
        moves.extend(find(&mut client, topic, partitions, &target).await?);
    }
    let dry_run = matches.get_flag("dry-run");
    refuse_active(&group, OVERRULED)?;
    if group.state == "Dead" && committed.is_empty() {
        // As Kafka's tool does; but a name that was mistyped is to be seen.
        let verb = if dry_run { "would be" } else { "is" };
        eprintln!("there was no group {name:?}; it {verb} created with these offsets");
    }
    if !dry_run {
        let offsets: Vec<Committed> = moves
            .iter()
            .map(|each| Committed {
                topic: each.topic.clone(),
                partition: each.partition,
                offset: each.to,
            })
            .collect();
        client.commit(name, Committer::ADMINISTRATOR, &offsets).await.map_err(explained)?;
    }
    show(matches, name, &moves, dry_run)
}

fn show(matches: &ArgMatches, name: &str, moves: &[Move], dry_run: bool) -> Result<()> {
    if wants_json(matches) {
        let moves = moves.iter().map(|each| {
            json!({
                "topic": each.topic,
                "partition": each.partition,
                "from": each.from.map(|it| it.get()),
                "to": each.to.get(),
            })
        });
        let moves: Value = moves.collect();
        return json(&json!({ "group": name, "moved": !dry_run, "offsets": moves }));
    }
    if dry_run {
        say("would move")?;
    }
    let rows: Vec<Vec<String>> = moves
        .iter()
        .map(|each| {
            vec![
                each.topic.clone(),
                each.partition.to_string(),
                each.from.map_or_else(|| "-".to_owned(), |it| grouped(it.get())),
                grouped(each.to.get()),
            ]
        })
        .collect();
    table(&["TOPIC", ">PART", ">FROM", ">TO"], &rows)
}

fn target(matches: &ArgMatches) -> Result<Target> {
    if let Some(by) = matches.get_one::<i64>("by") {
        return Ok(Target::By(*by));
    }
    let text: &String = matches.get_one("to").expect("this or --by is required");
    match parse_range(text, now()) {
        Ok((place, None)) => Ok(Target::Place(place)),
        Ok((_, Some(_))) => Err(Failure::usage(format!("--to {text} is a range")).cure("--to end")),
        Err(words) => Err(Failure::usage(words)),
    }
}

/// The partitions to move, with what is committed there: of the topics that are named, all; else
/// those the group has committed in.
async fn wanted(
    matches: &ArgMatches,
    client: &mut Client,
    committed: &[Committed],
) -> Result<BTreeMap<String, BTreeMap<i32, Option<Offset>>>> {
    let mut wanted: BTreeMap<String, BTreeMap<i32, Option<Offset>>> = BTreeMap::new();
    let named: Vec<&String> = matches.get_many("topic").unwrap_or_default().collect();
    for topic in &named {
        let count = client.partitions(topic, false).await?;
        for partition in matches.get_many::<i32>("partition").unwrap_or_default() {
            partition_exists(topic, *partition, count)?;
        }
        let all = (0..count).filter(|partition| is_wanted(matches, *partition));
        wanted.insert((*topic).clone(), all.map(|partition| (partition, None)).collect());
    }
    for each in committed {
        let is_named = named.is_empty() || named.contains(&&each.topic);
        if is_named && is_wanted(matches, each.partition) {
            let partitions = wanted.entry(each.topic.clone()).or_default();
            partitions.insert(each.partition, Some(each.offset));
        }
    }
    Ok(wanted)
}

/// Where each partition of a topic would go: never before its start or beyond its end.
async fn find(
    client: &mut Client,
    topic: String,
    partitions: BTreeMap<i32, Option<Offset>>,
    target: &Target,
) -> Result<Vec<Move>> {
    let indexes: Vec<i32> = partitions.keys().copied().collect();
    let starts = client.offsets(&topic, &indexes, Position::Start).await?;
    let ends = client.offsets(&topic, &indexes, Position::End).await?;
    let by_time = match target {
        Target::Place(Place::At(time)) => {
            Some(client.offsets(&topic, &indexes, Position::At(*time)).await?)
        }
        _ => None,
    };
    let mut moves = Vec::with_capacity(indexes.len());
    for (at, (partition, from)) in partitions.into_iter().enumerate() {
        let (start, end) = (starts[at], ends[at]);
        let to = match target {
            Target::By(by) => match from {
                Some(from) => Offset::new(from.get().saturating_add(*by)),
                // Nothing to count from.
                None => continue,
            },
            Target::Place(Place::Start) => start,
            Target::Place(Place::End) => end,
            Target::Place(Place::Offset(offset)) => Offset::new(*offset),
            Target::Place(Place::BeforeEnd(back)) => Offset::new(end.get().saturating_sub(*back)),
            Target::Place(Place::At(_)) => by_time.as_ref().map_or(end, |found| found[at]),
        };
        let to = to.max(start).min(end);
        moves.push(Move { topic: topic.clone(), partition, from, to });
    }
    Ok(moves)
}
