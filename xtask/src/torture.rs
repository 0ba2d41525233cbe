//! `cargo xtask crash`, `hostile`, `storm` and `fuzz`: the broker under kills, abuse, crowds and random
//! bytes.

use crate::jocko;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

/// How long each fuzz target runs unless told otherwise.
const FUZZ_SECONDS: u64 = 60;

/// `cargo xtask crash [--cycles N] [--seconds S] [--durability fsync|relaxed] [--seed N]
/// [--disk-full | --fsync-error | --compaction | --retention | --all] [--require-all]`: kills the
/// release broker under load and holds what it kept against what it promised.
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

/// `cargo xtask storm [--groups N] [--members N] [--seconds S] [--kills N] [--durability D]
/// [--seed N]`: members of groups come and go at random; with `--kills` the broker does, too.
pub(crate) fn storm(root: &Path, arguments: &[String]) -> Result<()> {
    // It needs nothing that could be missing.
    let arguments: Vec<String> =
        arguments.iter().filter(|argument| *argument != "--require-all").cloned().collect();
    testkit(root, "storm", &arguments)
}

/// Runs a program of the test kit on the release binary.
pub(crate) fn testkit(root: &Path, program: &str, arguments: &[String]) -> Result<()> {
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
    if let Some(missing) = missing_for_fuzzing() {
        bail!("fuzzing needs {missing}");
    }
    let targets = targets(root)?;
    let chosen: Vec<&String> =
        targets.iter().filter(|target| wanted.is_none_or(|wanted| *target == wanted)).collect();
    ensure!(!chosen.is_empty(), "there is no such target; there are {}", targets.join(", "));
    for target in chosen {
        println!("{target}: {}", fuzz_one(root, target, seconds)?);
    }
    Ok(())
}

/// Builds a target, then runs it; what it did, in words.
fn fuzz_one(root: &Path, target: &str, seconds: u64) -> Result<String> {
    let fuzz = |verb: &str| {
        let mut command = Command::new("cargo");
        command.args(["+nightly", "fuzz", verb, target]).current_dir(root).stdin(Stdio::null());
        command
    };
    // The first build takes minutes: its progress is shown.
    ensure!(fuzz("build").status()?.success(), "{target} does not build");
    let output = fuzz("run")
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg("-print_final_stats=1")
        .output()?;
    // Thousands of lines, of which a good run leaves two numbers.
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = told.lines().collect();
        let end = lines[lines.len().saturating_sub(40)..].join("\n");
        bail!("{end}\n{target} found something: see fuzz/artifacts/{target}");
    }
    let executions = statistic(&told, "number_of_executed_units").context("no statistics")?;
    let a_second = statistic(&told, "average_exec_per_sec").unwrap_or_default();
    Ok(format!("{executions} executions in {seconds} s ({a_second} a second), no crash"))
}

/// A number of the fuzzer's final statistics: `stat::number_of_executed_units: 178273`.
fn statistic(told: &str, name: &str) -> Option<u64> {
    let mut statistics = told.lines().filter_map(|line| line.strip_prefix("stat::"));
    statistics.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

/// What is not there, and how to get it, in one line.
fn missing_for_fuzzing() -> Option<String> {
    let works = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !works(&["+nightly", "--version"]) {
        return Some(
            "nightly Rust by rustup: rustup toolchain install nightly && cargo install cargo-fuzz"
                .to_owned(),
        );
    }
    (!works(&["+nightly", "fuzz", "--version"]))
        .then(|| "cargo-fuzz: cargo install cargo-fuzz".to_owned())
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

#[cfg(test)]
mod tests {
    use super::statistic;

    #[test]
    fn statistics_are_found_among_much_else() {
        let told =
            "#1 NEW cov: 3\nstat::number_of_executed_units: 178273\nstat::peak_rss_mb:   5\n";
        assert_eq!(statistic(told, "number_of_executed_units"), Some(178_273));
        assert_eq!(statistic(told, "peak_rss_mb"), Some(5));
        assert_eq!(statistic(told, "peak_rss"), None);
    }
}
