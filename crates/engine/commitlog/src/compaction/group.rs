//! Groups of segments, each copied into one: which batches and records stay.

use super::copy::{self, Cleaned, Copy};
use super::mark::{self, Mark};
use super::pass::{Go, Pass, is_judged, is_too_large, with};
use super::source::{Batches, Placed, Source, damage};
use crate::config::LogConfig;
use crate::fault::{LogFault, Result};
use crate::log::Log;
use jocko_records::{BATCH_HEADER_BYTES, BatchHeader, BatchView, RecordView, Retained};
use jocko_records::{RetainScratch, emptied_batch};
use jocko_types::{Offset, Timestamp};

/// Segments joined into one at most: each is renamed under the log's lock.
const GROUP_MAX: usize = 64;
/// Copies are put in place once they hold so many bytes: until then their room is wanted twice.
const SWAP_BYTES: u64 = 16 << 20;
/// Or once they replace so many segments.
const SWAP_SOURCES: usize = GROUP_MAX / 2;

/// Cuts sources into groups that fit into one segment each, as Kafka does.
pub(super) struct Groups<'a> {
    rest: &'a [Source],
    config: &'a LogConfig,
}

impl<'a> Groups<'a> {
    pub(super) const fn new(sources: &'a [Source], config: &'a LogConfig) -> Self {
        Self { rest: sources, config }
    }
}

impl<'a> Iterator for Groups<'a> {
    type Item = &'a [Source];

    fn next(&mut self) -> Option<&'a [Source]> {
        let first = self.rest.first()?;
        let bytes_max = u64::from(self.config.segment_bytes_max);
        let index_bytes_max = u64::from(self.config.index_bytes_max);
        let (mut bytes, mut index_bytes) = (0, 0);
        let fits = |source: &&Source| {
            bytes += source.size;
            index_bytes += source.index_bytes;
            let reach = first.base.distance_to(source.next);
            bytes <= bytes_max && index_bytes <= index_bytes_max && reach <= i64::from(i32::MAX)
        };
        let count = self.rest.iter().take(GROUP_MAX).take_while(fits).count().max(1);
        let (group, rest) = self.rest.split_at(count);
        self.rest = rest;
        Some(group)
    }
}

/// How the copy of a group went.
enum Copied {
    Written(Cleaned),
    /// It would be no different.
    Same,
    Stopped,
}

/// What to do with one batch.
enum Fate<'a> {
    Keep,
    Put(&'a [u8]),
    /// Its records go; the header stays if somebody needs it.
    Empty,
}

