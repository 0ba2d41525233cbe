//! The answer to a Fetch: what was found, as messages and ranges of files.

use crate::api::fetch::findings;
use crate::context::Context;
use crate::leader_hints::{self, Hints, Leader};
use crate::session::Answer;
use bytes::Bytes;
use jocko_codec::{RecordBytes, Writer};
use jocko_fetch::{Begun, Key, TopicKey};
use jocko_net::{Call, Piece, Reactor, Reply};
use jocko_partition::{Diverging, LogSlice, Partition, View};
use jocko_protocol::frame::encode_response;
use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchRequest};
use jocko_protocol::rpc::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use jocko_types::{BrokerId, ErrorCode, Offset, TopicId};
use std::sync::Arc;

/// "Not known" in an answer.
const NO_OFFSET: Offset = Offset::new(-1);
/// "Read here" in an answer.
const NO_READER: i32 = -1;

/// What one look found in one partition.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) partition: Option<Arc<Partition>>,
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: Offset,
    pub(crate) last_stable: Offset,
    pub(crate) log_start: Offset,
    pub(crate) diverging: Option<Diverging>,
    /// The replica to read from instead.
    pub(crate) reader: Option<BrokerId>,
    pub(crate) slice: Option<LogSlice>,
    /// Whether the answer lists aborted transactions, none though they are: for who reads only
    /// what is committed and, as in Kafka, where no partition was found.
    pub(crate) lists_aborted: bool,
}

impl Found {
    pub(crate) fn failed(error: ErrorCode) -> Self {
        Self {
            partition: None,
            error,
            high_watermark: NO_OFFSET,
            last_stable: NO_OFFSET,
            log_start: NO_OFFSET,
            diverging: None,
            reader: None,
            slice: None,
            lists_aborted: false,
        }
    }

    /// No such partition here; others may have it.
    pub(crate) fn absent(error: ErrorCode) -> Self {
        let lists_aborted = error != ErrorCode::NotLeaderOrFollower;
        Self { lists_aborted, ..Self::failed(error) }
    }

    pub(crate) fn read(partition: Arc<Partition>, view: View, read_committed: bool) -> Self {
        Self {
            partition: Some(partition),
            error: ErrorCode::None,
            high_watermark: view.high_watermark,
            last_stable: view.last_stable,
            log_start: view.log_start,
            diverging: view.diverging,
            reader: None,
            slice: view.slice.filter(|slice| slice.len > 0),
            lists_aborted: read_committed,
        }
    }

    /// The client is to read from another replica.
    pub(crate) fn elsewhere(reader: BrokerId, view: View, read_committed: bool) -> Self {
        Self {
            partition: None,
            error: ErrorCode::None,
            high_watermark: view.high_watermark,
            last_stable: view.last_stable,
            log_start: view.log_start,
            diverging: None,
            reader: Some(reader),
            slice: None,
            lists_aborted: read_committed,
        }
    }

    /// Whether the client must hear of this at once, records or not.
    pub(crate) fn is_special(&self) -> bool {
        self.error != ErrorCode::None || self.diverging.is_some() || self.reader.is_some()
    }
}

/// An answer ready to leave.
pub(crate) struct Complete {
    pub(crate) reply: Reply,
}

impl Complete {
    pub(crate) fn into_call(self) -> Call {
        Call::Reply(self.reply)
    }
}

/// Refuses the whole request.
pub(crate) fn refuse(answer: &Answer, error: ErrorCode) -> Call {
    answer.now(&FetchResponse { error_code: error as i16, ..Default::default() })
}

/// The first version that has an error of the whole request.
const WITH_ERROR: i16 = 7;

/// As [`refuse`], in versions that have no word for that as well: there each partition is refused.
pub(crate) fn refuse_each(answer: &Answer, request: &FetchRequest<'_>, error: ErrorCode) -> Call {
    if answer.version >= WITH_ERROR {
        return refuse(answer, error);
    }
    let mut response = FetchResponse::default();
    for topic in &request.topics {
        let refused = |asked: &FetchPartition| PartitionData {
            partition_index: asked.partition,
            error_code: error as i16,
            high_watermark: NO_OFFSET.get(),
            records: Some(RecordBytes::EMPTY),
            ..Default::default()
        };
        response.responses.push(FetchableTopicResponse {
            topic: topic.topic,
            partitions: topic.partitions.iter().map(refused).collect(),
            ..Default::default()
        });
    }
    answer.now(&response)
}

