//! One run: brokers come up and form a cluster, clients write and read, trouble comes, all heals,
//! and everything must drain.

use super::chaos::{TROUBLES, Trouble, fair_weather};
use super::clients::{self, Client, PARTITIONS, Shared, TOPIC};
use super::history;
use super::machine::{Machine, Surroundings, kafka_at};
use super::oracle::{self, Oracle};
use super::trace::Trace;
use super::wire::Wire;
use crate::dice::Dice;
use jocko_discovery::MemoryNetwork;
use jocko_net::ports::MemoryNet;
use jocko_protocol::rpc::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// How many brokers found the cluster.
pub(super) const BROKERS: u32 = 3;
/// How many clients write.
const PRODUCERS: usize = 4;
/// How many write and wait for the leader alone.
const CARELESS: usize = 2;
/// How many members a group has, where there is one.
const MEMBERS: usize = 3;
/// In how many runs there is a group with members.
const GROUP_PER_MILLE: u64 = 400;
/// In how many runs replicas are moved.
const MOVES_PER_MILLE: u64 = 400;
/// In how many runs a topic comes and goes.
const FLEETING_PER_MILLE: u64 = 400;
/// In how many runs nothing is synced, and never more is lost at once than what others still have.
const RELAXED_PER_MILLE: u64 = 150;
/// In how many nothing is synced, with those in which all machines may lose their page caches at once.
const WITHOUT_FSYNC_PER_MILLE: u64 = 300;
/// How often brokers are looked at from inside.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long brokers may take to form a cluster.
const FORM_MAX: Duration = Duration::from_secs(60);
/// How long a healed cluster may take to be whole again.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// The version of CreateTopics that is used.
const CREATE_TOPICS: i16 = 7;

/// What a seed came to.
#[derive(Debug)]
pub struct Report {
    /// A hash of everything that was sent, with its time: the same for the same seed.
    pub trace: u64,
    /// How many writes to the network that hash covers.
    pub messages: u64,
    /// The promise that was broken.
    pub violation: Option<String>,
    /// What happened, in words, if asked for.
    pub story: Vec<String>,
    /// What happened how often.
    pub coverage: Coverage,
    /// How much time passed in the run.
    pub lasted: Duration,
    /// How much of it passed until the cluster was whole again after all trouble had ended.
    pub recovery: Duration,
}

/// What happened in runs, and how often: a run in which little happens proves little.
#[derive(Debug, Default, Clone)]
pub struct Coverage {
    pub(super) troubles: BTreeMap<Trouble, u64>,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Records that a leader alone acknowledged.
    pub careless: u64,
    /// Offsets that groups committed.
    pub commits: u64,
    /// Heartbeats of members of groups that were answered.
    pub beats: u64,
    /// Moves of replicas that the controller took on.
    pub moves: u64,
    /// Topics that were deleted.
    pub deletes: u64,
    /// Times at which everything may have been lost.
    pub losses: u64,
    /// Reads that named an epoch that was over, and were refused.
    pub fenced: u64,
    /// Records that consumers were handed.
    pub read: u64,
    /// Changes of a partition's leader.
    pub elections: u64,
    /// Processes that ended by themselves.
    pub deaths: u64,
}

impl Coverage {
    /// Adds what happened in another run.
    pub fn add(&mut self, other: &Self) {
        for (trouble, count) in &other.troubles {
            *self.troubles.entry(*trouble).or_default() += count;
        }
        self.acknowledged += other.acknowledged;
        self.careless += other.careless;
        self.commits += other.commits;
        self.beats += other.beats;
        self.moves += other.moves;
        self.deletes += other.deletes;
        self.losses += other.losses;
        self.fenced += other.fenced;
        self.read += other.read;
        self.elections += other.elections;
        self.deaths += other.deaths;
    }

    /// Each thing, and how often it happened.
    #[must_use]
    pub fn counters(&self) -> Vec<(String, u64)> {
        let mut counters: Vec<_> = TROUBLES
            .iter()
            .map(|it| (format!("{it:?}"), self.troubles.get(it).copied().unwrap_or(0)))
            .collect();
        counters.extend([
            ("acknowledged".to_owned(), self.acknowledged),
            ("careless".to_owned(), self.careless),
            ("commits".to_owned(), self.commits),
            ("beats".to_owned(), self.beats),
            ("moves".to_owned(), self.moves),
            ("deletes".to_owned(), self.deletes),
            ("losses".to_owned(), self.losses),
            ("fenced".to_owned(), self.fenced),
            ("read".to_owned(), self.read),
            ("elections".to_owned(), self.elections),
            ("deaths".to_owned(), self.deaths),
        ]);
        counters
    }
}

