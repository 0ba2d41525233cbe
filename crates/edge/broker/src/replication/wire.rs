//! What brokers say to each other about records, in bytes. Questions and answers are Kafka's Fetch
//! at one version; in front of a question stands what the asker's disk holds, which is also sent
//! alone. Byte tables in docs/internals/replication.md.

use bytes::Bytes;
use jocko_codec::{Decode, DecodeError, Encode, Reader, Writer};
use jocko_partition::Follow;
use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use jocko_protocol::rpc::fetch_response::FetchResponse;
use jocko_types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicIdPartition};
use std::time::Duration;

use super::{ANSWER_BYTES_MAX, Own, WAIT_MAX};

/// The version of Fetch between brokers: with topic ids, the replica's epochs and its high
/// watermark.
pub(super) const VERSION: i16 = 18;
/// The most partitions of one list of what a disk holds.
const HELD_MAX: u32 = 1 << 20;

/// What a follower's disk holds of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) key: TopicIdPartition,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) end: Offset,
}

/// Who speaks, and what its disk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) broker: BrokerId,
    pub(super) broker_epoch: BrokerEpoch,
    pub(super) held: Vec<Held>,
}

impl Progress {
    pub(super) fn of(own: Own, held: Vec<Held>) -> Self {
        Self { broker: own.broker, broker_epoch: own.broker_epoch, held }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.i32(self.broker.get());
        w.i64(self.broker_epoch.get());
        let count = u32::try_from(self.held.len()).unwrap_or(u32::MAX).min(HELD_MAX);
        w.u32(count);
        // What finds no room is said again with the next question.
        for held in self.held.iter().take(usize::try_from(count).unwrap_or(usize::MAX)) {
            w.uuid(held.key.topic_id);
            w.i32(held.key.partition.get());
            w.i32(held.leader_epoch.get());
            w.i64(held.end.get());
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let broker = BrokerId::new(r.i32("broker")?);
        let broker_epoch = BrokerEpoch::new(r.i64("broker epoch")?);
        let count = r.u32("count")?;
        let mut held = Vec::new();
        for _ in 0..count {
            let topic_id = r.uuid("topic")?;
            let partition = PartitionIndex::new(r.i32("partition")?);
            held.push(Held {
                key: TopicIdPartition { topic_id, partition },
                leader_epoch: LeaderEpoch::new(r.i32("leader epoch")?),
                end: Offset::new(r.i64("end")?),
            });
        }
        Ok(Self { broker, broker_epoch, held })
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        self.write(&mut writer);
        Bytes::from(writer.into_bytes().unwrap_or_default())
    }
}

/// A question about these partitions, in this order, with the most bytes wanted of each.
pub(super) fn question(own: Own, asked: &[(TopicIdPartition, Follow, usize)]) -> Bytes {
    let held = asked.iter().filter_map(|(key, follow, _)| {
        let claim = follow.claim?;
        Some(Held { key: *key, leader_epoch: claim.leader_epoch, end: claim.end })
    });
    let progress = Progress::of(own, held.collect());
    let is_any_new = asked.iter().any(|(_, follow, _)| follow.is_new);
    let wait = if is_any_new { Duration::ZERO } else { WAIT_MAX };
    let mut request = FetchRequest {
        replica_state: ReplicaState {
            replica_id: own.broker.get(),
            replica_epoch: own.broker_epoch.get(),
            ..Default::default()
        },
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: 1,
        max_bytes: i32::try_from(ANSWER_BYTES_MAX).unwrap_or(i32::MAX),
        session_epoch: -1,
        ..Default::default()
    };
    for (key, follow, bytes_max) in asked {
        let partition = FetchPartition {
            partition: key.partition.get(),
            current_leader_epoch: follow.following.leader_epoch.get(),
            fetch_offset: follow.following.offset.get(),
            last_fetched_epoch: follow.last_fetched_epoch.map_or(-1, LeaderEpoch::get),
            log_start_offset: follow.log_start.get(),
            partition_max_bytes: i32::try_from(*bytes_max).unwrap_or(i32::MAX),
            high_watermark: follow.high_watermark.get(),
            ..Default::default()
        };
        match request.topics.last_mut() {
            Some(last) if last.topic_id == key.topic_id => last.partitions.push(partition),
            _ => request.topics.push(FetchTopic {
                topic_id: key.topic_id,
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    let mut writer = Writer::new();
    progress.write(&mut writer);
    request.encode(&mut writer, VERSION).expect("every field exists in this version");
    Bytes::from(writer.into_bytes().unwrap_or_default())
}

/// Takes a question apart.
pub(super) fn read_question(body: &[u8]) -> Result<(Progress, FetchRequest<'_>), DecodeError> {
    let mut reader = Reader::new(body);
    let progress = Progress::read(&mut reader)?;
    let request = FetchRequest::decode(&mut reader, VERSION)?;
    Ok((progress, request))
}

/// The pieces of an answer whose detached records are these, by number.
pub(super) fn answer(response: &FetchResponse<'_>, records: &[Bytes]) -> Vec<Bytes> {
    let mut writer = Writer::new();
    response.encode(&mut writer, VERSION).expect("every field exists in this version");
    let (bytes, holes) = writer.into_parts();
    let bytes = Bytes::from(bytes);
    let mut pieces = Vec::with_capacity(holes.len() * 2 + 1);
    let mut sent = 0;
    for hole in holes {
        pieces.push(bytes.slice(sent..hole.at));
        let piece = usize::try_from(hole.piece).ok().and_then(|piece| records.get(piece));
        pieces.extend(piece.cloned());
        sent = hole.at;
    }
    pieces.push(bytes.slice(sent..));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_partition::{Claim, Following};
    use jocko_types::TopicId;

    #[test]
    fn a_question_is_read_as_it_was_written_and_its_ruins_are_refused() {
        let own = Own { broker: BrokerId::new(7), broker_epoch: BrokerEpoch::new(70) };
        let key = |partition| TopicIdPartition {
            topic_id: TopicId::from_bytes([9; 16]),
            partition: PartitionIndex::new(partition),
        };
        let leader_epoch = LeaderEpoch::new(4);
        let follow = |end: i64, is_claimed: bool| Follow {
            following: Following {
                leader: BrokerId::new(2),
                leader_epoch,
                offset: Offset::new(end),
            },
            last_fetched_epoch: is_claimed.then_some(LeaderEpoch::new(3)),
            log_start: Offset::new(1),
            high_watermark: Offset::new(5),
            claim: is_claimed.then_some(Claim {
                leader: BrokerId::new(2),
                leader_epoch,
                end: Offset::new(end - 1),
            }),
            is_new: !is_claimed,
        };
        let about = [(key(0), follow(20, true), 500), (key(3), follow(9, false), 1 << 20)];
        let body = question(own, &about);
        let (progress, request) = read_question(&body).unwrap();
        let held = Held { key: key(0), leader_epoch, end: Offset::new(19) };
        assert_eq!(progress, Progress::of(own, vec![held]));
        assert_eq!(request.replica_state.replica_epoch, 70);
        assert_eq!(request.topics.len(), 1);
        assert_eq!(request.max_wait_ms, 0, "one is new: what it may claim is waited for");
        let agreed = question(own, &[(key(0), follow(20, true), 500)]);
        assert_eq!(read_question(&agreed).unwrap().1.max_wait_ms, 500);
        let [first, second] = request.topics[0].partitions.as_slice() else { panic!() };
        assert_eq!((first.partition, first.fetch_offset, first.last_fetched_epoch), (0, 20, 3));
        assert_eq!((first.partition_max_bytes, second.partition_max_bytes), (500, 1 << 20));
        assert_eq!((second.partition, second.last_fetched_epoch), (3, -1));
        assert_eq!((first.high_watermark, first.current_leader_epoch), (5, 4));
        for cut in 0..body.len() {
            assert!(read_question(&body[..cut]).is_err(), "cut at {cut}");
        }
        let alone = Progress::of(own, vec![held]).to_bytes();
        assert_eq!(Progress::read(&mut Reader::new(&alone)).unwrap().held, [held]);
    }
}
