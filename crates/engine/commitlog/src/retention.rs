//! What is dropped when, and how files leave the disk: renamed first, removed later.
//!
//! A segment's files may only go once the checkpoint on disk says that the log starts after them.
//! Otherwise a crash could leave some of them, and recovery could not tell a half-finished removal
//! from lost data (DR5, DR6).

use crate::compaction::Swap;
use crate::config::millis;
use crate::fault::{LogFault, Result};
use crate::log::Log;
use crate::names::{self, Kind};
use jocko_disk::{Disk, FaultKind};
use jocko_types::{Offset, Timestamp};
use std::path::{Path, PathBuf};

/// What retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// Where the log starts now.
    pub log_start: Offset,
    /// Segments that lie before it and await removal.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the active segment was rolled because of its age.
    pub rolled: bool,
    /// Producers forgotten.
    pub producers: usize,
}

/// What this log may hold of a limit that it shares with others. Unlike `retention.bytes` it is
/// never exceeded by a segment, unless that is one batch and the newest: it is divided anew as others
/// grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Bytes kept at most, if anything may be deleted.
    pub bytes_max: Option<u64>,
    /// The active segment is rolled at this size, so that what it holds can be deleted in time.
    pub roll_bytes: Option<u64>,
}

/// Renamed files and when to remove them.
#[derive(Debug, Default)]
pub(crate) struct Trash {
    files: Vec<(Timestamp, PathBuf)>,
}

/// The files of a segment, the log first: without it the others mean nothing.
const SEGMENT_FILES: [Kind; 4] = [Kind::Log, Kind::Index, Kind::TimeIndex, Kind::TxnIndex];

fn renamed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(names::DELETED);
    PathBuf::from(name)
}

