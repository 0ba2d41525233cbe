//! A disk that reports an error once: what could not be made durable is not acknowledged, the log
//! is closed to appends (a second fsync would succeed and mean nothing), and what was acknowledged
//! before is there after a restart.

use crate::Outcome;
use crate::arguments::Arguments;
use crate::simple::Writer;
use anyhow::{Context, Result, ensure};
use jocko_client::ClientError;
use jocko_testkit::{BrokerProcess, FaultyDisk, Options};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if let Err(why) = FaultyDisk::check() {
        return Ok(Outcome::Skipped(format!("fsync-error: {why}")));
    }
    let folder = tempfile::tempdir()?;
    let options = Options::new(&arguments.binary, folder.path().join("data"))?;
    let mut broker = BrokerProcess::start(options)?;
    let mut writer = Writer::new(broker.address())?;
    for topic in ["hit", "spared"] {
        writer.create(topic, &[])?;
        for _ in 0..10 {
            writer.produce(topic, 1_000)?;
        }
    }
    let Some(faulty) = FaultyDisk::under(&broker)? else {
        return Ok(Outcome::Skipped("fsync-error: strace may not attach here".to_owned()));
    };
    let refusal = writer.produce("hit", 1_000);
    let Err(error) = refusal else {
        anyhow::bail!("acknowledged although no fsync succeeded");
    };
    check_refusal(&error)?;
    drop(faulty);
    let mut latched = 0;
    while broker.is_running()? && latched < 5 {
        match writer.produce("hit", 1_000) {
            Ok(offset) => anyhow::bail!("the log took an append at {offset} after a failed fsync"),
            Err(error) => check_refusal(&error)?,
        }
        latched += 1;
    }
    let kept_running = broker.is_running()?;
    if kept_running {
        writer.check("hit").context("reading the log that failed")?;
    }
    let log = broker.log()?.to_lowercase();
    let told = ["input/output error", "eio", "os error 5"].iter().any(|word| log.contains(word));
    ensure!(told, "the broker's log does not say what happened");
    ensure!(!log.contains("panicked") || !kept_running, "the broker panicked");
    broker = BrokerProcess::start(broker.kill()?)?;
    let kept = writer.check("hit")? + writer.check("spared")?;
    writer.produce_again("hit", PATIENCE).context("after the restart")?;
    writer.produce_again("spared", PATIENCE).context("after the restart")?;
    broker.stop()?;
    let then = if kept_running { "ran on with that log closed" } else { "ended" };
    Ok(Outcome::Passed(format!(
        "fsync-error: refused ({error}), {then}; all {kept} acknowledged records there after a \
         restart"
    )))
}

/// What cannot be made durable is the broker's trouble, not the record's.
fn check_refusal(error: &ClientError) -> Result<()> {
    ensure!(error.is_retriable(), "a failed fsync was answered with: {error}");
    Ok(())
}
