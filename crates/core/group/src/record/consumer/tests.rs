//! Bytes out and in again, and bytes as Kafka wrote them.

use super::*;
use jocko_types::Uuid;
use proptest::prelude::*;

fn id(number: u8) -> TopicId {
    Uuid::from_bytes([number; 16])
}

fn holdings(of: &[(u8, i32, i32)]) -> Holdings {
    let mut holdings = Holdings::new();
    for &(topic, partition, epoch) in of {
        holdings.entry(id(topic)).or_default().insert(PartitionIndex::new(partition), epoch);
    }
    holdings
}

fn round_trip(record: &ConsumerRecord) {
    let (key, value) = record.encode().expect("it fits");
    let mut r = Reader::new(&key);
    let kind = r.i16("kind").expect("a kind");
    assert!(ConsumerRecord::has_kind(kind));
    let again = ConsumerRecord::decode(kind, &mut r, value.as_deref()).expect("our own bytes");
    assert_eq!(&again, record);
    assert_eq!(record.is_tombstone(), value.is_none());
}

fn member() -> MemberMetadata {
    MemberMetadata {
        instance_id: Some("instance".into()),
        rack_id: Some("rack".into()),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        subscribed_topics: ["b".to_owned(), "a".to_owned()].into(),
        subscribed_regex: "c.*".into(),
        rebalance_timeout_ms: 300_000,
        server_assignor: Some("range".into()),
        classic: Some(ClassicMember {
            session_timeout_ms: 45_000,
            protocols: vec![("range".into(), Opaque::from(vec![0, 1, 2]))],
        }),
    }
}

#[test]
fn all_kinds_survive() {
    let group_id = || Arc::<str>::from("g");
    let member_id = || Arc::<str>::from("m");
    let current = CurrentAssignment {
        member_epoch: 7,
        previous_member_epoch: 6,
        state: MemberState::UnreleasedPartitions,
        assigned: holdings(&[(1, 0, 7), (1, 3, 5), (2, 1, 6)]),
        revoking: holdings(&[(3, 0, 2)]),
    };
    let target: Assignment = [(id(1), [PartitionIndex::new(4)].into())].into();
    let resolved = ResolvedRegex {
        topics: ["a".to_owned()].into(),
        version: 12,
        resolved_at: Timestamp::from_millis(34),
    };
    let epoch = GroupEpoch { epoch: 3, metadata_hash: -5 };
    let computed = TargetEpoch { epoch: 3, computed_at: Timestamp::from_millis(9) };
    for some in [true, false] {
        for record in [
            ConsumerRecord::Group { group_id: group_id(), value: some.then_some(epoch) },
            ConsumerRecord::PartitionMetadata { group_id: group_id(), stands: some },
            ConsumerRecord::Member {
                group_id: group_id(),
                member_id: member_id(),
                value: some.then(|| Arc::new(member())),
            },
            ConsumerRecord::TargetEpoch { group_id: group_id(), value: some.then_some(computed) },
            ConsumerRecord::TargetMember {
                group_id: group_id(),
                member_id: member_id(),
                value: some.then(|| Arc::new(target.clone())),
            },
            ConsumerRecord::Current {
                group_id: group_id(),
                member_id: member_id(),
                value: some.then(|| Arc::new(current.clone())),
            },
            ConsumerRecord::Regex {
                group_id: group_id(),
                regex: "c.*".into(),
                value: some.then(|| Arc::new(resolved.clone())),
            },
        ] {
            round_trip(&record);
        }
    }
}

#[test]
fn partitions_without_epochs_count_as_given_at_the_members_epoch() {
    let topics = vec![TopicPartitions {
        topic_id: id(1),
        partitions: vec![0, 1],
        assignment_epochs: None,
        ..Default::default()
    }];
    let value = ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: 5,
        assigned_partitions: topics.clone(),
        ..Default::default()
    };
    assert_eq!(current_from(value).assigned, holdings(&[(1, 0, 5), (1, 1, 5)]));
    let left = ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: -2,
        assigned_partitions: topics,
        ..Default::default()
    };
    assert_eq!(current_from(left).assigned, holdings(&[(1, 0, 0), (1, 1, 0)]));
}

#[test]
fn a_state_of_a_later_kafka_is_kept() {
    assert_eq!(MemberState::from_code(9).code(), 9);
}

proptest! {
    /// Whatever stands in a log, reading it ends; what could be read can be written, and reads as
    /// the same again.
    #[test]
    fn any_bytes_are_read_or_refused(
        kind in prop_oneof![3_i16..=8, Just(16)],
        key in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
        ids in "[a-z]{0,4}",
    ) {
        // Keys that are right let the values be read too.
        let text = |ids: &str| {
            let length = i16::try_from(ids.len()).expect("short").to_be_bytes();
            [&length, ids.as_bytes()].concat()
        };
        let good = [text(&ids), text(&ids)].concat();
        let value = value.map(|value| [&[0, 0], value.as_slice()].concat());
        for key in [key, good] {
            let read = ConsumerRecord::decode(kind, &mut Reader::new(&key), value.as_deref());
            if let Ok(record) = read {
                round_trip(&record);
            }
        }
    }
}
