//! Reading: which bytes of which segment hold the batches from an offset on.

use super::Log;
use crate::fault::{LogFault, Result};
use crate::read::{Cold, Met, Miss, Patience};
use crate::segment::{At, Segment};
use crate::tail::Positions;
use jocko_disk::FileRef;
use jocko_types::Offset;

/// So many places that are being warmed are remembered, the newest: more readers of cold places at
/// once than a log will have.
const WARMING_MAX: usize = 64;

/// What a reader wants.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest {
    /// The first offset wanted.
    pub from: Offset,
    /// No batch that reaches this offset: the high watermark, the last stable offset, or the
    /// log's end.
    pub upper: Offset,
    /// Bytes wanted at most.
    pub bytes_max: usize,
    /// Whether the first batch is wanted even if it is larger than that (KIP-74).
    pub at_least_one_batch: bool,
    /// Whether the search may wait for the device.
    pub patience: Patience,
}

/// What there is to read.
#[derive(Debug, Clone)]
pub enum ReadOutcome {
    /// Whole batches.
    Slice(LogSlice),
    /// Nothing between `from` and `upper`, or nothing that fits.
    Empty,
    /// `from` is before the log's start or after its end (`OFFSET_OUT_OF_RANGE`).
    OutOfRange {
        /// The first offset.
        log_start: Offset,
        /// The offset after the last.
        log_end: Offset,
    },
    /// The search needs bytes that are not in memory: warm them elsewhere and repeat the read.
    Cold(Cold),
}

/// Whole batches in one file. Stays readable if the segment is dropped meanwhile.
#[derive(Debug, Clone)]
pub struct LogSlice {
    /// The file.
    pub file: FileRef,
    /// Where the first batch starts.
    pub position: u64,
    /// Bytes.
    pub len: usize,
    /// Base offset of the segment that the file is.
    pub segment_base: Offset,
    /// The offset asked for; the first batch may begin before it.
    pub from: Offset,
}

impl Log {
    /// Finds the batches from `request.from` on, in one segment, without reading their records.
    ///
    /// Costs at most a search in one index and the headers of one index interval, and touches
    /// neither file when the newest batches, or those after an earlier read, are wanted.
    ///
    /// A place that was warmed and is cold again is on a file system that cannot tell what is in
    /// memory (tmpfs, NFS, others than Linux's), or memory is short: then this search does wait, or
    /// it would never end.
    ///
    /// # Errors
    /// A disk fault, or damage in a segment that the search met. Neither latches the log.
    pub fn read(&mut self, request: &ReadRequest) -> Result<ReadOutcome> {
        let outcome = match self.find(request) {
            Ok(outcome) => outcome,
            Err(Miss::Cold(cold)) if self.warming.iter().any(|it| it.has_warmed(&cold)) => {
                let patient = ReadRequest { patience: Patience::Wait, ..*request };
                self.find(&patient).map_err(Miss::into_fault)?
            }
            Err(Miss::Cold(cold)) => {
                if self.warming.len() >= WARMING_MAX {
                    self.warming.pop_front();
                }
                self.warming.push_back(cold.warming(request.from));
                return Ok(ReadOutcome::Cold(cold));
            }
            Err(Miss::Fault(fault)) => return Err(fault),
        };
        // What is read again later may be cold again by then.
        self.warming.retain(|it| it.from != request.from);
        Ok(outcome)
    }

    fn find(&mut self, request: &ReadRequest) -> std::result::Result<ReadOutcome, Miss> {
        let (from, upper) = (request.from, request.upper.min(self.next));
        if from < self.log_start || from > self.next {
            let (log_start, log_end) = (self.log_start, self.next);
            return Ok(ReadOutcome::OutOfRange { log_start, log_end });
        }
        let mut place = self.segment_of(from);
        while let Some(at) = place.filter(|_| from < upper) {
            let found = self.find_in(at, upper, request)?;
            self.touch(at);
            match found {
                Some(outcome) => return Ok(outcome),
                // Every batch of this segment ends before the offset: compaction left a gap.
                None => place = Some(at + 1).filter(|next| *next < self.segments.len()),
            }
        }
        Ok(ReadOutcome::Empty)
    }