impl Pass<'_> {
    /// Writes the copy of a group, if it differs from what there is, and puts what has gathered in
    /// place once it is much.
    pub(super) fn clean(&mut self, group: &[Source]) -> Result<Go> {
        if self.copies.is_empty() && self.sync_names()? == Go::Stop {
            return Ok(Go::Stop);
        }
        let cleaned = match self.copy(group) {
            Ok(Copied::Written(cleaned)) => cleaned,
            Ok(Copied::Same) => return Ok(Go::On),
            Ok(Copied::Stopped) => {
                self.discard(group)?;
                return Ok(Go::Stop);
            }
            Err(fault) => return self.copy_failed(fault, group),
        };
        self.copies.push(cleaned);
        let bytes: u64 = self.copies.iter().map(|copy| copy.size).sum();
        let sources: usize = self.copies.iter().map(|copy| copy.sources.len()).sum();
        if bytes < SWAP_BYTES && sources < SWAP_SOURCES {
            return Ok(Go::On);
        }
        self.put_in_place(self.mark_of_part())
    }

    /// The mark for as long as not all is done.
    fn mark_of_part(&self) -> Mark {
        self.mark_to(self.plan.mark.map_or(Offset::ZERO, |mark| mark.cleaned_to))
    }

    fn copy_failed(&mut self, fault: LogFault, group: &[Source]) -> Result<Go> {
        let copies = std::mem::take(&mut self.copies);
        // Where room was wanting it is wanted back. What stays is overwritten or removed by the
        // next pass or start.
        self.discard(group)?;
        self.copies = copies;
        if self.is_void(group) {
            self.discard(&[])?;
            return Ok(Go::Stop);
        }
        // What replaces more than it takes makes room for the next pass.
        if !self.copies.is_empty() && self.put_in_place(self.mark_of_part())? == Go::Stop {
            return Ok(Go::Stop);
        }
        Err(fault)
    }

    /// Removes the copies that are not in place, and what there is of this group's.
    fn discard(&mut self, group: &[Source]) -> Result<()> {
        let (disk, dir) = (self.plan.disk.as_ref(), self.plan.dir.as_path());
        let copies = self.copies.drain(..).map(|copy| copy.base);
        let begun = group.first().map(|first| first.base);
        copies.chain(begun).try_for_each(|base| copy::discard(disk, dir, base))
    }

    fn copy(&mut self, group: &[Source]) -> Result<Copied> {
        let plan = self.plan;
        let at = (plan.disk.as_ref(), plan.dir.as_path());
        let Some(last) = group.iter().rposition(|source| source.size > 0) else {
            return Ok(Copied::Same);
        };
        let mut copy: Option<Copy<'_>> = None;
        for (place, source) in group.iter().enumerate() {
            let mut batches = Batches::open(at.0, at.1, source)?;
            let copy = copy.get_or_insert_with(|| {
                let only = (group.len() == 1).then(|| batches.file().clone());
                Copy::new(at, source.base, plan.config.index_interval_bytes, only)
            });
            loop {
                let size = copy.size();
                let Some(header) = batches.peek()? else { break };
                let is_last = place == last && batches.is_last(&header);
                let Some(placed) = batches.next()? else { break };
                self.copy_batch(copy, &placed, is_last)?;
                let written = if copy.is_pristine() { 0 } else { copy.size() - size };
                let read = batches.take_read();
                if self.paced(read, written) == Go::Stop {
                    return Ok(Copied::Stopped);
                }
            }
        }
        match copy {
            Some(copy) if !copy.is_pristine() => {
                let next = group.last().map_or(Offset::ZERO, |last| last.next);
                Ok(Copied::Written(copy.finish(group.to_vec(), next)?))
            }
            _ => Ok(Copied::Same),
        }
    }

    fn copy_batch(
        &mut self,
        copy: &mut Copy<'_>,
        placed: &Placed<'_>,
        is_last: bool,
    ) -> Result<()> {
        let batch = &placed.batch;
        let header = *batch.header();
        let mut scratch = std::mem::take(&mut self.scratch);
        let fate = self
            .judge(batch, &mut scratch)
            .map_err(|error| damage(placed.file, placed.position, &header, &error))?;
        match fate {
            Fate::Keep => copy.keep(&header, batch.bytes())?,
            Fate::Put(bytes) => copy.put(bytes)?,
            Fate::Empty if is_last || self.is_last_of_producer(&header) => {
                if batch.bytes().len() == BATCH_HEADER_BYTES {
                    copy.keep(&header, batch.bytes())?;
                } else {
                    copy.put(&emptied_batch(&header))?;
                }
            }
            Fate::Empty => copy.part()?,
        }
        self.scratch = scratch;
        Ok(())
    }

    fn judge<'s>(
        &mut self,
        batch: &BatchView<'_>,
        scratch: &'s mut RetainScratch,
    ) -> std::result::Result<Fate<'s>, jocko_records::BatchError> {
        let header = batch.header();
        // What the map does not cover is for another pass; markers are for those who know what
        // they end.
        if header.base_offset >= self.mapped_to || header.is_control() {
            return Ok(Fate::Keep);
        }
        let request = self.request;
        let horizon = millis_after(request.now, self.plan.config.compaction.delete_retention);
        let limit = request.decompressed_bytes_max;
        let mut tally = Tally::default();
        let keeps = |record: &RecordView<'_>| self.keeps(header, record, &mut tally);
        let retained = match scratch.retain(batch, limit, horizon, keeps) {
            Err(error) if is_too_large(&error) => {
                self.done.batches_unread += 1;
                return Ok(Fate::Keep);
            }
            other => other?,
        };
        self.done.records_dropped += tally.dropped;
        self.done.tombstones_dropped += tally.tombstones;
        self.done.keyless_dropped += tally.keyless;
        Ok(match retained {
            Retained::Whole => Fate::Keep,
            Retained::Rebuilt(bytes) => Fate::Put(bytes),
            Retained::Nothing => Fate::Empty,
        })
    }

    /// C-1, record by record.
    fn keeps(&self, header: &BatchHeader, record: &RecordView<'_>, tally: &mut Tally) -> bool {
        let offset = header.base_offset.plus(i64::from(record.offset_delta));
        if offset >= self.mapped_to {
            return true;
        }
        let Some(key) = record.key else {
            tally.keyless += 1;
            tally.dropped += 1;
            return false;
        };
        if self.map.get(key).is_some_and(|newest| newest > offset) {
            tally.dropped += 1;
            return false;
        }
        // Only one that was cleaned before has had its time: whoever wrote the batch may have
        // claimed any horizon. One of a transaction may be all that keeps an older value down.
        let is_over = record.value.is_none()
            && is_judged(header)
            && offset < self.plan.scope.first_dirty
            && header.delete_horizon().is_some_and(|horizon| self.request.now >= horizon);
        tally.tombstones += u64::from(is_over);
        tally.dropped += u64::from(is_over);
        !is_over
    }

    /// Whether the header is all that tells where a producer's sequence stands.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        header.is_idempotent()
            && self.plan.producers.get(&header.producer_id) == Some(&header.last_offset())
    }

    /// The three steps of a swap of all copies that have gathered, each durable before the next.
    pub(super) fn put_in_place(&mut self, mark: Mark) -> Result<Go> {
        let (access, cuts, now) = (self.access, self.plan.cuts, self.request.now);
        let mark = Some(mark).filter(|mark| self.marked.or(self.plan.mark) != Some(*mark));
        if let Err(fault) = self.sync_copies(mark) {
            let sources: Vec<&[Source]> =
                self.copies.iter().map(|copy| copy.sources.as_slice()).collect();
            let is_void = sources.into_iter().any(|sources| self.is_void(sources));
            self.discard(&[])?;
            return if is_void { Ok(Go::Stop) } else { Err(fault) };
        }
        let copies = std::mem::take(&mut self.copies);
        match with(access, |log| log.begin_swap(&copies, cuts)) {
            Some(Ok(true)) => {}
            Some(Err(fault)) => return Err(fault),
            Some(Ok(false)) | None => {
                self.copies = copies;
                self.discard(&[])?;
                self.discard_mark()?;
                return Ok(Go::Stop);
            }
        }
        if self.sync_folder()? == Go::Stop {
            return Ok(Go::Stop);
        }
        // Whoever takes the swap away from here on sees to the files.
        let installed = with(access, |log| log.install_swap(&copies, mark, now)).transpose()?;
        if !installed.unwrap_or(false) {
            self.discard_mark()?;
            return Ok(Go::Stop);
        }
        self.marked = mark.or(self.marked);
        if self.sync_folder()? == Go::Stop {
            return Ok(Go::Stop);
        }
        if !with(access, Log::end_swap).transpose()?.unwrap_or(false) {
            return Ok(Go::Stop);
        }
        for copy in &copies {
            self.done.bytes_before += copy.sources.iter().map(|source| source.size).sum::<u64>();
            self.done.bytes_after += copy.size;
            self.done.segments_before += copy.sources.len() as u64;
            self.done.segments_after += 1;
        }
        Ok(Go::On)
    }

    /// Makes the copies and the mark that goes with them durable under the names they have. All of
    /// it is on its way to the device already, so that the first sync does the work of the others.
    fn sync_copies(&self, mark: Option<Mark>) -> Result<()> {
        let (disk, dir) = (self.plan.disk.as_ref(), self.plan.dir.as_path());
        let mark = mark.map(|mark| mark.prepare(disk, dir)).transpose()?;
        self.copies.iter().try_for_each(Cleaned::sync)?;
        if let Some(mark) = mark {
            mark.sync_data()?;
        }
        Ok(())
    }

    /// Sees to it that the names the last swap gave are durable: beside a new `.cleaned` they would
    /// mean something else.
    fn sync_names(&mut self) -> Result<Go> {
        let idle = match with(self.access, |log| log.flushing.idle_names()) {
            None => return Ok(Go::Stop),
            Some(None) => return Ok(Go::On),
            Some(idle) => idle,
        };
        if self.sync_folder()? == Go::Stop {
            return Ok(Go::Stop);
        }
        let synced = |log: &mut Log| {
            if log.flushing.idle_names() == idle {
                log.flushing.idle_names_synced();
            }
        };
        Ok(with(self.access, synced).map_or(Go::Stop, |()| Go::On))
    }

    fn discard_mark(&self) -> Result<()> {
        mark::discard(self.plan.disk.as_ref(), &self.plan.dir)
    }
}

/// Records left out of one batch.
#[derive(Default)]
struct Tally {
    dropped: u64,
    tombstones: u64,
    keyless: u64,
}

fn millis_after(now: Timestamp, wait: std::time::Duration) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_add(crate::config::millis(wait)))
}
