//! What a broker does without being asked: retention, checkpoints, flushes of relaxed topics,
//! removal of deleted topics' files, a look at the disk, and the search for damaged copies, which
//! are given up.

use crate::context::Context;
use crate::data_dir::SharedDataDir;
use crate::published::Published;
use crate::replication::mending;
use jocko_commitlog::data_dir::DataDirFault;
use jocko_commitlog::{Checkpoint, Checkpoints, LogFault};
use jocko_net::ports::{SpawnRef, run_on, spawn};
use jocko_partition::{Durability, Partition, Scrub};
use jocko_types::{Now, TopicIdPartition, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the disk is looked at and relaxed topics' `flush.ms` is minded.
const TICK: Duration = Duration::from_secs(1);
/// How often checkpoints are written (Kafka: `log.flush.offset.checkpoint.interval.ms`).
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// How often retention looks for something to drop while the disk is full.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(10);
/// How long the files of a deleted topic stay, renamed.
const TRASH_DELAY: Duration = Duration::from_secs(60);
/// How often a damaged copy is tried to be given up.
const MEND_EVERY: Duration = Duration::from_secs(10);
/// How long a start has the disk for itself before copies are read through for damage.
const FIRST_SCRUB_AFTER: Duration = Duration::from_mins(10);
/// How much of the copies a tick reads through.
const SCRUB_BYTES: usize = 4 << 20;

/// The state between ticks.
struct Housekeeping {
    context: Arc<Context>,
    data_dir: SharedDataDir,
    spawn: SpawnRef,
    last_retention: Now,
    last_checkpoint: Now,
    /// When damaged copies were last tried to be given up.
    mended: BTreeMap<TopicIdPartition, Now>,
    /// When copies were last begun to be read through, or the start; and whether it is the start.
    last_scrub: (Now, bool),
    /// The pass over them, with a worker at times.
    scrub: Arc<Mutex<Scrub>>,
    /// When room was last made, while the disk is full.
    last_room: Option<Now>,
    /// Since when a relaxed topic's partition has had bytes that are not on disk.
    dirty_since: BTreeMap<TopicPartition, Now>,
    trash_since: BTreeMap<PathBuf, Now>,
}

/// Runs until it is dropped.
pub(crate) async fn run(context: Arc<Context>, data_dir: SharedDataDir, spawn: SpawnRef) {
    let now = context.clock.now();
    let mut housekeeping = Housekeeping {
        context,
        data_dir,
        spawn,
        last_retention: now,
        last_checkpoint: now,
        mended: BTreeMap::new(),
        last_scrub: (now, true),
        scrub: Arc::default(),
        last_room: None,
        dirty_since: BTreeMap::new(),
        trash_since: BTreeMap::new(),
    };
    loop {
        tokio::time::sleep(TICK).await;
        housekeeping.tick().await;
    }
}

impl Housekeeping {
    async fn tick(&mut self) {
        let now = self.context.clock.now();
        self.context.guard.check();
        self.context.limit_connections();
        if self.context.guard.refuses_produce() {
            self.drop_damaged();
            // Whoever deletes a topic on a full disk wants the room now.
            self.empty_trash(now, Duration::ZERO).await;
            if self.last_room.is_none_or(|last| now.since(last) >= MAKE_ROOM_EVERY) {
                self.last_room = Some(now);
                self.make_room().await;
            }
        } else {
            self.last_room = None;
        }
        self.flush_relaxed(now);
        self.mend(now);
        self.scrub(now).await;
        let retention_every = self.context.settings.settings().storage.retention_check;
        if now.since(self.last_retention) >= retention_every {
            self.last_retention = now;
            self.retention().await;
        }
        if now.since(self.last_checkpoint) >= CHECKPOINT_EVERY {
            self.last_checkpoint = now;
            self.checkpoint().await;
            self.empty_trash(now, TRASH_DELAY).await;
        }
    }

    /// Has damaged copies given up and fetched anew, where others hold what they held.
    fn mend(&mut self, now: Now) {
        let damaged = mending::damaged(&self.context);
        let keys: BTreeSet<_> = damaged.iter().map(|partition| partition.key()).collect();
        self.mended.retain(|key, last| keys.contains(key) && now.since(*last) < MEND_EVERY);
        let due: Vec<_> =
            damaged.into_iter().filter(|it| !self.mended.contains_key(&it.key())).collect();
        self.mended.extend(due.iter().map(|partition| (partition.key(), now)));
        if !due.is_empty() {
            spawn(mending::mend(Arc::clone(&self.context), due));
        }
    }

    /// Reads a little more of the copies that others have too, on a worker, when that is due. What is
    /// found to be damaged is noted by whoever finds it, and given up by a later tick.
    async fn scrub(&mut self, now: Now) {
        let Some(every) = self.context.settings.settings().storage.scrub else { return };
        if self.scrub.lock().unwrap_or_else(PoisonError::into_inner).is_over() {
            let (last, is_first) = self.last_scrub;
            let wait = if is_first { every.min(FIRST_SCRUB_AFTER) } else { every };
            if now.since(last) < wait {
                return;
            }
            self.last_scrub = (now, false);
            let pass = self.new_scrub();
            if pass.is_over() {
                return;
            }
            self.scrub = Arc::new(Mutex::new(pass));
        }
        let scrub = Arc::clone(&self.scrub);
        let work = move || scrub.lock().unwrap_or_else(PoisonError::into_inner).step(SCRUB_BYTES);
        let _ = run_on(&*self.spawn, work).await;
    }

    /// Over all that could be fetched anew: a broker without others has nothing of that.
    fn new_scrub(&self) -> Scrub {
        let published = self.context.published.load();
        let has_others = |key: &TopicIdPartition| {
            let state = published.image.partition(key.topic_id, key.partition);
            state.is_some_and(|state| state.replicas.len() > 1)
        };
        let copies = published.partitions.iter().filter(|(key, _)| has_others(key));
        Scrub::new(copies.map(|(_, partition)| partition))
    }

    /// Damaged copies that were set aside are kept as long as there is room for them.
    fn drop_damaged(&self) {
        match self.data_dir.with(|data_dir| data_dir.drop_damaged()) {
            Some(Ok(count)) if count > 0 => {
                tracing::warn!(
                    count,
                    "damaged copies that were set aside go, for the disk is full"
                );
            }
            Some(Err(fault)) => tracing::warn!(%fault, "damaged copies that were set aside stay"),
            Some(Ok(_)) | None => {}
        }
    }

    /// `flush.ms`: what has been dirty for so long lines up for the flusher.
    fn flush_relaxed(&mut self, now: Now) {
        let published = self.context.published.load();
        for partition in published.partitions.values() {
            let governed = partition.governed();
            let is_minded =
                governed.policy.durability == Durability::Relaxed && governed.flush_ms != i64::MAX;
            if !is_minded || !partition.is_flush_due() {
                self.dirty_since.remove(partition.name());
                continue;
            }
            let since = *self.dirty_since.entry(partition.name().clone()).or_insert(now);
            let wait = Duration::from_millis(u64::try_from(governed.flush_ms).unwrap_or(0));
            if now.since(since) >= wait {
                self.dirty_since.remove(partition.name());
                self.context.flusher.enqueue(partition);
            }
        }
    }

    /// Drops what is too old or too much, partition by partition, on a worker.
    async fn retention(&self) {
        let partitions: Vec<Arc<Partition>> =
            self.context.published.load().partitions.values().cloned().collect();
        let context = Arc::clone(&self.context);
        let work = move || {
            for partition in partitions {
                retain(&context, &partition);
            }
        };
        if run_on(&*self.spawn, work).await.is_none() {
            tracing::warn!("retention was put off: the workers are busy or stopping");
        }
    }

    /// On a full disk retention does not wait for its turn, nor for the delay after which files
    /// go: what it drops is checkpointed and removed at once.
    async fn make_room(&self) {
        self.retention().await;
        self.checkpoint().await;
        let context = Arc::clone(&self.context);
        let work = move || {
            for partition in context.published.load().partitions.values() {
                let (done, effects) = partition.make_room();
                context.carry_out(partition, effects);
                match done {
                    Ok(()) | Err(LogFault::Latched { .. }) => {}
                    Err(fault) => {
                        tracing::error!(partition = %partition.name(), %fault, "no room was made");
                    }
                }
            }
            context.guard.check();
        };
        if run_on(&*self.spawn, work).await.is_none() {
            tracing::warn!("room was not made: the workers are busy or stopping");
        }
    }

    async fn checkpoint(&self) {
        let context = Arc::clone(&self.context);
        let data_dir = self.data_dir.clone();
        let work = move || store_checkpoints(&context.published.load(), &data_dir);
        if let Some(Err(fault)) = run_on(&*self.spawn, work).await {
            tracing::warn!(%fault, "checkpoints were not written; recovery would take longer");
        }
    }

    /// Removes the files of topics deleted at least `delay` ago.
    async fn empty_trash(&mut self, now: Now, delay: Duration) {
        let listed = self.data_dir.with(|data_dir| data_dir.trash());
        let Some(Ok(folders)) = listed else { return };
        self.trash_since.retain(|folder, _| folders.contains(folder));
        for folder in folders {
            let since = *self.trash_since.entry(folder.clone()).or_insert(now);
            if now.since(since) < delay {
                continue;
            }
            let data_dir = self.data_dir.clone();
            let removed = run_on(&*self.spawn, move || {
                data_dir.with(|data_dir| data_dir.remove_trash(&folder))
            });
            if let Some(Some(Err(fault))) = removed.await {
                tracing::warn!(%fault, "files of a deleted topic stay");
            }
        }
    }
}

pub(crate) fn retain(context: &Context, partition: &Arc<Partition>) {
    // A partition nobody has used since the start is opened once, or its records would never
    // grow too old.
    if !partition.is_open() && partition.has_files() && partition.open().is_err() {
        return;
    }
    let (done, effects) = partition.upkeep(context.steady.wall());
    context.carry_out(partition, effects);
    match done {
        Ok(upkeep) => {
            if upkeep.dropped_segments > 0 {
                tracing::info!(
                    partition = %partition.name(),
                    segments = upkeep.dropped_segments,
                    bytes = upkeep.dropped_bytes,
                    "retention dropped records"
                );
            }
            context.metrics.retained(upkeep.dropped_bytes);
        }
        Err(LogFault::Latched { .. }) => {}
        Err(fault) => tracing::error!(partition = %partition.name(), %fault, "retention failed"),
    }
}

/// Writes what recovery would need, and tells the logs that it is written.
pub(crate) fn store_checkpoints(
    published: &Published,
    data_dir: &SharedDataDir,
) -> Result<(), DataDirFault> {
    let _one_at_a_time = data_dir.checkpointing();
    let mut checkpoints = Checkpoints::new();
    let mut open = Vec::new();
    // What is being deleted may still be published.
    for partition in published.partitions.values().filter(|it| !it.is_deleted()) {
        let topic_id = partition.topic_id();
        let (recovery_point, log_start) = match partition.checkpoint() {
            Some(found) => {
                open.push((partition, found));
                found
            }
            // Not opened since the start: what was known then still holds.
            None => (partition.home().open.recovery_point, partition.home().open.log_start),
        };
        let checkpoint = Checkpoint { topic_id, recovery_point, log_start };
        checkpoints.insert(partition.name().clone(), checkpoint);
    }
    data_dir.with(|data_dir| data_dir.store_checkpoints(&checkpoints)).transpose()?;
    for (partition, (recovery_point, log_start)) in open {
        partition.checkpointed(recovery_point, log_start);
    }
    Ok(())
}
