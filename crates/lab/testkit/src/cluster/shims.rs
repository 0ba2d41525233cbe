//! Two small programs in C that do what Rust without `unsafe` cannot: set one process's wall clock,
//! and take the power from a file system. They are built when they are needed.

use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const CLOCK: &str = include_str!("../../shims/clock.c");
const POWER: &str = include_str!("../../shims/power.c");
/// A shift to see whether shifts are seen.
const PROBE_SECONDS: i64 = 86_400;

/// What sets the clocks of single processes.
#[derive(Debug, Clone)]
pub struct ClockShim {
    library: PathBuf,
}

impl ClockShim {
    /// Builds it in a folder and tries it.
    ///
    /// # Errors
    /// When there is no compiler, or programs here do not take their time from a library.
    pub fn build(folder: &Path) -> Result<Self> {
        let library = compile(folder, "clock.so", CLOCK, &["-shared", "-fPIC"])?;
        let shim = Self { library };
        let probe = SetClock::new(&folder.join("probe.shift"))?;
        probe.set(PROBE_SECONDS)?;
        let said = Command::new("date").arg("+%s").envs(shim.environment(&probe)).output()?;
        let said: i64 = String::from_utf8_lossy(&said.stdout).trim().parse().unwrap_or(0);
        let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
        let off = said - i64::try_from(now)?;
        ensure!((off - PROBE_SECONDS).abs() < 60, "clocks cannot be set: off by {off} s");
        Ok(shim)
    }

    /// What a process needs for its clock to follow `clock`.
    pub(super) fn environment(&self, clock: &SetClock) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("LD_PRELOAD".to_owned(), text(&self.library)),
            ("CLOCK_SHIFT".to_owned(), text(&clock.path)),
        ]
    }
}

/// A clock that can be set.
#[derive(Debug)]
pub(super) struct SetClock {
    path: PathBuf,
    file: File,
}

impl SetClock {
    pub(super) fn new(path: &Path) -> Result<Self> {
        let file = File::options().create(true).truncate(true).write(true).open(path)?;
        let clock = Self { path: path.to_owned(), file };
        clock.set(0)?;
        Ok(clock)
    }

    /// Puts it ahead by so many seconds, or back.
    pub(super) fn set(&self, seconds: i64) -> Result<()> {
        Ok(self.file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }
}

/// Builds the program that takes the power from a file system.
pub(super) fn power_switch(folder: &Path) -> Result<PathBuf> {
    compile(folder, "power", POWER, &[])
}

fn compile(folder: &Path, name: &str, source: &str, flags: &[&str]) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let built = folder.join(name);
    let path = folder.join(format!("{name}.c"));
    fs::write(&path, source)?;
    let output = Command::new("cc").args(["-O1", "-o"]).arg(&built).args(flags).arg(&path).output();
    let output =
        output.context("there is no C compiler (Debian: apt-get install gcc libc6-dev)")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cc {}: {}", path.display(), words.trim());
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_can_be_set_and_set_again() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(shim) = ClockShim::build(folder.path()) else {
            // No compiler here: the rows that need it say so.
            return;
        };
        let clock = SetClock::new(&folder.path().join("shift")).unwrap();
        let now = || {
            let said = Command::new("date").arg("+%s").envs(shim.environment(&clock)).output();
            String::from_utf8_lossy(&said.unwrap().stdout).trim().parse::<i64>().unwrap()
        };
        let true_time = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        for shift in [0, 315_360_000, -3_600] {
            clock.set(shift).unwrap();
            assert!((now() - true_time - shift).abs() < 600, "{shift}");
        }
    }
}
