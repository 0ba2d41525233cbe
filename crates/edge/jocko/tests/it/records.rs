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
fn every_codec_and_acks_mode_writes() {
    for durability in ["fsync", "relaxed"] {
        let broker = Broker::with(&["--storage-durability", durability]);
        let mut expect = Vec::new();
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            for acks in ["all", "1"] {
                let line = format!("{codec} {acks} {}", "x".repeat(1_000));
                broker.produce(&["t", "-z", codec, "--acks", acks], &format!("{line}\n{line}\n"));
                expect.extend([line.clone(), line]);
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
    broker.try_produce(&["t"], "").fails(1, &["no lines", "echo hello | jocko produce t"]);
    broker.try_produce(&["t", "-K", ":"], "no separator\n").fails(1, &["no separator", "\":\""]);
    broker.try_produce(&["t", "-p", "3"], "a\n").fails(1, &["no partition 3"]);
    broker.try_produce(&["t", "-H", "a"], "a\n").fails(2, &["--header NAME=VALUE"]);
    let long = "x".repeat(1_100_000);
    broker.try_produce(&["t"], &long).fails(1, &["MESSAGE_TOO_LARGE", "max.message.bytes"]);
    assert_eq!(broker.values("t"), [""; 0]);
}
