//! What a Kafka 4.3.1 wrote, record by record, loads; and what it loads into goes on as if nothing
//! had happened. Each line of the file is a key and a value in hexadecimal, "-" for no value.

use super::stage::Cluster;
use crate::consumer::hash;
use crate::{
    Answer, Command, ConsumerHeartbeat, ConsumerRecord, Coordinator, DecideContext, Decoded,
    DescribedConsumerGroup, GroupRecord, Policy,
};
use jocko_types::{ErrorCode, Now, Timestamp};

const LOG: &str = include_str!("../../../testdata/kafka/consumer_groups_4.3.1.hex");

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (hex != "-").then(|| (0..hex.len()).step_by(2).map(byte).collect())
}

/// The topics as they were in that cluster.
fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.set_with_id("a", "P0GJqzDrRo6W5ij-1fqmSw", 2);
    cluster.set_with_id("b", "GlA4i3m-SYuwEmMuj39l7g", 2);
    cluster.set_with_id("orders1", "uovrK451RW2hGGOho0Ch1A", 1);
    cluster.set_with_id("orders2", "nR-i3poQRveTI_7JOmwrlQ", 1);
    cluster
}

fn context<'a>(policy: &'a Policy, cluster: &'a Cluster) -> DecideContext<'a> {
    DecideContext {
        now: Now::default(),
        wall: Timestamp::from_millis(1_800_000_000_000),
        seed: 0,
        policy,
        topics: cluster,
        batch_bytes_max: usize::MAX,
    }
}

fn loaded() -> Coordinator {
    let mut coordinator = Coordinator::new();
    for line in LOG.lines() {
        let (key, value) = line.split_once(' ').expect("two words");
        let (key, value) = (bytes(key).expect("a key"), bytes(value));
        match GroupRecord::decode(&key, value.as_deref()).expect("what Kafka wrote") {
            Decoded::Known(record) => {
                assert_eq!(record.encode().expect("it fits").0, key, "{record:?}");
                coordinator.apply(&record);
            }
            Decoded::Unknown { kind } => panic!("kind {kind}"),
        }
    }
    coordinator.loaded(&context(&Policy::default(), &cluster()));
    coordinator.check_invariants();
    coordinator
}

fn described(coordinator: &Coordinator, group_id: &str) -> DescribedConsumerGroup {
    let group = coordinator.describe_consumer(group_id, &Policy::default(), &cluster());
    group.expect("a consumer group")
}

#[test]
fn groups_are_as_kafka_described_them() {
    let coordinator = loaded();
    let shown = |group_id: &str| {
        let group = described(&coordinator, group_id);
        (group.state, group.group_epoch, group.assignment_epoch)
    };
    assert_eq!(shown("x1"), ("Empty", 5, 3));
    assert_eq!(shown("s1"), ("Empty", 3, 2));
    assert_eq!(shown("r1"), ("Empty", 4, 3));
    assert_eq!(shown("em"), ("Stable", 1, 1));
    assert_eq!(shown("live"), ("Reconciling", 4, 4));
    let live = described(&coordinator, "live");
    assert_eq!(live.assignor, "range");
    let held = |member: usize| {
        let assignment = live.members[member].assignment.values();
        assignment.map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!([held(0), held(1), held(2)], [vec![2, 1], vec![1], vec![1, 1]]);
    assert_eq!(live.members[1].instance_id.as_deref(), Some("i1"));
    assert_eq!(live.members[2].subscribed_regex.as_deref(), Some("orders.*"));
}

#[test]
fn the_metadata_hash_is_kafkas() {
    assert_eq!(hash::of_topics(["a"], &cluster()), 0x63cd_5ac4_e917_4aef);
    assert_eq!(hash::of_topics(["missing"], &cluster()), 0);
}

fn beat(member_id: &str, member_epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group_id: "live".to_owned(),
        member_id: member_id.to_owned(),
        member_epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout: None,
        subscribed_topics: None,
        subscribed_regex: None,
        server_assignor: None,
        owned: None,
        client_id: "chk".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        member_id_from_client: true,
    }
}

/// Nothing has changed in the cluster, so nobody is asked to move.
#[test]
fn a_heartbeat_after_the_move_finds_everything_in_place() {
    let mut coordinator = loaded();
    let (policy, cluster) = (Policy::default(), cluster());
    let cx = context(&policy, &cluster);
    for (member_id, epoch) in [("m1", 4), ("m3", 4)] {
        let decision =
            coordinator.decide(&cx, 1, &Command::ConsumerHeartbeat(beat(member_id, epoch)));
        assert_eq!(decision.records, [], "{member_id}");
        let answers = coordinator.accept(decision);
        let Some((_, Answer::ConsumerHeartbeat(answer))) = answers.first() else {
            panic!("an answer")
        };
        assert_eq!((answer.error, answer.member_epoch), (ErrorCode::None, epoch));
        assert_eq!(answer.assignment, None);
    }
}

/// Before 4.1 Kafka kept what topics looked like in a record of its own (kind 4).
#[test]
fn what_an_older_kafka_kept_of_topics_is_removed() {
    let mut coordinator = loaded();
    let stands = ConsumerRecord::PartitionMetadata { group_id: "live".into(), stands: true };
    coordinator.apply(&GroupRecord::Consumer(stands.clone()));
    assert!(coordinator.records().contains(&GroupRecord::Consumer(stands)));
    let (policy, cluster) = (Policy::default(), cluster());
    let cx = context(&policy, &cluster);
    let decision = coordinator.decide(&cx, 1, &Command::ConsumerHeartbeat(beat("m1", 4)));
    let gone = ConsumerRecord::PartitionMetadata { group_id: "live".into(), stands: false };
    assert_eq!(decision.records, [GroupRecord::Consumer(gone)]);
    coordinator.accept(decision);
    let decision = coordinator.decide(&cx, 1, &Command::ConsumerHeartbeat(beat("m1", 4)));
    assert_eq!(decision.records, []);
}
