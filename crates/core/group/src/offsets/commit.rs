//! OffsetCommit.

use super::key;
use crate::command::{Answer, CommitOffsets, CommittedOffset, Decision, OffsetToCommit, Ticket};
use crate::context::DecideContext;
use crate::coordinator::{Coordinator, Group, Renewal};
use crate::record::GroupRecord;
use jocko_types::{ErrorCode, LeaderEpoch, Timestamp};
use std::sync::Arc;

impl Coordinator {
    pub(crate) fn decide_commit(
        &self,
        cx: &DecideContext<'_>,
        ticket: Ticket,
        commit: &CommitOffsets,
        decision: &mut Decision,
    ) {
        let group_id = match self.check_commit(cx, commit, decision) {
            Ok(group_id) => group_id,
            Err(error) => {
                return decision.answers.push((ticket, Answer::Committed(Err(error))));
            }
        };
        let expires_at = commit.retention.map(|retention| {
            let millis = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(cx.wall.as_millis().saturating_add(millis))
        });
        let mut errors = Vec::with_capacity(commit.offsets.len());
        let mut topic: Arc<str> = "".into();
        for offset in &commit.offsets {
            if is_too_long(&offset.metadata, cx.policy.offset_metadata_bytes_max) {
                errors.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            errors.push(ErrorCode::None);
            if topic.as_ref() != offset.topic {
                topic = offset.topic.as_str().into();
            }
            let value = Some(committed(offset, cx.wall, expires_at));
            let key = key(&group_id, &topic, offset.partition);
            decision.records.push(GroupRecord::Offset { key, value });
        }
        decision.answers.push((ticket, Answer::Committed(Ok(errors))));
    }

    /// Whether the commit may be, and the group's id; a classic member's session goes on.
    fn check_commit(
        &self,
        cx: &DecideContext<'_>,
        commit: &CommitOffsets,
        decision: &mut Decision,
    ) -> Result<Arc<str>, ErrorCode> {
        let Some((group_id, group)) = self.find(&commit.group_id) else {
            // Nobody's member: a consumer that keeps offsets here and nothing else, or a tool.
            return match commit.generation_or_member_epoch {
                ..0 => Ok(commit.group_id.as_str().into()),
                // Older clients know no better than to join again.
                _ if !commit.knows_member_epochs => Err(ErrorCode::IllegalGeneration),
                _ => Err(ErrorCode::GroupIdNotFound),
            };
        };
        match group {
            Group::Classic(group) => {
                let member = group.live.check_commit(commit)?;
                decision.changes.renewal = member.map(|(member_id, session_timeout)| Renewal {
                    group_id: Arc::clone(group_id),
                    member_id,
                    deadline: cx.now.plus(session_timeout),
                });
            }
            Group::Consumer(group) => group.check_commit(cx, commit)?,
        }
        Ok(Arc::clone(group_id))
    }
}

/// Kafka calls the limit one of bytes and counts UTF-16 units.
fn is_too_long(metadata: &str, limit: usize) -> bool {
    metadata.len() > limit && metadata.encode_utf16().count() > limit
}

fn committed(
    offset: &OffsetToCommit,
    wall: Timestamp,
    expires_at: Option<Timestamp>,
) -> CommittedOffset {
    CommittedOffset {
        offset: offset.offset,
        leader_epoch: LeaderEpoch::new(offset.leader_epoch.get().max(-1)),
        metadata: offset.metadata.clone(),
        committed_at: wall,
        expires_at,
        topic_id: offset.topic_id,
    }
}
