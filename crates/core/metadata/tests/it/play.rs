//! Plays: `testdata/*.txt`. A command a line, dashes, and all that comes of it. `UPDATE_EXPECT=1
//! cargo test -p jocko-metadata` writes what came of it into the file.
//!
//! ```text
//! register disk=A [id=N] [rack=R] [start=N] [dirty] [claimed]  let a broker in (start: the n-th
//!     start of it; dirty: what it had not synced may be gone; claimed: the disk says it is broker N)
//! join DISK...                                register and unfence, without output
//! heartbeat ID [fence] [shutdown] [epoch=N]   a broker is there
//! disk ID good|short|full|slow|failed [epoch=N]   a broker's disk is well, or not
//! give-up ID TOPIC-PARTITION... [epoch=N]     its copies are damaged
//! fence ID [epoch=N] | unregister ID          a broker is gone
//! isr LEADER TOPIC-PARTITION BROKER[@EPOCH],... [leader-epoch=N] [change=N] [epoch=N]   other in-sync sets
//! move TOPIC-PARTITION 1,2|cancel [/ ...] [same-size]    reassign
//! raise N                                     give N auto partitions more replicas
//! create TOPIC [partitions=N] [replication=N] [assign=0:1,2;1:2,1] [CONFIG=VALUE]... [/ TOPIC...] [validate]
//! delete TOPIC|id:TOPIC|id:UUID...            by name or id
//! grow TOPIC N [assign=1,2;2,1] [/ ...]       more partitions
//! elect preferred|unclean all | TOPIC-PARTITION...
//! feature NAME LEVEL [up|safe|unsafe] [/ ...] [validate]
//! alter topic|broker|group NAME [set|append|subtract C=V] [delete C]... [validate] [replace]
//! producer-ids ID [epoch=N]
//! setting KEY VALUE                           a setting of the deciding broker
//! topics | brokers | configs | changes        what there is, and what the last command changed
//! ```
//! In names, `''` is the empty one.

use crate::copies;
use crate::stage::{CLUSTER, Stage};
use jocko_metadata::{
    Answer, BrokerRegistration, BrokerState, ClusterDelta, Command, ConfigChange, ConfigOp,
    DiskTrouble, DiskTroubleKind, Election, Endpoint, FeatureDirection, FeatureUpdate,
    InSyncReplica, IsrChange, MetadataRecord, NewPartitions, NewTopic, Partition, Reassignment,
    ReplicaAssignment, Replication, Reply, TopicRef,
};
use jocko_types::{
    BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, Uuid,
};
use std::fmt::Write;

#[test]
fn plays() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of plays")
        .map(|entry| entry.expect("a play").path())
        .collect();
    paths.sort();
    let mut differing = Vec::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).expect("a play is text");
        let played = play(&script);
        if played == script {
            continue;
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, played).expect("the play can be written");
        } else {
            differing.push(format!("{}\n{played}", path.display()));
        }
    }
    assert!(differing.is_empty(), "plays went otherwise:\n{}", differing.join("\n"));
}

/// Plays a script and gives it back with what came of each scene.
fn play(script: &str) -> String {
    let mut stage = Stage::new();
    let mut text = String::new();
    for scene in script.split("\n\n") {
        let scene = scene.trim_matches('\n');
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let commands = scene.split("\n----").next().unwrap_or_default();
        text.push_str(commands);
        let lines = commands.lines().filter(|line| !line.starts_with('#'));
        let mut came: String = lines.clone().map(|line| perform(&mut stage, line)).collect();
        if lines.count() == 0 {
            continue;
        }
        if came.is_empty() {
            came.push_str("nothing\n");
        }
        let _ = write!(text, "\n----\n{}", came.trim_end());
    }
    text.push('\n');
    text
}

