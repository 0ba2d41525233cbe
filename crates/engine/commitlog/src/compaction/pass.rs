//! One pass over a log: map the dirty part, copy all of it group by group, put the copies in place.

use super::copy::Cleaned;
use super::dirt::Scope;
use super::group::Groups;
use super::key_map::KeyMap;
use super::mark::{self, Mark};
use super::source::{Batches, Placed, Source, damage};
use super::{Compacted, CompactionEnd, CompactionRequest};
use crate::config::LogConfig;
use crate::fault::{LogFault, Result};
use crate::log::Log;
use jocko_disk::DiskRef;
use jocko_records::{BatchError, BatchFault, BatchHeader, RetainScratch};
use jocko_types::{Offset, ProducerId};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Runs work on the log under its lock, or not at all if the log is gone.
pub type Access<'a> = &'a dyn Fn(&mut dyn FnMut(&mut Log));

/// Compacts a log once, as far as one map of its keys reaches. Takes its lock through `access` for
/// a few short looks and renames, and reads, writes and syncs without it: for a thread of its own.
///
/// `pace` is told of every piece of bytes read or written; it may wait, to be slow on purpose, and
/// ends the pass by answering `false`.
///
/// # Errors
/// A disk fault or damage that was met. The log is latched only if it may have suffered: by a
/// failed rename or sync of its folder.
pub fn compact(
    access: Access<'_>,
    request: &CompactionRequest,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<CompactionEnd> {
    let Some(plan) = with(access, |log| log.plan(request)) else {
        return Ok(CompactionEnd::Interrupted(Compacted::default()));
    };
    let Some(plan) = plan? else { return Ok(CompactionEnd::Idle) };
    let first_dirty = plan.scope.first_dirty;
    let dirty = || plan.scope.sources.iter().filter(|source| source.next > first_dirty);
    let keys_max = dirty().map(|source| source.base.max(first_dirty).distance_to(source.next));
    let keys_max = keys_max.map(i64::unsigned_abs).sum();
    let mut pass = Pass {
        access,
        request,
        pace,
        map: KeyMap::new(request.map_bytes_max, keys_max, request.seed),
        mapped_to: first_dirty,
        plan: &plan,
        done: Compacted { cleaned_to: first_dirty, ..Compacted::default() },
        copies: Vec::new(),
        marked: None,
        scratch: RetainScratch::default(),
        unpacked: Vec::new(),
    };
    match pass.run()? {
        Go::On => Ok(CompactionEnd::Done(pass.done)),
        Go::Stop => Ok(CompactionEnd::Interrupted(pass.done)),
    }
}

/// Runs work on the log; `None` if it is gone.
pub(super) fn with<T>(access: Access<'_>, work: impl FnOnce(&mut Log) -> T) -> Option<T> {
    let (mut work, mut done) = (Some(work), None);
    access(&mut |log| done = work.take().map(|work| work(log)));
    done
}

/// Whether records of this batch go by their keys alone. Whether a transaction counts is known
/// from its marker only, which may lie beyond the bound: its records are no reason for others to
/// go.
pub(super) const fn is_judged(header: &BatchHeader) -> bool {
    !header.is_control() && !header.is_transactional() && header.record_count > 0
}

/// Whether a batch is damaged, or merely larger than what is unpacked today.
pub(super) const fn is_too_large(error: &BatchError) -> bool {
    matches!(error.fault(), BatchFault::DecompressedTooLarge { .. })
}

/// Whether a pass goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    On,
    Stop,
}

/// How much of a segment is in the map.
enum Mapped {
    All,
    Stopped,
    /// No room for this record of this batch.
    Full {
        batch: Offset,
        record: Offset,
    },
}

/// What a pass needs to know of its log.
pub(super) struct Plan {
    pub(super) disk: DiskRef,
    pub(super) dir: PathBuf,
    pub(super) scope: Scope,
    /// Where each producer's last batch ends that is durable and below the pass's bound.
    pub(super) producers: BTreeMap<ProducerId, Offset>,
    pub(super) config: LogConfig,
    pub(super) mark: Option<Mark>,
    pub(super) cuts: u64,
}

