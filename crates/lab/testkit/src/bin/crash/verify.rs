//! The end of a round: everything is read back and held against its history.

use crate::churn::listed;
use crate::reader::read_to;
use crate::workload::{Shared, client, pause, runtime};
use anyhow::{Context, Result, bail};
use jocko_client::{Client, Position};
use jocko_testkit::{Log, Tally};
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long a freshly started broker may take to say where a partition ends.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// Reads every partition of the round and judges it; the topics are deleted then.
pub(crate) fn verify(shared: Shared) -> Result<(Tally, Vec<String>)> {
    let runtime = runtime()?;
    let mut client = client(shared.address);
    let mut faults = shared.refusals();
    let mut sum = Tally::default();
    let listed = settled(|| listed(&runtime, &mut client))?;
    let metadata = shared.metadata.into_inner().unwrap_or_else(PoisonError::into_inner);
    faults.extend(metadata.judge(&listed));
    for name in metadata.written() {
        if settled(|| end_of(&runtime, &mut client, name, 0))? == 0 {
            faults.push(format!("topic {name:?} has lost the record that it took"));
        }
    }
    for mut topic in shared.topics {
        for (partition, (history, _)) in (0..).zip(std::mem::take(&mut topic.partitions)) {
            let end = settled(|| end_of(&runtime, &mut client, &topic.name, partition))?;
            let records = read_to(&mut client, &runtime, &topic, partition, end)
                .with_context(|| format!("reading {} {partition} back", topic.name))?;
            let history = history.into_inner().unwrap_or_else(PoisonError::into_inner);
            let tally = history.judge(&Log { end, records });
            let place = format!("{} {partition}", topic.name);
            faults.extend(tally.examples.iter().map(|fault| format!("{place}: {fault}")));
            sum.add(tally);
        }
        runtime.block_on(client.delete_topic(&topic.name)).context("deleting a topic")?;
    }
    Ok((sum, faults))
}

fn end_of(runtime: &Runtime, client: &mut Client, topic: &str, partition: i32) -> Result<i64> {
    Ok(runtime.block_on(client.offset(topic, partition, Position::End))?.get())
}

/// Tries until it works: right after a start some answers are not there yet.
fn settled<T>(mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if begun.elapsed() > SETTLE_MAX => bail!(error),
            Err(_) => pause(Duration::from_millis(10)),
        }
    }
}
