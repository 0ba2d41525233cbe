//! The records of consumer groups (KIP-848), in Kafka's own formats: kinds 3 to 8 and 16.
//!
//! A record without a value is a tombstone. What `apply` needs is here in the words of the domain;
//! the schemas of `jocko_protocol::messages::group` are only the bytes.

use crate::command::Opaque;
use jocko_codec::{Decode, DecodeError, Encode, EncodeError, Reader, Writer};
use jocko_protocol::RecordSchema;
use jocko_protocol::messages::group::{
    consumer_group_current_member_assignment_key::ConsumerGroupCurrentMemberAssignmentKey,
    consumer_group_current_member_assignment_value::{
        ConsumerGroupCurrentMemberAssignmentValue, TopicPartitions,
    },
    consumer_group_member_metadata_key::ConsumerGroupMemberMetadataKey,
    consumer_group_member_metadata_value::{
        ClassicMemberMetadata, ClassicProtocol, ConsumerGroupMemberMetadataValue,
    },
    consumer_group_metadata_key::ConsumerGroupMetadataKey,
    consumer_group_metadata_value::ConsumerGroupMetadataValue,
    consumer_group_partition_metadata_key::ConsumerGroupPartitionMetadataKey,
    consumer_group_partition_metadata_value::ConsumerGroupPartitionMetadataValue,
    consumer_group_regular_expression_key::ConsumerGroupRegularExpressionKey,
    consumer_group_regular_expression_value::ConsumerGroupRegularExpressionValue,
    consumer_group_target_assignment_member_key::ConsumerGroupTargetAssignmentMemberKey,
    consumer_group_target_assignment_member_value::{
        ConsumerGroupTargetAssignmentMemberValue, TopicPartition,
    },
    consumer_group_target_assignment_metadata_key::ConsumerGroupTargetAssignmentMetadataKey,
    consumer_group_target_assignment_metadata_value::ConsumerGroupTargetAssignmentMetadataValue,
};
use jocko_types::{PartitionIndex, Timestamp, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The partitions somebody shall have.
pub(crate) type Assignment = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// The partitions somebody has, each with the member epoch at which it was given (KIP-1251).
pub(crate) type Holdings = BTreeMap<TopicId, BTreeMap<PartitionIndex, i32>>;

/// A record of a consumer group. A value of `None` is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerRecord {
    /// The group is at this epoch (kind 3).
    Group {
        /// The group.
        group_id: Arc<str>,
        /// Its epoch.
        value: Option<GroupEpoch>,
    },
    /// What topics looked like, as Kafka wrote it before 4.1 (kind 4). Only that it stands in the
    /// log matters: the next heartbeat that looks at topics removes it.
    PartitionMetadata {
        /// The group.
        group_id: Arc<str>,
        /// Whether this is not a tombstone.
        stands: bool,
    },
    /// What a member said of itself (kind 5).
    Member {
        /// The group.
        group_id: Arc<str>,
        /// The member.
        member_id: Arc<str>,
        /// What it said.
        value: Option<Arc<MemberMetadata>>,
    },
    /// The target assignment is that of this epoch (kind 6).
    TargetEpoch {
        /// The group.
        group_id: Arc<str>,
        /// The epoch.
        value: Option<TargetEpoch>,
    },
    /// What a member shall have (kind 7).
    TargetMember {
        /// The group.
        group_id: Arc<str>,
        /// The member.
        member_id: Arc<str>,
        /// What it shall have.
        value: Option<Arc<Assignment>>,
    },
    /// What a member has (kind 8).
    Current {
        /// The group.
        group_id: Arc<str>,
        /// The member.
        member_id: Arc<str>,
        /// What it has.
        value: Option<Arc<CurrentAssignment>>,
    },
    /// Which topics a regular expression stands for (kind 16).
    Regex {
        /// The group.
        group_id: Arc<str>,
        /// The expression.
        regex: Arc<str>,
        /// The topics.
        value: Option<Arc<ResolvedRegex>>,
    },
}

/// The epoch of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupEpoch {
    /// Grows with each change that asks for another assignment.
    pub epoch: i32,
    /// Over the subscribed topics, so that a change of them is seen.
    pub metadata_hash: i64,
}

/// The epoch of a target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group epoch it was computed for.
    pub epoch: i32,
    /// When; zero if that was not written (Kafka before 4.3).
    pub computed_at: Timestamp,
}

