//! The command line.

use crate::faults::{Fault, Need};
use crate::foreign::Foreign;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Cycles of a run that says which faults.
const CYCLES: u32 = 20;
/// How long a run lasts that says nothing at all.
const DEFAULT_RUN: Duration = Duration::from_secs(150);

#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) binary: PathBuf,
    /// What an upgrade goes to, and back from.
    pub(crate) other: Option<PathBuf>,
    pub(crate) brokers: usize,
    /// How many more join when the cluster stands, each through any other.
    pub(crate) joining: usize,
    pub(crate) partitions: u32,
    /// Of each partition: three, or as many as there are brokers.
    pub(crate) replicas: usize,
    /// What may happen: each round has a random subset of it.
    pub(crate) faults: Vec<Fault>,
    /// The row of the catalogue that chose the faults.
    pub(crate) row: Option<String>,
    pub(crate) cycles: u32,
    /// No more cycles are begun after this long.
    pub(crate) time_max: Option<Duration>,
    pub(crate) seed: u64,
    pub(crate) acks: i16,
    pub(crate) durability: String,
    /// More arguments of each broker.
    pub(crate) broker: Vec<String>,
    /// Each broker in a network of its own, although nothing is to be cut.
    pub(crate) network: bool,
    /// Between kill and start the tail of a log is cut off: the run must fail.
    pub(crate) plants_tail: bool,
    /// Where histories and data stay; else in a folder that goes when all is well.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) foreign: Vec<Foreign>,
    /// Whether what the machine does not allow is a failure.
    pub(crate) require_all: bool,
    /// As they were given, to say how to see a run again.
    given: Vec<String>,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments;
        let binary = arguments.next().context("usage: chaos BINARY [options]")?.into();
        let given: Vec<String> = arguments.collect();
        let mut parsed = Self {
            binary,
            other: None,
            brokers: 3,
            joining: 0,
            partitions: 6,
            replicas: 3,
            faults: Vec::new(),
            row: None,
            cycles: CYCLES,
            time_max: None,
            seed: fastrand::u64(..),
            acks: -1,
            durability: "fsync".to_owned(),
            broker: Vec::new(),
            network: false,
            plants_tail: false,
            folder: None,
            foreign: Vec::new(),
            require_all: false,
            given: given.clone(),
        };
        let mut rest = given.into_iter();
        while let Some(argument) = rest.next() {
            parsed.take(&argument, &mut rest)?;
        }
        let says = |option: &str| parsed.given.iter().any(|given| given == option);
        if !says("--faults") && !says("--row") {
            let count = parsed.brokers + parsed.joining;
            parsed.faults = Fault::all();
            parsed.faults.retain(|fault| fault.brokers_min() <= count);
            if !says("--cycles") && !says("--seconds") {
                parsed.time_max = Some(DEFAULT_RUN);
                parsed.cycles = u32::MAX;
            }
        }
        // A row of the catalogue says how many it takes.
        if parsed.row.is_some() && !says("--brokers") {
            let least = parsed.faults.iter().map(|fault| fault.brokers_min()).max();
            parsed.brokers = parsed.brokers.max(least.unwrap_or(0));
        }
        parsed.replicas = parsed.replicas.min(parsed.brokers + parsed.joining);
        parsed.check()?;
        Ok(parsed)
    }

    fn take(&mut self, argument: &str, rest: &mut impl Iterator<Item = String>) -> Result<()> {
        let mut value = || rest.next().with_context(|| format!("{argument} wants a value"));
        match argument {
            "--brokers" => self.brokers = value()?.parse()?,
            "--joining" => self.joining = value()?.parse()?,
            "--replicas" => self.replicas = value()?.parse()?,
            "--partitions" => self.partitions = value()?.parse()?,
            "--faults" => {
                let names = value()?;
                let faults = names.split(',').filter(|name| !["", "none"].contains(name));
                self.faults = faults.map(Fault::named).collect::<Result<_>>()?;
            }
            "--row" => {
                let row = value()?;
                self.faults = Fault::of_row(&row)?;
                self.row = Some(row);
            }
            "--other" => self.other = Some(value()?.into()),
            "--cycles" => self.cycles = value()?.parse()?,
            "--seconds" => {
                self.time_max = Some(Duration::from_secs(value()?.parse()?));
                self.cycles = u32::MAX;
            }
            "--seed" => self.seed = value()?.parse()?,
            "--acks" => self.acks = if value()? == "1" { 1 } else { -1 },
            "--durability" => self.durability = value()?,
            "--broker" => self.broker.push(value()?),
            "--network" => self.network = true,
            "--plant" => {
                let what = value()?;
                ensure!(what == "tail", "only the tail of a log can be planted on");
                self.plants_tail = true;
            }
            "--folder" => self.folder = Some(value()?.into()),
            "--foreign" => {
                // Others than kcat come as programs.
                if value()?.split(',').any(|name| name == "kcat") {
                    self.foreign.push(Foreign::kcat());
                }
            }
            "--program" => {
                let program = Foreign::program(&value()?)?;
                self.foreign.push(program);
            }
            "--require-all" => self.require_all = true,
            other => bail!("unknown option {other}"),
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        ensure!((1..=9).contains(&(self.brokers + self.joining)), "from 1 to 9 brokers");
        ensure!(self.joining == 0 || self.brokers > 1, "nobody joins a lone broker");
        ensure!((1..=64).contains(&self.partitions), "from 1 to 64 partitions");
        ensure!((1..=9).contains(&self.replicas), "from 1 to 9 replicas");
        for fault in &self.faults {
            let least = fault.brokers_min();
            ensure!(self.brokers + self.joining >= least, "{} wants {least} brokers", fault.name());
            let is_complete = self.other.is_some() || !fault.needs().contains(&Need::Other);
            ensure!(is_complete, "{} wants --other BINARY", fault.name());
        }
        Ok(())
    }

    /// What the faults need around the brokers.
    pub(crate) fn needs(&self) -> BTreeSet<Need> {
        let mut needs: BTreeSet<Need> =
            self.faults.iter().flat_map(|fault| fault.needs()).copied().collect();
        needs.extend(self.network.then_some(Need::Network));
        needs
    }

    /// Does without the faults that need what is not here.
    pub(crate) fn renounce(&mut self, missing: Need) {
        self.faults.retain(|fault| !fault.needs().contains(&missing));
        self.network &= missing != Need::Network;
    }

    /// The command that makes the same choices again.
    pub(crate) fn again(&self) -> String {
        let mut given = Vec::new();
        let mut all = self.given.iter();
        while let Some(argument) = all.next() {
            // What `--foreign` was made into.
            if argument == "--program" {
                all.next();
            } else {
                given.push(argument.clone());
            }
        }
        if !given.iter().any(|argument| argument == "--seed") {
            given.extend(["--seed".to_owned(), self.seed.to_string()]);
        }
        format!("cargo xtask chaos {}", given.join(" "))
    }
}
