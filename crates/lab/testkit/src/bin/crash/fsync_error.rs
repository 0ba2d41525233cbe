//! A disk that reports an error once: what could not be made durable is not acknowledged, the log
//! is closed to appends (a second fsync would succeed and mean nothing), and what was acknowledged
//! before is there after a restart.

use crate::Outcome;
use crate::arguments::Arguments;
use crate::simple::Writer;
use anyhow::{Context, Result, ensure};
use jocko_client::ClientError;
use jocko_testkit::{BrokerProcess, Options, wait_until};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if Command::new("strace").arg("-V").output().is_err() {
        return Ok(Outcome::Skipped("fsync-error: strace is not here".to_owned()));
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

/// While it lives, every call of a process that makes data durable fails with EIO.
struct FaultyDisk(Child);

impl FaultyDisk {
    /// `None` if this process may not be traced.
    fn under(broker: &BrokerProcess) -> Result<Option<Self>> {
        let calls = "fsync,fdatasync,syncfs,sync_file_range";
        let child = Command::new("strace")
            .args(["-f", "-qq", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error=EIO")])
            .args(["-p", &broker.pid().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut faulty = Self(child);
        let mut ended = false;
        wait_until(PATIENCE, || {
            ended = faulty.0.try_wait()?.is_some();
            Ok(ended || all_traced(broker.pid())?)
        })
        .context("attaching strace")?;
        Ok((!ended).then_some(faulty))
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        // SIGTERM, so that it lets go of the process; SIGKILL would leave threads stopped.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn all_traced(pid: u32) -> Result<bool> {
    for task in std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))? {
        let status = std::fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        if status.lines().any(|line| line == "TracerPid:\t0") {
            return Ok(false);
        }
    }
    Ok(true)
}
