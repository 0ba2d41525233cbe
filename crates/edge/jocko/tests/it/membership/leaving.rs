//! Brokers that are taken away for good, and what comes back of them.

use super::*;
use rustix::process::Signal;

fn numbered(meeting: &Meeting, at: usize, id: i32) -> BrokerProcess {
    let id = format!("--node-id={id}");
    BrokerProcess::spawn(meeting.options(at, &["--expect=3", &id])).unwrap()
}

/// Three brokers with the numbers 21, 22 and 23.
fn three(meeting: &Meeting) -> Vec<BrokerProcess> {
    let mut started: Vec<BrokerProcess> =
        (21..).zip(0..3).map(|(id, at)| numbered(meeting, at, id)).collect();
    for process in &mut started {
        process.wait_ready().unwrap();
    }
    started
}

/// The numbers of those who vote.
fn voters(process: &BrokerProcess) -> Vec<i64> {
    let quorum: Value =
        serde_json::from_str(&ask(process, &["cluster", "quorum", "-o", "json"])).unwrap();
    let members = quorum["voters"].as_array().unwrap().iter();
    let mut voters: Vec<i64> = members.map(|member| member["id"].as_i64().unwrap()).collect();
    voters.sort_unstable();
    voters
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    wait_until(DEADLINE, || Ok(done())).unwrap_or_else(|error| panic!("{what}: {error}"));
}

fn live(process: &BrokerProcess) -> Vec<i64> {
    let status: Value =
        serde_json::from_str(&ask(process, &["cluster", "status", "-o", "json"])).unwrap();
    let brokers = status["brokers"].as_array().unwrap().iter();
    let live = brokers.filter(|broker| broker["fenced"] == false);
    live.map(|broker| broker["id"].as_i64().unwrap()).collect()
}

/// As the guide has it. The last but one is the one that votes: its vote goes to the other.
#[test]
fn three_brokers_become_two_and_then_one() {
    let meeting = Meeting::new();
    let mut three = three(&meeting);
    three.remove(2).stop().unwrap();
    ask(&three[0], &["cluster", "remove", "23", "-y"]);
    until("one of two votes", || voters(&three[0]).len() == 1);
    let voter = voters(&three[0])[0];
    let gone = if voter == 21 { 0 } else { 1 };
    three.remove(gone).stop().unwrap();
    ask(&three[0], &["cluster", "remove", &voter.to_string(), "-y"]);
    assert_eq!(voters(&three[0]), [if voter == 21 { 22 } else { 21 }]);
    ask(&three[0], &["topic", "create", "alone"]);
}

/// It is let in again, and votes again; a start under another number changes nothing for anybody.
#[test]
fn a_broker_that_was_removed_comes_back() {
    let meeting = Meeting::new();
    let mut three = three(&meeting);
    let mut stopped = three.remove(2).stop().unwrap();
    // Refused, and nobody has heard of it.
    stopped.arguments.retain(|it| !it.starts_with("--node-id"));
    for taken in ["--node-id=77", "--node-id=22"] {
        let mut other = stopped.clone();
        other.arguments.push(taken.to_owned());
        let mut refused = BrokerProcess::spawn(other).unwrap();
        says(&refused, "belongs to node 23");
        until("it ends", || !refused.is_running().unwrap());
        assert_eq!(live(&three[0]), [21, 22], "{taken}");
        assert_eq!(brokers(&three[0]), 3, "{taken}");
    }
    ask(&three[0], &["cluster", "remove", "23", "-y"]);
    until("one of two votes", || voters(&three[0]).len() == 1);
    let back = BrokerProcess::start(stopped).unwrap();
    until("it votes again", || voters(&three[0]) == [21, 22, 23]);
    assert_eq!(live(&back), [21, 22, 23]);
}

/// A newcomer does not get the number of one that was removed, which comes back under it.
#[test]
fn a_number_is_given_out_once() {
    let meeting = Meeting::new();
    let mut three = three(&meeting);
    let mut stopped = three.remove(2).stop().unwrap();
    ask(&three[0], &["cluster", "remove", "23", "-y"]);
    let newcomer = BrokerProcess::start(meeting.options(3, &[])).unwrap();
    assert_eq!(live(&newcomer), [21, 22, 24]);
    stopped.arguments.retain(|it| !it.starts_with("--node-id"));
    let back = BrokerProcess::start(stopped).unwrap();
    assert_eq!(live(&back), [21, 22, 23, 24]);
}

/// Where somebody gave a removed broker's number to a blank disk, that one has it, also while it is
/// stopped; the removed one is told what to do.
#[test]
fn a_removed_disk_does_not_take_its_number_back() {
    let meeting = Meeting::new();
    let mut three = three(&meeting);
    let removed = three.remove(2).stop().unwrap();
    ask(&three[0], &["cluster", "remove", "23", "-y"]);
    let newcomer = BrokerProcess::start(meeting.options(3, &["--node-id=23"])).unwrap();
    let comes_back = |log: &str| {
        let options = removed.clone().logging_to(meeting.path().join(log));
        let mut refused = BrokerProcess::spawn(options).unwrap();
        says(&refused, "start this one with an empty data directory");
        until("it ends", || !refused.is_running().unwrap());
    };
    comes_back("while-it-lives");
    let newcomer = newcomer.stop().unwrap();
    until("it is fenced", || live(&three[0]) == [21, 22]);
    comes_back("while-it-is-stopped");
    let newcomer = BrokerProcess::start(newcomer).unwrap();
    assert_eq!(live(&newcomer), [21, 22, 23]);
}

