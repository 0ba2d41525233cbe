//! Throws malformed and abusive input at a running broker: rows S1, S3 to S10 and S20 of the catalogue
//! in `docs/internals/hostile-input.md`. After each row the broker must run, must not have
//! panicked, must not have grown past its bound, must have given back its sockets, and must have
//! served everybody else meanwhile.
//!
//! `hostile BINARY [ROW]`: prints a line a row (only those whose name contains ROW); ends with
//! failure if any row failed.

use anyhow::{Context, Result, ensure};
use jocko_testkit::{BrokerProcess, Options, Usage, wait_until};
use std::time::{Duration, Instant};

mod batches;
mod bombs;
mod bystander;
mod http;
mod pretenders;
mod rows;
mod silence;
mod target;

use bystander::Bystander;
use rows::Row;
use target::Target;

/// What the broker may hold for requests under way: a frame of 50 MiB must still be admissible.
const MEMORY_MAX_BYTES: u64 = 80 << 20;
/// What a row may cost unless it says otherwise, above what the broker used before it.
const GROWTH_MAX_BYTES: u64 = 64 << 20;
/// Other programs share the machine: a row that was only slow for others gets another try.
const TRIES_MAX: u32 = 3;
/// How long anything may take before it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments.next().context("usage: hostile BINARY [ROW]")?;
    let wanted = arguments.next().unwrap_or_default();
    let folder = tempfile::tempdir()?;
    let memory = format!("--limits-memory={MEMORY_MAX_BYTES}");
    let patient = Options::new(&binary, folder.path().join("patient"))?.with(memory);
    // Deadlines as short as they can be set, so that they can be waited for.
    let impatient = Options::new(&binary, folder.path().join("impatient"))?
        .with("--limits-frame-timeout=1s")
        .with("--limits-idle=2s");
    let mut score = Score::default();
    for (options, rows) in [(patient, rows::ALL), (impatient, silence::ALL)] {
        throw(options, rows, &wanted, &mut score)?;
    }
    if http::STOP.contains(&wanted) {
        score.note(http::STOP, http::stop(Options::new(&binary, folder.path().join("stopped"))?));
    }
    say(&format!("hostile: {} rows passed, {} failed", score.passed, score.failed));
    ensure!(score.failed == 0 && score.passed > 0, "{} rows failed", score.failed);
    Ok(())
}

#[derive(Default)]
struct Score {
    passed: u32,
    failed: u32,
}

impl Score {
    /// Counts and prints what became of a row.
    fn note(&mut self, name: &str, outcome: Result<String>) {
        match outcome {
            Ok(outcome) => {
                self.passed += 1;
                say(&format!("PASS {name}: {outcome}"));
            }
            Err(error) => {
                self.failed += 1;
                say(&format!("FAIL {name}: {error:#}"));
            }
        }
    }
}

/// Throws rows at a broker of its own.
fn throw(options: Options, rows: &[Row], wanted: &str, score: &mut Score) -> Result<()> {
    let rows = rows.iter().filter(|row| row.name.contains(wanted));
    if rows.clone().next().is_none() {
        return Ok(());
    }
    let mut broker = BrokerProcess::start(options)?;
    let target = Target::prepare(broker.address(), broker.http_address())?;
    let baseline = Bystander::start(&target).finish_after(Duration::from_secs(1))?;
    let resident = broker.usage()?.resident_bytes >> 20;
    say(&format!("others' p99 without abuse: {baseline:?}; resident {resident} MiB"));
    for row in rows {
        score.note(row.name, try_row(&mut broker, &target, row, baseline));
        if !broker.is_running()? {
            broker = BrokerProcess::start(broker.kill()?)?;
        }
    }
    if let Err(error) = broker.stop() {
        score.failed += 1;
        say(&format!("FAIL the broker must still stop cleanly: {error}"));
    }
    Ok(())
}

/// Runs a row; again, if all that was wrong is that others waited.
fn try_row(
    broker: &mut BrokerProcess,
    target: &Target,
    row: &Row,
    baseline: Duration,
) -> Result<String> {
    let p99_max = baseline * 2 + Duration::from_millis(20);
    // Once for all tries: what one left behind must not become the measure of the next.
    let before = broker.usage()?;
    let mut tries = 1;
    loop {
        let (said, p99) = run_row(broker, target, row, &before)?;
        if p99 <= p99_max {
            return Ok(format!("{said}, others' p99 {p99:?}"));
        }
        ensure!(tries < TRIES_MAX, "{said}, but others' p99 was {p99:?}, allowed {p99_max:?}");
        tries += 1;
    }
}

/// Runs one row with a bystander beside it and checks what it did to the broker.
fn run_row(
    broker: &mut BrokerProcess,
    target: &Target,
    row: &Row,
    before: &Usage,
) -> Result<(String, Duration)> {
    broker.reset_peak()?;
    let bystander = Bystander::start(target);
    let said = (row.run)(target);
    let p99 = bystander.finish();
    ensure!(broker.is_running()?, "the broker ended: {:?}", panic_line(&broker.log()?));
    if let Some(line) = panic_line(&broker.log()?) {
        anyhow::bail!("the broker panicked: {line}");
    }
    let (said, p99) = (said?, p99.context("others were not served")?);
    let after = broker.usage()?;
    let growth = after.resident_peak_bytes.saturating_sub(before.resident_bytes);
    ensure!(
        growth <= row.growth_max_bytes,
        "{said}, but grew by {} MiB, allowed {}",
        growth >> 20,
        row.growth_max_bytes >> 20
    );
    let mut open = 0;
    let ended = Instant::now();
    let settled = wait_until(row.settle_max, || {
        open = broker.usage()?.sockets;
        Ok(open <= before.sockets)
    });
    settled.with_context(|| {
        format!("{said}, but {open} sockets are open, {} were before", before.sockets)
    })?;
    let peak = after.resident_peak_bytes >> 20;
    let settled_after = ended.elapsed().as_millis();
    let grew = growth >> 20;
    Ok((format!("{said}; grew {grew} MiB, to {peak}, settled in {settled_after} ms"), p99))
}

fn panic_line(log: &str) -> Option<&str> {
    log.lines().find(|line| line.contains("panicked"))
}

#[allow(clippy::print_stdout, reason = "the report is the program's output")]
fn say(line: &str) {
    println!("{line}");
}