fn perform(stage: &mut Stage, line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let verb = words.remove(0);
    let command = match verb {
        "setting" => {
            stage.set(words[0], words[1]);
            return String::new();
        }
        "join" => {
            words.iter().for_each(|disk| join(stage, disk));
            return String::new();
        }
        "topics" => return topics(stage),
        "brokers" => return brokers(stage),
        "configs" => return configs(stage),
        "changes" => return changes(stage),
        "register" => Command::RegisterBroker(registration(&words)),
        "heartbeat" => Command::BrokerHeartbeat {
            broker_id: broker_id(words[0]),
            broker_epoch: epoch(stage, &words),
            want_fence: words.contains(&"fence"),
            want_shutdown: words.contains(&"shutdown"),
        },
        "disk" => report_disk(stage, &words),
        "give-up" => copies::give_up(stage, &words),
        "fence" => Command::FenceBroker {
            broker_id: broker_id(words[0]),
            broker_epoch: value(&words, "epoch").map(|_| epoch(stage, &words)),
        },
        "isr" => alter_partition(stage, &words),
        "move" => Command::AlterPartitionReassignments {
            allow_replication_factor_change: !take_flag(&mut words, "same-size"),
            partitions: words.split(|word| *word == "/").map(reassignment).collect(),
        },
        "raise" => {
            Command::RaiseReplication { partitions_max: words[0].parse().expect("a number") }
        }
        "unregister" => Command::UnregisterBroker { broker_id: broker_id(words[0]) },
        "producer-ids" => Command::AllocateProducerIds {
            broker_id: broker_id(words[0]),
            broker_epoch: epoch(stage, &words),
        },
        "create" => Command::CreateTopics {
            validate_only: take_flag(&mut words, "validate"),
            topics: words.split(|word| *word == "/").map(new_topic).collect(),
        },
        "delete" => Command::DeleteTopics {
            topics: words.iter().map(|word| topic_ref(stage, word)).collect(),
        },
        "grow" => Command::CreatePartitions {
            validate_only: take_flag(&mut words, "validate"),
            topics: words.split(|word| *word == "/").map(new_partitions).collect(),
        },
        "alter" => Command::AlterConfigs {
            validate_only: take_flag(&mut words, "validate"),
            resources: words.split(|word| *word == "/").map(config_change).collect(),
        },
        "elect" => elect(&mut words),
        "feature" => Command::UpdateFeatures {
            validate_only: take_flag(&mut words, "validate"),
            updates: words.split(|word| *word == "/").map(feature_update).collect(),
        },
        other => panic!("no such command: {other}"),
    };
    let decision = stage.run(command);
    let mut text = said(&decision.reply);
    for record in &decision.records {
        let _ = writeln!(text, "+ {}", fact(stage, record));
    }
    text
}

fn elect(words: &mut Vec<&str>) -> Command {
    let election = match words.remove(0) {
        "preferred" => Election::Preferred,
        "unclean" => Election::Unclean,
        other => panic!("no such election: {other}"),
    };
    let partitions = (*words != ["all"]).then(|| words.iter().map(|w| partition(w)).collect());
    Command::ElectLeaders { election, partitions }
}

fn take_flag(words: &mut Vec<&str>, flag: &str) -> bool {
    let before = words.len();
    words.retain(|word| *word != flag);
    words.len() < before
}

fn name(word: &str) -> String {
    if word == "''" { String::new() } else { word.to_owned() }
}

fn value<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

pub(crate) fn broker_id(word: &str) -> BrokerId {
    BrokerId::new(word.parse().expect("a broker's number"))
}

fn broker_list(list: &str) -> Vec<BrokerId> {
    list.split(',').filter(|word| !word.is_empty()).map(broker_id).collect()
}

pub(crate) fn epoch(stage: &Stage, words: &[&str]) -> BrokerEpoch {
    let known = stage.image.broker(broker_id(words[0])).map(|broker| broker.epoch());
    match value(words, "epoch") {
        Some(epoch) => BrokerEpoch::new(epoch.parse().expect("an epoch")),
        None => known.unwrap_or_default(),
    }
}

fn disk(word: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(word.bytes()).for_each(|(to, from)| *to = from);
    Uuid::from_bytes(bytes)
}

