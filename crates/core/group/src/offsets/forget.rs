//! How offsets and groups end: by request, with their topic, or by age (KIP-211, 229, 496).

use super::{all, tombstone};
use crate::classic::{ClassicGroup, State};
use crate::command::{Answer, CommittedOffset, Decision, Ticket};
use crate::context::DecideContext;
use crate::coordinator::{Coordinator, Group};
use jocko_types::{ErrorCode, PartitionIndex, Timestamp, TopicId};
use std::sync::Arc;

/// How many records one decision holds where a command may ask for any number: the batch has to
/// fit into the log. The rest follows, see [`Decision::again`].
const RECORDS_PER_DECISION_MAX: usize = 2_000;

/// By what a group's offsets age.
#[derive(Debug, Clone, Copy)]
enum Age {
    /// From a moment: when the group became empty.
    Since(Timestamp),
    /// Each from its commit.
    SinceCommit,
}

impl Coordinator {
    /// OffsetDelete. A request names what it deletes, so its own size bounds the batch.
    pub(crate) fn decide_delete_offsets(
        &self,
        ticket: Ticket,
        group_id: &str,
        topics: &[(String, Vec<PartitionIndex>)],
        decision: &mut Decision,
    ) {
        let refusal = match self.find(group_id) {
            _ if group_id.is_empty() => ErrorCode::InvalidGroupId,
            None => ErrorCode::GroupIdNotFound,
            // What the members of other protocols read is not known to us.
            Some((_, Group::Classic(group)))
                if !group.live.is_empty() && !group.live.is_consumers() =>
            {
                ErrorCode::NonEmptyGroup
            }
            Some((group_id, group)) => {
                let errors = topics
                    .iter()
                    .map(|(topic, partitions)| {
                        self.delete_of_topic((group_id, group), topic, partitions, decision)
                    })
                    .collect();
                return decision.answers.push((ticket, Answer::OffsetsDeleted(Ok(errors))));
            }
        };
        decision.answers.push((ticket, Answer::OffsetsDeleted(Err(refusal))));
    }

    fn delete_of_topic(
        &self,
        (group_id, group): (&Arc<str>, &Group),
        topic: &str,
        partitions: &[PartitionIndex],
        decision: &mut Decision,
    ) -> Vec<ErrorCode> {
        if is_subscribed(group, topic) {
            return vec![ErrorCode::GroupSubscribedToTopic; partitions.len()];
        }
        let committed = self.offsets.of_group(group_id).and_then(|t| t.get_key_value(topic));
        if let Some((topic, committed)) = committed {
            let known = partitions.iter().filter(|partition| committed.contains_key(partition));
            decision.records.extend(known.map(|partition| tombstone(group_id, topic, *partition)));
        }
        vec![ErrorCode::None; partitions.len()]
    }

    /// DeleteGroups, of one group.
    pub(crate) fn decide_delete_group(
        &self,
        ticket: Ticket,
        group_id: &str,
        decision: &mut Decision,
    ) {
        let error = match self.find(group_id) {
            None => ErrorCode::GroupIdNotFound,
            Some((_, group)) if !group.is_empty() => ErrorCode::NonEmptyGroup,
            Some((group_id, group)) => {
                let topics = self.offsets.of_group(group_id);
                let offsets = topics.into_iter().flat_map(all);
                for (topic, partition, _) in offsets {
                    if is_full(decision) {
                        return;
                    }
                    decision.records.push(tombstone(group_id, topic, partition));
                }
                decision.records.extend(group.tombstones(group_id));
                ErrorCode::None
            }
        };
        decision.answers.push((ticket, Answer::GroupDeleted(error)));
    }

    /// What nobody could be told of while this coordinator was elsewhere, or still loaded.
    pub(crate) fn decide_forget_gone(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        decision: &mut Decision,
    ) {
        for group_id in self.offsets.groups() {
            for (topic, partitions) in self.offsets.of_group(group_id).into_iter().flatten() {
                let now = cx.topics.by_name(topic).map(|topic| topic.id);
                for (partition, offset) in partitions {
                    if offset.topic_id.is_zero() || Some(offset.topic_id) == now {
                        continue;
                    }
                    if is_full(decision) {
                        return;
                    }
                    decision.records.push(tombstone(group_id, topic, *partition));
                }
            }
        }
        decision.answers.push((ticket, Answer::Done));
    }

