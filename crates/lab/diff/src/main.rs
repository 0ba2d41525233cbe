//! `jocko-diff --kafka HOST:PORT --jocko HOST:PORT [--smoke] [--filter TEXT]`: see the library.

#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

use anyhow::{Context, Result, bail};
use jocko_diff::{About, Broker, Declared, Options, sweep};
use std::process::ExitCode;

const USAGE: &str =
    "usage: jocko-diff --kafka HOST:PORT --jocko HOST:PORT [--smoke] [--filter TEXT]
                  [--bare] [--several [--away N]]
       jocko-diff --page | --list

  --smoke         three versions of each API instead of all, and a part of the longest series
  --filter TEXT   only scenarios with TEXT in their title, such as \"Fetch\" or \"Fetch: sessions\"
  --bare          as if nothing were declared
  --several       HOST:PORT,HOST:PORT,HOST:PORT of brokers 1, 2 and 3 on each side
  --away N        of which this one was stopped
  --page          print the page of declared differences
  --list          print the scenarios";

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let (mut kafka, mut jocko, mut options) = (None, None, Options::default());
    let (mut is_bare, mut are_several, mut away) = (false, false, None);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--kafka" => kafka = Some(value()?),
            "--jocko" => jocko = Some(value()?),
            "--smoke" => options.smoke = true,
            "--bare" => is_bare = true,
            "--several" => are_several = true,
            "--away" => away = Some(value()?.parse().context("--away N")?),
            "--filter" => options.filter = Some(value()?),
            "--page" => return page(),
            "--list" => return Ok(list()),
            _ => bail!("{USAGE}"),
        }
    }
    let (Some(kafka), Some(jocko)) = (kafka, jocko) else { bail!("{USAGE}") };
    let meet = |name, address: &str| match are_several {
        true => Broker::meet_several(name, address, away),
        false => Broker::meet(name, address),
    };
    let (kafka, jocko) = (meet("kafka", &kafka)?, meet("jocko", &jocko)?);
    let declared = if is_bare { Declared::default() } else { Declared::load()? };
    let report = sweep(&kafka, &jocko, &declared, &options);
    println!("{report}");
    let mut is_clean = report.is_clean();
    // Only a whole run can tell that a declaration is of no use.
    if !options.smoke && options.filter.is_none() {
        for unused in declared.unused(about(are_several, away)) {
            is_clean = false;
            println!("declared and not seen: {} {} ({})", unused.api, unused.path, unused.scenario);
        }
    }
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which declarations the run must have met.
const fn about(are_several: bool, away: Option<i32>) -> About {
    match (are_several, away) {
        (false, _) => About::One,
        (true, None) => About::Several,
        (true, Some(_)) => About::Away,
    }
}

fn page() -> Result<ExitCode> {
    print!("{}", Declared::load()?.page());
    Ok(ExitCode::SUCCESS)
}

fn list() -> ExitCode {
    use jocko_diff::scenarios::{all, of_several};
    for scenario in all().chain(of_several(false)).chain(of_several(true)) {
        println!("{} (v{:?})", scenario.title(), scenario.runs(false));
    }
    ExitCode::SUCCESS
}
