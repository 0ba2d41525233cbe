//! ListOffsets (key 2, versions 1-11): the ends of a log, or the first record at a time.

use crate::published::Published;
use crate::session::{Answer, Exchange, Session};
use jocko_net::{Call, Outcome, Reactor};
use jocko_partition::{Listed, Partition};
use jocko_protocol::rpc::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use jocko_protocol::rpc::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The timestamps that are none, and the version each came with.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
/// "Not known" in a request. Any other negative epoch is an old one.
const NO_EPOCH: i32 = -1;
/// "Not known" in an answer.
const NONE: i64 = -1;

/// A partition whose answer takes a search through its files.
struct Search {
    partition: Arc<Partition>,
    known: Option<LeaderEpoch>,
    /// `None`: the record with the largest timestamp.
    target: Option<Timestamp>,
    /// Where the answer goes.
    topic: usize,
    index: usize,
}

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = ListOffsetsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let published = session.context.published.load();
    // Others may have committed more by now: whoever asks for the end shall ask them.
    let is_cut_off = session.context.cluster.contact.is_lost();
    let repeated = repeated(&request);
    let mut response = ListOffsetsResponse::default();
    let mut searches = Vec::new();
    // A topic is answered once, however often it is named, and so is each of its partitions.
    let mut places = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for asked_topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let name = asked_topic.name.as_str();
        let topic = *places.entry(name).or_insert_with(|| {
            response
                .topics
                .push(ListOffsetsTopicResponse { name: name.to_owned(), ..Default::default() });
            response.topics.len() - 1
        });
        let Some(answers) = response.topics.get_mut(topic).map(|topic| &mut topic.partitions)
        else {
            continue;
        };
        for asked in &asked_topic.partitions {
            let index = asked.partition_index;
            let found = if !repeated.contains(&(name, index)) {
                let place = (topic, answers.len());
                match look_up(&published, name, asked, version, place, &mut searches) {
                    Ok(_) if is_cut_off => Err(ErrorCode::NotLeaderOrFollower),
                    found => found,
                }
            } else if refused.insert((name, index)) {
                Err(ErrorCode::InvalidRequest)
            } else {
                continue;
            };
            answers.push(shown(version, index, found));
        }
    }
    if searches.is_empty() || is_cut_off {
        return Ok(answer.now(&response));
    }
    Ok(Call::Later(Box::pin(search(session.reactor.clone(), answer, response, searches))))
}

/// Partitions named more than once: all their mentions are refused.
fn repeated(request: &ListOffsetsRequest) -> BTreeSet<(&str, i32)> {
    let mut seen = BTreeSet::new();
    let named = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.as_str(), partition.partition_index))
    });
    named.filter(|place| !seen.insert(*place)).collect()
}

/// The answer if it is known at once; what needs a search is noted and answered later.
fn look_up(
    published: &Published,
    topic: &str,
    asked: &ListOffsetsPartition,
    version: i16,
    (at_topic, at_index): (usize, usize),
    searches: &mut Vec<Search>,
) -> Result<Listed, ErrorCode> {
    let partition = published.by_name(topic, asked.partition_index)?.partition;
    let known = (asked.current_leader_epoch != NO_EPOCH)
        .then(|| LeaderEpoch::new(asked.current_leader_epoch));
    let target = match asked.timestamp {
        LATEST => return partition.latest(known),
        EARLIEST => return partition.earliest(known),
        MAX_TIMESTAMP if version >= 7 => None,
        // Nothing is tiered, so the local log is all there is and nothing waits for an upload.
        EARLIEST_LOCAL if version >= 8 => return partition.earliest(known),
        LATEST_TIERED if version >= 9 => return Ok(Listed::NOTHING),
        EARLIEST_PENDING_UPLOAD if version >= 11 => return Ok(Listed::NOTHING),
        // What a later Kafka may mean by it is not known here.
        ..EARLIEST => return Err(ErrorCode::UnsupportedVersion),
        timestamp => Some(Timestamp::from_millis(timestamp)),
    };
    searches.push(Search { partition, known, target, topic: at_topic, index: at_index });
    Ok(Listed::NOTHING)
}

/// Searches on a worker, since that reads files and unpacks batches.
async fn search(
    reactor: Reactor,
    answer: Answer,
    mut response: ListOffsetsResponse,
    searches: Vec<Search>,
) -> Outcome {
    let found = reactor
        .run_blocking(move || {
            let search = |search: Search| {
                let found = match search.target {
                    Some(target) => search.partition.at_timestamp(search.known, target),
                    None => search.partition.at_max_timestamp(search.known),
                };
                (search.topic, search.index, found)
            };
            searches.into_iter().map(search).collect::<Vec<_>>()
        })
        .await;
    let Some(found) = found else { return Outcome::Close("a search by timestamp failed".into()) };
    for (topic, index, found) in found {
        let partitions = response.topics.get_mut(topic).map(|topic| &mut topic.partitions);
        if let Some(slot) = partitions.and_then(|partitions| partitions.get_mut(index)) {
            *slot = shown(answer.version, slot.partition_index, found);
        }
    }
    Outcome::Reply(answer.encode(&response))
}

fn shown(
    version: i16,
    partition_index: i32,
    found: Result<Listed, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let (error, listed) = match found {
        Ok(listed) => (ErrorCode::None, listed),
        Err(error) => (error, Listed::NOTHING),
    };
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error.code(),
        timestamp: listed.timestamp.map_or(NONE, Timestamp::as_millis),
        offset: listed.offset.map_or(NONE, Offset::get),
        // Older versions have no place for it.
        leader_epoch: listed.leader_epoch.filter(|_| version >= 4).map_or(-1, LeaderEpoch::get),
        ..Default::default()
    }
}
