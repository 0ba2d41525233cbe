//! The built binary as a process: what `compat`, `diff` and `bench` measure beside a real Kafka.

use crate::kafka;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);

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

/// A running jocko. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Jocko {
    child: Child,
    port: u16,
    log: PathBuf,
    started: Instant,
    ready_in: Duration,
}

impl Jocko {
    /// Starts the release binary and waits until it accepts connections.
    ///
    /// # Errors
    /// When it ends or stays silent; the message carries the end of its log.
    pub(crate) fn start(root: &Path, options: &Options) -> Result<Self> {
        let mut jocko = Self::spawn(root, options)?;
        jocko.wait_ready()?;
        Ok(jocko)
    }

    /// Starts the release binary and waits for nothing: one of several serves only when there are
    /// enough of them.
    ///
    /// # Errors
    /// When there is no binary, or no port for it.
    pub(crate) fn spawn(root: &Path, options: &Options) -> Result<Self> {
        let port = options.port.map_or_else(kafka::free_port, Ok)?;
        let parent = options.data_dir.parent().context("a data directory has a parent")?;
        fs::create_dir_all(parent)?;
        let log = options.data_dir.with_extension("log");
        let log_file = fs::File::options().create(true).append(true).open(&log)?;
        let http_port = kafka::free_port()?;
        let binary = release_binary(root)?;
        // From here on only the broker's own time counts.
        let started = Instant::now();
        let child = kafka::guarded(&binary.display().to_string())
            .arg("start")
            .arg("--data-dir")
            .arg(&options.data_dir)
            .args(["--listen-kafka", &format!("127.0.0.1:{port}")])
            .args(["--listen-http", &format!("127.0.0.1:{http_port}")])
            .args(&options.arguments)
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .spawn()
            .context("cannot start jocko")?;
        Ok(Self { child, port, log, started, ready_in: Duration::ZERO })
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    /// When it ends or stays silent; the message carries the end of its log.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        if let Err(reason) = kafka::wait_for_port(&mut self.child, self.port, START_MAX) {
            bail!("jocko did not start: {reason}\n{}", kafka::tail(&self.log));
        }
        self.ready_in = self.started.elapsed();
        Ok(())
    }

    /// The address for clients.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process id, for measuring.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From the start of the process to the first connection.
    pub(crate) fn ready_in(&self) -> Duration {
        self.ready_in
    }

    /// Asks for a clean stop and waits for it.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub(crate) fn stop(mut self) -> Result<()> {
        kafka::terminate(&mut self.child, STOP_MAX).context("jocko did not stop cleanly")
    }
}

impl Drop for Jocko {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
