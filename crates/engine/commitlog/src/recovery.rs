//! Opening a log: trust what a clean stop left, or scan what a crash may have torn (DR1-DR6).
//!
//! After a crash the segments from the recovery point on are read whole. The first batch that is
//! not whole and in order ends the log: everything from there on was never durable, and is cut. If
//! that place lies before the recovery point, durable data is damaged, and nothing is touched.
//! What is kept is synced before it is served.

mod bound;
mod scan;
mod state;

pub(crate) use bound::{Bound, encode as encode_bound};
pub(crate) use state::{reload_producers, snapshot_files};

use crate::compaction::{self, Mark};
use crate::config::LogConfig;
use crate::fault::{LogFault, Result};
use crate::followed;
use crate::log::Log;
use crate::names::{self, Kind};
use crate::retention::remove;
use crate::segment::Segment;
use jocko_disk::{Disk, DiskRef, FaultKind, read_small};
use jocko_types::{Offset, Timestamp, TopicId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The most bytes a small text file of ours may have.
const SMALL_BYTES_MAX: usize = 16 << 20;

/// What the data directory's files say of a log that is opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenContext {
    /// The topic's id; a folder that names another is refused. `None`: not a topic's log.
    pub topic_id: Option<TopicId>,
    /// Whether the last stop was clean, so that checkpoints can be trusted.
    pub clean: bool,
    /// Everything below was durable: the checkpoint, or 0. After a clean stop, the log's end.
    pub recovery_point: Offset,
    /// The first offset to serve: the checkpoint, or 0.
    pub log_start: Offset,
    /// The wall clock.
    pub now: Timestamp,
}

/// What opening had to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that were read whole.
    pub segments_scanned: usize,
    /// Their bytes.
    pub bytes_scanned: u64,
    /// What was cut off the end.
    pub cut: Option<Cut>,
    /// Segments whose indexes were missing and are rebuilt.
    pub indexes_rebuilt: usize,
    /// Producer snapshots that did not check and were rebuilt from the log.
    pub snapshots_refused: usize,
    /// Whether the leader epochs had to be read from the log.
    pub epochs_rebuilt: bool,
}

/// An invalid tail that was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// The first byte cut.
    pub position: u64,
    /// The offset the first record cut would have had: the log's new end.
    pub offset: Offset,
    /// Bytes cut, in this and later segments.
    pub bytes: u64,
    /// What was wrong there.
    pub reason: String,
}

/// Sizes of a segment's three files; `None` where there is none.
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    log: Option<u64>,
    index: Option<u64>,
    time_index: Option<u64>,
}

/// What a folder holds.
#[derive(Debug, Default)]
struct Folder {
    segments: BTreeMap<Offset, Sizes>,
    leftovers: Vec<PathBuf>,
    has_bound: bool,
    /// It holds what only a flush writes, after the names of all segments so far were durable.
    was_flushed: bool,
    /// It says whose it is as a folder does that was never flushed, or one whose last flush was cut
    /// short.
    has_name_before_flush: bool,
    /// It was compacted.
    has_mark: bool,
    /// It was copied from a log with gaps.
    has_followed: bool,
}

impl Folder {
    fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>> {
        let entries = match disk.list(dir) {
            Ok(entries) => entries,
            Err(fault) if fault.kind() == FaultKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault.into()),
        };
        if compaction::is_unfinished(&entries) {
            compaction::finish_swaps(disk, dir, &entries)?;
            return Self::read(disk, dir);
        }
        let mut folder = Self::default();
        for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
            let name = entry.name.as_str();
            if name == names::METADATA_BEFORE_FLUSH {
                folder.has_name_before_flush = true;
            } else if name.ends_with(names::DELETED) || name.ends_with(names::TEMPORARY) {
                folder.leftovers.push(dir.join(name));
            } else if name == names::BOUND {
                folder.has_bound = true;
            } else if name == compaction::MARK {
                folder.has_mark = true;
            } else if name == followed::NAME {
                folder.has_followed = true;
            } else if name == names::EPOCHS || name == names::METADATA {
                folder.was_flushed = true;
            } else if let Some((base, kind)) = names::parse(name) {
                let sizes = match kind {
                    Kind::Log => &mut folder.segments.entry(base).or_default().log,
                    Kind::Index => &mut folder.segments.entry(base).or_default().index,
                    Kind::TimeIndex => &mut folder.segments.entry(base).or_default().time_index,
                    Kind::TxnIndex => continue,
                    Kind::Snapshot | Kind::Sidecar => {
                        folder.was_flushed = true;
                        continue;
                    }
                };
                *sizes = Some(entry.len);
            }
        }
        // Indexes without a log: a removal was half-way through.
        let orphans = folder.segments.extract_if(.., |_, sizes| sizes.log.is_none());
        for (base, _) in orphans {
            folder.leftovers.push(names::path(dir, base, Kind::Index));
            folder.leftovers.push(names::path(dir, base, Kind::TimeIndex));
        }
        Ok(Some(folder))
    }
}

