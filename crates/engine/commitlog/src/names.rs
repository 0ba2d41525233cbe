//! Names of the files in a log's folder: Kafka's, and three of our own that Kafka's tools pass by.

use jocko_types::Offset;
use std::path::{Path, PathBuf};

/// What a file of a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Record batches.
    Log,
    /// Offset to position.
    Index,
    /// Timestamp to offset.
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// Producer state in Kafka's format.
    Snapshot,
    /// Producer state as a whole, and where the log ended.
    Sidecar,
}

impl Kind {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Index => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
            Self::Sidecar => ".jocko-snapshot",
        }
    }

    /// The kind whose suffix this is, dot included.
    fn of_suffix(suffix: &str) -> Option<Self> {
        let kinds = [
            Self::Log,
            Self::Index,
            Self::TimeIndex,
            Self::TxnIndex,
            Self::Snapshot,
            Self::Sidecar,
        ];
        kinds.into_iter().find(|kind| kind.suffix() == suffix)
    }
}

/// How far a file written by compaction has come (Kafka's names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Under way, or of no account.
    Cleaned,
    /// Whole; it counts, and replaces what it was made from.
    Swap,
    /// A segment's file as any other.
    Final,
}

impl Stage {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
            Self::Final => "",
        }
    }
}

/// Ends the name of a file whose removal is due.
pub(crate) const DELETED: &str = ".deleted";
/// Ends the name of a file that was not written to its end.
pub(crate) const TEMPORARY: &str = ".tmp";
/// Kafka's leader epochs.
pub(crate) const EPOCHS: &str = "leader-epoch-checkpoint";
/// Kafka's topic id of a partition.
pub(crate) const METADATA: &str = "partition.metadata";
/// The same, until the first flush replaces it: what stands under the name above was flushed.
pub(crate) const METADATA_BEFORE_FLUSH: &str = "partition.metadata.tmp";
/// An upper bound of the recovery point while a truncation is not yet in the checkpoint.
pub(crate) const BOUND: &str = "jocko-recovery-bound";

/// Digits of a base offset in a file name, as Kafka pads it.
const DIGITS: usize = 20;

/// The path of a segment's file.
pub(crate) fn path(dir: &Path, base: Offset, kind: Kind) -> PathBuf {
    dir.join(format!("{:0DIGITS$}{}", base.get(), kind.suffix()))
}

/// The path of a segment's file at a stage of compaction.
pub(crate) fn staged(dir: &Path, base: Offset, kind: Kind, stage: Stage) -> PathBuf {
    let mut path = path(dir, base, kind).into_os_string();
    path.push(stage.suffix());
    PathBuf::from(path)
}

/// Takes the name of a file that compaction has not finished apart.
pub(crate) fn parse_staged(name: &str) -> Option<(Offset, Kind, Stage)> {
    let stage =
        [Stage::Cleaned, Stage::Swap].into_iter().find(|stage| name.ends_with(stage.suffix()))?;
    let (base, kind) = parse(name.strip_suffix(stage.suffix())?)?;
    let is_of_segment = !matches!(kind, Kind::Snapshot | Kind::Sidecar);
    is_of_segment.then_some((base, kind, stage))
}

/// Takes a file name apart; `None` if it is not a segment's.
pub(crate) fn parse(name: &str) -> Option<(Offset, Kind)> {
    let (digits, suffix) = name.split_at_checked(DIGITS)?;
    let kind = Kind::of_suffix(suffix)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((Offset::new(digits.parse().ok()?), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let check = |base, kind, expect: &str| {
            assert_eq!(
                path(Path::new("/d"), Offset::new(base), kind),
                Path::new("/d").join(expect)
            );
            assert_eq!(parse(expect), Some((Offset::new(base), kind)));
        };
        check(0, Kind::Log, "00000000000000000000.log");
        check(42, Kind::TimeIndex, "00000000000000000042.timeindex");
        check(i64::MAX, Kind::Sidecar, "09223372036854775807.jocko-snapshot");
    }

    #[test]
    fn unfinished_names_are_kafkas() {
        let check = |kind, stage, expect: &str| {
            let base = Offset::new(42);
            assert_eq!(staged(Path::new("/d"), base, kind, stage), Path::new("/d").join(expect));
            let unfinished = (stage != Stage::Final).then_some((base, kind, stage));
            assert_eq!(parse_staged(expect), unfinished);
        };
        check(Kind::Log, Stage::Cleaned, "00000000000000000042.log.cleaned");
        check(Kind::TimeIndex, Stage::Swap, "00000000000000000042.timeindex.swap");
        check(Kind::TxnIndex, Stage::Final, "00000000000000000042.txnindex");
        for name in [".swap", "x.log.swap", "00000000000000000042.snapshot.swap", "a.cleaned"] {
            assert_eq!(parse_staged(name), None, "{name}");
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in [
            "",
            "0.log",
            "00000000000000000000.log.deleted",
            "0000000000000000000x.log",
            "-0000000000000000001.log",
            "99999999999999999999.log",
            "00000000000000000000.swap",
            "leader-epoch-checkpoint",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
