//! What is derived from the log: epochs and producers; and trusting what a clean stop left.

use super::{OpenContext, Recovery, SMALL_BYTES_MAX};
use crate::epochs::Epochs;
use crate::fault::Result;
use crate::log::Log;
use crate::names::{self, Kind};
use crate::producers::{Producers, Snapshot, decode_kafka};
use crate::read::{Miss, Patience};
use jocko_disk::{Disk, read_small};
use jocko_records::BatchHeader;
use jocko_types::{Offset, Timestamp};
use std::path::{Path, PathBuf};

/// The most bytes a producer snapshot may have.
const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

/// The files of producer snapshots in a folder, oldest first: two a snapshot.
pub(crate) fn snapshot_files(disk: &dyn Disk, dir: &Path) -> Result<Vec<(Offset, PathBuf)>> {
    let mut files = Vec::new();
    for entry in disk.list(dir)? {
        if let Some((offset, Kind::Snapshot | Kind::Sidecar)) = names::parse(&entry.name) {
            files.push((offset, dir.join(&entry.name)));
        }
    }
    files.sort();
    Ok(files)
}

/// Loads the producers' state of the log as it is now: the newest sidecar that checks and was
/// taken of these very records, and from there on the headers of the log. Returns how many
/// sidecars were refused.
///
/// Kafka's snapshots do not serve here: one without its sidecar may be of records that were cut.
pub(crate) fn reload_producers(log: &mut Log, now: Timestamp) -> Result<usize> {
    let mut refused = 0;
    let available = log.segments.first().map_or(log.log_start, |first| first.base);
    let mut from = available;
    log.producers.clear();
    if log.folder_exists {
        let offsets: Vec<Offset> = snapshot_files(log.disk.as_ref(), &log.dir)?
            .into_iter()
            .filter(|(offset, path)| {
                // Without the records that follow it, an older one would make gaps of them.
                let joins = *offset >= available && *offset <= log.next;
                joins && *path == names::path(&log.dir, *offset, Kind::Sidecar)
            })
            .map(|(offset, _)| offset)
            .collect();
        for offset in offsets.into_iter().rev() {
            match load_snapshot(log, offset)? {
                Some(producers) => {
                    log.producers = producers;
                    from = offset;
                    break;
                }
                None => refused += 1,
            }
        }
    }
    replay(log, from, now)?;
    Ok(refused)
}

/// The sidecar written at `offset`; `None` if it is damaged, or of records that are gone.
fn load_snapshot(log: &mut Log, offset: Offset) -> Result<Option<Producers>> {
    let path = names::path(&log.dir, offset, Kind::Sidecar);
    let bytes = read_small(log.disk.as_ref(), &path, SNAPSHOT_BYTES_MAX)?;
    let Some(Ok(snapshot)) = bytes.map(|bytes| Snapshot::decode(&bytes)) else { return Ok(None) };
    let fits = snapshot.tail.log_end == offset && is_of_this_log(log, &snapshot)?;
    Ok(fits.then_some(snapshot.producers))
}

/// Whether the last batch before a snapshot is the one it was taken after. If that batch was
/// dropped by retention there is nothing to compare, and nothing to contradict.
fn is_of_this_log(log: &mut Log, snapshot: &Snapshot) -> Result<bool> {
    let Some((base, crc)) = snapshot.tail.last_batch else { return Ok(true) };
    let Some(place) = log.segment_of(base) else { return Ok(true) };
    let Some((segment, at)) = log.segment(place) else { return Ok(true) };
    let met = segment.locate(at, base, Patience::Wait).map_err(Miss::into_fault)?;
    log.touch(place);
    let was_compacted = log.cleaning.mark.is_some();
    Ok(match met.map(|met| met.header) {
        Some(header) if header.base_offset == base => {
            header.crc == crc || (was_compacted && is_rewritten(&header))
        }
        // The batch is gone. Compaction takes only what is committed, and syncs the folder before
        // it does, so that snapshots of records that lost cannot come back.
        _ => was_compacted,
    })
}

/// Whether compaction has written this batch: no client's has records missing, or a horizon.
fn is_rewritten(header: &BatchHeader) -> bool {
    let count = i64::from(header.last_offset_delta) + 1;
    i64::from(header.record_count) < count || header.delete_horizon().is_some()
}

/// Applies the headers of the log from `from` on to the producers.
fn replay(log: &mut Log, from: Offset, now: Timestamp) -> Result<()> {
    let producers_max = log.config.producers_max;
    let first = log.segment_of(from).unwrap_or(0);
    for place in first..log.segments.len() {
        let mut producers = std::mem::take(&mut log.producers);
        let Some((segment, at)) = log.segment(place) else { break };
        let mut walk = if from <= segment.base {
            segment.walk_at(at, 0, Patience::Wait)?
        } else {
            segment.walk_to(at, from, Patience::Wait).map_err(Miss::into_fault)?.0
        };
        while let Some(met) = walk.next().map_err(Miss::into_fault)? {
            if met.header.base_offset >= from {
                producers.apply(&met.header, now, producers_max);
            }
        }
        log.producers = producers;
        log.touch(place);
    }
    Ok(())
}

