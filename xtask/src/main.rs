//! The whole development loop of jocko: `cargo xtask <command>`.

#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

mod bench;
mod chaos;
mod ci;
mod cluster;
mod codegen;
mod compat;
mod deploy;
mod diff;
mod golden;
mod jocko;
mod kafka;
mod process;
mod raw;
mod reference;
mod sim;
mod tidy;
mod torture;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else { bail!("{MENU}") };
    match command.as_str() {
        "bench" => bench::run(&root(), rest),
        "chaos" => chaos::run(&root(), rest),
        "check" => ci::check(&root()),
        "ci" => ci::ci(&root(), rest.iter().any(|flag| flag == "--require-all")),
        "codegen" => codegen::run(rest),
        "compat" => compat::run(&root(), rest),
        "crash" => torture::crash(&root(), rest),
        "deploy-check" => deploy::run(&root()),
        "diff" => diff::run(&root(), rest),
        "fuzz" => torture::fuzz(&root(), rest),
        "golden" => golden::run(&root(), rest),
        "hostile" => torture::hostile(&root(), rest),
        "storm" => torture::storm(&root(), rest),
        "mutations" => sim::mutations(&root(), rest),
        "reference" => reference::run(&root(), rest),
        "sim" => sim::run(&root(), rest),
        "tidy" => tidy::run(&root()),
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
  bench [--only PART] jocko and a real Kafka side by side: start, memory, topics, speed
  chaos [--row R3]    kill, pause and cut off brokers of a cluster, and judge what clients saw
  check               the fast part of ci: format, tidy, generated code, lints, tests
  ci [--require-all]  everything; absent foreign toolchains are skipped, or fail it
  codegen [--check]   write the protocol code from schema/, or only say whether it is current
  compat [--smoke]    run real clients in other languages against the broker
  deploy-check        hold the files of deploy/ to the settings, flags and ports there are
  diff [--smoke]      the same requests to a real Kafka and to jocko, and where the answers differ
  crash [--cycles N]  kill the broker under load, again and again, and compare what it kept
  fuzz [--seconds N]  run every fuzz target for so long
  golden              write the golden corpus anew with Kafka's own message classes
  mutations [NAME]    break a copy of the tree in one place, and see the simulation notice
  sim [--seeds N]     play whole clusters and the rules of replication from seeds
  hostile             throw malformed and abusive input at the broker
  storm               let members of groups come and go at random, and kill the broker under them";
