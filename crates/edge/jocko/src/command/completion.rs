//! `jocko completion SHELL`.

use crate::arguments;
use crate::failure::Result;
use clap::ArgMatches;

pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    let shell: clap_complete::Shell = *matches.get_one("shell").expect("is required");
    clap_complete::generate(shell, &mut arguments::command(), "jocko", &mut std::io::stdout());
    Ok(())
}
