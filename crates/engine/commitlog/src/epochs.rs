//! Which leader wrote from which offset on (KIP-101, KIP-279), and Kafka's text file of it.
//!
//! Invariant: epochs and start offsets both strictly ascend.

use jocko_types::{LeaderEpoch, Offset};
use std::fmt::Write;

/// The first offset of one leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The first offset it could write.
    pub start: Offset,
}

/// Where an epoch ends, as OffsetForLeaderEpoch answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch in the log that is not above the one asked for; -1 if unknown.
    pub epoch: LeaderEpoch,
    /// The offset after its last record; -1 if unknown.
    pub end: Offset,
}

impl EpochEnd {
    /// The answer for an epoch this log knows nothing about.
    pub const UNKNOWN: Self = Self { epoch: LeaderEpoch::NONE, end: Offset::new(-1) };
}

/// The leaders of a log, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    starts: Vec<EpochStart>,
}

impl Epochs {
    pub(crate) fn latest(&self) -> Option<EpochStart> {
        self.starts.last().copied()
    }

    pub(crate) fn all(&self) -> &[EpochStart] {
        &self.starts
    }

    /// Notes that `epoch` writes from `start` on. Entries that contradict it go: they belong to
    /// leaders whose records were cut away. Returns whether anything changed.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < LeaderEpoch::new(0) {
            return false;
        }
        match self.starts.last() {
            Some(last) if last.epoch == epoch && start >= last.start => return false,
            _ => {}
        }
        let keep = self.starts.partition_point(|at| at.epoch < epoch && at.start < start);
        self.starts.truncate(keep);
        self.starts.push(EpochStart { epoch, start });
        true
    }

    /// Who wrote `offset`.
    pub(crate) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let count = self.starts.partition_point(|at| at.start <= offset);
        Some(self.starts.get(count.checked_sub(1)?)?.epoch)
    }

    /// Where `asked` ends in a log that ends at `log_end`.
    pub(crate) fn end_of(&self, asked: LeaderEpoch, log_end: Offset) -> EpochEnd {
        if asked < LeaderEpoch::new(0) {
            return EpochEnd::UNKNOWN;
        }
        if self.latest().is_some_and(|last| last.epoch == asked) {
            return EpochEnd { epoch: asked, end: log_end };
        }
        let not_above = self.starts.partition_point(|at| at.epoch <= asked);
        let Some(higher) = self.starts.get(not_above) else { return EpochEnd::UNKNOWN };
        // An epoch older than all that is known ends where the oldest begins: whoever asks must
        // cut back to there.
        let floor = not_above.checked_sub(1).and_then(|at| self.starts.get(at));
        EpochEnd { epoch: floor.map_or(asked, |floor| floor.epoch), end: higher.start }
    }

    /// Forgets leaders who wrote nothing before `end`. Returns whether anything changed.
    pub(crate) fn truncate_end(&mut self, end: Offset) -> bool {
        let keep = self.starts.partition_point(|at| at.start < end);
        let changed = keep < self.starts.len();
        self.starts.truncate(keep);
        changed
    }

    /// Forgets leaders all of whose records lie before `start`. Returns whether anything changed.
    pub(crate) fn truncate_start(&mut self, start: Offset) -> bool {
        let at_or_before = self.starts.partition_point(|at| at.start <= start);
        let Some(stays) = at_or_before.checked_sub(1) else { return false };
        self.starts.drain(..stays);
        match self.starts.first_mut() {
            Some(first) if first.start < start => {
                first.start = start;
                true
            }
            _ => stays > 0,
        }
    }

    pub(crate) fn clear(&mut self) -> bool {
        let changed = !self.starts.is_empty();
        self.starts.clear();
        changed
    }

    /// Kafka's `leader-epoch-checkpoint`, version 0.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.starts.len());
        for at in &self.starts {
            writeln!(text, "{} {}", at.epoch, at.start).expect("a string takes any text");
        }
        text
    }

    /// Reads what [`Epochs::to_text`] writes; `None` if it is anything else.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "0" {
            return None;
        }
        let count: usize = lines.next()?.parse().ok()?;
        let mut starts = Vec::new();
        for line in lines {
            let (epoch, start) = line.split_once(' ')?;
            let at = EpochStart {
                epoch: LeaderEpoch::new(epoch.parse().ok()?),
                start: Offset::new(start.parse().ok()?),
            };
            let ascends = starts
                .last()
                .is_none_or(|last: &EpochStart| last.epoch < at.epoch && last.start < at.start);
            if !ascends || at.epoch < LeaderEpoch::new(0) || at.start < Offset::ZERO {
                return None;
            }
            starts.push(at);
        }
        (starts.len() == count).then_some(Self { starts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(starts: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for &(epoch, start) in starts {
            epochs.assign(LeaderEpoch::new(epoch), Offset::new(start));
        }
        epochs
    }

    fn list(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs.all().iter().map(|at| (at.epoch.get(), at.start.get())).collect()
    }

    #[test]
    fn assigning_keeps_both_columns_ascending() {
        let check = |before: &[(i32, i64)], expect: &[(i32, i64)]| {
            assert_eq!(list(&epochs(before)), expect, "{before:?}");
        };
        check(&[(0, 0), (2, 10)], &[(0, 0), (2, 10)]);
        check(&[(0, 0), (0, 5)], &[(0, 0)]);
        check(&[(-1, 0)], &[]);
        check(&[(0, 0), (1, 10), (2, 10)], &[(0, 0), (2, 10)]);
        check(&[(0, 0), (3, 10), (2, 12)], &[(0, 0), (2, 12)]);
        check(&[(0, 5), (1, 10), (2, 3)], &[(2, 3)]);
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let known = epochs(&[(2, 10), (4, 20), (7, 30)]);
        let check = |asked: i32, expect: (i32, i64)| {
            let end = known.end_of(LeaderEpoch::new(asked), Offset::new(50));
            assert_eq!((end.epoch.get(), end.end.get()), expect, "epoch {asked}");
        };
        check(-1, (-1, -1));
        check(1, (1, 10));
        check(2, (2, 20));
        check(3, (2, 20));
        check(4, (4, 30));
        check(6, (4, 30));
        check(7, (7, 50));
        check(8, (-1, -1));
        assert_eq!(Epochs::default().end_of(LeaderEpoch::new(0), Offset::ZERO), EpochEnd::UNKNOWN);
    }

    #[test]
    fn an_offset_has_one_writer() {
        let known = epochs(&[(2, 10), (4, 20)]);
        let check = |offset: i64, expect: Option<i32>| {
            assert_eq!(known.at(Offset::new(offset)).map(LeaderEpoch::get), expect, "{offset}");
        };
        check(9, None);
        check(10, Some(2));
        check(19, Some(2));
        check(20, Some(4));
        check(99, Some(4));
    }

    #[test]
    fn both_ends_can_be_cut() {
        let check_end = |end: i64, expect: &[(i32, i64)]| {
            let mut cut = epochs(&[(0, 0), (1, 10), (2, 20)]);
            let changed = cut.truncate_end(Offset::new(end));
            assert_eq!((list(&cut).as_slice(), changed), (expect, expect.len() < 3), "end {end}");
        };
        check_end(25, &[(0, 0), (1, 10), (2, 20)]);
        check_end(20, &[(0, 0), (1, 10)]);
        check_end(15, &[(0, 0), (1, 10)]);
        check_end(0, &[]);
        let check_start = |start: i64, expect: &[(i32, i64)], expect_changed: bool| {
            let mut cut = epochs(&[(0, 0), (1, 10), (2, 20)]);
            let changed = cut.truncate_start(Offset::new(start));
            assert_eq!((list(&cut).as_slice(), changed), (expect, expect_changed), "start {start}");
        };
        check_start(0, &[(0, 0), (1, 10), (2, 20)], false);
        check_start(5, &[(0, 5), (1, 10), (2, 20)], true);
        check_start(10, &[(1, 10), (2, 20)], true);
        check_start(99, &[(2, 99)], true);
    }

    #[test]
    fn the_text_is_kafkas_and_damage_is_seen() {
        let known = epochs(&[(0, 0), (3, 17)]);
        assert_eq!(known.to_text(), "0\n2\n0 0\n3 17\n");
        assert_eq!(Epochs::from_text(&known.to_text()), Some(known));
        assert_eq!(Epochs::from_text("0\n0\n"), Some(Epochs::default()));
        for text in [
            "",
            "0",
            "0\n1\n",
            "1\n0\n",
            "0\n1\n0 0\n1 2\n",
            "0\n2\n1 5\n0 9\n",
            "0\n1\nx 0\n",
            "0\n1\n0 -4\n",
            "0\n1\n0\n",
            "0\n2\n1 5\n2 5\n",
        ] {
            assert_eq!(Epochs::from_text(text), None, "{text:?}");
        }
    }
}
