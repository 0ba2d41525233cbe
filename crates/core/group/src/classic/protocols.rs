//! The dialects of a group: which one its members settle on, and what consumers say in theirs.

use super::live::{Live, State};
use crate::command::Opaque;
use jocko_codec::{Decode, DecodeError, Reader};
use jocko_protocol::rpc::ConsumerProtocolSubscription;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The dialects of a request, each name once.
pub(super) fn distinct(protocols: &[(String, Opaque)]) -> Vec<(Arc<str>, Opaque)> {
    let mut seen = BTreeSet::new();
    protocols
        .iter()
        .filter(|(name, _)| seen.insert(name.as_str()))
        .map(|(name, metadata)| (Arc::from(name.as_str()), metadata.clone()))
        .collect()
}

impl Live {
    /// Whether somebody who speaks these dialects of `protocol_type` may join.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(String, Opaque)]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| self.is_spoken_by_all(name))
    }

    fn is_spoken_by_all(&self, protocol: &str) -> bool {
        self.members.values().all(|member| member.facts.speaks(protocol))
    }

    /// The dialect that most members like best of those that all of them speak. `None` only if
    /// there is no member.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let first = self.members.values().next()?;
        let spoken: BTreeSet<&str> = first
            .facts
            .protocols
            .iter()
            .map(|(name, _)| name.as_ref())
            .filter(|name| self.is_spoken_by_all(name))
            .collect();
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let mut names = member.facts.protocols.iter().map(|(name, _)| name);
            if let Some(vote) = names.find(|name| spoken.contains(name.as_ref())) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let winners = votes.iter().filter(|(_, count)| **count == most).map(|(name, _)| *name);
        winners.min_by_key(|name| tie_order(name)).cloned()
    }
}

/// Kafka takes the first of several winners in the order of its hash table, and so do we: a group
/// must not change its dialect when it moves from one broker to the other.
fn tie_order(name: &str) -> u32 {
    let hash = name
        .encode_utf16()
        .fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    // Java's smallest hash table has 16 buckets; members never agree on more dialects than that.
    (hash ^ (hash >> 16)) & 15
}

/// What the members subscribe to, if they are consumers and say so legibly. The first version of
/// a subscription is the beginning of all later ones, so any version is read as that.
pub(super) fn subscribed(live: &Live) -> Option<Arc<BTreeSet<String>>> {
    if !live.is_consumers() {
        return None;
    }
    if live.members.is_empty() {
        return Some(Arc::default());
    }
    let protocol = live.protocol.as_deref()?;
    let mut topics = BTreeSet::new();
    for member in live.members.values() {
        topics.extend(subscription(&member.facts.metadata(Some(protocol))).ok()?);
    }
    Some(Arc::new(topics))
}

fn subscription(metadata: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut r = Reader::new(metadata);
    r.i16("ConsumerProtocolSubscription.version")?;
    Ok(ConsumerProtocolSubscription::decode(&mut r, 0)?.topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_that_is_named_twice_is_the_first() {
        let named = |name: &str, words: &[u8]| (name.to_owned(), Opaque::from(words));
        let given = [named("range", b"1"), named("sticky", b"2"), named("range", b"3")];
        let expected = [("range", &b"1"[..]), ("sticky", b"2")];
        let told = distinct(&given);
        let told: Vec<(&str, &[u8])> =
            told.iter().map(|(name, words)| (name.as_ref(), words.as_ref())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn subscriptions_are_read_or_refused() {
        let good = [0, 1, 0, 0, 0, 1, 0, 1, b't', 255, 255, 255, 255, 0, 0, 0, 0];
        assert_eq!(subscription(&good), Ok(vec!["t".to_owned()]));
        // The last one has counts that promise more than follows.
        for bad in [&b""[..], b"?", &good[..8], &[b'w'; 64]] {
            assert!(subscription(bad).is_err(), "{bad:?}");
        }
    }
}
