//! Three brokers beside three of Kafka's: how soon they serve, what three copies of each record
//! cost, how long an acknowledgement takes at a pace both can hold, and how soon somebody else
//! leads when a leader is killed. One cluster works at a time.

use super::process::{cpu_time, resident_megabytes};
use super::raw::{Client, Shape};
use super::speed::{Told, generate};
use super::{Kind, Plan, median, millis, say, significant};
use crate::kafka::Member;
use crate::process::{Broker, free_port};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BROKERS: usize = 3;
const ROUNDS: usize = 3;
/// One wait for the disk of a machine that others use moves the p99 of a round: so there are more.
const PACED_ROUNDS: usize = 7;
const KILLS: usize = 3;
const RECORD_BYTES: f64 = 1_024.0;
/// Records a second that both can hold on two cores which they share with the client.
const PACE: u64 = 5_000;
const SHAPE: Shape = Shape { partitions: 6, copies: 3 };
const SETTINGS: [(&str, &str); 2] =
    [("min.insync.replicas", "2"), ("file.delete.delay.ms", "1000")];
/// A JVM that recovers may take long; Kafka fences a dead broker after nine seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long nothing is done to see what that costs.
const REST: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Three brokers of a kind.
struct Trio {
    name: String,
    plans: Vec<Plan>,
    /// None where one was killed.
    sides: Vec<Option<Broker>>,
    /// From the first process to a topic of three copies whose partitions are led.
    ready_in: Duration,
}

/// One of the three that are compared.
#[derive(Debug, Clone, Copy)]
struct Entrant {
    kind: Kind,
    /// Of jocko: when a record is acknowledged. Kafka leaves it to the page cache of each broker.
    durability: &'static str,
}

/// jocko as it comes, jocko as Kafka comes, Kafka as it comes.
const ENTRANTS: [Entrant; 3] = [
    Entrant { kind: Kind::Jocko, durability: "fsync" },
    Entrant { kind: Kind::Jocko, durability: "relaxed" },
    Entrant { kind: Kind::Kafka, durability: "" },
];

pub(super) fn run(root: &Path, folder: &Path, records: u64) -> Result<()> {
    // One after the other, so that neither's start costs the others time.
    let mut trios = Vec::new();
    for entrant in ENTRANTS {
        trios.push(Trio::start(entrant, root, folder)?);
    }
    let all = |figure: &dyn Fn(&Trio) -> f64| -> Vec<f64> { trios.iter().map(figure).collect() };
    say_all("start to the first topic that is led", "ms", &all(&|trio| millis(trio.ready_in)));
    let before: Vec<Duration> = trios.iter().map(Trio::cpu_time).collect::<Result<_>>()?;
    std::thread::park_timeout(REST);
    let spent = trios.iter().zip(before).map(|(trio, before)| Ok(trio.cpu_time()? - before));
    let spent: Vec<Duration> = spent.collect::<Result<_>>()?;
    let percent = |spent: &Duration| spent.as_secs_f64() / REST.as_secs_f64() * 100.0;
    say_all("CPU of all three at rest", "%", &spent.iter().map(percent).collect::<Vec<_>>());
    say_all("memory of all three at rest", "MB", &all(&Trio::resident_megabytes));
    let costs = in_turn(&trios, ROUNDS, |trio, round| trio.cost(root, round, records))?;
    let figure = |figure: fn(&Cost) -> f64| -> Vec<f64> {
        costs.iter().map(|all| median(all.iter().map(figure))).collect()
    };
    let paced = in_turn(&trios, PACED_ROUNDS, |trio, round| trio.p99_at_pace(root, round))?;
    let p99: Vec<f64> = paced.into_iter().map(median).collect();
    let memory: Vec<f64> = trios.iter().map(Trio::resident_megabytes).collect();
    let mut failovers = Vec::new();
    for trio in &mut trios {
        let times: Result<Vec<f64>> =
            (0..KILLS).map(|_| trio.kill_a_leader().map(millis)).collect();
        failovers.push(median(times?));
    }
    say_all("produce, records/s, as the tool tells", "", &figure(|cost| cost.records_per_second));
    say_all("produce, CPU of all three", "s/GB", &figure(|cost| cost.cpu_seconds_per_gigabyte));
    say_all(&format!("p99 at {PACE} records/s"), "ms", &p99);
    say_all("memory of all three after that", "MB", &memory);
    say_all("leader killed to another one shown", "ms", &failovers);
    Ok(())
}

