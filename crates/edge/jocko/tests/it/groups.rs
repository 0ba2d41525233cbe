//! Groups as their operators see and move them.

use crate::harness::{Broker, DEADLINE, numbers};
use jocko_testkit::wait_until;

/// A broker with 20 records in two partitions, of which a group has read some.
fn with_group() -> Broker {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t", "-p", "2"]);
    for partition in ["0", "1"] {
        broker.produce(&["t", "-p", partition], &numbers(0..10));
    }
    broker.ok(&["consume", "t", "-g", "readers", "-o", "start", "-e"]);
    broker
}

#[test]
fn a_group_is_listed_with_its_lag_in_records_and_time() {
    let broker = with_group();
    broker.produce(&["t", "-p", "1"], "a\nb\nc\n");
    let listed = broker.json(&["group", "list"]);
    assert_eq!((&listed[0]["group"], &listed[0]["state"]), (&"readers".into(), &"Empty".into()));
    assert_eq!(broker.json(&["group", "list", "--state", "stable"]), serde_json::json!([]));
    broker.run(&["group", "list", "--state", "stabel"]).fails(2, &["stabel", "stable"]);

    let described = broker.json(&["group", "describe", "readers", "--sample", "0s"]);
    assert_eq!((&described["lag"], &described["members"]), (&3.into(), &0.into()));
    assert!(described["timeLagMs"].as_u64().is_some(), "{described}");
    assert_eq!(described["trendPerSecond"], serde_json::Value::Null);
    assert_eq!(described["offsets"][0]["lag"], 0);
    assert_eq!(described["offsets"][1]["committed"], 10);
    let lag = broker.json(&["group", "lag", "--sample", "10ms"]);
    assert_eq!((&lag[0]["lag"], &lag[0]["trendPerSecond"]), (&3.into(), &0.0.into()));
    let shown = broker.ok(&["group", "describe", "readers", "--sample", "0s"]);
    assert!(shown.contains("TIME-LAG") && shown.contains("empty"), "{shown}");

    for command in ["describe", "lag", "delete"] {
        broker.run(&["group", command, "nope"]).fails(1, &["\"nope\"", "jocko group list"]);
    }
    broker.run(&["group", "offset-delete", "nope", "t"]).fails(1, &["\"nope\""]);
    broker.run(&["group", "seek", "nope", "--to", "start"]).fails(1, &["\"nope\""]);
}

#[test]
fn a_group_without_members_is_moved() {
    let broker = with_group();
    let seek = |arguments: &[&str]| {
        let mut all = vec!["group", "seek", "readers"];
        all.extend(arguments);
        broker.run(&all)
    };
    let committed = || {
        let described = broker.json(&["group", "describe", "readers", "--sample", "0s"]);
        [0, 1].map(|at| described["offsets"][at]["committed"].as_i64())
    };
    assert!(seek(&["--to", "3", "--dry-run"]).ok().starts_with("would move\n"));
    assert_eq!(committed(), [Some(10), Some(10)], "nothing was done");
    for (arguments, expect) in [
        (&["--to", "3"][..], [3, 3]),
        (&["--by", "2", "-p", "1"], [3, 5]),
        (&["--by", "-99"], [0, 0]),
        (&["--to", "-4", "-p", "0"], [6, 0]),
        (&["--to", "@-1h"], [0, 0]),
        (&["--to", "end", "--topic", "t"], [10, 10]),
        (&["--to", "99"], [10, 10]),
    ] {
        seek(arguments).ok();
        assert_eq!(committed(), expect.map(Some), "{arguments:?}");
    }
    seek(&["--to", "1:2"]).fails(2, &["range"]);
    seek(&["--to", "x"]).fails(2, &["\"x\"", "start, end"]);
    seek(&[]).fails(2, &["--to"]);
    seek(&["--to", "end", "--topic", "u"]).fails(1, &["\"u\""]);
    seek(&["--to", "end", "--topic", "t", "-p", "7"]).fails(1, &["no partition 7"]);
    let made = broker.run(&["group", "seek", "made", "--to", "start", "--topic", "t"]);
    assert!(made.code == 0 && made.err.contains("no group \"made\""), "{made:?}");
}