/// How a run is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// Tell the story.
    pub story: bool,
    /// Let no trouble come.
    pub peace: bool,
}

/// Plays one seed.
#[must_use]
pub fn run(seed: u64, wish: Wish) -> Report {
    in_virtual_time(seed, async {
        let mut world = World::new(seed, wish);
        let violation = world.play().await.err();
        world.end(violation).await
    })
}

/// Runs something on one thread in virtual time, all of its chance from a seed.
pub(super) fn in_virtual_time<T>(seed: u64, what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime without sockets");
    fastrand::seed(seed);
    jocko_consensus::seed_randomness(Some(seed));
    let outcome = runtime.block_on(what);
    jocko_consensus::seed_randomness(None);
    outcome
}

/// What brokers do before they acknowledge, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// They sync: nothing acknowledged is ever lost.
    Fsync,
    /// They do not; one page cache at a time is lost, and only while others have all there is. So
    /// nothing is lost either.
    Relaxed,
    /// They do not, and all page caches may be lost at once: what was acknowledged before may go.
    Lossy,
}

/// The state of a run.
pub(super) struct World {
    pub(super) dice: Dice,
    wish: Wish,
    pub(super) durability: Durability,
    pub(super) surroundings: Surroundings,
    pub(super) machines: Vec<Machine>,
    /// When each machine's next process starts.
    pub(super) restarts: Vec<Option<Instant>>,
    /// When each machine's process is ended, if it has not ended by itself.
    pub(super) patience: Vec<Option<Instant>>,
    /// Whose disk a fault is planted in.
    pub(super) is_damaged: Vec<bool>,
    /// Until when each machine's disk is full.
    pub(super) full_until: Vec<Option<Instant>>,
    /// Cuts: until when, from whom, to whom (from and to all, if nobody).
    pub(super) cuts: Vec<(Instant, IpAddr, Option<IpAddr>)>,
    pub(super) storm_ends: Option<Instant>,
    /// When which machine's disk is replaced.
    pub(super) wipe_due: Option<(Instant, usize)>,
    pub(super) oracle: Oracle,
    pub(super) shared: Rc<Shared>,
    pub(super) clients: Vec<JoinHandle<()>>,
    clients_made: u8,
    trace: Trace,
    began: Instant,
    recovery: Duration,
    story: Vec<String>,
    pub(super) coverage: Coverage,
}

impl World {
    pub(super) fn new(seed: u64, wish: Wish) -> Self {
        let mut dice = Dice::new(seed);
        let [net, gathering, ..] = dice.seed();
        let durability = match dice.below(1_000) {
            0..RELAXED_PER_MILLE => Durability::Relaxed,
            RELAXED_PER_MILLE..WITHOUT_FSYNC_PER_MILLE => Durability::Lossy,
            _ => Durability::Fsync,
        };
        let surroundings = Surroundings {
            net: MemoryNet::seeded(net),
            gathering: MemoryNetwork::new(gathering),
            expect: BROKERS,
            durability: if durability == Durability::Fsync { "fsync" } else { "relaxed" },
        };
        surroundings.net.set_quality(fair_weather());
        let trace = Trace::of(&surroundings.net);
        let machines: Vec<Machine> = (1..=BROKERS)
            .map(|number| Machine::new(number, surroundings.clone(), dice.seed()[0]))
            .collect();
        let now = Instant::now();
        let restarts = machines.iter().map(|_| {
            let millis = dice.between(0, 1_500);
            Some(now + Duration::from_millis(millis))
        });
        Self {
            restarts: restarts.collect(),
            patience: vec![None; machines.len()],
            is_damaged: vec![false; machines.len()],
            full_until: vec![None; machines.len()],
            dice,
            wish,
            durability,
            surroundings,
            machines,
            cuts: Vec::new(),
            storm_ends: None,
            wipe_due: None,
            oracle: Oracle::default(),
            shared: Shared::new(BROKERS),
            clients: Vec::new(),
            clients_made: 0,
            trace,
            began: now,
            recovery: Duration::ZERO,
            story: Vec::new(),
            coverage: Coverage::default(),
        }
    }

