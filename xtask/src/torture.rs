//! `cargo xtask crash`, `hostile` and `fuzz`: the broker under kills, abuse and random bytes.

use crate::jocko;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

/// How long each fuzz target runs unless told otherwise.
const FUZZ_SECONDS: u64 = 60;

/// `cargo xtask crash [--cycles N] [--seconds S] [--durability fsync|relaxed] [--seed N]
/// [--disk-full | --fsync-error | --all] [--require-all]`: kills the release broker under load and
/// holds what it kept against what it promised.
pub(crate) fn crash(root: &Path, arguments: &[String]) -> Result<()> {
    testkit(root, "crash", arguments)
}

/// `cargo xtask hostile [ROW] [--require-all]`: throws malformed and abusive input at the release
/// broker.
pub(crate) fn hostile(root: &Path, arguments: &[String]) -> Result<()> {
    // Every row runs everywhere: there is nothing that could be skipped.
    let arguments: Vec<String> =
        arguments.iter().filter(|argument| *argument != "--require-all").cloned().collect();
    testkit(root, "hostile", &arguments)
}

/// Runs a program of the test kit on the release binary.
fn testkit(root: &Path, program: &str, arguments: &[String]) -> Result<()> {
    let binary = jocko::release_binary(root)?;
    let status = Command::new(env!("CARGO"))
        .args(["run", "--release", "--quiet", "-p", "jocko-testkit", "--bin", program, "--"])
        .arg(binary)
        .args(arguments)
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "{program} failed");
    Ok(())
}

/// `cargo xtask fuzz [--seconds N] [TARGET]`: runs each fuzz target for so long. What is found is
/// kept under `fuzz/artifacts`, the corpus under `fuzz/corpus`.
pub(crate) fn fuzz(root: &Path, arguments: &[String]) -> Result<()> {
    let mut seconds = FUZZ_SECONDS;
    let mut wanted = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                seconds = arguments.next().context("--seconds wants a number")?.parse()?
            }
            target if !target.starts_with('-') => wanted = Some(target),
            other => bail!("unknown option {other}"),
        }
    }
    require(&["+nightly", "--version"], "rustup toolchain install nightly")?;
    require(&["+nightly", "fuzz", "--version"], "cargo install cargo-fuzz")?;
    let targets = targets(root)?;
    let chosen: Vec<&String> =
        targets.iter().filter(|target| wanted.is_none_or(|wanted| *target == wanted)).collect();
    ensure!(!chosen.is_empty(), "there is no such target; there are {}", targets.join(", "));
    for target in chosen {
        println!("fuzz: {target} for {seconds} s");
        let status = Command::new("cargo")
            .args(["+nightly", "fuzz", "run", target, "--"])
            .arg(format!("-max_total_time={seconds}"))
            .arg("-print_final_stats=1")
            .current_dir(root)
            .status()?;
        ensure!(status.success(), "{target} found something: see fuzz/artifacts/{target}");
    }
    Ok(())
}

/// Checks that a tool is there, or says in one line how to get it.
fn require(arguments: &[&str], cure: &str) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    ensure!(is_there, "cargo {} does not work here; get it with: {cure}", arguments.join(" "));
    Ok(())
}

/// The targets by their files.
fn targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("fuzz/targets")).context("fuzz/targets")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
