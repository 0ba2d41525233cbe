//! A share of the disk: producers at full speed on a small file system, topics and partitions
//! added meanwhile. What is on the disk stays within the share, no write is refused, and the limit
//! of one topic holds within that of all.

use crate::Outcome;
use crate::arguments::Arguments;
use crate::small_disk::SmallDisk;
use crate::workload::{PATIENCE, client, lock, pause, runtime};
use anyhow::{Context, Result, ensure};
use jocko_client::NewTopic;
use jocko_records::{BatchBuilder, Encoding};
use jocko_testkit::{
    BrokerProcess, Connection, Options, PartitionBatch, produce_answers, produce_request, tail,
};
use jocko_types::{ErrorCode, Timestamp, TopicId};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const DISK_BYTES: u64 = 512 << 20;
/// Of it, for all topics together.
const PERCENT: u64 = 40;
/// Of that, for one of them.
const TOPIC_BYTES: u64 = 32 << 20;
/// What may be added beside topics: the metadata log, checkpoints, folders. What is there before
/// the first topic is counted apart.
const BESIDE_BYTES: u64 = 8 << 20;
/// How long it takes unless told otherwise.
const TIME: Duration = Duration::from_secs(30);
const BATCH_BYTES: usize = 400_000;
/// Topics by name, partitions, and the part of the run after which they are made.
const TOPICS: [(&str, i32, f64); 4] =
    [("first", 2, 0.0), ("limited", 2, 0.0), ("second", 4, 0.3), ("third", 8, 0.6)];
const VERSION: i16 = 9;

struct Shared {
    address: SocketAddr,
    accepted_bytes: AtomicU64,
    refusals: Mutex<Vec<String>>,
    stop: AtomicBool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let disk = match SmallDisk::mount(folder.path(), DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return Ok(Outcome::Skipped(format!("retention: {why:#}"))),
    };
    let options = Options::new(&arguments.binary, disk.mount_point.join("data"))?
        .logging_to(folder.path().join("broker.log"))
        .with("--storage-ballast=4MiB")
        .with(format!("--storage-retention-percent={PERCENT}%"));
    let log = options.log.clone();
    let time = arguments.time_max.unwrap_or(TIME);
    let fill = fill(BrokerProcess::start(options)?, &disk, time);
    fill.with_context(|| tail(&log)).map(Outcome::Passed)
}