    /// Notes what happens.
    pub(super) fn tell(&mut self, what: String) {
        self.trace.note(what.as_bytes());
        if self.wish.story {
            let at = self.began.elapsed().as_secs_f64();
            self.story.push(format!("{at:8.3} {what}"));
        }
    }

    async fn play(&mut self) -> Result<(), String> {
        self.begin().await?;
        self.begin_clients();
        if !self.wish.peace {
            self.trouble().await?;
        } else {
            self.pass(Duration::from_secs(3)).await?;
        }
        self.heal().await;
        let healed = Instant::now();
        // Everybody who waits for something gets it now.
        self.until_whole_but_ends(DRAIN_MAX).await?;
        self.recovery = healed.elapsed();
        self.tell("whole again".to_owned());
        self.pass(Duration::from_secs(1)).await?;
        self.shared.is_over.set(true);
        for client in std::mem::take(&mut self.clients) {
            self.wait_for(client).await?;
        }
        self.until_whole(DRAIN_MAX, "it did not drain").await?;
        let ends = oracle::compare_logs(&self.machines)?;
        oracle::look_for_remains(&self.machines, &self.shared.gone.borrow())?;
        for (partition, end) in (0..PARTITIONS).zip(ends) {
            let reader = self.client();
            let reading = tokio::task::spawn_local(clients::read_finally(reader, partition, end));
            self.wait_for(reading).await?;
        }
        self.judge()
    }

    /// Waits until there is a cluster, and makes the topic.
    pub(super) async fn begin(&mut self) -> Result<(), String> {
        self.until_whole(FORM_MAX, "no cluster was formed").await?;
        self.create_topic().await
    }

    /// Trouble of some kinds, for a while.
    async fn trouble(&mut self) -> Result<(), String> {
        let keep = self.dice.between(150, 900);
        let mut kinds = Vec::new();
        for trouble in TROUBLES {
            if self.dice.per_mille(keep) {
                kinds.push(trouble);
            }
        }
        self.tell(format!("{:?}: {kinds:?}", self.durability));
        let rate = self.dice.between(300, 3_000);
        let over = Instant::now() + Duration::from_millis(self.dice.between(4_000, 12_000));
        while Instant::now() < over {
            let pause = Duration::from_millis(self.dice.between(20, rate));
            self.pass(pause).await?;
            if let Some(trouble) = self.dice.pick(&kinds) {
                self.befall(trouble).await;
            }
        }
        Ok(())
    }

