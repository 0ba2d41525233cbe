//! Three real brokers on loopback: they find each other and form one cluster, whoever is asked
//! administers all of it, and one that dies is missed and comes back.

mod cut_off;
mod damaged;
mod disks;
mod finding;
mod in_sync;
mod leaving;
mod moving;
mod reading;

use crate::harness::{DEADLINE, JOCKO, command, run};
use jocko_testkit::{BrokerProcess, Options, free_ports, wait_until};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// Ports for brokers to meet at, known to all of them beforehand.
struct Meeting {
    folder: TempDir,
    gossip: Vec<u16>,
    cluster: Vec<u16>,
}

impl Meeting {
    fn new() -> Self {
        let ports = free_ports::<8>().unwrap();
        let (gossip, cluster) = (ports[..4].to_vec(), ports[4..].to_vec());
        Self { folder: tempfile::tempdir().unwrap(), gossip, cluster }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Broker `at`, with these arguments more.
    fn options(&self, at: usize, arguments: &[&str]) -> Options {
        let join: Vec<String> =
            self.gossip[..3].iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut options = Options::new(JOCKO, self.path().join(format!("data-{at}"))).unwrap();
        options.arguments = [
            format!("--join={}", join.join(",")),
            format!("--listen-cluster=127.0.0.1:{}", self.cluster[at]),
            format!("--listen-gossip=127.0.0.1:{}", self.gossip[at]),
        ]
        .into_iter()
        .chain(arguments.iter().map(|&argument| argument.to_owned()))
        .collect();
        options
    }

    fn founder(&self, at: usize) -> BrokerProcess {
        BrokerProcess::spawn(self.options(at, &["--expect=3"])).unwrap()
    }

    /// Three brokers that have formed a cluster.
    fn three(&self, order: [usize; 3]) -> Vec<BrokerProcess> {
        let mut started: Vec<(usize, BrokerProcess)> =
            order.into_iter().map(|at| (at, self.founder(at))).collect();
        for (_, process) in &mut started {
            process.wait_ready().unwrap();
        }
        started.sort_by_key(|(at, _)| *at);
        started.into_iter().map(|(_, process)| process).collect()
    }
}

/// Runs a command against one broker until it succeeds.
fn ask(process: &BrokerProcess, arguments: &[&str]) -> String {
    let mut said = String::new();
    let address = process.address().to_string();
    wait_until(DEADLINE, || {
        let mut command = command(arguments);
        command.args(["-b", &address]);
        let ran = run(command, b"");
        let is_done = ran.code == 0;
        said = if is_done { ran.out } else { ran.err };
        Ok(is_done)
    })
    .unwrap_or_else(|error| panic!("{arguments:?} of {address}: {error}: {said}"));
    said
}

fn topics(process: &BrokerProcess) -> Vec<String> {
    let listed: Value =
        serde_json::from_str(&ask(process, &["topic", "list", "-o", "json"])).unwrap();
    let listed = listed.as_array().unwrap().iter();
    listed
        .map(|topic| topic["topic"].as_str().or(topic["name"].as_str()).unwrap().to_owned())
        .collect()
}

fn says(process: &BrokerProcess, words: &str) {
    let said = wait_until(DEADLINE, || Ok(process.log()?.contains(words)));
    assert!(said.is_ok(), "never said {words:?}: {}", process.log().unwrap());
}

/// Runs a command against one broker's HTTP port until its answer is as wanted.
fn ask_http(process: &BrokerProcess, arguments: &[&str], is_wanted: fn(&Value) -> bool) -> Value {
    let mut told = Value::Null;
    let mut said = String::new();
    let http = process.http_address().to_string();
    wait_until(DEADLINE, || {
        let mut command = command(arguments);
        command.args(["-o", "json", "--http", &http]);
        let ran = run(command, b"");
        if ran.code == 0 {
            told = serde_json::from_str(&ran.out).unwrap();
        }
        said = ran.out + &ran.err;
        Ok(ran.code == 0 && is_wanted(&told))
    })
    .unwrap_or_else(|error| panic!("{arguments:?} of {http}: {error}: {said}"));
    told
}

/// Who leads the metadata, as far as a broker knows.
fn leader(process: &BrokerProcess) -> Option<i64> {
    let quorum: Value =
        serde_json::from_str(&ask(process, &["cluster", "quorum", "-o", "json"])).unwrap();
    quorum["leader"].as_i64()
}

/// How many brokers a broker's metadata lists.
fn brokers(process: &BrokerProcess) -> usize {
    let status: Value =
        serde_json::from_str(&ask(process, &["cluster", "status", "-o", "json"])).unwrap();
    status["brokers"].as_array().unwrap().len()
}

#[test]
fn three_blank_brokers_form_one_cluster_and_one_may_die() {
    let meeting = Meeting::new();
    let mut three = meeting.three([2, 0, 1]);
    for (at, process) in three.iter().enumerate() {
        ask(process, &["topic", "create", &format!("made-{at}"), "-p", "3"]);
    }
    for process in &three {
        assert_eq!(topics(process), ["made-0", "made-1", "made-2"]);
        assert_eq!(brokers(process), 3);
    }
    let killed = three.remove(1).kill().unwrap();
    ask(&three[0], &["topic", "create", "after"]);
    ask(&three[1], &["topic", "create", "after-too"]);
    let back = BrokerProcess::start(killed).unwrap();
    assert_eq!(topics(&back), ["after", "after-too", "made-0", "made-1", "made-2"]);
    let mut fourth = BrokerProcess::spawn(meeting.options(3, &[])).unwrap();
    fourth.wait_ready().unwrap();
    assert_eq!(topics(&fourth), topics(&back));
    assert_eq!(brokers(&fourth), 4);
    // A stop in order: others take over, and it comes back to the same cluster.
    let stopped = three.remove(0).stop().unwrap();
    ask(&fourth, &["topic", "create", "meanwhile"]);
    let again = BrokerProcess::start(stopped).unwrap();
    assert!(topics(&again).contains(&"meanwhile".to_owned()));
}

#[test]
fn each_of_three_tells_of_all_and_the_lead_is_handed_over() {
    let meeting = Meeting::new();
    let mut three = meeting.three([0, 1, 2]);
    let all_live = |told: &Value| {
        let told = told.as_array().unwrap();
        told.len() == 3 && told.iter().all(|member| member["state"] == "live")
    };
    for process in &three {
        let told = ask_http(process, &["cluster", "members"], all_live);
        for (member, id) in told.as_array().unwrap().iter().zip(1..) {
            assert_eq!(member["broker"], id);
            assert_eq!(member["release"], env!("CARGO_PKG_VERSION"));
        }
        let mut cluster: Vec<&str> =
            told.as_array().unwrap().iter().map(|it| it["cluster"].as_str().unwrap()).collect();
        cluster.sort_unstable();
        let mut ports: Vec<String> =
            meeting.cluster[..3].iter().map(|port| format!("127.0.0.1:{port}")).collect();
        ports.sort_unstable();
        assert_eq!(cluster, ports);
        ask_http(process, &["cluster", "events"], |told| {
            let joined = |event: &&Value| event["event"] == "joined";
            told.as_array().unwrap().iter().filter(joined).count() >= 2
        });
    }
    // Whoever is asked, the lead goes where it is wanted, and everybody follows.
    for process in &three {
        let before = leader(process).unwrap();
        let to = before % 3 + 1;
        let transfer = ["cluster", "transfer-leader", &to.to_string()];
        let dry = [&transfer[..], &["--dry-run"]].concat();
        assert_eq!(ask_http(process, &dry, |_| true)["leader"], to);
        let followed = wait_until(DEADLINE, || {
            // Asked again, should another have been elected meanwhile.
            assert_eq!(ask_http(process, &transfer, |_| true)["leader"], to);
            Ok(three.iter().all(|other| leader(other) == Some(to)))
        });
        assert!(followed.is_ok(), "{:?} leads, not {to}", leader(process));
    }
    // One that is killed is not seen after a while, and the others do without it.
    three.remove(2).kill().unwrap();
    let told = ask_http(&three[0], &["cluster", "members"], |told| {
        told.as_array().unwrap().iter().filter(|member| member["state"] == "unseen").count() == 1
    });
    let mut told = told.as_array().unwrap().iter();
    let killed = told.find(|member| member["state"] == "unseen").unwrap()["broker"].to_string();
    ask_http(&three[0], &["cluster", "transfer-leader", "--dry-run"], |_| true);
    let address = three[1].address().to_string();
    let mut said = String::new();
    let forgotten = wait_until(DEADLINE, || {
        let mut command = command(&["cluster", "remove", &killed, "--yes"]);
        command.args(["-b", &address]);
        let ran = run(command, b"");
        said = ran.out + &ran.err;
        Ok(brokers(&three[0]) == 2)
    });
    assert!(forgotten.is_ok(), "{said}");
}

#[test]
fn a_broker_that_is_missing_is_waited_for_in_words() {
    let meeting = Meeting::new();
    let mut first = meeting.founder(0);
    says(&first, "waiting for 2 more of 3 brokers");
    let tells = |asked: &[&str], words: &str| {
        let http = first.http_address().to_string();
        let mut said = String::new();
        let told = wait_until(DEADLINE, || {
            let mut command = command(asked);
            command.args(["--http", &http]);
            said = run(command, b"").out;
            Ok(said.contains(words))
        });
        assert!(told.is_ok(), "{asked:?} never said {words:?}: {said}");
    };
    tells(&["cluster", "members"], "not part of a cluster yet: waiting for 2 more");
    tells(&["cluster", "events"], "nothing yet: waiting for 2 more");
    let mut second = meeting.founder(1);
    says(&first, "waiting for 1 more of 3 brokers");
    tells(&["cluster", "members"], "seen");
    tells(&["cluster", "members"], "not part of a cluster yet: waiting for 1 more");
    let mut third = meeting.founder(2);
    for process in [&mut first, &mut second, &mut third] {
        process.wait_ready().unwrap();
    }
    assert_eq!(brokers(&third), 3);
}

#[test]
fn a_broker_that_began_alone_is_joined() {
    let meeting = Meeting::new();
    let cluster = format!("--listen-cluster=127.0.0.1:{}", meeting.cluster[0]);
    let gossip = format!("--listen-gossip=127.0.0.1:{}", meeting.gossip[0]);
    let mut options = Options::new(JOCKO, meeting.path().join("data-0")).unwrap();
    options.arguments = vec![cluster, gossip];
    let alone = BrokerProcess::start(options).unwrap();
    ask(&alone, &["topic", "create", "before"]);
    let mut joined = BrokerProcess::spawn(meeting.options(1, &[])).unwrap();
    joined.wait_ready().unwrap();
    assert_eq!(topics(&joined), ["before"]);
    ask(&joined, &["topic", "create", "through-the-new-one"]);
    assert_eq!(topics(&alone), ["before", "through-the-new-one"]);
}

#[test]
fn a_directory_of_another_cluster_is_refused_with_both_ids() {
    let meeting = Meeting::new();
    let mut elsewhere = Options::new(JOCKO, meeting.path().join("data-3")).unwrap();
    elsewhere.arguments =
        vec!["--listen-cluster=none".to_owned(), "--listen-gossip=none".to_owned()];
    BrokerProcess::start(elsewhere).unwrap().stop().unwrap();
    let cluster = format!("--listen-cluster=127.0.0.1:{}", meeting.cluster[0]);
    let gossip = format!("--listen-gossip=127.0.0.1:{}", meeting.gossip[0]);
    let mut options = Options::new(JOCKO, meeting.path().join("data-0")).unwrap();
    options.arguments = vec![cluster, gossip];
    let home = BrokerProcess::start(options).unwrap();
    let mut visitor = BrokerProcess::spawn(meeting.options(3, &[])).unwrap();
    says(&visitor, "this data directory belongs to cluster");
    wait_until(DEADLINE, || Ok(!visitor.is_running()?)).unwrap();
    assert_eq!(brokers(&home), 1);
}
