//! The records of `__consumer_offsets`, in Kafka's own formats and at the versions that Kafka 4.3
//! writes. docs/internals/groups.md has the table.
//!
//! A key is `kind` (int16) and the key's fields; a value is `version` (int16) and the value's
//! fields; no value is a tombstone. Kinds 0 and 1 are committed offsets, 2 classic groups, the
//! rest is in [`consumer`].

pub(crate) mod consumer;
#[cfg(test)]
mod tests;

pub use consumer::ConsumerRecord;

use crate::command::{CommittedOffset, Opaque};
use jocko_codec::{Decode, DecodeError, Encode, EncodeError, Reader, Writer};
use jocko_protocol::RecordSchema;
use jocko_protocol::messages::group::group_metadata_value::MemberMetadata;
use jocko_protocol::messages::group::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, OffsetCommitKey, OffsetCommitValue,
};
use jocko_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// Kafka writes this version of an offset with an expiry of its own (OffsetCommit 2-4).
const OFFSET_VERSION_EXPIRING: i16 = 1;
/// Kafka 4.3 writes this version of any other offset.
const OFFSET_VERSION: i16 = 4;
/// Kafka 4.3 writes this version of a classic group: the last that is not flexible.
const GROUP_METADATA_VERSION: i16 = 3;

/// One fact about groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRecord {
    /// A committed offset (kind 1); `None` is a tombstone.
    Offset {
        /// Whose, and of what.
        key: OffsetKey,
        /// The offset.
        value: Option<CommittedOffset>,
    },
    /// A classic group (kind 2); `None` is a tombstone.
    Classic {
        /// The group.
        group_id: Arc<str>,
        /// The group as of its last durable step.
        value: Option<Arc<ClassicMetadata>>,
    },
    /// Part of a consumer group (kinds 3 to 8 and 16).
    Consumer(ConsumerRecord),
}

/// What a committed offset belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    /// The group.
    pub group_id: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
}

/// A classic group as of its last durable step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMetadata {
    /// What the members speak; empty if nobody has joined yet.
    pub protocol_type: Arc<str>,
    /// Counts the rebalances.
    pub generation: i32,
    /// The dialect the members settled on; `None` in an empty group.
    pub protocol: Option<Arc<str>>,
    /// Who assigns; `None` in an empty group.
    pub leader: Option<Arc<str>>,
    /// When the group came to its state; offsets of an empty group expire by it (KIP-211).
    pub state_since: Option<Timestamp>,
    /// Everybody.
    pub members: Vec<ClassicMemberRecord>,
}

/// A member of a classic group, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMemberRecord {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
    /// The client.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// What it said of itself in the chosen dialect.
    pub subscription: Opaque,
    /// What its leader gave it.
    pub assignment: Opaque,
}

/// What a record turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A record to [`crate::Coordinator::apply`].
    Known(GroupRecord),
    /// Of a kind that this jocko does not know (share and streams groups, or newer): it stays in
    /// the log and means nothing to us.
    Unknown {
        /// The number that its key begins with.
        kind: i16,
    },
}

impl GroupRecord {
    /// The group it speaks of.
    #[must_use]
    pub fn group_id(&self) -> &str {
        match self {
            Self::Offset { key, .. } => &key.group_id,
            Self::Classic { group_id, .. } => group_id,
            Self::Consumer(record) => record.group_id(),
        }
    }

    /// Whether it takes something away.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        match self {
            Self::Offset { value, .. } => value.is_none(),
            Self::Classic { value, .. } => value.is_none(),
            Self::Consumer(record) => record.is_tombstone(),
        }
    }

    /// The bytes of key and value; no value is a tombstone.
    ///
    /// # Errors
    /// If a string is longer than the formats can say: the command cannot be carried out.
    pub fn encode(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), EncodeError> {
        match self {
            Self::Offset { key, value } => {
                let key = OffsetCommitKey {
                    group: key.group_id.as_ref().to_owned(),
                    topic: key.topic.as_ref().to_owned(),
                    partition: key.partition.get(),
                };
                Ok((key_bytes(&key)?, value.as_ref().map(offset_bytes).transpose()?))
            }
            Self::Classic { group_id, value } => {
                let key = GroupMetadataKey { group: group_id.as_ref().to_owned() };
                let value = value
                    .as_ref()
                    .map(|metadata| value_bytes(&classic_value(metadata), GROUP_METADATA_VERSION));
                Ok((key_bytes(&key)?, value.transpose()?))
            }
            Self::Consumer(record) => record.encode(),
        }
    }

    /// Reads a record of the log.
    ///
    /// # Errors
    /// If a record of a known kind does not decode, or its version is not known: the partition
    /// cannot be served, since acting on part of its records could lose offsets.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Decoded, DecodeError> {
        let mut key = Reader::new(key);
        let kind = key.i16("GroupRecord.kind")?;
        let record = match kind {
            LegacyOffsetCommitKey::KEY | OffsetCommitKey::KEY => {
                // Kind 0 has the same fields: Kafka wrote it before 0.9.
                let key = OffsetCommitKey::decode(&mut key, 0)?;
                let value = value_from::<OffsetCommitValue>(value)?.map(offset_from);
                Self::Offset {
                    key: OffsetKey {
                        group_id: key.group.into(),
                        topic: key.topic.into(),
                        partition: PartitionIndex::new(key.partition),
                    },
                    value,
                }
            }
            GroupMetadataKey::KEY => {
                let key = GroupMetadataKey::decode(&mut key, 0)?;
                let value = value_from::<GroupMetadataValue>(value)?.map(classic_from);
                Self::Classic { group_id: key.group.into(), value: value.map(Arc::new) }
            }
            kind if ConsumerRecord::has_kind(kind) => {
                Self::Consumer(ConsumerRecord::decode(kind, &mut key, value)?)
            }
            kind => return Ok(Decoded::Unknown { kind }),
        };
        Ok(Decoded::Known(record))
    }
}

