use super::*;
use crate::decide::bootstrap;

fn name(text: &str) -> TopicName {
    TopicName::new(text).expect("legal")
}

fn topic(number: u8, text: &str) -> MetadataRecord {
    let topic_id = Uuid::from_bytes([number; 16]);
    MetadataRecord::Topic { topic_id, name: name(text), replication: Replication::Fixed(1) }
}

fn image(records: &[MetadataRecord]) -> ClusterImage {
    let mut image = ClusterImage::default();
    image.apply_all(records);
    image
}

#[test]
fn an_empty_image_has_no_records() {
    assert_eq!(ClusterImage::default().records(), []);
    assert_eq!(ClusterImage::default().cluster_id(), None);
}

#[test]
fn the_order_in_which_topics_came_leaves_no_trace() {
    let one = image(&[topic(1, "a.b"), topic(2, "a_b"), topic(3, "c")]);
    let other = image(&[topic(3, "c"), topic(2, "a_b"), topic(1, "a.b")]);
    assert_eq!(one, other);
    assert_eq!(one.hash(), other.hash());
    assert_ne!(one.hash(), image(&[topic(1, "a.b")]).hash());
}

#[test]
fn names_that_collide_are_found_until_they_are_gone() {
    let mut image = image(&[topic(1, "a.b"), topic(2, "plain")]);
    assert_eq!(image.topic_colliding_with(&name("a_b")), Some(&name("a.b")));
    assert_eq!(image.topic_colliding_with(&name("a.b")), None);
    assert_eq!(image.topic_colliding_with(&name("plain")), None);
    image.apply(&MetadataRecord::RemoveTopic { topic_id: Uuid::from_bytes([1; 16]) });
    assert_eq!(image.topic_colliding_with(&name("a_b")), None);
    assert_eq!(image.topic_count(), 1);
}

#[test]
fn records_about_what_is_not_there_change_nothing() {
    let before = image(&bootstrap(Uuid::from_bytes([9; 16]), Timestamp::from_millis(1), 1));
    let nobody = (BrokerId::new(1), BrokerEpoch::new(1));
    for record in [
        MetadataRecord::FenceBroker { broker_id: nobody.0, broker_epoch: nobody.1 },
        MetadataRecord::UnfenceBroker { broker_id: nobody.0, broker_epoch: nobody.1 },
        MetadataRecord::UnregisterBroker { broker_id: nobody.0, broker_epoch: nobody.1 },
        MetadataRecord::RemoveTopic { topic_id: Uuid::from_bytes([1; 16]) },
        MetadataRecord::FeatureLevel { name: "none".to_owned(), level: 0 },
        MetadataRecord::Partition {
            topic_id: Uuid::from_bytes([1; 16]),
            partition: PartitionIndex::new(0),
            state: PartitionState::default(),
        },
        MetadataRecord::Config {
            resource: ConfigResource::Topic(name("gone")),
            name: "retention.ms".to_owned(),
            value: None,
        },
    ] {
        let mut after = before.clone();
        after.apply(&record);
        assert_eq!(after, before, "{record:?}");
    }
}

#[test]
fn a_snapshot_remembers_which_numbers_are_used_up() {
    let removed = |id: i32| MetadataRecord::BrokerIds { last: BrokerId::new(id) };
    // A log of before this was counted knows of nobody.
    let older = image(&bootstrap(Uuid::from_bytes([9; 16]), Timestamp::from_millis(1), 1));
    assert_eq!(older.last_removed_id(), None);
    let mut before = older.clone();
    before.apply_all(&[removed(7), removed(4)]);
    assert_eq!(before.last_removed_id(), Some(BrokerId::new(7)));
    assert_ne!(before.hash(), older.hash());
    let after = image(&before.records());
    assert_eq!(after, before);
    assert_eq!(after.last_removed_id(), Some(BrokerId::new(7)));
}

#[test]
fn topics_are_listed_by_name_from_anywhere() {
    let image = image(&[topic(3, "a"), topic(2, "b"), topic(1, "c")]);
    let from = |start: &str| -> Vec<String> {
        image.topics_from(start).map(|topic| topic.name.to_string()).collect()
    };
    assert_eq!(from(""), ["a", "b", "c"]);
    assert_eq!(from("b"), ["b", "c"]);
    assert_eq!(from("bb"), ["c"]);
    assert_eq!(image.topics().count(), 3);
}

#[test]
fn unsound_images_are_noticed() {
    let partition = |state: PartitionState| {
        let topic_id = Uuid::from_bytes([1; 16]);
        let partition = PartitionIndex::new(0);
        image(&[topic(1, "t"), MetadataRecord::Partition { topic_id, partition, state }])
    };
    let ids = |list: &[i32]| list.iter().copied().map(BrokerId::new).collect::<Vec<_>>();
    let sound = PartitionState {
        replicas: ids(&[1, 2]),
        isr: ids(&[1, 2]),
        leader: Some(BrokerId::new(1)),
        directories: vec![Uuid::ZERO; 2],
        ..PartitionState::default()
    };
    assert_eq!(partition(sound.clone()).check_invariants(), Ok(()));
    let check = |state: PartitionState, expect: &str| {
        let error = partition(state).check_invariants().expect_err(expect);
        assert!(error.contains(expect), "{error}");
    };
    check(PartitionState { isr: ids(&[1, 3]), ..sound.clone() }, "P-2");
    check(PartitionState { isr: ids(&[2]), ..sound.clone() }, "leader 1 is not in the ISR");
    check(PartitionState { replicas: ids(&[1, 1]), ..sound.clone() }, "repeat");
    check(PartitionState { directories: Vec::new(), ..sound.clone() }, "directory");
    check(PartitionState { elr: ids(&[2]), ..sound }, "ELR");
}

#[test]
fn a_copy_that_is_only_on_its_way_is_not_missed() {
    let ids = |numbers: &[i32]| numbers.iter().map(|number| BrokerId::new(*number)).collect();
    for (replicas, isr, adding, expect) in [
        (&[1, 2][..], &[1, 2][..], &[][..], false),
        (&[1, 2], &[1], &[], true),
        (&[1, 2], &[1], &[2], false),
        (&[1, 2, 3], &[1], &[3], true),
    ] {
        let state = PartitionState {
            replicas: ids(replicas),
            isr: ids(isr),
            adding: ids(adding),
            ..PartitionState::default()
        };
        assert_eq!(state.is_under_replicated(), expect, "{state:?}");
    }
}