/// Settles the session and writes the answer.
pub(crate) fn complete(
    context: &Context,
    shard: usize,
    begun: Begun,
    found: Vec<Found>,
    answer: &Answer,
    reactor: &Reactor,
) -> Complete {
    let keys: Vec<Key> = begun.partitions.iter().map(|(key, _)| key.clone()).collect();
    let finished = {
        let mut sessions = context.fetch_sessions(shard);
        let new_id = || context.new_fetch_session_id(shard);
        sessions.finish(reactor.now(), begun, &findings(&found), new_id)
    };
    let finished = match finished {
        Ok(finished) => finished,
        Err(error) => {
            let response = FetchResponse { error_code: error as i16, ..Default::default() };
            return Complete { reply: answer.encode(&response) };
        }
    };
    let mut response = FetchResponse { session_id: finished.session_id, ..Default::default() };
    let mut slices = Vec::new();
    let published = context.published.load();
    let mut hints = Hints::new(&published);
    // Who is cut off would name itself.
    let is_cut_off = context.cluster.contact.is_lost();
    let included = keys.iter().zip(found).zip(&finished.included).filter(|(_, include)| **include);
    for ((key, found), _) in included {
        let records = found.slice.map_or(RecordBytes::EMPTY, |slice| {
            let piece = u32::try_from(slices.len()).expect("bounded by the request's partitions");
            let len = u32::try_from(slice.len).expect("a request asks for less than 2 GiB");
            slices.push(slice);
            RecordBytes::Detached { piece, len }
        });
        let leader = match &key.topic {
            TopicKey::Id(id) if answer.version >= leader_hints::FETCH && !is_cut_off => {
                hints.leader(found.error, *id, key.partition)
            }
            TopicKey::Id(_) | TopicKey::Name(_) => None,
        };
        let data = PartitionData {
            partition_index: key.partition.get(),
            error_code: found.error as i16,
            high_watermark: found.high_watermark.get(),
            last_stable_offset: found.last_stable.get(),
            log_start_offset: found.log_start.get(),
            diverging_epoch: found.diverging.map(diverging_epoch).unwrap_or_default(),
            current_leader: leader.map(current_leader).unwrap_or_default(),
            preferred_read_replica: found.reader.map_or(NO_READER, BrokerId::get),
            aborted_transactions: found.lists_aborted.then(Vec::new),
            records: Some(records),
            ..Default::default()
        };
        put(&mut response.responses, &key.topic, data);
    }
    response.node_endpoints = hints
        .places()
        .map(|place| NodeEndpoint {
            node_id: place.id,
            host: place.host,
            port: i32::from(place.port),
            rack: place.rack,
            ..Default::default()
        })
        .collect();
    Complete { reply: encode(answer, &response, slices) }
}

fn current_leader(leader: Leader) -> LeaderIdAndEpoch {
    LeaderIdAndEpoch {
        leader_id: leader.id,
        leader_epoch: leader.epoch.get(),
        ..Default::default()
    }
}

fn diverging_epoch(diverging: Diverging) -> EpochEndOffset {
    EpochEndOffset {
        epoch: diverging.epoch.get(),
        end_offset: diverging.end_offset.get(),
        ..Default::default()
    }
}

/// Adds a partition's data to its topic's, if that was the last one, else to a new one: the order
/// in which partitions were served is the order in which they are answered.
fn put<'a>(
    topics: &mut Vec<FetchableTopicResponse<'a>>,
    key: &'a TopicKey,
    data: PartitionData<'a>,
) {
    let (name, id) = match key {
        TopicKey::Name(name) => (&**name, TopicId::ZERO),
        TopicKey::Id(id) => ("", *id),
    };
    match topics.last_mut() {
        Some(last) if last.topic == name && last.topic_id == id => last.partitions.push(data),
        _ => topics.push(FetchableTopicResponse {
            topic: name,
            topic_id: id,
            partitions: vec![data],
            ..Default::default()
        }),
    }
}

/// Writes the message and puts the ranges of files where its holes are.
fn encode(answer: &Answer, response: &FetchResponse<'_>, slices: Vec<LogSlice>) -> Reply {
    let mut writer = Writer::new();
    encode_response(answer.correlation_id, answer.version, response, &mut writer)
        .expect("every field of the answer exists in every served version, or is default");
    let (bytes, holes) = writer.into_parts();
    let bytes = Bytes::from(bytes);
    let mut reply = Reply::default();
    let mut sent = 0;
    for (hole, slice) in holes.iter().zip(slices) {
        reply.push(Piece::Bytes(bytes.slice(sent..hole.at)));
        reply.push(Piece::File { file: slice.file, position: slice.position, len: slice.len });
        sent = hole.at;
    }
    if sent < bytes.len() {
        reply.push(Piece::Bytes(bytes.slice(sent..)));
    }
    reply
}
