//! The whole development loop of jocko: `cargo xtask <command>`.

#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

mod bench;
mod codegen;
mod compat;
mod golden;
mod jocko;
mod kafka;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else { bail!("{MENU}") };
    match command.as_str() {
        "bench" => bench::run(&root(), rest),
        "codegen" => codegen::run(rest),
        "compat" => compat::run(&root(), rest),
        "golden" => golden::run(&root(), rest),
        other => bail!("no command named {other}\n{MENU}"),
    }
}

/// The folder of the workspace.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(Default::default, Into::into)
}

const MENU: &str = "commands:
  bench [--records N] jocko and a real Kafka side by side
  codegen [--check]   write the protocol code from schema/, or only say whether it is current
  compat [--smoke]    run real clients in other languages against the broker
  golden              write the golden corpus anew with Kafka's own message classes";
