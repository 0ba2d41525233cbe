//! The whole development loop of jocko: `cargo xtask <command>`.

#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

mod codegen;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else { bail!("{MENU}") };
    match command.as_str() {
        "codegen" => codegen::run(rest),
        other => bail!("no command named {other}\n{MENU}"),
    }
}

const MENU: &str = "commands:
  codegen [--check]   write the protocol code from schema/, or only say whether it is current";
