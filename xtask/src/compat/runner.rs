//! Runs one client's program and reads its verdicts, line by line: `PASS name`, `FAIL name: reason`,
//! `SKIP name: reason`. At `READY-FOR-RESTART` the brokers are restarted one after the other, at `READY-FOR-KILL` one is
//! killed and comes back; then a line is written back.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::clients::Client;
use super::report::{Outcome, Verdict};
use crate::cluster::Cluster;

/// However many scenarios there are.
const PROGRAM_MAX: Duration = Duration::from_secs(900);
/// A program is to limit each scenario to 20 seconds by itself, and to 60 where brokers restart; this is for one that
/// cannot: KafkaJS now and then spins for ever on a connection that is closed, and its own timers never fire.
const SILENCE_MAX: Duration = Duration::from_secs(180);

/// A program that is killed when it goes out of scope.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program is asked for.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// The scenarios named on the command line; none means all.
    pub(super) scenarios: &'a [String],
    /// All that it should have a verdict on.
    pub(super) all: &'a [&'static str],
}

/// Runs the scenarios that are asked for, and returns a verdict for each.
pub(super) fn run(
    home: &Path,
    client: &'static Client,
    mut command: Command,
    asked: &Asked<'_>,
    brokers: &mut Cluster,
) -> Result<Outcome> {
    let started = Instant::now();
    let errors = File::create(home.join(format!("{}.stderr", client.name)))?;
    let child = command
        .arg(brokers.bootstrap())
        .args(asked.scenarios)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start the program of {}", client.name))?;
    let mut program = Guard(child);
    let lines = line_channel(&mut program.0)?;
    let mut outcome = Outcome::new(client);
    loop {
        match lines.recv_timeout(PROGRAM_MAX.saturating_sub(started.elapsed()).min(SILENCE_MAX)) {
            Ok(line) if line.starts_with("READY-FOR-") => {
                match line.as_str() {
                    "READY-FOR-RESTART" => brokers.restart()?,
                    "READY-FOR-KILL" => brokers.kill_a_leader()?,
                    other => bail!("{} asks for {other}", client.name),
                }
                // A program that has given up is told by its own verdict, not by a broken pipe here.
                let _ = program.0.stdin.as_mut().map(|input| input.write_all(b"done\n"));
            }
            Ok(line) => {
                if outcome.read(&line) {
                    println!("{line}");
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let after = started.elapsed().as_secs();
                println!("{} says no more, after {after} s, and is ended", client.name);
                break;
            }
        }
    }
    let wanted = |name: &&&str| {
        asked.scenarios.is_empty() || asked.scenarios.iter().any(|wanted| wanted == **name)
    };
    for name in asked.all.iter().filter(wanted) {
        outcome.or_insert(name, || {
            client.lacks.map_or_else(
                || Verdict::Fail("the program ended without a verdict".to_owned()),
                |reason| Verdict::Skip(reason.to_owned()),
            )
        });
    }
    println!("   {} took {:.0} s", client.name, started.elapsed().as_secs_f64());
    Ok(outcome)
}

/// The lines a program prints, as they come; closed when it ends.
pub(super) fn line_channel(child: &mut Child) -> Result<Receiver<String>> {
    let output = child.stdout.take().context("the standard output is piped")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}
