//! OffsetFetch (key 9, versions 1-10): how far groups have read.

use crate::context::Context;
use crate::groups::Reading;
use crate::published::Published;
use crate::session::{Exchange, Session};
use jocko_group::{FetchOffsets, FetchedPartition, FetchedTopic};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use jocko_protocol::rpc::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, PartitionIndex, TopicId};
use std::sync::Arc;

/// The first version that asks for many groups at once (KIP-709).
const BATCHED: i16 = 8;
/// The first version that names topics by id (KIP-848).
const TOPIC_IDS: i16 = 10;
/// "Nothing was committed" in an answer.
const NONE: i64 = -1;

/// One topic of one group as the client named it, with its partitions.
struct AskedTopic {
    /// As the coordinator knows it; `None` if no topic has the id.
    name: Option<String>,
    topic_id: TopicId,
    partitions: Vec<i32>,
}

/// One group.
struct AskedGroup {
    group_id: String,
    member_id: Option<String>,
    member_epoch: i32,
    /// `None`: all that it has committed.
    topics: Option<Vec<AskedTopic>>,
}

/// What a coordinator has said, or is about to.
enum Fetched {
    Now(Result<Vec<FetchedTopic>, ErrorCode>),
    Later(Reading<Result<Vec<FetchedTopic>, ErrorCode>>),
}

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = OffsetFetchRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let require_stable = request.require_stable;
    let published = session.context.published.load_full();
    let asked: Vec<AskedGroup> = groups(request, version)
        .into_iter()
        .map(|group| resolve(&published, group, version))
        .collect();
    let fetched: Vec<(AskedGroup, Fetched)> = asked
        .into_iter()
        .map(|group| {
            let fetched = fetch(session, &group, require_stable);
            (group, fetched)
        })
        .collect();
    if fetched.iter().all(|(_, fetched)| matches!(fetched, Fetched::Now(_))) {
        let told = fetched.into_iter().map(|(group, fetched)| match fetched {
            Fetched::Now(found) => shown(&published, group, found, version),
            Fetched::Later(_) => unreachable!("just looked"),
        });
        return Ok(answer.now(&respond(told.collect(), version)));
    }
    Ok(Call::Later(Box::pin(async move {
        let mut told = Vec::with_capacity(fetched.len());
        for (group, fetched) in fetched {
            let found = match fetched {
                Fetched::Now(found) => found,
                Fetched::Later(reading) => reading.settled().await.and_then(|found| found),
            };
            told.push(shown(&published, group, found, version));
        }
        Outcome::Reply(answer.encode(&respond(told, version)))
    })))
}

/// The groups asked for, in the form of the later versions.
fn groups(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    use jocko_protocol::rpc::offset_fetch_request::OffsetFetchRequestTopics;
    if version >= BATCHED {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let each = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        each.collect()
    });
    vec![OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }]
}

fn resolve(published: &Published, group: OffsetFetchRequestGroup, version: i16) -> AskedGroup {
    let topics = group.topics.map(|topics| {
        let each = topics.into_iter().map(|topic| {
            let by_id = || published.image.topic_by_id(topic.topic_id);
            let name = if version >= TOPIC_IDS {
                by_id().map(|known| known.name.as_str().to_owned())
            } else {
                Some(topic.name.clone())
            };
            AskedTopic { name, topic_id: topic.topic_id, partitions: topic.partition_indexes }
        });
        each.collect()
    });
    AskedGroup {
        group_id: group.group_id,
        member_id: group.member_id,
        member_epoch: group.member_epoch,
        topics,
    }
}

fn fetch(session: &Session, group: &AskedGroup, require_stable: bool) -> Fetched {
    let context: &Arc<Context> = &session.context;
    let topics = group.topics.as_ref().map(|topics| {
        let known = topics.iter().filter_map(|topic| {
            let partitions = topic.partitions.iter().copied().map(PartitionIndex::new);
            Some((topic.name.clone()?, topic.topic_id, partitions.collect()))
        });
        known.collect()
    });
    let wanted = FetchOffsets {
        group_id: group.group_id.clone(),
        member_id: group.member_id.clone(),
        member_epoch: group.member_epoch,
        require_stable,
        topics,
    };
    let reading = context.groups.shard(context, &group.group_id).and_then(|shard| {
        shard.read(context, &session.reactor, |coordinator, cx| {
            coordinator.fetch_offsets(cx.topics, &wanted)
        })
    });
    match reading.map(Reading::now) {
        Ok(Ok(found)) => Fetched::Now(found),
        Ok(Err(reading)) => Fetched::Later(reading),
        Err(error) => Fetched::Now(Err(error)),
    }
}

fn shown(
    published: &Published,
    group: AskedGroup,
    found: Result<Vec<FetchedTopic>, ErrorCode>,
    version: i16,
) -> OffsetFetchResponseGroup {
    let error = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
    let topics = match (group.topics, found) {
        (Some(asked), Ok(found)) => {
            let mut found = found.into_iter();
            asked.into_iter().map(|topic| shown_topic(topic, &mut found)).collect()
        }
        (None, Ok(found)) => all_topics(published, found, version),
        // With an error for the group its topics are left out, save where the version has no
        // place for that error.
        (Some(asked), Err(error)) if version < 2 => {
            asked.into_iter().map(|topic| refused_topic(topic, error)).collect()
        }
        (_, Err(_)) => Vec::new(),
    };
    OffsetFetchResponseGroup {
        group_id: group.group_id,
        topics,
        error_code: error.code(),
        ..Default::default()
    }
}