impl Trash {
    /// Renames the files of the segment at `base`, to be removed at `due`.
    pub(crate) fn rename(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        base: Offset,
        due: Timestamp,
    ) -> Result<()> {
        for kind in SEGMENT_FILES {
            let path = names::path(dir, base, kind);
            let to = renamed(&path);
            match disk.rename(&path, &to) {
                Ok(()) => self.files.push((due, to)),
                Err(fault) if fault.kind() == FaultKind::NotFound => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(())
    }

    /// Removes the files of the segment at `base`.
    pub(crate) fn remove_now(&self, disk: &dyn Disk, dir: &Path, base: Offset) -> Result<()> {
        for kind in SEGMENT_FILES {
            remove(disk, &names::path(dir, base, kind))?;
        }
        Ok(())
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove_file(path) {
        Err(fault) if fault.kind() != FaultKind::NotFound => Err(fault.into()),
        _ => Ok(()),
    }
}

/// What [`Log::take_deleted`] left to remove, without the log.
#[derive(Debug, Default)]
#[must_use = "the files stay until the next start"]
pub struct Removal {
    /// Bytes of the segments that were renamed just now.
    pub renamed_bytes: u64,
    files: Vec<PathBuf>,
    /// The folder, if producer snapshots were written since old ones were last looked for.
    snapshots_in: Option<PathBuf>,
}

impl Removal {
    /// Removes the files. Needs no lock, and may take long.
    ///
    /// # Errors
    /// A disk fault, for [`Log::removal_failed`]. The files may stay: the next start removes them.
    pub fn run(&self, disk: &dyn Disk) -> Result<()> {
        self.files.iter().try_for_each(|path| remove(disk, path))?;
        self.snapshots_in.as_ref().map_or(Ok(()), |dir| remove_old_snapshots(disk, dir))
    }
}

/// Keeps the newest producer snapshots.
fn remove_old_snapshots(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let files = match crate::recovery::snapshot_files(disk, dir) {
        // The partition was deleted meanwhile.
        Err(LogFault::Disk(fault)) if fault.kind() == FaultKind::NotFound => return Ok(()),
        listed => listed?,
    };
    let mut offsets: Vec<Offset> = files.iter().map(|(offset, _)| *offset).collect();
    offsets.dedup();
    let Some(oldest_kept) = offsets.iter().rev().nth(SNAPSHOTS_KEPT - 1).copied() else {
        return Ok(());
    };
    for (offset, path) in files {
        if offset < oldest_kept {
            remove(disk, &path)?;
        }
    }
    Ok(())
}

impl Log {
    /// Moves the log's start over the oldest segments that retention by time or size lets go, up
    /// to `upper` (the high watermark), rolls an active segment that is old, and forgets silent
    /// producers. `now` is the wall clock.
    ///
    /// Time counts by a segment's largest record timestamp, as in Kafka; one in the future keeps
    /// its segment until then.
    ///
    /// # Errors
    /// The latch; a disk fault, which latches.
    pub fn expire(&mut self, now: Timestamp, upper: Offset) -> Result<Expired> {
        self.check_latch()?;
        let result = self.expire_now(now, upper);
        self.or_latch_unless_wanting(result)
    }

    fn expire_now(&mut self, now: Timestamp, upper: Offset) -> Result<Expired> {
        let rolled = self.roll_if_old(now, upper)?;
        let start = self.retention_start(now, upper)?;
        if start > self.log_start {
            self.advance_log_start(start)?;
        }
        let gone = self.segments_before_start();
        let bytes = self.segments.iter().take(gone).map(|segment| segment.size).sum();
        let producers = self.expire_producers(now);
        Ok(Expired { log_start: self.log_start, segments: gone, bytes, rolled, producers })
    }

    /// The active segment is not exempt for ever: it is rolled when it is old, or when all it
    /// holds could go.
    fn roll_if_old(&mut self, now: Timestamp, upper: Offset) -> Result<bool> {
        let Some((segment, at)) = self.active() else { return Ok(false) };
        if segment.size == 0 {
            return Ok(false);
        }
        segment.load_first_timestamp(at)?;
        let reached = segment.reached(at)?;
        let too_large = self.share.roll_bytes.is_some_and(|max| self.active_size() > max);
        let aged = self.segments.last().is_some_and(|last| last.is_old(None, &self.config, now));
        let through = self.config.retention_deletes
            && self.next <= upper
            && reached.is_some_and(|reached| self.is_expired(reached.timestamp, now));
        if aged || through || (too_large && self.config.retention_deletes) {
            self.roll(now)
        } else {
            Ok(false)
        }
    }

    fn is_expired(&self, timestamp: Timestamp, now: Timestamp) -> bool {
        self.config.retention_age.is_some_and(|age| {
            timestamp > Timestamp::NONE && now.millis_since(timestamp) > millis(age)
        })
    }

    /// Where the log should start by time and by size.
    fn retention_start(&mut self, now: Timestamp, upper: Offset) -> Result<Offset> {
        let mut start = self.log_start;
        if !self.config.retention_deletes {
            return Ok(start);
        }
        let live = self.segments_before_start();
        let mut bytes: u64 = self.segments.iter().skip(live).map(|segment| segment.size).sum();
        for place in live..self.segments.len().saturating_sub(1) {
            let Some(next) = self.segments.get(place + 1).map(|segment| segment.base) else {
                break;
            };
            let is_over_share = self.share.bytes_max.is_some_and(|max| bytes > max);
            let Some((segment, at)) = self.segment(place) else { break };
            let reached = segment.reached(at)?;
            let size = segment.size;
            // What was just acknowledged does not vanish for the sake of a limit.
            let is_for_share = is_over_share && !(bytes == size && segment.is_one_batch(at)?);
            self.touch(place);
            let too_old = reached.is_some_and(|reached| self.is_expired(reached.timestamp, now));
            let too_much =
                self.config.retention_bytes.is_some_and(|max| bytes - size >= max) || is_for_share;
            if next > upper || !(too_old || too_much) {
                break;
            }
            bytes -= size;
            start = next;
        }
        Ok(start)
    }

    /// Puts another share of a common limit in force; the next [`Log::expire`] keeps to it.
    pub const fn set_share(&mut self, share: Share) {
        self.share = share;
    }

    /// Bytes of the segments that retention has not dropped yet.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        let gone = self.segments_before_start();
        self.segments.iter().skip(gone).map(|segment| segment.size).sum()
    }

    fn active_size(&self) -> u64 {
        self.segments.last().map_or(0, |active| active.size)
    }

    /// How many segments lie wholly before the log's start.
    fn segments_before_start(&self) -> usize {
        let ends_before = |pair: &&[crate::segment::Segment]| {
            pair.last().is_some_and(|next| next.base <= self.log_start)
        };
        self.segments.windows(2).take_while(ends_before).count()
    }

    /// Renames the files of segments that lie wholly before the log start in the checkpoint, and
    /// removes those that were renamed `file_delete_delay` ago. Returns the bytes renamed.
    ///
    /// # Errors
    /// The latch; a disk fault, which latches.
    pub fn remove_deleted(&mut self, now: Timestamp) -> Result<u64> {
        let removal = self.take_deleted(now)?;
        let removed = removal.run(self.disk.as_ref());
        self.or_latch_unless_wanting(removed)?;
        Ok(removal.renamed_bytes)
    }

    /// The files whose delay has passed, for removal without the lock; nothing is renamed. Whoever
    /// loses the answer leaves the files to the next start.
    pub fn take_due(&mut self, now: Timestamp) -> Removal {
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.trash.files)
            .into_iter()
            .partition(|(due, _): &(Timestamp, PathBuf)| *due <= now);
        self.trash.files = kept;
        Removal {
            renamed_bytes: 0,
            files: gone.into_iter().map(|(_, path)| path).collect(),
            snapshots_in: None,
        }
    }

    /// The first half of [`Log::remove_deleted`]: renames, and yields what is due for removal,
    /// which needs no lock: removing a large file can take long. At the end of time
    /// (`i64::MAX`) everything is due. Whoever loses the answer leaves the files to the next start.
    ///
    /// # Errors
    /// The latch; a disk fault, which latches.
    pub fn take_deleted(&mut self, now: Timestamp) -> Result<Removal> {
        self.check_latch()?;
        let taken = self.take_deleted_now(now);
        self.or_latch_unless_wanting(taken)
    }

    /// Takes note that [`Removal::run`] failed: the disk is not well, so the log is closed to
    /// writes (DR2).
    pub fn removal_failed(&mut self, fault: &LogFault) {
        // What stays of the files goes at the next start.
        if !fault.is_want_of_descriptors() {
            self.latch(fault);
        }
    }

    fn take_deleted_now(&mut self, now: Timestamp) -> Result<Removal> {
        let limit = self.flushing.checkpointed_start.min(self.log_start);
        let mut bytes = 0;
        let due = Timestamp::from_millis(now.as_millis().saturating_add(self.delete_delay_ms()));
        let (disk, dir) = self.at();
        while let [first, second, ..] = self.segments.as_slice() {
            let is_swapped = |swap: &Swap| swap.involves(first.base);
            if second.base > limit
                || first.next > self.flushing.durable
                || self.cleaning.swap.as_ref().is_some_and(is_swapped)
            {
                break;
            }
            bytes += first.size;
            let base = first.base;
            self.trash.rename(disk.as_ref(), &dir, base, due)?;
            self.segments.remove(0);
            self.shape += 1;
            self.flushing.note_names();
        }
        let removal = self.take_due(now);
        let is_due = std::mem::take(&mut self.snapshots_due) && self.folder_exists;
        Ok(Removal { renamed_bytes: bytes, snapshots_in: is_due.then_some(dir), ..removal })
    }
}

/// Producer snapshots kept: one may turn out damaged, and one be of a crash.
const SNAPSHOTS_KEPT: usize = 3;

#[cfg(test)]
mod tests;