fn report_disk(stage: &Stage, words: &[&str]) -> Command {
    let kind = match words[1] {
        "good" => None,
        "short" => Some(DiskTroubleKind::Short),
        "full" => Some(DiskTroubleKind::Full),
        "slow" => Some(DiskTroubleKind::Slow),
        "failed" => Some(DiskTroubleKind::Failed),
        other => panic!("no such trouble: {other}"),
    };
    Command::ReportDisk {
        broker_id: broker_id(words[0]),
        broker_epoch: epoch(stage, words),
        trouble: kind.map(|kind| DiskTrouble { kind, words: "as told".to_owned() }),
    }
}

fn registration(words: &[&str]) -> BrokerRegistration {
    let directory = disk(value(words, "disk").expect("a disk"));
    let start = value(words, "start").map_or(1, |start| start.parse().expect("a number"));
    let mut incarnation = *directory.as_bytes();
    incarnation[15] = start;
    BrokerRegistration {
        broker_id: value(words, "id").map(broker_id),
        cluster_id: match value(words, "cluster") {
            Some("other") => Some(disk("other")),
            _ => Some(CLUSTER),
        },
        incarnation: Uuid::from_bytes(incarnation),
        directory,
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: "localhost".to_owned(),
            port: 9092,
        }],
        rack: value(words, "rack").map(str::to_owned),
        release: "0.1.0".to_owned(),
        kept_page_cache: !words.contains(&"dirty"),
        is_claimed: words.contains(&"claimed"),
    }
}

fn alter_partition(stage: &Stage, words: &[&str]) -> Command {
    let (name, partition) = partition(words[1]);
    let topic = stage.image.topic(&name).expect("a topic");
    let state = &topic.partitions[&partition];
    let number =
        |key, known: i32| value(words, key).map_or(known, |n| n.parse().expect("a number"));
    let member = |word: &str| {
        let (id, epoch) =
            word.split_once('@').map_or((word, None), |(id, epoch)| (id, Some(epoch)));
        let id = broker_id(id);
        let known = stage.image.broker(id).map(|broker| broker.epoch());
        let broker_epoch = match epoch {
            None => known,
            Some("?") => None,
            Some(epoch) => Some(BrokerEpoch::new(epoch.parse().expect("an epoch"))),
        };
        InSyncReplica { broker_id: id, broker_epoch }
    };
    let change = IsrChange {
        topic_id: topic.id,
        partition,
        leader_epoch: LeaderEpoch::new(number("leader-epoch", state.leader_epoch.get())),
        partition_epoch: PartitionEpoch::new(number("change", state.partition_epoch.get())),
        isr: words[2].split(',').map(member).collect(),
    };
    Command::AlterPartition {
        broker_id: broker_id(words[0]),
        broker_epoch: epoch(stage, words),
        partitions: vec![change],
    }
}

fn reassignment(words: &[&str]) -> Reassignment {
    let (topic, partition) = partition(words[0]);
    let replicas = (words[1] != "cancel").then(|| broker_list(words[1]));
    Reassignment { topic, partition, replicas }
}

fn join(stage: &mut Stage, word: &str) {
    let (disk, rack) = word.split_once('@').map_or((word, None), |(d, r)| (d, Some(r)));
    let disk = format!("disk={disk}");
    let rack = rack.map(|rack| format!("rack={rack}"));
    let words: Vec<&str> = std::iter::once(disk.as_str()).chain(rack.as_deref()).collect();
    let reply = stage.run(Command::RegisterBroker(registration(&words))).reply;
    let Reply::RegisterBroker(Ok(registered)) = reply else { panic!("refused: {reply:?}") };
    stage.run(Command::BrokerHeartbeat {
        broker_id: registered.broker_id,
        broker_epoch: registered.broker_epoch,
        want_fence: false,
        want_shutdown: false,
    });
}

