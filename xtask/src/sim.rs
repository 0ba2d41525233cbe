//! `cargo xtask sim` and `mutations`: seeded simulation, of the rules of replication alone and of
//! whole clusters, and what shows that it notices.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the patches lie that each break one thing.
const MUTATIONS: &str = "crates/lab/sim/mutations";
/// Where a broken copy of the tree is built, below the workspace.
const SCRATCH: &str = "target/mutations";
/// How many seeds a mutation has to be noticed in, unless told otherwise.
const MUTATION_SEEDS: &str = "100";

/// `cargo xtask sim [--seeds N] [--seed S]`: plays so many seeds of both simulations, or one with its
/// story.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    // Nothing it needs could be missing.
    let arguments: Vec<&String> =
        arguments.iter().filter(|argument| *argument != "--require-all").collect();
    for program in ["rules", "cluster"] {
        println!("{program}:");
        let status = Command::new(env!("CARGO"))
            .args(["run", "--release", "--quiet", "-p", "jocko-sim", "--bin", program, "--"])
            .args(&arguments)
            .current_dir(root)
            .status()?;
        ensure!(status.success(), "{program} failed");
    }
    Ok(())
}

/// `cargo xtask mutations [--seeds N] [NAME]`: breaks a copy of the tree, one patch at a time, and
/// expects the simulation of whole clusters to notice each.
pub(crate) fn mutations(root: &Path, arguments: &[String]) -> Result<()> {
    let (mut seeds, mut wanted) = (MUTATION_SEEDS.to_owned(), None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => seeds = arguments.next().context("--seeds wants a number")?.clone(),
            name if !name.starts_with('-') => wanted = Some(name),
            other => bail!("unknown option {other}"),
        }
    }
    let tree = root.join(SCRATCH).join("tree");
    copy_tree(root, &tree)?;
    let mut unnoticed = Vec::new();
    for patch in patches(root)? {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        apply(root, &patch, &[])?;
        let played = play(root, &tree, &seeds);
        apply(root, &patch, &["--reverse"])?;
        match played? {
            Some(seen) => println!("{name}: {seen}"),
            None => {
                println!("{name}: not noticed in {seeds} seeds");
                unnoticed.push(name);
            }
        }
    }
    ensure!(unnoticed.is_empty(), "not noticed: {}", unnoticed.join(", "));
    Ok(())
}

/// All patches, by name.
fn patches(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root.join(MUTATIONS))?;
    let mut found: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    found.sort();
    Ok(found)
}

/// Copies all files that git knows, but for those that are the same there: what was built stays.
fn copy_tree(root: &Path, tree: &Path) -> Result<()> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output()?;
    ensure!(listed.status.success(), "git does not list its files");
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        // One that was deleted and not committed yet is not there.
        let Ok(content) = fs::read(root.join(name)) else { continue };
        let copy = tree.join(name);
        if fs::read(&copy).is_ok_and(|there| there == content) {
            continue;
        }
        if let Some(folder) = copy.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&copy, content)?;
    }
    Ok(())
}

fn apply(root: &Path, patch: &Path, how: &[&str]) -> Result<()> {
    let status = Command::new("git")
        .args(["apply", &format!("--directory={SCRATCH}/tree")])
        .args(how)
        .arg(patch)
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "{} does not fit the code any more", patch.display());
    Ok(())
}

/// Plays seeds in the broken copy; what was noticed first, if anything was.
fn play(root: &Path, tree: &Path, seeds: &str) -> Result<Option<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "-p", "jocko-sim", "--bin", "cluster", "--"])
        .args(["--seeds", seeds, "--stop-at", "1"])
        .env("CARGO_TARGET_DIR", root.join(SCRATCH).join("target"))
        .current_dir(tree)
        .output()?;
    if output.status.success() {
        return Ok(None);
    }
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = told.lines().find(|line| line.starts_with("seed "));
    // A copy that cannot be built, or a run that panicked, has noticed nothing.
    let words = || String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Some(seen.map(str::to_owned).with_context(words)?))
}
