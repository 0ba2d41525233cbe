//! `jocko consume TOPIC` and `jocko tail TOPIC`: records of some partitions, as they come.

use crate::command::{client, parse_duration};
use crate::failure::{Failure, Result};
use crate::records_format::{Format, as_json};
use clap::ArgMatches;
use jocko_client::{Client, ClientError, Position};
use jocko_records::Records;
use jocko_types::{ErrorCode, Offset, Timestamp};
use std::io::{BufWriter, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long one fetch waits for something to come.
const WAIT: Duration = Duration::from_millis(500);
/// How much one batch may unpack to.
const DECOMPRESSED_BYTES_MAX: u64 = 1 << 30;

/// A place in a partition, as a person writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    End,
    Offset(i64),
    BeforeEnd(i64),
    At(Timestamp),
}

/// What to read and how to print it.
struct Plan {
    topic: String,
    from: Place,
    until: Option<Place>,
    count: Option<u64>,
    format: Option<Format>,
}

/// One partition being read.
struct Reading {
    partition: i32,
    next: Offset,
    /// Where to end, if anywhere.
    until: Option<Offset>,
    /// Whether its leader is out of reach, which was said.
    is_lost: bool,
}

pub(crate) async fn run(matches: &ArgMatches, default_from: &str) -> Result<()> {
    let plan = plan(matches, default_from)?;
    let mut client = client(matches)?;
    let partitions = client.partitions(&plan.topic, false).await?;
    let wanted: Vec<i32> = match matches.get_many::<i32>("partition") {
        Some(some) => some.copied().collect(),
        None => (0..partitions).collect(),
    };
    let mut readings = Vec::new();
    for partition in wanted {
        if partition >= partitions {
            return Err(ClientError::NoSuchPartition { topic: plan.topic, partition }.into());
        }
        let next = find(&mut client, &plan.topic, partition, plan.from).await?;
        let until = match plan.until {
            Some(place) => Some(find(&mut client, &plan.topic, partition, place).await?),
            None => None,
        };
        readings.push(Reading { partition, next, until, is_lost: false });
    }
    read(&mut client, &plan, &mut readings).await
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
    let now = now();
    let (from, until) = parse_range(&range, now).map_err(Failure::usage)?;
    let until = if matches.get_flag("exit-at-end") { until.or(Some(Place::End)) } else { until };
    let format = match matches.get_one::<String>("format") {
        Some(text) => Some(Format::parse(text).map_err(Failure::usage)?),
        None if wants_json => None,
        None => Some(Format::parse("%v\\n").expect("is a format")),
    };
    Ok(Plan {
        topic: matches.get_one::<String>("topic").expect("is required").clone(),
        from,
        until,
        count: matches.get_one("count").copied(),
        format,
    })
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// `FROM` or `FROM:TO`. A time of day holds colons, so the split is at the last that works.
fn parse_range(text: &str, now: Timestamp) -> std::result::Result<(Place, Option<Place>), String> {
    if let Ok(from) = parse_place(text, now) {
        return Ok((from, None));
    }
    let splits = text.match_indices(':').map(|(at, _)| text.split_at(at));
    for (from, to) in splits {
        let to = &to[1..];
        let from = if from.is_empty() { Ok(Place::Start) } else { parse_place(from, now) };
        if let (Ok(from), Ok(to)) = (from, parse_place(to, now)) {
            return Ok((from, Some(to)));
        }
    }
    Err(format!("{text:?} is no position: start, end, OFFSET, -N, @TIME, @-1h, or FROM:TO"))
}

fn parse_place(text: &str, now: Timestamp) -> std::result::Result<Place, ()> {
    match text {
        "start" | "beginning" | "earliest" => return Ok(Place::Start),
        "end" | "latest" => return Ok(Place::End),
        "now" => return Ok(Place::At(now)),
        _ => {}
    }
    if let Some(time) = text.strip_prefix('@') {
        return parse_time(time, now).map(Place::At).ok_or(());
    }
    match text.parse::<i64>() {
        Ok(back) if text.starts_with('-') => Ok(Place::BeforeEnd(-back)),
        Ok(offset) => Ok(Place::Offset(offset)),
        Err(_) => Err(()),
    }
}

/// `-1h` before now, milliseconds since 1970, `2026-11-23`, or an RFC 3339 time.
fn parse_time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = i64::try_from(parse_duration(ago)?.as_millis()).ok()?;
        return Some(Timestamp::from_millis(now.as_millis() - ago));
    }
    if let Ok(millis) = text.parse() {
        return Some(Timestamp::from_millis(millis));
    }
    let time = text.parse::<jiff::Timestamp>().or_else(|_| {
        let date: jiff::civil::Date = text.parse()?;
        date.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    time.ok().map(|time| Timestamp::from_millis(time.as_millisecond()))
}

async fn find(client: &mut Client, topic: &str, partition: i32, place: Place) -> Result<Offset> {
    let position = match place {
        Place::Offset(offset) => return Ok(Offset::new(offset)),
        Place::Start => Position::Start,
        Place::End | Place::BeforeEnd(_) => Position::End,
        Place::At(time) => Position::At(time),
    };
    let found = client.offset(topic, partition, position).await?;
    if let Place::BeforeEnd(back) = place {
        let start = client.offset(topic, partition, Position::Start).await?;
        return Ok(found.plus(-back).max(start));
    }
    Ok(found)
}

/// Reads partitions in turn until all have ended, the count is reached, or the pipe closes.
async fn read(client: &mut Client, plan: &Plan, readings: &mut Vec<Reading>) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut left = plan.count.unwrap_or(u64::MAX);
    while left > 0 {
        readings.retain(|reading| reading.until.is_none_or(|until| reading.next < until));
        if readings.is_empty() {
            break;
        }
        // With several partitions a quiet one must not hold up the others.
        let alone = readings.len() == 1;
        let wait = if alone { WAIT } else { WAIT / 10 };
        for reading in readings.iter_mut() {
            let fetched =
                match client.fetch(&plan.topic, reading.partition, reading.next, wait).await {
                    Ok(fetched) => {
                        reading.is_lost = false;
                        fetched
                    }
                    Err(error) => {
                        recover(client, plan, reading, error).await?;
                        continue;
                    }
                };
            match print(&mut out, plan, reading, &fetched.records, &mut left) {
                Err(Printed::PipeClosed) => return Ok(()),
                Err(Printed::Failed(failure)) => return Err(failure),
                Ok(()) => {}
            }
            if left == 0 {
                break;
            }
        }
        if out.flush().is_err() {
            return Ok(());
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
        if !std::mem::replace(&mut reading.is_lost, true) {
            eprintln!("partition {}: {error}; trying again", reading.partition);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
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
            Ok(None) => return Ok(()),
            Err(error) => {
                let at = format!("partition {} after {}: {error}", reading.partition, reading.next);
                return Err(Printed::Failed(Failure::new(at)));
            }
        };
        if *left == 0 || reading.until.is_some_and(|until| record.offset >= until) {
            reading.next = reading.until.unwrap_or(reading.next);
            return Ok(());
        }
        let written = match &plan.format {
            Some(format) => format.print(out, &plan.topic, reading.partition, &record),
            None => writeln!(out, "{}", as_json(&plan.topic, reading.partition, &record)),
        };
        if written.is_err() {
            return Err(Printed::PipeClosed);
        }
        reading.next = record.offset.next();
        *left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_ranges_are_read_as_written() {
        let now = Timestamp::from_millis(10_000_000);
        let at = |millis| Place::At(Timestamp::from_millis(millis));
        let check = |text: &str, expect: Option<(Place, Option<Place>)>| {
            assert_eq!(parse_range(text, now).ok(), expect, "{text}");
        };
        check("start", Some((Place::Start, None)));
        check("end", Some((Place::End, None)));
        check("17", Some((Place::Offset(17), None)));
        check("-5", Some((Place::BeforeEnd(5), None)));
        check("@-1h", Some((at(6_400_000), None)));
        check("@-1h:now", Some((at(6_400_000), Some(at(10_000_000)))));
        check("@1500", Some((at(1_500), None)));
        check("@1970-01-01T00:00:01Z", Some((at(1_000), None)));
        check("@1970-01-01T00:00:01Z:end", Some((at(1_000), Some(Place::End))));
        check("@1970-01-02", Some((at(86_400_000), None)));
        check("3:9", Some((Place::Offset(3), Some(Place::Offset(9)))));
        check(":9", Some((Place::Start, Some(Place::Offset(9)))));
        check("yesterday", None);
        check("", None);
    }
}
