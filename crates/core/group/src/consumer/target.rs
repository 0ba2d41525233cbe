//! The target assignment: what each member shall have, computed once per group epoch.

use super::draft::Draft;
use crate::assignors::{Assignor, PartitionCounts, Subscriber};
use crate::record::consumer::{Assignment, ConsumerRecord, TargetEpoch};
use jocko_types::{Timestamp, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Draft<'_> {
    /// Computes the target for the present group epoch, unless that is done or the last one was
    /// computed too short a time ago: then the members go on with that, and the next heartbeat
    /// looks again.
    pub(crate) fn update_target(&mut self) {
        if self.state.epoch > self.state.target_epoch && self.may_assign() {
            self.assign();
        }
    }

    fn may_assign(&self) -> bool {
        let (_, _, interval) = self.cx.policy.consumer_of(&self.group_id);
        let computed_at = self.state.target_computed_at;
        let age = self.cx.wall.as_millis().saturating_sub(computed_at.as_millis());
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        // A time that is not known, or still to come since the clock was set back, holds up nobody.
        computed_at == Timestamp::from_millis(0) || age < 0 || age >= interval
    }

    fn assign(&mut self) {
        let none = Assignment::new();
        let mut interned: BTreeMap<(&BTreeSet<String>, &str), Arc<BTreeSet<TopicId>>> =
            BTreeMap::new();
        let mut counts = PartitionCounts::new();
        let mut subscribers = Vec::with_capacity(self.state.members.len());
        for member in self.state.members.values() {
            let metadata = &member.metadata;
            let wish = (&metadata.subscribed_topics, metadata.subscribed_regex.as_str());
            let topics = interned.entry(wish).or_insert_with(|| {
                let names = self.state.wishes_of(metadata).into_iter();
                let topics = names.filter_map(|name| self.cx.topics.by_name(name));
                Arc::new(
                    topics
                        .map(|topic| {
                            let count = u32::try_from(topic.partition_count).unwrap_or(0);
                            counts.insert(topic.id, count);
                            topic.id
                        })
                        .collect(),
                )
            });
            subscribers.push(Subscriber {
                member_id: &member.id,
                instance_id: metadata.instance_id.as_deref(),
                topics: Arc::clone(topics),
                target: self.state.target(&member.id).map_or(&none, |target| target),
            });
        }
        let targets = self.assignor().assign(&subscribers, &counts);
        let ids = self.state.members.keys();
        let changed: Vec<(Arc<str>, Assignment)> = ids
            .zip(targets)
            .filter(|(id, target)| self.state.target(id).is_none_or(|before| **before != *target))
            .map(|(id, target)| (Arc::clone(id), target))
            .collect();
        for (member_id, target) in changed {
            self.emit(ConsumerRecord::TargetMember {
                group_id: Arc::clone(&self.group_id),
                member_id,
                value: Some(Arc::new(target)),
            });
        }
        let value = TargetEpoch { epoch: self.state.epoch, computed_at: self.cx.wall };
        self.emit(ConsumerRecord::TargetEpoch {
            group_id: Arc::clone(&self.group_id),
            value: Some(value),
        });
    }

    /// What most members ask for, or else the broker's first.
    fn assignor(&self) -> Assignor {
        let name = self.state.preferred_assignor(&self.cx.policy.consumer.assignors);
        name.and_then(Assignor::from_name).unwrap_or(Assignor::Uniform)
    }
}

impl super::GroupState {
    /// The assignor that most members ask for; among equals the one that `offered` has first, and
    /// the first of all if nobody asks.
    pub(super) fn preferred_assignor<'o>(&self, offered: &'o [String]) -> Option<&'o str> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.members.values().filter_map(|m| m.metadata.server_assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let ranked = offered.iter().enumerate().max_by_key(|(at, name)| {
            (votes.get(name.as_str()).copied().unwrap_or(0), std::cmp::Reverse(*at))
        });
        ranked.map(|(_, name)| name.as_str())
    }
}
