//! Putting copies in place of their sources, as many at once as were gathered.
//!
//! Names change under the log's lock, syncs happen without it. Between the steps the log goes on;
//! a truncation that comes in between takes the step back or does the rest, whichever it still
//! can. What a crash leaves is settled by [`super::finish_swaps`].
//!
//! ```text
//! begin      .cleaned -> .swap       sync: from here on the copies count
//! install    sources  -> .deleted    sync: from here on nothing of them can come back
//!            the mark in force
//! end        .swap    -> final name  durable before the next copy is written: a `.swap` beside
//!                                    no source and no `.cleaned` means the same as the final name
//! ```

use super::copy::{Cleaned, FILES};
use super::mark::Mark;
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

/// Copies that are being put in place.
#[derive(Debug)]
pub(crate) struct Swap {
    copies: Vec<Swapped>,
    is_installed: bool,
}

/// One of them, by the bases of the segments.
#[derive(Debug)]
struct Swapped {
    base: Offset,
    sources: Vec<Offset>,
}

impl Swap {
    fn of(copies: &[Cleaned]) -> Self {
        let swapped = |copy: &Cleaned| Swapped {
            base: copy.base,
            sources: copy.sources.iter().map(|source| source.base).collect(),
        };
        Self { copies: copies.iter().map(swapped).collect(), is_installed: false }
    }

    /// Whether the files of the segment at `base` may not be touched now.
    pub(crate) fn involves(&self, base: Offset) -> bool {
        self.copies.iter().any(|copy| copy.base == base || copy.sources.contains(&base))
    }

    fn is_of(&self, copies: &[Cleaned]) -> bool {
        let bases = || self.copies.iter().map(|copy| copy.base);
        bases().eq(copies.iter().map(|copy| copy.base))
    }
}

impl Log {
    /// Gives the copies the names under which a crash finds them. `false` if the log has changed
    /// since the sources were read, so that the copies are worth nothing.
    ///
    /// The caller syncs the folder next.
    pub(super) fn begin_swap(&mut self, copies: &[Cleaned], cuts: u64) -> Result<bool> {
        self.check_latch()?;
        assert!(self.cleaning.swap.is_none(), "one swap at a time");
        if self.cleaning.cuts != cuts || !self.has_sources_of(copies) {
            return Ok(false);
        }
        for copy in copies {
            let renamed = self.rename_all(copy.base, Stage::Cleaned, Stage::Swap);
            self.or_latch(renamed)?;
        }
        self.cleaning.swap = Some(Swap::of(copies));
        Ok(true)
    }

    /// Replaces the sources by the copies in the list of segments, marks their files for removal,
    /// and puts the mark that was prepared in force. `false` if a truncation took the copies away.
    ///
    /// The caller syncs the folder next.
    pub(super) fn install_swap(
        &mut self,
        copies: &[Cleaned],
        mark: Option<Mark>,
        now: Timestamp,
    ) -> Result<bool> {
        self.check_latch()?;
        let is_begun = self.cleaning.swap.as_ref().is_some_and(|swap| swap.is_of(copies));
        if !is_begun || !self.has_sources_of(copies) {
            return Ok(false);
        }
        if let Some(mark) = mark {
            let published = mark.publish(self.disk.as_ref(), &self.dir);
            self.or_latch(published)?;
            self.cleaning.mark = Some(mark);
        }
        for copy in copies {
            let installed = self.install(copy, now);
            self.or_latch(installed)?;
        }
        self.shape += 1;
        if let Some(swap) = &mut self.cleaning.swap {
            swap.is_installed = true;
        }
        Ok(true)
    }

    fn install(&mut self, copy: &Cleaned, now: Timestamp) -> Result<()> {
        let places = self.places_of(&copy.sources).expect("all sources were found just now");
        let due = now.as_millis().saturating_add(millis(self.config.file_delete_delay));
        let due = Timestamp::from_millis(due);
        let (disk, dir) = self.at();
        for source in &copy.sources {
            self.trash.rename(disk.as_ref(), &dir, source.base, due)?;
        }
        let goes = |base: Offset| copy.sources.iter().any(|source| source.base == base);
        self.positions.forget(goes);
        self.forget_open(goes);
        self.segments.splice(places.clone(), [Segment::cleaned(copy, now)]);
        // The last batch of the log may have been rewritten; snapshots name it by its checksum.
        let is_last = self.segments.iter().skip(places.start + 1).all(|after| after.size == 0);
        if is_last && copy.last_batch.is_some() {
            self.last_batch = copy.last_batch;
        }
        Ok(())
    }

    /// Gives the copies their final names. `false` if a truncation has done so.
    ///
    /// No sync is due: whoever writes the next copy sees to it, unless a flush has by then.
    pub(super) fn end_swap(&mut self) -> Result<bool> {
        self.check_latch()?;
        let Some(swap) = self.cleaning.swap.take_if(|swap| swap.is_installed) else {
            return Ok(false);
        };
        for copy in &swap.copies {
            let renamed = self.rename_all(copy.base, Stage::Swap, Stage::Final);
            self.or_latch(renamed)?;
            self.unpin(copy.base);
        }
        self.flushing.note_idle_names();
        Ok(true)
    }

    /// Before the log is cut: a swap under way is taken back, or brought to its end.
    pub(crate) fn settle_swap(&mut self) -> Result<()> {
        self.cleaning.cuts += 1;
        let (disk, dir) = self.at();
        let Some(swap) = self.cleaning.swap.take() else {
            if self.flushing.idle_names().is_some() {
                disk.sync_dir(&dir)?;
                self.flushing.idle_names_synced();
            }
            return Ok(());
        };
        if swap.is_installed {
            disk.sync_dir(&dir)?;
        }
        for copy in &swap.copies {
            if swap.is_installed {
                self.rename_all(copy.base, Stage::Swap, Stage::Final)?;
                self.unpin(copy.base);
                continue;
            }
            // The log first: without it the others mean nothing.
            for kind in FILES.into_iter().rev() {
                remove(disk.as_ref(), &names::staged(&dir, copy.base, kind, Stage::Swap))?;
            }
        }
        disk.sync_dir(&dir)?;
        self.flushing.idle_names_synced();
        Ok(())
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

    fn has_sources_of(&self, copies: &[Cleaned]) -> bool {
        copies.iter().all(|copy| self.places_of(&copy.sources).is_some())
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