fn new_topic(words: &[&str]) -> NewTopic {
    let number = |key| value(words, key).map(|text| text.parse().expect("a number"));
    let assignment = |one: &str| {
        let (partition, brokers) = one.split_once(':').expect("partition:brokers");
        ReplicaAssignment {
            partition: PartitionIndex::new(partition.parse().expect("a number")),
            brokers: broker_list(brokers),
        }
    };
    let assignments: Vec<_> = value(words, "assign")
        .map(|all| all.split(';').map(assignment).collect())
        .unwrap_or_default();
    let config = |word: &&&str| word.contains('=') && word.contains('.');
    let pair = |word: &&str| {
        let (name, value) = word.split_once('=').expect("config=value");
        (name.to_owned(), (value != "null").then(|| value.to_owned()))
    };
    NewTopic {
        name: name(words[0]),
        partitions: number("partitions").unwrap_or(-1),
        replication_factor: i16::try_from(number("replication").unwrap_or(-1)).expect("16 bits"),
        assignments,
        configs: words.iter().skip(1).filter(config).map(pair).collect(),
    }
}

fn topic_ref(stage: &Stage, word: &str) -> TopicRef {
    let Some(id) = word.strip_prefix("id:") else {
        return TopicRef { name: Some(name(word)), id: TopicId::ZERO };
    };
    let known = stage.image.topic(id).map(|topic| topic.id);
    TopicRef { name: None, id: known.unwrap_or_else(|| id.parse().expect("an id")) }
}

fn new_partitions(words: &[&str]) -> NewPartitions {
    NewPartitions {
        name: name(words[0]),
        count: words[1].parse().expect("a number"),
        assignments: value(words, "assign").map(|all| all.split(';').map(broker_list).collect()),
    }
}

pub(crate) fn partition(word: &str) -> (String, PartitionIndex) {
    let (topic, partition) = word.rsplit_once('-').expect("topic-partition");
    (topic.to_owned(), PartitionIndex::new(partition.parse().expect("a number")))
}

fn feature_update(words: &[&str]) -> FeatureUpdate {
    let direction = match words.get(2) {
        None | Some(&"up") => FeatureDirection::Upgrade,
        Some(&"safe") => FeatureDirection::SafeDowngrade,
        Some(&"unsafe") => FeatureDirection::UnsafeDowngrade,
        Some(other) => FeatureDirection::Unknown(other.parse().expect("a number")),
    };
    let level = words[1].parse().expect("a level");
    FeatureUpdate { name: name(words[0]), level, direction }
}

fn config_change(words: &[&str]) -> ConfigChange {
    let mut ops = Vec::new();
    let mut rest = words.iter().skip(2);
    while let Some(verb) = rest.next() {
        if *verb == "replace" {
            continue;
        }
        let word = rest.next().expect("a config");
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let value = (value != "null").then(|| value.to_owned());
        let op = match *verb {
            "set" => ConfigOp::Set(value),
            "append" => ConfigOp::Append(value),
            "subtract" => ConfigOp::Subtract(value),
            "delete" => ConfigOp::Delete,
            other => panic!("no such change: {other}"),
        };
        ops.push((name.to_owned(), op));
    }
    let resource_type = match words[0] {
        "topic" => 2,
        "broker" => 4,
        "group" => 32,
        other => other.parse().expect("a resource type"),
    };
    let replace = words.contains(&"replace");
    ConfigChange { resource_type, resource_name: name(words[1]), ops, replace }
}

/// An answer, as one line.
pub(crate) fn line<T>(what: &str, answer: &Answer<T>, ok: impl FnOnce(&T) -> String) -> String {
    match answer {
        Ok(value) => format!("{what}: {}\n", ok(value)),
        Err(refusal) => format!("{what}: {} {}\n", refusal.code, refusal.message),
    }
}

