//! The log of one partition: what is written where, and which of it is durable.
//!
//! Invariants, checked by `check_invariants`: `log_start <= log_end`, `durable_end <= log_end`;
//! segments follow each other, and only the last is appended to; what is below `durable_end`
//! survives a power cut.

mod append;
mod check;
mod flush;
mod lookup;
mod producing;
mod reading;
mod search;
mod truncate;

pub use append::{AppendOutcome, AppendedBatch, AssignedOutcome};
pub use check::SoundBatches;
pub use flush::{FlushJob, StateFile};
pub use lookup::TimestampFound;
pub use producing::ProducerState;
pub use reading::{LogSlice, ReadOutcome, ReadRequest};
pub use search::TimestampSearch;
pub use truncate::StartOutcome;

use crate::compaction::Cleaning;
use crate::config::LogConfig;
use crate::epochs::{EpochEnd, EpochStart, Epochs};
use crate::fault::{LogFault, Result};
use crate::producers::Producers;
use crate::read::Warming;
use crate::retention::{Share, Trash};
use crate::segment::{At, Segment};
use crate::tail::Positions;
use flush::Flushing;
use jocko_disk::DiskRef;
use jocko_types::{LeaderEpoch, Offset, Timestamp, TopicId};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The log of one partition.
#[derive(Debug)]
pub struct Log {
    pub(crate) disk: DiskRef,
    pub(crate) dir: PathBuf,
    pub(crate) config: LogConfig,
    pub(crate) topic_id: Option<TopicId>,
    /// Oldest first; empty until the first append.
    pub(crate) segments: Vec<Segment>,
    pub(crate) log_start: Offset,
    pub(crate) next: Offset,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
    pub(crate) positions: Positions,
    /// What was not in memory and is being warmed by those who want to read it; the newest last.
    pub(crate) warming: VecDeque<Warming>,
    pub(crate) flushing: Flushing,
    pub(crate) trash: Trash,
    /// Base offset and checksum of the last batch.
    pub(crate) last_batch: Option<(Offset, u32)>,
    /// Sealed segments whose files are open, least recently used first.
    open_segments: Vec<Offset>,
    latched: Option<Arc<str>>,
    pub(crate) folder_exists: bool,
    /// Snapshots were written since old ones were last looked for.
    pub(crate) snapshots_due: bool,
    /// Counts what takes records or files away: a search without the lock is void after it.
    pub(crate) shape: u64,
    pub(crate) cleaning: Cleaning,
    /// Gaps below are lawful: the leader that was followed had them.
    pub(crate) followed_to: Offset,
    pub(crate) share: Share,
}

impl Log {
    /// A log without files.
    pub(crate) fn blank(
        disk: DiskRef,
        dir: &Path,
        config: LogConfig,
        topic_id: Option<TopicId>,
        start: Offset,
    ) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            config,
            topic_id,
            segments: Vec::new(),
            log_start: start,
            next: start,
            epochs: Epochs::default(),
            producers: Producers::default(),
            positions: Positions::default(),
            warming: VecDeque::new(),
            flushing: Flushing::starting_at(start),
            trash: Trash::default(),
            last_batch: None,
            open_segments: Vec::new(),
            latched: None,
            folder_exists: false,
            snapshots_due: true,
            shape: 0,
            cleaning: Cleaning::default(),
            followed_to: Offset::ZERO,
            share: Share::default(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first offset that may be read.
    #[must_use]
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset the next record gets.
    #[must_use]
    pub const fn log_end(&self) -> Offset {
        self.next
    }

    /// Everything below this survives a power cut.
    #[must_use]
    pub const fn durable_end(&self) -> Offset {
        self.flushing.durable
    }

    /// Bytes of all segments that are not dropped.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// How many segments there are.
    #[must_use]
    pub const fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// The first failed write or sync, after which nothing more is written (DR2).
    #[must_use]
    pub fn latched(&self) -> Option<LogFault> {
        let reason = self.latched.clone()?;
        Some(LogFault::Latched { path: self.dir.clone(), reason })
    }

    /// The settings in force.
    #[must_use]
    pub const fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Puts other settings in force from the next call on.
    pub fn reconfigure(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The newest leader that wrote here, or was announced to.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<EpochStart> {
        self.epochs.latest()
    }

    /// All leaders, oldest first.
    #[must_use]
    pub fn epochs(&self) -> &[EpochStart] {
        self.epochs.all()
    }

    /// Who wrote `offset`, if that is still known.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.at(offset)
    }

    /// Where the epoch `asked` ends here, as OffsetForLeaderEpoch answers it (KIP-101, KIP-279).
    #[must_use]
    pub fn epoch_end_offset(&self, asked: LeaderEpoch) -> EpochEnd {
        self.epochs.end_of(asked, self.next)
    }

    /// Notes that the leader of `epoch` writes from `start` on; a leader calls it with the log's
    /// end when it takes office. A log without a single record remembers it in memory only.
    ///
    /// # Errors
    /// The latch.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<()> {
        self.check_latch()?;
        if self.epochs.assign(epoch, start) {
            self.note_epochs();
        }
        Ok(())
    }

