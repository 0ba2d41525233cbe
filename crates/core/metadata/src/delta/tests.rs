use super::*;
use crate::record::{MetadataRecord, PartitionState, Replication};
use jocko_types::{LeaderEpoch, PartitionEpoch, TopicName, Uuid};

fn base() -> ClusterImage {
    let mut image = ClusterImage::default();
    for number in 0..50_u8 {
        let topic_id = Uuid::from_bytes([number; 16]);
        let name = TopicName::new(&format!("topic-{number}")).expect("legal");
        image.apply(&MetadataRecord::Topic { topic_id, name, replication: Replication::Auto });
        image.apply(&partition(number, 1, 0));
    }
    image
}

fn partition(topic: u8, leader_epoch: i32, partition_epoch: i32) -> MetadataRecord {
    MetadataRecord::Partition {
        topic_id: Uuid::from_bytes([topic; 16]),
        partition: PartitionIndex::new(0),
        state: PartitionState {
            leader_epoch: LeaderEpoch::new(leader_epoch),
            partition_epoch: PartitionEpoch::new(partition_epoch),
            ..PartitionState::default()
        },
    }
}

fn after(records: &[MetadataRecord]) -> ClusterDelta {
    let (before, mut after) = (base(), base());
    after.apply_all(records);
    ClusterDelta::between(&before, &after)
}

#[test]
fn nothing_changed_is_empty() {
    assert!(after(&[]).is_empty());
    assert!(after(&[partition(7, 1, 0)]).is_empty(), "the same state again is no change");
}

#[test]
fn only_what_changed_is_in_it() {
    let delta = after(&[partition(7, 2, 1)]);
    assert!(delta.created.is_empty() && delta.deleted.is_empty());
    let [change] = delta.partitions.as_slice() else { panic!("one change: {delta:?}") };
    assert_eq!(change.topic.name.as_str(), "topic-7");
    assert_eq!(delta.check_epochs(), Ok(()));
}

#[test]
fn a_topic_made_again_is_deleted_and_created() {
    let name = TopicName::new("topic-7").expect("legal");
    let topic_id = Uuid::from_bytes([200; 16]);
    let delta = after(&[
        MetadataRecord::RemoveTopic { topic_id: Uuid::from_bytes([7; 16]) },
        MetadataRecord::Topic { topic_id, name, replication: Replication::Auto },
        partition(200, 0, 0),
    ]);
    assert_eq!((delta.created.len(), delta.deleted.len(), delta.partitions.len()), (1, 1, 2));
}

#[test]
fn epochs_that_fall_are_noticed() {
    let check = |record, expect: &str| {
        let error = after(&[record]).check_epochs().expect_err("fell");
        assert!(error.contains(expect), "{error}");
    };
    check(partition(7, 0, 1), "leader epoch fell");
    check(partition(7, 2, 0), "without a new partition epoch");
}
