//! `cargo xtask bench`: jocko and a real Kafka in the same run, with the same client commands, in
//! alternating rounds; medians, ratios, and the broker's CPU seconds beside them.
//!
//! Machines differ and are shared: the ratios mean something, the absolutes little.

use crate::{jocko, kafka};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RECORD_BYTES: u64 = 1_024;
const ROUNDS: usize = 3;

/// One broker under measurement.
struct Side {
    name: &'static str,
    address: String,
    pid: u32,
}

/// What one run of a client cost.
#[derive(Clone, Copy)]
struct Cost {
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

/// Runs the whole comparison; `records` is how many each round writes.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    if let Some(missing) = kafka::absent() {
        bail!("the comparison {missing}");
    }
    ensure!(kafka::on_path("kcat"), "the comparison needs kcat (Debian: apt-get install kcat)");
    let records = match arguments {
        [] => 400_000,
        [flag, count] if flag == "--records" => count.parse().context("--records N")?,
        _ => bail!("usage: cargo xtask bench [--records N]"),
    };
    let folder = root.join("target/bench");
    // Left over from a run that was cut short.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    footprint(root, &folder)?;
    say("== produce and consume, page cache against page cache (jocko relaxed, Kafka's default)");
    compare(root, &folder.join("relaxed"), records, &["--storage-durability", "relaxed"], &[])?;
    say("== produce, on disk before the answer (jocko's default, Kafka with flush.messages=1)");
    let flush = [("log.flush.interval.messages".to_owned(), "1".to_owned())];
    compare(root, &folder.join("fsync"), records / 8, &[], &flush)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Size, time to ready, idle memory and idle CPU of both.
fn footprint(root: &Path, folder: &Path) -> Result<()> {
    say("== footprint");
    let binary = jocko::release_binary(root)?;
    say(&format!("jocko binary {:.1} MB", std::fs::metadata(&binary)?.len() as f64 / 1e6));
    let mut starts = Vec::new();
    for round in 0..5 {
        let options = jocko::Options::new(folder.join(format!("start-{round}")));
        let started = Instant::now();
        let broker = jocko::Jocko::start(root, &options)?;
        starts.push(started.elapsed());
        broker.stop()?;
    }
    starts.sort_unstable();
    let broker = jocko::Jocko::start(root, &jocko::Options::new(folder.join("idle")))?;
    report_idle("jocko", starts[starts.len() / 2], broker.pid())?;
    broker.stop()?;
    let started = Instant::now();
    let broker = kafka::Kafka::start(root, &kafka::Options::new(folder.join("idle-kafka")))?;
    report_idle("kafka", started.elapsed(), broker.pid())?;
    broker.stop()
}

fn report_idle(name: &str, ready: Duration, pid: u32) -> Result<()> {
    // Let start-up work end before the quiet is measured.
    std::thread::park_timeout(Duration::from_secs(3));
    let before = cpu_time(pid)?;
    std::thread::park_timeout(Duration::from_secs(10));
    let cpu = cpu_time(pid)? - before;
    say(&format!(
        "{name}: start to first connection {:.0} ms, idle memory {:.1} MB, idle CPU {:.2} %",
        ready.as_secs_f64() * 1e3,
        resident_bytes(pid)? as f64 / 1e6,
        cpu.as_secs_f64() * 10.0
    ));
    Ok(())
}

