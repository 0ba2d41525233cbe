use super::*;
use crate::command::NewTopic;
use jocko_config::LoadedSettings;

fn create(name: &str) -> Command {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: -1,
        ..NewTopic::default()
    };
    Command::CreateTopics { topics: vec![topic], validate_only: false }
}

#[test]
fn a_command_of_a_batch_sees_those_before_it() {
    let settings = LoadedSettings::default();
    let now = Timestamp::from_millis(0);
    let cx = DecideContext { now, seed: [1; 4], settings: &settings };
    let mut image = ClusterImage::default();
    image.apply_all(&bootstrap(Uuid::from_bytes([1; 16]), now, 1));
    let register = Command::RegisterBroker(crate::BrokerRegistration {
        broker_id: None,
        cluster_id: None,
        incarnation: Uuid::from_bytes([2; 16]),
        directory: Uuid::from_bytes([3; 16]),
        endpoints: Vec::new(),
        rack: None,
        release: String::new(),
        kept_page_cache: true,
        is_claimed: false,
    });
    let heartbeat = Command::BrokerHeartbeat {
        broker_id: jocko_types::BrokerId::new(1),
        broker_epoch: BrokerEpoch::new(1),
        want_fence: false,
        want_shutdown: false,
    };
    let commands = vec![register, heartbeat, create("a"), create("a"), create("b")];
    let (records, replies) = decide_batch(&image, &cx, commands);
    let code = |reply: &Reply| match reply {
        Reply::CreateTopics(topics) => {
            topics.iter().map(|(_, a)| a.as_ref().err().map(|e| e.code)).collect()
        }
        _ => vec![],
    };
    assert_eq!(code(&replies[2]), [None]);
    assert_eq!(code(&replies[3]), [Some(ErrorCode::TopicAlreadyExists)]);
    assert_eq!(code(&replies[4]), [None]);
    image.apply_all(&records);
    let ids: Vec<_> = image.topics().map(|topic| topic.id).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1], "each command draws from its own seed");
}

#[test]
fn a_cluster_begins_with_its_identity() {
    let mut image = ClusterImage::default();
    image.apply_all(&bootstrap(Uuid::from_bytes([1; 16]), Timestamp::from_millis(5), 1));
    assert_eq!(image.cluster_id(), Some(Uuid::from_bytes([1; 16])));
    assert_eq!(image.created(), Timestamp::from_millis(5));
    for feature in FEATURES {
        assert_eq!(image.feature(feature.name), feature.max, "{}", feature.name);
    }
    let cluster = image.configs(&ConfigResource::Cluster);
    assert_eq!(cluster.get("min.insync.replicas").map(String::as_str), Some("1"));
}

#[test]
fn what_no_record_could_hold_is_refused() {
    let settings = LoadedSettings::default();
    let now = Timestamp::from_millis(0);
    let cx = DecideContext { now, seed: [1; 4], settings: &settings };
    let mut image = ClusterImage::default();
    image.apply_all(&bootstrap(Uuid::from_bytes([1; 16]), now, 1));
    let registration = |rack: String| crate::BrokerRegistration {
        broker_id: Some(jocko_types::BrokerId::new(1)),
        cluster_id: None,
        incarnation: Uuid::from_bytes([2; 16]),
        directory: Uuid::from_bytes([3; 16]),
        endpoints: Vec::new(),
        rack: Some(rack),
        release: String::new(),
        kept_page_cache: true,
        is_claimed: false,
    };
    let long = decide(&image, &cx, Command::RegisterBroker(registration("x".repeat(2_000))));
    let Reply::RegisterBroker(Err(refusal)) = long.reply else { panic!("{:?}", long.reply) };
    assert_eq!(refusal.code, ErrorCode::InvalidRegistration);
    let (broker_id, broker_epoch) = (jocko_types::BrokerId::new(1), BrokerEpoch::new(1));
    let commands = vec![
        Command::RegisterBroker(registration("r".to_owned())),
        Command::BrokerHeartbeat {
            broker_id,
            broker_epoch,
            want_fence: false,
            want_shutdown: false,
        },
        create("t"),
    ];
    image.apply_all(&decide_batch(&image, &cx, commands).0);
    // Each piece fits a request; the list they make fits no record.
    let pieces = |from: usize| {
        let items: Vec<String> = (from..from + 4_000).map(|n| format!("{n}:1")).collect();
        let op = crate::ConfigOp::Append(Some(items.join(",")));
        let name = "leader.replication.throttled.replicas".to_owned();
        let change = crate::ConfigChange {
            resource_type: 2,
            resource_name: "t".to_owned(),
            ops: vec![(name, op)],
            replace: false,
        };
        Command::AlterConfigs { resources: vec![change], validate_only: false }
    };
    let first = decide(&image, &cx, pieces(10_000));
    assert_eq!(first.records.len(), 1);
    assert!(crate::decode_entry(&crate::encode_entry(&first.records)).is_ok());
    image.apply_all(&first.records);
    let second = decide(&image, &cx, pieces(20_000));
    assert_eq!(second.records, []);
    let Reply::AlterConfigs(answers) = second.reply else { panic!("{:?}", second.reply) };
    let refusal = answers[0].answer.as_ref().expect_err("too long");
    assert_eq!(refusal.code, ErrorCode::InvalidConfig);
}

