//! Commands and replies travel as JSON between brokers of neighbouring releases.

use super::*;
use crate::record::DiskTroubleKind;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn broker(id: i32) -> BrokerId {
    BrokerId::new(id)
}

fn uuid(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

fn at(partition: i32) -> PartitionIndex {
    PartitionIndex::new(partition)
}

fn refused<T>() -> Answer<T> {
    Err(Refusal::new(ErrorCode::NotController, "elsewhere"))
}

fn topic_commands() -> Vec<Command> {
    let topic = NewTopic {
        name: "t".to_owned(),
        partitions: 3,
        replication_factor: -1,
        assignments: vec![ReplicaAssignment { partition: at(0), brokers: vec![broker(1)] }],
        configs: vec![("a.b".to_owned(), None), ("c.d".to_owned(), Some("e".to_owned()))],
    };
    let by_id = TopicRef { name: None, id: uuid(7) };
    let grown = NewPartitions {
        name: "t".to_owned(),
        count: 4,
        assignments: Some(vec![vec![broker(1), broker(2)]]),
    };
    vec![
        Command::CreateTopics { topics: vec![topic], validate_only: true },
        Command::DeleteTopics { topics: vec![by_id] },
        Command::CreatePartitions { topics: vec![grown], validate_only: false },
        Command::ElectLeaders {
            election: Election::Unclean,
            partitions: Some(vec![("t".to_owned(), at(1))]),
        },
    ]
}

fn setting_commands() -> Vec<Command> {
    let ops = vec![
        ("a".to_owned(), ConfigOp::Set(Some("1".to_owned()))),
        ("b".to_owned(), ConfigOp::Delete),
        ("c".to_owned(), ConfigOp::Append(None)),
        ("d".to_owned(), ConfigOp::Subtract(None)),
        ("e".to_owned(), ConfigOp::Unknown(9)),
    ];
    let change =
        ConfigChange { resource_type: 2, resource_name: "t".to_owned(), ops, replace: true };
    let directions = [
        FeatureDirection::Upgrade,
        FeatureDirection::SafeDowngrade,
        FeatureDirection::UnsafeDowngrade,
        FeatureDirection::Unknown(4),
    ];
    let updates = directions
        .map(|direction| FeatureUpdate { name: "group.version".to_owned(), level: 1, direction })
        .to_vec();
    vec![
        Command::AlterConfigs { resources: vec![change], validate_only: false },
        Command::UpdateFeatures { updates, validate_only: false },
    ]
}

fn broker_commands() -> Vec<Command> {
    let (broker_id, broker_epoch) = (broker(1), BrokerEpoch::new(9));
    vec![
        Command::AllocateProducerIds { broker_id, broker_epoch },
        Command::RegisterBroker(BrokerRegistration {
            broker_id: None,
            cluster_id: Some(uuid(1)),
            incarnation: uuid(2),
            directory: uuid(3),
            endpoints: vec![Endpoint {
                listener: "CLUSTER".to_owned(),
                host: "h".to_owned(),
                port: 9093,
            }],
            rack: Some("east".to_owned()),
            release: "0.1.0".to_owned(),
            kept_page_cache: true,
            is_claimed: true,
        }),
        Command::BrokerHeartbeat { broker_id, broker_epoch, want_fence: true, want_shutdown: true },
        Command::FenceBroker { broker_id, broker_epoch: Some(broker_epoch) },
        Command::UnregisterBroker { broker_id },
    ]
}

fn replica_commands() -> Vec<Command> {
    let (broker_id, broker_epoch) = (broker(1), BrokerEpoch::new(9));
    let member = |broker_epoch| InSyncReplica { broker_id, broker_epoch };
    let change = IsrChange {
        topic_id: uuid(7),
        partition: at(3),
        leader_epoch: LeaderEpoch::new(4),
        partition_epoch: PartitionEpoch::new(5),
        isr: vec![member(None), member(Some(broker_epoch))],
    };
    let trouble = DiskTrouble { kind: DiskTroubleKind::Full, words: "no room".to_owned() };
    let moved = |replicas| Reassignment { topic: "t".to_owned(), partition: at(0), replicas };
    vec![
        Command::AlterPartition { broker_id, broker_epoch, partitions: vec![change] },
        Command::AlterPartitionReassignments {
            partitions: vec![moved(Some(vec![broker_id])), moved(None)],
            allow_replication_factor_change: true,
        },
        Command::RaiseReplication { partitions_max: 10 },
        Command::GiveUpCopies {
            broker_id,
            broker_epoch,
            copies: vec![TopicIdPartition { topic_id: uuid(7), partition: at(3) }],
        },
        Command::ReportDisk { broker_id, broker_epoch, trouble: None },
        Command::ReportDisk { broker_id, broker_epoch, trouble: Some(trouble) },
    ]
}

fn commands() -> Vec<Command> {
    let mut all = topic_commands();
    all.extend(setting_commands());
    all.extend(broker_commands());
    all.extend(replica_commands());
    all
}

/// Names each variant, so that a new one does not compile before it has an instance above.
fn command_name(command: &Command) -> &'static str {
    match command {
        Command::CreateTopics { .. } => "CreateTopics",
        Command::DeleteTopics { .. } => "DeleteTopics",
        Command::CreatePartitions { .. } => "CreatePartitions",
        Command::AlterConfigs { .. } => "AlterConfigs",
        Command::ElectLeaders { .. } => "ElectLeaders",
        Command::UpdateFeatures { .. } => "UpdateFeatures",
        Command::AllocateProducerIds { .. } => "AllocateProducerIds",
        Command::RegisterBroker(_) => "RegisterBroker",
        Command::BrokerHeartbeat { .. } => "BrokerHeartbeat",
        Command::ReportDisk { .. } => "ReportDisk",
        Command::GiveUpCopies { .. } => "GiveUpCopies",
        Command::FenceBroker { .. } => "FenceBroker",
        Command::UnregisterBroker { .. } => "UnregisterBroker",
        Command::AlterPartition { .. } => "AlterPartition",
        Command::AlterPartitionReassignments { .. } => "AlterPartitionReassignments",
        Command::RaiseReplication { .. } => "RaiseReplication",
    }
}

