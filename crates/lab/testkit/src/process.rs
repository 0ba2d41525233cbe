//! Starting, watching and ending a broker process.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a broker may take to answer, recovery included.
const READY_MAX: Duration = Duration::from_secs(30);

/// How a broker is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary.
    pub binary: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// The address it listens on: 127.0.0.1 unless said otherwise.
    pub host: IpAddr,
    /// Kafka's port.
    pub port: u16,
    /// The HTTP port.
    pub http_port: u16,
    /// More command line arguments.
    pub arguments: Vec<String>,
    /// Variables that are set for it.
    pub environment: Vec<(String, String)>,
    /// A program and its arguments that start the broker in their own place: what follows them is
    /// the broker's command line.
    pub wrapper: Vec<String>,
    /// Where it logs to: beside the data directory unless said otherwise.
    pub log: PathBuf,
}

impl Options {
    /// The built binary over `data_dir`, on free ports.
    ///
    /// # Errors
    /// When no port is free.
    pub fn new(binary: impl Into<PathBuf>, data_dir: impl Into<PathBuf>) -> Result<Self> {
        let [port, http_port] = free_ports()?;
        let (binary, data_dir) = (binary.into(), data_dir.into());
        let log = data_dir.with_extension("log");
        Ok(Self {
            binary,
            data_dir,
            host: [127, 0, 0, 1].into(),
            port,
            http_port,
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            log,
        })
    }

    /// With one more command line argument.
    #[must_use]
    pub fn with(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The program, without its arguments.
    fn command(&self) -> Command {
        match self.wrapper.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        }
    }

    /// With its log somewhere else.
    #[must_use]
    pub fn logging_to(self, log: impl Into<PathBuf>) -> Self {
        Self { log: log.into(), ..self }
    }
}

/// A running broker. Dropping it kills it.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    options: Options,
    started: Instant,
    /// From start to the first accepted connection.
    pub ready_after: Duration,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory now, in bytes.
    pub resident_bytes: u64,
    /// The most it ever was, in bytes.
    pub resident_peak_bytes: u64,
    /// User and system time.
    pub cpu: Duration,
    /// Threads now.
    pub threads: u64,
    /// Open descriptors now.
    pub descriptors: u64,
    /// Those of them that are sockets.
    pub sockets: u64,
}

impl BrokerProcess {
    /// Starts a broker and waits until it accepts connections. Its log is appended to.
    ///
    /// # Errors
    /// When it ends first or is not ready in time; the end of its log is in the message.
    pub fn start(options: Options) -> Result<Self> {
        let mut broker = Self::spawn(options)?;
        broker.wait_ready()?;
        Ok(broker)
    }

    /// Starts a broker and does not wait for it.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn spawn(options: Options) -> Result<Self> {
        let log = File::options().create(true).append(true).open(&options.log)?;
        let started = Instant::now();
        let child = options
            .command()
            .arg("start")
            .arg("--data-dir")
            .arg(&options.data_dir)
            .args(["--listen-kafka", &SocketAddr::from((options.host, options.port)).to_string()])
            .args([
                "--listen-http",
                &SocketAddr::from((options.host, options.http_port)).to_string(),
            ])
            .args(&options.arguments)
            .envs(options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", options.binary.display()))?;
        Ok(Self { child, options, started, ready_after: Duration::ZERO })
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    /// When it ends first or is not ready in time; the end of its log is in the message.
    pub fn wait_ready(&mut self) -> Result<()> {
        let log_path = self.options.log.clone();
        while TcpStream::connect(self.address()).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the broker ended with {status} at once:\n{}", tail(&log_path));
            }
            if self.started.elapsed() > READY_MAX {
                bail!("the broker was not ready in {READY_MAX:?}:\n{}", tail(&log_path));
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.ready_after = self.started.elapsed();
        Ok(())
    }

    /// Where it serves Kafka.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.options.host, self.options.port))
    }

