//! Reading segments whole: checksums, order, and where the log ends.

use super::{Cut, OpenContext, Recovery};
use crate::fault::{LogFault, Result};
use crate::log::Log;
use crate::names::{self, Kind};
use crate::read::{Met, Miss, Patience, implausible, read_full};
use jocko_disk::FileRef;
use jocko_records::{BATCH_HEADER_BYTES, BatchHeader, Crc32c};
use jocko_types::{LeaderEpoch, Offset};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Where the bytes under a batch's checksum begin.
const CRC_FROM: usize = 21;

/// What a batch must look like to continue the log.
#[derive(Debug, Clone, Copy)]
struct Expected {
    offset: Offset,
    epoch: LeaderEpoch,
    /// Gaps that end here or before are compaction's.
    gaps_to: Offset,
}

/// Where a scan stopped for good.
struct Invalid {
    position: u64,
    reason: String,
}

impl Log {
    /// Scans from the segment that holds the recovery point on, cuts an invalid tail, rebuilds what
    /// is derived, and syncs what stays.
    pub(super) fn recover(&mut self, context: &OpenContext, report: &mut Recovery) -> Result<()> {
        let recovery_point = context.recovery_point;
        self.load_epochs(report)?;
        let epochs = self.epochs.clone();
        // The segment of the last durable record, even if it was sealed since: its indexes may
        // not have been synced.
        let first = self.segment_of(Offset::new(recovery_point.get() - 1)).unwrap_or(0);
        // What the file says of the records about to be read may be of others that were cut.
        if let Some(base) = self.segments.get(first).map(|segment| segment.base) {
            self.epochs.truncate_end(base);
        }
        let mut next = self.log_start;
        for place in first..self.segments.len() {
            let Some(base) = self.segments.get(place).map(|segment| segment.base) else { break };
            if place > first
                && base != next
                && !(base > next && base <= self.gaps_allowed_to(recovery_point))
            {
                let reason = format!("offset {base} follows, where {next} is due");
                self.cut_segments(place, next, recovery_point, reason, report)?;
                break;
            }
            let invalid = self.scan_segment(place, recovery_point, report)?;
            next = self.segments.get(place).map_or(next, |segment| segment.next);
            if let Some(invalid) = invalid {
                self.cut_tail(place, next, recovery_point, invalid, report)?;
                break;
            }
        }
        self.next = next.max(self.segments.last().map_or(next, |last| last.next));
        if self.next < recovery_point && self.log_start < recovery_point {
            return Err(self.corrupt_end(recovery_point));
        }
        self.rebuild_missing_indexes(first, report)?;
        self.end_scan(first, recovery_point)?;
        self.epochs.truncate_end(self.next);
        self.epochs.truncate_start(self.log_start);
        if self.epochs != epochs {
            self.note_epochs();
        }
        self.last_batch = self.find_last_batch()?;
        report.snapshots_refused += super::reload_producers(self, context.now)?;
        Ok(())
    }

    /// Reads one segment whole; it then ends where its last good batch does.
    fn scan_segment(
        &mut self,
        place: usize,
        recovery_point: Offset,
        report: &mut Recovery,
    ) -> Result<Option<Invalid>> {
        let interval = self.config.index_interval_bytes;
        let gaps_to = self.gaps_allowed_to(recovery_point);
        let Some((segment, at)) = self.segment(place) else { return Ok(None) };
        let (base, size) = (segment.base, segment.size);
        let file = segment.file(at)?;
        segment.reset();
        report.segments_scanned += 1;
        report.bytes_scanned += size;
        let mut scan = Scan::new(file, size);
        let before = Offset::new(base.get() - 1);
        let epoch = self.epochs.at(before).unwrap_or(LeaderEpoch::NONE);
        let mut expected = Expected { offset: base, epoch, gaps_to };
        loop {
            let met = match scan.next(&expected)? {
                Step::Batch(met) => met,
                Step::End => return Ok(None),
                Step::Invalid(reason) => {
                    return Ok(Some(Invalid { position: scan.position, reason }));
                }
            };
            let Some((segment, at)) = self.segment(place) else { return Ok(None) };
            if !segment.offsets.can_hold(met.header.last_offset()) {
                let reason = "the batch lies too far from its segment's base".to_owned();
                return Ok(Some(Invalid { position: met.position, reason }));
            }
            segment.note(at, &met, interval)?;
            self.epochs.assign(met.header.leader_epoch, met.header.base_offset);
            expected.offset = met.header.next_offset();
            expected.epoch = expected.epoch.max(met.header.leader_epoch);
        }
    }

