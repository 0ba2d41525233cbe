//! A copy that is gone leaves the in-sync set, which producers notice, and comes back to it.

use super::{Meeting, ask};
use crate::harness::{DEADLINE, command, run};
use jocko_testkit::{BrokerProcess, wait_until};
use serde_json::Value;

const TOPIC: &str = "kept";

/// Tries to write a record; the exit code and what was said.
fn produce(process: &BrokerProcess, acks: &str) -> (i32, String) {
    let address = process.address().to_string();
    let arguments = ["produce", TOPIC, "--acks", acks, "--timeout", "2s", "-b", &address];
    let ran = run(command(&arguments), b"v\n");
    (ran.code, ran.err)
}

fn in_sync(process: &BrokerProcess) -> usize {
    let listed = ask(process, &["partition", "list", TOPIC, "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed[0]["inSync"].as_array().unwrap().len()
}

#[test]
fn who_wants_all_copies_is_refused_while_one_is_gone() {
    let meeting = Meeting::new();
    let mut three = meeting.three([0, 1, 2]);
    ask(&three[0], &["cluster", "health", "--wait", "--expect", "3"]);
    let create = ["topic", "create", TOPIC, "-p", "1", "-r", "3", "--set", "min.insync.replicas=3"];
    ask(&three[0], &create);
    wait_until(DEADLINE, || Ok(produce(&three[0], "all").0 == 0)).unwrap();
    let killed = three.remove(2).kill().unwrap();
    wait_until(DEADLINE, || Ok(in_sync(&three[0]) == 2)).unwrap();
    let mut said = String::new();
    wait_until(DEADLINE, || {
        let (code, words) = produce(&three[0], "all");
        said = words;
        Ok(code != 0 && said.contains("NOT_ENOUGH_REPLICAS"))
    })
    .unwrap_or_else(|error| panic!("{error}: {said}"));
    // Fewer copies are enough for who wants no more.
    wait_until(DEADLINE, || Ok(produce(&three[0], "1").0 == 0)).unwrap();
    let _back = BrokerProcess::start(killed).unwrap();
    wait_until(DEADLINE, || Ok(in_sync(&three[0]) == 3)).unwrap();
    wait_until(DEADLINE, || Ok(produce(&three[0], "all").0 == 0)).unwrap();
}
