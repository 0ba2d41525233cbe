//! What a broker may run out of, and disks that are gone, take no writes, or are of yesterday.

use super::Cluster;
use crate::process::quietly;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where version 1 of control groups bounds memory.
const CGROUP: &str = "/sys/fs/cgroup/memory";
/// What a process that is squeezed may still take; it has more already.
const SQUEEZED_BYTES: &str = "1048576";

impl Cluster {
    /// Its disk is gone while it runs: whatever is not in memory fails with EIO. It stays so until
    /// [`Cluster::replug_disk`].
    ///
    /// # Errors
    /// When it has none of its own, or the system refuses.
    pub fn unplug_disk(&self, node: usize) -> Result<()> {
        self.note(&format!("the disk of {node} is gone"));
        self.disk(node)?.go_dark()
    }

    /// Its disk takes no writes from now on (EROFS), until [`Cluster::replug_disk`].
    ///
    /// # Errors
    /// As [`Cluster::unplug_disk`].
    pub fn lock_disk(&self, node: usize) -> Result<()> {
        self.note(&format!("the disk of {node} is read-only"));
        self.disk(node)?.turn_read_only()
    }

    /// Its disk works again, and holds what was durable. It must not run.
    ///
    /// # Errors
    /// As [`Cluster::unplug_disk`], or when it runs.
    pub fn replug_disk(&self, node: usize) -> Result<()> {
        ensure!(!self.is_up(node), "a running broker's disk is not mounted anew");
        self.note(&format!("the disk of {node} works again"));
        self.disk(node)?.come_back()
    }

    /// Keeps what its disk holds now, for [`Cluster::restore_disk`]. It must not run.
    ///
    /// # Errors
    /// As [`Cluster::replug_disk`].
    pub fn keep_disk(&self, node: usize) -> Result<()> {
        ensure!(!self.is_up(node), "a running broker's disk is not copied");
        self.note(&format!("copy the disk of {node}"));
        self.disk(node)?.keep_copy()
    }

    /// Its disk holds again what it held at [`Cluster::keep_disk`]. It must not run.
    ///
    /// # Errors
    /// As [`Cluster::replug_disk`].
    pub fn restore_disk(&self, node: usize) -> Result<()> {
        ensure!(!self.is_up(node), "a running broker's disk is not restored");
        self.note(&format!("restore the disk of {node} from its copy"));
        self.disk(node)?.restore_copy()
    }

    /// It gets no more than so many descriptors beside those it has, until what this returns is
    /// dropped.
    ///
    /// # Errors
    /// When it does not run, or the system refuses.
    pub fn short_of_files(&self, node: usize, more: usize) -> Result<FewFiles> {
        let pid = self.process(node).context("it does not run")?.pid();
        let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        self.note(&format!("{node} gets {more} descriptors beside its {open}"));
        let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        let before = line.and_then(|line| line.split_whitespace().nth(3)).context("its limit")?;
        limit_files(pid, &(open + more).to_string())?;
        Ok(FewFiles { pid, before: before.to_owned() })
    }

    /// It gets hardly any memory more; the system ends it when it wants some, until what this
    /// returns is dropped.
    ///
    /// # Errors
    /// When it does not run, or control groups do not do that here.
    pub fn squeeze(&self, node: usize) -> Result<Squeezed> {
        let pid = self.process(node).context("it does not run")?.pid();
        self.note(&format!("{node} gets no memory any more"));
        let group = Path::new(CGROUP).join(format!("squeezed-{pid}"));
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        let squeezed = Squeezed { group, pid };
        fs::write(squeezed.group.join("memory.limit_in_bytes"), SQUEEZED_BYTES)?;
        fs::write(squeezed.group.join("cgroup.procs"), pid.to_string())?;
        Ok(squeezed)
    }
}

fn limit_files(pid: u32, soft: &str) -> Result<()> {
    let mut prlimit = Command::new("prlimit");
    quietly(prlimit.args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")]))
}

/// While it lives, a process gets hardly any descriptors.
#[derive(Debug)]
pub struct FewFiles {
    pid: u32,
    before: String,
}

impl Drop for FewFiles {
    fn drop(&mut self) {
        // It may have ended.
        let _ = limit_files(self.pid, &self.before);
    }
}

/// While it lives, a process gets hardly any memory.
#[derive(Debug)]
pub struct Squeezed {
    group: PathBuf,
    pid: u32,
}

impl Squeezed {
    /// Whether memory can be bounded here.
    ///
    /// # Errors
    /// That it cannot.
    pub fn check() -> Result<()> {
        let procs = Path::new(CGROUP).join("cgroup.procs");
        ensure!(procs.exists(), "no control group bounds memory at {CGROUP} (version 1 would)");
        Ok(())
    }
}

impl Drop for Squeezed {
    fn drop(&mut self) {
        // A process that is dead by now is in no group.
        let _ = fs::write(Path::new(CGROUP).join("cgroup.procs"), self.pid.to_string());
        let _ = fs::remove_dir(&self.group);
    }
}