/// What a member said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberMetadata {
    /// A name that outlives the process.
    pub instance_id: Option<String>,
    /// Where it is.
    pub rack_id: Option<String>,
    /// The client, as it names itself.
    pub client_id: String,
    /// Where it is, as "/127.0.0.1".
    pub client_host: String,
    /// Topics by name.
    pub subscribed_topics: BTreeSet<String>,
    /// Topics by regular expression; empty if by name only.
    pub subscribed_regex: String,
    /// How long it may take to give partitions back, in milliseconds; -1 if it never said.
    pub rebalance_timeout_ms: i32,
    /// Which assignor it wants.
    pub server_assignor: Option<String>,
    /// Set while it speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member of the classic protocol said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMember {
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// The dialects it knows, best first, each with its metadata.
    pub protocols: Vec<(String, Opaque)>,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The epoch the member is at.
    pub member_epoch: i32,
    /// The one before.
    pub previous_member_epoch: i32,
    /// How far it is on its way to the target.
    pub state: MemberState,
    /// What it has and may keep.
    pub assigned: Holdings,
    /// What it has and must give back.
    pub revoking: Holdings,
}

/// How far a member is on its way to its target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It has what it shall have at its epoch.
    Stable,
    /// It must give partitions back before it may go on.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given back yet.
    UnreleasedPartitions,
    /// Of a later release of Kafka.
    Unknown(i8),
}

/// Which topics a regular expression stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// The topics.
    pub topics: BTreeSet<String>,
    /// The state of the cluster it was looked up in.
    pub version: i64,
    /// When.
    pub resolved_at: Timestamp,
}

impl MemberState {
    const fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            other => Self::Unknown(other),
        }
    }

    const fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown(code) => code,
        }
    }
}

impl ConsumerRecord {
    /// Whether a record of this kind belongs here.
    #[must_use]
    pub const fn has_kind(kind: i16) -> bool {
        matches!(kind, 3..=8 | 16)
    }

    /// The group it speaks of.
    #[must_use]
    pub fn group_id(&self) -> &str {
        match self {
            Self::Group { group_id, .. }
            | Self::PartitionMetadata { group_id, .. }
            | Self::Member { group_id, .. }
            | Self::TargetEpoch { group_id, .. }
            | Self::TargetMember { group_id, .. }
            | Self::Current { group_id, .. }
            | Self::Regex { group_id, .. } => group_id,
        }
    }