    /// Cuts the segment at `place` where it became invalid, and all after it.
    fn cut_tail(
        &mut self,
        place: usize,
        next: Offset,
        recovery_point: Offset,
        invalid: Invalid,
        report: &mut Recovery,
    ) -> Result<()> {
        let Some((segment, at)) = self.segment(place) else { return Ok(()) };
        let path = names::path(at.1, segment.base, Kind::Log);
        if next < recovery_point {
            let Invalid { position, reason } = invalid;
            return Err(LogFault::Corrupt { path, position, offset: next, reason });
        }
        let file = segment.file(at)?;
        let bytes = file.size()?.saturating_sub(invalid.position);
        file.set_size(invalid.position)?;
        let later = self.drop_later(place)?;
        report.cut = Some(Cut {
            path,
            position: invalid.position,
            offset: next,
            bytes: bytes + later,
            reason: invalid.reason,
        });
        Ok(())
    }

    /// Cuts the segments from `place` on, which do not join the one before.
    fn cut_segments(
        &mut self,
        place: usize,
        next: Offset,
        recovery_point: Offset,
        reason: String,
        report: &mut Recovery,
    ) -> Result<()> {
        let base = self.segments.get(place).map_or(next, |segment| segment.base);
        let path = names::path(&self.dir, base, Kind::Log);
        if next < recovery_point {
            return Err(LogFault::Corrupt { path, position: 0, offset: next, reason });
        }
        let bytes = self.drop_later(place.saturating_sub(1))?;
        report.cut = Some(Cut { path, position: 0, offset: next, bytes, reason });
        Ok(())
    }

    /// Drops the segments after `place`; returns their bytes.
    fn drop_later(&mut self, place: usize) -> Result<u64> {
        let bytes = self.segments.iter().skip(place + 1).map(|segment| segment.size).sum();
        if let Some(base) = self.segments.get(place + 1).map(|segment| segment.base) {
            self.drop_segments_from(base)?;
        }
        Ok(bytes)
    }

    fn corrupt_end(&self, recovery_point: Offset) -> LogFault {
        let base = self.segments.last().map_or(self.log_start, |last| last.base);
        LogFault::Corrupt {
            path: names::path(&self.dir, base, Kind::Log),
            position: self.segments.last().map_or(0, |last| last.size),
            offset: self.next,
            reason: format!("the log ends, but was durable up to offset {recovery_point}"),
        }
    }

    /// Rebuilds indexes that are not there, of segments that were not scanned.
    pub(super) fn rebuild_missing_indexes(
        &mut self,
        before: usize,
        report: &mut Recovery,
    ) -> Result<()> {
        for place in 0..before.min(self.segments.len()) {
            let Some((segment, at)) = self.segment(place) else { break };
            if segment.lacks_index && segment.size > 0 {
                segment.rebuild_indexes(at)?;
                report.indexes_rebuilt += 1;
            }
            self.touch(place);
        }
        Ok(())
    }

