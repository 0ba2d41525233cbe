//! Clients of others, in processes of their own: they write and read in groups, and what they
//! print goes into the history.

use crate::reader::Runs;
use crate::workload::{Shared, lock};
use anyhow::{Context, Result, ensure};
use jocko_testkit::{Event, Run};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// Foreign producers begin with this number in histories.
const PRODUCER_FIRST: u32 = 100;
/// Members of groups begin with this one: each client has ten.
const MEMBER_FIRST: u32 = 500;
/// Members of a client's group.
const MEMBERS: u32 = 2;
/// How long a producer may take for what is on its way.
const FLUSH_MAX: Duration = Duration::from_secs(70);

/// A client library, as `--foreign` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreign {
    name: String,
    /// The program that speaks for it, given the five arguments of docs/internals/chaos.md; none:
    /// kcat, which prints no history of its own.
    program: Option<Vec<String>>,
}

impl Foreign {
    pub(crate) fn kcat() -> Self {
        Self { name: "kcat".to_owned(), program: None }
    }

    /// `NAME=["program","argument",...]`.
    pub(crate) fn program(text: &str) -> Result<Self> {
        let (name, program) = text.split_once('=').context("--program wants NAME=[...]")?;
        let program: Vec<String> = serde_json::from_str(program)?;
        ensure!(!program.is_empty(), "--program names no program");
        Ok(Self { name: name.to_owned(), program: Some(program) })
    }

    /// Whether it is on this machine.
    pub(crate) fn is_here(&self) -> bool {
        let Some(program) = &self.program else {
            let asked = Command::new("kcat").arg("-V").output();
            return asked.is_ok_and(|asked| asked.status.success());
        };
        !program.is_empty()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it does in a round: a producer, if it can tell of one, and members of a group. `at` is
    /// its place among the clients of the run.
    pub(crate) fn start(&self, shared: &Shared, at: u32) -> Result<Vec<Client>> {
        let members = (0..MEMBERS).map(|number| (MEMBER_FIRST + at * 10 + number, "consume"));
        let mut roles: Vec<(u32, &str)> = members.collect();
        if self.program.is_some() {
            roles.push((PRODUCER_FIRST + at, "produce"));
        }
        let started = roles.into_iter().map(|(process, role)| {
            let mut command = match &self.program {
                Some(program) => own_words(program, shared, process, role),
                None => kcat(shared),
            };
            let spawned =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
            let mut child = spawned.with_context(|| format!("starting {}", self.name))?;
            let (stdin, told) = (child.stdin.take(), child.stdout.take());
            let client = self.name.clone();
            let is_kcat = self.program.is_none();
            Ok(Client { child, stdin, told, process, is_kcat, client, role: role.to_owned() })
        });
        started.collect()
    }
}

fn own_words(program: &[String], shared: &Shared, process: u32, role: &str) -> Command {
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).arg(shared.bootstrap.join(",")).arg(&shared.topic);
    command.args([shared.partitions.to_string(), process.to_string(), role.to_owned()]);
    command
}

fn kcat(shared: &Shared) -> Command {
    let mut command = Command::new("kcat");
    command
        .args(["-b", &shared.bootstrap.join(",")])
        .args(["-G", &format!("kcat-{}", shared.topic)])
        .args(["-X", "auto.offset.reset=earliest"])
        .args(["-X", "session.timeout.ms=6000"])
        .args(["-X", "partition.assignment.strategy=roundrobin"])
        // Not ended by brokers that go; each record as it comes: partition, offset, value.
        .args(["-E", "-u", "-q", "-f", "%p %o %s\n"])
        .arg(&shared.topic);
    command
}

/// A process of a client. Dropping it kills it.
pub(crate) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    told: Option<ChildStdout>,
    process: u32,
    is_kcat: bool,
    client: String,
    role: String,
}

impl Client {
    /// What it prints, once, and how that is to be taken down.
    pub(crate) fn transcript(&mut self) -> Result<Transcript> {
        let told = self.told.take().context("what it prints is taken down once")?;
        let (process, is_kcat, client) = (self.process, self.is_kcat, self.client.clone());
        Ok(Transcript { told, process, is_kcat, client })
    }

