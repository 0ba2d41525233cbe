//! A real Apache Kafka beside us: fetched as jars by Maven, started as one broker that is its own controller, stopped
//! whatever happens. `compat`, `diff` and `bench` ask it what Kafka does.
//!
//! It needs Maven and a Java runtime; [`absent`] says in one line what is missing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A JVM on a busy two-core machine takes five to fifteen seconds to serve.
const START_MAX: Duration = Duration::from_secs(60);
/// A clean stop writes snapshots and checkpoints; a killed one costs the next start a recovery.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How often a process is looked at. Fine, since start and stop are measured by it.
const POLL: Duration = Duration::from_millis(1);

/// How to start a broker.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where its files live: kept, so that a second start finds the first one's data.
    pub(crate) data_dir: PathBuf,
    /// The client port; a free one is picked when `None`.
    pub(crate) port: Option<u16>,
    /// Heap of the JVM in MiB.
    pub(crate) heap_mib: u32,
    /// Further lines of server.properties, which win over ours.
    pub(crate) overrides: Vec<(String, String)>,
    /// Its place among several, if it is not alone.
    pub(crate) member: Option<Member>,
}

/// The place of a broker among several that are all controllers as well.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// From 1 on.
    pub(crate) node_id: usize,
    /// Where the controllers listen, in the order of their node ids.
    pub(crate) controller_ports: Vec<u16>,
    /// The same for all of them.
    pub(crate) cluster_id: String,
}

impl Member {
    fn is_alone(&self) -> bool {
        self.controller_ports.len() == 1
    }

    /// The identity of a controller's disk: the cluster's id with the controller's number before it.
    fn directory_id(&self, node_id: usize) -> String {
        format!("{node_id}{}", self.cluster_id.get(1..).unwrap_or_default())
    }

    /// The controllers, as the storage of each is told them: who may change later (KIP-853).
    fn initial_controllers(&self) -> String {
        let one =
            |(port, id): (&u16, usize)| format!("{id}@127.0.0.1:{port}:{}", self.directory_id(id));
        self.controller_ports.iter().zip(1..).map(one).collect::<Vec<_>>().join(",")
    }

    /// The line of server.properties that says where the controllers are.
    fn quorum(&self) -> String {
        let ids = self.controller_ports.iter().zip(1..);
        if self.is_alone() {
            let voters: Vec<String> =
                ids.map(|(port, id)| format!("{id}@127.0.0.1:{port}")).collect();
            return format!("controller.quorum.voters={}", voters.join(","));
        }
        let servers: Vec<String> =
            ids.map(|(port, _): (_, usize)| format!("127.0.0.1:{port}")).collect();
        format!("controller.quorum.bootstrap.servers={}", servers.join(","))
    }
}

impl Options {
    /// A broker with its files in `data_dir`, on a free port, with a heap of 1 GiB.
    pub(crate) fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            port: None,
            heap_mib: 1024,
            overrides: Vec::new(),
            member: None,
        }
    }
}

/// A running Kafka. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Kafka {
    child: Child,
    port: u16,
    log: PathBuf,
    started: Instant,
    ready_in: Duration,
}

impl Kafka {
    /// Formats the data directory if it is new, starts the broker and waits for nothing: one of several serves only
    /// when there are enough of them.
    ///
    /// # Errors
    ///
    /// Where Maven or Java fail.
    pub(crate) fn spawn(root: &Path, options: &Options) -> Result<Self> {
        let jars = class_path(root)?;
        fs::create_dir_all(&options.data_dir)?;
        let port = options.port.map_or_else(free_port, Ok)?;
        let properties = options.data_dir.join("server.properties");
        let member = match &options.member {
            Some(member) => member.clone(),
            None => Member::alone(&jars)?,
        };
        fs::write(&properties, server_properties(options, port, &member))?;
        if !options.data_dir.join("log/meta.properties").exists() {
            format_storage(&jars, &properties, &member)?;
        }
        let log = options.data_dir.join("server.log");
        let log_file = fs::File::create(&log)?;
        let heap = options.heap_mib;
        let started = Instant::now();
        let child = guarded("java")
            .args([format!("-Xms{heap}m"), format!("-Xmx{heap}m")])
            .args(["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-cp", &jars, "kafka.Kafka"])
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .spawn()
            .context("cannot start java")?;
        Ok(Self { child, port, log, started, ready_in: Duration::ZERO })
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// Where it ends or stays silent for a minute; the message carries the end of its log.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        if let Err(reason) = wait_for_port(&mut self.child, self.port, START_MAX) {
            bail!("Kafka did not start: {reason}\n{}", tail(&self.log));
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
    ///
    /// Where the broker does not end in half a minute; it is killed then.
    pub(crate) fn stop(mut self) -> Result<()> {
        terminate(&mut self.child, STOP_MAX).context("Kafka did not stop cleanly")
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is missing for a real Kafka, and how to get it; `None` when nothing is.
pub(crate) fn absent() -> Option<String> {
    let missing: Vec<&str> = ["java", "mvn"].into_iter().filter(|name| !on_path(name)).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "needs {} (Debian: apt-get install default-jdk-headless maven)",
            missing.join(" and ")
        )
    })
}