/// A topic that was asked for; the coordinator has answered for those that have a name, in order.
fn shown_topic(
    topic: AskedTopic,
    found: &mut impl Iterator<Item = FetchedTopic>,
) -> OffsetFetchResponseTopics {
    let Some(name) = topic.name else { return refused_topic(topic, ErrorCode::UnknownTopicId) };
    let partitions = found.next().map(|topic| topic.partitions).unwrap_or_default();
    OffsetFetchResponseTopics {
        name,
        topic_id: topic.topic_id,
        partitions: partitions.into_iter().map(shown_partition).collect(),
        ..Default::default()
    }
}

fn refused_topic(topic: AskedTopic, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = topic.partitions.into_iter().map(|index| {
        let partition = PartitionIndex::new(index);
        shown_partition(FetchedPartition { partition, committed: None, error })
    });
    OffsetFetchResponseTopics {
        partitions: partitions.collect(),
        name: topic.name.unwrap_or_default(),
        topic_id: topic.topic_id,
        ..Default::default()
    }
}

/// All that a group has committed. A topic that is gone has no id, and cannot be told of where
/// only ids are.
fn all_topics(
    published: &Published,
    found: Vec<FetchedTopic>,
    version: i16,
) -> Vec<OffsetFetchResponseTopics> {
    let each = found.into_iter().filter_map(|topic| {
        let topic_id = published.image.topic(&topic.topic).map(|topic| topic.id);
        if version >= TOPIC_IDS && topic_id.is_none() {
            return None;
        }
        Some(OffsetFetchResponseTopics {
            name: topic.topic,
            topic_id: topic_id.unwrap_or(TopicId::ZERO),
            partitions: topic.partitions.into_iter().map(shown_partition).collect(),
            ..Default::default()
        })
    });
    each.collect()
}

fn shown_partition(found: FetchedPartition) -> OffsetFetchResponsePartitions {
    let index = found.partition.get();
    match found.committed.filter(|_| found.error == ErrorCode::None) {
        None => OffsetFetchResponsePartitions {
            partition_index: index,
            committed_offset: NONE,
            metadata: Some(String::new()),
            error_code: found.error.code(),
            ..Default::default()
        },
        Some(committed) => OffsetFetchResponsePartitions {
            partition_index: index,
            committed_offset: committed.offset.get(),
            committed_leader_epoch: committed.leader_epoch.get(),
            metadata: Some(committed.metadata),
            ..Default::default()
        },
    }
}

fn respond(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= BATCHED {
        for topic in groups.iter_mut().flat_map(|group| &mut group.topics) {
            if version >= TOPIC_IDS {
                topic.name.clear();
            } else {
                topic.topic_id = TopicId::ZERO;
            }
        }
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let Some(group) = groups.pop() else { return OffsetFetchResponse::default() };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(single).collect(),
        ..Default::default()
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..Default::default()
    }
}

/// The same answer in the form of the earlier versions.
fn single(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_group::CommittedOffset;
    use jocko_types::{LeaderEpoch, Offset, Timestamp};

    fn group() -> OffsetFetchResponseGroup {
        let committed = CommittedOffset {
            offset: Offset::new(5),
            leader_epoch: LeaderEpoch::new(2),
            metadata: "m".into(),
            committed_at: Timestamp::from_millis(0),
            expires_at: None,
            topic_id: TopicId::ZERO,
        };
        let partition = PartitionIndex::new(1);
        let found = |committed, error| FetchedPartition { partition, committed, error };
        let partitions = [
            found(Some(committed.clone()), ErrorCode::None),
            found(None, ErrorCode::None),
            found(Some(committed), ErrorCode::UnstableOffsetCommit),
        ];
        let topic = OffsetFetchResponseTopics {
            name: "t".into(),
            topic_id: TopicId::from_bytes([7; 16]),
            partitions: partitions.into_iter().map(shown_partition).collect(),
            ..Default::default()
        };
        OffsetFetchResponseGroup { topics: vec![topic], error_code: 16, ..Default::default() }
    }

    #[test]
    fn no_offset_is_told_with_an_error_or_where_none_was_committed() {
        let told: Vec<(i64, i32, i16)> = group().topics[0]
            .partitions
            .iter()
            .map(|each| (each.committed_offset, each.committed_leader_epoch, each.error_code))
            .collect();
        assert_eq!(told, [(5, 2, 0), (-1, -1, 0), (-1, -1, 88)]);
    }

    #[test]
    fn a_version_has_the_group_the_name_or_the_id() {
        let single = respond(vec![group()], 7);
        assert_eq!((single.error_code, single.groups.len()), (16, 0));
        assert_eq!((single.topics[0].name.as_str(), single.topics[0].partitions.len()), ("t", 3));
        let named = respond(vec![group()], 9).groups;
        assert_eq!((named[0].topics[0].name.as_str(), named[0].error_code), ("t", 16));
        assert!(named[0].topics[0].topic_id.is_zero());
        let with_id = respond(vec![group()], 10).groups;
        assert_eq!(with_id[0].topics[0].name, "");
        assert!(!with_id[0].topics[0].topic_id.is_zero());
    }
}
