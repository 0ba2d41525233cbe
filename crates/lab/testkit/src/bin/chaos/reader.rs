//! Consumers that are given their partitions: along with the producers, and once more in the end.

use crate::value::value_in;
use crate::workload::{Rover, Shared, error_kind, pause};
use anyhow::{Context, Result, bail, ensure};
use jocko_client::{ClientError, Fetched, Position};
use jocko_records::Records;
use jocko_testkit::{Event, Run};
use jocko_types::{ErrorCode, Offset};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long one poll may wait for records.
const POLL: Duration = Duration::from_millis(200);
/// After that a broker counts as hung.
const POLL_MAX: Duration = Duration::from_secs(2);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
const UNPACKED_BYTES_MAX: u64 = 16 << 20;
/// How long the final read may take.
const FINAL_MAX: Duration = Duration::from_secs(60);

/// Reads all partitions until told to stop.
pub(crate) fn read_along(shared: &Shared, process: u32) -> Result<()> {
    let mut rover = Rover::new(&shared.bootstrap, process as usize)?;
    let mut positions: Vec<(i32, Offset)> =
        (0..i32::try_from(shared.partitions)?).map(|partition| (partition, Offset::ZERO)).collect();
    while !shared.are_readers_stopped() {
        let Some(fetched) = fetch(&mut rover, shared, &positions) else {
            pause(PAUSE);
            continue;
        };
        let mut failed = false;
        for (partition, outcome) in fetched {
            let position = positions.iter_mut().find(|(other, _)| *other == partition);
            let (_, position) = position.context("a partition that was asked for")?;
            match outcome {
                Ok(fetched) => *position = note(shared, (process, partition), *position, &fetched)?,
                Err(error) => {
                    failed = true;
                    trouble(shared, partition, *position, &error);
                }
            }
        }
        // A leader fills its answer in the order asked.
        positions.rotate_left(1);
        if failed {
            pause(PAUSE);
        }
    }
    Ok(())
}

type Outcomes = Vec<(i32, jocko_client::Result<Fetched>)>;

fn fetch(rover: &mut Rover, shared: &Shared, wanted: &[(i32, Offset)]) -> Option<Outcomes> {
    let topic = &shared.topic;
    let fetched = rover.with(async |client| {
        let fetching = client.fetch_all(topic, wanted, POLL);
        match tokio::time::timeout(POLL_MAX, fetching).await {
            Ok(fetched) => fetched.map(Some),
            Err(_) => Ok(None),
        }
    });
    match fetched {
        Ok(Some(fetched)) => Some(fetched),
        // A broker hangs, or has none to say who leads.
        Ok(None) => {
            rover.rove();
            None
        }
        Err(error) => {
            shared.trouble(format!("Fetch: {}", error_kind(&error)));
            rover.rove();
            None
        }
    }
}

fn trouble(shared: &Shared, partition: i32, position: Offset, error: &ClientError) {
    if let ClientError::Refused { code: ErrorCode::OffsetOutOfRange, .. } = error {
        // A leader that does not have yet what was read must not say that it never will.
        let what =
            format!("partition {partition}: {position} is out of range after it was reached");
        shared.complain(what);
    } else if !error.is_retriable() {
        shared.trouble(format!("Fetch: {error}"));
    } else {
        shared.trouble(format!("Fetch: {}", error_kind(error)));
    }
}

/// Writes down what a fetch has brought; where to go on.
fn note(
    shared: &Shared,
    (process, partition): (u32, i32),
    from: Offset,
    fetched: &Fetched,
) -> Result<Offset> {
    let mut runs = Runs::default();
    let mut records = Records::new(&fetched.records, from, UNPACKED_BYTES_MAX);
    loop {
        match records.next() {
            Ok(Some(record)) => {
                let offset = record.offset.get();
                if offset >= fetched.high_watermark.get() {
                    shared.complain(format!(
                        "partition {partition}: {offset} was served under high watermark {}",
                        fetched.high_watermark
                    ));
                }
                match record.value.and_then(value_in) {
                    Some(value) => runs.push(offset, value),
                    None => shared.complain(format!(
                        "partition {partition}: the value at {offset} is nobody's"
                    )),
                }
            }
            Ok(None) => break,
            Err(fault) => {
                shared
                    .complain(format!("partition {partition}: {}: {fault}", records.next_offset()));
                break;
            }
        }
    }
    let next = records.next_offset();
    if let Some(event) = runs.into_event(shared, process, u32::try_from(partition)?) {
        shared.record(&event);
    }
    Ok(next)
}

/// Records of one poll, as few runs.
#[derive(Debug, Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    pub(crate) fn push(&mut self, offset: i64, value: u64) {
        if let Some(Run(first, first_value, count)) = self.0.last_mut()
            && *first + i64::from(*count) == offset
            && *first_value + u64::from(*count) == value
        {
            *count += 1;
        } else {
            self.0.push(Run(offset, value, 1));
        }
    }

    /// The poll, unless nothing came.
    pub(crate) fn into_event(self, shared: &Shared, process: u32, partition: u32) -> Option<Event> {
        let topic = shared.topic.clone();
        let Self(records) = self;
        (!records.is_empty()).then_some(Event::Poll { process, topic, partition, records })
    }
}

/// Reads every partition from its start to its end, and says in the history that it has. Yields the
/// ends by partition.
pub(crate) fn read_finally(shared: &Shared, process: u32) -> Result<BTreeMap<u32, i64>> {
    let mut ends = BTreeMap::new();
    let begun = Instant::now();
    let mut rover = Rover::new(&shared.bootstrap, 0)?;
    for partition in 0..i32::try_from(shared.partitions)? {
        let topic = &shared.topic;
        let mut end = None;
        let mut position = Offset::ZERO;
        while end.is_none_or(|end| position < end) {
            ensure!(
                begun.elapsed() < FINAL_MAX,
                "the final read of partition {partition} stands at {position}; its end is {end:?}"
            );
            if end.is_none() {
                let asked = async |client: &mut jocko_client::Client| {
                    client.offset(topic, partition, Position::End).await
                };
                match rover.with(asked) {
                    Ok(offset) => {
                        end = Some(offset);
                        let (topic, end) = (topic.clone(), offset.get());
                        let partition = u32::try_from(partition)?;
                        shared.record(&Event::Final { process, topic, partition, end });
                    }
                    Err(error) => {
                        shared.trouble(format!("ListOffsets: {}", error_kind(&error)));
                        rover.rove();
                        pause(PAUSE);
                    }
                }
                continue;
            }
            for (_, outcome) in
                fetch(&mut rover, shared, &[(partition, position)]).unwrap_or_default()
            {
                match outcome {
                    Ok(fetched) => {
                        position = note(shared, (process, partition), position, &fetched)?
                    }
                    Err(ClientError::Refused { code: ErrorCode::OffsetOutOfRange, .. }) => {
                        bail!(
                            "partition {partition}: {position} is out of range, its end is {end:?}"
                        );
                    }
                    Err(error) => {
                        shared.trouble(format!("Fetch: {}", error_kind(&error)));
                        pause(PAUSE);
                    }
                }
            }
        }
        ends.insert(u32::try_from(partition)?, end.map_or(0, Offset::get));
    }
    Ok(ends)
}
