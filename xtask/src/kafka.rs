//! A real Apache Kafka beside us: fetched as jars by Maven, started as one broker that is its own controller, stopped
//! whatever happens. `compat`, `diff` and `bench` ask it what Kafka does.
//!
//! It needs Maven and a Java runtime; [`absent`] says in one line what is missing.

use crate::process::{Broker, free_port, guarded, on_path};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A JVM on a busy two-core machine takes five to fifteen seconds to serve.
const START_MAX: Duration = Duration::from_secs(60);

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

/// Formats the data directory if it is new, starts the broker and waits for nothing: one of several serves only when
/// there are enough of them.
///
/// # Errors
///
/// Where Maven or Java fail.
pub(crate) fn spawn(root: &Path, options: &Options) -> Result<Broker> {
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
    let heap = options.heap_mib;
    let mut command = guarded("java");
    command
        .args([format!("-Xms{heap}m"), format!("-Xmx{heap}m")])
        .args(["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-cp", &jars, "kafka.Kafka"])
        .arg(&properties);
    Broker::spawn("Kafka", command, port, options.data_dir.join("server.log"), START_MAX)
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
