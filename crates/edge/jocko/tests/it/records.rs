//! Writing records and reading them back.

use crate::harness::{Broker, DEADLINE, numbers};
use jocko_testkit::wait_until;
use std::time::Duration;

#[test]
fn lines_come_back_with_keys_and_headers() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t"]);
    let arguments = ["t", "-K", ":", "-H", "a=1", "-H", "a=2", "--empty-is-null", "-o", "json"];
    let written = broker.produce(&arguments, "k1:v1\nk2:\n:v:3\n");
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!((written["offset"].as_i64(), written["records"].as_i64()), (Some(0), Some(3)));

    let read = broker.ok(&["consume", "t", "-o", "start", "-e", "-f", "%t/%p:%o %k=%v %h\\n"]);
    assert_eq!(read, "t/0:0 k1=v1 a=1,a=2\nt/0:1 k2= a=1,a=2\nt/0:2 =v:3 a=1,a=2\n");
    let read = broker.ok(&["consume", "t", "-o", "start", "-o", "json", "-n", "2"]);
    let read: Vec<serde_json::Value> =
        read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0]["key"], "k1");
    assert_eq!(read[0]["headers"][1]["value"], "2");
    assert_eq!(read[1]["value"], serde_json::Value::Null, "a tombstone is null");
}

#[test]
fn lines_are_written_byte_for_byte() {
    let broker = Broker::start();
    let ran = broker.produce_bytes(&["--topic", "t", "-K", "::"], b"\xff\xfe::\x80:\r\nk::\n");
    ran.ok();
    let read = broker.ok(&["consume", "-t", "t", "-o", "start", "-e", "-o", "json"]);
    let read: Vec<serde_json::Value> =
        read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(
        (&read[0]["key"]["hex"], &read[0]["value"]["hex"]),
        (&"fffe".into(), &"803a".into())
    );
    assert_eq!((&read[1]["key"], &read[1]["value"]), (&"k".into(), &"".into()));
    assert!(broker.ok(&["topic", "create", "u", "--retention", "-1"]).contains("created u"));
    assert_eq!(broker.json(&["topic", "describe", "u"])["configs"]["retention.ms"], "-1");
}

#[test]
fn every_codec_and_acks_mode_writes() {
    for durability in ["fsync", "relaxed"] {
        let broker = Broker::with(&["--storage-durability", durability]);
        let mut expect = Vec::new();
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            for acks in ["all", "1", "0"] {
                let line = format!("{codec} {acks} {}", "x".repeat(1_000));
                broker.produce(&["t", "-z", codec, "--acks", acks], &format!("{line}\n{line}\n"));
                expect.extend([line.clone(), line]);
                // Nobody says when a batch with acks=0 is there, and the next must come after it.
                if acks == "0" {
                    wait_until(DEADLINE, || Ok(broker.values("t").len() == expect.len())).unwrap();
                }
            }
        }
        // acks=1 does not wait for the disk, without which fsync mode shows nothing.
        wait_until(DEADLINE, || Ok(broker.values("t").len() == expect.len())).unwrap();
        assert_eq!(broker.values("t"), expect, "{durability}");
    }
}

#[test]
fn positions_and_ranges() {
    let broker = Broker::start();
    broker.produce(&["t"], "a\nb\n");
    broker.produce(&["t"], "c\nd\ne\n");
    let times: Vec<String> = {
        let read = broker.ok(&["consume", "t", "-o", "start", "-e", "-f", "%T\\n"]);
        read.lines().map(str::to_owned).collect()
    };
    let from_second_run = format!("@{}", times[2]);
    let check = |position: &str, expect: &str| {
        let read = broker.ok(&["consume", "t", "-o", position, "-e"]);
        assert_eq!(read.replace('\n', ""), expect, "{position}");
    };
    check("start", "abcde");
    check("end", "");
    check("3", "de");
    check("-2", "de");
    check("-99", "abcde");
    check("1:3", "bc");
    check(":2", "ab");
    check("3:end", "de");
    check(&from_second_run, "cde");
    check("@-1h", "abcde");
    check("@-1h:now", "abcde");
    check("@1970-01-02:2", "ab");
    check("4:2", "");
    assert_eq!(broker.ok(&["consume", "t", "--from-beginning", "-n", "1"]), "a\n");
    broker.run(&["consume", "t", "-o", "99", "-n", "1"]).fails(1, &["ends at offset 5", "-o end"]);
    broker.run(&["consume", "t", "-p", "1", "-e"]).fails(1, &["no partition 1"]);
    broker.run(&["consume", "u", "-e"]).fails(1, &["\"u\"", "jocko topic create u"]);
}

#[test]
fn what_comes_later_is_followed() {
    let broker = Broker::start();
    broker.produce(&["t"], "before\n");
    let tail = broker.follow(&["tail", "t", "-n", "1"]);
    let mut number = 0;
    let mut seen = None;
    // Until the reader has found the end, what is written counts as before it.
    wait_until(DEADLINE, || {
        number += 1;
        broker.produce(&["t"], &format!("after {number}\n"));
        seen = tail.lines.recv_timeout(Duration::from_millis(100)).ok();
        Ok(seen.is_some())
    })
    .unwrap();
    assert!(seen.unwrap().starts_with("after "));
    assert!(tail.ends_well(), "the count was reached");
}

