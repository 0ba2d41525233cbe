//! What became of the records of one partition: a log of promises (acknowledgements, what readers
//! were shown, high watermarks) held against what is in the partition at the end.
//!
//! The names of the faults are those of Jepsen's Kafka checker where it has them.

use crate::payload::Id;
use std::collections::BTreeMap;
use std::fmt;

/// Examples kept of each partition's faults; beyond that they are only counted.
const EXAMPLES_MAX: usize = 8;
/// How far one observation may lie beyond all others before it is not believed.
const LEAP_MAX: i64 = 1 << 28;

/// Something that must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An acknowledged record is not at its acknowledged offset at the end.
    Lost {
        /// The record.
        id: Id,
        /// The offset that was promised.
        offset: i64,
        /// Where it is instead, if anywhere.
        found: Option<i64>,
    },
    /// A reader was shown a committed record that is gone at the end.
    Vanished {
        /// The record.
        id: Id,
        /// Where it was seen.
        offset: i64,
    },
    /// One record at two offsets.
    Duplicate {
        /// The record.
        id: Id,
        /// Where it is first.
        offset: i64,
        /// Where it is again.
        again: i64,
    },
    /// Two values were ever seen at one offset.
    Conflict {
        /// The offset.
        offset: i64,
        /// What was seen there first.
        first: Id,
        /// What was seen there later.
        then: Id,
    },
    /// An offset without a record between others.
    Gap {
        /// The offset that should have come.
        expected: i64,
        /// The one that came.
        found: i64,
    },
    /// A value that nobody wrote, at least not like this.
    Altered {
        /// Where.
        offset: i64,
    },
    /// A record of another partition.
    Stray {
        /// The record.
        id: Id,
        /// Where.
        offset: i64,
    },
    /// Records of one producer out of the order it sent them in.
    Reordered {
        /// The later one in the log.
        id: Id,
        /// Where.
        offset: i64,
    },
    /// Readers were told that more is committed than there is at the end.
    Short {
        /// The high watermark that was told.
        high_watermark: i64,
        /// Where the log ends.
        end: i64,
    },
    /// A record was served at or beyond the high watermark of the same answer.
    Uncommitted {
        /// Where.
        offset: i64,
        /// The high watermark.
        high_watermark: i64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { id, offset, found: None } => {
                write!(f, "lost: {id} was acknowledged at {offset} and is nowhere")
            }
            Self::Lost { id, offset, found: Some(found) } => {
                write!(f, "lost: {id} was acknowledged at {offset} and is at {found}")
            }
            Self::Vanished { id, offset } => write!(f, "vanished: {id} was read at {offset}"),
            Self::Duplicate { id, offset, again } => {
                write!(f, "duplicate: {id} is at {offset} and at {again}")
            }
            Self::Conflict { offset, first, then } => {
                write!(f, "conflict: offset {offset} held {first}, then {then}")
            }
            Self::Gap { expected, found } => {
                write!(f, "gap: {found} follows where {expected} was due")
            }
            Self::Altered { offset } => write!(f, "altered: the value at {offset} is nobody's"),
            Self::Stray { id, offset } => {
                write!(f, "stray: {id} is at {offset} of another partition")
            }
            Self::Reordered { id, offset } => {
                write!(f, "reordered: {id} at {offset} comes too late")
            }
            Self::Short { high_watermark, end } => {
                write!(f, "short: high watermark {high_watermark} was told, the log ends at {end}")
            }
            Self::Uncommitted { offset, high_watermark } => {
                write!(f, "uncommitted: {offset} was served under high watermark {high_watermark}")
            }
        }
    }
}

/// A partition as it is at the end, read from start to end.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The offset after the last record, as the broker says.
    pub end: i64,
    /// Every record in the order read: its offset, and its id unless the value was altered.
    pub records: Vec<(i64, Option<Id>)>,
}

/// Counts over partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Records in the logs at the end.
    pub read: u64,
    /// [`Fault::Lost`] and [`Fault::Vanished`].
    pub lost: u64,
    /// [`Fault::Duplicate`].
    pub duplicates: u64,
    /// [`Fault::Conflict`].
    pub conflicts: u64,
    /// All other faults.
    pub others: u64,
    /// Some of the faults.
    pub examples: Vec<Fault>,
}

impl Tally {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.conflicts == 0 && self.others == 0
    }

    /// Adds another partition's counts.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.read += other.read;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.others += other.others;
        self.examples.extend(other.examples);
    }

    fn report(&mut self, fault: Fault) {
        match fault {
            Fault::Lost { .. } | Fault::Vanished { .. } => self.lost += 1,
            Fault::Duplicate { .. } => self.duplicates += 1,
            Fault::Conflict { .. } => self.conflicts += 1,
            Fault::Gap { .. }
            | Fault::Altered { .. }
            | Fault::Stray { .. }
            | Fault::Reordered { .. }
            | Fault::Short { .. }
            | Fault::Uncommitted { .. } => self.others += 1,
        }
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(fault);
        }
    }
}

/// Records acknowledged together.
#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    base_offset: i64,
    first: Id,
    count: u32,
}

/// The history of one partition.
#[derive(Debug)]
pub struct History {
    partition: u64,
    /// What was first seen at each offset, whoever said so.
    known: Vec<Option<Id>>,
    acknowledged: Vec<Acknowledged>,
    high_watermark: i64,
    tally: Tally,
}

