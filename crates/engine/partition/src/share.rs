//! How a limit for many partitions becomes a limit for each: pure arithmetic, no IO.
//!
//! The rule, in words: nobody gives anything while all of it fits. When it does not, the largest
//! partitions give first, down to a common level; a partition that holds less than that level keeps
//! all it has. So an idle partition never loses its last records to a busier one, and whoever writes
//! most lives from its own past. docs/internals/retention.md.

use std::fmt;

/// A topic's part in a division: its own limit, and what its partitions on this broker hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicHolding {
    /// The topic's limit in bytes, and where it comes from.
    pub limit: Option<(u64, LimitSource)>,
    /// Whether anything may be deleted: `cleanup.policy` holds `delete`.
    pub is_deletable: bool,
    /// Bytes by partition.
    pub bytes: Vec<u64>,
}

/// Where a limit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    /// `jocko.retention.topic.bytes`.
    TopicBytes,
    /// `jocko.retention.percent`.
    TopicPercent,
    /// `storage.retention_percent`, for all topics of the broker together.
    BrokerPercent,
}

impl LimitSource {
    /// The setting that makes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopicBytes => "jocko.retention.topic.bytes",
            Self::TopicPercent => "jocko.retention.percent",
            Self::BrokerPercent => "storage.retention_percent",
        }
    }
}

impl fmt::Display for LimitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a division leaves to one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Bytes it may hold now; `None` while everything fits.
    pub bytes_max: Option<u64>,
    /// Its active segment is rolled at this size, so that it can be deleted in time.
    pub roll_bytes: u64,
    /// The limit that is the tightest for it.
    pub source: LimitSource,
}

/// Part of a limit that is kept free, so that what is written until the next look still fits.
const HEADROOM: u64 = 8;
/// Segments that a partition's fair part of a limit is cut into.
const ROLLS: u64 = 16;
/// No segment is rolled below this for the sake of a limit, or files would outnumber records.
const ROLL_BYTES_MIN: u64 = 64 << 10;

/// The level to which holdings are cut so that their sum is at most `budget`; `None` if it is.
#[must_use]
pub fn level(budget: u64, held: impl IntoIterator<Item = u64>) -> Option<u64> {
    let mut held: Vec<u64> = held.into_iter().collect();
    let sum = held.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    if sum <= budget {
        return None;
    }
    held.sort_unstable();
    // From the smallest on: whoever holds less than an equal part of what is left keeps it all.
    let (mut left, mut count) = (budget, held.len() as u64);
    for bytes in held {
        let equal = left / count.max(1);
        if bytes > equal {
            return Some(equal);
        }
        left -= bytes;
        count -= 1;
    }
    unreachable!("not all holdings fit, so one is larger than an equal part")
}

/// Divides the limits of all topics, and of the broker if it has one, over their partitions: for
/// each topic, for each partition, the share that limits it, if any does.
#[must_use]
pub fn divide(topics: &[TopicHolding], broker: Option<u64>) -> Vec<Vec<Option<Share>>> {
    let mut shares: Vec<Vec<Option<Share>>> = topics.iter().map(divide_topic).collect();
    let Some(broker) = broker else { return shares };
    // What cannot be deleted takes its room before all others.
    let fixed = topics.iter().filter(|topic| !topic.is_deletable).flat_map(|topic| &topic.bytes);
    let fixed = fixed.fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    let budget = usable(broker).saturating_sub(fixed);
    let deletable = || topics.iter().zip(0_usize..).filter(|(topic, _)| topic.is_deletable);
    let after = |shares: &[Vec<Option<Share>>], at: usize, place: usize, bytes: u64| {
        let own = shares.get(at).and_then(|of_topic| of_topic.get(place)).copied().flatten();
        own.and_then(|share| share.bytes_max).map_or(bytes, |max| bytes.min(max))
    };
    let held: Vec<u64> = deletable()
        .flat_map(|(topic, at)| {
            let shares = &shares;
            topic
                .bytes
                .iter()
                .enumerate()
                .map(move |(place, bytes)| after(shares, at, place, *bytes))
        })
        .collect();
    let bytes_max = level(budget, held.iter().copied());
    let roll_bytes = roll_bytes(broker.saturating_sub(fixed), held.len());
    for (_, at) in deletable() {
        for share in shares.get_mut(at).into_iter().flatten() {
            let of_broker = Share { bytes_max, roll_bytes, source: LimitSource::BrokerPercent };
            *share = Some(share.map_or(of_broker, |own| tighter(own, of_broker)));
        }
    }
    shares
}

fn divide_topic(topic: &TopicHolding) -> Vec<Option<Share>> {
    let share = topic.limit.filter(|_| topic.is_deletable).map(|(limit, source)| Share {
        bytes_max: level(usable(limit), topic.bytes.iter().copied()),
        roll_bytes: roll_bytes(limit, topic.bytes.len()),
        source,
    });
    vec![share; topic.bytes.len()]
}

const fn usable(limit: u64) -> u64 {
    limit - limit / HEADROOM
}

fn roll_bytes(limit: u64, partitions: usize) -> u64 {
    (limit / (partitions as u64).max(1) / ROLLS).max(ROLL_BYTES_MIN)
}

