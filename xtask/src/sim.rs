//! `cargo xtask sim`: seeded simulation, of the rules of replication alone and of whole clusters.

use anyhow::{Result, ensure};
use std::path::Path;
use std::process::Command;

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
