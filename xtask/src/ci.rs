//! `cargo xtask ci` and `cargo xtask check`: what must hold before a change lands, as one list of
//! steps, each timed, each stopping the run when it fails.

use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// One line of the list.
struct Step {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

const fn cargo(name: &'static str, arguments: &'static [&'static str]) -> Step {
    Step { name, program: env!("CARGO"), arguments }
}

/// Minutes, from a warm build: for before each commit.
const CHECK: &[Step] = &[
    cargo("format", &["fmt", "--all", "--check"]),
    cargo("tidy", &["xtask", "tidy"]),
    cargo("generated code is current", &["xtask", "codegen", "--check"]),
    cargo("reference pages are current", &["xtask", "reference", "--check"]),
    cargo("deployment files are true", &["xtask", "deploy-check"]),
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    cargo("tests", &["test", "--workspace", "--quiet"]),
];

/// What CI adds: the portable fallbacks, the release binary, and others' clients against it.
const CI: &[Step] = &[
    cargo("portable disk", &["test", "-p", "jocko-disk", "--features", "portable", "--quiet"]),
    cargo("portable net", &["test", "-p", "jocko-net", "--features", "portable", "--quiet"]),
    cargo("release binary", &["build", "--release", "--quiet", "-p", "jocko"]),
    // What this machine does not permit (namespaces, file systems of one's own) is named and skipped.
    cargo(
        "leaders cut off, without power, restarted",
        &["xtask", "chaos", "--faults", CI_FAULTS, "--cycles", "5", "--seed", "10"],
    ),
];

/// What befalls a cluster in CI besides kills.
const CI_FAULTS: &str = "cut-leader,power-leader,roll";

/// Real processes: each takes `--require-all` to fail where a foreign toolchain is missing.
const FOREIGN: &[Step] = &[
    cargo("crash cycles", &["xtask", "crash", "--cycles", "10"]),
    cargo("hostile input", &["xtask", "hostile"]),
    cargo("groups in a storm", &["xtask", "storm", "--groups", "8", "--seconds", "15"]),
    cargo("groups and kills", &["xtask", "storm", "--groups", "8", "--kills", "8"]),
    cargo("real clients", &["xtask", "compat", "--smoke"]),
    cargo(
        "leaders killed under others' clients",
        &[
            "xtask",
            "chaos",
            "--row",
            "R3",
            "--cycles",
            "5",
            "--seed",
            "3",
            "--foreign",
            "kcat,java,franz-go,confluent-kafka-python",
        ],
    ),
    cargo("Kafka's tools", &["xtask", "compat", "--tools"]),
    cargo("Connect and Streams", &["xtask", "compat", "--connect", "--streams"]),
    cargo("side by side with Kafka", &["xtask", "diff", "--smoke"]),
];

/// Runs the fast list.
pub(crate) fn check(root: &Path) -> Result<()> {
    run_all(root, CHECK, &[])
}

/// Runs everything. `require_all` makes an absent foreign toolchain a failure.
pub(crate) fn ci(root: &Path, require_all: bool) -> Result<()> {
    let started = Instant::now();
    run_all(root, CHECK, &[])?;
    run_all(root, CI, &[])?;
    run_all(root, FOREIGN, if require_all { &["--require-all"] } else { &[] })?;
    say(&format!("all of ci passed in {}", shown(started.elapsed())));
    Ok(())
}

fn run_all(root: &Path, steps: &[Step], extra: &[&str]) -> Result<()> {
    for step in steps {
        say(&format!("==> {}", step.name));
        let started = Instant::now();
        let status = Command::new(step.program)
            .args(step.arguments)
            .args(extra)
            .current_dir(root)
            .status()?;
        if !status.success() {
            bail!("{} failed; to see it again: cargo {}", step.name, step.arguments.join(" "));
        }
        say(&format!("    {} took {}", step.name, shown(started.elapsed())));
    }
    Ok(())
}

fn shown(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[allow(clippy::print_stdout, reason = "a command line tool speaks on standard output")]
fn say(line: &str) {
    println!("{line}");
}
