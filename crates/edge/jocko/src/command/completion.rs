//! `jocko completion SHELL`.

use crate::arguments;
use crate::failure::Result;
use clap::ArgMatches;
use std::io::Write;

pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    let shell: clap_complete::Shell = *matches.get_one("shell").expect("is required");
    // Into memory first: the generator panics where a reader has gone away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut arguments::command(), "jocko", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
