//! Replicas that are moved away and come back.

use super::{Meeting, ask};
use crate::harness::{DEADLINE, command, run};
use jocko_testkit::{BrokerProcess, wait_until};
use serde_json::Value;

/// The copies and the leader of a topic's only partition, as a broker shows them.
fn placed(process: &BrokerProcess, topic: &str) -> (Vec<i64>, Option<i64>) {
    let listed: Value =
        serde_json::from_str(&ask(process, &["partition", "list", topic, "-o", "json"])).unwrap();
    let partition = &listed.as_array().unwrap()[0];
    let copies = partition["replicas"].as_array().unwrap().iter();
    (copies.filter_map(Value::as_i64).collect(), partition["leader"].as_i64())
}

/// Whether its only copy is there.
fn is_on(process: &BrokerProcess, topic: &str, broker: i64) -> bool {
    placed(process, topic) == (vec![broker], Some(broker))
}

fn move_to(process: &BrokerProcess, broker: i64) {
    ask(process, &["partition", "move", "moved", "--to", &broker.to_string()]);
    wait_until(DEADLINE, || Ok(is_on(process, "moved", broker))).unwrap();
}

/// What a start knows of a log (where it was on disk) says nothing of one that was moved away and
/// given back since.
#[test]
fn a_replica_that_is_given_back_begins_anew() {
    let meeting = Meeting::new();
    let mut three = meeting.three([0, 1, 2]);
    ask(&three[0], &["topic", "create", "moved", "-p", "1", "-r", "1"]);
    let produce = command(&["produce", "moved", "-b", &three[0].address().to_string()]);
    assert_eq!(run(produce, b"a\nb\nc\n").code, 0);
    let (_, home) = placed(&three[0], "moved");
    let home = home.unwrap();
    // Whoever keeps it is started again, and so begins with a checkpoint.
    for _ in 0..3 {
        let stopped = three.remove(0).stop().unwrap();
        let process = BrokerProcess::start(stopped).unwrap();
        ask(&process, &["cluster", "health", "--wait", "--expect", "3"]);
        three.push(process);
    }
    let away = (1..=3).find(|broker| *broker != home).unwrap();
    move_to(&three[0], away);
    move_to(&three[0], home);
    let read = ask(&three[0], &["consume", "moved", "-o", "start", "-n", "3"]);
    assert_eq!(read, "a\nb\nc\n");
}

/// What is to catch up slowly, here not at all, waits, and what is not throttled does not (KIP-73).
#[test]
fn a_copy_that_is_throttled_waits_for_the_rate() {
    let meeting = Meeting::new();
    let three = meeting.three([0, 1, 2]);
    let broker = &three[0];
    let address = broker.address().to_string();
    for topic in ["held", "free"] {
        ask(broker, &["topic", "create", topic, "-p", "1", "-r", "1"]);
        wait_until(DEADLINE, || {
            Ok(run(command(&["produce", topic, "-b", &address]), b"a\nb\n").code == 0)
        })
        .unwrap();
    }
    let rate = "follower.replication.throttled.rate";
    ask(broker, &["config", "set", &format!("{rate}=0"), "--cluster"]);
    ask(broker, &["config", "set", "follower.replication.throttled.replicas=*", "--topic", "held"]);
    let homes = ["held", "free"].map(|topic| placed(broker, topic).1.unwrap());
    let away = (1..=3).find(|id| !homes.contains(id)).unwrap();
    for topic in ["held", "free"] {
        ask(broker, &["partition", "move", topic, "--to", &away.to_string()]);
    }
    wait_until(DEADLINE, || Ok(is_on(broker, "free", away))).unwrap();
    assert_eq!(placed(broker, "held").1, Some(homes[0]), "not a byte of it may be copied");
    ask(broker, &["config", "set", "--unset", rate, "--cluster"]);
    wait_until(DEADLINE, || Ok(is_on(broker, "held", away))).unwrap();
    assert_eq!(ask(broker, &["consume", "held", "-o", "start", "-n", "2"]), "a\nb\n");
}
