//! Starts, stops, and what stands in the way of a start.

use crate::harness::{Broker, DEADLINE, JOCKO, command, run};
use jocko_testkit::{BrokerProcess, Options, free_ports, wait_until};
use std::net::TcpListener;

#[test]
fn a_clean_stop_leaves_nothing_to_recover() {
    let broker = Broker::start();
    let status = broker.json(&["cluster", "status"]);
    let broker = broker.stop_and_start(&[]);
    let log = broker.process.log().unwrap();
    assert!(log.contains("stopped"), "{log}");
    assert!(!log.contains("unclean"), "{log}");
    assert_eq!(broker.json(&["cluster", "status"]), status, "the same cluster, the same broker");
}

#[test]
fn a_signal_stops_it_cleanly_whenever_it_comes() {
    for signal in ["-INT", "-TERM"] {
        // Connections are taken a moment before the start is over.
        let mut broker = Broker::start();
        let pid = broker.process.pid().to_string();
        let kill = std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(kill.success());
        let process = &mut broker.process;
        wait_until(DEADLINE, || Ok(!process.is_running()?)).unwrap();
        let log = broker.process.log().unwrap();
        assert!(log.contains("stopped"), "{signal}: {log}");
    }
}

#[test]
fn one_process_has_a_data_directory() {
    let broker = Broker::start();
    let [kafka, http] = free_ports().unwrap();
    let data_dir = broker.data_dir();
    let second = run(
        command(&[
            "--data-dir",
            data_dir.to_str().unwrap(),
            "--listen-kafka",
            &format!("127.0.0.1:{kafka}"),
            "--listen-http",
            &format!("127.0.0.1:{http}"),
        ]),
        b"",
    );
    second.fails(1, &["cannot start", data_dir.to_str().unwrap(), "in use by another process"]);
    assert_eq!(broker.ok(&["topic", "list"]), "no topics\n", "the first goes on");
}

#[test]
fn a_port_in_use_is_said_with_a_cure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let [free] = free_ports().unwrap();
    let free = format!("127.0.0.1:{free}");
    // The listener holds its port until the test ends.
    for (kafka, http) in [(&taken, &free), (&free, &taken)] {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let arguments = [
            "--data-dir",
            data_dir.to_str().unwrap(),
            "--listen-kafka",
            kafka,
            "--listen-http",
            http,
        ];

        let refused = run(command(&arguments), b"");
        assert_eq!(refused.err.matches("cannot listen").count(), 1, "{refused:?}");
        refused
            .fails(1, &[&format!("cannot listen on {taken}"), "in use", "try:", "--listen-kafka"]);
    }
}

#[test]
fn a_port_in_use_spoils_no_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(JOCKO, folder.path().join("data")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let fail = || {
        let arguments = [
            "--data-dir",
            options.data_dir.to_str().unwrap(),
            "--listen-kafka",
            &format!("127.0.0.1:{}", options.port),
            "--listen-http",
            &taken.local_addr().unwrap().to_string(),
        ];
        run(command(&arguments), b"").fails(1, &["in use"]);
    };
    fail();
    let broker = BrokerProcess::start(options.clone()).unwrap();
    assert!(!broker.log().unwrap().contains("unclean"), "it never ran");
    broker.stop().unwrap();
    fail();
    let broker = BrokerProcess::start(options.clone()).unwrap();
    assert!(!broker.log().unwrap().contains("unclean"), "it stopped well");
}

#[test]
fn a_data_directory_that_cannot_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let data_dir = file.join("data");
    let options = Options::new(JOCKO, data_dir).unwrap().logging_to(folder.path().join("log"));
    let Err(error) = BrokerProcess::start(options) else { panic!("it cannot start there") };
    let said = format!("{error:#}");
    assert!(said.contains("cannot start") && said.contains("file"), "{said}");
}