fn fill(broker: BrokerProcess, disk: &SmallDisk, time: Duration) -> Result<String> {
    let (used_before, total) = used(&disk.mount_point)?;
    let beside = used_before + BESIDE_BYTES;
    let share = total * PERCENT / 100;
    let shared = Shared {
        address: broker.address(),
        accepted_bytes: AtomicU64::new(0),
        refusals: Mutex::default(),
        stop: AtomicBool::new(false),
    };
    let looked = std::thread::scope(|scope| {
        let looked = (|| {
            let (mut used_max, mut limited_max) = (0, 0);
            let mut waiting = TOPICS.iter().peekable();
            let begun = Instant::now();
            while begun.elapsed() < time {
                let part = begun.elapsed().as_secs_f64() / time.as_secs_f64();
                while let Some((name, partitions, _)) = waiting.next_if(|topic| topic.2 <= part) {
                    let id = create(shared.address, name, *partitions)?;
                    let shared = &shared;
                    scope.spawn(move || produce(shared, (name, id), *partitions));
                }
                pause(Duration::from_millis(20));
                used_max = used_max.max(used(&disk.mount_point)?.0);
                limited_max = limited_max.max(folder_bytes(broker.data_dir(), "limited-"));
            }
            Ok::<_, anyhow::Error>((used_max, limited_max))
        })();
        shared.stop.store(true, Ordering::Relaxed);
        looked
    });
    let (used_max, limited_max) = looked?;
    // With nobody writing any more all of it comes to rest within the division.
    pause(Duration::from_secs(2));
    let holdings: Vec<(&str, u64)> = TOPICS
        .iter()
        .map(|(name, ..)| (*name, folder_bytes(broker.data_dir(), &format!("{name}-"))))
        .collect();
    let held: Vec<String> =
        holdings.iter().map(|(name, bytes)| format!("{name} {} MiB", bytes >> 20)).collect();
    let accepted = shared.accepted_bytes.load(Ordering::Relaxed);
    let summary = format!(
        "retention: {} MiB written within {time:.0?} to a disk of {} MiB, at most {} MiB in use of \
         a share of {} MiB and {} MiB beside it; the limited topic at most {} MiB of {} MiB; in the \
         end {}",
        accepted >> 20,
        total >> 20,
        used_max >> 20,
        share >> 20,
        beside >> 20,
        limited_max >> 20,
        TOPIC_BYTES >> 20,
        held.join(", "),
    );
    let refusals = lock(&shared.refusals);
    ensure!(refusals.is_empty(), "{} refusals, first {:?}: {summary}", refusals.len(), refusals[0]);
    drop(refusals);
    ensure!(used_max <= share + beside, "beyond the share: {summary}");
    ensure!(limited_max <= TOPIC_BYTES, "beyond the topic's limit: {summary}");
    // Whoever came late has a part like the others', and nobody lost all he had.
    let sum: u64 = holdings.iter().map(|(_, bytes)| bytes).sum();
    ensure!(sum <= share, "more than the share at rest: {summary}");
    ensure!(holdings.iter().all(|(_, bytes)| *bytes > share / 64), "not divided: {summary}");
    ensure!(accepted > 2 * share, "too slow to show anything: {summary}");
    ensure!(!broker.log()?.contains("panicked"), "the broker panicked");
    broker.stop()?;
    Ok(summary)
}

/// Writes to all partitions in turn, as fast as one connection can.
fn produce(shared: &Shared, topic: (&str, TopicId), partitions: i32) {
    let value = vec![b'x'; BATCH_BYTES];
    let mut builder = BatchBuilder::new(Encoding::NONE);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    builder.push(now, None, Some(&value), &[]).expect("a small record");
    let batch = builder.build().expect("a batch with a record");
    let send = || -> Result<()> {
        let mut connection = Connection::open(shared.address, PATIENCE)?;
        for turn in 0.. {
            if shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let batches = [PartitionBatch { partition: turn % partitions, records: &batch }];
            // As Kafka's producers do when speed is all: the leader's page cache is enough.
            connection.send(&produce_request(turn, VERSION, 1, topic, &batches)?)?;
            let (_, answers) = produce_answers(&connection.receive()?, VERSION)?;
            let code = answers.first().context("an answer")?.code;
            ensure!(code == ErrorCode::None, "{} was answered", code.name());
            shared.accepted_bytes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    };
    if let Err(error) = send() {
        lock(&shared.refusals).push(format!("{}: {error:#}", topic.0));
    }
}

fn create(address: SocketAddr, name: &str, partitions: i32) -> Result<TopicId> {
    let limit = TOPIC_BYTES.to_string();
    let configs = match name {
        "limited" => vec![("jocko.retention.topic.bytes".to_owned(), limit)],
        _ => Vec::new(),
    };
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication: Some(1),
        configs,
        ..Default::default()
    };
    Ok(runtime()?.block_on(client(address).create_topic(&topic))?.id)
}

/// Bytes in use on the file system, and its size.
fn used(mount_point: &Path) -> Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(mount_point)?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize;
    Ok((used, stat.f_blocks * stat.f_frsize))
}

/// Bytes of logs in folders whose names begin so, those that wait for removal included.
fn folder_bytes(data_dir: &Path, prefix: &str) -> u64 {
    let folders = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
    let folders = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(prefix));
    let files =
        folders.filter_map(|folder| std::fs::read_dir(folder.path()).ok()).flatten().flatten();
    // A file may be renamed or go at any moment.
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}
