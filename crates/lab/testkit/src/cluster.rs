//! A cluster of real broker processes, each with a data directory and ports of its own, on
//! loopback or each in a network of its own that can be cut; and what may befall them.
//!
//! Whatever ends the program that holds a cluster, a panic or a kill included, ends its brokers
//! and takes down its networks: both hang on it in the kernel. For that a cluster must be started
//! from the thread that lives longest, which is the main one.

mod disk;
mod harm;
mod network;
mod scarcity;
mod shims;

pub use disk::{Disk, Disks, SlowDisk};
pub use network::{Namespaces, Network, Place, enter_own_network, enter_own_world};
pub use scarcity::{FewFiles, Squeezed};
pub use shims::ClockShim;

use crate::process::{BrokerProcess, Options, free_ports, tail, wait_until};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use shims::SetClock;
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The secret of clusters under test.
const SECRET: &str = "a secret of clusters under test";
/// What each broker listens on where it has a network for itself.
const PORTS: [u16; 4] = [9_092, 9_093, 9_094, 9_095];

/// How a cluster is made.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Where each broker gets a folder.
    pub folder: PathBuf,
    /// How many brokers found it; one of them alone is a lone broker.
    pub brokers: usize,
    /// More command line arguments, for each.
    pub arguments: Vec<String>,
}

/// What each broker of a cluster has to itself.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// A network that can be cut; else all are on loopback.
    pub network: Option<Network>,
    /// A disk that can lose its power; else a folder.
    pub disks: Option<Disks>,
    /// A clock that can be set.
    pub clocks: Option<ClockShim>,
}

/// One broker of a cluster, running or not.
#[derive(Debug)]
struct Node {
    options: Options,
    cluster_port: u16,
    gossip_port: u16,
    // Before the disk: a process that is dropped later would hold it.
    process: Option<BrokerProcess>,
    is_paused: bool,
    disk: Option<Disk>,
    clock: Option<SetClock>,
}

/// Some brokers. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    around: Surroundings,
    made: ClusterOptions,
    /// Where what befalls it is written down, with the time.
    chronicle: File,
}

impl Cluster {
    /// A cluster of which nothing runs yet. What befalls it is written into `faults.log` in its
    /// folder.
    ///
    /// # Errors
    /// When no ports are free, or what is to be around it cannot be made.
    pub fn plan(made: ClusterOptions, around: Surroundings) -> Result<Self> {
        let chronicle = made.folder.join("faults.log");
        let chronicle = File::options().create(true).append(true).open(chronicle)?;
        let mut cluster = Self { nodes: Vec::new(), around, made, chronicle };
        for _ in 0..cluster.made.brokers {
            cluster.plan_node()?;
        }
        let founders: Vec<String> = (0..cluster.len()).map(|node| cluster.gossip(node)).collect();
        if cluster.len() > 1 {
            let count = cluster.len();
            for node in &mut cluster.nodes {
                let form = [format!("--expect={count}"), format!("--join={}", founders.join(","))];
                node.options.arguments.extend(form);
            }
        }
        Ok(cluster)
    }

    /// One more broker, which joins the cluster through any other: its number. It does not run yet.
    ///
    /// # Errors
    /// As [`Cluster::plan`].
    pub fn plan_joining(&mut self, through: usize) -> Result<usize> {
        self.plan_node()?;
        let number = self.len() - 1;
        let join = format!("--join={}", self.gossip(through));
        self.nodes[number].options.arguments.push(join);
        Ok(number)
    }

