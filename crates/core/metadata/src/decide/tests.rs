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
    image.apply_all(&bootstrap(Uuid::from_bytes([1; 16]), now));
    let register = Command::RegisterBroker(crate::BrokerRegistration {
        broker_id: None,
        cluster_id: None,
        incarnation: Uuid::from_bytes([2; 16]),
        directory: Uuid::from_bytes([3; 16]),
        endpoints: Vec::new(),
        rack: None,
        release: String::new(),
    });
    let heartbeat = Command::BrokerHeartbeat {
        broker_id: jocko_types::BrokerId::new(1),
        broker_epoch: BrokerEpoch::new(1),
        want_fence: false,
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
    image.apply_all(&bootstrap(Uuid::from_bytes([1; 16]), Timestamp::from_millis(5)));
    assert_eq!(image.cluster_id(), Some(Uuid::from_bytes([1; 16])));
    assert_eq!(image.created(), Timestamp::from_millis(5));
    assert_eq!(image.feature("metadata.version"), METADATA_VERSION);
    let cluster = image.configs(&ConfigResource::Cluster);
    assert_eq!(cluster.get("min.insync.replicas").map(String::as_str), Some("1"));
}
