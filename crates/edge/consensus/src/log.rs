//! The Raft log in a commit log, and how openraft writes to it.
//!
//! Appends go to the page cache on the caller's thread; one worker makes them durable, everything
//! that queued up meanwhile with one flush, and then reports each append to openraft. Votes,
//! truncations and purges wait for the worker and are durable when they return (DR1).

mod entry_log;
mod flush;

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{LogIdOptionExt, OptionalSend};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jocko_disk::DiskRef;
use jocko_net::ports::SpawnRef;

use crate::blocking::{in_io, run_blocking};
use crate::error::StartError;
use crate::hard_state::{HardState, HardStateFile};
use crate::metrics::Counters;
use crate::types::{Entry, LogId, Types, Vote, term_of};
use entry_log::EntryLog;
pub(crate) use entry_log::EntryLogError;
use flush::FlushQueue;

/// Commits that may pass before the committed index is written by itself. Every other write of the
/// raft state carries it along; a crash loses at most so many, and the next leader's first message
/// (or a lone voter's first entry) brings them back.
const COMMITS_UNSAVED_MAX: u32 = 64;
/// How long an entry that finds no room on the disk waits before it is tried again.
const ROOM_RETRY: Duration = Duration::from_millis(250);
/// Bytes read at once for a peer.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The log, vote and committed index of one node. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: DiskRef,
    log: Mutex<EntryLog>,
    /// The raft state as it is known here.
    state: Mutex<HardState>,
    /// The raft state as it is stored. Locked across a sync, by the worker alone.
    file: Mutex<HardStateFile>,
    queue: Mutex<FlushQueue>,
    /// Held across a flush: one at a time, however many threads the worker has.
    flushing: Mutex<()>,
    spawn: SpawnRef,
    counters: Arc<Counters>,
    /// An entry waits for room on the disk.
    wants_room: AtomicBool,
    is_stopping: AtomicBool,
}

