//! A log that holds a number a record, and forgets like a disk does.

use jocko_replica::{EpochEnd, LogEnds};
use jocko_types::{LeaderEpoch, Offset};

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) epoch: LeaderEpoch,
    pub(super) value: u64,
}

/// The log of one partition on one disk, with its epoch cache.
#[derive(Debug, Clone, Default)]
pub(super) struct ToyLog {
    start: i64,
    entries: Vec<Entry>,
    durable: i64,
    epochs: Vec<(LeaderEpoch, i64)>,
    /// How often it was cut: a flush that began before does not count.
    pub(super) cuts: u64,
}

impl ToyLog {
    pub(super) fn end(&self) -> i64 {
        self.start + i64::try_from(self.entries.len()).expect("few records")
    }

    pub(super) fn start(&self) -> i64 {
        self.start
    }

    pub(super) fn durable(&self) -> i64 {
        self.durable
    }

    pub(super) fn ends(&self) -> LogEnds {
        LogEnds {
            start: Offset::new(self.start),
            end: Offset::new(self.end()),
            durable: Offset::new(self.durable),
        }
    }

    pub(super) fn get(&self, offset: i64) -> Option<Entry> {
        usize::try_from(offset - self.start).ok().and_then(|at| self.entries.get(at)).copied()
    }

    pub(super) fn read(&self, from: i64, count: usize) -> Vec<Entry> {
        let at = usize::try_from(from - self.start).unwrap_or(usize::MAX);
        self.entries.iter().skip(at).take(count).copied().collect()
    }

    pub(super) fn append(&mut self, entry: Entry) {
        self.assign_epoch(entry.epoch);
        self.entries.push(entry);
    }

    /// Notes that this epoch writes from the end on, as `jocko-commitlog` does.
    pub(super) fn assign_epoch(&mut self, epoch: LeaderEpoch) {
        if self.epochs.last().is_some_and(|(last, _)| *last >= epoch) {
            return;
        }
        let end = self.end();
        self.epochs.retain(|(_, start)| *start < end);
        self.epochs.push((epoch, end));
    }

    pub(super) fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.last().map(|(epoch, _)| *epoch)
    }

    /// What the epoch cache says of an epoch (KIP-101, KIP-279).
    pub(super) fn epoch_end(&self, asked: LeaderEpoch) -> EpochEnd {
        let unknown = EpochEnd { epoch: LeaderEpoch::NONE, end: Offset::new(-1) };
        if self.last_epoch() == Some(asked) {
            return EpochEnd { epoch: asked, end: Offset::new(self.end()) };
        }
        let not_above = self.epochs.partition_point(|(epoch, _)| *epoch <= asked);
        let Some((_, end)) = self.epochs.get(not_above) else { return unknown };
        let floor = not_above.checked_sub(1).and_then(|at| self.epochs.get(at));
        EpochEnd { epoch: floor.map_or(asked, |(epoch, _)| *epoch), end: Offset::new(*end) }
    }

    pub(super) fn truncate(&mut self, to: i64) {
        if to < self.start {
            return self.restart(to);
        }
        self.entries.truncate(usize::try_from(to - self.start).unwrap_or(0));
        self.durable = self.durable.min(to);
        self.epochs.retain(|(_, start)| *start < to);
        self.cuts += 1;
    }

    pub(super) fn restart(&mut self, at: i64) {
        *self = Self { start: at, durable: at, cuts: self.cuts + 1, ..Self::default() };
    }

    /// Begins later.
    pub(super) fn trim(&mut self, start: i64) {
        let start = start.min(self.end());
        if start <= self.start {
            return;
        }
        self.entries.drain(..usize::try_from(start - self.start).unwrap_or(0));
        self.start = start;
        self.durable = self.durable.max(start);
        let keep = self.epochs.partition_point(|(_, at)| *at <= start).saturating_sub(1);
        self.epochs.drain(..keep);
        if let Some(first) = self.epochs.first_mut() {
            first.1 = first.1.max(start);
        }
    }

    pub(super) fn synced(&mut self, end: i64) {
        self.durable = self.durable.max(end.min(self.end()));
    }

    /// Power is cut: of what was not synced only `kept` records survive.
    pub(super) fn lose_tail(&mut self, kept: i64) {
        let end = (self.durable + kept).min(self.end());
        self.truncate(end);
    }
}
