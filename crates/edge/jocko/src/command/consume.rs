//! `jocko consume TOPIC` and `jocko tail TOPIC`: records of some partitions, as they come.

mod member;
mod sharing;

use crate::command::place::{Place, parse_range};
use crate::command::{client, now, timeout, topic_name};
use crate::failure::{Failure, Result};
use crate::output::{harmless, is_shown, reader_has_gone};
use crate::records_format::{Format, as_json};
use clap::ArgMatches;
use jocko_client::{Client, ClientError, Position};
use jocko_records::Records;
use jocko_types::{ErrorCode, Offset};
use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::time::Duration;
use tokio::time::Instant;

/// How long one fetch waits for something to come.
const WAIT: Duration = Duration::from_millis(500);
/// The pause before a leader out of reach is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How much one batch may unpack to.
const DECOMPRESSED_BYTES_MAX: u64 = 1 << 30;

/// What to read and how to print it.
struct Plan {
    topic: String,
    from: Place,
    until: Option<Place>,
    /// End with what is there now, whatever `until` says.
    ends_at_end: bool,
    count: Option<u64>,
    format: Option<Format>,
    /// How long it may take to find where to begin.
    patience: Duration,
}

/// One partition being read.
struct Reading {
    partition: i32,
    next: Offset,
    /// Records before it are passed over: it lay beyond the end when reading began.
    not_before: Offset,
    /// Where to end, if anywhere.
    until: Option<Offset>,
    /// Whether the last fetch brought something.
    brought: bool,
}

pub(crate) async fn run(matches: &ArgMatches, default_from: &str) -> Result<()> {
    let plan = plan(matches, default_from)?;
    let mut client = client(matches)?;
    let partitions = client.partitions(&plan.topic, false).await?;
    if let Some(group) = matches.get_one::<String>("group") {
        return sharing::run(&mut client, &plan, group).await;
    }
    let mut wanted: Vec<i32> = match matches.get_many::<i32>("partition") {
        Some(some) => some.copied().collect(),
        None => (0..partitions).collect(),
    };
    wanted.sort_unstable();
    wanted.dedup();
    if let Some(&partition) = wanted.iter().find(|partition| **partition >= partitions) {
        return Err(ClientError::NoSuchPartition { topic: plan.topic, partition }.into());
    }
    let readings = find_all(&mut client, &plan, &wanted).await?;
    // Who forgot to say where to begin would wait, and not know for what.
    if matches.get_many::<String>("from").is_none() && plan.from == Place::End && is_shown() {
        eprintln!("waiting for new records; -o start shows those that are there, Ctrl-C ends");
    }
    read(&mut client, &plan, readings).await
}

fn plan(matches: &ArgMatches, default_from: &str) -> Result<Plan> {
    let mut wants_json = false;
    let mut range = default_from.to_owned();
    if matches.get_flag("from-beginning") {
        "start".clone_into(&mut range);
    }
    for said in matches.get_many::<String>("from").unwrap_or_default() {
        match said.as_str() {
            "json" => wants_json = true,
            "text" => wants_json = false,
            place => place.clone_into(&mut range),
        }
    }
    let (from, until) = parse_range(&range, now()).map_err(Failure::usage)?;
    let format = match matches.get_one::<String>("format") {
        Some(text) => Some(Format::parse(text).map_err(Failure::usage)?),
        None if wants_json => None,
        None => Some(Format::parse("%v\\n").expect("is a format")),
    };
    Ok(Plan {
        topic: topic_name(matches),
        from,
        until,
        ends_at_end: matches.get_flag("exit-at-end"),
        count: matches.get_one("count").copied(),
        format,
        patience: timeout(matches)?,
    })
}

