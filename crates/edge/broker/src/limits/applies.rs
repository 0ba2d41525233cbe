//! Which limit a topic is nearest to, for whoever asks why records go. The answer holds for this
//! broker and this moment.

use super::{share_of, wanted};
use crate::context::Context;
use crate::governing::topic_config;
use jocko_config::kafka::{ConfigSource, ConfigType, Row, TopicConfig};
use jocko_metadata::Topic;
use std::fmt;

/// The name under which `DescribeConfigs` of a topic tells it, to those who ask for it by name:
/// tools that show or copy all configs must not meet it.
pub(crate) const NAME: &str = "jocko.retention.applies";
const DOC: &str = "Which limit of size the topic is nearest to on this broker now, what counts \
                   towards it, and whether the oldest records go for its sake; and at which age \
                   they go in any case.";

/// A limit of size, and how much of it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    name: &'static str,
    limit_bytes: u64,
    held_bytes: u64,
    /// From here on what is appended makes the oldest go.
    cuts_from: u64,
}

/// What applies to a topic.
#[derive(Debug, PartialEq, Eq)]
struct Applies {
    nearest: Option<Limit>,
    age_ms: Option<u128>,
}

/// The answer as an entry of `DescribeConfigs`.
pub(crate) fn row(context: &Context, topic: &Topic) -> Row {
    Row {
        name: NAME.to_owned(),
        value: Some(applies(context, topic).to_string()),
        source: ConfigSource::Default,
        kind: ConfigType::List,
        read_only: true,
        sensitive: false,
        synonyms: Vec::new(),
        documentation: DOC,
    }
}

fn applies(context: &Context, topic: &Topic) -> Applies {
    let published = context.published.load();
    let config = topic_config(&published.image, context.broker, &context.settings, &topic.name);
    if !config.cleanup_policy.delete {
        return Applies { nearest: None, age_ms: None };
    }
    let disk_bytes = context.guard.space().map(|space| space.total);
    let (mut all, mut own, mut largest) = (0_u64, 0_u64, 0_u64);
    for (key, partition) in &published.partitions {
        let bytes = partition.held().map_or(0, |held| held.live_bytes);
        all = all.saturating_add(bytes);
        if key.topic_id == topic.id {
            own = own.saturating_add(bytes);
            largest = largest.max(bytes);
        }
    }
    let mut limits = own_limits(&config, disk_bytes, own, largest);
    let percent = context.settings.settings().storage.retention_percent;
    if let Some((percent, disk)) = percent.zip(disk_bytes) {
        let limit_bytes = share_of(disk, percent.get());
        limits.push(divided("storage.retention_percent", limit_bytes, all));
    }
    Applies { nearest: nearest(limits), age_ms: config.retention.map(|age| age.as_millis()) }
}

/// The limits that the topic's own configs set.
fn own_limits(config: &TopicConfig, disk_bytes: Option<u64>, own: u64, largest: u64) -> Vec<Limit> {
    let mut limits = Vec::new();
    if let Some((bytes, source)) = wanted(config).and_then(|wanted| wanted.limit(disk_bytes)) {
        limits.push(divided(source.name(), bytes, own));
    }
    if let Some(bytes) = config.retention_bytes {
        // For each partition, so the fullest is the first to lose records.
        limits.push(Limit {
            name: "retention.bytes",
            limit_bytes: bytes,
            held_bytes: largest,
            cuts_from: bytes,
        });
    }
    limits
}

/// A limit that is divided over partitions: an eighth is kept free, and segments of up to a
/// sixteenth go whole.
fn divided(name: &'static str, limit_bytes: u64, held_bytes: u64) -> Limit {
    let cuts_from = limit_bytes - limit_bytes / 8 - limit_bytes / 16;
    Limit { name, limit_bytes, held_bytes, cuts_from }
}

/// The one that is filled the most.
fn nearest(limits: Vec<Limit>) -> Option<Limit> {
    // a/b against c/d, without fractions.
    limits.into_iter().max_by(|one, other| {
        let one_side = u128::from(one.held_bytes) * u128::from(other.cuts_from.max(1));
        let other_side = u128::from(other.held_bytes) * u128::from(one.cuts_from.max(1));
        // Of two that are as full, as two of nothing are, the smaller is reached first.
        one_side.cmp(&other_side).then(other.cuts_from.cmp(&one.cuts_from))
    })
}

impl fmt::Display for Applies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nearest {
            None => f.write_str("limit=none")?,
            Some(Limit { name, limit_bytes, held_bytes, cuts_from }) => {
                let cuts = held_bytes > cuts_from;
                write!(f, "limit={name},limit.bytes={limit_bytes},held.bytes={held_bytes},")?;
                write!(f, "cuts={cuts}")?;
            }
        }
        self.age_ms.map_or(Ok(()), |age| write!(f, ",age.ms={age}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_is_filled_the_most_applies() {
        let check = |limits: &[Limit], expect: &str| {
            let applies = Applies { nearest: nearest(limits.to_vec()), age_ms: Some(5) };
            assert_eq!(applies.to_string(), format!("{expect},age.ms=5"));
        };
        let of_partition =
            Limit { name: "retention.bytes", limit_bytes: 100, held_bytes: 90, cuts_from: 100 };
        check(&[], "limit=none");
        check(&[of_partition], "limit=retention.bytes,limit.bytes=100,held.bytes=90,cuts=false");
        check(
            &[of_partition, divided("topic", 1_600, 1_301), divided("all", 16_000, 1_400)],
            "limit=topic,limit.bytes=1600,held.bytes=1301,cuts=true",
        );
        check(
            &[divided("topic", 1_600, 0), divided("all", 160, 0)],
            "limit=all,limit.bytes=160,held.bytes=0,cuts=false",
        );
        check(
            &[divided("a", u64::MAX, 7)],
            &format!("limit=a,limit.bytes={},held.bytes=7,cuts=false", u64::MAX),
        );
    }
}
