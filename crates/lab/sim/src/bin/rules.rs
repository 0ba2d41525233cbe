//! Plays seeds of the rules' simulation: `rules [--seeds N] [--seed S] [--flaw NAME]`.

#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

use anyhow::{Context, Result, bail};
use jocko_sim::rules::{Coverage, FLAWS, Flaw, run, tell};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut seeds, mut only, mut flaw) = (1_000, None, None);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{argument} wants a value"))?;
        match argument.as_str() {
            "--seeds" => seeds = value.parse().context("--seeds wants a number")?,
            "--seed" => only = Some(value.parse::<u64>().context("--seed wants a number")?),
            "--flaw" => {
                let names: Vec<&str> = FLAWS.iter().map(|(_, name)| *name).collect();
                let known = || format!("no such flaw; there are {}", names.join(", "));
                flaw = Some(Flaw::named(&value).with_context(known)?);
            }
            other => bail!("unknown argument {other}"),
        }
    }
    let range = only.map_or(0..seeds, |seed| seed..seed + 1);
    let mut coverage = Coverage::default();
    let mut broken = 0_u64;
    let mut events = 0;
    for seed in range.clone() {
        let report = if only.is_some() { tell(seed, flaw) } else { run(seed, flaw) };
        report.story.iter().for_each(|line| println!("{line}"));
        coverage.add(&report.coverage);
        events += report.events;
        if only.is_some() {
            println!("seed {seed}: trace {:016x}, {} events", report.trace, report.events);
        }
        if let Some(violation) = report.violation {
            broken += 1;
            println!("seed {seed}: {violation}");
        }
    }
    println!("{} seeds, {events} events", range.end - range.start);
    for (name, count) in coverage.counters() {
        println!("{count:>10} {name}");
    }
    if broken > 0 {
        bail!("{broken} seeds broke a promise");
    }
    Ok(())
}
