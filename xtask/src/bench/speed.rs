//! Throughput and CPU: Kafka's own load generator writes, kcat reads back. Both brokers are up, one
//! works at a time, and who goes first changes from round to round.

use super::process::cpu_time;
use super::raw::Client;
use super::{BOTH, Plan, median, say};
use crate::kafka;
use crate::process::Broker;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RECORD_BYTES: u64 = 1_024;
const ROUNDS: usize = 3;

/// What is measured.
pub(super) struct Load<'a> {
    /// How many records each round writes.
    pub(super) records: u64,
    pub(super) jocko_arguments: &'a [&'a str],
    pub(super) kafka_overrides: &'a [(&'a str, &'a str)],
    /// Whether the figures of "produce" or "consume" are wanted.
    pub(super) shows: &'a dyn Fn(&str) -> bool,
    pub(super) reads_back: bool,
}

/// What one run of a client cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// What the client says of itself, its start and its warm-up left out; none if it is silent.
    told_records_per_second: Option<f64>,
    wall: Duration,
    broker_cpu: Duration,
    bytes: u64,
}

impl Cost {
    fn megabytes_per_second(self) -> f64 {
        self.bytes as f64 / 1e6 / self.wall.as_secs_f64()
    }

    fn cpu_seconds_per_gigabyte(self) -> f64 {
        self.broker_cpu.as_secs_f64() / (self.bytes as f64 / 1e9)
    }
}

pub(super) fn run(root: &Path, folder: &Path, load: &Load<'_>) -> Result<()> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let sides = BOTH.map(|kind| {
        let mut plan = Plan::new(kind, root, folder);
        plan.arguments = load.jocko_arguments.iter().map(|&part| part.to_owned()).collect();
        plan.overrides = load.kafka_overrides.iter().map(owned).collect();
        plan.start()
    });
    let [jocko, kafka] = sides;
    let sides = [jocko?, kafka?];
    let mut produced = [Vec::new(), Vec::new()];
    let mut consumed = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        // The first round warms both up: classes are compiled, files are there.
        let is_warm_up = round == 0;
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for at in order {
            let (produce, consume) = one_round(root, &sides[at], &format!("round-{round}"), load)?;
            if !is_warm_up {
                produced[at].push(produce);
                consumed[at].push(consume);
            }
        }
    }
    if (load.shows)("produce") {
        report("produce", &produced);
    }
    if (load.shows)("consume") {
        report("consume", &consumed);
    }
    let [jocko, kafka] = sides;
    jocko.stop()?;
    kafka.stop()?;
    Ok(())
}

/// Writes a topic, reads it back if that is asked for, and makes room again.
fn one_round(root: &Path, side: &Broker, topic: &str, load: &Load<'_>) -> Result<(Cost, Cost)> {
    let mut client = Client::open(&side.bootstrap())?;
    client.create_topics(&[topic.to_owned()], &[("file.delete.delay.ms", "1000")])?;
    let bytes = load.records * RECORD_BYTES;
    let produced = measure(side, bytes, || produce(root, side, topic, load.records).map(Some))?;
    let consumed = if load.reads_back {
        measure(side, bytes, || consume(side, topic, load.records).map(|()| None))?
    } else {
        Cost::default()
    };
    client.delete_topic(topic)?;
    Ok((produced, consumed))
}

fn measure(side: &Broker, bytes: u64, work: impl FnOnce() -> Result<Option<f64>>) -> Result<Cost> {
    let (before, started) = (cpu_time(side.pid())?, Instant::now());
    let told_records_per_second = work().with_context(|| side.name())?;
    let wall = started.elapsed();
    let broker_cpu = cpu_time(side.pid())? - before;
    Ok(Cost { told_records_per_second, wall, broker_cpu, bytes })
}

/// Kafka's own load generator; what it says of its steady state, in records a second.
fn produce(root: &Path, side: &Broker, topic: &str, records: u64) -> Result<f64> {
    let told = generate(root, side.name(), &side.bootstrap(), topic, records, None)?;
    Ok(told.records_per_second)
}

/// What the load generator says of its steady state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    pub(super) records_per_second: f64,
    /// Within which 99 of 100 records were acknowledged.
    pub(super) p99_millis: f64,
}

/// Kafka's load generator with acks=all, at this pace in records a second or as fast as it goes.
pub(super) fn generate(
    root: &Path,
    who: &str,
    addresses: &str,
    topic: &str,
    records: u64,
    pace: Option<u64>,
) -> Result<Told> {
    let pace = pace.map_or_else(|| "-1".to_owned(), |pace| pace.to_string());
    let output = kafka::tool(root, "org.apache.kafka.tools.ProducerPerformance")?
        .args(["--bootstrap-server", addresses, "--topic", topic])
        .args(["--num-records", &records.to_string(), "--throughput", &pace])
        .args(["--record-size", &RECORD_BYTES.to_string()])
        .args(["--warmup-records", &(records / 4).to_string()])
        .args(["--command-property", "acks=all", "linger.ms=5", "batch.size=16384"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().rev().find_map(told);
    let summary = text.lines().last().unwrap_or_default();
    say(&format!("    {who} {summary}"));
    told.filter(|_| output.status.success()).with_context(|| {
        format!("ProducerPerformance: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

/// Of a line such as `750000 records sent, 150000.0 records/sec (146.48 MB/sec), ... 9 ms 99th, ...`.
fn told(line: &str) -> Option<Told> {
    let before = |text: &str| -> Option<f64> {
        let (before, _) = line.split_once(text)?;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some(Told { records_per_second: before(" records/sec")?, p99_millis: before(" ms 99th")? })
}

fn consume(side: &Broker, topic: &str, records: u64) -> Result<()> {
    let status = Command::new("kcat")
        .args(["-b", &side.bootstrap(), "-C", "-q", "-t", topic, "-p", "0", "-o", "beginning"])
        .args(["-c", &records.to_string(), "-f", "%o\n"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("kcat")?;
    ensure!(status.success(), "kcat ended with {status}");
    Ok(())
}

fn report(what: &str, costs: &[Vec<Cost>; 2]) {
    let both = |figure: fn(Cost) -> Option<f64>| {
        [0, 1].map(|at| median(costs[at].iter().filter_map(|cost| figure(*cost))))
    };
    let figures = [
        ("MB/s, wall clock", both(|cost| Some(cost.megabytes_per_second()))),
        ("records/s, as the tool tells", both(|cost| cost.told_records_per_second)),
        ("broker CPU s/GB", both(|cost| Some(cost.cpu_seconds_per_gigabyte()))),
    ];
    for (figure, values) in figures {
        if values.iter().all(|value| value.is_finite()) {
            super::tell(&format!("{what}, {figure}"), "", values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_figure_is_found() {
        let line = "750000 records sent, 150375.9 records/sec (146.85 MB/sec), 1.2 ms avg latency, \
                    97.00 ms max latency, 1 ms 50th, 5 ms 95th, 9 ms 99th, 40 ms 99.9th.";
        let found = Told { records_per_second: 150_375.9, p99_millis: 9.0 };
        assert_eq!(told(line), Some(found));
        assert_eq!(told("nothing of the kind"), None);
    }
}