#[test]
fn offsets_and_groups_are_deleted() {
    let broker = with_group();
    let forget = |arguments: &[&str]| {
        let mut all = vec!["group", "offset-delete", "readers"];
        all.extend(arguments);
        broker.run(&all)
    };
    forget(&["u"]).fails(1, &["there is no topic \"u\"", "jocko topic list"]);
    broker.ok(&["topic", "create", "v"]);
    forget(&["v"]).fails(1, &["committed nothing", "jocko group describe readers"]);
    assert!(forget(&["t", "--dry-run"]).ok().contains("would forget t partition 1 at 10"));
    assert_eq!(forget(&["t", "-p", "0"]).ok(), "forgot t partition 0 at 10\n");
    let described = broker.json(&["group", "describe", "readers", "--sample", "0s"]);
    assert_eq!(described["offsets"].as_array().unwrap().len(), 1);

    let delete = |arguments: &[&str]| {
        let mut all = vec!["group", "delete", "readers"];
        all.extend(arguments);
        broker.ok(&all)
    };
    assert_eq!(delete(&["--dry-run"]), "would delete readers\n");
    assert_eq!(delete(&["-y"]), "deleted readers\n");
    assert_eq!(broker.ok(&["group", "list"]), "no groups\n");
}

#[test]
fn a_group_in_use_is_left_alone() {
    let broker = with_group();
    let reader = broker.follow(&["consume", "t", "-g", "readers"]);
    let mut number = 0;
    // Once it prints, it is a member with partitions.
    wait_until(DEADLINE, || {
        number += 1;
        broker.produce(&["t"], &format!("{number}\n"));
        Ok(reader.lines.try_recv().is_ok())
    })
    .unwrap();
    let said = ["\"readers\" has 1 member", "stop them first", "jocko group describe readers"];
    broker.run(&["group", "seek", "readers", "--to", "start"]).fails(1, &said);
    broker.run(&["group", "delete", "readers"]).fails(1, &said);
    broker.run(&["group", "offset-delete", "readers", "t", "--dry-run"]).fails(1, &said);
    broker.ok(&["topic", "create", "v"]);
    let (nothing_yet, seek) = (["1 member", "stop them first"], ["group", "seek", "readers"]);
    broker.run(&["group", "offset-delete", "readers", "v"]).fails(1, &nothing_yet);
    broker.run(&[&seek[..], &["--to", "0", "-p", "9"]].concat()).fails(1, &nothing_yet);
    let described = broker.json(&["group", "describe", "readers", "--sample", "0s"]);
    let assigned = &described["memberList"][0]["assignment"];
    assert_eq!(*assigned, serde_json::json!([{ "topic": "t", "partitions": [0, 1] }]));
    let shown = broker.ok(&["group", "describe", "readers", "--sample", "0s"]);
    assert!(shown.contains("127.0.0.1"), "{shown}");
}

#[test]
fn members_of_a_group_share_a_topic_and_go_on_where_they_left_off() {
    let broker = with_group();
    broker.produce(&["t", "-p", "0"], "new\n");
    let read = broker.ok(&["consume", "t", "-g", "readers", "-n", "1"]);
    assert_eq!(read, "new\n", "what was read before is not read again");
    broker
        .run(&["consume", "t", "-g", "readers", "-o", "3"])
        .fails(2, &["goes on where it left off"]);
    broker.run(&["consume", "u", "-g", "readers"]).fails(1, &["\"u\""]);
}

#[test]
fn completion_offers_topics_and_groups() {
    let broker = with_group();
    let offered = |words: &[&str]| {
        let mut command = crate::harness::command(&[]);
        command.env("COMPLETE", "bash").env("JOCKO_BROKERS", broker.bootstrap());
        command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        command.arg("--").args(words);
        crate::harness::run(command, b"").ok()
    };
    assert_eq!(offered(&["jocko", "topic", "describe", "t"]), "t");
    assert_eq!(offered(&["jocko", "group", "seek", "re"]), "readers");
}

#[test]
fn names_that_others_chose_command_no_terminal() {
    let broker = Broker::start();
    broker.produce(&["t"], "a\n");
    let (red, long) = ("a\u{1b}[31mred\u{1b}]0;pwn\u{7}\nb".to_owned(), "l".repeat(5_000));
    for name in [&red, &long] {
        broker.ok(&["consume", "t", "-g", name, "-o", "start", "-e"]);
        let described = broker.ok(&["group", "describe", name, "--sample", "0s"]);
        assert!(!described.contains('\u{1b}') && described.lines().next().unwrap().len() < 250);
    }
    let listed = broker.ok(&["group", "list"]);
    assert!(listed.lines().any(|line| line.starts_with("a\\u001b[31mred")), "{listed}");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(!listed.contains(['\u{1b}', '\u{7}']) && listed.lines().all(|line| line.len() < 250));
    let names = broker.json(&["group", "list"]);
    assert_eq!((&names[0]["group"], &names[1]["group"]), (&red.into(), &long.into()));
}
