//! Groups of segments, each copied into one: which batches and records stay.

use super::copy::{self, Cleaned, Copy};
use super::pass::{Go, Pass, is_judged, is_too_large, with};
use super::source::{Batches, Placed, Source, damage};
use crate::config::LogConfig;
use crate::fault::Result;
use jocko_records::{BATCH_HEADER_BYTES, BatchHeader, BatchView, RecordView, Retained};
use jocko_records::{RetainScratch, emptied_batch};
use jocko_types::{Offset, Timestamp};

/// Segments joined into one at most: each is renamed under the log's lock.
const GROUP_MAX: usize = 64;

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
    /// Writes the copy of a group and puts it in place, if it differs from what there is.
    pub(super) fn clean(&mut self, group: &[Source]) -> Result<Go> {
        let (disk, dir) = (self.plan.disk.as_ref(), self.plan.dir.as_path());
        let Some(base) = group.first().map(|first| first.base) else { return Ok(Go::On) };
        let cleaned = match self.copy(group) {
            Ok(Copied::Written(cleaned)) => cleaned,
            Ok(Copied::Same) => return Ok(Go::On),
            Ok(Copied::Stopped) => {
                copy::discard(disk, dir, base)?;
                return Ok(Go::Stop);
            }
            Err(fault) => {
                let void = self.unless_void(fault, group);
                // Where room was wanting it is wanted back. What stays is overwritten or removed
                // by the next pass or start.
                copy::discard(disk, dir, base)?;
                return void;
            }
        };
        if self.put_in_place(&cleaned)? == Go::Stop {
            return Ok(Go::Stop);
        }
        self.done.bytes_before += group.iter().map(|source| source.size).sum::<u64>();
        self.done.bytes_after += cleaned.size;
        self.done.segments_before += group.len() as u64;
        self.done.segments_after += 1;
        Ok(Go::On)
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

    /// The three steps of a swap, each durable before the next.
    fn put_in_place(&mut self, cleaned: &Cleaned) -> Result<Go> {
        let (access, cuts, now) = (self.access, self.plan.cuts, self.request.now);
        let (disk, dir) = (self.plan.disk.as_ref(), self.plan.dir.as_path());
        match with(access, |log| log.begin_swap(cleaned, cuts)) {
            Some(Ok(true)) => {}
            Some(Err(fault)) => return Err(fault),
            Some(Ok(false)) | None => {
                copy::discard(disk, dir, cleaned.base)?;
                return Ok(Go::Stop);
            }
        }
        if self.sync_folder()? == Go::Stop {
            return Ok(Go::Stop);
        }
        // Whoever takes the swap away from here on sees to the files.
        if !with(access, |log| log.install_swap(cleaned, now)).transpose()?.unwrap_or(false) {
            return Ok(Go::Stop);
        }
        if self.sync_folder()? == Go::Stop {
            return Ok(Go::Stop);
        }
        if !with(access, |log| log.end_swap(cleaned.base)).transpose()?.unwrap_or(false) {
            return Ok(Go::Stop);
        }
        self.sync_folder()
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
