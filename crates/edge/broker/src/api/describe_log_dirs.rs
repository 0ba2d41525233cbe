//! DescribeLogDirs (key 35, versions 1-5): the data directory, and what each partition takes of it
//! (KIP-113, KIP-827). There is one directory; nothing moves between several.

use crate::context::Context;
use crate::session::{Exchange, Session};
use jocko_net::{Call, Outcome};
use jocko_partition::Partition;
use jocko_protocol::rpc::describe_log_dirs_request::DescribeLogDirsRequest;
use jocko_protocol::rpc::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use jocko_protocol::{Decode, DecodeError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sizes that cannot be told.
const UNKNOWN: i64 = -1;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = DescribeLogDirsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let asked = request.topics.map(|topics| {
        topics
            .into_iter()
            .flat_map(|topic| {
                let name = topic.topic;
                topic.partitions.into_iter().map(move |index| (name.clone(), index))
            })
            .collect::<BTreeSet<_>>()
    });
    let context = Arc::clone(&session.context);
    // A partition that is not open yet is measured by its files.
    let work = session.reactor.run_blocking(move || describe(&context, asked.as_ref()));
    Ok(Call::Later(Box::pin(async move {
        let Some(result) = work.await else {
            return Outcome::Close("the data directory cannot be looked at".into());
        };
        let response = DescribeLogDirsResponse { results: vec![result], ..Default::default() };
        Outcome::Reply(answer.encode(&response))
    })))
}

fn describe(context: &Context, asked: Option<&BTreeSet<(String, i32)>>) -> DescribeLogDirsResult {
    let published = context.published.load_full();
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in published.partitions.values() {
        let name = partition.name();
        let place = (name.topic.to_string(), name.partition.get());
        if asked.is_none_or(|asked| asked.contains(&place)) {
            topics.entry(place.0).or_default().push(measured(place.1, partition));
        }
    }
    let space = context.guard.space();
    let bytes = |count: Option<u64>| {
        count.map_or(UNKNOWN, |count| i64::try_from(count).unwrap_or(i64::MAX))
    };
    DescribeLogDirsResult {
        log_dir: context.log_dir().display().to_string(),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic {
                name,
                partitions,
                ..Default::default()
            })
            .collect(),
        total_bytes: bytes(space.map(|space| space.total)),
        usable_bytes: bytes(space.map(|space| space.free)),
        is_cordoned: published.image.is_drained(context.broker),
        ..Default::default()
    }
}

fn measured(partition_index: i32, partition: &Partition) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index,
        partition_size: i64::try_from(partition.size_on_disk()).unwrap_or(i64::MAX),
        ..Default::default()
    }
}
