//! OffsetForLeaderEpoch (key 23, versions 2-4): where a leader's epoch ends in this log, so that
//! a consumer can tell whether what it has read was truncated (KIP-101, KIP-320).

use crate::session::{Exchange, Session};
use jocko_net::Call;
use jocko_protocol::rpc::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use jocko_protocol::rpc::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::LeaderEpoch;

/// "Not known" in a request. Any other negative epoch is an old one.
const NO_EPOCH: i32 = -1;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = OffsetForLeaderEpochRequest::decode(&mut exchange.body, version)?;
    let published = session.context.published.load();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let known = (asked.current_leader_epoch != NO_EPOCH)
                .then(|| LeaderEpoch::new(asked.current_leader_epoch));
            let found = published.by_name(&topic.topic, asked.partition).and_then(|hosted| {
                hosted.partition.epoch_end(known, LeaderEpoch::new(asked.leader_epoch))
            });
            match found {
                Ok(end) => EpochEndOffset {
                    partition: asked.partition,
                    leader_epoch: end.epoch.get(),
                    end_offset: end.end.get(),
                    ..Default::default()
                },
                Err(error) => EpochEndOffset {
                    error_code: error.code(),
                    partition: asked.partition,
                    ..Default::default()
                },
            }
        });
        OffsetForLeaderTopicResult {
            partitions: partitions.collect(),
            topic: topic.topic,
            ..Default::default()
        }
    });
    let response = OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() };
    Ok(exchange.answer().now(&response))
}