#[test]
fn a_preferred_replica_in_sync_takes_over_when_asked() {
    let settings = LoadedSettings::default();
    let now = Timestamp::from_millis(0);
    let cx = DecideContext { now, seed: [1; 4], settings: &settings };
    let mut image = ClusterImage::default();
    image.apply_all(&bootstrap(Uuid::from_bytes([1; 16]), now, 1));
    let brokers = [1, 2].map(jocko_types::BrokerId::new);
    for broker_id in brokers {
        let disk = u8::try_from(broker_id.get()).expect("small");
        image.apply(&MetadataRecord::RegisterBroker(crate::Registration {
            broker_id,
            broker_epoch: BrokerEpoch::new(disk.into()),
            incarnation: Uuid::from_bytes([disk; 16]),
            directory: Uuid::from_bytes([disk; 16]),
            endpoints: Vec::new(),
            rack: None,
            release: String::new(),
            fenced: false,
        }));
    }
    let topic_id = jocko_types::TopicId::from_bytes([9; 16]);
    let name = jocko_types::TopicName::new("t").expect("a name");
    let replication = crate::Replication::Auto;
    image.apply(&MetadataRecord::Topic { topic_id, name, replication });
    let partition = jocko_types::PartitionIndex::new(0);
    let state = crate::PartitionState {
        replicas: brokers.to_vec(),
        isr: brokers.to_vec(),
        leader: Some(brokers[1]),
        directories: vec![Uuid::from_bytes([1; 16]), Uuid::from_bytes([2; 16])],
        ..Default::default()
    };
    let record = MetadataRecord::Partition { topic_id, partition, state: state.clone() };
    image.apply(&record);
    let command =
        |partitions| Command::ElectLeaders { election: crate::Election::Preferred, partitions };
    for partitions in [None, Some(vec![("t".to_owned(), partition)])] {
        let decision = decide(&image, &cx, command(partitions));
        let Reply::ElectLeaders(answers) = decision.reply else { panic!("{:?}", decision.reply) };
        assert_eq!(answers, [("t".to_owned(), partition, Ok(()))]);
        let elected = crate::PartitionState {
            leader: Some(brokers[0]),
            leader_epoch: state.leader_epoch.next(),
            partition_epoch: state.partition_epoch.next(),
            ..state.clone()
        };
        let expected = MetadataRecord::Partition { topic_id, partition, state: elected };
        assert_eq!(decision.records, [expected]);
    }
}

/// A start with another number on a disk that has one must change nothing for anybody.
#[test]
fn one_disk_is_one_broker() {
    let settings = LoadedSettings::default();
    let now = Timestamp::from_millis(0);
    let cx = DecideContext { now, seed: [1; 4], settings: &settings };
    let mut image = ClusterImage::default();
    image.apply_all(&bootstrap(Uuid::from_bytes([1; 16]), now, 1));
    let mut register = |id: Option<i32>, disk: u8, incarnation: u8| {
        let command = Command::RegisterBroker(crate::BrokerRegistration {
            broker_id: id.map(jocko_types::BrokerId::new),
            cluster_id: None,
            incarnation: Uuid::from_bytes([incarnation; 16]),
            directory: Uuid::from_bytes([disk; 16]),
            endpoints: Vec::new(),
            rack: None,
            release: String::new(),
            kept_page_cache: true,
            is_claimed: false,
        });
        let decision = decide(&image, &cx, command);
        image.apply_all(&decision.records);
        let Reply::RegisterBroker(answer) = decision.reply else { panic!("{:?}", decision.reply) };
        answer.map(|it| it.broker_id.get()).map_err(|refusal| refusal.code)
    };
    assert_eq!(register(Some(2), 20, 1), Ok(2));
    assert_eq!(register(Some(5), 50, 2), Ok(5));
    let refused = Err(ErrorCode::InvalidRegistration);
    assert_eq!(register(Some(5), 20, 3), refused, "another's, which is not there");
    assert_eq!(register(Some(77), 20, 3), refused, "nobody's");
    assert_eq!(register(Some(2), 20, 3), Ok(2));
    assert_eq!(register(None, 20, 4), Ok(2));
    // A disk that was wiped takes the number of the one that is gone.
    assert_eq!(register(Some(5), 51, 5), Ok(5));
    assert_eq!(register(None, 50, 6), Ok(6));
}