impl Log {
    fn plan(&mut self, request: &CompactionRequest) -> Result<Option<Plan>> {
        self.check_latch()?;
        let scope = self.scope(request.upper, request.now)?;
        if scope.dirt.dirty_bytes == 0 {
            return Ok(None);
        }
        // What is not durable may be lost with the power: the one before it is the last one then.
        let upper = request.upper.min(self.durable_end());
        let last = |batches: &std::collections::VecDeque<crate::producers::Appended>| {
            let mut newest_first = batches.iter().rev().map(|batch| batch.last_offset);
            newest_first.find(|last_offset| *last_offset < upper)
        };
        let producers = self.producers.iter();
        Ok(Some(Plan {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            scope,
            producers: producers
                .filter_map(|(id, producer)| Some((id, last(&producer.batches)?)))
                .collect(),
            config: self.config.clone(),
            mark: self.cleaning.mark,
            cuts: self.cleaning.cuts,
        }))
    }
}

pub(super) struct Pass<'a> {
    pub(super) access: Access<'a>,
    pub(super) request: &'a CompactionRequest,
    pub(super) pace: &'a mut dyn FnMut(u64) -> bool,
    pub(super) plan: &'a Plan,
    pub(super) map: KeyMap,
    /// The map holds every key from the first dirty offset to here.
    pub(super) mapped_to: Offset,
    pub(super) done: Compacted,
    /// Copies that are written and not yet in place.
    pub(super) copies: Vec<Cleaned>,
    /// The mark that came into force with those that are.
    pub(super) marked: Option<Mark>,
    pub(super) scratch: RetainScratch,
    unpacked: Vec<u8>,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<Go> {
        if self.map_keys()? == Go::Stop {
            return Ok(Go::Stop);
        }
        self.done.keys = self.map.len() as u64;
        let plan = self.plan;
        let reach = plan.scope.sources.partition_point(|source| source.base < self.mapped_to);
        let sources = plan.scope.sources.get(..reach).unwrap_or_default();
        for group in Groups::new(sources, &plan.config) {
            if group.iter().all(|source| source.size == 0) {
                continue;
            }
            if self.clean(group)? == Go::Stop {
                return Ok(Go::Stop);
            }
        }
        self.done.cleaned_to = self.mapped_to;
        let mark = self.mark_to(self.mapped_to);
        if self.copies.is_empty() { self.mark(mark) } else { self.put_in_place(mark) }
    }

    pub(super) fn paced(&mut self, read: u64, written: u64) -> Go {
        self.done.bytes_read += read;
        let bytes = read + written;
        if bytes == 0 || (self.pace)(bytes) { Go::On } else { Go::Stop }
    }

    /// Reads the dirty segments into the map, as many as it takes.
    fn map_keys(&mut self) -> Result<Go> {
        let plan = self.plan;
        let first_dirty = plan.scope.first_dirty;
        for source in plan.scope.sources.iter().filter(|source| source.next > first_dirty) {
            let mapped = match self.map_segment(source) {
                Err(fault) => return self.unless_void(fault, std::slice::from_ref(source)),
                Ok(mapped) => mapped,
            };
            match mapped {
                Mapped::All => self.mapped_to = source.next,
                Mapped::Stopped => return Ok(Go::Stop),
                Mapped::Full { batch, record } => {
                    self.done.is_partial = true;
                    // Whole segments if there are any, else whole batches: a tombstone is best
                    // mapped before its batch is first cleaned.
                    if self.mapped_to == first_dirty {
                        self.mapped_to = if batch > first_dirty { batch } else { record };
                    }
                    return Ok(Go::On);
                }
            }
        }
        Ok(Go::On)
    }

    fn map_segment(&mut self, source: &Source) -> Result<Mapped> {
        let mut batches = Batches::open(self.plan.disk.as_ref(), &self.plan.dir, source)?;
        while let Some(header) = batches.peek()? {
            if header.last_offset() < self.plan.scope.first_dirty || !is_judged(&header) {
                batches.skip(&header);
            } else if let Some(record) = self.map_batch(&mut batches)? {
                return Ok(Mapped::Full { batch: header.base_offset, record });
            }
            let read = batches.take_read();
            if self.paced(read, 0) == Go::Stop {
                return Ok(Mapped::Stopped);
            }
        }
        Ok(Mapped::All)
    }

    /// Notes the keys of the next batch. The offset where the map was full, if it was.
    fn map_batch(&mut self, batches: &mut Batches) -> Result<Option<Offset>> {
        let mut unpacked = std::mem::take(&mut self.unpacked);
        let mapped = self.map_records(batches, &mut unpacked);
        self.unpacked = unpacked;
        mapped
    }

    fn map_records(
        &mut self,
        batches: &mut Batches,
        unpacked: &mut Vec<u8>,
    ) -> Result<Option<Offset>> {
        let limit = self.request.decompressed_bytes_max;
        let Some(Placed { file, position, batch }) = batches.next()? else { return Ok(None) };
        let header = batch.header();
        let to_fault = |error: BatchError| damage(file, position, header, &error);
        let records = match batch.records(limit, unpacked) {
            Err(error) if is_too_large(&error) => return Ok(None),
            other => other.map_err(to_fault)?,
        };
        for record in records {
            let record = record.map_err(to_fault)?;
            let offset = header.base_offset.plus(i64::from(record.offset_delta));
            if let Some(key) = record.key.filter(|_| offset >= self.plan.scope.first_dirty)
                && !self.map.put(key, offset)
            {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    /// Whether the pass has lost its ground: the log is gone, or was cut or deleted from.
    pub(super) fn is_void(&self, sources: &[Source]) -> bool {
        let cuts = self.plan.cuts;
        let void = |log: &mut Log| log.cleaning.cuts != cuts || log.places_of(sources).is_none();
        with(self.access, void).unwrap_or(true)
    }

    /// What a fault means: nothing, if its cause is that the log changed under the pass.
    pub(super) fn unless_void(&self, fault: LogFault, sources: &[Source]) -> Result<Go> {
        if self.is_void(sources) { Ok(Go::Stop) } else { Err(fault) }
    }

    /// The mark of a log that this pass has cleaned up to there.
    pub(super) fn mark_to(&self, cleaned_to: Offset) -> Mark {
        let end = self.plan.scope.sources.last().map_or(Offset::ZERO, |last| last.next);
        Mark { cleaned_to, ..Mark::with_gaps_to(self.plan.mark, end) }
    }

    /// Notes how far the log is clean where nothing had to be copied.
    fn mark(&mut self, mark: Mark) -> Result<Go> {
        let plan = self.plan;
        let (disk, dir) = (plan.disk.as_ref(), plan.dir.as_path());
        if let Err(fault) = mark.prepare(disk, dir).and_then(|file| Ok(file.sync_data()?)) {
            return match with(self.access, |log| log.cleaning.cuts == plan.cuts) {
                Some(true) => Err(fault),
                Some(false) | None => Ok(Go::Stop),
            };
        }
        let put = |log: &mut Log| -> Result<Go> {
            // A truncation has written its own, which knows more.
            if log.cleaning.cuts != plan.cuts {
                return Ok(Go::Stop);
            }
            let published = mark.publish(disk, dir);
            log.or_latch(published)?;
            log.cleaning.mark = Some(mark);
            Ok(Go::On)
        };
        match with(self.access, put) {
            None => return Ok(Go::Stop),
            Some(Ok(Go::Stop)) => {
                mark::discard(disk, dir)?;
                return Ok(Go::Stop);
            }
            Some(published) => published?,
        };
        self.sync_folder()
    }

    /// Makes renames durable. A failed sync leaves nobody the wiser about what is: the log is
    /// latched (DR2).
    pub(super) fn sync_folder(&self) -> Result<Go> {
        let Err(fault) = self.plan.disk.sync_dir(&self.plan.dir) else { return Ok(Go::On) };
        let fault = LogFault::from(fault);
        match with(self.access, |log| log.latch(&fault)) {
            Some(()) => Err(fault),
            None => Ok(Go::Stop),
        }
    }
}
