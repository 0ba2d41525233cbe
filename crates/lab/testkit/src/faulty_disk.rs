//! A disk that reports errors, by strace.

use crate::process::{BrokerProcess, wait_until};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// While it lives, every call of a process that makes data durable fails with EIO.
#[derive(Debug)]
pub struct FaultyDisk(Child);

impl FaultyDisk {
    /// Whether there is what it needs.
    ///
    /// # Errors
    /// That there is not.
    pub fn check() -> Result<()> {
        ensure!(Command::new("strace").arg("-V").output().is_ok(), "strace is not here");
        Ok(())
    }

    /// `None` if this process may not be traced, or has ended.
    ///
    /// # Errors
    /// When strace cannot be started, or never gets hold of all threads.
    pub fn under(broker: &BrokerProcess) -> Result<Option<Self>> {
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
            Ok(ended || all_traced(broker.pid()))
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

/// Whether all threads are; those of a process that is gone meanwhile are.
fn all_traced(pid: u32) -> bool {
    let tasks = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    tasks.into_iter().flatten().flatten().all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.lines().any(|line| line == "TracerPid:\t0")
    })
}
