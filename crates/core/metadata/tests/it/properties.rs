//! Whatever is asked of the controller, the image stays sound; whatever bytes come, decoding does
//! not panic.

use crate::stage::{CLUSTER, Stage};
use jocko_metadata::{
    BrokerRegistration, Command, ConfigChange, ConfigOp, DiskTrouble, DiskTroubleKind, Election,
    Endpoint, InSyncReplica, IsrChange, NewPartitions, NewTopic, Reassignment, ReplicaAssignment,
    TopicRef, decide_batch, decode_entry, encode_entry,
};
use jocko_types::{BrokerId, PartitionIndex, Timestamp, TopicId, TopicIdPartition, Uuid};
use proptest::prelude::*;

fn topic() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "a.b", "a_b", "c"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["", "..", "x/y"]).prop_map(str::to_owned),
    ]
}

fn broker() -> impl Strategy<Value = BrokerId> {
    (0..6_i32).prop_map(BrokerId::new)
}

fn config() -> impl Strategy<Value = (String, Option<String>)> {
    prop::sample::select(vec![
        ("retention.ms", Some("5")),
        ("retention.ms", Some("x")),
        ("retention.ms", None),
        ("cleanup.policy", Some("compact")),
        ("nonsense", Some("1")),
    ])
    .prop_map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
}

fn new_topic() -> impl Strategy<Value = NewTopic> {
    let assignment = (-1..4_i32, prop::collection::vec(broker(), 0..4));
    let assignments = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(assignment, 1..4),
    ];
    let numbers = (-2..5_i32, -2..5_i16);
    (topic(), numbers, assignments, prop::collection::vec(config(), 0..2)).prop_map(
        |(name, (partitions, replication_factor), assignments, configs)| NewTopic {
            name,
            partitions,
            replication_factor,
            assignments: assignments
                .into_iter()
                .map(|(partition, brokers)| ReplicaAssignment {
                    partition: PartitionIndex::new(partition),
                    brokers,
                })
                .collect(),
            configs,
        },
    )
}

fn registration() -> impl Strategy<Value = BrokerRegistration> {
    let rack = prop::option::of("[ew]");
    (prop::option::of(broker()), 1..6_u8, 0..3_u8, rack, any::<(bool, bool)>()).prop_map(
        |(broker_id, disk, start, rack, (kept_page_cache, is_claimed))| BrokerRegistration {
            broker_id,
            cluster_id: Some(CLUSTER),
            incarnation: Uuid::from_bytes([start; 16]),
            directory: Uuid::from_bytes([disk; 16]),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: "localhost".to_owned(),
                port: 9092,
            }],
            rack,
            release: "0.1.0".to_owned(),
            kept_page_cache,
            is_claimed,
        },
    )
}

fn change() -> impl Strategy<Value = ConfigChange> {
    let op = prop_oneof![
        prop::option::of("[0-9]{1,3}").prop_map(ConfigOp::Set),
        Just(ConfigOp::Delete),
        Just(ConfigOp::Append(Some("compact".to_owned()))),
        Just(ConfigOp::Subtract(Some("delete".to_owned()))),
        Just(ConfigOp::Unknown(9)),
    ];
    let name = prop::sample::select(vec![
        "retention.ms",
        "cleanup.policy",
        "log.retention.ms",
        "min.insync.replicas",
        "consumer.session.timeout.ms",
        "nonsense",
    ]);
    let ops = prop::collection::vec((name.prop_map(str::to_owned), op), 0..3);
    let resource = prop_oneof![
        topic().prop_map(|name| (2, name)),
        prop::sample::select(vec!["", "1", "2", "x"]).prop_map(|name| (4, name.to_owned())),
        Just((8, String::new())),
        Just((32, "g".to_owned())),
    ];
    (resource, ops, any::<bool>()).prop_map(|((resource_type, resource_name), ops, replace)| {
        ConfigChange { resource_type, resource_name, ops, replace }
    })
}

/// A command, or the number of a broker whose current epoch it still needs.
fn disk_trouble() -> impl Strategy<Value = DiskTroubleKind> {
    use DiskTroubleKind::{Failed, Full, Short, Slow};
    prop::sample::select(vec![Failed, Full, Short, Slow])
}

