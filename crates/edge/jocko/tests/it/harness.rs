//! A broker process with a folder of its own, and commands run to their end.

use jocko_testkit::{BrokerProcess, Options, wait_until};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const JOCKO: &str = env!("CARGO_BIN_EXE_jocko");
/// No command may take longer, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What it printed; it must have succeeded and complained of nothing. That it had to wait for a
    /// busy machine is no complaint.
    pub(crate) fn ok(self) -> String {
        let has_complained = self.err.lines().any(|line| !line.starts_with("waiting for "));
        assert!(self.code == 0 && !has_complained, "{self:#?}");
        self.out
    }

    /// It must have failed in this way, and said all of this.
    pub(crate) fn fails(&self, code: i32, said: &[&str]) {
        assert_ne!(code, 0, "that is no failure");
        self.noted(code, said);
    }

    /// It must have ended in this way, and said all of this beside what it printed.
    pub(crate) fn noted(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for words in said {
            assert!(self.err.contains(words), "not said: {words:?} in {self:#?}");
        }
        assert!(!self.err.contains("panicked"), "{self:#?}");
    }
}

/// A command that takes its settings from its arguments alone.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(JOCKO);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("JOCKO_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end, with this standard input.
pub(crate) fn run(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that fails early does not read its input; that is no fault of the test.
    let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let out = read_all(child.stdout.take().unwrap());
    let err = read_all(child.stderr.take().unwrap());
    let ended = wait_until(DEADLINE, || Ok(child.try_wait()?.is_some()));
    if ended.is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    feeding.join().unwrap();
    let ran = Ran { code: status.code().unwrap_or(-1), out: text(out), err: text(err) };
    assert!(ended.is_ok(), "still running: {command:?}: {ran:#?}");
    ran
}

type Reading = std::thread::JoinHandle<Vec<u8>>;

fn read_all(mut from: impl Read + Send + 'static) -> Reading {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn text(reading: Reading) -> String {
    String::from_utf8(reading.join().unwrap()).unwrap()
}

/// Runs a command that asks nobody.
pub(crate) fn jocko(arguments: &[&str]) -> Ran {
    run(command(arguments), b"")
}

/// A running broker and its folder.
pub(crate) struct Broker {
    pub(crate) folder: TempDir,
    pub(crate) process: BrokerProcess,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(JOCKO, folder.path().join("data")).unwrap();
        options.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = BrokerProcess::start(options).unwrap();
        Self { folder, process }
    }

    pub(crate) fn data_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.process.address().to_string()
    }

    /// kill -9, and starts again on the same folder and ports.
    pub(crate) fn kill_and_start(self) -> Self {
        let options = self.process.kill().unwrap();
        Self { process: BrokerProcess::start(options).unwrap(), folder: self.folder }
    }

    /// A clean stop, and a start on the same folder and ports with other arguments.
    pub(crate) fn stop_and_start(self, arguments: &[&str]) -> Self {
        let mut options = self.process.stop().unwrap();
        options.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { process: BrokerProcess::start(options).unwrap(), folder: self.folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.args(["-b", &self.bootstrap()]);
        command
    }

    /// Runs a command against this broker.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments), b"")
    }

    /// The output of a command that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    /// The same, as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-o", "json"]);
        serde_json::from_str(&self.ok(&arguments)).unwrap()
    }

    /// What `cluster status` says, but for the term, which each start of a voter takes anew.
    pub(crate) fn status(&self) -> serde_json::Value {
        let mut status = self.json(&["cluster", "status"]);
        status["term"].take();
        status
    }

    /// Writes these lines to a topic.
    pub(crate) fn produce(&self, arguments: &[&str], lines: &str) -> String {
        let mut all = vec!["produce"];
        all.extend(arguments);
        run(self.command(&all), lines.as_bytes()).ok()
    }

    /// Runs `produce` with these lines, whatever comes of it.
    pub(crate) fn try_produce(&self, arguments: &[&str], lines: &str) -> Ran {
        let mut all = vec!["produce"];
        all.extend(arguments);
        run(self.command(&all), lines.as_bytes())
    }

    /// Runs `produce` with this standard input.
    pub(crate) fn produce_bytes(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut all = vec!["produce"];
        all.extend(arguments);
        run(self.command(&all), input)
    }

    /// Starts `produce`, to be fed line by line.
    pub(crate) fn feed(&self, arguments: &[&str]) -> Feed {
        let mut all = vec!["produce"];
        all.extend(arguments);
        let mut child = self.command(&all).stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in out.map_while(Result::ok) {
                // Nobody may listen any more.
                let _ = sender.send(line);
            }
        });
        let err = read_all(child.stderr.take().unwrap());
        Feed { child, stdin, lines, err }
    }

    /// All values of a topic, in the order in which its partitions are read.
    pub(crate) fn values(&self, topic: &str) -> Vec<String> {
        let out = self.ok(&["consume", topic, "-o", "start", "-e"]);
        out.lines().map(str::to_owned).collect()
    }

    /// The first line of a command that goes on, and how it ends when nobody reads its output any
    /// more, as with `| head -1`.
    pub(crate) fn head(&self, arguments: &[&str]) -> Ran {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut out = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut out).unwrap();
        let err = read_all(child.stderr.take().unwrap());
        let ended = wait_until(DEADLINE, || Ok(child.try_wait()?.is_some()));
        if ended.is_err() {
            child.kill().unwrap();
        }
        let code = child.wait().unwrap().code().unwrap_or(-1);
        Ran { code, out, err: text(err) }
    }

    /// Starts a command that goes on, and passes its lines on.
    pub(crate) fn follow(&self, arguments: &[&str]) -> Follow {
        let mut child = self.command(arguments).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = channel();
        // Ends with the command, or when nobody listens any more.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Follow { child, lines: receiver }
    }
}

/// A `produce` that waits for lines.
pub(crate) struct Feed {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    err: Reading,
}

impl Feed {
    pub(crate) fn write(&mut self, lines: &str) {
        self.stdin.write_all(lines.as_bytes()).unwrap();
    }

    /// Waits until it says where the next batch went.
    pub(crate) fn acknowledged(self) -> Self {
        let told = self.lines.recv_timeout(DEADLINE);
        assert!(told.is_ok(), "nothing is acknowledged: {:#?}", self.end());
        self
    }

    /// Ends the input, and waits until all is written.
    pub(crate) fn end(mut self) -> Ran {
        drop(self.stdin);
        let ended = wait_until(DEADLINE, || Ok(self.child.try_wait()?.is_some()));
        if ended.is_err() {
            self.child.kill().unwrap();
        }
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let ran = Ran { code, out: self.lines.iter().collect(), err: text(self.err) };
        assert!(ended.is_ok(), "still running: {ran:#?}");
        ran
    }
}

/// A command that runs until it is dropped.
pub(crate) struct Follow {
    child: Child,
    pub(crate) lines: Receiver<String>,
}

impl Follow {
    /// Waits for its end, and whether it was one with success.
    pub(crate) fn ends_well(mut self) -> bool {
        wait_until(DEADLINE, || Ok(self.child.try_wait()?.is_some())).unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `first..end` as lines.
pub(crate) fn numbers(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| format!("{number}\n")).collect()
}

/// Where a command may be run that must not find a `jocko.toml`.
pub(crate) fn run_in(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = command(arguments);
    command.current_dir(folder);
    run(command, b"")
}