    fn plan_node(&mut self) -> Result<()> {
        let number = self.nodes.len();
        let own = self.made.folder.join(format!("broker-{number}"));
        let disk = self.around.disks.as_ref().map(|disks| disks.add(number)).transpose()?;
        let data_dir = disk.as_ref().map_or(own.clone(), |disk| disk.mount_point.join("data"));
        let mut options =
            Options::new(&self.made.binary, data_dir)?.logging_to(own.with_extension("log"));
        let [cluster_port, gossip_port] = match &mut self.around.network {
            Some(network) => {
                let place = network.add(number)?;
                (options.host, options.wrapper) = (place.address, place.wrapper);
                let [kafka, cluster, gossip, http] = PORTS;
                (options.port, options.http_port) = (kafka, http);
                [cluster, gossip]
            }
            None => {
                options.wrapper = network::die_with_parent();
                free_ports()?
            }
        };
        options.arguments.clone_from(&self.made.arguments);
        // A lone broker is started as everybody starts one.
        if self.made.brokers > 1 {
            let host = options.host;
            options.arguments.push(format!("--listen-cluster={host}:{cluster_port}"));
            options.arguments.push(format!("--listen-gossip={host}:{gossip_port}"));
            options.environment.push(("JOCKO_CLUSTER_SECRET".to_owned(), SECRET.to_owned()));
        }
        let clock = match &self.around.clocks {
            Some(shim) => {
                let clock = SetClock::new(&own.with_extension("shift"))?;
                options.environment.extend(shim.environment(&clock));
                Some(clock)
            }
            None => None,
        };
        let (process, is_paused) = (None, false);
        let node = Node { options, cluster_port, gossip_port, process, is_paused, disk, clock };
        self.nodes.push(node);
        Ok(())
    }

    /// Writes down what befalls it, and when (UTC, as the brokers' logs have it).
    pub fn note(&self, what: &str) {
        // A run is not worth less for it.
        let _ = writeln!(&self.chronicle, "{} {what}", time_of_day());
    }

    /// How many brokers there are, running or not.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where a broker gossips, as `--join` takes it.
    fn gossip(&self, node: usize) -> String {
        format!("{}:{}", self.nodes[node].options.host, self.nodes[node].gossip_port)
    }

    /// Where a broker serves Kafka's protocol.
    #[must_use]
    pub fn address(&self, node: usize) -> String {
        format!("{}:{}", self.nodes[node].options.host, self.nodes[node].options.port)
    }

    /// Where all of them do.
    #[must_use]
    pub fn bootstrap(&self) -> Vec<String> {
        (0..self.len()).map(|node| self.address(node)).collect()
    }

    /// The broker that serves at a host and port; ids are the cluster's to give, places are ours.
    #[must_use]
    pub fn node_at(&self, host: &str, port: i32) -> Option<usize> {
        let host: IpAddr = host.parse().ok()?;
        self.nodes
            .iter()
            .position(|node| node.options.host == host && i32::from(node.options.port) == port)
    }

    /// Where it speaks with its peers.
    #[must_use]
    pub fn cluster_address(&self, node: usize) -> String {
        format!("{}:{}", self.nodes[node].options.host, self.nodes[node].cluster_port)
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self, node: usize) -> &Path {
        &self.nodes[node].options.data_dir
    }

    /// Its log.
    #[must_use]
    pub fn log(&self, node: usize) -> &Path {
        &self.nodes[node].options.log
    }

    /// Its process, if it runs.
    #[must_use]
    pub fn process(&self, node: usize) -> Option<&BrokerProcess> {
        self.nodes[node].process.as_ref()
    }

