//! Clients of others: programs that read in a group and tell what they were handed.

use crate::reader::Runs;
use crate::workload::{Shared, lock};
use anyhow::{Context, Result, bail};
use jocko_testkit::Event;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// The processes of groups begin with this number in histories.
const PROCESS_FIRST: u32 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// librdkafka, by its command line: two members of a group.
    Kcat,
}

impl Foreign {
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "kcat" => Ok(Self::Kcat),
            other => bail!("there is no foreign client {other:?} here; there is kcat"),
        }
    }

    /// Whether it is on this machine.
    pub(crate) fn is_here(self) -> bool {
        let Self::Kcat = self;
        let asked = Command::new("kcat").arg("-V").output();
        asked.is_ok_and(|asked| asked.status.success())
    }
}

/// A member of a group in a process of its own. Dropping it kills it.
pub(crate) struct Member {
    child: Child,
    process: u32,
}

impl Member {
    /// Starts a member that reads the topic of a round.
    pub(crate) fn start(shared: &Shared, number: u32) -> Result<(Self, ChildStdout)> {
        let mut child = Command::new("kcat")
            .args(["-b", &shared.bootstrap.join(",")])
            .args(["-G", &format!("group-{}", shared.topic)])
            .args(["-X", "auto.offset.reset=earliest"])
            .args(["-X", "session.timeout.ms=6000"])
            .args(["-X", "partition.assignment.strategy=roundrobin"])
            // Not ended by brokers that go; each record as it comes: partition, offset, value.
            .args(["-E", "-u", "-q", "-f", "%p %o %s\n"])
            .arg(&shared.topic)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting kcat")?;
        let told = child.stdout.take().context("what it prints")?;
        Ok((Self { child, process: PROCESS_FIRST + number }, told))
    }

    pub(crate) const fn process(&self) -> u32 {
        self.process
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the members of a group have been handed: by partition, the offset after the greatest.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<BTreeMap<u32, i64>>);

impl Progress {
    /// Whether the group has come to these ends.
    pub(crate) fn is_at(&self, ends: &BTreeMap<u32, i64>) -> bool {
        let reached = lock(&self.0);
        ends.iter().all(|(partition, end)| {
            *end == 0 || reached.get(partition).is_some_and(|reached| reached >= end)
        })
    }

    pub(crate) fn reached(&self) -> BTreeMap<u32, i64> {
        lock(&self.0).clone()
    }
}

/// Takes down what a member was handed until it ends. A member does not say when partitions are
/// given and taken, so wherever it does not go on where it was it counts as given anew: rebalances
/// excuse skips and repeats (reliability.md 1.1), not other values and not lost ones.
pub(crate) fn take_down(shared: &Shared, process: u32, told: ChildStdout, progress: &Progress) {
    let mut due: BTreeMap<u32, i64> = BTreeMap::new();
    for line in BufReader::new(told).lines() {
        let Ok(line) = line else { break };
        let Some((partition, offset, value)) = parsed(&line) else {
            shared.complain(format!("kcat printed {line:?}"));
            continue;
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
        let mut reached = lock(&progress.0);
        let reached = reached.entry(partition).or_default();
        *reached = (*reached).max(offset + 1);
    }
}

fn parsed(line: &str) -> Option<(u32, i64, u64)> {
    let mut words = line.splitn(3, ' ');
    let partition = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    let value = crate::value::value_in(words.next()?.as_bytes())?;
    Some((partition, offset, value))
}
