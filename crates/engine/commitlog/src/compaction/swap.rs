//! Putting a copy in place of its sources.
//!
//! Names change under the log's lock, syncs happen without it. Between the steps the log goes on;
//! a truncation that comes in between takes the step back or does the rest, whichever it still
//! can. What a crash leaves is settled by [`super::finish_swaps`].
//!
//! ```text
//! begin      .cleaned -> .swap       sync: from here on the copy counts
//! install    sources  -> .deleted    sync: from here on nothing of them can come back
//! end        .swap    -> final name  sync
//! ```

use super::copy::{Cleaned, FILES};
use super::source::Source;
use crate::config::millis;
use crate::fault::Result;
use crate::log::Log;
use crate::names::{self, Kind, Stage};
use crate::retention::remove;
use crate::segment::Segment;
use jocko_disk::FaultKind;
use jocko_types::{Offset, Timestamp};
use std::ops::Range;

/// A copy that is being put in place.
#[derive(Debug)]
pub(crate) struct Swap {
    base: Offset,
    sources: Vec<Offset>,
    is_installed: bool,
}

impl Swap {
    /// Whether the files of the segment at `base` may not be touched now.
    pub(crate) fn involves(&self, base: Offset) -> bool {
        self.base == base || self.sources.contains(&base)
    }
}

impl Log {
    /// Gives the copy the names under which a crash finds it. `false` if the log has changed since
    /// the sources were read, so that the copy is worth nothing.
    ///
    /// The caller syncs the folder next.
    pub(super) fn begin_swap(&mut self, cleaned: &Cleaned, cuts: u64) -> Result<bool> {
        self.check_latch()?;
        assert!(self.cleaning.swap.is_none(), "one swap at a time");
        if self.cleaning.cuts != cuts || self.places_of(&cleaned.sources).is_none() {
            return Ok(false);
        }
        let renamed = self.rename_all(cleaned.base, Stage::Cleaned, Stage::Swap);
        self.or_latch(renamed)?;
        self.cleaning.swap = Some(Swap {
            base: cleaned.base,
            sources: cleaned.sources.iter().map(|source| source.base).collect(),
            is_installed: false,
        });
        Ok(true)
    }

    /// Replaces the sources by the copy in the list of segments and marks their files for removal.
    /// `false` if a truncation took the copy away.
    ///
    /// The caller syncs the folder next.
    pub(super) fn install_swap(&mut self, cleaned: &Cleaned, now: Timestamp) -> Result<bool> {
        self.check_latch()?;
        let is_begun = self.cleaning.swap.as_ref().is_some_and(|swap| swap.base == cleaned.base);
        let Some(places) = self.places_of(&cleaned.sources).filter(|_| is_begun) else {
            return Ok(false);
        };
        let due = now.as_millis().saturating_add(millis(self.config.file_delete_delay));
        let due = Timestamp::from_millis(due);
        let (disk, dir) = self.at();
        for source in &cleaned.sources {
            let renamed = self.trash.rename(disk.as_ref(), &dir, source.base, due);
            self.or_latch(renamed)?;
        }
        let goes = |base: Offset| cleaned.sources.iter().any(|source| source.base == base);
        self.positions.forget(goes);
        self.forget_open(goes);
        self.segments.splice(places.clone(), [Segment::cleaned(cleaned, now)]);
        self.shape += 1;
        // The last batch of the log may have been rewritten; snapshots name it by its checksum.
        let is_last = self.segments.iter().skip(places.start + 1).all(|after| after.size == 0);
        if is_last && cleaned.last_batch.is_some() {
            self.last_batch = cleaned.last_batch;
        }
        if let Some(swap) = &mut self.cleaning.swap {
            swap.is_installed = true;
        }
        Ok(true)
    }

    /// Gives the copy its final names. `false` if a truncation has done so.
    ///
    /// The caller syncs the folder next.
    pub(super) fn end_swap(&mut self, base: Offset) -> Result<bool> {
        self.check_latch()?;
        let is_there =
            self.cleaning.swap.as_ref().is_some_and(|swap| swap.base == base && swap.is_installed);
        if !is_there {
            return Ok(false);
        }
        let renamed = self.rename_all(base, Stage::Swap, Stage::Final);
        self.or_latch(renamed)?;
        self.unpin(base);
        self.cleaning.swap = None;
        Ok(true)
    }

    /// Before the log is cut: a swap under way is taken back, or brought to its end.
    pub(crate) fn settle_swap(&mut self) -> Result<()> {
        self.cleaning.cuts += 1;
        let Some(swap) = self.cleaning.swap.take() else { return Ok(()) };
        let (disk, dir) = self.at();
        if swap.is_installed {
            disk.sync_dir(&dir)?;
            self.rename_all(swap.base, Stage::Swap, Stage::Final)?;
            self.unpin(swap.base);
        } else {
            // The log first: without it the others mean nothing.
            for kind in FILES.into_iter().rev() {
                remove(disk.as_ref(), &names::staged(&dir, swap.base, kind, Stage::Swap))?;
            }
        }
        Ok(disk.sync_dir(&dir)?)
    }

    fn rename_all(&self, base: Offset, from: Stage, to: Stage) -> Result<()> {
        for kind in FILES {
            let (from, to) = (
                names::staged(&self.dir, base, kind, from),
                names::staged(&self.dir, base, kind, to),
            );
            match self.disk.rename(&from, &to) {
                Err(fault) if fault.kind() == FaultKind::NotFound && kind == Kind::TxnIndex => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn unpin(&mut self, base: Offset) {
        let place = self.segments.iter().position(|segment| segment.base == base);
        if let Some(segment) = place.and_then(|place| self.segments.get_mut(place)) {
            segment.unpin();
        }
    }

    /// Where the sources are, if they still follow each other as they did, and are sealed.
    pub(super) fn places_of(&self, sources: &[Source]) -> Option<Range<usize>> {
        let first = sources.first()?;
        let start = self.segments.iter().position(|segment| segment.base == first.base)?;
        let places = start..start.checked_add(sources.len())?;
        // The active segment follows them.
        let found = self.segments.get(places.clone())?;
        self.segments.get(places.end)?;
        let same = found
            .iter()
            .zip(sources)
            .all(|(segment, source)| (segment.base, segment.size) == (source.base, source.size));
        same.then_some(places)
    }
}