impl Log {
    /// Takes over what a clean stop left, without reading the log. `false` if it does not fit what
    /// is there: then the log is recovered as after a crash.
    pub(super) fn trust(&mut self, context: &OpenContext, report: &mut Recovery) -> Result<bool> {
        let Some(last) = self.segments.last() else { return Ok(false) };
        let end = context.recovery_point;
        let (base, size, lacks_index) = (last.base, last.size, last.lacks_index);
        // Without the broker's word, only what a stop left is believed, not what a roll did: a roll
        // may come after the checkpoint.
        if lacks_index || base > end || (!context.clean && size == 0) {
            return Ok(false);
        }
        let path = names::path(&self.dir, end, Kind::Sidecar);
        let bytes = read_small(self.disk.as_ref(), &path, SNAPSHOT_BYTES_MAX)?;
        let trusted = match bytes.map(|bytes| Snapshot::decode(&bytes)) {
            Some(Ok(snapshot)) => {
                let tail = &snapshot.tail;
                let fits =
                    tail.log_end == end && tail.segment == base && tail.segment_bytes == size;
                if fits {
                    self.take_tail(snapshot);
                }
                fits
            }
            Some(Err(_)) => {
                report.snapshots_refused += usize::from(context.clean);
                false
            }
            None if !context.clean => false,
            None => self.trust_kafka(end, context.now, report)?,
        };
        if !trusted {
            return Ok(false);
        }
        self.load_epochs(report)?;
        let count = self.segments.len();
        self.rebuild_missing_indexes(count, report)?;
        if self.epochs.truncate_end(self.next) | self.epochs.truncate_start(self.log_start) {
            self.note_epochs();
        }
        Ok(true)
    }

    fn take_tail(&mut self, snapshot: Snapshot) {
        let tail = snapshot.tail;
        self.next = tail.log_end;
        self.last_batch = tail.last_batch;
        self.producers = snapshot.producers;
        if let Some((segment, _)) = self.active() {
            segment.next = tail.log_end;
            segment.restore(tail.reached, tail.first_timestamp);
        }
    }

    /// As far as Kafka's own files allow: walks the headers behind the last index entry, which
    /// must end at the recovery point.
    fn trust_kafka(&mut self, end: Offset, now: Timestamp, report: &mut Recovery) -> Result<bool> {
        let Some((segment, at)) = self.active() else { return Ok(false) };
        let (mut walk, met) = match segment.walk_to(at, end, Patience::Wait) {
            Ok(walk) => walk,
            Err(_) => return Ok(false),
        };
        let mut next = met.map_or(segment.base, |met| met.header.next_offset());
        let mut position = met.map_or(0, |met| met.end());
        loop {
            match walk.next() {
                Ok(Some(met)) => {
                    next = met.header.next_offset();
                    position = met.end();
                }
                Ok(None) => break,
                Err(_) => return Ok(false),
            }
        }
        if next != end || position != segment.size {
            return Ok(false);
        }
        segment.next = end;
        self.next = end;
        self.last_batch = self.find_last_batch()?;
        let path = names::path(&self.dir, end, Kind::Snapshot);
        let bytes = read_small(self.disk.as_ref(), &path, SNAPSHOT_BYTES_MAX)?;
        match bytes.and_then(|bytes| decode_kafka(&bytes, now).ok()) {
            Some(producers) => self.producers = producers,
            None => report.snapshots_refused += reload_producers(self, now)?,
        }
        Ok(true)
    }

    /// Loads the epochs from Kafka's file, or reads them from the headers of the whole log.
    pub(super) fn load_epochs(&mut self, report: &mut Recovery) -> Result<()> {
        let path = self.dir.join(names::EPOCHS);
        let bytes = read_small(self.disk.as_ref(), &path, SMALL_BYTES_MAX)?;
        let there = bytes.is_some();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(epochs) = text.as_deref().and_then(Epochs::from_text) {
            self.epochs = epochs;
            return Ok(());
        }
        if !there && self.segments.iter().all(|segment| segment.size == 0) {
            return Ok(());
        }
        report.epochs_rebuilt = true;
        self.epochs = Epochs::default();
        'segments: for place in 0..self.segments.len() {
            let Some((segment, at)) = self.segment(place) else { break };
            let mut walk = segment.walk_at(at, 0, Patience::Wait)?;
            loop {
                let met = match walk.next() {
                    Ok(Some(met)) => met,
                    Ok(None) => break,
                    // An invalid tail, which the scan will judge.
                    Err(_) => break 'segments,
                };
                let latest = self.epochs.latest().map(|last| last.epoch);
                if latest.is_some_and(|latest| met.header.leader_epoch < latest) {
                    break 'segments;
                }
                self.epochs.assign(met.header.leader_epoch, met.header.base_offset);
            }
            self.touch(place);
        }
        self.note_epochs();
        Ok(())
    }
}