/// Fetches the jars on first use and returns the Java class path of broker and tools.
///
/// # Errors
///
/// Where Maven fails.
pub(crate) fn class_path(root: &Path) -> Result<String> {
    jars(root, &root.join("compat/kafka/pom.xml"), "kafka")
}

/// A command that runs one of Kafka's tools, such as `org.apache.kafka.tools.TopicCommand`.
///
/// # Errors
///
/// Where the jars cannot be fetched.
pub(crate) fn tool(root: &Path, class: &str) -> Result<Command> {
    let mut command = guarded("java");
    command.args(["-Xmx512m", "-cp", &class_path(root)?, class]).stdin(Stdio::null());
    Ok(command)
}

/// Copies the jars that a pom names to `target/compat/<name>/libs`, once per content of the pom.
pub(crate) fn jars(root: &Path, pom: &Path, name: &str) -> Result<String> {
    let home = root.join("target/compat").join(name);
    let libs = home.join("libs");
    let stamp = home.join("pom.xml");
    let wanted =
        fs::read_to_string(pom).with_context(|| format!("cannot read {}", pom.display()))?;
    if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(format!("{}/*", libs.display()));
    }
    let _ = fs::remove_dir_all(&libs);
    fs::create_dir_all(&libs)?;
    let status = Command::new("mvn")
        .args(["-q", "-B", "-Dstyle.color=never", "-f"])
        .arg(pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", libs.display()))
        .stdin(Stdio::null())
        .status()
        .context("cannot run mvn")?;
    if !status.success() {
        bail!("Maven could not fetch the jars of {}", pom.display());
    }
    fs::write(&stamp, wanted)?;
    Ok(format!("{}/*", libs.display()))
}

impl Member {
    fn alone(jars: &str) -> Result<Self> {
        let cluster_id = random_cluster_id(jars)?;
        Ok(Self { node_id: 1, controller_ports: vec![free_port()?], cluster_id })
    }

    /// The places of so many brokers of one new cluster.
    ///
    /// # Errors
    ///
    /// Where Maven or Java fail, or no port is free.
    pub(crate) fn of_cluster(root: &Path, count: usize) -> Result<Vec<Self>> {
        let cluster_id = random_cluster_id(&class_path(root)?)?;
        let controller_ports: Vec<u16> = (0..count).map(|_| free_port()).collect::<Result<_>>()?;
        let place = |node_id| Self {
            node_id,
            controller_ports: controller_ports.clone(),
            cluster_id: cluster_id.clone(),
        };
        Ok((1..=count).map(place).collect())
    }
}

fn server_properties(options: &Options, port: u16, member: &Member) -> String {
    let log_dir = options.data_dir.join("log");
    let (quorum, node_id) = (member.quorum(), member.node_id);
    let controller_port = member.controller_ports[node_id - 1];
    let mut lines = format!(
        "process.roles=broker,controller\n\
         node.id={node_id}\n\
         {quorum}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n",
        log_dir.display()
    );
    for (name, value) in &options.overrides {
        lines.push_str(&format!("{name}={value}\n"));
    }
    lines
}

fn random_cluster_id(jars: &str) -> Result<String> {
    let id = Command::new("java")
        .args(["-cp", jars, "kafka.tools.StorageTool", "random-uuid"])
        .output()
        .context("cannot start java")?;
    Ok(String::from_utf8_lossy(&id.stdout).trim().to_owned())
}

fn format_storage(jars: &str, properties: &Path, member: &Member) -> Result<()> {
    let mut format = Command::new("java");
    format
        .args(["-cp", jars, "kafka.tools.StorageTool", "format", "-t", &member.cluster_id, "-c"])
        .arg(properties);
    if !member.is_alone() {
        format.args(["--initial-controllers", &member.initial_controllers()]);
    }
    let done = format.output().context("cannot start java")?;
    if !done.status.success() {
        bail!(
            "Kafka could not format its storage: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    Ok(())
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
