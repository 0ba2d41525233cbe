//! What a crash in a compaction has left, settled before the log is opened: Kafka's rules
//! (KAFKA-6264), with syncs between the steps.
//!
//! `.cleaned` files never counted and go. A `.log.swap` counts, and everything it was made from
//! goes, unless a `.cleaned` of the same or a smaller base says that it was not complete.

use super::copy::FILES;
use super::mark::Mark;
use crate::fault::{LogFault, Result};
use crate::names::{self, Kind, Stage};
use crate::read::{Miss, Patience, Walk};
use crate::retention::remove;
use jocko_disk::{Disk, Entry, Open};
use jocko_types::Offset;
use std::path::Path;

/// Whether a folder holds files of a compaction that was not finished.
pub(crate) fn is_unfinished(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| !entry.is_dir && names::parse_staged(&entry.name).is_some())
}

/// Finishes or undoes it. Durable when this returns; may be cut short and done again.
///
/// # Errors
/// A disk fault; damage in a copy that counts.
pub(crate) fn finish_swaps(disk: &dyn Disk, dir: &Path, entries: &[Entry]) -> Result<()> {
    let (mut swaps, mut cleaned) = (Vec::new(), Vec::new());
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        match names::parse_staged(&entry.name) {
            Some((base, kind, Stage::Cleaned)) => cleaned.push((base, kind)),
            Some((base, kind, Stage::Swap)) => swaps.push((base, kind)),
            Some((_, _, Stage::Final)) | None => {}
        }
    }
    let cleaned_min = cleaned.iter().map(|(base, _)| *base).min();
    // What is seen after a mere kill need not be durable yet, and must be before what it replaces
    // goes.
    disk.sync_dir(dir)?;
    let (void, valid): (Vec<_>, Vec<_>) =
        swaps.into_iter().partition(|(base, _)| cleaned_min.is_some_and(|least| *base >= least));
    for (base, kind) in void {
        remove(disk, &names::staged(dir, base, kind, Stage::Swap))?;
    }
    // Only when none of those can come back may the witnesses against them go.
    disk.sync_dir(dir)?;
    for (base, kind) in cleaned {
        remove(disk, &names::staged(dir, base, kind, Stage::Cleaned))?;
    }
    finish_logs(disk, dir, &valid, entries)?;
    disk.sync_dir(dir)?;
    for wanted in FILES {
        for (base, kind) in valid.iter().filter(|(_, kind)| *kind == wanted) {
            let path = names::staged(dir, *base, *kind, Stage::Swap);
            match kind {
                // These are made anew, so that it does not matter which of them got how far.
                Kind::Index | Kind::TimeIndex => remove(disk, &path)?,
                // What the aborted transactions were cannot be read from the log's headers.
                Kind::Log | Kind::TxnIndex | Kind::Snapshot | Kind::Sidecar => {
                    disk.rename(&path, &names::path(dir, *base, *kind))?;
                }
            }
        }
    }
    Ok(disk.sync_dir(dir)?)
}

/// Makes the gaps of copies lawful, then removes what they were made from.
fn finish_logs(
    disk: &dyn Disk,
    dir: &Path,
    valid: &[(Offset, Kind)],
    entries: &[Entry],
) -> Result<()> {
    let logs = valid.iter().filter(|(_, kind)| *kind == Kind::Log);
    let ends: Vec<(Offset, Offset)> =
        logs.map(|(base, _)| Ok((*base, end_of(disk, dir, *base)?))).collect::<Result<_>>()?;
    let Some(end) = ends.iter().map(|(_, end)| *end).max() else { return Ok(()) };
    let before = Mark::load(disk, dir)?;
    let mark = Mark::with_gaps_to(before, end);
    if before != Some(mark) {
        mark.store(disk, dir)?;
    }
    ends.into_iter().try_for_each(|range| remove_sources(disk, dir, range, entries))
}

/// Removes the segments that a copy was made from: all that begin within it. The names of its own
/// log and list of aborted transactions are taken by renames later; that list may be there already.
fn remove_sources(
    disk: &dyn Disk,
    dir: &Path,
    (base, end): (Offset, Offset),
    entries: &[Entry],
) -> Result<()> {
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let Some((at, kind)) = names::parse(&entry.name) else { continue };
        let goes = match kind {
            Kind::Index | Kind::TimeIndex => at >= base && at < end,
            Kind::Log | Kind::TxnIndex => at > base && at < end,
            Kind::Snapshot | Kind::Sidecar => false,
        };
        if goes {
            remove(disk, &dir.join(&entry.name))?;
        }
    }
    Ok(())
}

/// The offset after the last batch of a copy.
fn end_of(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<Offset> {
    let path = names::staged(dir, base, Kind::Log, Stage::Swap);
    let file = disk.open(&path, Open::Read)?;
    let size = file.size()?;
    let mut walk = Walk::new(file, 0, size, Patience::Wait);
    let mut end = base;
    while let Some(met) = walk.next().map_err(Miss::into_fault)? {
        if met.header.base_offset < end {
            return Err(LogFault::Corrupt {
                path,
                position: met.position,
                offset: end,
                reason: "offsets run backwards in a compacted copy".to_owned(),
            });
        }
        end = met.header.next_offset();
    }
    Ok(end)
}
