//! How much of a log is worth cleaning, and which segments a pass would take.

use super::source::Source;
use crate::config::millis;
use crate::fault::Result;
use crate::log::Log;
use jocko_types::{Offset, Timestamp};

/// What a pass would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dirt {
    /// Bytes that were compacted before.
    pub clean_bytes: u64,
    /// Bytes that were not, and may be now.
    pub dirty_bytes: u64,
    /// Whether records wait for longer than `max.compaction.lag.ms`.
    pub is_overdue: bool,
    /// Whether sealed segments wait for a sync before they can be compacted.
    pub awaits_flush: bool,
}

impl Dirt {
    /// The dirty share of all that may be compacted.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes.saturating_add(self.dirty_bytes);
        if all == 0 { 0.0 } else { self.dirty_bytes as f64 / all as f64 }
    }

    /// Whether a pass is due (KIP-354: an overdue one whatever the share is).
    #[must_use]
    pub fn is_due(&self, dirty_ratio_min: f64) -> bool {
        self.dirty_bytes > 0 && (self.is_overdue || self.ratio() > dirty_ratio_min)
    }
}

/// The segments a pass takes, and from where on they are dirty.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) sources: Vec<Source>,
    pub(super) first_dirty: Offset,
    pub(super) dirt: Dirt,
}

impl Log {
    /// What a compaction would find below `upper`, the least of high watermark and last stable
    /// offset. Rolls an active segment whose records wait for longer than `max.compaction.lag.ms`.
    ///
    /// # Errors
    /// The latch; a disk fault or damage that the look met.
    pub fn dirt(&mut self, upper: Offset, now: Timestamp) -> Result<Dirt> {
        self.check_latch()?;
        if !self.config.compacts {
            return Ok(Dirt::default());
        }
        self.roll_if_overdue(now)?;
        Ok(self.scope(upper, now)?.dirt)
    }

    fn roll_if_overdue(&mut self, now: Timestamp) -> Result<()> {
        let Some(lag_max) = self.config.compaction.lag_max else { return Ok(()) };
        let Some((segment, at)) = self.active() else { return Ok(()) };
        if segment.size == 0 {
            return Ok(());
        }
        let loaded = segment.load_first_timestamp(at);
        let first = segment.known_first_timestamp();
        self.or_latch(loaded)?;
        if first.is_some_and(|first| is_older(first, now, millis(lag_max))) {
            self.roll(now)?;
        }
        Ok(())
    }

    /// The sealed segments below `upper` that are durable and old enough, the oldest first.
    pub(super) fn scope(&mut self, upper: Offset, now: Timestamp) -> Result<Scope> {
        let config = self.config.compaction;
        let start = self.log_start;
        let mark = self.compacted_to().filter(|cleaned_to| *cleaned_to <= self.next);
        let first_dirty = mark.map_or(start, |cleaned_to| cleaned_to.max(start));
        let mut scope = Scope { sources: Vec::new(), first_dirty, dirt: Dirt::default() };
        let first = self.segment_of(start).unwrap_or(0);
        let sealed = self.segments.len().saturating_sub(1);
        let durable = self.durable_end();
        for place in first..sealed {
            let Some(next) = self.segments.get(place + 1).map(|next| next.base) else { break };
            let Some((segment, at)) = self.segment(place) else { break };
            let source = Source {
                base: segment.base,
                next,
                size: segment.size,
                index_bytes: segment.offsets.size_bytes() + segment.times.size_bytes(),
            };
            let is_dirty = next > first_dirty;
            if next > upper {
                break;
            }
            if segment.next > durable {
                scope.dirt.awaits_flush = true;
                break;
            }
            if is_dirty && !config.lag_min.is_zero() {
                let reached = segment.reached(at)?;
                let age = |timestamp| now.millis_since(timestamp);
                if reached.is_some_and(|reached| {
                    reached.timestamp > Timestamp::NONE
                        && age(reached.timestamp) < millis(config.lag_min)
                }) {
                    break;
                }
            }
            if is_dirty && let Some(lag_max) = config.lag_max {
                segment.load_first_timestamp(at)?;
                scope.dirt.is_overdue |= segment
                    .known_first_timestamp()
                    .is_some_and(|oldest| is_older(oldest, now, millis(lag_max)));
            }
            if is_dirty {
                scope.dirt.dirty_bytes += source.size;
            } else {
                scope.dirt.clean_bytes += source.size;
            }
            scope.sources.push(source);
            if config.lag_max.is_some() || !config.lag_min.is_zero() {
                // Its files were opened for the look.
                self.touch(place);
            }
        }
        Ok(scope)
    }
}

/// Whether a record's time lies more than so many milliseconds back. No time is no age.
fn is_older(timestamp: Timestamp, now: Timestamp, age_ms: i64) -> bool {
    timestamp > Timestamp::NONE && now.millis_since(timestamp) > age_ms
}
