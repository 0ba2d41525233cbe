//! Starts, stops, and what stands in the way of a start.

use crate::harness::{Broker, DEADLINE, JOCKO, command, run};
use jocko_testkit::{BrokerProcess, Options, free_ports, wait_until};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

#[test]
fn a_clean_stop_leaves_nothing_to_recover() {
    let broker = Broker::start();
    let status = broker.status();
    let broker = broker.stop_and_start(&[]);
    let log = broker.process.log().unwrap();
    assert!(log.contains("stopped"), "{log}");
    assert!(!log.contains("unclean"), "{log}");
    assert_eq!(broker.status(), status, "the same cluster, the same broker");
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
    let pid = broker.process.pid();
    let holder = format!("in use by another process, {pid} (jocko)");
    let cure = format!("try: use the broker that runs, stop it (kill {pid})");
    second.fails(1, &["cannot start", data_dir.to_str().unwrap(), &holder, &cure]);
    // The same command twice finds the ports taken, too; the directory says more.
    let third = run(
        command(&[
            "--data-dir",
            data_dir.to_str().unwrap(),
            "--listen-kafka",
            &broker.bootstrap(),
            "--listen-http",
            &format!("127.0.0.1:{http}"),
        ]),
        b"",
    );
    third.fails(1, &[&holder]);
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
    assert!(said.contains("try: choose another directory"), "{said}");
}

#[test]
fn a_config_that_is_not_there_is_said() {
    let ran = run(command(&["start", "--config", "/no/such/file.toml"]), b"");
    ran.fails(2, &["/no/such/file.toml", "try:", "--config FILE"]);
}

#[test]
fn an_address_that_cannot_be_is_found_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let [free] = free_ports().unwrap();
    // One of a network that is for documents alone, and a name that nobody has (RFC 5737, 6761).
    let free = format!("127.0.0.1:{free}");
    for wrong in ["192.0.2.1:19092", "jocko.invalid:19092"] {
        for (kafka, http) in [(wrong, free.as_str()), (&free, wrong)] {
            let arguments = [
                "--data-dir",
                data_dir.to_str().unwrap(),
                "--listen-kafka",
                kafka,
                "--listen-http",
                http,
            ];
            let ran = run(command(&arguments), b"");
            ran.fails(1, &[wrong, "try: choose an address of this machine"]);
            assert!(!data_dir.exists(), "{wrong}");
        }
    }
    let data_dir_said = data_dir.to_str().unwrap();
    let arguments = ["--data-dir", data_dir_said, "--listen-kafka", &free, "--listen-http", &free];
    run(command(&arguments), b"").fails(1, &[&free, "named twice", "try:"]);
    assert!(!data_dir.exists());
}

#[test]
fn an_identity_that_does_not_fit_the_log_is_said_at_once() {
    let ours = Broker::start();
    let theirs = Broker::start();
    let theirs_meta = theirs.data_dir().join("jocko.meta");
    let ours_meta = ours.data_dir().join("jocko.meta");
    let mut options = ours.process.stop().unwrap();
    theirs.process.stop().unwrap();
    std::fs::copy(theirs_meta, &ours_meta).unwrap();
    options.log = ours.folder.path().join("second.log");
    let Err(error) = BrokerProcess::start(options) else { panic!("it has no vote there") };
    let said = format!("{error:#}");
    for words in [ours_meta.to_str().unwrap(), "holds directory id", "for its voter", "try: put"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_data_directory_of_kafkas_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    std::fs::write(data_dir.join("meta.properties"), "version=1\n").unwrap();
    let options = Options::new(JOCKO, &data_dir).unwrap();
    let Err(error) = BrokerProcess::start(options) else { panic!("it is not ours") };
    let said = format!("{error:#}");
    assert!(said.contains("data directory of Apache Kafka's") && said.contains("try:"), "{said}");
    assert!(!data_dir.join("jocko.meta").exists());
}

/// Sends a signal.
fn tell(pid: u32, signal: &str) {
    let pid = pid.to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// A process that is killed if a test fails before its end.
struct Running(Option<Child>);

impl Running {
    fn tell(&self, signal: &str) {
        tell(self.0.as_ref().unwrap().id(), signal);
    }

    /// Its exit code and what it said, once it has ended.
    fn end(mut self) -> (Option<i32>, String) {
        let child = self.0.as_mut().unwrap();
        wait_until(DEADLINE, || Ok(child.try_wait()?.is_some())).unwrap();
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A broker that is not waited for, on free ports.
fn spawn(data_dir: &Path, arguments: &[&str]) -> (Running, [String; 2]) {
    let addresses = free_ports::<2>().unwrap().map(|port| format!("127.0.0.1:{port}"));
    let [kafka, http] = &addresses;
    let data_dir = data_dir.to_str().unwrap();
    let mut command = command(&["start", "--data-dir", data_dir]);
    command.args(["--listen-kafka", kafka, "--listen-http", http]).args(arguments);
    (Running(Some(command.stdout(Stdio::null()).spawn().unwrap())), addresses)
}

#[test]
fn a_start_that_waits_is_ended_by_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    // Whoever opens this waits for somebody who never comes.
    let pipe = data_dir.join("jocko-checkpoints-a");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    for (signals, code) in [(1, 143), (2, 143)] {
        let (child, _) = spawn(&data_dir, &[]);
        // By then it listens to signals.
        let meta = data_dir.join("jocko.meta");
        wait_until(DEADLINE, || Ok(meta.exists())).unwrap();
        for _ in 0..signals {
            child.tell("-TERM");
        }
        let (ended, said) = child.end();
        assert_eq!(ended, Some(code), "{said}");
        // Two that come at once may count as one.
        assert!(said.contains("before it was ready"), "{said}");
        assert!(signals > 1 || !said.contains("error"), "a stop that was asked for: {said}");
        std::fs::remove_file(meta).unwrap();
    }
}

/// An HTTP connection that asks until the broker waits for it to read an answer, and does not.
fn unread(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    // Nothing taken for so long: the broker is stuck in an answer.
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let questions = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    while stream.write_all(&questions).is_ok() {}
    stream
}

#[test]
fn requests_that_never_get_whole_hold_no_stop_up() {
    // Longer than anybody here waits.
    let broker = Broker::with(&["--node-shutdown-grace=10m"]);
    let http = broker.process.http_address();
    let mut held: Vec<_> = (0..80).map(|_| TcpStream::connect(http).unwrap()).collect();
    for stream in &mut held {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost:").unwrap();
    }
    broker.process.stop().unwrap();
}

#[test]
fn a_stop_that_waits_ends_with_its_grace() {
    let broker = Broker::with(&["--node-shutdown-grace=1s"]);
    let held = unread(&broker.process.http_address().to_string());
    broker.process.stop().unwrap();
    drop(held);
}

#[test]
fn a_second_signal_ends_a_stop_at_once() {
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let folder = tempfile::tempdir().unwrap();
        let (child, [kafka, http]) =
            spawn(&folder.path().join("data"), &["--node-shutdown-grace=10m"]);
        wait_until(DEADLINE, || Ok(TcpStream::connect(&http).is_ok())).unwrap();
        let held = unread(&http);
        child.tell(signal);
        // Its first act is to take no more connections.
        wait_until(DEADLINE, || Ok(TcpStream::connect(&kafka).is_err())).unwrap();
        child.tell(signal);
        let (ended, said) = child.end();
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains("told twice to stop") && said.contains("try:"), "{said}");
        drop(held);
    }
}
