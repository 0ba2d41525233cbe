//! How offsets and groups end: by request, with their topic, or by age (KIP-211, 229, 496).

use super::{all, tombstone};
use crate::classic::{ClassicGroup, State};
use crate::command::{Answer, CommittedOffset, Decision, Ticket};
use crate::context::DecideContext;
use crate::coordinator::{Coordinator, Group};
use crate::record::GroupRecord;
use jocko_types::{ErrorCode, PartitionIndex, Timestamp, TopicId};
use std::sync::Arc;

/// How many records one decision holds where a command may ask for any number. The rest follows,
/// see [`Decision::again`].
const RECORDS_PER_DECISION_MAX: usize = 2_000;
/// How many bytes it holds, however much the log takes at a time.
const BYTES_PER_DECISION_MAX: usize = 256 << 10;
/// What a batch takes besides its records.
const BATCH_OVERHEAD_BYTES: usize = 61;
/// What a record takes besides key and value, at most: its length and those of its parts, where it
/// is in the batch, its attributes, no headers.
const RECORD_OVERHEAD_BYTES_MAX: usize = 32;

/// By what a group's offsets age.
#[derive(Debug, Clone, Copy)]
enum Age {
    /// From a moment: when the group became empty.
    Since(Timestamp),
    /// Each from its commit.
    SinceCommit,
}

/// How much of what a group has committed goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expired {
    All,
    NotAll,
    /// More than the batch has room for.
    NoRoom,
}

impl Coordinator {
    /// OffsetDelete. What earlier batches of the same command have deleted is still no error.
    pub(crate) fn decide_delete_offsets(
        &self,
        cx: &DecideContext<'_>,
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
                let errors: Vec<_> = topics
                    .iter()
                    .map(|(topic, partitions)| {
                        self.delete_of_topic(cx, (group_id, group), topic, partitions, decision)
                    })
                    .collect();
                if !decision.again {
                    decision.answers.push((ticket, Answer::OffsetsDeleted(Ok(errors))));
                }
                return;
            }
        };
        decision.answers.push((ticket, Answer::OffsetsDeleted(Err(refusal))));
    }

    fn delete_of_topic(
        &self,
        cx: &DecideContext<'_>,
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
            for partition in known {
                if !decision.bury(cx, [tombstone(group_id, topic, *partition)]) {
                    break;
                }
            }
        }
        vec![ErrorCode::None; partitions.len()]
    }

    /// DeleteGroups, of one group.
    pub(crate) fn decide_delete_group(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        group_id: &str,
        decision: &mut Decision,
    ) {
        let error = match self.find(group_id) {
            None => ErrorCode::GroupIdNotFound,
            Some((_, group)) if !group.is_empty() => ErrorCode::NonEmptyGroup,
            Some((group_id, group)) => {
                let topics = self.offsets.of_group(group_id);
                let mut offsets = topics.into_iter().flat_map(all).peekable();
                let mut last = None;
                while let Some((topic, partition, _)) = offsets.next() {
                    let tombstone = tombstone(group_id, topic, partition);
                    if offsets.peek().is_none() {
                        last = Some(tombstone);
                    } else if !decision.bury(cx, [tombstone]) {
                        return;
                    }
                }
                // A group may end with its last offset, and would not be found again after that.
                if !decision.bury(cx, last.into_iter().chain(group.tombstones(group_id))) {
                    return;
                }
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
                    if !decision.bury(cx, [tombstone(group_id, topic, *partition)]) {
                        return;
                    }
                }
            }
        }
        decision.answers.push((ticket, Answer::Done));
    }

    pub(crate) fn decide_forget_topics(
        &self,
        cx: &DecideContext<'_>,
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
                    let is_gone = offset.topic_id.is_zero() || offset.topic_id == *id;
                    if is_gone && !decision.bury(cx, [tombstone(group_id, topic, *partition)]) {
                        return;
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
            let is_done = match self.expire_offsets(cx, group_id, group, decision) {
                Expired::All if is_unused(group) => decision.bury(cx, group.tombstones(group_id)),
                Expired::All | Expired::NotAll => true,
                Expired::NoRoom => false,
            };
            if !is_done {
                return;
            }
        }
        decision.answers.push((ticket, Answer::Done));
    }

    /// Buries the expired offsets of a group.
    fn expire_offsets(
        &self,
        cx: &DecideContext<'_>,
        group_id: &Arc<str>,
        group: &Group,
        decision: &mut Decision,
    ) -> Expired {
        let Some(topics) = self.offsets.of_group(group_id) else { return Expired::All };
        let Some(age) = age(group) else { return Expired::NotAll };
        let mut expired = Expired::All;
        for (topic, partitions) in topics {
            if is_subscribed(group, topic) {
                expired = Expired::NotAll;
                continue;
            }
            for (partition, offset) in partitions {
                if !is_expired(cx, age, offset) {
                    expired = Expired::NotAll;
                } else if !decision.bury(cx, [tombstone(group_id, topic, *partition)]) {
                    return Expired::NoRoom;
                }
            }
        }
        expired
    }
}

impl Decision {
    /// Adds tombstones that belong together, if there is room in the batch for them; an empty one
    /// has room for any. If there is none, the command is to be decided again: says whether there
    /// was.
    fn bury(
        &mut self,
        cx: &DecideContext<'_>,
        tombstones: impl IntoIterator<Item = GroupRecord>,
    ) -> bool {
        let before = self.records.len();
        self.records.extend(tombstones);
        let added: usize = self.records.iter().skip(before).map(size_bytes).sum();
        let bytes_max = cx.batch_bytes_max.min(BYTES_PER_DECISION_MAX);
        let bytes = self.bytes.max(BATCH_OVERHEAD_BYTES).saturating_add(added);
        let is_too_much = self.records.len() > RECORDS_PER_DECISION_MAX || bytes > bytes_max;
        if before > 0 && is_too_much {
            self.records.truncate(before);
            self.again = true;
        } else {
            self.bytes = bytes;
        }
        !self.again
    }
}

/// What a tombstone takes in the log, at most.
fn size_bytes(tombstone: &GroupRecord) -> usize {
    // What cannot be encoded is refused before it is appended.
    let key_bytes = tombstone.encode().map_or(0, |(key, _)| key.len());
    key_bytes.saturating_add(RECORD_OVERHEAD_BYTES_MAX)
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
