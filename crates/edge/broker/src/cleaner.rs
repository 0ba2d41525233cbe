//! The one thread that compacts logs: the filthiest first, one at a time, at the pace it is given.
//!
//! A log that cannot be cleaned is left alone from then on and told once; others go on. Want of
//! room is no such fault: it passes. How a pass works: docs/internals/compaction.md.

use crate::context::Context;
use crate::data_dir::SharedDataDir;
use jocko_commitlog::LogFault;
use jocko_disk::FaultKind;
use jocko_net::ports::{Bell, Manner, Rest, Routine, RoutineHandle, Spawn};
use jocko_partition::{Compacted, CompactionBudget, CompactionEnd, Dirt, Partition};
use jocko_types::{Offset, TopicIdPartition, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How much less of the processor the cleaner claims than those who serve.
const NICENESS: i32 = 10;
/// Bytes that may be read and written before the pace is looked at.
const PACE_BYTES: u64 = 256 << 10;

const MANNER: Manner = Manner { name: "jocko-clean", niceness: NICENESS };

/// Stops the rounds, and tells what they did.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    is_stopping: Mutex<bool>,
    /// Wakes a pass that waits for its pace.
    wake: Condvar,
    bell: Bell,
    pub(crate) stats: CleanerStats,
}

/// What the metrics tell of compaction.
#[derive(Debug, Default)]
pub(crate) struct CleanerStats {
    /// Passes that came to their end.
    pub(crate) runs: AtomicU64,
    /// Bytes won.
    pub(crate) reclaimed_bytes: AtomicU64,
    /// Bytes read and written.
    pub(crate) io_bytes: AtomicU64,
    /// Records left out.
    pub(crate) dropped_records: AtomicU64,
    /// The largest dirty share seen at the last look, in millionths.
    dirty_millionths: AtomicU64,
    /// Milliseconds since the process started at which the last pass ended, plus one; 0 for none.
    last_run_ms: AtomicU64,
    /// Logs that are left alone because they cannot be cleaned.
    pub(crate) quarantined: AtomicUsize,
}

impl CleanerStats {
    /// The largest dirty share of a compacted log at the last look.
    pub(crate) fn dirty_ratio(&self) -> f64 {
        self.dirty_millionths.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Time from the end of the last pass to `now`, both counted from the process's start.
    pub(crate) fn since_last_run(&self, now: Duration) -> Option<Duration> {
        let last = self.last_run_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_sub(Duration::from_millis(last)))
    }

    fn note_run(&self, done: &Compacted, now: Duration) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.reclaimed_bytes.fetch_add(done.bytes_reclaimed(), Ordering::Relaxed);
        self.dropped_records.fetch_add(done.records_dropped, Ordering::Relaxed);
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.last_run_ms.store(millis.saturating_add(1), Ordering::Relaxed);
    }
}

impl Cleaner {
    /// Ends the rounds: a pass under way is left at the next piece of work.
    pub(crate) fn stop(&self) {
        *self.is_stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
        self.bell.ring();
    }