#[test]
fn many_partitions_are_read_as_one() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "wide", "-p", "60"]);
    let lines: String = (0..600).map(|number| format!("k{number}:{number}\n")).collect();
    broker.produce(&["wide", "-K", ":"], &lines);
    let read = broker.ok(&["consume", "wide", "-o", "start", "-n", "600", "-f", "%p %o %v\n"]);
    let mut next = [0; 60];
    for line in read.lines() {
        let words: Vec<usize> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [partition, offset, _] = words[..] else { panic!("{line}") };
        assert_eq!(offset, next[partition], "each partition in its order");
        next[partition] += 1;
    }
    assert_eq!(next.iter().sum::<usize>(), 600);

    // A tail sees what comes to any of them, whoever is quiet.
    let tail = broker.follow(&["consume", "wide", "-o", "-0", "-n", "40"]);
    let mut sent = 0;
    let mut seen = Vec::new();
    wait_until(DEADLINE, || {
        broker.produce(&["wide", "-p", &(sent % 60).to_string()], "later\n");
        sent += 1;
        seen.extend(tail.lines.try_iter());
        Ok(seen.len() >= 40)
    })
    .unwrap();
    assert!(tail.ends_well());
}

#[test]
fn an_offset_that_some_partitions_have_reached_is_no_mistake() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t", "-p", "3"]);
    broker.produce(&["t", "-p", "0"], "a\n");
    broker.produce(&["t", "-p", "2"], "c\nd\ne\n");
    assert_eq!(broker.ok(&["consume", "t", "-o", "2", "-e"]), "e\n");
    assert_eq!(broker.ok(&["consume", "t", "-o", "1:99", "-e"]), "d\ne\n");
    assert_eq!(broker.ok(&["consume", "t", "-o", "1", "-e", "-p", "2,2"]), "d\ne\n");
    broker
        .run(&["consume", "t", "-o", "9", "-n", "1"])
        .fails(1, &["every partition ends before offset 9", "3", "-o end"]);

    // The others are followed from that offset on, not from their ends.
    let follow = broker.follow(&["consume", "t", "-o", "2", "-n", "2"]);
    assert_eq!(follow.lines.recv_timeout(DEADLINE).unwrap(), "e", "it has begun");
    broker.produce(&["t", "-p", "0"], "passed over\nwanted\n");
    assert_eq!(follow.lines.recv_timeout(DEADLINE).unwrap(), "wanted");
    assert!(follow.ends_well());
}

#[test]
fn a_reader_who_leaves_ends_a_command_that_waits() {
    let broker = Broker::start();
    broker.produce(&["t"], "a\nb\nc\n");
    // Nothing more is written, so only the closed pipe can tell.
    assert_eq!(broker.head(&["consume", "t", "-o", "start"]).ok(), "a\n");
}

#[test]
fn many_records_keep_their_order() {
    let broker = Broker::start();
    broker.produce(&["t"], &numbers(0..25_000));
    let read = broker.ok(&["consume", "t", "-o", "start", "-e"]);
    assert!(read == numbers(0..25_000));
    assert_eq!(broker.ok(&["consume", "t", "-o", "24998", "-e"]), numbers(24_998..25_000));
}

#[test]
fn bad_input_writes_nothing_and_says_so() {
    let broker = Broker::start();
    // A note is no failure: what comes before it in a script may have had nothing to say.
    broker.try_produce(&["t"], "").noted(0, &["no lines"]);
    assert_eq!(broker.ok(&["topic", "list"]), "no topics\n", "nothing was to be written");
    broker.ok(&["topic", "create", "t"]);
    broker
        .try_produce(&["t", "-K", ":"], "no separator\n")
        .fails(1, &["line 1", "no separator", "\":\"", "nothing was written"]);
    broker.try_produce(&["t", "-p", "3"], "a\n").fails(1, &["no partition 3"]);
    broker.try_produce(&["t", "-H", "a"], "a\n").fails(2, &["--header NAME=VALUE"]);
    broker.try_produce(&["no/name"], "a\n").fails(1, &["no/name", "letters, digits"]);
    let long = "x".repeat(1_100_000);
    broker.try_produce(&["t"], &long).fails(
        1,
        &[
            "MESSAGE_TOO_LARGE",
            "line 1",
            "1048588",
            "jocko topic alter t --set max.message.bytes=11000",
        ],
    );
    assert_eq!(broker.values("t"), [""; 0]);
}

#[test]
fn what_is_good_before_a_bad_line_is_written() {
    let broker = Broker::start();
    broker
        .try_produce(&["t", "-K", ":"], "a:1\nb:2\nbad\nc:3\n")
        .fails(1, &["line 3", "\"bad\"", "2 lines were written before", "KEY:VALUE"]);
    assert_eq!(broker.values("t"), ["1", "2"]);

    // Together they are too large for the topic; one by one only the last is.
    broker.ok(&["topic", "create", "u", "--set", "max.message.bytes=1000"]);
    let lines = format!("{}{}\n", numbers(0..300), "x".repeat(1_500));
    broker
        .try_produce(&["u"], &lines)
        .fails(1, &["MESSAGE_TOO_LARGE", "line 301", "takes 1000", "300 lines were written"]);
    assert_eq!(broker.values("u").join("\n") + "\n", numbers(0..300));
}

#[test]
fn a_compacted_topic_says_that_it_needs_keys() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "t", "--set", "cleanup.policy=compact"]);
    broker
        .try_produce(&["t"], "a\nb\n")
        .fails(1, &["t is compacted", "each record needs one", "2 lines from 1 to 2", "-K :"]);
    broker.produce(&["t", "-K", ":"], "k:a\n");
}
