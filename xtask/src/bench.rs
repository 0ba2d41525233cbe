//! `cargo xtask bench`: jocko and a real Kafka in the same run, with the same client commands, in
//! alternating rounds; medians, ratios, and the broker's CPU seconds beside them.
//!
//! Machines differ and are shared: the ratios mean something, the absolutes little.

mod footprint;
mod groups;
mod process;
mod replicated;
mod speed;
mod topics;

use crate::process::{Broker, on_path};
use crate::{jocko, kafka, raw};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;

const USAGE: &str = "usage: cargo xtask bench [--only PART,...] [--records N] [--topics N] [--binary PATH]
  footprint  size, time to the first connection, memory and CPU at rest
  topics     many topics created, memory with them, clean stop, restart, restart after kill -9
  produce    Kafka's load generator, page cache against page cache
  consume    the same records read back
  durable    produce, on disk before the answer
  groups     joins, commits, members at rest, a coordinator that loads
  replicated three brokers each: start, produce with three copies, latency at a pace, a leader killed";

/// What can be measured apart from the rest.
const PARTS: [&str; 7] =
    ["footprint", "topics", "produce", "consume", "durable", "groups", "replicated"];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// Some of [`PARTS`].
    only: Vec<String>,
    /// How many records each round writes, where the disk is not waited for.
    records: u64,
    /// How many topics are created.
    topics: usize,
    /// What to measure; built if none is named.
    binary: Option<PathBuf>,
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        only: PARTS.iter().map(|&part| part.to_owned()).collect(),
        records: 1_000_000,
        topics: 1_000,
        binary: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{argument} has no value\n{USAGE}"));
        match argument.as_str() {
            "--only" => options.only = value?.split(',').map(str::to_owned).collect(),
            "--records" => options.records = value?.parse().context("--records N")?,
            "--binary" => options.binary = Some(value?.into()),
            "--topics" => options.topics = value?.parse().context("--topics N")?,
            _ => bail!("{USAGE}"),
        }
    }
    for part in &options.only {
        ensure!(PARTS.contains(&part.as_str()), "there is no part {part}\n{USAGE}");
    }
    ensure!(options.records > 0 && options.topics > 0, "nothing comes of nothing\n{USAGE}");
    Ok(options)
}

/// Runs the comparison, or the parts of it that are asked for.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    if let Some(binary) = &options.binary {
        jocko::use_binary(binary)?;
    }
    let wants = |part: &str| options.only.iter().any(|only| only == part);
    if let Some(missing) = kafka::absent() {
        bail!("the comparison {missing}");
    }
    if wants("consume") {
        ensure!(on_path("kcat"), "reading back needs kcat (Debian: apt-get install kcat)");
    }
    let folder = root.join("target/bench");
    // Left over from a run that was cut short.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    if wants("footprint") {
        say("== footprint");
        footprint::run(root, &folder.join("footprint"))?;
    }
    if wants("topics") {
        say(&format!("== {} topics", options.topics));
        topics::run(root, &folder.join("topics"), options.topics)?;
    }
    if wants("produce") || wants("consume") {
        say("== page cache against page cache (jocko relaxed, Kafka as it comes)");
        let load = speed::Load {
            records: options.records,
            jocko_arguments: &["--storage-durability", "relaxed"],
            kafka_overrides: &[],
            shows: &|what| wants(what),
            reads_back: wants("consume"),
        };
        speed::run(root, &folder.join("relaxed"), &load)?;
    }
    if wants("durable") {
        say("== on disk before the answer (jocko as it comes, Kafka with flush.messages=1)");
        let load = speed::Load {
            // Kafka writes some twenty megabytes a second this way.
            records: (options.records / 8).max(1),
            jocko_arguments: &[],
            kafka_overrides: &[("log.flush.interval.messages", "1")],
            shows: &|what| what == "produce",
            reads_back: false,
        };
        speed::run(root, &folder.join("durable"), &load)?;
    }
    if wants("groups") {
        for durability in ["relaxed", "fsync"] {
            say(&format!("== groups, jocko {durability}, Kafka as it comes"));
            groups::run(root, &folder.join(format!("groups-{durability}")), durability)?;
        }
    }
    if wants("replicated") {
        say("== three brokers, three copies of each record, acknowledged by all in sync");
        replicated::run(root, &folder.join("replicated"), (options.records / 2).max(1))?;
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The two that are compared, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Jocko,
    Kafka,
}

const BOTH: [Kind; 2] = [Kind::Jocko, Kind::Kafka];

/// How to start one of them, again and again on the same files.
#[derive(Debug, Clone)]
struct Plan {
    kind: Kind,
    root: PathBuf,
    data_dir: PathBuf,
    /// For clients; a free one each time if none is given.
    port: Option<u16>,
    /// Of jocko.
    arguments: Vec<String>,
    /// Of Kafka.
    overrides: Vec<(String, String)>,
    /// Of Kafka, if it is one of several.
    member: Option<kafka::Member>,
}

impl Plan {
    /// One with its files under `folder`, as it comes.
    fn new(kind: Kind, root: &Path, folder: &Path) -> Self {
        Self {
            kind,
            root: root.to_owned(),
            data_dir: folder.join(kind.name()),
            port: None,
            arguments: Vec::new(),
            overrides: Vec::new(),
            member: None,
        }
    }

    /// Starts it and waits for the first connection.
    fn start(&self) -> Result<Broker> {
        let mut side = self.spawn()?;
        side.wait_ready()?;
        Ok(side)
    }

    /// Starts it and waits for nothing. Not on a thread that ends: what it starts ends with it.
    fn spawn(&self) -> Result<Broker> {
        match self.kind {
            Kind::Jocko => {
                let mut options = jocko::Options::new(&self.data_dir);
                options.port = self.port;
                options.arguments.clone_from(&self.arguments);
                jocko::spawn(&self.root, &options)
            }
            Kind::Kafka => {
                let mut options = kafka::Options::new(&self.data_dir);
                options.port = self.port;
                options.overrides.clone_from(&self.overrides);
                options.member.clone_from(&self.member);
                kafka::spawn(&self.root, &options)
            }
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Jocko => "jocko",
            Self::Kafka => "kafka",
        }
    }
}

/// Prints a figure of both and their ratio.
fn tell(what: &str, unit: &str, [jocko, kafka]: [f64; 2]) {
    let places = usize::from(jocko.min(kafka) < 100.0) + usize::from(jocko.min(kafka) < 10.0);
    say(&format!(
        "  {what:<36} jocko {jocko:>10.places$} {unit:<4}  kafka {kafka:>10.places$} {unit:<4}  ratio {}",
        significant(jocko / kafka)
    ));
}

/// A ratio with as many places as say something.
fn significant(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[allow(clippy::print_stdout, reason = "a command line tool speaks on standard output")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn parts_are_chosen() {
        assert_eq!(parsed("").unwrap().only, PARTS);
        let options = parsed("--only topics,produce --records 5 --topics 7").unwrap();
        assert_eq!(options.only, ["topics", "produce"]);
        assert_eq!((options.records, options.topics), (5, 7));
        for wrong in ["--only speed", "--only", "--records", "--records x", "--topics 0", "fast"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_middle_one_counts() {
        assert!((median([3.0, 1.0, 100.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }
}