    pub(crate) fn is_producer(&self) -> bool {
        self.role == "produce"
    }

    /// Lets a producer end what is on its way, and waits for it.
    pub(crate) fn finish(mut self) -> Result<()> {
        drop(self.stdin.take());
        let child = &mut self.child;
        jocko_testkit::wait_until(FLUSH_MAX, || Ok(child.try_wait()?.is_some()))
            .with_context(|| format!("waiting for the producer of {}", self.client))?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the producer of {} ended with {status}", self.client);
        Ok(())
    }

    /// That it has not ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        let (client, role) = (&self.client, &self.role);
        ensure!(ended.is_none(), "{client}, which should {role}, ended by itself: {ended:?}");
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the members of groups have been handed: by client and partition, the offset after the
/// greatest.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<BTreeMap<String, BTreeMap<u32, i64>>>);

impl Progress {
    fn note(&self, client: &str, partition: u32, next: i64) {
        let mut clients = lock(&self.0);
        let reached = clients.entry(client.to_owned()).or_default().entry(partition).or_default();
        *reached = (*reached).max(next);
    }

    /// Whether the group of a client has come to these ends.
    pub(crate) fn is_at(&self, client: &str, ends: &BTreeMap<u32, i64>) -> bool {
        let clients = lock(&self.0);
        let reached = |partition| clients.get(client).and_then(|all| all.get(partition));
        ends.iter()
            .all(|(partition, end)| *end == 0 || reached(partition).is_some_and(|at| at >= end))
    }

    pub(crate) fn reached(&self, client: &str) -> BTreeMap<u32, i64> {
        lock(&self.0).get(client).cloned().unwrap_or_default()
    }
}

/// What a client prints.
pub(crate) struct Transcript {
    told: ChildStdout,
    process: u32,
    is_kcat: bool,
    client: String,
}

impl Transcript {
    /// Takes it down until its end.
    pub(crate) fn take_down(self, shared: &Shared, progress: &Progress) {
        let Self { told, process, is_kcat, client } = self;
        let mut due = BTreeMap::new();
        for line in BufReader::new(told).lines() {
            let Ok(line) = line else { break };
            if is_kcat {
                note_of_kcat(shared, process, &line, &mut due, |partition, next| {
                    progress.note(&client, partition, next);
                });
                continue;
            }
            let event = match serde_json::from_str(&line) {
                Ok(event) => event,
                Err(error) => {
                    shared.complain(format!("{client} printed {line:?}: {error}"));
                    continue;
                }
            };
            match &event {
                Event::Send { offset: Some(_), partition, count, .. } => {
                    shared.other_acknowledged(&client, *partition, *count);
                }
                Event::Send { outcome, .. } => shared.trouble(format!("{client}: {outcome:?}")),
                Event::Poll { partition, records, .. } => {
                    if let Some(Run(first, _, count)) = records.last() {
                        progress.note(&client, *partition, first + i64::from(*count));
                    }
                }
                Event::Seek { .. } | Event::Final { .. } => {}
            }
            shared.record(&event);
        }
    }
}

/// kcat does not say when partitions are given and taken, so wherever it does not go on where it
/// was it counts as given anew: rebalances excuse skips and repeats (docs/internals/chaos.md), not other
/// values and not lost ones.
fn note_of_kcat(
    shared: &Shared,
    process: u32,
    line: &str,
    due: &mut BTreeMap<u32, i64>,
    reached: impl FnOnce(u32, i64),
) {
    let Some((partition, offset, value)) = parsed(line) else {
        shared.complain(format!("kcat printed {line:?}"));
        return;
    };
    if due.insert(partition, offset + 1) != Some(offset) {
        let topic = shared.topic.clone();
        shared.record(&Event::Seek { process, topic, partition });
    }
    let mut runs = Runs::default();
    runs.push(offset, value);
    if let Some(event) = runs.into_event(shared, process, partition) {
        shared.record(&event);
    }
    reached(partition, offset + 1);
}

fn parsed(line: &str) -> Option<(u32, i64, u64)> {
    let mut words = line.splitn(3, ' ');
    let partition = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    let value = crate::value::value_in(words.next()?.as_bytes())?;
    Some((partition, offset, value))
}