#[derive(Debug, Clone)]
enum Act {
    Ask(Command),
    Heartbeat(BrokerId, bool, bool),
    Disk(BrokerId, Option<DiskTroubleKind>),
    Isr(String, PartitionIndex, Vec<prop::sample::Index>),
    GiveUp(BrokerId, String, PartitionIndex),
    ProducerIds(BrokerId),
    DeleteById(String),
}

fn act() -> impl Strategy<Value = Act> {
    let topics = prop::collection::vec(new_topic(), 1..3);
    let deleted = prop::collection::vec(topic(), 1..3).prop_map(|names| Command::DeleteTopics {
        topics: names
            .into_iter()
            .map(|name| TopicRef { name: Some(name), id: TopicId::ZERO })
            .collect(),
    });
    let lists = prop::collection::vec(prop::collection::vec(broker(), 0..4), 0..3);
    let grown = (topic(), -1..8_i32, prop::option::of(lists))
        .prop_map(|(name, count, assignments)| NewPartitions { name, count, assignments });
    prop_oneof![
        4 => (topics, prop::bool::weighted(0.2)).prop_map(|(topics, validate_only)| {
            Act::Ask(Command::CreateTopics { topics, validate_only })
        }),
        1 => deleted.prop_map(Act::Ask),
        1 => topic().prop_map(Act::DeleteById),
        2 => grown.prop_map(|topic| {
            Act::Ask(Command::CreatePartitions { topics: vec![topic], validate_only: false })
        }),
        2 => prop::collection::vec(change(), 1..3).prop_map(|resources| {
            Act::Ask(Command::AlterConfigs { resources, validate_only: false })
        }),
        2 => (any::<bool>(), prop::option::of((topic(), 0..3_i32))).prop_map(|(unclean, one)| {
            let election = if unclean { Election::Unclean } else { Election::Preferred };
            let partitions = one.map(|(name, at)| vec![(name, PartitionIndex::new(at))]);
            Act::Ask(Command::ElectLeaders { election, partitions })
        }),
        3 => registration().prop_map(|broker| Act::Ask(Command::RegisterBroker(broker))),
        5 => (broker(), prop::bool::weighted(0.2), prop::bool::weighted(0.1))
            .prop_map(|(id, fence, shutdown)| Act::Heartbeat(id, fence, shutdown)),
        2 => (broker(), prop::option::of(disk_trouble()))
            .prop_map(|(id, kind)| Act::Disk(id, kind)),
        1 => broker().prop_map(|broker_id| {
            Act::Ask(Command::FenceBroker { broker_id, broker_epoch: None })
        }),
        5 => (topic(), 0..3_i32, prop::collection::vec(any::<prop::sample::Index>(), 0..3))
            .prop_map(|(name, at, isr)| Act::Isr(name, PartitionIndex::new(at), isr)),
        2 => (topic(), 0..3_i32, prop::option::of(prop::collection::vec(broker(), 0..4))).prop_map(
            |(topic, at, replicas)| {
                let partition = PartitionIndex::new(at);
                let partitions = vec![Reassignment { topic, partition, replicas }];
                let allow_replication_factor_change = true;
                Act::Ask(Command::AlterPartitionReassignments {
                    partitions,
                    allow_replication_factor_change,
                })
            },
        ),
        1 => (0..5_u32).prop_map(|partitions_max| {
            Act::Ask(Command::RaiseReplication { partitions_max })
        }),
        1 => broker().prop_map(|broker_id| Act::Ask(Command::UnregisterBroker { broker_id })),
        2 => (broker(), topic(), 0..3_i32)
            .prop_map(|(id, name, at)| Act::GiveUp(id, name, PartitionIndex::new(at))),
        1 => broker().prop_map(Act::ProducerIds),
    ]
}

