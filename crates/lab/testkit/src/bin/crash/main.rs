//! Kills a broker with -9 while producers write to it with acks=all, starts it again on what it
//! left, goes on, and at the end reads everything back and holds it against what was promised.
//!
//! `crash BINARY [--cycles N] [--seconds S] [--durability fsync|relaxed] [--seed N]`, or with
//! `--disk-full`, `--fsync-error`, `--compaction` or `--retention` those runs instead, or with
//! `--all` one after the other.
//! See `docs/internals/crash-testing.md`.

use anyhow::{Result, bail, ensure};

mod arguments;
mod churn;
mod compaction;
mod cycles;
mod disk_full;
mod fsync_error;
mod idempotence;
mod metrics;
mod producer;
mod reader;
mod retention;
mod simple;
mod small_disk;
mod verify;
mod workload;

use arguments::{Arguments, Run};

/// What a run that has its own needs came to.
enum Outcome {
    Passed(String),
    /// The machine does not have what it needs.
    Skipped(String),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let mut failed = Vec::new();
    for run in &arguments.runs {
        let outcome = match run {
            Run::Kill => cycles::run(&arguments).map(Outcome::Passed),
            Run::DiskFull => disk_full::run(&arguments),
            Run::FsyncError => fsync_error::run(&arguments),
            Run::Compaction => compaction::run(&arguments).map(Outcome::Passed),
            Run::Retention => retention::run(&arguments),
        };
        match outcome {
            Ok(Outcome::Passed(summary)) => say(&summary),
            Ok(Outcome::Skipped(why)) if arguments.require_all => failed.push(why),
            Ok(Outcome::Skipped(why)) => say(&format!("skipped: {why}")),
            Err(error) => {
                say(&format!("FAIL {error:#}"));
                failed.push(error.to_string());
            }
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    ensure!(!arguments.runs.is_empty(), "nothing was run");
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the report is the program's output")]
fn say(line: &str) {
    println!("{line}");
}