    /// Waits; `false` when it is time to stop.
    fn wait(&self, time: Duration) -> bool {
        let stopping = self.is_stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(stopping, time, |stopping| !*stopping);
        let (stopping, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !*stopping
    }

    fn goes_on(&self) -> bool {
        !*self.is_stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the rounds.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn start(
    context: Arc<Context>,
    data_dir: SharedDataDir,
    spawn: &dyn Spawn,
) -> io::Result<RoutineHandle> {
    let bell = context.cleaner.bell.clone();
    let round = Round {
        context,
        data_dir,
        has_begun: false,
        offsets: BTreeMap::new(),
        quarantine: BTreeSet::new(),
        is_room_wanting: false,
    };
    spawn.routine(MANNER, bell, Box::new(round))
}

/// What is remembered between looks.
struct Round {
    context: Arc<Context>,
    data_dir: SharedDataDir,
    has_begun: bool,
    /// As the checkpoint file tells them.
    offsets: BTreeMap<TopicPartition, Offset>,
    quarantine: BTreeSet<TopicIdPartition>,
    is_room_wanting: bool,
}

impl Routine for Round {
    fn round(&mut self) -> Rest {
        if !self.context.cleaner.goes_on() {
            return Rest::Over;
        }
        if self.has_begun {
            self.run();
        } else {
            self.has_begun = true;
            let offsets = self.data_dir.with(|data_dir| data_dir.load_cleaner_offsets());
            self.offsets = offsets.and_then(Result::ok).unwrap_or_default();
        }
        Rest::For(self.context.settings.settings().storage.compaction_check)
    }
}

impl Round {
    /// Cleans what is due, the filthiest first, until nothing is.
    fn run(&mut self) {
        let mut done = BTreeSet::new();
        while self.context.cleaner.goes_on() {
            let Some((key, partition)) = self.filthiest(&done) else { break };
            if !self.clean(key, &partition) {
                // It was interrupted, or failed: others first.
                done.insert(key);
            }
        }
        self.store_offsets();
    }

    fn filthiest(
        &mut self,
        done: &BTreeSet<TopicIdPartition>,
    ) -> Option<(TopicIdPartition, Arc<Partition>)> {
        let published = self.context.published.load_full();
        self.quarantine.retain(|key| published.partitions.contains_key(key));
        let (mut ratio_max, mut best) = (0.0_f64, None);
        for (key, partition) in &published.partitions {
            let config = &partition.governed().log;
            if !config.compacts || self.quarantine.contains(key) {
                continue;
            }
            let Some(dirt) = self.look(*key, partition) else { continue };
            ratio_max = ratio_max.max(dirt.ratio());
            let is_due = dirt.is_due(config.compaction.dirty_ratio_min) && !done.contains(key);
            let rank = (dirt.is_overdue, dirt.ratio());
            if is_due && best.as_ref().is_none_or(|(before, _, _)| rank > *before) {
                best = Some((rank, *key, Arc::clone(partition)));
            }
        }
        let stats = &self.context.cleaner.stats;
        stats.dirty_millionths.store((ratio_max * 1e6) as u64, Ordering::Relaxed);
        stats.quarantined.store(self.quarantine.len(), Ordering::Relaxed);
        best.map(|(_, key, partition)| (key, partition))
    }

    fn look(&mut self, key: TopicIdPartition, partition: &Arc<Partition>) -> Option<Dirt> {
        // A partition nobody has used since the start is opened once, as retention does.
        if !partition.is_open() && (!partition.has_files() || partition.open().is_err()) {
            return None;
        }
        let wall = self.context.steady.wall();
        // What earlier passes replaced is still there, for a while.
        let (tidied, effects) = partition.tidy(wall);
        self.context.carry_out(partition, effects);
        let dirt = tidied.and_then(|()| partition.dirt(wall));
        match dirt {
            Ok(dirt) => {
                if dirt.is_some_and(|dirt| dirt.awaits_flush) {
                    self.context.flusher.enqueue(partition);
                }
                dirt
            }
            Err(fault) => {
                self.set_aside(key, partition, &fault);
                None
            }
        }
    }

    /// One pass. `false` if another one makes no sense now.
    fn clean(&mut self, key: TopicIdPartition, partition: &Arc<Partition>) -> bool {
        let context = Arc::clone(&self.context);
        let storage = &context.settings.settings().storage;
        let budget = CompactionBudget {
            map_bytes_max: storage.compaction_memory.as_usize(),
            seed: [fastrand::u64(..), fastrand::u64(..)],
        };
        let started = context.clock.now();
        let rate = storage.compaction_rate.map(jocko_config::ByteSize::get);
        let mut pace = Pace { context: &context, rate, gathered: 0 };
        let wall = context.steady.wall();
        let (end, effects) = partition.compact(&budget, wall, &mut |bytes| pace.takes(bytes));
        context.carry_out(partition, effects);
        let stats = &context.cleaner.stats;
        match end {
            Ok(CompactionEnd::Done(done)) => {
                let now = context.clock.now();
                stats.note_run(&done, now.since_start());
                self.is_room_wanting = false;
                self.offsets.insert(partition.name().clone(), done.cleaned_to);
                tracing::info!(
                    partition = %partition.name(),
                    bytes_before = done.bytes_before,
                    bytes_after = done.bytes_after,
                    records_dropped = done.records_dropped,
                    cleaned_to = done.cleaned_to.get(),
                    took_ms = u64::try_from(now.since(started).as_millis()).unwrap_or(u64::MAX),
                    "compacted"
                );
                true
            }
            Ok(CompactionEnd::Idle | CompactionEnd::Interrupted(_)) => false,
            Err(fault) if is_room_wanting(&fault) => {
                if !self.is_room_wanting {
                    tracing::warn!(partition = %partition.name(), "no room to compact; it waits");
                }
                self.is_room_wanting = true;
                false
            }
            Err(fault) => {
                self.set_aside(key, partition, &fault);
                false
            }
        }
    }

    /// Leaves a log alone from now on, and says so once.
    fn set_aside(&mut self, key: TopicIdPartition, partition: &Partition, fault: &LogFault) {
        if self.quarantine.insert(key) {
            tracing::error!(
                partition = %partition.name(),
                %fault,
                "this log cannot be compacted and is left as it is until the next start"
            );
        }
    }

    fn store_offsets(&mut self) {
        let published = self.context.published.load_full();
        let hosted: BTreeMap<&TopicPartition, &Arc<Partition>> =
            published.partitions.values().map(|partition| (partition.name(), partition)).collect();
        let before = self.offsets.clone();
        self.offsets.retain(|name, _| hosted.contains_key(name));
        for (name, partition) in hosted {
            if let Some(offset) = partition.compacted_to() {
                self.offsets.insert(name.clone(), offset);
            } else if partition.is_open() {
                self.offsets.remove(name);
            }
        }
        if self.offsets == before {
            return;
        }
        let stored = self.data_dir.with(|data_dir| data_dir.store_cleaner_offsets(&self.offsets));
        if let Some(Err(fault)) = stored {
            tracing::warn!(%fault, "how far compaction came was not noted for Kafka's tools");
        }
    }
}

fn is_room_wanting(fault: &LogFault) -> bool {
    matches!(fault, LogFault::Disk(fault) if fault.kind() == FaultKind::NoSpace)
}

/// Keeps a pass to so many bytes a second.
struct Pace<'a> {
    context: &'a Context,
    rate: Option<u64>,
    gathered: u64,
}

impl Pace<'_> {
    /// Takes note of bytes read or written, and waits if they came too fast. `false` to stop.
    fn takes(&mut self, bytes: u64) -> bool {
        self.gathered += bytes;
        if self.gathered < PACE_BYTES {
            return true;
        }
        let gathered = std::mem::take(&mut self.gathered);
        let cleaner = &self.context.cleaner;
        cleaner.stats.io_bytes.fetch_add(gathered, Ordering::Relaxed);
        match self.rate {
            Some(rate) => {
                let seconds = gathered as f64 / rate.max(1) as f64;
                cleaner.wait(Duration::from_secs_f64(seconds.min(60.0)))
            }
            None => cleaner.goes_on(),
        }
    }
}