impl Log {
    /// Opens the log in `dir`, or an empty one if there is no such folder; an empty log has no
    /// files until the first append. Waits for the device.
    ///
    /// After a clean stop this reads a few small files and opens no segment. What a recovery kept
    /// is durable when this returns.
    ///
    /// # Errors
    /// [`LogFault::ForeignTopic`] if the folder is another topic's; [`LogFault::Corrupt`] if
    /// durable data is damaged or gone, in which case nothing was changed; a disk fault.
    pub fn open(
        disk: DiskRef,
        dir: &Path,
        config: LogConfig,
        context: &OpenContext,
    ) -> Result<(Self, Recovery)> {
        let (mut log, report) = Self::prepare(disk, dir, config, context)?;
        log.sync_recovered()?;
        Ok((log, report))
    }

    /// As [`Log::open`], but what a recovery kept is left to the next [`crate::FlushJob`], so that
    /// many logs can be recovered with one sync. Until that job was taken back
    /// [`Log::durable_end`] is what was known to be durable before, and what lies after it must
    /// not be served.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn prepare(
        disk: DiskRef,
        dir: &Path,
        config: LogConfig,
        context: &OpenContext,
    ) -> Result<(Self, Recovery)> {
        let mut report = Recovery::default();
        let mut log = Self::blank(disk, dir, config, context.topic_id, context.log_start);
        let Some(mut folder) = Folder::read(log.disk.as_ref(), dir)? else {
            check_nothing_is_missing(dir, context)?;
            return Ok((log, report));
        };
        log.folder_exists = true;
        if folder.has_mark {
            log.cleaning.mark = Mark::load(log.disk.as_ref(), dir)?;
        }
        if folder.has_followed {
            log.followed_to = followed::load(log.disk.as_ref(), dir)?;
        }
        check_topic(log.disk.as_ref(), dir, context)?;
        if folder.has_name_before_flush {
            log.note_metadata();
        }
        let bound = match folder.has_bound {
            true => bound::load(log.disk.as_ref(), dir)?,
            false => None,
        };
        log.flushing.opened(log.next, context.recovery_point, context.log_start);
        if let Some(Bound::StartOver(offset)) = bound {
            for base in folder.segments.keys() {
                log.trash.remove_now(log.disk.as_ref(), dir, *base)?;
            }
            log.begin_anew(offset, context.now)?;
            return Ok((log, report));
        }
        let mut context = *context;
        if let Some(Bound::RecoverFrom(offset)) = bound
            && !context.clean
        {
            context.recovery_point = context.recovery_point.min(offset);
            context.log_start = context.log_start.min(offset);
            log.log_start = context.log_start;
        }
        log.flushing.bound_is_written = bound.is_some();
        for path in &folder.leftovers {
            remove(log.disk.as_ref(), path)?;
        }
        if bound.is_none() {
            log.drop_headless(&mut folder, &context, &mut report)?;
        }
        log.adopt(&folder, &context)?;
        // A clean stop's checkpoint is newer than any note about a cut. After a crash of the broker,
        // a log that was not written to since its own last clean stop is as that left it.
        let may_be_closed = context.clean || bound.is_none();
        if may_be_closed && log.trust(&context, &mut report)? {
            log.remove_recovery_bound();
            log.flushing.durable = log.next;
        } else {
            log.recover(&context, &mut report)?;
        }
        if log.next < log.log_start {
            // Only where acknowledged data need not be durable: what was dropped on purpose
            // reaches further than what survived.
            let start = log.log_start;
            log.truncate_fully_and_start_at(start, context.now)?;
        }
        let durable = log.flushing.durable;
        log.flushing.opened(durable, context.recovery_point, context.log_start);
        log.close_idle_segments();
        log.check_invariants();
        Ok((log, report))
    }

    /// Syncs what recovery kept. The small files that are due wait for the first flush.
    fn sync_recovered(&mut self) -> Result<()> {
        if !self.flushing.is_recovery_unsynced() {
            return Ok(());
        }
        let Some(job) = self.take_flush()? else { return Ok(()) };
        for file in &job.files {
            file.sync_data()?;
        }
        for dir in &job.dirs {
            self.disk.sync_dir(dir)?;
        }
        self.flushed(&job);
        Ok(())
    }

    /// Drops the segments of a log that was never flushed if the first one's name was lost with the
    /// power while later ones' were not: a tail without its head is no state the log ever was in.
    /// Where anything says that a flush, which syncs the names first, has ended, or that the log
    /// was durable anywhere, a missing head means something else, and nothing is touched (DR6).
    fn drop_headless(
        &mut self,
        folder: &mut Folder,
        context: &OpenContext,
        report: &mut Recovery,
    ) -> Result<()> {
        let Some(first) = folder.segments.keys().next().copied() else { return Ok(()) };
        let was_durable =
            context.clean || folder.was_flushed || context.recovery_point > context.log_start;
        if was_durable || first <= context.log_start {
            return Ok(());
        }
        let segments = std::mem::take(&mut folder.segments);
        for base in segments.keys() {
            self.trash.remove_now(self.disk.as_ref(), &self.dir, *base)?;
        }
        report.cut = Some(Cut {
            path: names::path(&self.dir, first, Kind::Log),
            position: 0,
            offset: context.log_start,
            bytes: segments.values().filter_map(|sizes| sizes.log).sum(),
            reason: "the segments before it were lost, and none was ever flushed".to_owned(),
        });
        Ok(())
    }

    /// Takes over the segments found, without reading them; drops those before the log's start.
    fn adopt(&mut self, folder: &Folder, context: &OpenContext) -> Result<()> {
        let bases: Vec<Offset> = folder.segments.keys().copied().collect();
        for (place, (base, sizes)) in folder.segments.iter().enumerate() {
            let next = bases.get(place + 1).copied();
            if next.is_some_and(|next| next <= context.log_start) {
                self.trash.remove_now(self.disk.as_ref(), &self.dir, *base)?;
                continue;
            }
            let files =
                (sizes.log.unwrap_or(0), sizes.index.unwrap_or(0), sizes.time_index.unwrap_or(0));
            let next = next.unwrap_or(*base);
            let mut segment = Segment::found(*base, next, files, context.now);
            segment.lacks_index = sizes.index.is_none() || sizes.time_index.is_none();
            self.segments.push(segment);
        }
        if let Some(first) = self.segments.first() {
            self.log_start = self.log_start.max(first.base);
        }
        Ok(())
    }

    /// Finishes [`Log::truncate_fully_and_start_at`], or does its last part.
    pub(crate) fn begin_anew(&mut self, offset: Offset, now: Timestamp) -> Result<()> {
        let (disk, dir) = self.at();
        for (_, path) in snapshot_files(disk.as_ref(), &dir)? {
            remove(disk.as_ref(), &path)?;
        }
        remove(disk.as_ref(), &dir.join(names::EPOCHS))?;
        self.remove_mark()?;
        // The log begins anew, without a gap.
        self.limit_followed(offset)?;
        self.segments.clear();
        self.log_start = offset;
        self.next = offset;
        if self.begin_segment(offset, now)?
            && let Some((segment, at)) = self.active()
        {
            segment.file(at)?.sync_data()?;
        }
        disk.sync_dir(&dir)?;
        let flushing = &self.flushing;
        let reaches_beyond = flushing.checkpointed > offset || flushing.checkpointed_start > offset;
        // Where the checkpoint on disk starts before it, the next start would miss a head.
        let begins_later = offset > Offset::ZERO;
        if begins_later || reaches_beyond || flushing.bound_is_written {
            self.write_recovery_bound(offset)?;
        } else {
            remove(disk.as_ref(), &dir.join(names::BOUND))?;
            disk.sync_dir(&dir)?;
        }
        self.flushing.start_over_at(offset);
        self.note_limited_followed();
        self.note_metadata();
        Ok(())
    }
}

