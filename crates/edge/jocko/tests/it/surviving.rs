//! What is still there after a kill -9 and after a stop.

use crate::harness::{Broker, DEADLINE, numbers};
use jocko_testkit::wait_until;

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let mut broker = Broker::start();
    let id = broker.json(&["topic", "create", "t", "-p", "2"])["id"].clone();
    for round in 0..3 {
        let lines = numbers(round * 1_000..round * 1_000 + 1_000);
        broker.produce(&["t", "-p", &(round % 2).to_string()], &lines);
        broker = broker.kill_and_start();
        assert!(broker.process.log().unwrap().contains("unclean"), "it recovers, and says so");
        let described = broker.json(&["topic", "describe", "t"]);
        assert_eq!(described["id"], id);
        let mut values: Vec<u32> =
            broker.values("t").iter().map(|value| value.parse().unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, (0..(round + 1) * 1_000).collect::<Vec<_>>());
    }
    let status = broker.status();
    let broker = broker.stop_and_start(&[]);
    assert_eq!(broker.status(), status);
    assert_eq!(broker.values("t").len(), 3_000);
}

#[test]
fn a_producer_goes_on_through_kills_and_writes_each_line_once() {
    let mut broker = Broker::start();
    broker.ok(&["topic", "create", "t"]);
    let mut feed = broker.feed(&["t", "-o", "json", "--timeout", "60s"]);
    feed.write(&numbers(0..1));
    feed = feed.acknowledged();
    let mut next = 1;
    for _ in 0..8 {
        let killing = std::thread::spawn(move || broker.kill_and_start());
        // Each line is a batch of its own, so the kill meets one that is under way.
        let mut rounds_left = 3;
        while rounds_left > 0 {
            feed.write(&numbers(next..next + 1));
            next += 1;
            feed = feed.acknowledged();
            rounds_left -= u32::from(killing.is_finished());
        }
        broker = killing.join().unwrap();
    }
    assert_eq!(feed.end().code, 0);
    assert!(broker.values("t").join("\n") + "\n" == numbers(0..next), "each once, in order");
}

#[test]
fn a_producer_says_what_it_waits_for_and_gives_up_in_time() {
    let broker = Broker::start();
    let mut feed = broker.feed(&["t", "-o", "json", "--timeout", "2s"]);
    feed.write("first\n");
    feed = feed.acknowledged();
    let bootstrap = broker.bootstrap();
    let options = broker.process.kill().unwrap();
    feed.write("second\n");
    let ran = feed.end();
    ran.fails(
        5,
        &[
            "waiting for t partition 0: ",
            &format!("cannot reach {bootstrap}"),
            "line 2 not acknowledged",
            "1 line was written before",
            "try: start a broker",
        ],
    );
    assert_eq!(ran.err.matches("waiting").count(), 1, "{ran:?}");
    drop(options);
}

#[test]
fn topics_and_settings_survive_a_kill() {
    let broker = Broker::start();
    for name in ["a", "b", "c"] {
        broker.ok(&["topic", "create", name, "--set", "max.message.bytes=5000"]);
    }
    broker.ok(&["topic", "delete", "b", "-y"]);
    let listed = broker.json(&["topic", "list"]);
    let broker = broker.kill_and_start();
    assert_eq!(broker.json(&["topic", "list"]), listed);
    let described = broker.json(&["topic", "describe", "c"]);
    assert_eq!(described["configs"]["max.message.bytes"], "5000");
    broker
        .try_produce(&["c"], &"x".repeat(6_000))
        .fails(1, &["MESSAGE_TOO_LARGE", "max.message.bytes"]);
}

#[test]
fn a_follower_goes_on_after_a_restart_and_holds_none_up() {
    // Longer than any deadline here: whoever waits for records must not be waited for.
    let broker = Broker::with(&["--node-shutdown-grace", "10m"]);
    broker.produce(&["t"], "0\n");
    let follow = broker.follow(&["consume", "t", "-o", "start", "-n", "3"]);
    let expect = |line: &str| assert_eq!(follow.lines.recv_timeout(DEADLINE).unwrap(), line);
    expect("0");
    let broker = broker.stop_and_start(&[]);
    broker.produce(&["t"], "1\n");
    expect("1");
    let broker = broker.kill_and_start();
    broker.produce(&["t"], "2\n");
    expect("2");
    assert!(follow.ends_well());
}

#[test]
fn following_ends_with_the_topic() {
    let broker = Broker::start();
    broker.produce(&["t"], "0\n");
    let follow = broker.follow(&["consume", "t", "-o", "start"]);
    assert_eq!(follow.lines.recv_timeout(DEADLINE).unwrap(), "0");
    broker.ok(&["topic", "delete", "t", "-y"]);
    assert!(!follow.ends_well(), "there is nothing left to follow");
}

#[test]
fn what_retention_dropped_stays_dropped_after_a_stop() {
    let broker = Broker::with(&["--storage-retention-check", "1s"]);
    let small = ["--set", "segment.bytes=1048576", "--set", "retention.bytes=1048576"];
    let mut create = vec!["topic", "create", "t"];
    create.extend(small);
    broker.ok(&create);
    let line = format!("{}\n", "x".repeat(100_000));
    broker.produce(&["t"], &line.repeat(50));
    let start = |broker: &Broker| {
        broker.json(&["topic", "describe", "t"])["partitions"][0]["start"].as_i64().unwrap()
    };
    wait_until(DEADLINE, || Ok(start(&broker) > 0)).unwrap();
    let before = start(&broker);
    let broker = broker.stop_and_start(&[]);
    assert!(start(&broker) >= before, "{} after {before}", start(&broker));
    let count = i64::try_from(broker.values("t").len()).unwrap();
    assert_eq!(count, 50 - start(&broker));
}

/// A start goes through all changes of metadata again, many at a time: the deletion of the first
/// topic must not take the folder of the second one, which has its name.
#[test]
fn a_topic_made_anew_keeps_its_records() {
    let broker = Broker::start();
    broker.ok(&["topic", "create", "orders"]);
    broker.produce(&["orders"], "old\n");
    broker.ok(&["topic", "create", "other"]);
    for change in 0..70 {
        let setting = format!("retention.ms={}", 1_000_000 + change);
        broker.ok(&["topic", "alter", "other", "--set", &setting]);
    }
    broker.ok(&["topic", "delete", "orders", "-y"]);
    broker.ok(&["topic", "create", "orders"]);
    broker.produce(&["orders"], "new\n");
    let broker = broker.kill_and_start();
    assert_eq!(broker.values("orders"), ["new"]);
    let broker = broker.stop_and_start(&[]).stop_and_start(&[]);
    assert_eq!(broker.values("orders"), ["new"]);
}