    pub(crate) fn decide_forget_topics(
        &self,
        ticket: Ticket,
        topics: &[(String, TopicId)],
        decision: &mut Decision,
    ) {
        for group_id in self.offsets.groups() {
            let Some(offsets) = self.offsets.of_group(group_id) else { continue };
            for (topic, id) in topics {
                let found = offsets.get_key_value(topic.as_str());
                let Some((topic, partitions)) = found else { continue };
                for (partition, offset) in partitions {
                    if is_full(decision) {
                        return;
                    }
                    if offset.topic_id.is_zero() || offset.topic_id == *id {
                        decision.records.push(tombstone(group_id, topic, *partition));
                    }
                }
            }
        }
        decision.answers.push((ticket, Answer::Done));
    }

    pub(crate) fn decide_expire(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        decision: &mut Decision,
    ) {
        for (group_id, group) in &self.groups {
            if self.expire_offsets(cx, group_id, group, decision) && is_unused(group) {
                decision.records.extend(group.tombstones(group_id));
            }
            if decision.again {
                return;
            }
        }
        decision.answers.push((ticket, Answer::Done));
    }

    /// Buries the expired offsets of a group. Says whether that was all it had.
    fn expire_offsets(
        &self,
        cx: &DecideContext<'_>,
        group_id: &Arc<str>,
        group: &Group,
        decision: &mut Decision,
    ) -> bool {
        let Some(topics) = self.offsets.of_group(group_id) else { return true };
        let Some(age) = age(group) else { return false };
        let mut all_expired = true;
        for (topic, partitions) in topics {
            if is_subscribed(group, topic) {
                all_expired = false;
                continue;
            }
            for (partition, offset) in partitions {
                if is_expired(cx, age, offset) {
                    if is_full(decision) {
                        return false;
                    }
                    decision.records.push(tombstone(group_id, topic, *partition));
                } else {
                    all_expired = false;
                }
            }
        }
        all_expired
    }
}

/// Whether the decision holds as much as one batch should; then it is to be asked for again.
fn is_full(decision: &mut Decision) -> bool {
    decision.again |= decision.records.len() >= RECORDS_PER_DECISION_MAX;
    decision.again
}

fn is_subscribed(group: &Group, topic: &str) -> bool {
    match group {
        Group::Classic(group) => group.live.is_subscribed(topic),
        Group::Consumer(group) => group.is_subscribed(topic),
    }
}

/// Whether nobody is in the group, nor about to be.
fn is_unused(group: &Group) -> bool {
    match group {
        Group::Classic(group) => group.live.is_vacant(),
        Group::Consumer(group) => group.is_empty(),
    }
}

/// By what the group's offsets age; `None` if they do not.
fn age(group: &Group) -> Option<Age> {
    match group {
        Group::Classic(group) => age_of_classic(group),
        // What a member reads is subscribed to, and kept; the rest ages from its commit.
        Group::Consumer(_) => Some(Age::SinceCommit),
    }
}

fn age_of_classic(group: &ClassicGroup) -> Option<Age> {
    let live = &group.live;
    match live.state() {
        // Nobody ever joined: offsets are all there is to the group.
        _ if live.protocol_type().is_empty() => Some(Age::SinceCommit),
        // Old records do not say since when.
        State::Empty => Some(live.state_since().map_or(Age::SinceCommit, Age::Since)),
        State::Stable if live.is_consumers() && live.knows_subscriptions() => {
            Some(Age::SinceCommit)
        }
        State::Stable | State::PreparingRebalance | State::CompletingRebalance => None,
    }
}

fn is_expired(cx: &DecideContext<'_>, age: Age, offset: &CommittedOffset) -> bool {
    if let Some(expires_at) = offset.expires_at {
        return cx.wall >= expires_at;
    }
    let since = match age {
        Age::Since(moment) => moment,
        Age::SinceCommit => offset.committed_at,
    };
    let retention = i64::try_from(cx.policy.offsets_retention.as_millis()).unwrap_or(i64::MAX);
    cx.wall.millis_since(since) >= retention
}
