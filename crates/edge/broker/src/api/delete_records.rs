//! DeleteRecords (key 21, versions 0-2): partitions begin later from here on (KIP-107). The answer
//! leaves once the new beginnings are on disk: a restart does not bring the records back.

use crate::internal::is_internal;
use crate::published::Published;
use crate::session::{Exchange, Session};
use jocko_net::{Call, Outcome};
use jocko_partition::Partition;
use jocko_protocol::rpc::delete_records_request::DeleteRecordsRequest;
use jocko_protocol::rpc::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, Offset};
use std::collections::BTreeMap;
use std::sync::Arc;

/// "Up to the high watermark".
const HIGH_WATERMARK: i64 = -1;
/// Where a partition begins that cannot be told.
const UNKNOWN: i64 = -1;

/// What is asked for, by topic and partition; of a partition that is named twice, the last word
/// counts.
type Wishes = BTreeMap<String, BTreeMap<i32, i64>>;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = DeleteRecordsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let mut wishes = Wishes::new();
    for topic in request.topics {
        let wanted = topic.partitions.iter().map(|wish| (wish.partition_index, wish.offset));
        wishes.entry(topic.name).or_default().extend(wanted);
    }
    let context = Arc::clone(&session.context);
    // A partition that nobody has used yet is opened for it, and what is moved is synced.
    let work = session.reactor.run_blocking(move || {
        let published = context.published.load_full();
        let mut moved = Vec::new();
        let mut topics = Vec::with_capacity(wishes.len());
        for (name, partitions) in wishes.into_iter().filter(|(_, all)| !all.is_empty()) {
            let partitions = partitions.into_iter().map(|(index, offset)| {
                if context.cluster.contact.is_lost() {
                    return result(index, Err(ErrorCode::NotLeaderOrFollower));
                }
                let done = delete(&published, &name, index, offset, |partition, effects| {
                    context.carry_out(partition, effects);
                    moved.push(Arc::clone(partition));
                });
                result(index, done)
            });
            let partitions = partitions.collect();
            topics.push(DeleteRecordsTopicResult { name, partitions, ..Default::default() });
        }
        if !moved.is_empty() && !context.log_starts.make_durable(&context) {
            fail(&mut topics);
        }
        topics
    });
    Ok(Call::Later(Box::pin(async move {
        match work.await {
            Some(topics) => Outcome::Reply(
                answer.encode(&DeleteRecordsResponse { topics, ..Default::default() }),
            ),
            None => Outcome::Close("records were not deleted: the broker is busy or stops".into()),
        }
    })))
}

fn delete(
    published: &Published,
    topic: &str,
    index: i32,
    offset: i64,
    moved: impl FnOnce(&Arc<Partition>, jocko_partition::Effects),
) -> Result<Offset, ErrorCode> {
    let partition = published.by_name(topic, index)?.partition;
    if is_internal(&partition.name().topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let before = match offset {
        HIGH_WATERMARK => None,
        ..0 => return Err(ErrorCode::OffsetOutOfRange),
        offset => Some(Offset::new(offset)),
    };
    let (start, effects) = partition.delete_records(before)?;
    moved(&partition, effects);
    Ok(start)
}

fn result(partition_index: i32, done: Result<Offset, ErrorCode>) -> DeleteRecordsPartitionResult {
    let (low_watermark, error) = match done {
        Ok(start) => (start.get(), ErrorCode::None),
        Err(error) => (UNKNOWN, error),
    };
    DeleteRecordsPartitionResult {
        partition_index,
        low_watermark,
        error_code: error.code(),
        ..Default::default()
    }
}

/// The new beginnings hold, and would not survive a crash: nothing is promised.
fn fail(topics: &mut [DeleteRecordsTopicResult]) {
    for result in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if result.error_code == ErrorCode::None.code() {
            result.error_code = ErrorCode::KafkaStorageError.code();
            result.low_watermark = UNKNOWN;
        }
    }
}