fn key_bytes<K: RecordSchema>(key: &K) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::with_capacity(64);
    w.i16(K::KEY);
    key.encode(&mut w, 0)?;
    Ok(w.into_parts().0)
}

fn value_bytes<V: Encode>(value: &V, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::with_capacity(64);
    w.i16(version);
    value.encode(&mut w, version)?;
    Ok(w.into_parts().0)
}

fn value_from<V>(bytes: Option<&[u8]>) -> Result<Option<V>, DecodeError>
where
    V: for<'a> Decode<'a>,
{
    let Some(bytes) = bytes else { return Ok(None) };
    let mut r = Reader::new(bytes);
    let version = r.i16("GroupRecord.version")?;
    V::decode(&mut r, version).map(Some)
}

fn offset_bytes(value: &CommittedOffset) -> Result<Vec<u8>, EncodeError> {
    let version = if value.expires_at.is_some() { OFFSET_VERSION_EXPIRING } else { OFFSET_VERSION };
    let value = OffsetCommitValue {
        offset: value.offset.get(),
        leader_epoch: value.leader_epoch.get(),
        metadata: value.metadata.clone(),
        commit_timestamp: value.committed_at.as_millis(),
        expire_timestamp: value.expires_at.map_or(-1, Timestamp::as_millis),
        topic_id: value.topic_id,
        ..Default::default()
    };
    value_bytes(&value, version)
}

fn offset_from(value: OffsetCommitValue) -> CommittedOffset {
    let expires_at =
        (value.expire_timestamp != -1).then(|| Timestamp::from_millis(value.expire_timestamp));
    CommittedOffset {
        offset: Offset::new(value.offset),
        // Any negative epoch says "not known".
        leader_epoch: LeaderEpoch::new(value.leader_epoch.max(-1)),
        metadata: value.metadata,
        committed_at: Timestamp::from_millis(value.commit_timestamp),
        expires_at,
        topic_id: value.topic_id,
    }
}

fn classic_value(metadata: &ClassicMetadata) -> GroupMetadataValue {
    let text = |text: &Arc<str>| text.as_ref().to_owned();
    let members = metadata.members.iter().map(|member| MemberMetadata {
        member_id: text(&member.member_id),
        group_instance_id: member.instance_id.as_ref().map(text),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        rebalance_timeout: millis(member.rebalance_timeout),
        session_timeout: millis(member.session_timeout),
        subscription: member.subscription.to_vec(),
        assignment: member.assignment.to_vec(),
        ..Default::default()
    });
    GroupMetadataValue {
        protocol_type: text(&metadata.protocol_type),
        generation: metadata.generation,
        protocol: metadata.protocol.as_ref().map(text),
        leader: metadata.leader.as_ref().map(text),
        current_state_timestamp: metadata.state_since.map_or(-1, Timestamp::as_millis),
        members: members.collect(),
        ..Default::default()
    }
}

fn classic_from(value: GroupMetadataValue) -> ClassicMetadata {
    let members = value.members.into_iter().map(|member| {
        let session_timeout = duration(member.session_timeout);
        ClassicMemberRecord {
            member_id: member.member_id.into(),
            instance_id: member.group_instance_id.map(Arc::from),
            client_id: member.client_id.into(),
            client_host: member.client_host.into(),
            // Version 0 knew one timeout for both.
            rebalance_timeout: match member.rebalance_timeout {
                -1 => session_timeout,
                millis => duration(millis),
            },
            session_timeout,
            subscription: member.subscription.into(),
            assignment: member.assignment.into(),
        }
    });
    ClassicMetadata {
        protocol_type: value.protocol_type.into(),
        generation: value.generation,
        protocol: value.protocol.map(Arc::from),
        leader: value.leader.map(Arc::from),
        state_since: (value.current_state_timestamp != -1)
            .then(|| Timestamp::from_millis(value.current_state_timestamp)),
        members: members.collect(),
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn duration(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
