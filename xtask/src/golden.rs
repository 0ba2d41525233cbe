//! `cargo xtask golden`: writes the golden corpus anew with Kafka's own message classes.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::compat::compile_java;
use crate::kafka;
use crate::process::guarded;

/// Where the codec's tests look for it.
const CORPUS: &str = "crates/base/protocol/testdata/golden";

/// Builds the Java program of `compat/golden` and runs it.
///
/// # Errors
///
/// Where Java or Maven are absent, or a message could not be written.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "usage: cargo xtask golden");
    if let Some(missing) = kafka::absent() {
        bail!("the golden corpus {missing}");
    }
    let class_path = compile_java(root, "compat/golden", "golden")?;
    let status = guarded("java")
        .args(["-cp", &class_path, "dev.jocko.golden.Golden"])
        .arg(root.join("schema/kafka"))
        .arg(root.join(CORPUS))
        .status()
        .context("cannot start java")?;
    ensure!(status.success(), "messages are missing from the corpus");
    Ok(())
}