    /// Where it serves HTTP.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        SocketAddr::from((self.options.host, self.options.http_port))
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.options.data_dir
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        Ok(rustix::process::kill_process(pid.context("no process has this id")?, signal)?)
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// All it has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.options.log)?)
    }

    /// What it uses, read from the system.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn usage(&self) -> Result<Usage> {
        let folder = PathBuf::from(format!("/proc/{}", self.pid()));
        let status = std::fs::read_to_string(folder.join("status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.with_context(|| format!("no {name}"))?.parse().context("a number")
        };
        let mut sockets = 0;
        let mut descriptors = 0;
        for descriptor in std::fs::read_dir(folder.join("fd"))? {
            descriptors += 1;
            // One that was closed meanwhile has no target any more.
            let target = std::fs::read_link(descriptor?.path()).unwrap_or_default();
            sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
        }
        Ok(Usage {
            resident_bytes: field("VmRSS:")? * 1_024,
            resident_peak_bytes: field("VmHWM:")? * 1_024,
            cpu: cpu_time(&folder)?,
            threads: field("Threads:")?,
            descriptors,
            sockets,
        })
    }

    /// Lets the peak of resident memory begin anew from what is used now.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn reset_peak(&self) -> Result<()> {
        // See proc_pid_clear_refs(5).
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5")?)
    }

    /// kill -9, and waits for the process to be gone. Yields the options to start it again.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(mut self) -> Result<Options> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.options.clone())
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Errors
    /// When it does not end in time, or not with success.
    pub fn stop(self) -> Result<Options> {
        self.signal(Signal::TERM)?;
        self.finish()
    }

    /// Waits for the clean end of one that was told to stop.
    ///
    /// # Errors
    /// When it does not end in time, or not with success.
    pub fn finish(mut self) -> Result<Options> {
        let child = &mut self.child;
        wait_until(READY_MAX, || Ok(child.try_wait()?.is_some())).context("stopping")?;
        let status = self.child.wait()?;
        let log = &self.options.log;
        anyhow::ensure!(status.success(), "ended with {status}:\n{}", tail(log));
        Ok(self.options.clone())
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // Already gone is fine: this only makes sure that no test leaves a process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a tool of the system that says nothing but why it fails.
///
/// # Errors
/// When it is not there, or is not permitted what it is to do: its first words.
pub fn quietly(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{:?} is not here", command.get_program()))?;
    let why = String::from_utf8_lossy(&output.stderr);
    let why = why.lines().next().unwrap_or_default();
    ensure!(output.status.success(), "{:?} is not permitted: {why}", command.get_program());
    Ok(())
}

/// Waits until `done` says so, looking again every few milliseconds.
///
/// # Errors
/// When `done` fails or the deadline passes.
pub fn wait_until(deadline: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !done()? {
        if started.elapsed() > deadline {
            bail!("nothing after {deadline:?}");
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Ok(())
}

/// The first port that tests use, and how many there are: below those the system hands out by
/// itself, so that no connection takes one between the look and the use.
const PORT_FIRST: u32 = 12_000;
const PORTS: u32 = 20_000;

/// `N` ports that are free now, and that no other test of this process will be given.
///
/// # Errors
/// When none is.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that test at the same time begin at different places.
    let start = std::process::id().wrapping_mul(97);
    let mut ports = [0; N];
    for port in &mut ports {
        *port = (0..PORTS)
            .find_map(|_| {
                let step = NEXT.fetch_add(1, Ordering::Relaxed);
                let number = PORT_FIRST + start.wrapping_add(step) % PORTS;
                let number = u16::try_from(number).ok()?;
                let free = |address: IpAddr| TcpListener::bind((address, number)).is_ok();
                free([127, 0, 0, 1].into()).then_some(number)
            })
            .context("no port is free")?;
    }
    Ok(ports)
}

/// The last lines of a log; nothing if it cannot be read.
#[must_use]
pub fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// User plus system time from `/proc/PID/stat`, in the kernel's ticks of 10 ms.
fn cpu_time(folder: &Path) -> Result<Duration> {
    let stat = std::fs::read_to_string(folder.join("stat"))?;
    // The second field is the name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("stat without a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| -> Result<u64> {
        fields.get(at).context("stat is short")?.parse().context("ticks")
    };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
