//! Brokers as processes of this machine, jocko's and Kafka's alike: what `compat`, `diff` and `bench` start, ask and
//! end, whatever happens.

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A clean stop writes snapshots and checkpoints; a killed one costs the next start a recovery.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How often a process is looked at. Fine, since start and stop are measured by it.
const POLL: Duration = Duration::from_millis(1);

/// A running broker. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Broker {
    name: &'static str,
    child: Child,
    port: u16,
    log: PathBuf,
    start_max: Duration,
    started: Instant,
    ready_in: Duration,
}

impl Broker {
    /// Runs a command that is to serve clients on `port` of the loopback address, and adds what it says to the file
    /// `log`. Waits for nothing.
    ///
    /// # Errors
    ///
    /// Where the file or the process cannot be had.
    pub(crate) fn spawn(
        name: &'static str,
        mut command: Command,
        port: u16,
        log: PathBuf,
        start_max: Duration,
    ) -> Result<Self> {
        let log_file = fs::File::options().create(true).append(true).open(&log)?;
        // From here on only the broker's own time counts.
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, port, log, start_max, started, ready_in: Duration::ZERO })
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// Where it ends or stays silent for too long; the message carries the end of its log.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        if let Err(reason) = wait_for_port(&mut self.child, self.port, self.start_max) {
            bail!("{} did not start: {reason}\n{}", self.name, tail(&self.log));
        }
        self.ready_in = self.started.elapsed();
        Ok(())
    }

    /// What it is, for messages.
    pub(crate) fn name(&self) -> &'static str {
        self.name
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

    /// Asks for a clean stop and waits for nothing.
    ///
    /// # Errors
    ///
    /// Where it cannot be asked.
    pub(crate) fn tell_to_stop(&self) -> Result<()> {
        signal(self.pid())
    }

    /// Asks for a clean stop and waits for it; how long that took.
    ///
    /// # Errors
    ///
    /// Where it does not end in time; it is killed then.
    pub(crate) fn stop(mut self) -> Result<Duration> {
        let asked = Instant::now();
        terminate(&mut self.child, STOP_MAX)
            .with_context(|| format!("{} did not stop cleanly", self.name))?;
        Ok(asked.elapsed())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command whose process is killed when ours ends, however ours ends. Where `setpriv` (Linux) is absent, only a
/// dropped guard and ctrl-c, which reaches the whole terminal group, stop it.
pub(crate) fn guarded(program: &str) -> Command {
    if on_path("setpriv") {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]);
        command
    } else {
        Command::new(program)
    }
}

/// Whether an executable of this name is on the search path.
pub(crate) fn on_path(name: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Where ports are looked for: below those that the system gives to outgoing connections. While a broker is down, a
/// client that tries to reach it could otherwise be given its port.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A port that nobody listens on right now, and that this process has not been given before.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Runs at the same time begin at different places.
    let first = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(count))?;
    (0..count)
        .map(|_| PORTS.start + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no free port")
}

/// Waits until the process accepts connections on `port` of the loopback address.
pub(crate) fn wait_for_port(child: &mut Child, port: u16, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        if Instant::now() > deadline {
            bail!("it did not listen on port {port} within {} s", limit.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

/// Sends SIGTERM to a child of ours that has not been waited for, so that its number is still its own.
pub(crate) fn signal(pid: u32) -> Result<()> {
    let status = Command::new("kill").arg(pid.to_string()).status().context("cannot run kill")?;
    if !status.success() {
        bail!("cannot signal process {pid}");
    }
    Ok(())
}

/// Sends SIGTERM and waits for the end; kills after `limit`.
pub(crate) fn terminate(child: &mut Child, limit: Duration) -> Result<()> {
    if let Err(refused) = signal(child.id())
        && child.try_wait()?.is_none()
    {
        return Err(refused);
    }
    let deadline = Instant::now() + limit;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("still running {} s after SIGTERM", limit.as_secs());
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The last lines of a log file, for an error message.
pub(crate) fn tail(file: &Path) -> String {
    let Ok(file) = fs::File::open(file) else { return String::new() };
    let lines: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