/// The state behind these locks is changed in single steps, so a panic elsewhere leaves it whole;
/// and a panic in Raft's storage stops Raft anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogStore {
    /// Opens or creates the log in `dir` and makes what it finds durable.
    ///
    /// # Errors
    /// Any fault of the disk; [`StartError::Damaged`] if log and raft state contradict each other.
    pub(crate) fn open(
        disk: &DiskRef,
        dir: &Path,
        spawn: SpawnRef,
        counters: Arc<Counters>,
    ) -> Result<Self, StartError> {
        // This makes the folder, too.
        let (file, state) = HardStateFile::open(&**disk, dir)?;
        // A purge that was noted and not done is done by this.
        let first = state.purged.next_index();
        let mut log = EntryLog::open(disk, dir, first, state.recovery_point)?;
        if log.first() != first {
            let words = format!("it begins at {}, but was purged up to {first}", log.first());
            return Err(StartError::Damaged(words));
        }
        log.noted(state.recovery_point, first)?;
        let shared = Shared {
            disk: disk.clone(),
            log: Mutex::new(log),
            state: Mutex::new(state),
            file: Mutex::new(file),
            queue: Mutex::new(FlushQueue::default()),
            flushing: Mutex::new(()),
            spawn,
            counters,
            wants_room: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether nothing was ever written: no vote, no entry.
    pub(crate) fn is_blank(&self) -> bool {
        let state = lock(&self.shared.state);
        state.vote.is_none() && lock(&self.shared.log).last().or(state.purged).is_none()
    }

    /// The last index that was ever written, in the log still or in a snapshot only; 0 if none.
    pub(crate) fn last_index(&self) -> u64 {
        let purged = lock(&self.shared.state).purged;
        lock(&self.shared.log).last().or(purged).map_or(0, |id| id.index)
    }

    /// The newest term that this directory knows of.
    pub(crate) fn newest_term(&self) -> u64 {
        let state = lock(&self.shared.state);
        let voted = state.vote.as_ref().map_or(0, |vote| vote.leader_id.term);
        let last = lock(&self.shared.log).last().or(state.purged);
        voted.max(last.map_or(0, |id| term_of(&id)))
    }

    /// Whether an entry waits for room on the disk, and everything else behind it.
    pub(crate) fn wants_room(&self) -> bool {
        self.shared.wants_room.load(Ordering::Acquire)
    }

    /// Has an entry that waits for room give up, which ends Raft: for a shutdown.
    pub(crate) fn stop_waiting(&self) {
        self.shared.is_stopping.store(true, Ordering::Release);
    }

    /// Appends an entry. Where the disk has no room for it, this waits until there is: openraft takes
    /// a refused append for the end of the world, and nothing is lost by waiting, since nobody was
    /// told of the entry yet.
    async fn append_one(&self, entry: &Entry) -> Result<(), io::Error> {
        loop {
            let appended = lock(&self.shared.log).append(entry);
            let Err(EntryLogError::NoSpace(id)) = appended else {
                if self.shared.wants_room.swap(false, Ordering::AcqRel) {
                    tracing::info!("the disk has room for the metadata log again");
                }
                return Ok(appended?);
            };
            if self.shared.is_stopping.load(Ordering::Acquire) {
                return Err(EntryLogError::NoSpace(id).into());
            }
            if !self.shared.wants_room.swap(true, Ordering::AcqRel) {
                tracing::error!(
                    entry = %id,
                    "no room on the disk for the metadata log; no change of metadata is possible until there is"
                );
            }
            tokio::time::sleep(ROOM_RETRY).await;
        }
    }

    /// Writes what is still only in memory and closes the log cleanly.
    ///
    /// # Errors
    /// Any fault of the disk.
    pub(crate) async fn close(&self) -> Result<(), io::Error> {
        let shared = Arc::clone(&self.shared);
        run_blocking(&self.shared.spawn, move || {
            shared.settle()?;
            let last_job = lock(&shared.log).close()?;
            if let Some(job) = last_job {
                shared.perform(job)?;
            }
            shared.store_state(|_| {})
        })
        .await?
    }

    /// Makes every append so far durable.
    ///
    /// # Errors
    /// Any fault of the disk.
    pub(crate) async fn flush(&self) -> Result<(), io::Error> {
        let shared = Arc::clone(&self.shared);
        run_blocking(&self.shared.spawn, move || shared.flush_log()).await?
    }

    /// Lets an empty log go on at `index`.
    #[cfg(test)]
    pub(crate) fn begin_if_empty(&self, index: u64) {
        let mut log = lock(&self.shared.log);
        if log.first() == log.next() {
            log.purge_to(index).unwrap();
        }
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>, io::Error> {
        Ok(lock(&self.shared.log).read(range, bytes_max)?)
    }
}

impl Shared {
    /// Stores the raft state after `change`, behind every append so far: openraft wants its writes
    /// done in the order it asked for them. Runs on the worker.
    fn store_state(&self, change: impl FnOnce(&mut HardState)) -> Result<(), io::Error> {
        self.flush_log()?;
        let mut file = lock(&self.file);
        let mut state = lock(&self.state).clone();
        state.recovery_point = lock(&self.log).recovery_point();
        change(&mut state);
        file.store(&state).map_err(in_io)?;
        lock(&self.log).noted(state.recovery_point, state.purged.next_index())?;
        let mut known = lock(&self.state);
        // The committed index may have risen meanwhile; in the file it is only ever behind.
        state.committed = known.committed;
        *known = state;
        Ok(())
    }

    /// The bounds of `range` within the log.
    fn clamp(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let log = lock(&self.log);
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        start.max(log.first())..end.min(log.next())
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(self.shared.clamp(&range), usize::MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(lock(&self.shared.state).vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(self.shared.clamp(&(start..end)), READ_BYTES_MAX)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let last_purged_log_id = lock(&self.shared.state).purged;
        let last_log_id = lock(&self.shared.log).last().or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (shared, vote) = (Arc::clone(&self.shared), *vote);
        run_blocking(&self.shared.spawn, move || {
            shared.store_state(|state| state.vote = Some(vote))
        })
        .await?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        lock(&self.shared.state).committed = committed;
        if lock(&self.shared.queue).commit_noted(COMMITS_UNSAVED_MAX) {
            self.shared.clone().store_state_later();
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let committed = lock(&self.shared.state).committed;
        let last = self.get_log_state().await?.last_log_id;
        // A follower may learn that an entry is committed before its own copy is durable.
        Ok(committed.min(last))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        for entry in entries {
            self.append_one(&entry).await?;
        }
        Shared::flush_later(&self.shared, callback)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let shared = Arc::clone(&self.shared);
        run_blocking(&self.shared.spawn, move || {
            shared.flush_log()?;
            lock(&shared.log).truncate_to(last_log_id.next_index())?;
            shared.flush_log()
        })
        .await?
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let shared = Arc::clone(&self.shared);
        run_blocking(&self.shared.spawn, move || {
            // Noted first: the log's own start then never lies beyond what is known to be purged.
            shared.store_state(|state| state.purged = state.purged.max(Some(log_id)))?;
            Ok(lock(&shared.log).purge_to(log_id.index.saturating_add(1))?)
        })
        .await?
    }
}