impl History {
    /// The history of the partition that the test numbers `partition`.
    #[must_use]
    pub fn new(partition: u16) -> Self {
        Self {
            partition: u64::from(partition),
            known: Vec::new(),
            acknowledged: Vec::new(),
            high_watermark: 0,
            tally: Tally::default(),
        }
    }

    /// A producer was told that `count` records from `first` on are at `base_offset` and beyond.
    pub fn acknowledge(&mut self, base_offset: i64, first: Id, count: u32) {
        self.acknowledged.push(Acknowledged { base_offset, first, count });
        self.tally.acknowledged += u64::from(count);
        for (offset, id) in span(base_offset, first, count) {
            self.know(offset, id);
        }
    }

    /// A producer was told once more where a batch is: a duplicate must give the first answer.
    pub fn acknowledge_again(&mut self, base_offset: i64, first: Id, count: u32) {
        self.acknowledge(base_offset, first, count);
        self.tally.acknowledged -= u64::from(count);
    }

    /// A reader was shown a record (no id: an altered value) under a high watermark.
    pub fn see(&mut self, offset: i64, id: Option<Id>, high_watermark: i64) {
        if offset >= high_watermark {
            self.tally.report(Fault::Uncommitted { offset, high_watermark });
        }
        match id {
            Some(id) => self.know(offset, id),
            None => self.tally.report(Fault::Altered { offset }),
        }
    }

    /// A reader was told a high watermark.
    pub fn told_high_watermark(&mut self, high_watermark: i64) {
        self.high_watermark = self.high_watermark.max(high_watermark);
    }

    fn know(&mut self, offset: i64, id: Id) {
        if id.partition() != self.partition {
            self.tally.report(Fault::Stray { id, offset });
            return;
        }
        let expected = i64::try_from(self.known.len()).unwrap_or(i64::MAX);
        let Some(at) = usize::try_from(offset).ok().filter(|_| offset < expected + LEAP_MAX) else {
            self.tally.report(Fault::Gap { expected, found: offset });
            return;
        };
        if at >= self.known.len() {
            self.known.resize(at + 1, None);
        }
        match self.known[at] {
            None => self.known[at] = Some(id),
            Some(first) if first != id => {
                self.tally.report(Fault::Conflict { offset, first, then: id });
            }
            Some(_) => {}
        }
    }

    /// Holds everything that was promised against what is there.
    #[must_use]
    pub fn judge(mut self, log: &Log) -> Tally {
        self.tally.read = u64::try_from(log.records.len()).unwrap_or(u64::MAX);
        let seen_before = std::mem::take(&mut self.known);
        let places = self.places(log);
        if self.high_watermark > log.end {
            let high_watermark = self.high_watermark;
            self.tally.report(Fault::Short { high_watermark, end: log.end });
        }
        let at_end = |offset: i64| {
            let at = usize::try_from(offset).ok()?;
            let (found, id) = *log.records.get(at)?;
            (found == offset).then_some(id).flatten()
        };
        let mut acknowledged = vec![false; seen_before.len()];
        for promise in std::mem::take(&mut self.acknowledged) {
            for (offset, id) in span(promise.base_offset, promise.first, promise.count) {
                if let Some(mark) =
                    usize::try_from(offset).ok().and_then(|at| acknowledged.get_mut(at))
                {
                    *mark = true;
                }
                if at_end(offset) != Some(id) {
                    let found = places.get(&id).copied();
                    self.tally.report(Fault::Lost { id, offset, found });
                }
            }
        }
        for ((offset, id), acknowledged) in (0..).zip(seen_before).zip(acknowledged) {
            let Some(id) = id.filter(|_| !acknowledged) else { continue };
            match at_end(offset) {
                Some(then) if then == id => {}
                Some(then) => self.tally.report(Fault::Conflict { offset, first: id, then }),
                None => self.tally.report(Fault::Vanished { id, offset }),
            }
        }
        self.tally
    }

    /// Checks the log by itself, and yields where each record is, for those that are somewhere
    /// unexpected.
    fn places(&mut self, log: &Log) -> BTreeMap<Id, i64> {
        let mut places = Vec::with_capacity(log.records.len());
        let mut expected = 0;
        let mut last_of: BTreeMap<u64, Id> = BTreeMap::new();
        for &(offset, id) in &log.records {
            if offset != expected {
                self.tally.report(Fault::Gap { expected, found: offset });
            }
            expected = offset + 1;
            let Some(id) = id else {
                self.tally.report(Fault::Altered { offset });
                continue;
            };
            if id.partition() != self.partition {
                self.tally.report(Fault::Stray { id, offset });
            }
            let last = last_of.entry(id.producer()).or_insert(id);
            // An equal one is a duplicate, which is reported as such.
            if id < *last {
                self.tally.report(Fault::Reordered { id, offset });
            }
            *last = id.max(*last);
            places.push((id, offset));
        }
        if expected != log.end {
            self.tally.report(Fault::Gap { expected: log.end, found: expected });
        }
        places.sort_unstable();
        for pair in places.windows(2) {
            if let [(id, offset), (same, again)] = *pair
                && id == same
            {
                self.tally.report(Fault::Duplicate { id, offset, again });
            }
        }
        places.into_iter().rev().collect()
    }
}

fn span(base_offset: i64, first: Id, count: u32) -> impl Iterator<Item = (i64, Id)> {
    (0..count).map(move |at| (base_offset + i64::from(at), first.plus(u64::from(at))))
}

#[cfg(test)]
mod tests;
