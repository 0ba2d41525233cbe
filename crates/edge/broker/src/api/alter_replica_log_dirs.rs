//! AlterReplicaLogDirs (key 34, versions 1-2): replicas move between a broker's data directories.
//! There is one: moving there is done already, moving elsewhere is refused (KIP-113).

use crate::context::Context;
use crate::published::Published;
use crate::session::{Exchange, Session};
use jocko_net::Call;
use jocko_protocol::rpc::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use jocko_protocol::rpc::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;
use std::collections::BTreeMap;

/// The longest name of a folder; Kafka names one after the topic while a replica moves.
const FOLDER_NAME_MAX: usize = 255;
/// What Kafka adds to the name of the topic and the partition for that: an id and a word.
const FUTURE_SUFFIX: usize = ".0123456789abcdef0123456789abcdef-future".len();

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = AlterReplicaLogDirsRequest::decode(&mut exchange.body, version)?;
    let context = &session.context;
    let published = context.published.load();
    let mut results: BTreeMap<String, BTreeMap<i32, ErrorCode>> = BTreeMap::new();
    for dir in request.dirs {
        for topic in dir.topics {
            let answers = results.entry(topic.name.clone()).or_default();
            for index in topic.partitions {
                let code = moved(context, &published, &dir.path, &topic.name, index);
                answers.insert(index, code);
            }
        }
    }
    let results = results.into_iter().map(|(topic_name, partitions)| {
        let partition = |(partition_index, code): (i32, ErrorCode)| {
            let error_code = code.code();
            AlterReplicaLogDirPartitionResult { partition_index, error_code, ..Default::default() }
        };
        let partitions = partitions.into_iter().map(partition).collect();
        AlterReplicaLogDirTopicResult { topic_name, partitions, ..Default::default() }
    });
    let response = AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() };
    Ok(exchange.answer().now(&response))
}

fn moved(
    context: &Context,
    published: &Published,
    path: &str,
    topic: &str,
    index: i32,
) -> ErrorCode {
    if topic.len() + 1 + index.to_string().len() + FUTURE_SUFFIX > FOLDER_NAME_MAX {
        return ErrorCode::InvalidTopicException;
    }
    // Letter by letter, as Kafka does.
    if path != context.log_dir().display().to_string() {
        return ErrorCode::LogDirNotFound;
    }
    match published.by_name(topic, index) {
        Ok(_) => ErrorCode::None,
        Err(ErrorCode::NotLeaderOrFollower) => ErrorCode::ReplicaNotAvailable,
        Err(error) => error,
    }
}
