//! What all threads of a round share: the topic, the history, when who was last acknowledged.

use anyhow::{Context, Result};
use jocko_client::{Client, ClientError};
use jocko_testkit::{Event, time_of_day};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long one attempt may take: what hangs is tried elsewhere after it.
pub(crate) const ATTEMPT_MAX: Duration = Duration::from_millis(1_000);
/// Waits for an acknowledgement that are written down.
const WAIT_NOTED: Duration = Duration::from_millis(300);
/// Batches that are kept to come again.
const KEPT_MAX: usize = 2_000;
/// So many of them are new enough to be known by their sequence.
const KEPT_NEWEST: usize = 6;
/// One batch in so many is kept.
const KEPT_ONE_IN: u64 = 7;
/// Complaints that are kept.
const COMPLAINTS_MAX: usize = 50;

/// When a partition was written to.
#[derive(Debug, Clone, Copy)]
struct Clock {
    last: Instant,
    acknowledgements: u64,
    /// The longest time between two acknowledgements, since [`Shared::mark`].
    worst_since_mark: Duration,
    worst: Duration,
}

/// A batch that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) partition: u32,
    /// As it was sent.
    pub(crate) batch: Vec<u8>,
    pub(crate) offset: i64,
}

/// Everything the threads of one round share.
pub(crate) struct Shared {
    pub(crate) bootstrap: Vec<String>,
    pub(crate) topic: String,
    pub(crate) partitions: u32,
    pub(crate) replicas: usize,
    pub(crate) acks: i16,
    history_path: PathBuf,
    history: Mutex<BufWriter<File>>,
    clocks: Vec<Mutex<Clock>>,
    /// Some of the batches that were acknowledged, the newest last.
    kept: Mutex<VecDeque<Sent>>,
    kept_of: AtomicU64,
    /// Long waits, and when they ended.
    waits: Mutex<Vec<String>>,
    /// Records that were acknowledged so far.
    pub(crate) acknowledged: AtomicU64,
    /// By client of others and partition: when it was last acknowledged, and its longest wait.
    others: Mutex<BTreeMap<(String, u32), (Instant, Duration)>>,
    /// Errors that producers and consumers got over.
    troubles: Mutex<BTreeMap<String, u64>>,
    /// What is wrong whatever the history says.
    complaints: Mutex<Vec<String>>,
    producers_stop: AtomicBool,
    readers_stop: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        bootstrap: Vec<String>,
        (topic, partitions, replicas): (&str, u32, usize),
        acks: i16,
        history: &Path,
    ) -> Result<Self> {
        let clock = Clock {
            last: Instant::now(),
            acknowledgements: 0,
            worst_since_mark: Duration::ZERO,
            worst: Duration::ZERO,
        };
        let file = File::create(history).context("the history")?;
        Ok(Self {
            bootstrap,
            topic: topic.to_owned(),
            partitions,
            replicas,
            acks,
            history_path: history.to_owned(),
            history: Mutex::new(BufWriter::new(file)),
            clocks: (0..partitions).map(|_| Mutex::new(clock)).collect(),
            kept: Mutex::default(),
            kept_of: AtomicU64::new(0),
            waits: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            others: Mutex::default(),
            troubles: Mutex::default(),
            complaints: Mutex::default(),
            producers_stop: AtomicBool::new(false),
            readers_stop: AtomicBool::new(false),
        })
    }

    /// Writes an event into the history.
    pub(crate) fn record(&self, event: &Event) {
        let written = writeln!(lock(&self.history), "{}", event.to_line());
        if let Err(error) = written {
            self.complain(format!("the history cannot be written: {error}"));
        }
    }

    /// The history so far, all of it written.
    pub(crate) fn history(&self) -> Result<&Path> {
        lock(&self.history).flush()?;
        Ok(&self.history_path)
    }

    /// A batch was acknowledged.
    pub(crate) fn acknowledged(&self, partition: u32, records: u32) {
        self.acknowledged.fetch_add(u64::from(records), Ordering::Relaxed);
        let now = Instant::now();
        let mut clock = lock(&self.clocks[partition as usize]);
        let gap = now - clock.last;
        clock.last = now;
        clock.acknowledgements += 1;
        clock.worst_since_mark = clock.worst_since_mark.max(gap);
        clock.worst = clock.worst.max(gap);
        drop(clock);
        if gap >= WAIT_NOTED {
            let words =
                format!("{} partition {partition} waited {} ms", time_of_day(), gap.as_millis());
            lock(&self.waits).push(words);
        }
    }

    /// Keeps some of the batches that were acknowledged.
    pub(crate) fn keep(&self, partition: u32, batch: &[u8], offset: i64) {
        if !self.kept_of.fetch_add(1, Ordering::Relaxed).is_multiple_of(KEPT_ONE_IN) {
            return;
        }
        let mut kept = lock(&self.kept);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Sent { partition, batch: batch.to_owned(), offset });
    }

    /// Any of those; half of the time one of the newest, which leaders still know by its sequence.
    pub(crate) fn sent_before(&self, random: &mut fastrand::Rng) -> Option<Sent> {
        let kept = lock(&self.kept);
        let oldest = if random.bool() { kept.len().saturating_sub(KEPT_NEWEST) } else { 0 };
        if kept.is_empty() { None } else { kept.get(random.usize(oldest..kept.len())).cloned() }
    }

    /// The long waits since the last time, in order.
    pub(crate) fn take_waits(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.waits))
    }

    /// Records of a client of others were acknowledged.
    pub(crate) fn other_acknowledged(&self, client: &str, partition: u32, records: u32) {
        self.acknowledged.fetch_add(u64::from(records), Ordering::Relaxed);
        let now = Instant::now();
        let mut others = lock(&self.others);
        let (last, worst) =
            others.entry((client.to_owned(), partition)).or_insert((now, Duration::ZERO));
        *worst = (*worst).max(now - *last);
        *last = now;
    }

    /// The longest time between two acknowledgements in a partition, of each client of others.
    pub(crate) fn stalls_of_others(&self) -> BTreeMap<String, Duration> {
        let mut stalls = BTreeMap::new();
        for ((client, _), (_, worst)) in &*lock(&self.others) {
            let stall: &mut Duration = stalls.entry(client.clone()).or_default();
            *stall = (*stall).max(*worst);
        }
        stalls
    }

    /// From now on stalls are measured anew.
    pub(crate) fn mark(&self) {
        for clock in &self.clocks {
            lock(clock).worst_since_mark = Duration::ZERO;
        }
    }

    /// The longest time since [`Shared::mark`] in which nothing was acknowledged in a partition,
    /// the time from the last acknowledgement till now included.
    pub(crate) fn stall(&self, partition: u32) -> Duration {
        let clock = *lock(&self.clocks[partition as usize]);
        clock.worst_since_mark.max(clock.last.elapsed())
    }

    /// The longest stall of any partition.
    pub(crate) fn worst_stall(&self) -> Duration {
        self.clocks.iter().map(|clock| lock(clock).worst).max().unwrap_or_default()
    }

    /// How many batches were acknowledged in each partition.
    pub(crate) fn progress(&self) -> Vec<u64> {
        self.clocks.iter().map(|clock| lock(clock).acknowledgements).collect()
    }

    /// Counts an error that is gone when it is tried again.
    pub(crate) fn trouble(&self, what: String) {
        *lock(&self.troubles).entry(what).or_default() += 1;
    }

    pub(crate) fn troubles(&self) -> BTreeMap<String, u64> {
        lock(&self.troubles).clone()
    }

    /// Notes something that is wrong whatever else happens.
    pub(crate) fn complain(&self, what: String) {
        let mut complaints = lock(&self.complaints);
        if complaints.len() < COMPLAINTS_MAX && !complaints.contains(&what) {
            complaints.push(what);
        }
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        lock(&self.complaints).clone()
    }

    pub(crate) fn stop_producers(&self) {
        self.producers_stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn are_producers_stopped(&self) -> bool {
        self.producers_stop.load(Ordering::Relaxed)
    }

    pub(crate) fn stop_readers(&self) {
        self.readers_stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn are_readers_stopped(&self) -> bool {
        self.readers_stop.load(Ordering::Relaxed)
    }
}

/// A client that gives up early and goes to the next broker: brokers under test die, and hang.
pub(crate) struct Rover {
    pub(crate) runtime: Runtime,
    bootstrap: Vec<String>,
    client: Client,
}

impl Rover {
    /// A client that begins with the broker of this number.
    pub(crate) fn new(bootstrap: &[String], first: usize) -> Result<Self> {
        let mut bootstrap = bootstrap.to_vec();
        let count = bootstrap.len();
        bootstrap.rotate_left(first % count.max(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Client::new(bootstrap.clone(), ATTEMPT_MAX);
        Ok(Self { runtime, bootstrap, client })
    }

    /// Forgets all connections and begins with another broker.
    pub(crate) fn rove(&mut self) {
        let many = self.bootstrap.len() > 1;
        self.bootstrap.rotate_left(usize::from(many));
        self.client = Client::new(self.bootstrap.clone(), ATTEMPT_MAX);
    }

    /// Runs something with the client.
    pub(crate) fn with<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client) -> jocko_client::Result<T>,
    ) -> jocko_client::Result<T> {
        self.runtime.block_on(work(&mut self.client))
    }
}

/// An error in a word or two, to be counted.
pub(crate) fn error_kind(error: &ClientError) -> String {
    match error {
        ClientError::Refused { code, .. } => code.name().to_owned(),
        ClientError::Unreachable { .. } => "unreachable".to_owned(),
        ClientError::NobodyAnswers(_) => "nobody answers".to_owned(),
        ClientError::Broken { .. } => "broken".to_owned(),
        ClientError::TimedOut { .. } => "timed out".to_owned(),
        other => other.to_string(),
    }
}

/// A poisoned lock means that another thread has panicked: that ends the run when it is joined.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets others go on.
pub(crate) fn pause(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) =
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    {
        std::thread::park_timeout(left);
    }
}