    /// Whether it is a tombstone.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        match self {
            Self::Group { value, .. } => value.is_none(),
            Self::PartitionMetadata { stands, .. } => !*stands,
            Self::Member { value, .. } => value.is_none(),
            Self::TargetEpoch { value, .. } => value.is_none(),
            Self::TargetMember { value, .. } => value.is_none(),
            Self::Current { value, .. } => value.is_none(),
            Self::Regex { value, .. } => value.is_none(),
        }
    }

    /// The bytes of key and value, each behind its kind or version.
    ///
    /// # Errors
    /// If a string is longer than the formats can say.
    pub fn encode(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), EncodeError> {
        match self {
            Self::Group { group_id, value } => Ok((
                bytes_of_key(&ConsumerGroupMetadataKey { group_id: group_id.as_ref().to_owned() })?,
                value.map(|v| bytes_of(&group_value(v))).transpose()?,
            )),
            Self::PartitionMetadata { group_id, stands } => Ok((
                bytes_of_key(&ConsumerGroupPartitionMetadataKey {
                    group_id: group_id.as_ref().to_owned(),
                })?,
                stands
                    .then(|| bytes_of(&ConsumerGroupPartitionMetadataValue::default()))
                    .transpose()?,
            )),
            Self::Member { group_id, member_id, value } => Ok((
                bytes_of_key(&ConsumerGroupMemberMetadataKey {
                    group_id: group_id.as_ref().to_owned(),
                    member_id: member_id.as_ref().to_owned(),
                })?,
                value.as_ref().map(|v| bytes_of(&member_value(v))).transpose()?,
            )),
            Self::TargetEpoch { group_id, value } => Ok((
                bytes_of_key(&ConsumerGroupTargetAssignmentMetadataKey {
                    group_id: group_id.as_ref().to_owned(),
                })?,
                value.map(|v| bytes_of(&target_epoch_value(v))).transpose()?,
            )),
            Self::TargetMember { group_id, member_id, value } => Ok((
                bytes_of_key(&ConsumerGroupTargetAssignmentMemberKey {
                    group_id: group_id.as_ref().to_owned(),
                    member_id: member_id.as_ref().to_owned(),
                })?,
                value.as_ref().map(|v| bytes_of(&target_value(v))).transpose()?,
            )),
            Self::Current { group_id, member_id, value } => Ok((
                bytes_of_key(&ConsumerGroupCurrentMemberAssignmentKey {
                    group_id: group_id.as_ref().to_owned(),
                    member_id: member_id.as_ref().to_owned(),
                })?,
                value.as_ref().map(|v| bytes_of(&current_value(v))).transpose()?,
            )),
            Self::Regex { group_id, regex, value } => Ok((
                bytes_of_key(&ConsumerGroupRegularExpressionKey {
                    group_id: group_id.as_ref().to_owned(),
                    regular_expression: regex.as_ref().to_owned(),
                })?,
                value.as_ref().map(|v| bytes_of(&regex_value(v))).transpose()?,
            )),
        }
    }

    /// The record of this `kind`; `key` stands behind the kind, `value` has its version in front.
    ///
    /// # Errors
    /// If the bytes are not such a record, or its version is not known.
    pub fn decode(
        kind: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Self, DecodeError> {
        match kind {
            ConsumerGroupMetadataKey::KEY => {
                let key = ConsumerGroupMetadataKey::decode(key, 0)?;
                let value = value_from::<ConsumerGroupMetadataValue>(value)?;
                let value =
                    value.map(|v| GroupEpoch { epoch: v.epoch, metadata_hash: v.metadata_hash });
                Ok(Self::Group { group_id: key.group_id.into(), value })
            }
            ConsumerGroupPartitionMetadataKey::KEY => {
                let key = ConsumerGroupPartitionMetadataKey::decode(key, 0)?;
                Ok(Self::PartitionMetadata {
                    group_id: key.group_id.into(),
                    stands: value.is_some(),
                })
            }
            ConsumerGroupMemberMetadataKey::KEY => {
                let key = ConsumerGroupMemberMetadataKey::decode(key, 0)?;
                let value = value_from::<ConsumerGroupMemberMetadataValue>(value)?
                    .map(|v| Arc::new(member_from(v)));
                Ok(Self::Member {
                    group_id: key.group_id.into(),
                    member_id: key.member_id.into(),
                    value,
                })
            }
            ConsumerGroupTargetAssignmentMetadataKey::KEY => {
                let key = ConsumerGroupTargetAssignmentMetadataKey::decode(key, 0)?;
                let value = value_from::<ConsumerGroupTargetAssignmentMetadataValue>(value)?;
                let value = value.map(|v| TargetEpoch {
                    epoch: v.assignment_epoch,
                    computed_at: Timestamp::from_millis(v.assignment_timestamp),
                });
                Ok(Self::TargetEpoch { group_id: key.group_id.into(), value })
            }
            ConsumerGroupTargetAssignmentMemberKey::KEY => {
                let key = ConsumerGroupTargetAssignmentMemberKey::decode(key, 0)?;
                let value = value_from::<ConsumerGroupTargetAssignmentMemberValue>(value)?
                    .map(|v| Arc::new(target_from(v)));
                Ok(Self::TargetMember {
                    group_id: key.group_id.into(),
                    member_id: key.member_id.into(),
                    value,
                })
            }
            ConsumerGroupCurrentMemberAssignmentKey::KEY => {
                let key = ConsumerGroupCurrentMemberAssignmentKey::decode(key, 0)?;
                let value = value_from::<ConsumerGroupCurrentMemberAssignmentValue>(value)?
                    .map(|v| Arc::new(current_from(v)));
                Ok(Self::Current {
                    group_id: key.group_id.into(),
                    member_id: key.member_id.into(),
                    value,
                })
            }
            _ => {
                let key = ConsumerGroupRegularExpressionKey::decode(key, 0)?;
                let value = value_from::<ConsumerGroupRegularExpressionValue>(value)?
                    .map(|v| Arc::new(regex_from(v)));
                Ok(Self::Regex {
                    group_id: key.group_id.into(),
                    regex: key.regular_expression.into(),
                    value,
                })
            }
        }
    }
}

fn bytes_of_key<K: RecordSchema>(key: &K) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::with_capacity(64);
    w.i16(K::KEY);
    key.encode(&mut w, 0)?;
    Ok(w.into_bytes().unwrap_or_default())
}

fn bytes_of<V: Encode>(value: &V) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::with_capacity(128);
    w.i16(0);
    value.encode(&mut w, 0)?;
    Ok(w.into_bytes().unwrap_or_default())
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

fn group_value(value: GroupEpoch) -> ConsumerGroupMetadataValue {
    ConsumerGroupMetadataValue {
        epoch: value.epoch,
        metadata_hash: value.metadata_hash,
        ..Default::default()
    }
}

fn target_epoch_value(value: TargetEpoch) -> ConsumerGroupTargetAssignmentMetadataValue {
    ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: value.epoch,
        assignment_timestamp: value.computed_at.as_millis(),
        ..Default::default()
    }
}