    /// The batches of one segment; `None` if all end before the offset.
    fn find_in(
        &mut self,
        place: usize,
        upper: Offset,
        request: &ReadRequest,
    ) -> std::result::Result<Option<ReadOutcome>, Miss> {
        let sealed_next = self.segments.get(place + 1).map(|next| next.base);
        let at: At<'_> = (self.disk.as_ref(), &self.dir);
        let Some(segment) = self.segments.get_mut(place) else { return Ok(None) };
        let positions = &mut self.positions;
        let patience = request.patience;
        let Some(start) = start_of(segment, at, positions, request.from, patience)? else {
            return Ok(None);
        };
        let end = if sealed_next.map_or(segment.next, |next| next) <= upper {
            segment.size
        } else {
            start_of(segment, at, positions, upper, patience)?.unwrap_or(segment.size)
        };
        if start >= end {
            return Ok(Some(ReadOutcome::Empty));
        }
        let limit = start.saturating_add(request.bytes_max as u64);
        let end = if end <= limit {
            end
        } else {
            match boundary_before(segment, at, positions, (start, limit), patience)? {
                boundary if boundary > start => boundary,
                _ if request.at_least_one_batch => first_end(segment, at, start, end, patience)?,
                _ => return Ok(Some(ReadOutcome::Empty)),
            }
        };
        let len = usize::try_from(end - start).unwrap_or(usize::MAX);
        let (file, segment_base) = (segment.file(at)?, segment.base);
        let slice = LogSlice { file, position: start, len, segment_base, from: request.from };
        Ok(Some(ReadOutcome::Slice(slice)))
    }

    /// Tells the log which offset a reader will want next after it has read `slice` whole, so that
    /// the search need not be repeated. Optional; the reader knows it from the last batch.
    pub fn note_read(&mut self, slice: &LogSlice, next: Offset) {
        // Compaction may have put another file in its place, where the position means nothing.
        let place = self.segment_of(slice.segment_base);
        let segment = place.and_then(|place| self.segments.get(place));
        if !segment.is_some_and(|segment| segment.is_open_as(&slice.file)) {
            return;
        }
        self.positions.stopped(next, slice.segment_base, slice.position + slice.len as u64);
    }
}

/// Where the first batch that ends at or after `offset` starts; `None` if there is none.
fn start_of(
    segment: &mut Segment,
    at: At<'_>,
    positions: &Positions,
    offset: Offset,
    patience: Patience,
) -> std::result::Result<Option<u64>, Miss> {
    if offset <= segment.base {
        return Ok(Some(0));
    }
    if let Some(position) = positions.locate(segment.base, offset) {
        return Ok(Some(position));
    }
    let met = segment.locate(at, offset, patience)?;
    Ok(met.map(|met| met.position))
}

/// The last end of a batch at or before `limit`, not before `start`, which begins one.
fn boundary_before(
    segment: &mut Segment,
    at: At<'_>,
    positions: &mut Positions,
    (start, limit): (u64, u64),
    patience: Patience,
) -> std::result::Result<u64, Miss> {
    if let Some(batch) = positions.floor_position(segment.base, limit) {
        return Ok(batch.position);
    }
    let entry = segment.offsets.floor_position(at, limit, patience)?;
    let mut boundary = start;
    let (mut walk, met) = match entry.filter(|entry| entry.position > start) {
        Some(entry) => segment.walk_from(at, entry, patience)?,
        None => (segment.walk_at(at, start, patience)?, None),
    };
    let mut last = met;
    loop {
        if let Some(Met { position, header }) = last {
            boundary = boundary.max(position);
            let end = position + header.size_bytes() as u64;
            if end > limit {
                break;
            }
            boundary = boundary.max(end);
        }
        last = walk.next()?;
        if last.is_none() {
            break;
        }
    }
    Ok(boundary)
}

/// The end of the batch that starts at `start`, if that lies within `end`.
fn first_end(
    segment: &mut Segment,
    at: At<'_>,
    start: u64,
    end: u64,
    patience: Patience,
) -> std::result::Result<u64, Miss> {
    let met = segment.walk_at(at, start, patience)?.next()?;
    Ok(met.map_or(end, |met| met.end().min(end)))
}

impl LogSlice {
    /// Reads the bytes, waiting for the device if need be.
    ///
    /// # Errors
    /// A disk fault; a file that ends too early, because it was cut or lost bytes.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        let read = crate::read::read_full(&self.file, &mut bytes, self.position, Patience::Wait)
            .map_err(Miss::into_fault)?;
        if read == self.len {
            return Ok(bytes);
        }
        Err(LogFault::Corrupt {
            path: self.file.path().clone(),
            position: self.position + read as u64,
            offset: self.from,
            reason: "the file ends before the batches do".to_owned(),
        })
    }
}
