//! Looking up offsets by timestamp, as ListOffsets wants them (KIP-79, KIP-734).

use super::Log;
use crate::fault::{LogFault, Result};
use crate::read::{Met, Miss, Patience, read_full};
use crate::segment::{At, Segment};
use crate::time_index::Reached;
use jocko_records::BatchView;
use jocko_types::{LeaderEpoch, Offset, Timestamp};

/// The most that a batch may unpack to while a timestamp is looked for in it: far beyond what
/// validation lets in, so that only damage exceeds it.
const DECOMPRESSED_BYTES_MAX: u64 = 1 << 31;

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampFound {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The leader that wrote it.
    pub leader_epoch: LeaderEpoch,
}

/// Unwraps a read that may wait.
fn waited<T>(read: std::result::Result<T, Miss>) -> Result<T> {
    read.map_err(Miss::into_fault)
}

impl Log {
    /// The first record with a timestamp of at least `target`, if it lies below `upper`. Waits for
    /// the device, and unpacks one batch. [`Log::search`] does it without the lock, but does not
    /// mend a damaged index, as this does.
    ///
    /// # Errors
    /// A disk fault, or damage that the search met.
    pub fn offset_for_timestamp(
        &mut self,
        target: Timestamp,
        upper: Offset,
    ) -> Result<Option<TimestampFound>> {
        let (first, log_start) = (self.first_live(), self.log_start);
        first_at(self, (first, log_start, upper), target)
    }

    /// The first record with the largest timestamp of all below `upper` (KIP-734). Otherwise as
    /// [`Log::offset_for_timestamp`].
    ///
    /// # Errors
    /// A disk fault, or damage that the search met.
    pub fn max_timestamp(&mut self, upper: Offset) -> Result<Option<TimestampFound>> {
        let (first, log_start) = (self.first_live(), self.log_start);
        largest(self, (first, log_start, upper))
    }

    /// The place of the segment that holds the log's start.
    pub(super) fn first_live(&self) -> usize {
        self.segment_of(self.log_start).unwrap_or(0)
    }
}

/// The segments that a search walks: those of a log, or copies of them.
pub(super) trait Segments {
    /// The segment at `place` and where its files are.
    fn at(&mut self, place: usize) -> Option<(&mut Segment, At<'_>)>;
    /// Where the segment at `place` begins.
    fn base(&self, place: usize) -> Option<Offset>;
    /// The search is done with that segment for now.
    fn leave(&mut self, place: usize);
}

impl Segments for Log {
    fn at(&mut self, place: usize) -> Option<(&mut Segment, At<'_>)> {
        self.segment(place)
    }

    fn base(&self, place: usize) -> Option<Offset> {
        self.segments.get(place).map(|segment| segment.base)
    }