fn altered_partition() -> AlteredPartition {
    AlteredPartition {
        leader: Some(broker(1)),
        leader_epoch: LeaderEpoch::new(2),
        partition_epoch: PartitionEpoch::new(3),
        isr: vec![broker(1)],
    }
}

fn replies() -> Vec<Reply> {
    let name = TopicName::new("t").expect("legal");
    let created = CreatedTopic {
        id: uuid(7),
        name: name.clone(),
        partitions: 3,
        replication_factor: 2,
        configs: ConfigMap::from([("a".to_owned(), "b".to_owned())]),
    };
    let by_name = TopicRef { name: Some("t".to_owned()), id: Uuid::ZERO };
    let altered =
        |answer| AlteredConfigs { resource_type: 2, resource_name: "t".to_owned(), answer };
    let block = AllocatedProducerIds { first: ProducerId::new(1_000), count: 1_000 };
    let registered = RegisteredBroker { broker_id: broker(1), broker_epoch: BrokerEpoch::new(9) };
    vec![
        Reply::CreateTopics(vec![("t".to_owned(), Ok(created)), ("u".to_owned(), refused())]),
        Reply::DeleteTopics(vec![(by_name, Ok(DeletedTopic { id: uuid(7), name: name.clone() }))]),
        Reply::CreatePartitions(vec![("t".to_owned(), Ok(()))]),
        Reply::AlterConfigs(vec![
            altered(Ok(ConfigResource::Topic(name))),
            altered(Ok(ConfigResource::Broker(broker(1)))),
            altered(Ok(ConfigResource::Cluster)),
            altered(Ok(ConfigResource::Group("g".to_owned()))),
            altered(refused()),
        ]),
        Reply::ElectLeaders(vec![("t".to_owned(), at(0), refused())]),
        Reply::UpdateFeatures(Ok(vec!["group.version".to_owned()])),
        Reply::AllocateProducerIds(Ok(block)),
        Reply::RegisterBroker(Ok(registered)),
        Reply::BrokerHeartbeat(Ok(HeartbeatState { is_fenced: true, may_shut_down: true })),
        Reply::ReportDisk(Ok(())),
        Reply::GiveUpCopies(Ok(vec![Ok(LeaderEpoch::new(4)), refused()])),
        Reply::FenceBroker(Ok(())),
        Reply::UnregisterBroker(refused()),
        Reply::AlterPartition(Ok(vec![Ok(altered_partition()), refused()])),
        Reply::AlterPartitionReassignments(vec![("t".to_owned(), at(0), Ok(()))]),
        Reply::RaiseReplication(Ok(RaisedReplication { partitions: 3, is_more: true })),
    ]
}

