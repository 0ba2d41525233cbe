//! The built binary as a process: what `compat`, `diff` and `bench` measure beside a real Kafka.

use crate::process::{Broker, free_port, guarded};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(30);

/// How to start a broker.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where its files live: kept, so that a second start finds the first one's data.
    pub(crate) data_dir: PathBuf,
    /// The client port; a free one is picked when `None`.
    pub(crate) port: Option<u16>,
    /// More command line arguments.
    pub(crate) arguments: Vec<String>,
}

impl Options {
    /// A broker with its files in `data_dir`, on a free port.
    pub(crate) fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), port: None, arguments: Vec::new() }
    }
}

/// Starts the release binary and waits until it accepts connections.
///
/// # Errors
/// When it ends or stays silent; the message carries the end of its log.
pub(crate) fn start(root: &Path, options: &Options) -> Result<Broker> {
    let mut broker = spawn(root, options)?;
    broker.wait_ready()?;
    Ok(broker)
}

/// Starts the release binary and waits for nothing: one of several serves only when there are
/// enough of them.
///
/// # Errors
/// When there is no binary, or no port for it.
pub(crate) fn spawn(root: &Path, options: &Options) -> Result<Broker> {
    let port = options.port.map_or_else(free_port, Ok)?;
    let parent = options.data_dir.parent().context("a data directory has a parent")?;
    fs::create_dir_all(parent)?;
    let http_port = free_port()?;
    let mut command = guarded(&release_binary(root)?.display().to_string());
    command
        .arg("start")
        .arg("--data-dir")
        .arg(&options.data_dir)
        .args(["--listen-kafka", &format!("127.0.0.1:{port}")])
        .args(["--listen-http", &format!("127.0.0.1:{http_port}")])
        .args(&options.arguments);
    Broker::spawn("jocko", command, port, options.data_dir.with_extension("log"), START_MAX)
}

/// The binary of this run.
static BUILT: OnceLock<PathBuf> = OnceLock::new();

/// Runs this binary instead of building one.
///
/// # Errors
/// When there is no such file.
pub(crate) fn use_binary(path: &Path) -> Result<()> {
    let path = fs::canonicalize(path).with_context(|| format!("no binary {}", path.display()))?;
    BUILT.get_or_init(|| path);
    Ok(())
}

/// The release binary, built if it is not current: once, so that a run measures one binary however
/// the sources change under it.
pub(crate) fn release_binary(root: &Path) -> Result<PathBuf> {
    if let Some(binary) = BUILT.get() {
        return Ok(binary.clone());
    }
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", "jocko"])
        .current_dir(root)
        .status()?;
    anyhow::ensure!(status.success(), "cargo build --release -p jocko failed");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(BUILT.get_or_init(|| target.join("release/jocko")).clone())
}