    fn leave(&mut self, place: usize) {
        self.touch(place);
    }
}

/// The first record from the segment at `first` on with a timestamp of at least `target`, within
/// `log_start..upper`.
pub(super) fn first_at(
    segments: &mut impl Segments,
    (first, log_start, upper): (usize, Offset, Offset),
    target: Timestamp,
) -> Result<Option<TimestampFound>> {
    let mut place = first;
    while let Some((segment, at)) = segments.at(place) {
        if segment.base >= upper {
            break;
        }
        let reached = segment.reached(at)?;
        let found = match reached {
            Some(reached) if reached.timestamp >= target => {
                find_in(segment, at, target, log_start)?
            }
            _ => None,
        };
        segments.leave(place);
        if let Some(found) = found {
            return Ok(Some(found).filter(|found| found.offset < upper));
        }
        place += 1;
    }
    Ok(None)
}

/// The first record with the largest timestamp from the segment at `first` on, within
/// `log_start..upper`.
pub(super) fn largest(
    segments: &mut impl Segments,
    (first, log_start, upper): (usize, Offset, Offset),
) -> Result<Option<TimestampFound>> {
    let mut best: Option<(usize, Reached)> = None;
    let mut place = first;
    loop {
        let sealed_next = segments.base(place + 1);
        let Some((segment, at)) = segments.at(place) else { break };
        if segment.base >= upper {
            break;
        }
        let next = sealed_next.unwrap_or(segment.next);
        let reached = if segment.base < log_start {
            reached_between(segment, at, log_start, upper)?
        } else if next <= upper {
            segment.reached(at)?
        } else {
            reached_before(segment, at, upper)?
        };
        segments.leave(place);
        if let Some(reached) = reached
            && best.is_none_or(|(_, before)| reached.timestamp > before.timestamp)
        {
            best = Some((place, reached));
        }
        place += 1;
    }
    let Some((place, reached)) = best else { return Ok(None) };
    let Some((segment, at)) = segments.at(place) else { return Ok(None) };
    let met = waited(segment.locate(at, reached.last_offset, Patience::Wait))?;
    let Some(met) = met else { return Ok(None) };
    let file = segment.file(at)?;
    look_into(&file, &met, reached.timestamp, log_start)
}

/// The first record of a segment with a timestamp of at least `target`, at or after `log_start`.
///
/// The time index has the batch where a larger timestamp was reached; the one searched for lies in
/// the same index interval or before, but after the last batch known to be too early.
fn find_in(
    segment: &mut Segment,
    at: At<'_>,
    target: Timestamp,
    log_start: Offset,
) -> Result<Option<TimestampFound>> {
    let (mut before, mut after) = waited(segment.times.around(at, target, Patience::Wait))?;
    let are_true = (before.is_none() || segment.is_true(at, before)?)
        && (after.is_none() || segment.is_true(at, after)?);
    if !are_true {
        segment.rebuild_indexes(at)?;
        (before, after) = waited(segment.times.around(at, target, Patience::Wait))?;
    }
    let reached = segment.reached(at)?;
    let after = after.or(reached);
    let from_interval = match after {
        Some(after) => waited(segment.interval_before(at, after.last_offset))?,
        None => Offset::ZERO,
    };
    let from_before = before.map_or(segment.base, |before| before.last_offset);
    let from = from_interval.max(from_before).max(log_start);
    let (mut walk, met) = waited(segment.walk_to(at, from, Patience::Wait))?;
    let file = segment.file(at)?;
    let mut met = match met {
        Some(met) => Some(met),
        None => waited(walk.next())?,
    };
    while let Some(batch) = met {
        if batch.header.max_timestamp >= target
            && let Some(found) = look_into(&file, &batch, target, log_start)?
        {
            return Ok(Some(found));
        }
        met = waited(walk.next())?;
    }
    Ok(None)
}

/// The largest timestamp in batches that end before `upper`.
fn reached_before(segment: &mut Segment, at: At<'_>, upper: Offset) -> Result<Option<Reached>> {
    let (mut walk, met) = waited(segment.walk_to(at, upper, Patience::Wait))?;
    // At an entry of the offset index, the time index has all that was reached up to there.
    let mut reached = match &met {
        Some(met) => waited(segment.times.up_to(at, met.header.last_offset(), Patience::Wait))?,
        None => None,
    };
    while let Some(met) = waited(walk.next())? {
        if met.header.last_offset() >= upper {
            break;
        }
        let timestamp = met.header.max_timestamp;
        if reached.is_none_or(|before| timestamp > before.timestamp) {
            reached = Some(Reached { timestamp, last_offset: met.header.last_offset() });
        }
    }
    Ok(reached)
}

/// The largest timestamp in batches that end in `from..upper`, read from every header: only a log
/// whose start was moved into a segment needs it.
fn reached_between(
    segment: &mut Segment,
    at: At<'_>,
    from: Offset,
    upper: Offset,
) -> Result<Option<Reached>> {
    let (mut walk, _) = waited(segment.walk_to(at, from, Patience::Wait))?;
    let mut reached: Option<Reached> = None;
    while let Some(met) = waited(walk.next())? {
        let (last_offset, timestamp) = (met.header.last_offset(), met.header.max_timestamp);
        if last_offset >= upper {
            break;
        }
        let rises = reached.is_none_or(|before| timestamp > before.timestamp);
        if last_offset >= from && rises {
            reached = Some(Reached { timestamp, last_offset });
        }
    }
    Ok(reached)
}

/// The first record of a batch with a timestamp of at least `target`, at or after `from`.
fn look_into(
    file: &jocko_disk::FileRef,
    met: &Met,
    target: Timestamp,
    from: Offset,
) -> Result<Option<TimestampFound>> {
    let bytes = load(file, met)?;
    let mut scratch = Vec::new();
    let found = BatchView::parse(&bytes).and_then(|(batch, _)| {
        batch.check_crc()?;
        batch.find_timestamp(target, from, DECOMPRESSED_BYTES_MAX, &mut scratch)
    });
    match found {
        Ok(found) => Ok(found.map(|found| TimestampFound {
            offset: found.offset,
            timestamp: found.timestamp,
            leader_epoch: found.leader_epoch,
        })),
        Err(error) => Err(damage(file, met, &error.to_string())),
    }
}

/// Reads a batch whose header was met on a walk, which made sure that the file holds it.
pub(crate) fn load(file: &jocko_disk::FileRef, met: &Met) -> Result<Vec<u8>> {
    let mut bytes = vec![0; met.header.size_bytes()];
    let read = waited(read_full(file, &mut bytes, met.position, Patience::Wait))?;
    bytes.truncate(read);
    Ok(bytes)
}

fn damage(file: &jocko_disk::FileRef, met: &Met, reason: &str) -> LogFault {
    LogFault::Corrupt {
        path: file.path().clone(),
        position: met.position,
        offset: met.header.base_offset,
        reason: reason.to_owned(),
    }
}
