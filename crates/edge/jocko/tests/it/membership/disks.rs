//! A broker whose disk is in trouble leads nothing that others can lead, and everybody says why.

use super::{Meeting, ask, ask_http};
use crate::harness::{DEADLINE, command, run};
use jocko_testkit::{BrokerProcess, wait_until};
use serde_json::Value;

/// A share of any disk that is used already.
const SHARE: &str = "--storage-max-disk=1%";

fn status(process: &BrokerProcess) -> Value {
    serde_json::from_str(&ask(process, &["cluster", "status", "-o", "json"])).unwrap()
}

/// How many partitions a broker leads, and what is wrong with its disk, as another tells.
fn standing(process: &BrokerProcess, broker: i64) -> (i64, Option<String>) {
    let status = status(process);
    let mut brokers = status["brokers"].as_array().unwrap().iter();
    let found = brokers.find(|it| it["id"] == broker).unwrap();
    (found["leads"].as_i64().unwrap(), found["disk"].as_str().map(str::to_owned))
}

fn health(process: &BrokerProcess) -> (i32, String) {
    let mut command = command(&["cluster", "health"]);
    command.args(["-b", &process.address().to_string()]);
    let ran = run(command, b"");
    (ran.code, ran.out)
}

fn waits(process: &BrokerProcess, what: &str, done: impl Fn() -> bool) {
    wait_until(DEADLINE, || Ok(done()))
        .unwrap_or_else(|error| panic!("{what}: {error}: {}", status(process)));
}

#[test]
fn others_lead_while_a_disk_is_short_of_space() {
    let meeting = Meeting::new();
    let mut three = meeting.three([0, 1, 2]);
    ask(&three[0], &["topic", "create", "t", "-p", "6", "-r", "3"]);
    let limited = three.remove(2);
    let own = limited.address();
    let status = status(&three[0]);
    let mut brokers = status["brokers"].as_array().unwrap().iter();
    let broker = brokers.find(|it| it["port"] == own.port()).unwrap()["id"].as_i64().unwrap();
    assert_eq!(standing(&three[0], broker), (2, None));
    let good = limited.stop().unwrap();

    // It comes back with a limit that its disk is over: it is in sync, and told to lead nothing.
    let mut short = good.clone();
    short.arguments.push(SHARE.to_owned());
    let limited = BrokerProcess::start(short).unwrap();
    waits(&three[0], "nobody tells of the disk", || standing(&three[0], broker).1.is_some());
    let told = standing(&three[1], broker).1.unwrap();
    assert!(told.starts_with("disk short: ") && told.ends_with(" MiB are free"), "{told}");
    let in_sync = || status_of(&three[0], "underReplicated") == 0;
    waits(&three[0], "its copies are not in sync", in_sync);
    run(
        {
            let mut elect = command(&["partition", "elect"]);
            elect.args(["-b", &three[0].address().to_string()]);
            elect
        },
        b"",
    );
    assert_eq!(standing(&three[0], broker).0, 0);
    let (code, said) = health(&three[0]);
    let expect = format!("broker {broker}: disk short: ");
    assert!(code != 0 && said.contains(&expect), "{code}: {said}");
    ask_http(&three[0], &["cluster", "members"], |told| {
        told.as_array().unwrap().iter().any(|it| it["disk"].as_str().is_some())
    });
    // New copies go elsewhere, as far as others can keep them.
    ask(&three[0], &["topic", "create", "u", "-p", "6", "-r", "2"]);
    assert_eq!(replicas(&three[0], broker), 6);

    // Without it all is as it was, by the ordinary election.
    drop(limited.stop().unwrap());
    let _again = BrokerProcess::start(good).unwrap();
    waits(&three[0], "the disk is still in trouble", || standing(&three[0], broker).1.is_none());
    waits(&three[0], "its copies are not in sync", in_sync);
    ask(&three[0], &["partition", "elect"]);
    assert_eq!(standing(&three[0], broker), (2, None));
    assert_eq!(health(&three[0]).0, 0);
}

fn status_of(process: &BrokerProcess, field: &str) -> i64 {
    status(process)[field].as_i64().unwrap()
}

fn replicas(process: &BrokerProcess, broker: i64) -> i64 {
    let status = status(process);
    let mut brokers = status["brokers"].as_array().unwrap().iter();
    brokers.find(|it| it["id"] == broker).unwrap()["replicas"].as_i64().unwrap()
}