fn said(reply: &Reply) -> String {
    match reply {
        Reply::CreateTopics(topics) => topics
            .iter()
            .map(|(name, answer)| {
                line(name, answer, |topic| {
                    let copies = topic.replication_factor;
                    format!("created with {} partition(s), {copies} replica(s)", topic.partitions)
                })
            })
            .collect(),
        Reply::DeleteTopics(topics) => topics
            .iter()
            .map(|(topic, answer)| {
                let what = topic.name.clone().unwrap_or_else(|| "id".to_owned());
                line(&what, answer, |topic| format!("deleted {}", topic.name))
            })
            .collect(),
        Reply::CreatePartitions(topics) => topics
            .iter()
            .map(|(name, answer)| line(name, answer, |()| "grown".to_owned()))
            .collect(),
        Reply::AlterConfigs(resources) => resources
            .iter()
            .map(|altered| {
                let what = format!("{} {}", altered.resource_type, altered.resource_name);
                line(&what, &altered.answer, |resource| format!("altered {resource}"))
            })
            .collect(),
        Reply::ElectLeaders(partitions) => partitions
            .iter()
            .map(|(topic, partition, answer)| {
                line(&format!("{topic}-{partition}"), answer, |()| "elected".to_owned())
            })
            .collect(),
        Reply::UpdateFeatures(answer) => {
            line("features", answer, |names| format!("updated {}", names.join(", ")))
        }
        Reply::AllocateProducerIds(answer) => {
            line("producer ids", answer, |block| format!("{} from {}", block.count, block.first))
        }
        Reply::RegisterBroker(answer) => line("register", answer, |broker| {
            format!("broker {} epoch {}", broker.broker_id, broker.broker_epoch)
        }),
        Reply::BrokerHeartbeat(answer) => line("heartbeat", answer, |state| {
            let stands = if state.is_fenced { "fenced" } else { "live" };
            if state.may_shut_down { format!("{stands}, may stop") } else { stands.to_owned() }
        }),
        Reply::ReportDisk(answer) => line("disk", answer, |()| "noted".to_owned()),
        Reply::GiveUpCopies(answer) => copies::given_up(answer),
        Reply::FenceBroker(answer) => line("fence", answer, |()| "done".to_owned()),
        Reply::UnregisterBroker(answer) => line("unregister", answer, |()| "done".to_owned()),
        Reply::AlterPartition(Ok(partitions)) => partitions
            .iter()
            .map(|answer| line("isr", answer, |altered| format!("now {}", ids(&altered.isr))))
            .collect(),
        Reply::AlterPartition(Err(refusal)) => {
            format!("isr: {} {}\n", refusal.code, refusal.message)
        }
        Reply::AlterPartitionReassignments(partitions) => partitions
            .iter()
            .map(|(topic, partition, answer)| {
                line(&format!("{topic}-{partition}"), answer, |()| "on its way".to_owned())
            })
            .collect(),
        Reply::RaiseReplication(answer) => line("raise", answer, |raised| {
            let more = if raised.is_more { ", more to come" } else { "" };
            format!("{} partition(s){more}", raised.partitions)
        }),
    }
}

/// The name of a topic, also of one that the last command deleted.
fn topic_name(stage: &Stage, id: TopicId) -> String {
    let topic = stage.image.topic_by_id(id).or_else(|| stage.before.topic_by_id(id));
    topic.map_or_else(|| "?".to_owned(), |topic| topic.name.to_string())
}

fn ids(list: &[BrokerId]) -> String {
    list.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}

fn state(state: &Partition) -> String {
    let leader = state.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    let mut text = format!("replicas {} isr {}", ids(&state.replicas), ids(&state.isr));
    let others = [("elr", &state.elr), ("adding", &state.adding), ("removing", &state.removing)];
    for (what, list) in others.into_iter().filter(|(_, list)| !list.is_empty()) {
        let _ = write!(text, " {what} {}", ids(list));
    }
    let (leader_epoch, partition_epoch) = (state.leader_epoch, state.partition_epoch);
    let _ = write!(text, " leader {leader} epoch {leader_epoch} change {partition_epoch}");
    text
}