fn tighter(a: Share, b: Share) -> Share {
    let max = |share: &Share| share.bytes_max.unwrap_or(u64::MAX);
    let roll_bytes = a.roll_bytes.min(b.roll_bytes);
    // With nothing to cut, the one that would be reached first is the one with the smaller rolls.
    let is_a = (max(&a), a.roll_bytes) <= (max(&b), b.roll_bytes);
    Share { roll_bytes, ..if is_a { a } else { b } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(limit: Option<u64>, bytes: &[u64]) -> TopicHolding {
        let limit = limit.map(|limit| (limit, LimitSource::TopicBytes));
        TopicHolding { limit, is_deletable: true, bytes: bytes.to_vec() }
    }

    fn maxima(shares: &[Vec<Option<Share>>]) -> Vec<Option<u64>> {
        shares.iter().flatten().map(|share| share.and_then(|share| share.bytes_max)).collect()
    }

    #[test]
    fn the_largest_give_first_down_to_a_common_level() {
        let check = |budget, held: &[u64], expect| {
            assert_eq!(level(budget, held.iter().copied()), expect, "{budget} {held:?}");
        };
        check(100, &[10, 20, 70], None);
        check(100, &[10, 20, 71], Some(70));
        check(100, &[10, 80, 80], Some(45));
        check(100, &[10, 45, 46], Some(45));
        check(99, &[100, 100], Some(49));
        check(100, &[0, 1000], Some(100));
        check(0, &[0, 5], Some(0));
        check(0, &[], None);
        check(10, &[u64::MAX, u64::MAX], Some(5));
    }

    #[test]
    fn limits_of_topics_and_of_the_broker_hold_together() {
        let topics = [topic(Some(800), &[500, 500]), topic(None, &[100, 900])];
        // Seven eighths of a limit are used.
        assert_eq!(maxima(&divide(&topics, None)), [Some(350), Some(350), None, None]);
        let shares = divide(&topics, Some(1600));
        assert_eq!(maxima(&shares), [Some(350), Some(350), Some(600), Some(600)]);
        let sources = shares.iter().flatten().map(|share| share.unwrap().source);
        let (own, all) = (LimitSource::TopicBytes, LimitSource::BrokerPercent);
        assert_eq!(sources.collect::<Vec<_>>(), [own, own, all, all]);
    }

    #[test]
    fn what_is_only_compacted_is_not_deleted_and_takes_its_room_first() {
        let mut compacted = topic(Some(10), &[500]);
        compacted.is_deletable = false;
        let topics = [compacted, topic(None, &[900])];
        let shares = divide(&topics, Some(1000));
        assert_eq!(shares[0], [None]);
        assert_eq!(maxima(&shares), [None, Some(375)]);
        let shares = divide(&topics, Some(100));
        assert_eq!(maxima(&shares), [None, Some(0)]);
    }

    #[test]
    fn active_segments_are_a_small_part_of_a_limit() {
        let share = divide(&[topic(Some(1 << 30), &[0; 4])], None)[0][0].unwrap();
        assert_eq!((share.bytes_max, share.roll_bytes), (None, 16 << 20));
        let share = divide(&[topic(Some(1 << 20), &[0; 4])], None)[0][0].unwrap();
        assert_eq!(share.roll_bytes, ROLL_BYTES_MIN);
    }

    proptest! {
        #[test]
        fn a_level_fills_the_budget_and_spares_the_small(
            budget in 0..10_000_u64,
            held in prop::collection::vec(0..5_000_u64, 0..20),
        ) {
            let sum: u64 = held.iter().sum();
            match level(budget, held.iter().copied()) {
                None => prop_assert!(sum <= budget),
                Some(level) => {
                    let after: u64 = held.iter().map(|bytes| (*bytes).min(level)).sum();
                    prop_assert!(after <= budget);
                    // What is left over is less than one byte for each who gives.
                    let givers = held.iter().filter(|bytes| **bytes > level).count() as u64;
                    prop_assert!(budget - after < givers.max(1));
                }
            }
        }

        #[test]
        fn more_budget_or_fewer_partitions_never_mean_less(
            budget in 0..10_000_u64,
            more in 0..5_000_u64,
            held in prop::collection::vec(0..5_000_u64, 1..20),
        ) {
            let max = |level: Option<u64>| level.unwrap_or(u64::MAX);
            let now = max(level(budget, held.iter().copied()));
            prop_assert!(max(level(budget + more, held.iter().copied())) >= now);
            prop_assert!(max(level(budget, held[1..].iter().copied())) >= now);
        }

        #[test]
        fn every_limit_holds_after_a_division(
            topics in prop::collection::vec(
                (prop::option::of(0..4_000_u64), any::<bool>(), prop::collection::vec(0..3_000_u64, 0..6)),
                0..6,
            ),
            broker in prop::option::of(0..9_000_u64),
        ) {
            let topics: Vec<TopicHolding> = topics
                .into_iter()
                .map(|(limit, is_deletable, bytes)| TopicHolding { is_deletable, ..topic(limit, &bytes) })
                .collect();
            let shares = divide(&topics, broker);
            let mut all = 0;
            for (topic, shares) in topics.iter().zip(&shares) {
                let kept = topic.bytes.iter().zip(shares).map(|(bytes, share)| {
                    let max = share.and_then(|share| share.bytes_max);
                    max.map_or(*bytes, |max| (*bytes).min(max))
                });
                let kept: u64 = kept.sum();
                if let Some((limit, _)) = topic.limit.filter(|_| topic.is_deletable) {
                    prop_assert!(kept <= limit);
                }
                if !topic.is_deletable {
                    prop_assert_eq!(kept, topic.bytes.iter().sum::<u64>());
                }
                all += kept;
            }
            let fixed = topics.iter().filter(|topic| !topic.is_deletable).flat_map(|topic| &topic.bytes);
            let fixed: u64 = fixed.sum();
            if let Some(broker) = broker {
                prop_assert!(all <= broker.max(fixed), "{} of {}", all, broker);
            }
        }
    }
}
