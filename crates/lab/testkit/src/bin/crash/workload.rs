//! What all threads of a run share: the topics, their histories, when to stop.

use anyhow::{Context, Result};
use jocko_client::{Client, NewTopic};
use jocko_testkit::{History, TopicHistory, wait_until};
use jocko_types::TopicId;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a call may take: a broker under test is killed under most of them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Small segments, so that a run rolls many.
const SEGMENT_BYTES: &str = "1048576";
/// Partitions of each topic, and what it makes of compression.
const TOPICS: [(&str, u16, &str); 4] =
    [("one", 1, "producer"), ("two", 2, "lz4"), ("three", 3, "producer"), ("eight", 8, "producer")];

/// One topic and what became of its partitions.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
    /// By partition; the second is how the run numbers them over all topics.
    pub(crate) partitions: Vec<(Mutex<History>, u16)>,
}

/// Everything the threads of one round share.
pub(crate) struct Shared {
    pub(crate) address: SocketAddr,
    pub(crate) topics: Vec<Topic>,
    pub(crate) metadata: Mutex<TopicHistory>,
    /// Batches that were acknowledged so far.
    pub(crate) acknowledged: AtomicU64,
    /// Producer ids that were given out: none may come twice.
    producer_ids: Mutex<BTreeSet<i64>>,
    /// Refusals that no broker should give.
    refusals: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Shared {
    /// Creates the topics of a round.
    pub(crate) fn prepare(address: SocketAddr, round: u32) -> Result<Self> {
        let mut topics = Vec::new();
        let mut numbered = 0;
        for (name, partitions, compression) in TOPICS {
            let name = format!("{name}-{round}");
            let id = create(address, &name, partitions, compression)?;
            let histories = (numbered..numbered + partitions)
                .map(|number| (Mutex::new(History::new(number)), number));
            topics.push(Topic { name, id, partitions: histories.collect() });
            numbered += partitions;
        }
        Ok(Self {
            address,
            topics,
            metadata: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            producer_ids: Mutex::default(),
            refusals: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Notes something that is wrong whatever else happens.
    pub(crate) fn refuse(&self, what: String) {
        lock(&self.refusals).push(what);
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        lock(&self.refusals).clone()
    }

    /// Notes a producer id that was given out.
    pub(crate) fn note_producer_id(&self, id: i64) {
        if !lock(&self.producer_ids).insert(id) {
            self.refuse(format!("producer id {id} was given out twice"));
        }
    }
}

/// A client of the broker under test.
pub(crate) fn client(address: SocketAddr) -> Client {
    Client::new(vec![address.to_string()], PATIENCE)
}

pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A poisoned lock means that another thread has panicked: that ends the run when it is joined.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets other threads and the broker go on.
pub(crate) fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

fn create(address: SocketAddr, name: &str, partitions: u16, compression: &str) -> Result<TopicId> {
    let configs = [("segment.bytes", SEGMENT_BYTES), ("compression.type", compression)];
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(i32::from(partitions)),
        replication: Some(1),
        configs: configs.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Default::default()
    };
    let runtime = runtime()?;
    let mut client = client(address);
    let mut outcome = None;
    let created = wait_until(PATIENCE, || {
        outcome = Some(runtime.block_on(client.create_topic(&topic)));
        Ok(matches!(outcome, Some(Ok(_))))
    });
    let last = outcome.context("at least one attempt")?;
    created.with_context(|| format!("creating {name}: {last:?}"))?;
    Ok(last?.id)
}
