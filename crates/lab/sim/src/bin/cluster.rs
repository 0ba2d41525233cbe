//! Plays seeds of whole clusters: `cluster [--seeds N] [--from S] [--seed S] [--stop-at N]`, the last
//! to end with the n-th seed that broke a promise.

#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

use anyhow::{Context, Result, bail};
use jocko_sim::cluster::{Coverage, Wish, run};
use std::time::{Duration, Instant};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut seeds, mut from, mut only, mut stop_at) = (100, 0, None, u64::MAX);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{argument} wants a value"))?;
        let number = value.parse::<u64>().with_context(|| format!("{argument} wants a number"))?;
        match argument.as_str() {
            "--seeds" => seeds = number,
            "--from" => from = number,
            "--seed" => only = Some(number),
            "--stop-at" => stop_at = number,
            other => bail!("unknown argument {other}"),
        }
    }
    let range = only.map_or(from..from + seeds, |seed| seed..seed + 1);
    let wish = Wish { story: only.is_some(), ..Wish::default() };
    let (mut coverage, mut broken, mut lasted) = (Coverage::default(), 0_u64, Duration::ZERO);
    let mut recoveries = Vec::new();
    let began = Instant::now();
    for seed in range.clone() {
        let report = run(seed, wish);
        report.story.iter().for_each(|line| println!("{line}"));
        coverage.add(&report.coverage);
        lasted += report.lasted;
        recoveries.push((report.recovery, seed));
        if only.is_some() {
            println!("seed {seed}: trace {:016x}, {} messages", report.trace, report.messages);
        }
        if let Some(violation) = report.violation {
            broken += 1;
            println!("seed {seed}: {violation}");
        }
        if broken >= stop_at {
            bail!("seed {seed} broke a promise");
        }
    }
    let count = range.end - range.start;
    println!(
        "{count} seeds, {:.0} s of the clusters' time in {:.1} s",
        lasted.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    recoveries.sort_unstable();
    if let (Some((middle, _)), Some((slowest, seed))) =
        (recoveries.get(recoveries.len() / 2), recoveries.last())
    {
        println!(
            "whole again after {middle:.1?} in the middle, {slowest:.1?} at most (seed {seed})"
        );
    }
    for (name, count) in coverage.counters() {
        println!("{count:>10} {name}");
    }
    if broken > 0 {
        bail!("{broken} seeds broke a promise");
    }
    Ok(())
}
