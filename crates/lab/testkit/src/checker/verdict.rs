//! What a history comes to.

use std::collections::BTreeMap;
use std::fmt;

/// Examples kept of each kind; beyond that they are only counted.
const EXAMPLES_MAX: usize = 5;

/// What may be wrong with a history. The names are those of Jepsen's Kafka checker where it has
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// Two values at one offset of one partition, whoever saw them.
    InconsistentOffsets,
    /// One value at more than one offset.
    Duplicate,
    /// An acknowledged record (or one whose batch was seen) lies below what was read and was
    /// never read.
    LostWrite,
    /// An acknowledged record that the final read has not brought.
    Unseen,
    /// A record was read that certainly failed.
    FailedRead,
    /// A value was read that nobody sent, or not to this partition.
    Phantom,
    /// A consumer jumped over a record that is known to be there.
    PollSkip,
    /// A consumer went back, or was handed a record again.
    NonmonotonicPoll,
    /// A later record of a producer has a lower offset than an earlier one.
    NonmonotonicSend,
    /// The log ends below what was acknowledged or read.
    ShortLog,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InconsistentOffsets => "inconsistent-offsets",
            Self::Duplicate => "duplicate",
            Self::LostWrite => "lost-write",
            Self::Unseen => "unseen",
            Self::FailedRead => "failed-read",
            Self::Phantom => "phantom",
            Self::PollSkip => "poll-skip",
            Self::NonmonotonicPoll => "nonmonotonic-poll",
            Self::NonmonotonicSend => "nonmonotonic-send",
            Self::ShortLog => "short-log",
        })
    }
}

/// How often something was found, and some of the findings in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// How often.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

/// The judgement over a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Records whose fate their sender did not learn.
    pub unknown: u64,
    /// Of those, how many were read.
    pub unknown_read: u64,
    /// Records that certainly failed.
    pub failed: u64,
    /// Different records that were read.
    pub read: u64,
    /// Acknowledged, not read, and in a partition without a final read: no judgement on them.
    pub unread: u64,
    /// What is wrong.
    pub anomalies: BTreeMap<Anomaly, Found>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.anomalies.is_empty()
    }

    /// How often an anomaly was found.
    #[must_use]
    pub fn count(&self, anomaly: Anomaly) -> u64 {
        self.anomalies.get(&anomaly).map_or(0, |found| found.count)
    }

    pub(super) fn report(&mut self, anomaly: Anomaly, words: impl FnOnce() -> String) {
        let found = self.anomalies.entry(anomaly).or_default();
        found.count += 1;
        if found.examples.len() < EXAMPLES_MAX {
            found.examples.push(words());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} in doubt ({} of them there), {} failed, {} read",
            self.acknowledged, self.unknown, self.unknown_read, self.failed, self.read
        )?;
        if self.unread > 0 {
            write!(f, ", {} not read", self.unread)?;
        }
        if self.is_clean() {
            return write!(f, ": consistent");
        }
        for (anomaly, found) in &self.anomalies {
            write!(f, "\n  {anomaly}: {}", found.count)?;
            for example in &found.examples {
                write!(f, "\n    {example}")?;
            }
        }
        Ok(())
    }
}