fn reply_name(reply: &Reply) -> &'static str {
    match reply {
        Reply::CreateTopics(_) => "CreateTopics",
        Reply::DeleteTopics(_) => "DeleteTopics",
        Reply::CreatePartitions(_) => "CreatePartitions",
        Reply::AlterConfigs(_) => "AlterConfigs",
        Reply::ElectLeaders(_) => "ElectLeaders",
        Reply::UpdateFeatures(_) => "UpdateFeatures",
        Reply::AllocateProducerIds(_) => "AllocateProducerIds",
        Reply::RegisterBroker(_) => "RegisterBroker",
        Reply::BrokerHeartbeat(_) => "BrokerHeartbeat",
        Reply::ReportDisk(_) => "ReportDisk",
        Reply::GiveUpCopies(_) => "GiveUpCopies",
        Reply::FenceBroker(_) => "FenceBroker",
        Reply::UnregisterBroker(_) => "UnregisterBroker",
        Reply::AlterPartition(_) => "AlterPartition",
        Reply::AlterPartitionReassignments(_) => "AlterPartitionReassignments",
        Reply::RaiseReplication(_) => "RaiseReplication",
    }
}

/// Writes and reads it; then reads it again with a field of a newer release in each object.
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, name: &str) {
    let json = serde_json::to_string(value).expect("it has a JSON form");
    assert!(json.starts_with(&format!("{{\"{name}\":")), "{json}");
    assert_eq!(&serde_json::from_str::<T>(&json).expect("what was written"), value);
    let mut tree: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    if let Some(body) = tree.get_mut(name).and_then(serde_json::Value::as_object_mut)
        && !body.contains_key("Ok")
        && !body.contains_key("Err")
    {
        body.insert("of_a_newer_release".to_owned(), serde_json::Value::Bool(true));
    }
    assert_eq!(&serde_json::from_value::<T>(tree).expect("unknown fields are passed over"), value);
}

#[test]
fn every_command_and_reply_survives_json() {
    let mut names = std::collections::BTreeSet::new();
    for command in commands() {
        survives(&command, command_name(&command));
        names.insert(command_name(&command));
    }
    for reply in replies() {
        survives(&reply, reply_name(&reply));
        assert!(names.remove(reply_name(&reply)), "a reply to no command");
    }
    assert_eq!(names.len(), 0, "commands without a reply: {names:?}");
}

#[test]
fn what_an_older_release_does_not_say_has_a_default() {
    let heartbeat: Command = serde_json::from_str(
        "{\"BrokerHeartbeat\":{\"broker_id\":1,\"broker_epoch\":2,\"want_fence\":false}}",
    )
    .expect("as release 0.1.0 writes it");
    let (broker_id, broker_epoch) = (broker(1), BrokerEpoch::new(2));
    let (want_fence, want_shutdown) = (false, false);
    assert_eq!(
        heartbeat,
        Command::BrokerHeartbeat { broker_id, broker_epoch, want_fence, want_shutdown }
    );
}

#[test]
fn a_command_of_a_newer_release_is_an_error_and_no_panic() {
    assert!(serde_json::from_str::<Command>("{\"Newer\":{}}").is_err());
    assert!(serde_json::from_str::<Command>("{\"FenceBroker\":{}}").is_err());
}
