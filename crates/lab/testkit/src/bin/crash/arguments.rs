//! The command line.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::Duration;

/// Cycles of a run by a person.
const CYCLES: u32 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Kill,
    DiskFull,
    FsyncError,
    Compaction,
    Retention,
}

const ALL: [Run; 5] = [Run::Kill, Run::DiskFull, Run::FsyncError, Run::Compaction, Run::Retention];

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) binary: PathBuf,
    pub(crate) runs: Vec<Run>,
    pub(crate) cycles: u32,
    /// No more cycles are begun after this long.
    pub(crate) time_max: Option<Duration>,
    pub(crate) durability: String,
    pub(crate) seed: u64,
    /// Whether a run that the machine does not allow is a failure.
    pub(crate) require_all: bool,
}

impl Arguments {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self {
            binary: arguments.next().context("usage: crash BINARY [options]")?.into(),
            runs: vec![Run::Kill],
            cycles: CYCLES,
            time_max: None,
            durability: "fsync".to_owned(),
            seed: fastrand::u64(..),
            require_all: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--cycles" => parsed.cycles = value()?.parse()?,
                "--seconds" => {
                    parsed.time_max = Some(Duration::from_secs(value()?.parse()?));
                    parsed.cycles = u32::MAX;
                }
                "--durability" => parsed.durability = value()?,
                "--seed" => parsed.seed = value()?.parse()?,
                "--disk-full" => parsed.runs = vec![Run::DiskFull],
                "--fsync-error" => parsed.runs = vec![Run::FsyncError],
                "--compaction" => parsed.runs = vec![Run::Compaction],
                "--retention" => parsed.runs = vec![Run::Retention],
                "--all" => parsed.runs = ALL.to_vec(),
                "--require-all" => {
                    parsed.runs = ALL.to_vec();
                    parsed.require_all = true;
                }
                other => bail!("unknown option {other}"),
            }
        }
        Ok(parsed)
    }
}
