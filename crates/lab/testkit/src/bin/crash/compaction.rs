//! A compacted topic under constant writes and kills: of every key the last acknowledged value, or
//! a later one that had no answer, is there; a deleted key does not come back; the topic stays
//! small. Then the price: how long acknowledgements take with the cleaner at work and without.

use crate::arguments::Arguments;
use crate::metrics::metric;
use crate::say;
use crate::workload::{PATIENCE, client, lock, pause, runtime};
use anyhow::{Context, Result, ensure};
use jocko_client::{Client, NewTopic, Position};
use jocko_records::{BatchBuilder, Codec, Encoding, Records};
use jocko_testkit::{
    BrokerProcess, Connection, Options, PartitionBatch, produce_answers, produce_request,
    wait_until,
};
use jocko_types::{ErrorCode, Timestamp, TopicId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TOPIC: &str = "compacted";
const PARTITIONS: usize = 2;
const PRODUCERS: usize = 4;
const KEYS_PER_PRODUCER: u64 = 500;
const VALUE_BYTES: usize = 400;
/// What the live records, both active segments and a copy under way come to, and as much again.
const TOPIC_BYTES_MAX: u64 = 48 << 20;
const SEGMENT_BYTES: &str = "1048576";
/// How long a broker lives between two kills, at most.
const LIFE_MAX_MS: u64 = 2_500;
/// How often the topic's size is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Acknowledgement times are taken with the cleaner at work and without, in turn, so often.
const MEASURES: usize = 2;
/// How long each of these takes unless told otherwise.
const MEASURE: Duration = Duration::from_secs(15);
const VERSION: i16 = 9;

/// A write of a key: its number, and whether it deletes.
type Write = (u64, bool);

/// What became of one key: the last write that was acknowledged, and those after it without an
/// answer.
#[derive(Debug, Clone, Default)]
struct Fate {
    acknowledged: Option<Write>,
    open: Vec<Write>,
}

/// What all threads share.
struct Shared {
    address: SocketAddr,
    topic_id: TopicId,
    fates: Vec<Mutex<BTreeMap<u64, Fate>>>,
    acknowledged: AtomicU64,
    written_bytes: AtomicU64,
    latencies: Mutex<Vec<Duration>>,
    /// Wrong whatever else happens.
    faults: Mutex<Vec<String>>,
    stop: AtomicBool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let options = Options::new(&arguments.binary, folder.path().join("data"))?
        .with(format!("--storage-durability={}", arguments.durability))
        .with("--storage-compaction-check=200ms");
    say(&format!("compaction: seed {}", arguments.seed));
    let survived = survive(options, arguments)?;
    let price = price(arguments)?;
    Ok(format!("{survived}; {price}"))
}

/// What the cleaner's work does to acknowledgement times: told, not judged, for the same code gives
/// ratios from 0.7 to 2.6 on machines that others use as well.
fn price(arguments: &Arguments) -> Result<String> {
    let (mut with, mut without) = (Latencies::default(), Latencies::default());
    for _ in 0..MEASURES {
        without.add(measure(arguments, "1h").context("without the cleaner")?);
        with.add(measure(arguments, "200ms").context("with the cleaner at work")?);
    }
    ensure!(without.passes == 0.0, "the cleaner was at work all the time");
    ensure!(with.passes > 0.0, "the cleaner was never at work");
    let times = with.at(990) / without.at(990);
    Ok(format!(
        "acknowledged within: {with} with the cleaner, {without} without; the p99 is {times:.1} times as long"
    ))
}

/// Times from sending a batch to its acknowledgement.
#[derive(Default)]
struct Latencies {
    sorted: Vec<Duration>,
    passes: f64,
}

impl Latencies {
    fn add(&mut self, other: Self) {
        self.sorted.extend(other.sorted);
        self.sorted.sort_unstable();
        self.passes += other.passes;
    }

    /// Milliseconds within which so many of a thousand were.
    fn at(&self, permille: usize) -> f64 {
        let index = self.sorted.len() * permille / 1_000;
        let time = self.sorted.get(index).or(self.sorted.last());
        time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (half, most) = (self.at(500), self.at(990));
        let (passes, batches) = (self.passes, self.sorted.len());
        write!(f, "p50 {half:.1} ms p99 {most:.1} ms ({passes} passes, {batches} batches)")
    }
}

fn survive(options: Options, arguments: &Arguments) -> Result<String> {
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let broker = BrokerProcess::start(options)?;
    let topic_id = create(broker.address())?;
    let shared = Shared::new(broker.address(), topic_id);
    let mut seen = Seen::default();
    let lived = std::thread::scope(|scope| {
        for number in 0..PRODUCERS {
            let (shared, seed) = (&shared, random.u64(..));
            scope.spawn(move || Producer::new(number, shared, seed).run());
        }
        let lived = kill_often(broker, &shared, arguments, &mut random, &mut seen);
        // Whatever happened, the producers must end.
        shared.stop.store(true, Ordering::Relaxed);
        lived
    });
    let broker = lived?;
    for fault in lock(&shared.faults).iter().take(10) {
        say(&format!("  {fault}"));
    }
    ensure!(lock(&shared.faults).is_empty(), "faults while producing");
    // Once as recovery left it, once after a last pass and a clean stop.
    let records = shared.verify()?;
    pause(Duration::from_secs(1));
    let broker = BrokerProcess::start(broker.stop()?)?;
    shared.verify().context("after a clean stop")?;
    let log = broker.log()?;
    ensure!(!log.contains("panicked"), "the broker panicked");
    ensure!(!log.contains("cannot be compacted"), "a log was quarantined");
    broker.stop()?;
    let written = shared.written_bytes.load(Ordering::Relaxed);
    let summary = format!(
        "compaction: {} kills, {} batches acknowledged ({} MiB), {records} records left, {} passes, \
         at most {} MiB on disk, every last value there",
        seen.cycles,
        shared.acknowledged.load(Ordering::Relaxed),
        written >> 20,
        seen.passes,
        seen.bytes_max >> 20,
    );
    ensure!(seen.bytes_max <= TOPIC_BYTES_MAX, "not bounded: {summary}");
    ensure!(seen.passes > 0.0, "nothing was ever compacted: {summary}");
    Ok(summary)
}

/// What a run of kills has come to.
#[derive(Default)]
struct Seen {
    cycles: u32,
    bytes_max: u64,
    passes: f64,
}

fn kill_often(
    mut broker: BrokerProcess,
    shared: &Shared,
    arguments: &Arguments,
    random: &mut fastrand::Rng,
    seen: &mut Seen,
) -> Result<BrokerProcess> {
    let begun = Instant::now();
    let in_time = || arguments.time_max.is_none_or(|max| begun.elapsed() < max);
    while seen.cycles < arguments.cycles && in_time() {
        progress(&mut broker, shared)?;
        let life = Duration::from_millis(random.u64(..LIFE_MAX_MS));
        let born = Instant::now();
        while born.elapsed() < life {
            pause(LOOK_EVERY.min(life.saturating_sub(born.elapsed())));
            seen.bytes_max = seen.bytes_max.max(folder_bytes(&broker));
        }
        seen.passes += metric(&broker, "jocko_storage_compaction_runs_total")?;
        broker = BrokerProcess::start(broker.kill()?)?;
        seen.cycles += 1;
    }
    progress(&mut broker, shared)?;
    Ok(broker)
}

/// Acknowledgement times at a steady pace, for a while.
fn measure(arguments: &Arguments, check: &str) -> Result<Latencies> {
    let folder = tempfile::tempdir()?;
    let options = Options::new(&arguments.binary, folder.path().join("data"))?
        .with(format!("--storage-compaction-check={check}"));
    let broker = BrokerProcess::start(options)?;
    let shared = Shared::new(broker.address(), create(broker.address())?);
    std::thread::scope(|scope| {
        for number in 0..PRODUCERS {
            let shared = &shared;
            scope.spawn(move || Producer::new(number, shared, 1).at_a_pace().run());
        }
        pause(MEASURE);
        shared.stop.store(true, Ordering::Relaxed);
    });
    let passes = metric(&broker, "jocko_storage_compaction_runs_total")?;
    broker.stop()?;
    ensure!(lock(&shared.faults).is_empty(), "faults while producing: {:?}", lock(&shared.faults));
    let sorted = std::mem::take(&mut *lock(&shared.latencies));
    Ok(Latencies { sorted, passes })
}

impl Shared {
    fn new(address: SocketAddr, topic_id: TopicId) -> Self {
        Self {
            address,
            topic_id,
            fates: (0..PRODUCERS).map(|_| Mutex::default()).collect(),
            acknowledged: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            latencies: Mutex::default(),
            faults: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// Reads both partitions and compares the last record of each key with its fate; how many
    /// records there are.
    fn verify(&self) -> Result<usize> {
        let runtime = runtime()?;
        let mut client = client(self.address);
        let (mut last, mut count) = (BTreeMap::new(), 0);
        for partition in 0..PARTITIONS {
            let partition = i32::try_from(partition)?;
            let mut position =
                runtime.block_on(client.offset(TOPIC, partition, Position::Start))?;
            let end = runtime.block_on(client.offset(TOPIC, partition, Position::End))?;
            while position < end {
                let fetch = client.fetch(TOPIC, partition, position, Duration::from_secs(1));
                let fetched = runtime.block_on(fetch)?;
                let mut records = Records::new(&fetched.records, position, 1 << 30);
                while let Some(record) = records.next()? {
                    let key = record.key.context("a record without its key")?;
                    let (owner, key) = read_key(key).context("a key nobody wrote")?;
                    let number = number_of(record.headers)?;
                    if let Some(value) = record.value {
                        ensure!(value == value_of(number), "an altered value of {owner}/{key}");
                    }
                    last.insert((owner, key), (number, record.value.is_none()));
                    count += 1;
                }
                ensure!(records.next_offset() > position, "nothing comes at {position}");
                position = records.next_offset();
            }
        }
        for (owner, fates) in self.fates.iter().enumerate() {
            for (key, fate) in &*lock(fates) {
                let found = last.get(&(owner, *key)).copied();
                ensure!(fate.allows(found), "producer {owner} key {key}: {found:?} of {fate:?}");
            }
        }
        Ok(count)
    }
}

impl Fate {
    /// Whether this may be the last record of the key.
    fn allows(&self, found: Option<Write>) -> bool {
        let may_be = || self.acknowledged.iter().chain(&self.open);
        match found {
            Some(found) => may_be().any(|write| *write == found),
            // A deletion may have been cleaned away, too.
            None => self.acknowledged.is_none() || may_be().any(|(_, deletes)| *deletes),
        }
    }
}

/// Writes its own keys, a batch at a time.
struct Producer<'a> {
    number: usize,
    shared: &'a Shared,
    random: fastrand::Rng,
    next: u64,
    pause: Option<Duration>,
}

impl<'a> Producer<'a> {
    fn new(number: usize, shared: &'a Shared, seed: u64) -> Self {
        Self { number, shared, random: fastrand::Rng::with_seed(seed), next: 1, pause: None }
    }

    /// Not as fast as it can: what is measured is waiting, not queueing.
    fn at_a_pace(mut self) -> Self {
        self.pause = Some(Duration::from_millis(4));
        self
    }

    fn run(mut self) {
        while !self.is_stopped() {
            let served = Connection::open(self.shared.address, PATIENCE)
                .map_err(anyhow::Error::from)
                .and_then(|mut connection| self.serve(&mut connection));
            if served.is_err() {
                // Killed, or not up yet.
                pause(Duration::from_millis(5));
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    fn serve(&mut self, connection: &mut Connection) -> Result<()> {
        while !self.is_stopped() {
            let (batch, writes) = self.batch()?;
            let partition = i32::try_from(self.number % PARTITIONS)?;
            let batches = [PartitionBatch { partition, records: &batch }];
            let topic = (TOPIC, self.shared.topic_id);
            let frame = produce_request(1, VERSION, -1, topic, &batches)?;
            {
                let mut fates = lock(&self.shared.fates[self.number]);
                for (key, write) in &writes {
                    fates.entry(*key).or_default().open.push(*write);
                }
            }
            let sent = Instant::now();
            connection.send(&frame)?;
            let answer = connection.receive()?;
            let (_, answers) = produce_answers(&answer, VERSION)?;
            let code = answers.first().context("an answer for one partition")?.code;
            if code != ErrorCode::None {
                if !code.is_retriable() {
                    lock(&self.shared.faults).push(format!("produce was answered {}", code.name()));
                }
                pause(Duration::from_millis(5));
                continue;
            }
            lock(&self.shared.latencies).push(sent.elapsed());
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            self.shared.written_bytes.fetch_add(batch.len() as u64, Ordering::Relaxed);
            let mut fates = lock(&self.shared.fates[self.number]);
            for (key, write) in writes {
                let fate = fates.entry(key).or_default();
                // Whatever came before, answered or not, is superseded.
                fate.acknowledged = Some(write);
                fate.open.clear();
            }
            drop(fates);
            if let Some(time) = self.pause {
                pause(time);
            }
        }
        Ok(())
    }

    /// A batch of distinct keys, a few of them deleted.
    fn batch(&mut self) -> Result<(Vec<u8>, BTreeMap<u64, Write>)> {
        let codec = Codec::ALL[self.random.usize(..Codec::ALL.len())];
        let mut builder = BatchBuilder::new(Encoding::new(codec));
        let mut writes = BTreeMap::new();
        for _ in 0..self.random.usize(1..60) {
            // Some keys are written all the time, others hardly ever.
            let below = self.random.u64(1..=KEYS_PER_PRODUCER);
            let key = self.random.u64(..below);
            let deletes = self.random.u8(..16) == 0;
            if writes.contains_key(&key) {
                continue;
            }
            let number = self.next;
            self.next += 1;
            let value = value_of(number);
            let tag = number.to_be_bytes();
            let header = [jocko_records::Header { key: b"n", value: Some(&tag) }];
            let name = format!("p{}-k{key}", self.number);
            let value = (!deletes).then_some(value.as_slice());
            builder.push(now(), Some(name.as_bytes()), value, &header)?;
            writes.insert(key, (number, deletes));
        }
        Ok((builder.build()?, writes))
    }
}

fn value_of(number: u64) -> Vec<u8> {
    let mut value = number.to_be_bytes().repeat(VALUE_BYTES / 8);
    for (at, byte) in value.iter_mut().enumerate() {
        *byte ^= u8::try_from(at * 7 % 251).unwrap_or(0);
    }
    value
}

fn read_key(key: &[u8]) -> Option<(usize, u64)> {
    let (owner, key) = std::str::from_utf8(key).ok()?.strip_prefix('p')?.split_once("-k")?;
    Some((owner.parse().ok()?, key.parse().ok()?))
}

fn number_of(mut headers: jocko_records::Headers<'_>) -> Result<u64> {
    let tag = headers.next().and_then(|header| header.value).context("a record without a tag")?;
    Ok(u64::from_be_bytes(tag.try_into()?))
}

fn now() -> Timestamp {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

fn create(address: SocketAddr) -> Result<TopicId> {
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", SEGMENT_BYTES),
        ("min.cleanable.dirty.ratio", "0.2"),
        ("delete.retention.ms", "1000"),
        ("file.delete.delay.ms", "0"),
    ];
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: Some(i32::try_from(PARTITIONS)?),
        replication: Some(1),
        configs: configs.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Default::default()
    };
    let runtime = runtime()?;
    let mut client: Client = client(address);
    Ok(runtime.block_on(client.create_topic(&topic))?.id)
}

/// Waits until something is acknowledged again.
fn progress(broker: &mut BrokerProcess, shared: &Shared) -> Result<()> {
    let before = shared.acknowledged.load(Ordering::Relaxed);
    wait_until(Duration::from_secs(20), || {
        ensure!(broker.is_running()?, "the broker ended by itself");
        Ok(shared.acknowledged.load(Ordering::Relaxed) > before)
    })
    .context("nothing is acknowledged any more")
}

/// Bytes of the topic's folders.
fn folder_bytes(broker: &BrokerProcess) -> u64 {
    let mut bytes = 0;
    for partition in 0..PARTITIONS {
        let folder = broker.data_dir().join(format!("{TOPIC}-{partition}"));
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        // A file may be renamed or go at any moment.
        bytes +=
            entries.flatten().filter_map(|entry| Some(entry.metadata().ok()?.len())).sum::<u64>();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_as_its_last_answer_says_or_as_one_that_had_none() {
        let fate = Fate { acknowledged: Some((5, false)), open: vec![(7, true), (9, false)] };
        for allowed in [Some((5, false)), Some((7, true)), Some((9, false)), None] {
            assert!(fate.allows(allowed), "{allowed:?}");
        }
        for refused in [Some((4, false)), Some((8, false))] {
            assert!(!fate.allows(refused), "{refused:?}");
        }
        let written = Fate { acknowledged: Some((5, false)), open: vec![] };
        assert!(!written.allows(None));
        assert!(Fate::default().allows(None));
    }
}
