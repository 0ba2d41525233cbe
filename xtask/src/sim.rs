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
/// The patch that is no bug, but plants one of the others by its name.
const SWITCH: &str = "switch";
/// How many seeds a mutation may need to be noticed, unless told otherwise.
const MUTATION_SEEDS: &str = "300";

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

/// `cargo xtask mutations [--seeds N] [NAME]`: breaks a copy of the tree in all the ways that patches
/// describe, each behind its name, and expects the simulation of whole clusters to notice each one:
/// with the seed that its patch names, or else with one of the first N (any change of what a run does
/// makes another run of a seed). With none of them planted the same seeds must break no promise.
pub(crate) fn mutations(root: &Path, arguments: &[String]) -> Result<()> {
    let (mut seeds, mut wanted) = (MUTATION_SEEDS, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => seeds = arguments.next().context("--seeds wants a number")?,
            name if !name.starts_with('-') => wanted = Some(name),
            other => bail!("unknown option {other}"),
        }
    }
    let tree = root.join(SCRATCH).join("tree");
    copy_tree(root, &tree)?;
    let patches = patches(root)?;
    for patch in &patches {
        apply(root, patch)?;
    }
    let player = Player::build(root, &tree)?;
    let mut unnoticed = Vec::new();
    for patch in &patches {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name == SWITCH || wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let recorded = recorded_seed(patch)?;
        if let Some(seen) = player.play("", [&recorded, "1"])? {
            bail!("with nothing planted: {seen}");
        }
        let seen = match player.play(&name, [&recorded, "1"])? {
            None => player.play(&name, ["0", seeds])?,
            seen => seen,
        };
        match seen {
            Some(seen) => println!("{name}: {seen}"),
            None => {
                println!("{name}: not noticed with seed {recorded}, nor in the first {seeds}");
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

/// The seed that notices a patch, as the patch says before its first file: `Seed: 12`.
fn recorded_seed(patch: &Path) -> Result<String> {
    let text = fs::read_to_string(patch)?;
    let found = text.lines().find_map(|line| line.strip_prefix("Seed: "));
    let seed = found.with_context(|| format!("{} names no seed", patch.display()))?.trim();
    seed.parse::<u64>().with_context(|| format!("{}: {seed} is no seed", patch.display()))?;
    Ok(seed.to_owned())
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

fn apply(root: &Path, patch: &Path) -> Result<()> {
    let status = Command::new("git")
        .args(["apply", &format!("--directory={SCRATCH}/tree")])
        .arg(patch)
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "{} does not fit the code any more", patch.display());
    Ok(())
}

/// The simulation, built from the broken copy.
struct Player(PathBuf);

impl Player {
    /// What is built shares the workspace's target directory: the copy's packages are others by their
    /// path, and what they depend on is there already.
    fn build(root: &Path, tree: &Path) -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = root.join(target.map_or_else(|| "target".into(), PathBuf::from));
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "jocko-sim", "--bin", "cluster"])
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(tree)
            .status()?;
        ensure!(status.success(), "the broken copy cannot be built");
        // The workspace's own would lie at the same place.
        let player = root.join(SCRATCH).join("cluster");
        fs::copy(target.join("debug/cluster"), &player)?;
        Ok(Self(player))
    }

    /// Plays so many seeds from one on with a bug planted; what was noticed first, if anything was.
    fn play(&self, planted: &str, [from, count]: [&str; 2]) -> Result<Option<String>> {
        let output = Command::new(&self.0)
            .args(["--from", from, "--seeds", count, "--stop-at", "1"])
            .env("PLANTED", planted)
            .output()?;
        if output.status.success() {
            return Ok(None);
        }
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let seen = told.lines().find(|line| line.starts_with("seed "));
        // A run that panicked has noticed nothing.
        let words = || String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Some(seen.map(str::to_owned).with_context(words)?))
    }
}
