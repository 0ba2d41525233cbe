//! A consumer that reads along, so that what was ever shown to anyone is known: after a crash no
//! offset may hold anything else.

use crate::workload::{PATIENCE, Shared, Topic, client, lock, pause, runtime};
use anyhow::{Result, bail};
use jocko_client::{Client, ClientError, Fetched};
use jocko_records::Records;
use jocko_testkit::{History, Id, id_of};
use jocko_types::{ErrorCode, Offset};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long one poll may wait for records.
const POLL: Duration = Duration::from_millis(10);
/// No batch of this test unpacks to more.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 16 << 20;

/// Reads every partition of a topic round and round until told to stop.
pub(crate) fn read_along(shared: &Shared, topic: &Topic) -> Result<()> {
    let runtime = runtime()?;
    let mut client = client(shared.address);
    let mut positions = vec![0; topic.partitions.len()];
    while !shared.is_stopped() {
        for (partition, (history, _)) in (0..).zip(&topic.partitions) {
            let Some(position) = positions.get_mut(usize::try_from(partition)?) else { continue };
            match fetch(&runtime, &mut client, topic, partition, *position) {
                Ok(fetched) => *position = note(&fetched, *position, &mut lock(history))?,
                Err(ClientError::Refused { code: ErrorCode::OffsetOutOfRange, .. }) => {
                    // Shown before, and not there now. The verdict will say what is gone.
                    shared.refuse(format!(
                        "{} {partition}: offset {position} is out of range after it was reached",
                        topic.name
                    ));
                    return Ok(());
                }
                // The broker is down, or not up yet.
                Err(error) if error.is_retriable() => pause(POLL),
                Err(error) => {
                    shared.refuse(format!("fetch from {} {partition}: {error}", topic.name));
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn fetch(
    runtime: &Runtime,
    client: &mut Client,
    topic: &Topic,
    partition: i32,
    position: i64,
) -> Result<Fetched, ClientError> {
    runtime.block_on(client.fetch(&topic.name, partition, Offset::new(position), POLL))
}

/// Notes what a fetch has shown; where to go on.
fn note(fetched: &Fetched, from: i64, history: &mut History) -> Result<i64> {
    let high_watermark = fetched.high_watermark.get();
    history.told_high_watermark(high_watermark);
    each_record(&fetched.records, from, |offset, id| history.see(offset, id, high_watermark))
}

/// Hands every record from offset `from` on to `seen`; the offset after the last.
pub(crate) fn each_record(
    bytes: &[u8],
    from: i64,
    mut seen: impl FnMut(i64, Option<Id>),
) -> Result<i64> {
    let mut records = Records::new(bytes, Offset::new(from), UNPACKED_BYTES_MAX);
    loop {
        match records.next() {
            Ok(Some(record)) => seen(record.offset.get(), record.value.and_then(id_of)),
            Ok(None) => return Ok(records.next_offset().get()),
            Err(fault) => bail!("at {}: {fault}", records.next_offset()),
        }
    }
}

/// Reads a partition from its start to `end`, retrying while the broker is busy.
pub(crate) fn read_to(
    client: &mut Client,
    runtime: &Runtime,
    topic: &Topic,
    partition: i32,
    end: i64,
) -> Result<Vec<(i64, Option<Id>)>> {
    let mut records = Vec::new();
    let mut position = 0;
    let mut stuck_since = Instant::now();
    while position < end {
        let fetched = fetch(runtime, client, topic, partition, position)?;
        let before = position;
        position = each_record(&fetched.records, position, |at, id| records.push((at, id)))?;
        if position > before {
            stuck_since = Instant::now();
        } else if stuck_since.elapsed() > PATIENCE {
            bail!("nothing comes at {position}, though the end is {end}");
        }
    }
    Ok(records)
}