/// A copy of a data directory is no broker of its own: it is told so, and the original goes on.
#[test]
fn a_copy_of_a_running_brokers_directory_is_refused() {
    let meeting = Meeting::new();
    let mut three = three(&meeting);
    let stopped = three.remove(2).stop().unwrap();
    let copied = meeting.path().join("data-3");
    copy(&meeting.path().join("data-2"), &copied);
    let original = BrokerProcess::start(stopped).unwrap();
    let mut copy = BrokerProcess::spawn(meeting.options(3, &[])).unwrap();
    says(&copy, "is a copy of the other");
    until("it ends", || !copy.is_running().unwrap());
    assert_eq!(live(&original), [21, 22, 23]);
    ask(&original, &["topic", "create", "after", "-p", "3"]);
}

/// Where the original hangs, a copy of its directory takes its place; when it goes on, it ends.
#[test]
fn a_broker_whose_place_was_taken_ends() {
    let meeting = Meeting::new();
    let mut three = three(&meeting);
    let stopped = three.remove(2).stop().unwrap();
    let copied = meeting.path().join("data-3");
    copy(&meeting.path().join("data-2"), &copied);
    let mut original = BrokerProcess::start(stopped).unwrap();
    original.signal(Signal::STOP).unwrap();
    until("it is missed", || live(&three[0]) == [21, 22]);
    let mut copy = BrokerProcess::spawn(meeting.options(3, &[])).unwrap();
    copy.wait_ready().unwrap();
    original.signal(Signal::CONT).unwrap();
    until("it ends", || !original.is_running().unwrap());
    says(&original, "broker 23 is another process by now");
    says(&original, "the broker ended");
    assert_eq!(live(&copy), [21, 22, 23]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn a_start_that_waits_for_others_and_is_ended_leaves_nothing_to_recover() {
    let meeting = Meeting::new();
    let mut running = meeting.three([0, 1, 2]);
    ask(&running[0], &["topic", "create", "t", "--replication", "3"]);
    for process in &running {
        process.signal(Signal::TERM).unwrap();
    }
    let stopped: Vec<Options> = running.drain(..).map(|it| it.finish().unwrap()).collect();
    let mut first =
        BrokerProcess::spawn(stopped[0].clone().logging_to(meeting.path().join("log"))).unwrap();
    says(&first, "waiting for");
    first.signal(Signal::TERM).unwrap();
    until("it ends", || !first.is_running().unwrap());
    says(&first, "stopped before it was ready");
    drop(first);
    let mut again: Vec<BrokerProcess> =
        stopped.into_iter().map(|options| BrokerProcess::spawn(options).unwrap()).collect();
    for process in &mut again {
        process.wait_ready().unwrap();
        let log = process.log().unwrap();
        assert!(!log.contains("unclean"), "{log}");
    }
}

/// What is new goes elsewhere from then on, its vote goes to the fourth, nothing of it reads as an ill,
/// and it is forgotten once it has stopped.
#[test]
fn a_broker_that_is_drained_gets_nothing_new_and_goes() {
    let meeting = Meeting::new();
    let mut three = three(&meeting);
    let mut fourth = numbered(&meeting, 3, 24);
    fourth.wait_ready().unwrap();
    ask(&three[0], &["topic", "create", "before", "-p", "6"]);
    until("23 votes", || voters(&three[0]) == [21, 22, 23]);
    ask(&three[0], &["cluster", "drain", "23", "--wait"]);
    ask(&three[0], &["topic", "create", "after", "-p", "6"]);
    let copies = || {
        let listed = ask(&three[0], &["partition", "list", "--broker", "23", "-o", "json"]);
        serde_json::from_str::<Value>(&listed).unwrap().as_array().unwrap().len()
    };
    assert_eq!(copies(), 0);
    until("24 votes instead", || voters(&three[0]) == [21, 22, 24]);
    let health = || -> Value {
        let told = ask(&three[0], &["cluster", "health", "--wait", "-o", "json"]);
        serde_json::from_str(&told).unwrap()
    };
    let planned = health()["planned"].to_string();
    assert!(planned.contains("broker 23 is drained (stop it"), "{planned}");
    // Whoever it is that is drained, the mark may be taken back, and set again.
    ask(&three[0], &["cluster", "drain", "23", "--undo"]);
    assert_eq!(health()["planned"], Value::Array(Vec::new()));
    ask(&three[0], &["cluster", "drain", "23"]);
    three.remove(2).stop().unwrap();
    let told: Value = {
        let told = ask(&three[0], &["cluster", "health", "--wait", "-o", "json"]);
        serde_json::from_str(&told).unwrap()
    };
    assert!(told["planned"].to_string().contains("has stopped"), "{told}");
    ask(&three[0], &["cluster", "remove", "23", "-y"]);
    assert_eq!(live(&three[0]), [21, 22, 24]);
}

/// A machine that may never come back: if it does, it is still one that is to go.
#[test]
fn a_broker_that_died_is_drained_too() {
    let meeting = Meeting::new();
    let mut three = three(&meeting);
    ask(&three[0], &["topic", "create", "before", "-p", "3", "-r", "2"]);
    let died = three.remove(2).kill().unwrap();
    until("it is missed", || live(&three[0]) == [21, 22]);
    let told = ask(&three[0], &["cluster", "drain", "23", "--wait", "-o", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["drained"], true, "{told}");
    let mut back = BrokerProcess::start(died).unwrap();
    back.wait_ready().unwrap();
    until("it is back", || live(&three[0]) == [21, 22, 23]);
    ask(&three[0], &["topic", "create", "after", "-p", "6"]);
    let listed = ask(&three[0], &["partition", "list", "--broker", "23", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap(), Value::Array(Vec::new()));
    ask(&three[0], &["cluster", "drain", "23", "--undo"]);
}
