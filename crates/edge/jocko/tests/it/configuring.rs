//! Settings of a running cluster, and changes of topics, from the command line.

use crate::harness::{Broker, jocko, numbers};

#[test]
fn settings_are_shown_set_and_explained() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t"]);
    let set = |arguments: &[&str]| {
        let mut all = vec!["config", "set"];
        all.extend(arguments);
        broker.run(&all)
    };
    let dry = set(&["retention.ms=5000", "--topic", "t", "--dry-run"]).ok();
    assert_eq!(dry, "would set retention.ms = 5000 (topic t)\n");
    assert!(broker.json(&["config", "show", "--topic", "t"]).get("retention.ms").is_none());
    set(&["retention.ms=5000", "--topic", "t"]).ok();
    set(&["log.retention.ms=7000"]).ok();
    let shown = broker.json(&["config", "show", "--topic", "t"]);
    assert_eq!(shown["retention.ms"]["value"], "5000");
    let explained = broker.json(&["config", "explain", "retention.ms", "--topic", "t"]);
    assert_eq!((&explained["value"], &explained["source"]), (&"5000".into(), &"topic".into()));
    assert_eq!(explained["synonyms"][1]["value"], "7000");
    set(&["--unset", "retention.ms", "--topic", "t"]).ok();
    let explained = broker.json(&["config", "explain", "retention.ms", "--topic", "t"]);
    assert_eq!(explained["value"], "7000");
    set(&["consumer.session.timeout.ms=50000", "--group", "g"]).ok();
    assert!(broker.ok(&["config", "show", "--group", "g"]).contains("50000"));

    set(&[]).fails(2, &["nothing to set", "--topic orders"]);
    set(&["retention.ms=x", "--topic", "t"]).fails(1, &["INVALID_CONFIG", "x", "try:"]);
    set(&["retention.m=1", "--topic", "t"]).fails(1, &["retention.ms", "jocko config show --all"]);
    set(&["log.retention.hours=5"]).fails(1, &["log.retention.hours", "log.*.ms"]);
    set(&["storage.max_disk=1%"]).fails(1, &["storage.max_disk cannot change", "jocko.toml"]);
    set(&["topics.retention_size=1%"]).fails(1, &["by the name jocko.retention.percent"]);
    set(&["jocko.retention.topic.bytes=10", "--topic", "t"])
        .fails(1, &["Invalid value 10", "at least 1048576 or equal to -1", "whole segments"]);
    set(&["--unset", "retention.m", "--topic", "t"]).fails(1, &["no setting \"retention.m\""]);
    for arguments in [&["show", "--topic", "u"][..], &["explain", "retention.ms", "--topic", "u"]] {
        let mut all = vec!["config"];
        all.extend(arguments);
        broker.run(&all).fails(1, &["there is no topic \"u\""]);
    }
    broker.run(&["config", "show", "--broker", "7"]).fails(1, &["no broker 7", "cluster status"]);
}

#[test]
fn settings_of_this_machine_are_explained_to_programs() {
    let explained = jocko(&["config", "explain", "log.retention.hours", "-o", "json"]).ok();
    let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
    assert_eq!(explained["name"], "topics.retention");
    jocko(&["config", "explain", "retention.ms", "-o", "json"])
        .fails(2, &["retention.ms", "jocko config explain retention.ms --topic TOPIC"]);
}

#[test]
fn a_broker_that_starts_asks_no_other() {
    let help = jocko(&["start", "--help"]).ok();
    assert!(!help.contains("--brokers") && !help.contains("--timeout "), "{help}");
    assert!(help.contains("--data-dir"));
    for arguments in [&["start", "-b", "localhost"][..], &["-b", "localhost"]] {
        jocko(arguments).fails(2, &["--brokers", "starts a broker", "jocko cluster status -b"]);
    }
}

#[test]
fn topics_are_altered_grown_and_trimmed() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t", "-p", "2"]);
    broker.produce(&["t", "-p", "0"], &numbers(0..10));
    let topic = |arguments: &[&str]| {
        let mut all = vec!["topic"];
        all.extend(arguments);
        broker.run(&all)
    };
    topic(&["alter", "t", "--retention", "1d", "--dry-run"]).ok();
    assert!(broker.json(&["topic", "describe", "t"])["configs"].get("retention.ms").is_none());
    assert_eq!(broker.json(&["topic", "alter", "t", "--retention", "1d"])["altered"], true);
    assert_eq!(broker.json(&["topic", "describe", "t"])["configs"]["retention.ms"], "86400000");
    topic(&["alter", "t"]).fails(2, &["nothing to alter", "--retention 7d"]);
    topic(&["alter", "u", "--retention", "1d"]).fails(1, &["no topic \"u\""]);
    topic(&["alter", "t", "--unset", "retention"]).fails(1, &["no setting \"retention\""]);

    assert!(topic(&["add-partitions", "t", "--add", "1", "--dry-run"]).ok().contains("would have"));
    assert_eq!(broker.json(&["topic", "add-partitions", "t", "-p", "4"])["partitions"], 4);
    topic(&["add-partitions", "t", "-p", "3"]).fails(1, &["4 partition(s)", "only become more"]);
    topic(&["add-partitions", "t", "--add", "20000"]).fails(1, &["10000 at most"]);
    topic(&["create", "wide", "-p", "20000"]).fails(1, &["10000 at most"]);

    topic(&["trim", "t", "--before", "11"])
        .fails(1, &["reaches offset 11", "at 10", "--before end"]);
    assert!(topic(&["trim", "t", "--before", "4", "--dry-run"]).ok().contains("would trim"));
    let starts = || {
        let described = broker.json(&["topic", "describe", "t"]);
        [0, 1].map(|at| described["partitions"][at]["start"].as_i64().unwrap())
    };
    assert_eq!(starts(), [0, 0]);
    assert_eq!(broker.json(&["topic", "trim", "t", "--before", "4"])["trimmed"], true);
    assert_eq!(starts(), [4, 0], "where there is less, all that is there");
    topic(&["trim", "t", "--before", "-2", "-p", "0"]).ok();
    assert_eq!(starts(), [8, 0]);
    topic(&["trim", "t", "--before", "1:2"]).fails(2, &["range"]);
    topic(&["trim", "t", "--before", "end", "-p", "9"]).fails(1, &["no partition 9"]);
    topic(&["trim", "u", "--before", "end"]).fails(1, &["no topic \"u\""]);
}

#[test]
fn what_brokers_keep_for_themselves_is_not_for_hands() {
    let broker = Broker::start();
    broker.produce(&["t"], "a\n");
    broker.ok(&["consume", "t", "-g", "g", "-o", "start", "-e"]);
    for arguments in [
        &["topic", "delete", "__consumer_offsets", "-y"][..],
        &["topic", "trim", "__consumer_offsets", "--before", "end"],
    ] {
        broker.run(arguments).fails(1, &["is internal", "jocko group delete"]);
    }
}

#[test]
fn misleading_answers_are_seen_through() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "a.b"]);
    broker.run(&["topic", "create", "a_b"]).fails(1, &["collides", "try: another name"]);
    let http = broker.process.http_address().to_string();
    jocko(&["topic", "list", "-b", &http]).fails(1, &["answers in HTTP", "port for Kafka clients"]);
}