/// A log without a folder must be one that was never written.
fn check_nothing_is_missing(dir: &Path, context: &OpenContext) -> Result<()> {
    if context.recovery_point <= context.log_start {
        return Ok(());
    }
    Err(LogFault::Corrupt {
        path: dir.to_owned(),
        position: 0,
        offset: context.log_start,
        reason: format!("the log is gone, but was durable up to offset {}", context.recovery_point),
    })
}

/// Refuses a folder that names another topic id. One that names none is Kafka's before topic ids,
/// or one of ours that lost its name in a power cut before its first flush.
fn check_topic(disk: &dyn Disk, dir: &Path, context: &OpenContext) -> Result<()> {
    let Some(expected) = context.topic_id else { return Ok(()) };
    match read_topic_id(disk, dir)? {
        Some(found) if found != expected && !found.is_zero() => {
            Err(LogFault::ForeignTopic { path: dir.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

/// The topic id in a folder's `partition.metadata`, or in what is written of it before the first
/// flush; `None` if there is none that can be read.
///
/// # Errors
/// A disk fault.
pub fn read_topic_id(disk: &dyn Disk, dir: &Path) -> Result<Option<TopicId>> {
    for name in [names::METADATA, names::METADATA_BEFORE_FLUSH] {
        let bytes = read_small(disk, &dir.join(name), SMALL_BYTES_MAX)?;
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let named =
            text.lines().find_map(|line| line.strip_prefix("topic_id:")?.trim().parse().ok());
        if named.is_some() {
            return Ok(named);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