fn fact(stage: &Stage, record: &MetadataRecord) -> String {
    match record {
        MetadataRecord::Cluster { .. } => "cluster".to_owned(),
        MetadataRecord::FeatureLevel { name, level } => format!("feature {name} {level}"),
        MetadataRecord::RegisterBroker(registration) => {
            let rack = registration.rack.as_deref().unwrap_or("none");
            let epoch = registration.broker_epoch;
            format!("register broker {} epoch {epoch} rack {rack}", registration.broker_id)
        }
        MetadataRecord::FenceBroker { broker_id, .. } => format!("fence {broker_id}"),
        MetadataRecord::UnfenceBroker { broker_id, .. } => format!("unfence {broker_id}"),
        MetadataRecord::BrokerDisk { broker_id, trouble: Some(trouble), .. } => {
            format!("broker {broker_id}: {trouble}")
        }
        MetadataRecord::BrokerDisk { broker_id, trouble: None, .. } => {
            format!("broker {broker_id}: disk good")
        }
        MetadataRecord::RetireBroker { broker_id, .. } => format!("retire {broker_id}"),
        MetadataRecord::UnregisterBroker { broker_id, .. } => format!("unregister {broker_id}"),
        MetadataRecord::Topic { name, replication, .. } => match replication {
            Replication::Auto => format!("topic {name} replication auto"),
            Replication::Fixed(copies) => format!("topic {name} replication {copies}"),
        },
        MetadataRecord::Partition { topic_id, partition, state: now } => {
            format!("partition {}-{partition} {}", topic_name(stage, *topic_id), state(now))
        }
        MetadataRecord::RemoveTopic { topic_id } => {
            format!("remove topic {}", topic_name(stage, *topic_id))
        }
        MetadataRecord::Config { resource, name, value } => match value {
            Some(value) => format!("config of {resource}: {name} = {value}"),
            None => format!("config of {resource}: {name} removed"),
        },
        MetadataRecord::BrokerIds { last } => format!("no number up to {last} is given out"),
        MetadataRecord::ProducerIds { next } => format!("next producer id {next}"),
    }
}

fn topics(stage: &Stage) -> String {
    let mut text = String::new();
    for topic in stage.image.topics() {
        for (partition, now) in &topic.partitions {
            let _ = writeln!(text, "{}-{partition} {}", topic.name, state(now));
        }
    }
    text
}

fn brokers(stage: &Stage) -> String {
    let mut text = String::new();
    for broker in stage.image.brokers() {
        let state = match broker.state() {
            BrokerState::Live if broker.is_retiring => "retiring",
            BrokerState::Live => "live",
            BrokerState::Fenced => "fenced",
        };
        let disk = broker.disk.as_ref().map_or_else(String::new, |it| format!(", {it}"));
        let _ = writeln!(text, "{} {state} epoch {}{disk}", broker.id(), broker.epoch());
    }
    text
}

fn configs(stage: &Stage) -> String {
    let mut text = String::new();
    for (resource, configs) in stage.image.configured() {
        for (name, value) in configs {
            let _ = writeln!(text, "{resource}: {name} = {value}");
        }
    }
    text
}

fn changes(stage: &Stage) -> String {
    let delta = ClusterDelta::between(&stage.before, &stage.image);
    let mut text = String::new();
    for topic in &delta.created {
        let _ = writeln!(text, "created {}", topic.name);
    }
    for topic in &delta.deleted {
        let _ = writeln!(text, "deleted {}", topic.name);
    }
    for change in &delta.partitions {
        let leader = |state: &Option<std::sync::Arc<Partition>>| match state {
            None => "absent".to_owned(),
            Some(state) => {
                state.leader.map_or_else(|| "leaderless".to_owned(), |id| format!("led by {id}"))
            }
        };
        let (before, after) = (leader(&change.before), leader(&change.after));
        let _ = writeln!(text, "{}-{} {before} -> {after}", change.topic.name, change.partition);
    }
    for broker in &delta.brokers {
        let _ = writeln!(text, "broker {broker}");
    }
    for resource in &delta.configs {
        let _ = writeln!(text, "configs of {resource}");
    }
    text
}