/// The leader of a partition wants some of its replicas in sync.
fn isr(
    stage: &Stage,
    name: &str,
    partition: PartitionIndex,
    picks: &[prop::sample::Index],
) -> Command {
    let topic = stage.image.topic(name);
    let found = topic.and_then(|topic| Some((topic.id, topic.partitions.get(&partition)?)));
    let Some((topic_id, state)) = found else {
        return Command::RaiseReplication { partitions_max: 0 };
    };
    let leader = state.leader.unwrap_or_default();
    let epoch = |id| stage.image.broker(id).map(|broker| broker.epoch());
    let mut members: Vec<BrokerId> =
        picks.iter().map(|pick| state.replicas[pick.index(state.replicas.len())]).collect();
    members.push(leader);
    members.sort_unstable();
    members.dedup();
    let member = |broker_id| InSyncReplica { broker_id, broker_epoch: epoch(broker_id) };
    let change = IsrChange {
        topic_id,
        partition,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        isr: members.into_iter().map(member).collect(),
    };
    Command::AlterPartition {
        broker_id: leader,
        broker_epoch: epoch(leader).unwrap_or_default(),
        partitions: vec![change],
    }
}

fn command(stage: &Stage, act: Act) -> Command {
    let epoch = |id| stage.image.broker(id).map(|broker| broker.epoch()).unwrap_or_default();
    match act {
        Act::Ask(command) => command,
        Act::Heartbeat(broker_id, want_fence, want_shutdown) => {
            let broker_epoch = epoch(broker_id);
            Command::BrokerHeartbeat { broker_id, broker_epoch, want_fence, want_shutdown }
        }
        Act::Disk(broker_id, kind) => Command::ReportDisk {
            broker_id,
            broker_epoch: epoch(broker_id),
            trouble: kind.map(|kind| DiskTrouble { kind, words: String::new() }),
        },
        Act::Isr(name, partition, picks) => isr(stage, &name, partition, &picks),
        Act::GiveUp(broker_id, name, partition) => {
            let topic_id = stage.image.topic(&name).map(|topic| topic.id).unwrap_or_default();
            let copies = vec![TopicIdPartition { topic_id, partition }];
            Command::GiveUpCopies { broker_id, broker_epoch: epoch(broker_id), copies }
        }
        Act::ProducerIds(broker_id) => {
            Command::AllocateProducerIds { broker_id, broker_epoch: epoch(broker_id) }
        }
        Act::DeleteById(name) => {
            let id = stage.image.topic(&name).map(|topic| topic.id).unwrap_or_default();
            Command::DeleteTopics { topics: vec![TopicRef { name: None, id }] }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The stage checks the invariants, the snapshot, the log and the bytes after each command.
    #[test]
    fn any_commands_leave_the_image_sound(acts in prop::collection::vec(act(), 0..40)) {
        let mut stage = Stage::new();
        for act in acts {
            let command = command(&stage, act);
            stage.run(command);
        }
    }

    #[test]
    fn a_batch_is_its_commands_one_after_another(acts in prop::collection::vec(act(), 0..12)) {
        let stage = Stage::new();
        let commands: Vec<Command> =
            acts.into_iter().map(|act| command(&stage, act)).collect();
        let cx = jocko_metadata::DecideContext {
            now: Timestamp::from_millis(0),
            seed: [1, 2, 3, 4],
            settings: &stage.settings,
        };
        let (records, replies) = decide_batch(&stage.image, &cx, commands.clone());
        prop_assert_eq!(replies.len(), commands.len());
        let mut image = stage.image.clone();
        image.apply_all(&records);
        prop_assert_eq!(image.check_invariants(), Ok(()));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = decode_entry(&bytes);
    }

    /// Damage to real entries reaches deeper than noise does.
    #[test]
    fn no_damage_panics(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut stage = Stage::new();
        let registration = BrokerRegistration {
            broker_id: None,
            cluster_id: None,
            incarnation: Uuid::from_bytes([1; 16]),
            directory: Uuid::from_bytes([2; 16]),
            endpoints: Vec::new(),
            rack: Some("east".to_owned()),
            release: "0.1.0".to_owned(),
            kept_page_cache: true,
            is_claimed: false,
        };
        stage.run(Command::RegisterBroker(registration));
        let mut bytes = encode_entry(&stage.image.records());
        let position = at.index(bytes.len());
        bytes[position] = byte;
        let _ = decode_entry(&bytes);
        let _ = decode_entry(&bytes[..cut.index(bytes.len())]);
    }
}