    /// Ends the indexes of what was scanned, and notes that all of it is due for a sync.
    ///
    /// Many segments are synced here and now, but for the last, so that their files need not all
    /// stay open until then.
    fn end_scan(&mut self, first: usize, recovery_point: Offset) -> Result<()> {
        let count = self.segments.len();
        let kept_open = self.config.open_segments_max.max(1).saturating_add(1);
        self.flushing.durable = recovery_point.max(self.log_start).min(self.next);
        for place in first..count {
            let Some((segment, at)) = self.segment(place) else { break };
            if place + 1 == count {
                segment.store_indexes(at)?;
                break;
            }
            segment.seal(at)?;
            if count - place > kept_open && segment.indexes_are_stored() {
                segment.file(at)?.sync_data()?;
                for file in segment.index_files(at)? {
                    file.sync_data()?;
                }
                segment.indexes_unsynced = false;
                let (base, next) = (segment.base, segment.next);
                if self.flushing.durable >= base {
                    self.flushing.durable = self.flushing.durable.max(next);
                }
                self.touch(place);
            }
        }
        self.flushing.note_recovered();
        Ok(())
    }
}

/// One step of a scan.
enum Step {
    Batch(Met),
    End,
    Invalid(String),
}

/// Reads a file from its start in large chunks.
struct Scan {
    file: FileRef,
    size: u64,
    /// Where the next batch starts.
    position: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
}

impl Scan {
    fn new(file: FileRef, size: u64) -> Self {
        Self { file, size, position: 0, chunk: Vec::new(), chunk_at: 0 }
    }

    /// Checks the next batch whole.
    fn next(&mut self, expected: &Expected) -> Result<Step> {
        let left = self.size - self.position;
        if left == 0 {
            return Ok(Step::End);
        }
        let invalid = |reason: &str| Ok(Step::Invalid(reason.to_owned()));
        let header = self.bytes(self.position, BATCH_HEADER_BYTES)?;
        let Some(header) = BatchHeader::read(header) else {
            return invalid("the file ends within a batch header");
        };
        if let Some(reason) = implausible(&header) {
            return invalid(reason);
        }
        let size = header.size_bytes() as u64;
        if size > left {
            return invalid("the file ends within a batch");
        }
        let in_place = header.base_offset == expected.offset
            || (header.base_offset > expected.offset && header.base_offset <= expected.gaps_to);
        if !in_place {
            let (got, due) = (header.base_offset, expected.offset);
            return Ok(Step::Invalid(format!("offset {got} where {due} is due")));
        }
        if header.leader_epoch < expected.epoch {
            // A batch of a leader that was superseded: its cut was not durable yet (P-4).
            return invalid("the leader epoch runs backwards");
        }
        if self.crc(size)? != header.crc {
            return invalid("the checksum does not fit");
        }
        let met = Met { position: self.position, header };
        self.position += size;
        Ok(Step::Batch(met))
    }

    /// The checksum of the batch of `size` bytes at the current position.
    fn crc(&mut self, size: u64) -> Result<u32> {
        let mut crc = Crc32c::new();
        let end = self.position + size;
        let mut at = self.position + CRC_FROM as u64;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let bytes = self.bytes(at, wanted)?;
            if bytes.is_empty() {
                break;
            }
            crc.update(bytes);
            at += bytes.len() as u64;
        }
        Ok(crc.value())
    }

    /// Up to `len` bytes at `at`, fewer at the end of the file.
    fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let end = at + len as u64;
        let has = at >= self.chunk_at && end <= self.chunk_at + self.chunk.len() as u64;
        if !has {
            let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
            self.chunk.resize(left.min(CHUNK_BYTES), 0);
            let read = read_full(&self.file, &mut self.chunk, at, Patience::Wait)
                .map_err(Miss::into_fault)?;
            self.chunk.truncate(read);
            self.chunk_at = at;
        }
        let from = usize::try_from(at - self.chunk_at).unwrap_or(usize::MAX);
        let to = from.saturating_add(len).min(self.chunk.len());
        Ok(self.chunk.get(from..to).unwrap_or_default())
    }
}
