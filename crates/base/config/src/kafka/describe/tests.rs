use super::*;
use crate::kafka::NO_CONFIGS;
use crate::load::{Layers, LoadedSettings, load};
use jocko_types::BrokerId;
use std::collections::BTreeMap;

/// What a real Kafka 4.3.1 answers.
const FACTS: &str = include_str!("../../../../../../schema/kafka/configs-4.3.1.csv");

/// The fields of one line of CSV.
fn fields(line: &str) -> Vec<String> {
    let (mut list, mut field, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => list.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    list.push(field);
    list
}

/// The facts of one scope, by name, each as one line without the scope.
fn facts(scope: &str) -> BTreeMap<String, Vec<String>> {
    let rows = FACTS.lines().map(fields).filter(|row| row[0] == scope);
    rows.map(|row| (row[1].clone(), row[1..].to_vec())).collect()
}

/// A row in the form of the facts.
fn as_fact(row: &Row) -> Vec<String> {
    let synonyms: Vec<String> =
        row.synonyms.iter().map(|one| format!("{}@{}", one.name, one.source.name())).collect();
    vec![
        row.name.clone(),
        row.kind.name().to_owned(),
        row.value.clone().unwrap_or_else(|| "<null>".to_owned()),
        row.source.name().to_owned(),
        row.read_only.to_string(),
        row.sensitive.to_string(),
        synonyms.join(" "),
    ]
}

fn min_isr() -> ConfigMap {
    ConfigMap::from([("min.insync.replicas".to_owned(), "1".to_owned())])
}

fn broker_facts() -> BrokerFacts {
    BrokerFacts {
        node_id: BrokerId::new(1),
        listeners: "PLAINTEXT://localhost:19192,CONTROLLER://localhost:19193".to_owned(),
        advertised_listeners: "PLAINTEXT://localhost:19192".to_owned(),
        log_dirs: "DATA_DIR".to_owned(),
        threads: 2,
        default_replication_factor: 1,
        offsets_replication_factor: 1,
    }
}

#[test]
fn a_topic_is_described_as_kafka_does() {
    let settings = LoadedSettings::default();
    let cluster = min_isr();
    let layers = BrokerLayers { cluster: &cluster, ..BrokerLayers::of_settings(&settings) };
    let rows = describe_topic(&NO_CONFIGS, &layers, None);
    let facts = facts("topic");
    for (name, fact) in &facts {
        let row = rows.iter().find(|row| row.name == *name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(as_fact(row), *fact);
        assert!(!row.documentation.is_empty());
    }
    let ours: Vec<&str> = rows
        .iter()
        .map(|row| row.name.as_str())
        .filter(|name| !facts.contains_key(*name))
        .collect();
    assert_eq!(
        ours,
        ["jocko.retention.percent", "jocko.retention.topic.bytes", "jocko.storage.durability"]
    );
}

#[test]
fn a_broker_is_described_as_kafka_does_but_for_what_differs_in_truth() {
    let settings = LoadedSettings::default();
    let cluster = min_isr();
    let layers = BrokerLayers { cluster: &cluster, ..BrokerLayers::of_settings(&settings) };
    let rows = describe_broker(&broker_facts(), &layers, None);
    assert!(rows.is_sorted_by(|left, right| left.name < right.name));
    let facts = facts("broker");
    let mut differing = Vec::new();
    for row in &rows {
        assert!(!row.documentation.is_empty(), "{}", row.name);
        let Some(fact) = facts.get(&row.name) else {
            differing.push(format!("{} only here", row.name));
            continue;
        };
        let ours = as_fact(row);
        for (index, what) in
            ["type", "value", "source", "read_only", "sensitive"].iter().enumerate()
        {
            if ours[index + 1] != fact[index + 1] {
                differing.push(format!("{} {what} {}", row.name, ours[index + 1]));
            }
        }
    }
    // Settings of the real broker's own file, threads, what jocko bounds and what it has not.
    assert_eq!(
        differing,
        [
            "group.initial.rebalance.delay.ms source DEFAULT_CONFIG",
            "inter.broker.protocol.version only here",
            "jocko.retention.percent only here",
            "jocko.retention.topic.bytes only here",
            "jocko.storage.durability only here",
            "listener.security.protocol.map read_only true",
            "listeners read_only true",
            "log.dir value DATA_DIR",
            "max.connections value 20000",
            "num.io.threads value 2",
            "num.io.threads read_only true",
            "num.network.threads value 2",
            "num.network.threads read_only true",
            "offsets.topic.replication.factor source DEFAULT_CONFIG",
            "sasl.enabled.mechanisms value ",
            "sasl.enabled.mechanisms read_only true",
            "ssl.client.auth read_only true",
            "transaction.partition.verification.enable read_only true",
            "transaction.state.log.min.isr source DEFAULT_CONFIG",
            "transaction.state.log.replication.factor source DEFAULT_CONFIG",
        ]
    );
}

#[test]
fn sources_and_synonyms_follow_the_layers() {
    let env = [("JOCKO_TOPICS_RETENTION".to_owned(), "1d".to_owned())];
    let settings = load(&Layers { env: &env, ..Layers::default() }).expect("valid");
    let one = |name: &str, value: &str| ConfigMap::from([(name.to_owned(), value.to_owned())]);
    let (topic, broker, cluster) =
        (one("retention.ms", " 77 "), one("log.retention.ms", "2"), one("log.retention.ms", "3"));
    let layers = BrokerLayers { broker: &broker, cluster: &cluster, settings: &settings };
    let rows = describe_topic(&topic, &layers, Some(&["retention.ms", "nonsense"]));
    let [row] = rows.as_slice() else { panic!("one row") };
    assert_eq!(row.value.as_deref(), Some("77"));
    assert_eq!(
        as_fact(row)[6],
        "retention.ms@DYNAMIC_TOPIC_CONFIG log.retention.ms@DYNAMIC_BROKER_CONFIG \
         log.retention.ms@DYNAMIC_DEFAULT_BROKER_CONFIG log.retention.ms@STATIC_BROKER_CONFIG \
         log.retention.hours@DEFAULT_CONFIG"
    );
    let values: Vec<_> =
        row.synonyms.iter().map(|one| one.value.as_deref().unwrap_or_default()).collect();
    assert_eq!(values, ["77", "2", "3", "86400000", "168"]);
    let rows = describe_broker(&broker_facts(), &layers, Some(&["log.retention.ms"]));
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].value.as_deref(), Some("2"));
    let rows = describe_cluster_defaults(&cluster, None);
    assert_eq!(
        as_fact(&rows[0])[..4],
        ["log.retention.ms", "LONG", "3", "DYNAMIC_DEFAULT_BROKER_CONFIG"]
    );
}