/// What each of `trios` shows in each of `rounds`, after one more that warms it up. Each is the
/// first of a round in its turn.
fn in_turn<T>(
    trios: &[Trio],
    rounds: usize,
    play: impl Fn(&Trio, usize) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut shown: Vec<Vec<T>> = trios.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for turn in 0..trios.len() {
            let at = (round + turn) % trios.len();
            let one = play(&trios[at], round)?;
            if round > 0 {
                shown[at].push(one);
            }
        }
    }
    Ok(shown)
}

/// Prints a figure of each of [`ENTRANTS`], and jocko's as parts of Kafka's.
fn say_all(what: &str, unit: &str, figures: &[f64]) {
    if let [fsync, relaxed, kafka] = figures {
        say(&format!(
            "  {what:<38} jocko fsync {fsync:>9.1} ({})  relaxed {relaxed:>9.1} ({})  kafka {kafka:>9.1} {unit}",
            significant(fsync / kafka),
            significant(relaxed / kafka),
        ));
    }
}

/// What three copies cost in one round.
#[derive(Debug, Clone, Copy)]
struct Cost {
    records_per_second: f64,
    cpu_seconds_per_gigabyte: f64,
}

impl Trio {
    fn start(entrant: Entrant, root: &Path, folder: &Path) -> Result<Self> {
        let Entrant { kind, durability } = entrant;
        let name = format!("{} {durability}", kind.name()).trim_end().to_owned();
        let plans = plans(kind, root, &folder.join(name.replace(' ', "-")), durability)?;
        let started = Instant::now();
        // None of them serves before there are enough of them.
        let mut sides: Vec<Broker> = plans.iter().map(Plan::spawn).collect::<Result<_>>()?;
        sides.iter_mut().try_for_each(Broker::wait_ready)?;
        let sides = sides.into_iter().map(Some).collect();
        let mut trio = Self { name, plans, sides, ready_in: Duration::ZERO };
        trio.create("first")?;
        trio.ready_in = started.elapsed();
        Ok(trio)
    }

    fn live(&self) -> impl Iterator<Item = &Broker> {
        self.sides.iter().flatten()
    }

    fn addresses(&self) -> String {
        self.live().map(Broker::bootstrap).collect::<Vec<_>>().join(",")
    }

    fn client(&self) -> Result<Client> {
        let side = self.live().next().context("all are dead")?;
        Client::open(&side.bootstrap())
    }

    /// Creates a topic; brokers that have not all met refuse it at first.
    fn create(&self, topic: &str) -> Result<()> {
        let names = [topic.to_owned()];
        self.wait("the topic can be created", || {
            self.client()?.create_topics_of(&names, SHAPE, &SETTINGS)
        })?;
        self.wait_until_whole(topic)
    }

    fn wait_until_whole(&self, topic: &str) -> Result<()> {
        self.wait("every partition is led and in sync", || {
            let cluster = self.client()?.cluster()?;
            let partitions = cluster.topics.get(topic).context("no such topic")?;
            let is_whole = partitions.iter().all(|one| one.leader.is_some() && one.is_whole);
            ensure!(is_whole, "{partitions:?}");
            Ok(())
        })
    }

