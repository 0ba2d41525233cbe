//! `jocko topic alter|add-partitions|trim`.

use super::name;
use crate::command::config::refuse_unknown;
use crate::command::place::{Place, parse_range};
use crate::command::{client, confirm, now, pairs, partition_exists, retention};
use crate::failure::{Failure, Result};
use crate::output::{grouped, json, say, table, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, Position, Resource};
use jocko_types::Offset;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) async fn alter(matches: &ArgMatches) -> Result<()> {
    let mut set = pairs(matches, "set")?;
    set.extend(retention(matches)?);
    let unset: Vec<String> = matches.get_many("unset").unwrap_or_default().cloned().collect();
    if set.is_empty() && unset.is_empty() {
        return Err(Failure::usage("nothing to alter")
            .cure("--set retention.ms=86400000, --unset retention.ms or --retention 7d"));
    }
    let name = name(matches);
    let dry_run = matches.get_flag("dry-run");
    let mut client = client(matches)?;
    client.partitions(name, false).await?;
    let resource = Resource::Topic(name.to_owned());
    refuse_unknown(&mut client, &resource, &unset).await?;
    client.alter_configs(&resource, &set, &unset, dry_run).await?;
    if wants_json(matches) {
        return json(&json!({
            "topic": name,
            "set": set.into_iter().collect::<BTreeMap<_, _>>(),
            "unset": unset,
            "altered": !dry_run,
        }));
    }
    let verb = if dry_run { "would alter" } else { "altered" };
    say(format_args!("{verb} {name}"))?;
    set.iter().try_for_each(|(name, value)| say(format_args!("  {name} = {value}")))?;
    unset.iter().try_for_each(|name| say(format_args!("  {name} as the cluster has it")))
}

pub(super) async fn add_partitions(matches: &ArgMatches) -> Result<()> {
    let name = name(matches);
    let dry_run = matches.get_flag("dry-run");
    let mut client = client(matches)?;
    let before = client.partitions(name, false).await?;
    let after = match (matches.get_one::<i32>("partitions"), matches.get_one::<i32>("add")) {
        (Some(count), _) => *count,
        (None, Some(more)) => before.saturating_add(*more),
        (None, None) => unreachable!("one of them is required"),
    };
    client.create_partitions(name, after, dry_run).await?;
    if wants_json(matches) {
        return json(&json!({
            "topic": name,
            "before": before,
            "partitions": after,
            "added": !dry_run,
        }));
    }
    let verb = if dry_run { "would have" } else { "has" };
    say(format_args!("{name} {verb} {after} partitions instead of {before}"))?;
    // Whoever relies on the order of a key wants to know.
    say("records of a key may go to another partition from now on")
}

pub(super) async fn trim(matches: &ArgMatches) -> Result<()> {
    let name = name(matches);
    let text: &String = matches.get_one("before").expect("is required");
    let place = match parse_range(text, now()) {
        Ok((place, None)) => place,
        Ok((_, Some(_))) => {
            return Err(Failure::usage(format!("--before {text} is a range")).cure("--before @-1h"));
        }
        Err(words) => return Err(Failure::usage(words)),
    };
    let mut client = client(matches)?;
    let count = client.partitions(name, false).await?;
    refuse_internal(&mut client, name).await?;
    let wanted: Vec<i32> = match matches.get_many::<i32>("partition") {
        Some(some) => some.copied().collect(),
        None => (0..count).collect(),
    };
    wanted.iter().try_for_each(|partition| partition_exists(name, *partition, count))?;
    let cuts = cuts(&mut client, name, &wanted, place).await?;
    let dry_run = matches.get_flag("dry-run");
    let doomed: i64 = cuts.iter().map(|cut| cut.start.distance_to(cut.to)).sum();
    if !dry_run && doomed > 0 {
        confirm(matches, &format!("delete {} records of {name}?", grouped(doomed)))?;
        let before: Vec<(i32, Offset)> = cuts.iter().map(|cut| (cut.partition, cut.to)).collect();
        client.delete_records(name, &before).await?;
    }
    if wants_json(matches) {
        let cuts = cuts.iter().map(|cut| {
            json!({
                "partition": cut.partition,
                "from": cut.start.get(),
                "to": cut.to.get(),
            })
        });
        let cuts: Value = cuts.collect();
        return json(&json!({ "topic": name, "trimmed": !dry_run, "partitions": cuts }));
    }
    if dry_run {
        say("would trim")?;
    }
    let rows: Vec<Vec<String>> = cuts
        .iter()
        .map(|cut| {
            vec![
                cut.partition.to_string(),
                grouped(cut.start.get()),
                grouped(cut.to.get()),
                grouped(cut.start.distance_to(cut.to)),
            ]
        })
        .collect();
    table(&[">PARTITION", ">START", ">NEW-START", ">RECORDS"], &rows)
}

/// An offset that no partition has reached is a mistake, and would cost every record.
fn refuse_beyond_ends(topic: &str, ends: &[Offset], offset: i64) -> Result<()> {
    match ends.iter().max() {
        Some(last) if last.get() < offset => Err(Failure::new(format!(
            "no partition of {topic} reaches offset {offset}: the longest ends at {last}"
        ))
        .cure("--before end, if everything is to go")),
        _ => Ok(()),
    }
}

/// What brokers keep for themselves is not for hands.
pub(super) async fn refuse_internal(client: &mut Client, name: &str) -> Result<()> {
    let metadata = client.metadata(Some(&[name]), false).await?;
    if metadata.topics.iter().any(|topic| topic.is_internal) {
        return Err(Failure::new(format!(
            "{name} is internal: brokers keep their own state there"
        ))
        .cure("jocko group delete GROUP, or jocko group offset-delete GROUP TOPIC"));
    }
    Ok(())
}

/// Where one partition is cut.
struct Cut {
    partition: i32,
    start: Offset,
    to: Offset,
}

/// Never before the start or beyond the end: a cut there would mean nothing, or be refused.
async fn cuts(
    client: &mut Client,
    topic: &str,
    partitions: &[i32],
    place: Place,
) -> Result<Vec<Cut>> {
    let starts = client.offsets(topic, partitions, Position::Start).await?;
    let ends = client.offsets(topic, partitions, Position::End).await?;
    let targets: Vec<Offset> = match place {
        Place::Start => starts.clone(),
        Place::End => ends.clone(),
        Place::Offset(offset) => vec![Offset::new(offset); partitions.len()],
        Place::BeforeEnd(back) => {
            ends.iter().map(|end| Offset::new(end.get().saturating_sub(back))).collect()
        }
        Place::At(time) => client.offsets(topic, partitions, Position::At(time)).await?,
    };
    if let Place::Offset(offset) = place {
        refuse_beyond_ends(topic, &ends, offset)?;
    }
    let cuts = partitions.iter().zip(starts).zip(ends).zip(targets);
    let cut = |(((partition, start), end), to): (((&i32, Offset), Offset), Offset)| Cut {
        partition: *partition,
        start,
        to: to.max(start).min(end),
    };
    Ok(cuts.map(cut).collect())
}
