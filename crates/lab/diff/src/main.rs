//! `jocko-diff --kafka HOST:PORT --jocko HOST:PORT [--smoke] [--filter TEXT]`: see the library.

#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

use anyhow::{Context, Result, bail};
use jocko_diff::{Broker, Declared, Options, sweep};
use std::process::ExitCode;

const USAGE: &str =
    "usage: jocko-diff --kafka HOST:PORT --jocko HOST:PORT [--smoke] [--filter TEXT]
                  [--bare]
       jocko-diff --page | --list

  --smoke         three versions of each API instead of all, and a part of the longest series
  --filter TEXT   only scenarios with TEXT in their title, such as \"Fetch\" or \"Fetch: sessions\"
  --bare          as if nothing were declared
  --page          print the page of declared differences
  --list          print the scenarios";

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let (mut kafka, mut jocko, mut options) = (None, None, Options::default());
    let mut is_bare = false;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--kafka" => kafka = Some(value()?),
            "--jocko" => jocko = Some(value()?),
            "--smoke" => options.smoke = true,
            "--bare" => is_bare = true,
            "--filter" => options.filter = Some(value()?),
            "--page" => return page(),
            "--list" => return Ok(list()),
            _ => bail!("{USAGE}"),
        }
    }
    let (Some(kafka), Some(jocko)) = (kafka, jocko) else { bail!("{USAGE}") };
    let (kafka, jocko) = (Broker::meet("kafka", &kafka)?, Broker::meet("jocko", &jocko)?);
    let declared = if is_bare { Declared::default() } else { Declared::load()? };
    let report = sweep(&kafka, &jocko, &declared, &options);
    println!("{report}");
    let mut is_clean = report.is_clean();
    // Only a whole run can tell that a declaration is of no use.
    if !options.smoke && options.filter.is_none() {
        for unused in declared.unused() {
            is_clean = false;
            println!("declared and not seen: {} {} ({})", unused.api, unused.path, unused.scenario);
        }
    }
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn page() -> Result<ExitCode> {
    print!("{}", Declared::load()?.page());
    Ok(ExitCode::SUCCESS)
}

fn list() -> ExitCode {
    for scenario in jocko_diff::scenarios::all() {
        println!("{} (v{:?})", scenario.title(), scenario.runs(false));
    }
    ExitCode::SUCCESS
}