    /// Whether it runs, paused or not, as far as we have had a hand in it.
    #[must_use]
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].process.is_some()
    }

    /// Whether it could answer: it runs and is not paused.
    #[must_use]
    pub fn answers(&self, node: usize) -> bool {
        self.is_up(node) && !self.nodes[node].is_paused
    }

    /// The network, if the brokers have one that can be cut.
    pub const fn network(&mut self) -> Option<&mut Network> {
        self.around.network.as_mut()
    }

    /// Starts a broker and does not wait for anything. One that runs is left alone.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(&mut self, node: usize) -> Result<()> {
        if !self.is_up(node) {
            self.note(&format!("start {node}"));
            let node = &mut self.nodes[node];
            node.process = Some(BrokerProcess::spawn(node.options.clone())?);
        }
        Ok(())
    }

    /// Starts all that do not run, in this order.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_all(&mut self, order: impl IntoIterator<Item = usize>) -> Result<()> {
        order.into_iter().try_for_each(|node| self.start(node))
    }

    /// Waits until a broker accepts clients.
    ///
    /// # Errors
    /// When it ends first or is not ready in time; the end of its log is in the message.
    pub fn wait_ready(&mut self, node: usize) -> Result<()> {
        let process = self.nodes[node].process.as_mut();
        process.context("it does not run")?.wait_ready()
    }

    /// kill -9, paused or not. One that does not run stays as it is.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        self.note(&format!("kill {node}"));
        let node = &mut self.nodes[node];
        node.is_paused = false;
        node.process.take().map_or(Ok(()), |process| process.kill().map(|_| ()))
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Errors
    /// When it does not end in time, or not with success.
    pub fn stop(&mut self, node: usize) -> Result<()> {
        self.resume(node)?;
        self.note(&format!("stop {node}"));
        let process = self.nodes[node].process.take();
        process.map_or(Ok(()), |process| process.stop().map(|_| ()))
    }

    /// SIGTERM to all at once, and waits for clean ends.
    ///
    /// # Errors
    /// As [`Cluster::stop`].
    pub fn stop_all(&mut self) -> Result<()> {
        for node in 0..self.len() {
            self.resume(node)?;
            if let Some(process) = self.process(node) {
                process.signal(Signal::TERM)?;
            }
        }
        let mut stopping = self.nodes.iter_mut().filter_map(|node| node.process.take());
        stopping.try_for_each(|process| process.finish().map(|_| ()))
    }

    /// SIGSTOP: it holds its sockets and does nothing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn pause(&mut self, node: usize) -> Result<()> {
        self.note(&format!("pause {node}"));
        let node = &mut self.nodes[node];
        node.is_paused = node.process.is_some();
        node.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::STOP))
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn resume(&mut self, node: usize) -> Result<()> {
        if std::mem::take(&mut self.nodes[node].is_paused)
            && let Some(process) = self.process(node)
        {
            self.note(&format!("resume {node}"));
            process.signal(Signal::CONT)?;
        }
        Ok(())
    }

    /// Takes all from its disk. It must not run. From now on it is told its number, which it cannot
    /// know from the disk: without, it would be one more broker.
    ///
    /// # Errors
    /// When it runs, or the system refuses.
    pub fn wipe(&mut self, node: usize, id: i32) -> Result<()> {
        ensure!(!self.is_up(node), "a running broker is not wiped");
        self.note(&format!("wipe {node}"));
        fs::remove_dir_all(self.data_dir(node)).context("wiping a disk")?;
        let number = format!("--node-id={id}");
        let arguments = &mut self.nodes[node].options.arguments;
        if !arguments.contains(&number) {
            arguments.push(number);
        }
        Ok(())
    }

    /// Everything runs, everybody reaches everybody, disks have room and clocks are right.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn heal(&mut self) -> Result<()> {
        self.heal_network()?;
        self.mend()?;
        for node in 0..self.len() {
            self.resume(node)?;
            self.start(node)?;
        }
        Ok(())
    }

    /// Everybody reaches everybody.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn heal_network(&mut self) -> Result<()> {
        let Some(network) = &mut self.around.network else { return Ok(()) };
        if !network.is_whole() {
            network.heal()?;
            self.note("heal the network");
        }
        Ok(())
    }

    /// Says which broker has ended though nobody ended it, if any has.
    ///
    /// # Errors
    /// That one has: the end of its log is in the message.
    pub fn check_running(&mut self) -> Result<()> {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let Some(process) = &mut node.process else { continue };
            let is_running = process.is_running()?;
            let log = &node.options.log;
            ensure!(is_running, "broker {number} ended by itself:\n{}", tail(log));
        }
        Ok(())
    }

    /// Waits until `done` says so; a broker that ends by itself meanwhile is an error.
    ///
    /// # Errors
    /// When `done` fails, a broker ends, or the time is over: with the ends of all logs.
    pub fn wait(
        &mut self,
        what: &str,
        deadline: Duration,
        mut done: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let waited = wait_until(deadline, || {
            self.check_running()?;
            done()
        });
        waited.with_context(|| {
            let logs = (0..self.len()).map(|node| {
                format!("--- broker {node}, {}:\n{}", self.address(node), tail(self.log(node)))
            });
            format!("waiting for {what}\n{}\n---", logs.collect::<Vec<_>>().join("\n"))
        })
    }
}

/// The time of day, UTC, to the millisecond.
#[must_use]
pub fn time_of_day() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let (seconds, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
