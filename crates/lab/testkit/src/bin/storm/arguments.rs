//! The command line.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) binary: PathBuf,
    pub(crate) groups: u32,
    pub(crate) members: u32,
    /// How long members come and go.
    pub(crate) storm: Duration,
    /// How often the broker is killed meanwhile; `None`: it is left alone.
    pub(crate) kills: Option<u32>,
    pub(crate) durability: String,
    pub(crate) seed: u64,
}

impl Arguments {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self {
            binary: arguments.next().context("usage: storm BINARY [options]")?.into(),
            groups: 20,
            members: 10,
            storm: Duration::from_secs(180),
            kills: None,
            durability: "fsync".to_owned(),
            seed: fastrand::u64(..),
        };
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--groups" => parsed.groups = value()?.parse()?,
                "--members" => parsed.members = value()?.parse()?,
                "--seconds" => parsed.storm = Duration::from_secs(value()?.parse()?),
                "--kills" => parsed.kills = Some(value()?.parse()?),
                "--durability" => parsed.durability = value()?,
                "--seed" => parsed.seed = value()?.parse()?,
                other => bail!("unknown option {other}"),
            }
        }
        Ok(parsed)
    }
}