    fn wait(&self, what: &str, attempt: impl Fn() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match attempt() {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(
                        error.context(format!("{}: in vain waited until {what}", self.name))
                    );
                }
                Err(_) => std::thread::park_timeout(LOOK_EVERY),
            }
        }
    }

    fn cpu_time(&self) -> Result<Duration> {
        self.live().map(|side| cpu_time(side.pid())).sum()
    }

    fn resident_megabytes(&self) -> f64 {
        self.live().filter_map(|side| resident_megabytes(side.pid()).ok()).sum()
    }

    /// Has the tool send `records` to a topic of its own, so many (`pace`) a second or as fast as it
    /// can: what it told, and what the brokers spent on it.
    fn generate(
        &self,
        root: &Path,
        topic: &str,
        records: u64,
        pace: Option<u64>,
    ) -> Result<(Told, Duration)> {
        self.create(topic)?;
        clean_disk()?;
        let before = self.cpu_time()?;
        let told = generate(root, &self.name, &self.addresses(), topic, records, pace)?;
        let cpu = self.cpu_time()? - before;
        self.client()?.delete_topic(topic)?;
        Ok((told, cpu))
    }

    fn cost(&self, root: &Path, round: usize, records: u64) -> Result<Cost> {
        let (told, cpu) = self.generate(root, &format!("round-{round}"), records, None)?;
        Ok(Cost {
            records_per_second: told.records_per_second,
            cpu_seconds_per_gigabyte: cpu.as_secs_f64() / (records as f64 * RECORD_BYTES / 1e9),
        })
    }

    /// Milliseconds, at [`PACE`], of ten seconds.
    fn p99_at_pace(&self, root: &Path, round: usize) -> Result<f64> {
        let (told, _) = self.generate(root, &format!("paced-{round}"), PACE * 10, Some(PACE))?;
        Ok(told.p99_millis)
    }

    /// Kills whoever leads the first topic's first partition, as kill -9 does, and waits until a
    /// survivor shows another leader; then brings the dead one back. The time to that leader.
    fn kill_a_leader(&mut self) -> Result<Duration> {
        const TOPIC: &str = "first";
        self.wait_until_whole(TOPIC)?;
        let cluster = self.client()?.cluster()?;
        let leader = cluster.topics[TOPIC][0].leader.context("it is led")?;
        let port = cluster.ports.get(&leader).context("a leader without an address")?;
        let suffix = format!(":{port}");
        let is_it = |side: &Option<Broker>| {
            side.as_ref().is_some_and(|side| side.bootstrap().ends_with(&suffix))
        };
        let at = self.sides.iter().position(is_it).context("the leader is not one of ours")?;
        let started = Instant::now();
        // Dropping it kills it.
        self.sides[at] = None;
        self.wait("another one leads", || {
            let cluster = self.client()?.cluster()?;
            let now = cluster.topics.get(TOPIC).and_then(|all| all[0].leader);
            ensure!(now.is_some_and(|now| now != leader), "led by {now:?}");
            Ok(())
        })?;
        let took = started.elapsed();
        self.sides[at] = Some(self.plans[at].start()?);
        Ok(took)
    }
}

/// Has the machine write down what lies in its page cache. Who waits for the disk would otherwise
/// wait for what those left who do not: all share one file system here, and one `syncfs` writes
/// all that is dirty in it.
fn clean_disk() -> Result<()> {
    let status = Command::new("sync").status().context("sync")?;
    ensure!(status.success(), "sync ended with {status}");
    Ok(())
}

/// How to start each of three.
fn plans(kind: Kind, root: &Path, folder: &Path, durability: &str) -> Result<Vec<Plan>> {
    let mut plans: Vec<Plan> =
        (1..=BROKERS).map(|at| Plan::new(kind, root, &folder.join(at.to_string()))).collect();
    let kafka_ports: Vec<u16> = (0..BROKERS).map(|_| free_port()).collect::<Result<_>>()?;
    match kind {
        Kind::Kafka => {
            for (plan, member) in plans.iter_mut().zip(Member::of_cluster(root, BROKERS)?) {
                plan.member = Some(member);
                plan.overrides = [("offsets.topic.replication.factor", "3")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into();
            }
        }
        Kind::Jocko => {
            let ports: Vec<(u16, u16)> =
                (0..BROKERS).map(|_| Ok((free_port()?, free_port()?))).collect::<Result<_>>()?;
            let join: Vec<String> =
                ports.iter().map(|(_, gossip)| format!("127.0.0.1:{gossip}")).collect();
            for (plan, (cluster, gossip)) in plans.iter_mut().zip(&ports) {
                plan.arguments = [
                    ("--storage-durability", durability.to_owned()),
                    ("--cluster-expect", BROKERS.to_string()),
                    ("--cluster-join", join.join(",")),
                    ("--listen-cluster", format!("127.0.0.1:{cluster}")),
                    ("--listen-gossip", format!("127.0.0.1:{gossip}")),
                ]
                .into_iter()
                .flat_map(|(flag, value)| [flag.to_owned(), value])
                .collect();
            }
        }
    }
    for (plan, port) in plans.iter_mut().zip(kafka_ports) {
        plan.port = Some(port);
    }
    Ok(plans)
}