#[test]
fn hidden_configs_show_only_where_they_are_set() {
    let settings = LoadedSettings::default();
    let layers = BrokerLayers::of_settings(&settings);
    let shown = |topic: &ConfigMap| {
        describe_topic(topic, &layers, None).iter().any(|row| row.name == "internal.segment.bytes")
    };
    assert!(!shown(&NO_CONFIGS));
    assert!(shown(&ConfigMap::from([("internal.segment.bytes".to_owned(), "4096".to_owned())])));
}

#[test]
fn a_group_is_described_as_kafka_does() {
    let settings = LoadedSettings::default();
    let layers = BrokerLayers::of_settings(&settings);
    let rows = describe_group(&NO_CONFIGS, &layers, None);
    let ours: Vec<_> = rows.iter().map(as_fact).collect();
    let theirs: Vec<_> = facts("group").into_values().collect();
    assert_eq!(ours, theirs);
    let set = ConfigMap::from([("consumer.session.timeout.ms".to_owned(), " 50000 ".to_owned())]);
    let rows = describe_group(&set, &layers, Some(&["consumer.session.timeout.ms", "nonsense"]));
    assert_eq!(rows.len(), 1);
    assert_eq!(
        as_fact(&rows[0])[2..],
        [
            "50000",
            "GROUP_CONFIG",
            "false",
            "false",
            "consumer.session.timeout.ms@GROUP_CONFIG \
             group.consumer.session.timeout.ms@DEFAULT_CONFIG"
        ]
    );
}
