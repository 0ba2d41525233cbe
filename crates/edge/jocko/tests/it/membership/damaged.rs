//! A copy whose log is damaged is replaced by what others have, and the last one is left as it is.

use super::{Meeting, ask, ask_http, says};
use crate::harness::{DEADLINE, command, run};
use jocko_testkit::{BrokerProcess, wait_until};
use serde_json::Value;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const TOPIC: &str = "kept";

fn produce(process: &BrokerProcess, value: &str) {
    let address = process.address().to_string();
    let arguments = ["produce", TOPIC, "--acks", "all", "--timeout", "20s", "-b", &address];
    let ran = run(command(&arguments), format!("{value}\n").as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
}

fn described(process: &BrokerProcess) -> Value {
    let listed = ask(process, &["partition", "list", TOPIC, "-o", "json"]);
    serde_json::from_str::<Value>(&listed).unwrap()[0].clone()
}

fn in_sync(process: &BrokerProcess) -> usize {
    described(process)["inSync"].as_array().unwrap().len()
}

/// The first segment of the partition in a broker's folder.
fn segment(folder: &Path) -> PathBuf {
    folder.join(format!("{TOPIC}-0")).join("00000000000000000000.log")
}

fn set_aside(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.ends_with("-damaged")).collect()
}

#[test]
fn a_damaged_copy_is_set_aside_and_fetched_anew() {
    let meeting = Meeting::new();
    let mut three = meeting.three([0, 1, 2]);
    ask(&three[0], &["topic", "create", TOPIC, "-p", "1", "-r", "3"]);
    for round in 0..5 {
        produce(&three[0], &format!("value {round}"));
    }
    wait_until(DEADLINE, || Ok(in_sync(&three[0]) == 3)).unwrap();
    // A clean stop, so that all of it was durable; then half of the log is gone.
    let folder = meeting.path().join("data-2");
    let stopped = three.remove(2).stop().unwrap();
    let whole = fs::read(segment(&folder)).unwrap();
    fs::write(segment(&folder), &whole[..whole.len() / 2]).unwrap();
    let back = BrokerProcess::start(stopped).unwrap();
    says(&back, "a damaged copy was set aside and is fetched anew");
    wait_until(DEADLINE, || Ok(in_sync(&three[0]) == 3)).unwrap();
    let again = fs::read(segment(&folder)).unwrap();
    assert!(again.starts_with(&whole), "what was there is there again");
    assert_eq!(set_aside(&folder).len(), 1, "and what was damaged is kept");
    produce(&three[0], "after it");
}

#[test]
fn what_rots_where_nobody_reads_is_found_and_fetched_anew() {
    let meeting = Meeting::new();
    let scrub = ["--expect=3", "--storage-scrub=1s"];
    let mut three: Vec<BrokerProcess> =
        (0..3).map(|at| BrokerProcess::spawn(meeting.options(at, &scrub)).unwrap()).collect();
    three.iter_mut().for_each(|process| process.wait_ready().unwrap());
    ask(&three[0], &["topic", "create", TOPIC, "-p", "1", "-r", "3"]);
    for round in 0..5 {
        produce(&three[0], &format!("value {round}"));
    }
    wait_until(DEADLINE, || Ok(in_sync(&three[0]) == 3)).unwrap();
    // One after the other, the leader's too, which everybody counts on; the brokers run on.
    let whole = fs::read(segment(three[0].data_dir())).unwrap();
    for spoiled in &three {
        let mut file = fs::File::options().write(true).open(segment(spoiled.data_dir())).unwrap();
        file.seek(SeekFrom::Start(100)).unwrap();
        file.write_all(&[!whole[100]]).unwrap();
        says(spoiled, "a damaged copy was set aside and is fetched anew");
        wait_until(DEADLINE, || {
            let is_whole = |it: &BrokerProcess| {
                fs::read(segment(it.data_dir())).is_ok_and(|copy| copy == whole)
            };
            Ok(in_sync(&three[0]) == 3 && three.iter().all(is_whole))
        })
        .unwrap();
    }
    produce(&three[0], "after it");
}

#[test]
fn the_only_copy_stays_and_says_what_is_wrong() {
    let meeting = Meeting::new();
    let mut three = meeting.three([0, 1, 2]);
    ask(&three[0], &["topic", "create", TOPIC, "-p", "1", "-r", "1"]);
    produce(&three[0], "a value");
    let has_it = |at: &usize| segment(&meeting.path().join(format!("data-{at}"))).exists();
    let owner = (0..3).find(has_it).unwrap();
    let folder = meeting.path().join(format!("data-{owner}"));
    let stopped = three.remove(owner).stop().unwrap();
    let whole = fs::read(segment(&folder)).unwrap();
    fs::write(segment(&folder), &whole[..whole.len() / 2]).unwrap();
    let back = BrokerProcess::start(stopped).unwrap();
    // After a clean stop a log is opened by whoever needs it first.
    let address = back.address().to_string();
    let arguments = ["produce", TOPIC, "--timeout", "2s", "-b", &address];
    assert_ne!(run(command(&arguments), b"refused\n").code, 0);
    let http = back.http_address().to_string();
    let mut said = String::new();
    wait_until(DEADLINE, || {
        let ran = run(command(&["cluster", "health", "--http", &http, "--this-broker"]), b"");
        said = ran.out + &ran.err;
        Ok(said.contains(&format!("its copy of {TOPIC}-0 is damaged")))
    })
    .unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(set_aside(&folder).is_empty());
    assert_eq!(fs::read(segment(&folder)).unwrap().len(), whole.len() / 2, "nothing is touched");
    ask_http(&back, &["cluster", "members"], |_| true);
}
