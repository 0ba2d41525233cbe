//! Who leads instead: told with an error that says that this broker does not, so that clients go
//! there at once rather than after a round of Metadata (KIP-951).

use crate::published::Published;
use jocko_protocol::rpc::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId};
use std::collections::BTreeSet;

/// The first version of Produce with hints.
const PRODUCE: i16 = 10;
/// The first version of Fetch with hints.
pub(crate) const FETCH: i16 = 16;

/// A leader that a client does not know of.
pub(crate) struct Leader {
    pub(crate) id: i32,
    pub(crate) epoch: LeaderEpoch,
}

/// Where a broker takes clients.
pub(crate) struct Place<'p> {
    pub(crate) id: i32,
    pub(crate) host: &'p str,
    pub(crate) port: u16,
    pub(crate) rack: Option<&'p str>,
}

/// Leaders that were named in one answer, so that each is described once.
pub(crate) struct Hints<'p> {
    published: &'p Published,
    named: BTreeSet<BrokerId>,
}

impl<'p> Hints<'p> {
    pub(crate) fn new(published: &'p Published) -> Self {
        Self { published, named: BTreeSet::new() }
    }

    /// The leader of a partition, if the error it was answered with calls for one.
    pub(crate) fn leader(
        &mut self,
        error: ErrorCode,
        topic_id: TopicId,
        partition: PartitionIndex,
    ) -> Option<Leader> {
        if !matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
            return None;
        }
        let state = self.published.image.partition(topic_id, partition)?;
        let leader = state.leader?;
        self.named.insert(leader);
        Some(Leader { id: leader.get(), epoch: state.leader_epoch })
    }

    /// Where those are who were named.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place<'p>> {
        self.named.iter().filter_map(|id| {
            let broker = self.published.image.broker(*id)?;
            let endpoint = broker.endpoint("PLAINTEXT")?;
            Some(Place {
                id: id.get(),
                host: &endpoint.host,
                port: endpoint.port,
                rack: broker.registration.rack.as_deref(),
            })
        })
    }
}

/// Adds hints to the answer of a Produce, where its version has them.
pub(crate) fn hint_produce(published: &Published, response: &mut ProduceResponse, version: i16) {
    let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    if version < PRODUCE || answers.all(|answer| answer.error_code == ErrorCode::None.code()) {
        return;
    }
    let mut hints = Hints::new(published);
    for topic in &mut response.responses {
        let id = if topic.topic_id.is_zero() {
            published.image.topic(&topic.name).map(|topic| topic.id)
        } else {
            Some(topic.topic_id)
        };
        let Some(id) = id else { continue };
        for answer in &mut topic.partition_responses {
            hint(&mut hints, id, answer);
        }
    }
    response.node_endpoints = hints
        .places()
        .map(|place| NodeEndpoint {
            node_id: place.id,
            host: place.host.to_owned(),
            port: i32::from(place.port),
            rack: place.rack.map(str::to_owned),
            ..Default::default()
        })
        .collect();
}

fn hint(hints: &mut Hints<'_>, id: TopicId, answer: &mut PartitionProduceResponse) {
    let Some(error) = ErrorCode::from_code(answer.error_code) else { return };
    if let Some(leader) = hints.leader(error, id, PartitionIndex::new(answer.index)) {
        answer.current_leader = LeaderIdAndEpoch {
            leader_id: leader.id,
            leader_epoch: leader.epoch.get(),
            ..Default::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::hint_produce;
    use crate::published::Published;
    use jocko_metadata::{
        ClusterImage, Endpoint, MetadataRecord, PartitionState, Registration, Replication,
    };
    use jocko_protocol::rpc::produce_response::{
        PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
    };
    use jocko_types::{
        BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicName, Uuid,
    };

    const TOPIC: TopicId = TopicId::from_bytes([3; 16]);

    fn published() -> Published {
        let broker_id = BrokerId::new(2);
        let mut image = ClusterImage::default();
        image.apply_all(&[
            MetadataRecord::RegisterBroker(Registration {
                broker_id,
                broker_epoch: BrokerEpoch::new(1),
                incarnation: Uuid::ZERO,
                directory: Uuid::ZERO,
                endpoints: vec![Endpoint {
                    listener: "PLAINTEXT".to_owned(),
                    host: "two.example".to_owned(),
                    port: 9092,
                }],
                rack: Some("b".to_owned()),
                release: String::new(),
                fenced: false,
            }),
            MetadataRecord::Topic {
                topic_id: TOPIC,
                name: TopicName::new("t").unwrap(),
                replication: Replication::Fixed(1),
            },
            MetadataRecord::Partition {
                topic_id: TOPIC,
                partition: PartitionIndex::new(0),
                state: PartitionState {
                    replicas: vec![broker_id],
                    isr: vec![broker_id],
                    leader: Some(broker_id),
                    leader_epoch: LeaderEpoch::new(7),
                    ..PartitionState::default()
                },
            },
        ]);
        Published { image, ..Published::default() }
    }

    fn answer(error: ErrorCode, by_id: bool) -> ProduceResponse {
        let partition = PartitionProduceResponse { error_code: error.code(), ..Default::default() };
        ProduceResponse {
            responses: vec![TopicProduceResponse {
                name: if by_id { String::new() } else { "t".to_owned() },
                topic_id: if by_id { TOPIC } else { TopicId::ZERO },
                partition_responses: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn who_asks_the_wrong_broker_is_told_the_right_one() {
        let published = published();
        for (error, version, by_id, hinted) in [
            (ErrorCode::NotLeaderOrFollower, 13, true, true),
            (ErrorCode::NotLeaderOrFollower, 10, false, true),
            (ErrorCode::FencedLeaderEpoch, 12, false, true),
            (ErrorCode::NotLeaderOrFollower, 9, false, false),
            (ErrorCode::None, 13, true, false),
            (ErrorCode::NotEnoughReplicas, 13, true, false),
        ] {
            let before = answer(error, by_id);
            let mut response = before.clone();
            hint_produce(&published, &mut response, version);
            if !hinted {
                assert_eq!(response, before, "{error} in version {version}");
                continue;
            }
            let leader = &response.responses[0].partition_responses[0].current_leader;
            assert_eq!((leader.leader_id, leader.leader_epoch), (2, 7));
            let [place] = &response.node_endpoints[..] else { panic!("one broker") };
            assert_eq!((place.node_id, place.host.as_str(), place.port), (2, "two.example", 9092));
            assert_eq!(place.rack.as_deref(), Some("b"));
        }
    }
}
