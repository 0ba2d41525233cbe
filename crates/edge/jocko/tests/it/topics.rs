//! Creating, listing, describing and deleting topics.

use crate::harness::{Broker, DEADLINE, numbers};
use jocko_testkit::wait_until;

#[test]
fn topics_live_and_die() {
    let broker = Broker::start();
    assert_eq!(broker.ok(&["topic", "list"]), "no topics\n");
    let created = broker.ok(&["topic", "create", "orders", "-p", "3", "--retention", "2d"]);
    assert!(created.starts_with("created orders  partitions 3  replication 1"), "{created}");
    broker.run(&["topic", "create", "orders"]).fails(1, &["already exists", "--if-not-exists"]);
    broker.ok(&["topic", "create", "orders", "--if-not-exists"]);

    let listed = broker.ok(&["topic", "list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let words: Vec<&str> = listed.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(words, ["orders", "3", "1"]);
    let listed = broker.json(&["topic", "list"]);
    assert_eq!(listed[0]["topic"], "orders");
    assert_eq!(listed[0]["partitions"], 3);

    let described = broker.ok(&["topic", "describe", "orders"]);
    assert!(described.contains("retention.ms = 172800000"), "{described}");
    assert_eq!(described.lines().count(), 6, "{described}");
    let described = broker.json(&["topic", "describe", "orders"]);
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(described["configs"]["retention.ms"], "172800000");
    assert_eq!(described["id"], listed[0]["id"]);

    assert_eq!(broker.ok(&["topic", "delete", "orders", "--dry-run"]), "would delete orders\n");
    assert_eq!(broker.ok(&["topic", "delete", "orders", "--yes"]), "deleted orders\n");
    assert_eq!(broker.ok(&["topic", "list"]), "no topics\n");
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let broker = Broker::start();
    let create = |arguments: &[&str]| {
        let mut all = vec!["topic", "create"];
        all.extend(arguments);
        broker.run(&all)
    };
    create(&["a/b"]).fails(1, &["a/b"]);
    create(&["x", "--set", "retention.sm=3"]).fails(1, &["retention.sm", "retention.ms"]);
    create(&["x", "--set", "retention.ms=abc"]).fails(1, &["retention.ms", "abc"]);
    create(&["x", "-r", "3"]).fails(1, &["3", "1 broker"]);
    let dry = create(&["x", "--dry-run"]).ok();
    assert!(dry.starts_with("would create x"), "{dry}");
    assert_eq!(broker.ok(&["topic", "list"]), "no topics\n");
    broker.run(&["topic", "describe", "nope"]).fails(1, &["\"nope\"", "jocko topic create nope"]);
    broker.run(&["topic", "delete", "nope", "-y"]).fails(1, &["\"nope\"", "jocko topic list"]);
}

#[test]
fn a_topic_made_anew_is_another_topic() {
    let broker = Broker::start();
    let first = broker.json(&["topic", "create", "t"])["id"].clone();
    broker.produce(&["t"], "old\n");
    broker.ok(&["topic", "delete", "t", "-y"]);
    broker.run(&["consume", "t", "-e"]).fails(1, &["\"t\""]);
    let second = broker.json(&["topic", "create", "t"])["id"].clone();
    assert_ne!(first, second);
    assert_eq!(broker.json(&["topic", "describe", "t"])["partitions"][0]["end"], 0);
    broker.produce(&["t"], "new\n");
    assert_eq!(broker.values("t"), ["new"]);
    let broker = broker.kill_and_start();
    assert_eq!(broker.values("t"), ["new"], "nor does a crash bring it back");
}

#[test]
fn asking_for_a_topic_makes_it_unless_told_otherwise() {
    let broker = Broker::with(&["--topics-partitions", "2"]);
    broker.produce(&["auto"], "a\n");
    assert_eq!(broker.json(&["topic", "list"])[0]["partitions"], 2);
    broker.run(&["consume", "other", "-e"]).fails(1, &["jocko topic create other"]);
    assert_eq!(broker.json(&["topic", "list"]).as_array().unwrap().len(), 1, "reading makes none");

    let broker = broker.stop_and_start(&["--topics-auto-create", "false"]);
    broker.try_produce(&["another"], "a\n").fails(1, &["jocko topic create another"]);
    assert_eq!(broker.json(&["topic", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_hundred_partitions_take_and_keep_records() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "wide", "-p", "100"]);
    let lines: String = (0..300).map(|number| format!("k{number}:{number}\n")).collect();
    broker.produce(&["wide", "-K", ":"], &lines);
    let check = |broker: &Broker| {
        let mut values: Vec<u32> =
            broker.values("wide").iter().map(|value| value.parse().unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, (0..300).collect::<Vec<_>>());
    };
    check(&broker);
    let described = broker.json(&["topic", "describe", "wide"]);
    let partitions = described["partitions"].as_array().unwrap();
    let used = partitions.iter().filter(|partition| partition["end"] != 0).count();
    assert!(partitions.len() == 100 && used > 50, "keys spread: {used}");
    let broker = broker.stop_and_start(&[]);
    check(&broker);
    broker.produce(&["wide", "-p", "99"], &numbers(0..10));
}

#[test]
fn the_limit_that_makes_records_go_is_told() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t", "-p", "1"]);
    let retention = || broker.json(&["topic", "describe", "t"])["retention"].clone();
    assert_eq!(retention(), serde_json::json!({ "limit": "none", "ageMs": 604_800_000 }));
    assert!(!broker.ok(&["topic", "describe", "t"]).contains("nearest limit"));
    broker.ok(&["topic", "alter", "t", "--set", "jocko.retention.topic.bytes=1048576"]);
    let line = format!("{}\n", "x".repeat(50_000));
    broker.produce(&["t"], &line.repeat(10));
    let told = retention();
    assert_eq!(told["limit"], "jocko.retention.topic.bytes");
    assert_eq!((&told["limitBytes"], &told["cuts"]), (&1_048_576.into(), &false.into()));
    assert!(told["heldBytes"].as_i64() > Some(500_000), "{told}");
    for _ in 0..4 {
        broker.produce(&["t"], &line.repeat(10));
    }
    // It was filled more than twice over.
    wait_until(DEADLINE, || {
        let partition = &broker.json(&["topic", "describe", "t"])["partitions"][0];
        Ok(partition["start"].as_i64() > Some(0))
    })
    .unwrap();
    let shown = broker.ok(&["topic", "describe", "t"]);
    assert!(shown.contains("nearest limit jocko.retention.topic.bytes: "), "{shown}");
    let all = broker.json(&["config", "show", "--topic", "t", "--all"]);
    assert!(all.get("jocko.retention.applies").is_none(), "only who asks by name is told");
}
