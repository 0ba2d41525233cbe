//! Groups: from a consumer's first word to its first record, commits, what members cost in memory,
//! and how long a coordinator takes to load. The loads are a program of the test kit, the same
//! against both.

use super::process::{cpu_time, resident_megabytes};
use super::{BOTH, Kind, Plan, say, tell};
use crate::process::Broker;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// How many offset records a coordinator has to load.
const RECORDS: u32 = 1_000_000;
/// Groups of ten members.
const GROUPS: u32 = 1_000;

/// The figures, in the order in which they come.
const FIGURES: [(&str, &str); 10] = [
    ("classic: join to first record, p50", "ms"),
    ("classic: join to first record, p99", "ms"),
    ("consumer: join to first record, p50", "ms"),
    ("consumer: join to first record, p99", "ms"),
    ("commits, 8 connections", "/s"),
    ("a commit, p99", "ms"),
    ("broker CPU of a commit", "us"),
    ("memory of 1,000 groups of 10", "MB"),
    ("1 M offset records written in", "ms"),
    ("start to loaded with them", "ms"),
];

/// Runs the comparison with jocko's durability as given.
pub(super) fn run(root: &Path, folder: &Path, durability: &str) -> Result<()> {
    let program = program(root)?;
    let mut figures = [[0.0; 2]; FIGURES.len()];
    for (at, kind) in BOTH.into_iter().enumerate() {
        let mut plan = Plan::new(kind, root, folder);
        if kind == Kind::Jocko {
            plan.arguments = vec![format!("--storage-durability={durability}")];
        }
        for (row, value) in figures.iter_mut().zip(measure(&plan, &program)?) {
            row[at] = value;
        }
    }
    for ((what, unit), values) in FIGURES.into_iter().zip(figures) {
        tell(what, unit, values);
    }
    say("  (Kafka's JVM has had only these loads to warm up)");
    Ok(())
}

fn measure(plan: &Plan, program: &Path) -> Result<[f64; FIGURES.len()]> {
    let broker = plan.start()?;
    let load = |broker: &Broker, load: &[&str]| told_by(program, &broker.bootstrap(), load);
    let joins = load(&broker, &["joins", "100"])?;
    // Warm first, as both would be.
    load(&broker, &["commits", "3"])?;
    let before = cpu_time(broker.pid())?;
    let commits = load(&broker, &["commits", "5"])?;
    let cpu = cpu_time(broker.pid())? - before;
    let memory_before = resident_megabytes(broker.pid())?;
    load(&broker, &["members", &GROUPS.to_string()])?;
    let memory = resident_megabytes(broker.pid())? - memory_before;
    let filled = load(&broker, &["fill", &RECORDS.to_string()])?;
    broker.stop()?;
    let broker = plan.start()?;
    let connected = Instant::now();
    let awaited = load(&broker, &["await", "filled"])?;
    let loaded = broker.ready_in() + connected.elapsed();
    ensure!(figure(&awaited, "offsets")? > 0.0, "the coordinator has forgotten the offsets");
    broker.stop()?;
    Ok([
        figure(&joins, "classic_p50_ms")?,
        figure(&joins, "classic_p99_ms")?,
        figure(&joins, "consumer_p50_ms")?,
        figure(&joins, "consumer_p99_ms")?,
        figure(&commits, "rate")?,
        figure(&commits, "p99_ms")?,
        cpu.as_secs_f64() * 1e6 / figure(&commits, "commits")?,
        memory,
        figure(&filled, "took_ms")?,
        super::millis(loaded),
    ])
}

/// The loads, built if they are not current.
fn program(root: &Path) -> Result<PathBuf> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", "jocko-testkit", "--bin", "grouploads"])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "cargo build --release -p jocko-testkit failed");
    Ok(crate::jocko::release_binary(root)?.with_file_name("grouploads"))
}

/// Runs a load; its line of names and numbers.
fn told_by(program: &Path, address: &str, load: &[&str]) -> Result<BTreeMap<String, f64>> {
    let output = Command::new(program).arg(address).args(load).output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{load:?} against {address}: {trouble}");
    let words: Vec<&str> = told.split_whitespace().collect();
    let pairs = words.chunks_exact(2).filter_map(|pair| match pair {
        [name, number] => Some(((*name).to_owned(), number.parse().ok()?)),
        _ => None,
    });
    Ok(pairs.collect())
}

fn figure(told: &BTreeMap<String, f64>, name: &str) -> Result<f64> {
    told.get(name).copied().with_context(|| format!("no {name} in {told:?}"))
}