/// Where each partition begins and ends, as the plan means it.
async fn find_all(client: &mut Client, plan: &Plan, partitions: &[i32]) -> Result<Vec<Reading>> {
    let ends = offsets(client, plan, partitions, Position::End).await?;
    let from = find(client, plan, partitions, &ends, plan.from).await?;
    let until = match plan.until {
        Some(place) => Some(find(client, plan, partitions, &ends, place).await?),
        None => None,
    };
    let mut readings = Vec::with_capacity(partitions.len());
    for (at, (&partition, &end)) in partitions.iter().zip(&ends).enumerate() {
        let from = from[at];
        let until = until.as_ref().map(|until| until[at]);
        let until =
            if plan.ends_at_end { Some(until.map_or(end, |it| it.min(end))) } else { until };
        // Beyond its end a partition cannot be read, only waited for.
        let next = from.min(end);
        readings.push(Reading { partition, next, not_before: from, until, brought: false });
    }
    if let Place::Offset(offset) = plan.from {
        refuse_beyond_end(partitions, &ends, Offset::new(offset))?;
    }
    Ok(readings)
}

/// An offset that no partition has reached is a mistake; one that some have reached is not.
fn refuse_beyond_end(partitions: &[i32], ends: &[Offset], from: Offset) -> Result<()> {
    let Some(last) = ends.iter().max().filter(|last| **last < from) else { return Ok(()) };
    let failure = match partitions {
        [partition] => format!("partition {partition} ends at offset {last}, before {from}"),
        _ => format!("every partition ends before offset {from}, the longest at {last}"),
    };
    Err(Failure::new(failure).cure("-o end, for what comes from now on"))
}

