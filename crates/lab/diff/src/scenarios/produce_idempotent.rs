//! Produce (key 0) with producer ids: duplicates, gaps, epochs and wrapped sequences (KIP-98,
//! KIP-360).

use super::produce::read_back;
use super::requests::produce;
use crate::batches::sequenced;
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::InitProducerIdRequest;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::Produce, "sequences", sequences),
    Scenario::new(ApiKey::Produce, "producer epochs", epochs),
    Scenario::new(ApiKey::Produce, "sequences that wrap", wrapping),
    Scenario::new(ApiKey::Produce, "random sequences", random),
];

type Producer = (i64, i16);

fn producer(run: &mut Run<'_>) -> Result<Producer> {
    let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
    Ok((run.send("a producer id", &request)?.int("/producerId"), 0))
}

fn put(
    run: &mut Run<'_>,
    label: &str,
    topic: &Topic,
    producer: Producer,
    sequence: i32,
    count: usize,
) -> Result<()> {
    let batch = sequenced(run.time(), producer, sequence, count);
    let epoch = producer.1;
    let label = format!("{label}: epoch {epoch}, sequence {sequence}, {count} records");
    run.send(label, &produce(topic, 0, &batch)).map(drop)
}

fn sequences(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let first = producer(run)?;
    put(run, "first", &topic, first, 0, 2)?;
    put(run, "next", &topic, first, 2, 3)?;
    put(run, "the last one again", &topic, first, 2, 3)?;
    put(run, "the first one again", &topic, first, 0, 2)?;
    put(run, "a part of the last", &topic, first, 2, 2)?;
    put(run, "more than the last", &topic, first, 2, 4)?;
    put(run, "an overlap", &topic, first, 4, 2)?;
    put(run, "a gap", &topic, first, 6, 1)?;
    put(run, "after the gap", &topic, first, 5, 1)?;
    for sequence in 6..12 {
        put(run, "one by one", &topic, first, sequence, 1)?;
    }
    for sequence in 0..12 {
        put(run, "each again", &topic, first, sequence, 1)?;
    }
    put(run, "the first one, long ago", &topic, first, 0, 2)?;
    put(run, "negative", &topic, first, -1, 1)?;
    let second = producer(run)?;
    put(run, "another, not from 0", &topic, second, 5, 1)?;
    put(run, "another, then from 0", &topic, second, 0, 1)?;
    put(run, "another, then on", &topic, second, 6, 1)?;
    put(run, "an id never given", &topic, (1 << 50, 0), 0, 1)?;
    put(run, "an id never given, no epoch", &topic, (1 << 51, -1), 0, 1)?;
    put(run, "no id but an epoch", &topic, (-1, 0), 0, 1)?;
    put(run, "no id, no epoch, a sequence", &topic, (-1, -1), 0, 1)?;
    read_back(run, "all", &topic, 0)
}

fn epochs(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let (id, _) = producer(run)?;
    put(run, "first", &topic, (id, 3), 0, 1)?;
    put(run, "an older epoch", &topic, (id, 2), 1, 1)?;
    put(run, "an older epoch from 0", &topic, (id, 2), 0, 1)?;
    put(run, "a newer epoch, not from 0", &topic, (id, 4), 1, 1)?;
    put(run, "a newer epoch from 0", &topic, (id, 4), 0, 2)?;
    put(run, "the same again", &topic, (id, 4), 0, 2)?;
    put(run, "the epoch before", &topic, (id, 3), 1, 1)?;
    put(run, "the epoch before, again", &topic, (id, 3), 0, 1)?;
    put(run, "on", &topic, (id, 4), 2, 1)?;
    put(run, "far ahead", &topic, (id, i16::MAX), 0, 1)?;
    put(run, "no epoch", &topic, (id, -1), 0, 1)?;
    read_back(run, "all", &topic, 0)
}

/// The sequence that comes `count` after this one.
fn after(sequence: i32, count: i32) -> i32 {
    // After the largest comes 0.
    sequence.wrapping_add(count) & i32::MAX
}

fn wrapping(run: &mut Run<'_>) -> Result<()> {
    let last = i32::MAX;
    for (base, start) in [("exact", last - 1), ("across", last - 2)] {
        let topic = run.create(base, 1, &[])?;
        let id = producer(run)?;
        put(run, base, &topic, id, start, 2)?;
        let over = after(start, 2);
        put(run, "a gap over the end", &topic, id, after(over, 4), 1)?;
        put(run, "over the end", &topic, id, over, 3)?;
        put(run, "over the end again", &topic, id, over, 3)?;
        let next = after(over, 3);
        put(run, "after the end", &topic, id, next, 1)?;
        put(run, "after the end again", &topic, id, next, 1)?;
        put(run, "before the end again", &topic, id, start, 2)?;
        put(run, "a gap after the end", &topic, id, after(next, 5), 1)?;
        read_back(run, base, &topic, 0)?;
    }
    let topic = run.create("whole", 1, &[])?;
    let id = producer(run)?;
    put(run, "the last", &topic, id, last, 1)?;
    put(run, "from 0 again", &topic, id, 0, 1)?;
    put(run, "both, as one", &topic, id, last, 2)?;
    read_back(run, "whole", &topic, 0)
}

/// Three producers with sequences near where they should be.
fn random(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let producers = [producer(run)?, producer(run)?, producer(run)?];
    let mut random = fastrand::Rng::with_seed(u64::from(run.version().unsigned_abs()));
    let mut next = [0_i32; 3];
    for number in 0..60 {
        let who = random.usize(..3);
        let back = random.i32(-1..8);
        let sequence = if random.u8(..4) > 0 { next[who] } else { (next[who] - back).max(0) };
        let count = random.usize(1..4);
        let epoch = i16::from(random.u8(..20) == 0);
        let batch = sequenced(run.time(), (producers[who].0, epoch), sequence, count);
        let answer = run.send(format!("batch {number}"), &produce(&topic, 0, &batch))?;
        if answer.int("/responses/0/partitionResponses/0/errorCode") == 0 {
            next[who] = sequence + i32::try_from(count)?;
        }
    }
    read_back(run, "all", &topic, 0)
}