/// Both brokers up at once, one working at a time.
fn compare(
    root: &Path,
    folder: &Path,
    records: u64,
    jocko_arguments: &[&str],
    kafka_overrides: &[(String, String)],
) -> Result<()> {
    let mut options = jocko::Options::new(folder.join("jocko"));
    options.arguments = jocko_arguments.iter().map(|&argument| argument.to_owned()).collect();
    let jocko = jocko::Jocko::start(root, &options)?;
    let mut options = kafka::Options::new(folder.join("kafka"));
    options.overrides = kafka_overrides.to_vec();
    let kafka = kafka::Kafka::start(root, &options)?;
    let sides = [
        Side { name: "jocko", address: jocko.bootstrap(), pid: jocko.pid() },
        Side { name: "kafka", address: kafka.bootstrap(), pid: kafka.pid() },
    ];
    let mut produced = [Vec::new(), Vec::new()];
    let mut consumed = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (at, side) in sides.iter().enumerate() {
            let topic = format!("bench-{round}");
            let cost = measure(side, records, || produce(root, side, &topic, records))?;
            // The first round warms both up: classes are loaded, pages are there.
            if round > 0 {
                produced[at].push(cost);
            }
            let cost = measure(side, records, || consume(side, &topic, records))?;
            if round > 0 {
                consumed[at].push(cost);
            }
        }
    }
    report("produce", &sides, &mut produced);
    report("consume", &sides, &mut consumed);
    jocko.stop()?;
    kafka.stop()
}

fn measure(side: &Side, records: u64, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (before, started) = (cpu_time(side.pid)?, Instant::now());
    work().with_context(|| side.name)?;
    let wall = started.elapsed();
    Ok(Cost { wall, broker_cpu: cpu_time(side.pid)? - before, bytes: records * RECORD_BYTES })
}

/// Kafka's own load generator.
fn produce(root: &Path, side: &Side, topic: &str, records: u64) -> Result<()> {
    let output = kafka::tool(root, "org.apache.kafka.tools.ProducerPerformance")?
        .args(["--topic", topic, "--num-records", &records.to_string()])
        .args(["--record-size", &RECORD_BYTES.to_string(), "--throughput", "-1"])
        .args(["--producer-props", &format!("bootstrap.servers={}", side.address)])
        .args(["acks=all", "linger.ms=5", "batch.size=16384"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.lines().last().unwrap_or_default();
    ensure!(
        output.status.success() && summary.contains("records sent"),
        "ProducerPerformance: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    say(&format!("    {} {summary}", side.name));
    Ok(())
}

fn consume(side: &Side, topic: &str, records: u64) -> Result<()> {
    let status = Command::new("kcat")
        .args(["-b", &side.address, "-C", "-q", "-t", topic, "-p", "0", "-o", "beginning"])
        .args(["-c", &records.to_string(), "-f", "%o\n"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("kcat")?;
    ensure!(status.success(), "kcat ended with {status}");
    Ok(())
}

fn report(what: &str, sides: &[Side; 2], costs: &mut [Vec<Cost>; 2]) {
    let mut medians = [0.0; 4];
    for (at, side) in sides.iter().enumerate() {
        let speed = median(costs[at].iter().map(|cost| cost.megabytes_per_second()));
        let cpu = median(costs[at].iter().map(|cost| cost.cpu_seconds_per_gigabyte()));
        say(&format!("{what} {}: {speed:.0} MB/s, {cpu:.2} broker CPU s/GB", side.name));
        (medians[at * 2], medians[at * 2 + 1]) = (speed, cpu);
    }
    let [jocko_speed, jocko_cpu, kafka_speed, kafka_cpu] = medians;
    say(&format!(
        "{what}: jocko is {:.2} times as fast, at {:.2} of the CPU (medians of {ROUNDS}, client start-up included)",
        jocko_speed / kafka_speed,
        jocko_cpu / kafka_cpu
    ));
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// User plus system time of a process so far.
fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("is it Linux?")?;
    let (_, fields) = stat.rsplit_once(')').context("stat without a name")?;
    let ticks = |at: usize| -> Result<u64> {
        fields.split_whitespace().nth(at).context("stat is short")?.parse().context("ticks")
    };
    // The kernel counts in hundredths of a second towards user space.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kilobytes * 1_024)
}

#[allow(clippy::print_stdout, reason = "a command line tool speaks on standard output")]
fn say(line: &str) {
    println!("{line}");
}