/// Where a position is in each partition. A leader that is lost has a successor within seconds.
async fn offsets(
    client: &mut Client,
    plan: &Plan,
    partitions: &[i32],
    position: Position,
) -> Result<Vec<Offset>> {
    let deadline = Instant::now() + plan.patience;
    let mut troubles = Troubles::default();
    loop {
        match client.offsets(&plan.topic, partitions, position).await {
            Err(error) if error.is_retriable() && Instant::now() + RETRY_PAUSE < deadline => {
                troubles.tell(&error);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            found => return Ok(found?),
        }
    }
}

/// The offsets of a place in each partition.
async fn find(
    client: &mut Client,
    plan: &Plan,
    partitions: &[i32],
    ends: &[Offset],
    place: Place,
) -> Result<Vec<Offset>> {
    Ok(match place {
        Place::Offset(offset) => vec![Offset::new(offset); partitions.len()],
        Place::End => ends.to_vec(),
        Place::Start => offsets(client, plan, partitions, Position::Start).await?,
        Place::At(time) => offsets(client, plan, partitions, Position::At(time)).await?,
        Place::BeforeEnd(back) => {
            let starts = offsets(client, plan, partitions, Position::Start).await?;
            ends.iter().zip(starts).map(|(end, start)| end.plus(-back).max(start)).collect()
        }
    })
}

/// What was told of errors that may pass: each once, until all is well again.
#[derive(Default)]
struct Troubles(BTreeSet<String>);

impl Troubles {
    fn tell(&mut self, error: &ClientError) {
        let words = in_words(error);
        if !self.0.contains(&words) {
            eprintln!("{}; trying again", harmless(&words));
            self.0.insert(words);
        }
    }
}

/// What befell a reader, for people: codes that often come and go have no words of their own.
fn in_words(error: &ClientError) -> String {
    let ClientError::Refused { code, .. } = error else { return error.to_string() };
    let words = match code {
        ErrorCode::UnknownTopicId
        | ErrorCode::UnknownTopicOrPartition
        | ErrorCode::InconsistentTopicId => {
            "the topic is not there now, and may have been deleted (jocko topic list)"
        }
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch => "the partition is moving to another broker",
        _ => return error.to_string(),
    };
    words.to_owned()
}

/// Reads partitions until all have ended, the count is reached, or the pipe closes.
async fn read(client: &mut Client, plan: &Plan, mut readings: Vec<Reading>) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut left = plan.count.unwrap_or(u64::MAX);
    let mut troubles = Troubles::default();
    while left > 0 && !reader_has_gone() {
        readings.retain(|reading| reading.until.is_none_or(|until| reading.next < until));
        if readings.is_empty() {
            break;
        }
        let wanted: Vec<_> = readings.iter().map(|each| (each.partition, each.next)).collect();
        let fetched = match client.fetch_all(&plan.topic, &wanted, WAIT).await {
            Ok(fetched) => fetched,
            Err(error) if error.is_retriable() => {
                troubles.tell(&error);
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut is_well = true;
        for (partition, outcome) in fetched {
            let reading = readings.iter_mut().find(|reading| reading.partition == partition);
            let Some(reading) = reading else { continue };
            match outcome {
                Ok(fetched) => {
                    reading.brought = !fetched.records.is_empty();
                    match print(&mut out, plan, reading, &fetched.records, &mut left) {
                        Err(Printed::PipeClosed) => return Ok(()),
                        Err(Printed::Failed(failure)) => return Err(failure),
                        Ok(()) => {}
                    }
                }
                Err(error) => {
                    is_well = false;
                    recover(client, plan, reading, error, &mut troubles).await?;
                }
            }
        }
        if out.flush().is_err() {
            return Ok(());
        }
        // A broker fills its answers in the order of the question: who had something comes last.
        readings.sort_by_key(|reading| reading.brought);
        if is_well {
            troubles.0.clear();
        } else {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
    // Whoever reads the other end may have had enough.
    let _ = out.flush();
    Ok(())
}

/// Goes on after an error if that makes sense.
async fn recover(
    client: &mut Client,
    plan: &Plan,
    reading: &mut Reading,
    error: ClientError,
    troubles: &mut Troubles,
) -> Result<()> {
    if let ClientError::Refused { code: ErrorCode::OffsetOutOfRange, .. } = error {
        let start = client.offset(&plan.topic, reading.partition, Position::Start).await?;
        let end = client.offset(&plan.topic, reading.partition, Position::End).await?;
        if reading.next < start {
            eprintln!(
                "partition {}: offset {} is gone, going on from {start}",
                reading.partition, reading.next
            );
            reading.next = start;
            return Ok(());
        }
        let failure = format!(
            "partition {} ends at offset {end}, before {}",
            reading.partition, reading.next
        );
        return Err(Failure::new(failure).cure("-o end, or only some partitions with -p"));
    }
    if error.is_retriable() {
        troubles.tell(&error);
        return Ok(());
    }
    Err(error.into())
}

/// Why printing stopped.
enum Printed {
    PipeClosed,
    Failed(Failure),
}

fn print(
    out: &mut impl Write,
    plan: &Plan,
    reading: &mut Reading,
    bytes: &[u8],
    left: &mut u64,
) -> std::result::Result<(), Printed> {
    let mut records = Records::new(bytes, reading.next, DECOMPRESSED_BYTES_MAX);
    loop {
        let record = match records.next() {
            Ok(Some(record)) => record,
            Ok(None) => {
                // Past what has no records to show: markers of transactions, compacted ends.
                reading.next = reading.next.max(records.next_offset());
                return Ok(());
            }
            Err(error) => {
                let at = format!("partition {} after {}: {error}", reading.partition, reading.next);
                return Err(Printed::Failed(Failure::new(at)));
            }
        };
        if *left == 0 || reading.until.is_some_and(|until| record.offset >= until) {
            reading.next = reading.until.unwrap_or(reading.next);
            return Ok(());
        }
        reading.next = record.offset.next();
        if record.offset < reading.not_before {
            continue;
        }
        let written = match &plan.format {
            Some(format) => format.print(out, &plan.topic, reading.partition, &record),
            None => writeln!(out, "{}", as_json(&plan.topic, reading.partition, &record)),
        };
        if written.is_err() {
            return Err(Printed::PipeClosed);
        }
        *left -= 1;
    }
}