    pub(crate) fn at(&self) -> (DiskRef, PathBuf) {
        (self.disk.clone(), self.dir.clone())
    }

    pub(crate) fn check_latch(&self) -> Result<()> {
        self.latched().map_or(Ok(()), Err)
    }

    /// Closes the log to writes; the first reason stays.
    pub(crate) fn latch(&mut self, fault: &LogFault) {
        if self.latched.is_none() {
            self.latched = Some(fault.to_string().into());
        }
    }

    /// Runs a change of the log's files; a fault leaves them in an unknown state and latches.
    pub(crate) fn or_latch<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(fault) = &result {
            self.latch(fault);
        }
        result
    }

    /// As [`Log::or_latch`] for what is asked for again later: a want of descriptors is no reason.
    pub(crate) fn or_latch_unless_wanting<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(LogFault::is_want_of_descriptors) {
            return result;
        }
        self.or_latch(result)
    }

    /// The place of the segment that would hold `offset`.
    pub(crate) fn segment_of(&self, offset: Offset) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base <= offset).checked_sub(1)
    }

    /// The segment at `place` and where its files are.
    pub(crate) fn segment(&mut self, place: usize) -> Option<(&mut Segment, At<'_>)> {
        let at: At<'_> = (self.disk.as_ref(), &self.dir);
        self.segments.get_mut(place).map(|segment| (segment, at))
    }

    /// The last segment and where its files are.
    pub(crate) fn active(&mut self) -> Option<(&mut Segment, At<'_>)> {
        let at: At<'_> = (self.disk.as_ref(), &self.dir);
        self.segments.last_mut().map(|segment| (segment, at))
    }

    /// Notes the use of a sealed segment, and closes the files of the one that was not used for
    /// longest if too many are open.
    pub(crate) fn touch(&mut self, place: usize) {
        let sealed = place + 1 < self.segments.len();
        let Some(base) = self.segments.get(place).filter(|_| sealed).map(|segment| segment.base)
        else {
            return;
        };
        self.open_segments.retain(|open| *open != base);
        self.open_segments.push(base);
        if self.open_segments.len() > self.config.open_segments_max.max(1) {
            let oldest = self.open_segments.remove(0);
            self.release(oldest);
        }
    }

    /// Closes a sealed segment's files, unless a sync of them is still due: an error of write-back
    /// is only told to descriptors that were open.
    fn release(&mut self, base: Offset) {
        let durable = self.flushing.durable;
        if let Some(place) = self.segment_of(base)
            && place + 1 < self.segments.len()
            && let Some(segment) = self.segments.get_mut(place)
            && segment.base == base
            && segment.next <= durable
        {
            segment.release();
        }
    }

    /// Forgets the use of segments that are replaced.
    pub(crate) fn forget_open(&mut self, goes: impl Fn(Offset) -> bool) {
        self.open_segments.retain(|open| !goes(*open));
    }

    /// Closes the files of sealed segments that are durable and were not used lately.
    pub(crate) fn close_idle_segments(&mut self) {
        let sealed = self.segments.len().saturating_sub(1);
        let durable = self.flushing.durable;
        for segment in self.segments.iter_mut().take(sealed) {
            let is_idle = !self.open_segments.contains(&segment.base);
            if is_idle && segment.open_files() > 0 && segment.next <= durable {
                segment.release();
            }
        }
    }

    /// Descriptors held.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.segments.iter().map(Segment::open_files).sum()
    }

    /// # Panics
    /// If the log contradicts itself; tests call it after every step.
    pub fn check_invariants(&self) {
        assert!(self.log_start <= self.next, "P-1: the log starts before it ends");
        assert!(self.flushing.durable <= self.next, "only what is there can be durable");
        for pair in self.segments.windows(2) {
            if let [earlier, later] = pair {
                assert!(earlier.next <= later.base, "segments do not overlap");
                assert!(earlier.base < later.base, "segments ascend");
            }
        }
        if let Some(last) = self.segments.last() {
            assert_eq!(last.next, self.next, "the last segment ends the log");
        }
        if let Some(first) = self.segments.first() {
            assert!(first.base <= self.log_start, "the log starts within its first segment");
        }
        assert!(self.epochs.latest().is_none_or(|last| last.start <= self.next), "P-4");
    }

    /// Forgets producers that were silent too long; returns how many.
    pub(crate) fn expire_producers(&mut self, now: Timestamp) -> usize {
        self.producers.expire(now, self.config.producer_expiration)
    }
}

#[cfg(test)]
mod tests;
