//! Brokers of one kind that are one cluster: one alone, or several, of jocko or of a real Kafka.
//! They keep their addresses and data over restarts.

use crate::process::{Broker, free_port};
use crate::raw::Client;
use crate::{jocko, kafka};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A JVM that recovers on a busy machine may take long; Kafka fences a dead broker after nine
/// seconds.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Which brokers, and how many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Jocko,
    Kafka,
}

/// How to start a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    /// One of them alone is started as everybody starts one.
    pub(crate) brokers: usize,
    /// A lone broker's own; of several each has a folder in it.
    pub(crate) data_dir: PathBuf,
    /// Of each jocko.
    pub(crate) arguments: Vec<String>,
    /// Of each Kafka.
    pub(crate) overrides: Vec<(String, String)>,
    /// Of each Kafka.
    pub(crate) heap_mib: u32,
}

/// How to start one of them, again and again.
#[derive(Debug)]
enum Plan {
    Jocko(jocko::Options),
    Kafka(kafka::Options),
}

/// A broker's place, whether it runs or not.
#[derive(Debug)]
struct Node {
    plan: Plan,
    address: String,
    running: Option<Broker>,
}

/// Brokers that have found each other. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Cluster {
    root: PathBuf,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts them all, and waits until each of them knows the others.
    ///
    /// # Errors
    /// When one ends or stays silent.
    pub(crate) fn start(root: &Path, options: &Options) -> Result<Self> {
        let plans = match options.kind {
            Kind::Jocko => jocko_plans(options)?,
            Kind::Kafka => kafka_plans(root, options)?,
        };
        let nodes = plans.into_iter().map(|(port, plan)| Node {
            plan,
            address: format!("127.0.0.1:{port}"),
            running: None,
        });
        let mut cluster = Self { root: root.to_owned(), nodes: nodes.collect() };
        // Whoever starts a process must outlive it, so this is done by one thread. None of them
        // serves before there are enough of them.
        for node in &mut cluster.nodes {
            node.spawn(root)?;
        }
        for node in &mut cluster.nodes {
            node.wait_ready()?;
        }
        cluster.wait_until_whole()?;
        Ok(cluster)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The addresses of all for clients, whether they run or not.
    pub(crate) fn bootstrap(&self) -> String {
        self.addresses().join(",")
    }

    /// The same, one by one, in the order of their numbers.
    pub(crate) fn addresses(&self) -> Vec<&str> {
        self.nodes.iter().map(|node| node.address.as_str()).collect()
    }

    /// Stops each cleanly and starts it again, one after the other: the next one's turn comes when
    /// all replicas are in sync again.
    ///
    /// # Errors
    /// When one does not end cleanly, or does not come back.
    pub(crate) fn restart(&mut self) -> Result<()> {
        for at in 0..self.len() {
            self.nodes[at].stop()?;
            self.bring_back(at)?;
        }
        Ok(())
    }

    /// Kills the one that leads most partitions as kill -9 does, waits until others lead them, and
    /// brings it back.
    ///
    /// # Errors
    /// When nobody takes over, or it does not come back.
    pub(crate) fn kill_a_leader(&mut self) -> Result<()> {
        let at = self.busiest()?;
        // Dropping it kills it.
        self.nodes[at].running = None;
        if self.len() > 1 {
            let survivor = self.nodes[(at + 1) % self.len()].address.clone();
            let dead = self.port(at)?;
            wait("others lead", || {
                let now = Client::open(&survivor)?.cluster()?;
                let led = |id: Option<i32>| id.is_some_and(|id| now.ports.get(&id) != Some(&dead));
                let all = now.topics.values().flatten();
                let waiting = all.filter(|one| !led(one.leader)).count();
                ensure!(waiting == 0, "{waiting} partitions have no live leader");
                Ok(())
            })?;
        }
        self.bring_back(at)
    }

    /// Stops a broker cleanly, by its number.
    ///
    /// # Errors
    /// When there is none, or it does not end in time.
    pub(crate) fn stop_one(&mut self, number: usize) -> Result<()> {
        self.node(number)?.stop()
    }

    /// Kills a broker as kill -9 does, by its number.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn kill_one(&mut self, number: usize) -> Result<()> {
        self.node(number)?.running = None;
        Ok(())
    }

    /// Starts a broker, by its number, and waits until it takes connections.
    ///
    /// # Errors
    /// When there is none, or it does not come up.
    pub(crate) fn start_one(&mut self, number: usize) -> Result<()> {
        let root = self.root.clone();
        let node = self.node(number)?;
        node.spawn(&root)?;
        node.wait_ready()
    }

    /// Waits until all others know that a stopped broker is not there.
    ///
    /// # Errors
    /// When they do not notice in time.
    pub(crate) fn wait_until_gone(&self, number: usize) -> Result<()> {
        let others = self.nodes.iter().enumerate().filter(|(at, _)| at + 1 != number);
        others.map(|(_, node)| node).try_for_each(|node| {
            wait("it is gone", || {
                let shown = Client::open(&node.address)?.cluster()?;
                let count = shown.ports.len();
                ensure!(count + 1 == self.len(), "{count} brokers");
                Ok(())
            })
        })
    }

    fn node(&mut self, number: usize) -> Result<&mut Node> {
        let node = number.checked_sub(1).and_then(|at| self.nodes.get_mut(at));
        node.with_context(|| format!("no broker has the number {number}"))
    }

    /// Stops all cleanly.
    ///
    /// # Errors
    /// When one does not end in time.
    pub(crate) fn stop(&mut self) -> Result<()> {
        // All are told at once: the last ones cannot hand anything over.
        for node in &self.nodes {
            node.tell_to_stop()?;
        }
        self.nodes.iter_mut().try_for_each(Node::stop)
    }

    fn bring_back(&mut self, at: usize) -> Result<()> {
        self.start_one(at + 1)?;
        self.wait_until_whole()
    }

    /// Waits until every broker knows all others, and that each partition is led and all its
    /// replicas are in sync.
    fn wait_until_whole(&self) -> Result<()> {
        let count = self.len();
        if count == 1 {
            return Ok(());
        }
        for node in &self.nodes {
            wait("the cluster is whole", || {
                let shown = Client::open(&node.address)?.cluster()?;
                ensure!(shown.ports.len() == count, "{} of {count} brokers", shown.ports.len());
                for (topic, partitions) in &shown.topics {
                    let is_whole =
                        partitions.iter().all(|one| one.leader.is_some() && one.is_whole);
                    ensure!(is_whole, "{topic}: {partitions:?}");
                }
                Ok(())
            })
            .with_context(|| format!("as the broker at {} sees it", node.address))?;
        }
        Ok(())
    }

    fn port(&self, at: usize) -> Result<u16> {
        let (_, port) = self.nodes[at].address.rsplit_once(':').context("an address has a port")?;
        Ok(port.parse()?)
    }

    /// The place of the broker that leads most partitions.
    fn busiest(&self) -> Result<usize> {
        let shown = Client::open(&self.nodes[0].address)?.cluster()?;
        let leads = |at: usize| -> Result<usize> {
            let port = self.port(at)?;
            let is_led_there =
                |id: Option<i32>| id.and_then(|id| shown.ports.get(&id)) == Some(&port);
            Ok(shown.topics.values().flatten().filter(|one| is_led_there(one.leader)).count())
        };
        let counts = (0..self.len()).map(leads).collect::<Result<Vec<usize>>>()?;
        let most = counts.iter().enumerate().max_by_key(|(_, count)| **count);
        Ok(most.map_or(0, |(at, _)| at))
    }
}

