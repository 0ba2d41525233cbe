//! Many topics: how long they take to create, what they cost in memory, and how long a broker takes
//! to stop and to come back with them.

use super::process::resident_megabytes;
use super::raw::Client;
use super::{BOTH, Plan, millis, tell};
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};

/// Topics in one CreateTopics request.
const BATCH: usize = 100;
/// A broker that has not brought its topics back by then is not going to.
const READY_MAX: Duration = Duration::from_secs(120);

/// The figures, in the order in which they come.
const FIGURES: [(&str, &str); 8] = [
    ("created, 100 a request", "ms"),
    ("memory with them", "MB"),
    ("clean stop", "ms"),
    ("restart to all leaders known", "ms"),
    ("memory after the restart", "MB"),
    ("after kill -9 to all leaders known", "ms"),
    ("memory after that", "MB"),
    ("as many more, one a request", "ms"),
];

pub(super) fn run(root: &Path, folder: &Path, topics: usize) -> Result<()> {
    let mut figures = [[0.0; 2]; FIGURES.len()];
    for (at, kind) in BOTH.into_iter().enumerate() {
        let measured = measure(&Plan::new(kind, root, folder), topics)?;
        for (row, value) in figures.iter_mut().zip(measured) {
            row[at] = value;
        }
    }
    for ((what, unit), values) in FIGURES.into_iter().zip(figures) {
        tell(what, unit, values);
    }
    Ok(())
}

fn measure(plan: &Plan, topics: usize) -> Result<[f64; FIGURES.len()]> {
    let broker = plan.start()?;
    let mut client = Client::open(&broker.bootstrap())?;
    let names: Vec<String> = (0..topics).map(|number| format!("together-{number}")).collect();
    let created = create(&mut client, &names, BATCH)?;
    let memory = resident_megabytes(broker.pid())?;
    let stop = broker.stop()?;

    let (broker, restart) = start_with(plan, topics)?;
    let memory_again = resident_megabytes(broker.pid())?;
    // Dropping a broker kills it with -9 and waits for its end.
    drop(broker);

    let (broker, recovery) = start_with(plan, topics)?;
    let memory_recovered = resident_megabytes(broker.pid())?;
    let names: Vec<String> = (0..topics).map(|number| format!("alone-{number}")).collect();
    let one_by_one = create(&mut Client::open(&broker.bootstrap())?, &names, 1)?;
    broker.stop()?;
    Ok([
        millis(created),
        memory,
        millis(stop),
        millis(restart),
        memory_again,
        millis(recovery),
        memory_recovered,
        millis(one_by_one),
    ])
}

fn create(client: &mut Client, names: &[String], batch: usize) -> Result<Duration> {
    let started = Instant::now();
    for names in names.chunks(batch) {
        client.create_topics(names, &[])?;
    }
    Ok(started.elapsed())
}

/// Starts a broker; from the start of its process until it knows a leader for every topic.
fn start_with(plan: &Plan, topics: usize) -> Result<(crate::process::Broker, Duration)> {
    let broker = plan.start()?;
    let connected = Instant::now();
    let mut client = Client::open(&broker.bootstrap())?;
    loop {
        let led = client.topics_with_leader()?;
        if led >= topics {
            let ready = broker.ready_in() + connected.elapsed();
            return Ok((broker, ready));
        }
        let waited = connected.elapsed();
        ensure!(waited < READY_MAX, "{} leads {led} of {topics} after {waited:?}", broker.name());
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