fn member_value(value: &MemberMetadata) -> ConsumerGroupMemberMetadataValue {
    let classic = value.classic.as_ref().map(|classic| ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: classic
            .protocols
            .iter()
            .map(|(name, metadata)| ClassicProtocol {
                name: name.clone(),
                metadata: metadata.to_vec(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    ConsumerGroupMemberMetadataValue {
        instance_id: value.instance_id.clone(),
        rack_id: value.rack_id.clone(),
        client_id: value.client_id.clone(),
        client_host: value.client_host.clone(),
        subscribed_topic_names: value.subscribed_topics.iter().cloned().collect(),
        subscribed_topic_regex: Some(value.subscribed_regex.clone()),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        server_assignor: value.server_assignor.clone(),
        classic_member_metadata: classic,
        ..Default::default()
    }
}

fn member_from(value: ConsumerGroupMemberMetadataValue) -> MemberMetadata {
    let classic = value.classic_member_metadata.map(|classic| ClassicMember {
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic
            .supported_protocols
            .into_iter()
            .map(|protocol| (protocol.name, Opaque::from(protocol.metadata)))
            .collect(),
    });
    MemberMetadata {
        instance_id: value.instance_id,
        rack_id: value.rack_id,
        client_id: value.client_id,
        client_host: value.client_host,
        subscribed_topics: value.subscribed_topic_names.into_iter().collect(),
        subscribed_regex: value.subscribed_topic_regex.unwrap_or_default(),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        server_assignor: value.server_assignor,
        classic,
    }
}

fn target_value(value: &Assignment) -> ConsumerGroupTargetAssignmentMemberValue {
    let topic_partitions = value
        .iter()
        .map(|(&topic_id, partitions)| TopicPartition {
            topic_id,
            partitions: partitions.iter().map(|p| p.get()).collect(),
            ..Default::default()
        })
        .collect();
    ConsumerGroupTargetAssignmentMemberValue { topic_partitions, ..Default::default() }
}

fn target_from(value: ConsumerGroupTargetAssignmentMemberValue) -> Assignment {
    let mut assignment = Assignment::new();
    for topic in value.topic_partitions {
        let partitions = topic.partitions.into_iter().map(PartitionIndex::new);
        assignment.entry(topic.topic_id).or_default().extend(partitions);
    }
    assignment.retain(|_, partitions| !partitions.is_empty());
    assignment
}

fn current_value(value: &CurrentAssignment) -> ConsumerGroupCurrentMemberAssignmentValue {
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: value.member_epoch,
        previous_member_epoch: value.previous_member_epoch,
        state: value.state.code(),
        assigned_partitions: holdings_value(&value.assigned),
        partitions_pending_revocation: holdings_value(&value.revoking),
        ..Default::default()
    }
}

fn current_from(value: ConsumerGroupCurrentMemberAssignmentValue) -> CurrentAssignment {
    // Kafka before 4.3 wrote no epochs with the partitions; the member's own is the latest at
    // which they can have been given. One that left for a while is at -2.
    let epoch = value.member_epoch.max(0);
    CurrentAssignment {
        member_epoch: value.member_epoch,
        previous_member_epoch: value.previous_member_epoch,
        state: MemberState::from_code(value.state),
        assigned: holdings_from(value.assigned_partitions, epoch),
        revoking: holdings_from(value.partitions_pending_revocation, epoch),
    }
}

fn holdings_value(holdings: &Holdings) -> Vec<TopicPartitions> {
    holdings
        .iter()
        .map(|(&topic_id, partitions)| TopicPartitions {
            topic_id,
            partitions: partitions.keys().map(|p| p.get()).collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
            ..Default::default()
        })
        .collect()
}

fn holdings_from(topics: Vec<TopicPartitions>, default_epoch: i32) -> Holdings {
    let mut holdings = Holdings::new();
    for topic in topics {
        let epochs = topic.assignment_epochs.filter(|e| e.len() == topic.partitions.len());
        let held = holdings.entry(topic.topic_id).or_default();
        match epochs {
            Some(epochs) => {
                held.extend(topic.partitions.into_iter().map(PartitionIndex::new).zip(epochs))
            }
            None => held.extend(
                topic.partitions.into_iter().map(|p| (PartitionIndex::new(p), default_epoch)),
            ),
        }
    }
    holdings.retain(|_, partitions| !partitions.is_empty());
    holdings
}

fn regex_value(value: &ResolvedRegex) -> ConsumerGroupRegularExpressionValue {
    ConsumerGroupRegularExpressionValue {
        topics: value.topics.iter().cloned().collect(),
        version: value.version,
        timestamp: value.resolved_at.as_millis(),
        ..Default::default()
    }
}

fn regex_from(value: ConsumerGroupRegularExpressionValue) -> ResolvedRegex {
    ResolvedRegex {
        topics: value.topics.into_iter().collect(),
        version: value.version,
        resolved_at: Timestamp::from_millis(value.timestamp),
    }
}

#[cfg(test)]
mod tests;