impl Node {
    fn spawn(&mut self, root: &Path) -> Result<()> {
        self.running = Some(match &self.plan {
            Plan::Jocko(options) => jocko::spawn(root, options)?,
            Plan::Kafka(options) => kafka::spawn(root, options)?,
        });
        Ok(())
    }

    fn wait_ready(&mut self) -> Result<()> {
        self.running.as_mut().context("it was not started")?.wait_ready()
    }

    fn tell_to_stop(&self) -> Result<()> {
        self.running.as_ref().map_or(Ok(()), Broker::tell_to_stop)
    }

    fn stop(&mut self) -> Result<()> {
        match self.running.take() {
            Some(broker) => broker.stop().map(drop),
            None => Ok(()),
        }
    }
}

/// Ports for clients, and how to start a jocko on each.
fn jocko_plans(options: &Options) -> Result<Vec<(u16, Plan)>> {
    let Options { brokers, data_dir, arguments, .. } = options;
    let gossip: Vec<u16> = (0..*brokers).map(|_| free_port()).collect::<Result<_>>()?;
    let join: Vec<String> = gossip.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let join = join.join(",");
    let plan = |number: usize| {
        let port = free_port()?;
        let mut options = jocko::Options::new(data_dir);
        options.port = Some(port);
        options.arguments.clone_from(arguments);
        if *brokers > 1 {
            options.data_dir = data_dir.join(number.to_string());
            let more = [
                ("--node-id", number.to_string()),
                ("--cluster-expect", brokers.to_string()),
                ("--cluster-join", join.clone()),
                ("--listen-cluster", format!("127.0.0.1:{}", free_port()?)),
                ("--listen-gossip", format!("127.0.0.1:{}", gossip[number - 1])),
            ];
            let more = more.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
            options.arguments.extend(more);
        }
        Ok((port, Plan::Jocko(options)))
    };
    (1..=*brokers).map(plan).collect()
}

/// Ports for clients, and how to start a Kafka on each.
fn kafka_plans(root: &Path, options: &Options) -> Result<Vec<(u16, Plan)>> {
    if let Some(missing) = kafka::absent() {
        bail!("a real Kafka {missing}");
    }
    let Options { brokers, data_dir, overrides, heap_mib, .. } = options;
    let plan = |at: usize, member: Option<kafka::Member>| {
        let port = free_port()?;
        let mut options = kafka::Options::new(data_dir);
        options.port = Some(port);
        options.heap_mib = *heap_mib;
        if member.is_some() {
            options.data_dir = data_dir.join((at + 1).to_string());
            // What jocko does by itself where it is not alone.
            let copies = *brokers.min(&3);
            options.overrides = [
                ("default.replication.factor", copies),
                ("offsets.topic.replication.factor", copies),
                ("min.insync.replicas", if copies == 3 { 2 } else { 1 }),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_string()))
            .into();
        }
        options.overrides.extend_from_slice(overrides);
        options.member = member;
        Ok((port, Plan::Kafka(options)))
    };
    if *brokers == 1 {
        return Ok(vec![plan(0, None)?]);
    }
    let members = kafka::Member::of_cluster(root, *brokers)?;
    members.into_iter().enumerate().map(|(at, member)| plan(at, Some(member))).collect()
}

fn wait(what: &str, attempt: impl Fn() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("waited in vain until {what}")));
            }
            Err(_) => std::thread::park_timeout(LOOK_EVERY),
        }
    }
}
