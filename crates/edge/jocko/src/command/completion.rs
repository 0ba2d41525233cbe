//! `jocko completion SHELL`: a script by which the shell asks `jocko` itself what to offer, names
//! of topics and groups among it.

use crate::failure::{Failure, Result};
use crate::live::VARIABLE;
use clap::ArgMatches;
use clap_complete::env::Shells;
use std::io::Write;

pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    let shell: clap_complete::Shell = *matches.get_one("shell").expect("is required");
    let name = shell.to_string();
    let shells = Shells::builtins();
    let known = shells.completer(&name);
    let completer = known.ok_or_else(|| Failure::usage(format!("no script for {name}")))?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "jocko", "jocko", "jocko", &mut script)?;
    Ok(std::io::stdout().write_all(&script)?)
}