    /// Lets time pass, and looks at everything meanwhile.
    pub(super) async fn pass(&mut self, time: Duration) -> Result<(), String> {
        let until = Instant::now() + time;
        loop {
            self.step().await?;
            let left = until.duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(LOOK_EVERY)).await;
        }
    }

    async fn step(&mut self) -> Result<(), String> {
        self.go_on().await;
        for machine in &self.machines {
            self.trace.note(&machine.disk.operations().to_be_bytes());
        }
        self.oracle.look(&self.machines, &mut self.shared.known.borrow_mut())?;
        match self.shared.wrong.borrow().clone() {
            Some(wrong) => Err(wrong),
            None => Ok(()),
        }
    }

    pub(super) async fn until_whole(&mut self, time: Duration, or: &str) -> Result<(), String> {
        self.until(time, or, oracle::missing).await
    }

    async fn until_whole_but_ends(&mut self, time: Duration) -> Result<(), String> {
        self.until(time, "it did not recover", oracle::missing_apart_from_ends).await
    }

    async fn until(
        &mut self,
        time: Duration,
        or: &str,
        missing: fn(&[Machine]) -> Result<(), String>,
    ) -> Result<(), String> {
        let (until, mut told) = (Instant::now() + time, String::new());
        loop {
            self.pass(LOOK_EVERY).await?;
            match missing(&self.machines) {
                Ok(()) => return Ok(()),
                Err(what) if Instant::now() > until => return Err(format!("{or}: {what}")),
                Err(what) if what != told => {
                    self.tell(format!("not whole: {what}"));
                    told = what;
                }
                Err(_) => {}
            }
        }
    }

    async fn wait_for(&mut self, client: JoinHandle<()>) -> Result<(), String> {
        let until = Instant::now() + DRAIN_MAX;
        while !client.is_finished() {
            if Instant::now() > until {
                return Err("a client hangs".to_owned());
            }
            self.pass(LOOK_EVERY).await?;
        }
        client.await.map_err(|error| format!("a client failed: {error}"))
    }

    pub(super) fn client(&mut self) -> Client {
        self.clients_made += 1;
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 1, self.clients_made));
        let wire = Wire::new(self.surroundings.net.node(address));
        Client::new(wire, self.dice.seed()[0], &self.shared)
    }

    fn begin_clients(&mut self) {
        for _ in 0..PRODUCERS {
            let client = self.client();
            self.clients.push(tokio::task::spawn_local(clients::produce(client)));
        }
        for _ in 0..CARELESS {
            let client = self.client();
            self.clients.push(tokio::task::spawn_local(clients::produce_carelessly(client)));
        }
        let is_lossy = self.durability == Durability::Lossy;
        if !is_lossy {
            let client = self.client();
            self.clients.push(tokio::task::spawn_local(clients::commit(client)));
        }
        if self.dice.per_mille(MOVES_PER_MILLE) {
            let client = self.client();
            self.clients.push(tokio::task::spawn_local(clients::move_replicas(client)));
        }
        if self.dice.per_mille(FLEETING_PER_MILLE) && !is_lossy {
            let client = self.client();
            self.clients.push(tokio::task::spawn_local(clients::come_and_go(client)));
        }
        if self.dice.per_mille(GROUP_PER_MILLE) && !is_lossy {
            for _ in 0..MEMBERS {
                let client = self.client();
                self.clients.push(tokio::task::spawn_local(clients::take_part(client)));
            }
        }
        for partition in 0..PARTITIONS {
            let client = self.client();
            self.clients.push(tokio::task::spawn_local(clients::consume(client, partition)));
        }
    }

    async fn create_topic(&mut self) -> Result<(), String> {
        let config = |name: &str, value: &str| CreatableTopicConfig {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: TOPIC.to_owned(),
                num_partitions: i32::try_from(PARTITIONS).expect("a handful"),
                replication_factor: i16::try_from(BROKERS).expect("a handful"),
                configs: vec![config("min.insync.replicas", "2")],
                ..Default::default()
            }],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 255));
        let mut wire = Wire::new(self.surroundings.net.node(address));
        let asked = wire.ask(kafka_at(1), CREATE_TOPICS, &request, |response| {
            response.topics.first().map(|topic| topic.error_code)
        });
        match timeout(Duration::from_secs(15), asked).await {
            Ok(Ok(Some(0))) => Ok(()),
            other => Err(format!("the topic was not created: {other:?}")),
        }
    }

    fn judge(&self) -> Result<(), String> {
        history::judge(&self.shared.events.borrow(), &self.shared.losses.borrow())
    }

    pub(super) async fn end(mut self, violation: Option<String>) -> Report {
        for client in std::mem::take(&mut self.clients) {
            client.abort();
        }
        for machine in &mut self.machines {
            machine.kill().await;
        }
        let met = self.shared.met.take();
        for (what, count) in met {
            self.tell(format!("{count:6} {what}"));
        }
        let (trace, messages) = self.trace.sum();
        self.coverage.acknowledged = self.shared.acknowledged.get();
        self.coverage.careless = self.shared.careless.get();
        self.coverage.commits = self.shared.commits.get();
        self.coverage.beats = self.shared.beats.get();
        self.coverage.moves = self.shared.moves.get();
        self.coverage.deletes = self.shared.gone.borrow().len() as u64;
        self.coverage.losses = self.shared.losses.borrow().len() as u64;
        self.coverage.fenced = self.shared.fenced.get();
        self.coverage.read = self.shared.read.get();
        self.coverage.elections = self.oracle.elections;
        Report {
            trace,
            messages,
            violation,
            story: self.story,
            coverage: self.coverage,
            lasted: self.began.elapsed(),
            recovery: self.recovery,
        }
    }
}
