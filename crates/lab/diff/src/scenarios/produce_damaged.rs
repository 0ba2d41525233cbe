//! Produce (key 0) with batches that are no good: what is refused, with which code, and what of
//! it is kept.

use super::produce::read_back;
use super::requests::{produce, produce_to};
use crate::batches::{self, at};
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_records::{BatchBuilder, Codec, Encoding};
use jocko_types::{ProducerEpoch, ProducerId, Timestamp};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::Produce, "no batch", no_batch),
    Scenario::new(ApiKey::Produce, "damaged headers", headers),
    Scenario::new(ApiKey::Produce, "damaged records", records),
    Scenario::new(ApiKey::Produce, "old formats", old_formats),
    Scenario::new(ApiKey::Produce, "control batches", control),
    Scenario::new(ApiKey::Produce, "good beside damaged", mixed),
    Scenario::new(ApiKey::Produce, "single bytes changed", single_bytes).since(8).until(8),
    Scenario::new(ApiKey::Produce, "single bytes changed, compressed", compressed_bytes)
        .since(9)
        .until(9),
    Scenario::new(ApiKey::Produce, "random damage", random).since(12).until(12),
];

fn no_batch(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let batch = batches::plain(run.time(), &["a"]);
    // Kafka leaves this one unanswered, and each time costs as long as an answer may take.
    if [3, 13].contains(&run.version()) {
        run.send("null", &produce_to(&topic, vec![(0, None)]))?;
    }
    run.send("no bytes", &produce_to(&topic, vec![(0, Some(b""))]))?;
    for length in [1, 11, 12, 16, 17, 21, 60, 61, batch.len() - 1] {
        run.send(format!("the first {length} bytes"), &produce(&topic, 0, &batch[..length]))?;
    }
    let two = [batch.clone(), batch.clone()].concat();
    run.send("two batches", &produce(&topic, 0, &two))?;
    run.send("a batch and a half", &produce(&topic, 0, &two[..batch.len() + 40]))?;
    run.send("a batch and a byte", &produce(&topic, 0, &two[..=batch.len()]))?;
    let padded = [batch.clone(), vec![0; 80]].concat();
    run.send("a batch and zeros", &produce(&topic, 0, &padded))?;
    run.send("zeros", &produce(&topic, 0, &[0; 80]))?;
    read_back(run, "all", &topic, 0)
}

fn headers(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let batch = batches::plain(run.time(), &["a", "b"]);
    let i16s = |value: i16| value.to_be_bytes().to_vec();
    let i32s = |value: i32| value.to_be_bytes().to_vec();
    let i64s = |value: i64| value.to_be_bytes().to_vec();
    let length = i32::try_from(batch.len() - 12)?;
    let now = run.time();
    let cases: Vec<(&str, usize, Vec<Vec<u8>>)> = vec![
        ("base offset", at::BASE_OFFSET, [-1, 1, 7, i64::MAX, i64::MIN].map(i64s).into()),
        ("length", at::LENGTH, [0, -1, 48, 49, length - 1, length + 1, i32::MAX].map(i32s).into()),
        ("leader epoch", at::LEADER_EPOCH, [0, 5, -2, i32::MAX].map(i32s).into()),
        ("magic", at::MAGIC, [0, 1, 3, 127, 255].map(|magic| vec![magic]).into()),
        (
            "attributes",
            at::ATTRIBUTES,
            [8, 16, 24, 32, 48, 64, 128, 256, -1, i16::MIN].map(i16s).into(),
        ),
        (
            "last offset delta",
            at::LAST_OFFSET_DELTA,
            [0, 2, -1, i32::MAX, i32::MIN].map(i32s).into(),
        ),
        ("base timestamp", at::BASE_TIMESTAMP, [-1, 0, now - 5, -2, i64::MAX].map(i64s).into()),
        ("max timestamp", at::MAX_TIMESTAMP, [-1, 0, now, now + 9, -2, i64::MAX].map(i64s).into()),
        ("producer id", at::PRODUCER_ID, [0, -2, 123_456, i64::MAX].map(i64s).into()),
        ("producer epoch", at::PRODUCER_EPOCH, [0, 1, -2].map(i16s).into()),
        ("sequence", at::BASE_SEQUENCE, [0, 1, -2].map(i32s).into()),
        ("count", at::COUNT, [0, 1, 3, -1, i32::MAX, i32::MIN].map(i32s).into()),
    ];
    for (field, position, values) in cases {
        for value in values {
            let shown = value.iter().fold(0_i128, |sum, byte| sum * 256 + i128::from(*byte));
            // Retention would tell the brokers apart: the value may be this run's own time.
            let shown = if position == at::BASE_TIMESTAMP || position == at::MAX_TIMESTAMP {
                format!("{:?}", value.first())
            } else {
                shown.to_string()
            };
            let changed = batches::with(&batch, position, &value);
            run.send(format!("{field} {shown}"), &produce(&topic, 0, &changed))?;
            if position >= at::CRC {
                let unchecked = batches::overwritten(&batch, position, &value);
                run.send(format!("{field} {shown}, wrong sum"), &produce(&topic, 0, &unchecked))?;
            }
        }
    }
    read_back(run, "all", &topic, 0)
}

/// A record: attributes, timestamp delta, offset delta, key, value, headers, as given.
fn record(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(body.len() * 2).expect("short")];
    bytes.extend(body);
    bytes
}

fn records(run: &mut Run<'_>) -> Result<()> {
    run.forget_offsets();
    let topic = run.create("one", 1, &[])?;
    let template = batches::plain(run.time(), &["a"]);
    let good = record(&[0, 0, 0, 1, 2, b'v', 0]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a good record", good.clone()),
        ("no record", vec![]),
        ("two records, count 1", [good.clone(), good.clone()].concat()),
        ("a byte after it", [good.clone(), vec![0]].concat()),
        ("attributes", record(&[0xff, 0, 0, 1, 2, b'v', 0])),
        ("offset delta 1", record(&[0, 0, 2, 1, 2, b'v', 0])),
        ("offset delta -1", record(&[0, 0, 1, 1, 2, b'v', 0])),
        ("a timestamp delta", record(&[0, 2, 0, 1, 2, b'v', 0])),
        ("a negative timestamp delta", record(&[0, 1, 0, 1, 2, b'v', 0])),
        ("a key longer than the record", record(&[0, 0, 0, 100, 2, b'v', 0])),
        ("a value longer than the record", record(&[0, 0, 0, 1, 100, b'v', 0])),
        ("a key of length -2", record(&[0, 0, 0, 3, 2, b'v', 0])),
        ("a value of length -2", record(&[0, 0, 0, 1, 3, b'v', 0])),
        ("-1 headers", record(&[0, 0, 0, 1, 2, b'v', 1])),
        ("more headers than bytes", record(&[0, 0, 0, 1, 2, b'v', 100])),
        ("a header with a null key", record(&[0, 0, 0, 1, 2, b'v', 2, 1, 1])),
        ("a header", record(&[0, 0, 0, 1, 2, b'v', 2, 2, b'h', 1])),
        ("bytes after the headers", record(&[0, 0, 0, 1, 2, b'v', 0, 9, 9])),
        ("a length of 0", vec![0]),
        ("a length of -1", [vec![1], good[1..].to_vec()].concat()),
        ("a length beyond the batch", [vec![0x7e], good[1..].to_vec()].concat()),
        ("a length without end", vec![0xff; 7]),
        ("only a length", vec![14]),
    ];
    for (label, records) in &cases {
        let batch = batches::with_records(&template, records);
        run.send(*label, &produce(&topic, 0, &batch))?;
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut packed = Vec::new();
            jocko_records::compress(Encoding::new(codec), records, &mut packed);
            let id = u8::try_from(codec.id_bits())?;
            let batch = batches::with(&template, at::ATTRIBUTES, &[0, id]);
            let batch = batches::with_records(&batch, &packed);
            run.send(format!("{label}, {codec}"), &produce(&topic, 0, &batch))?;
        }
    }
    Ok(())
}

fn old_formats(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let (zero, one) = (batches::old_message(0, 0, "v"), batches::old_message(1, run.time(), "v"));
    run.send("format 0", &produce(&topic, 0, &zero))?;
    run.send("format 1", &produce(&topic, 0, &one))?;
    run.send("format 1 twice", &produce(&topic, 0, &[one.clone(), one.clone()].concat()))?;
    let damaged = batches::overwritten(&one, 12, &[0, 0, 0, 0]);
    run.send("format 1, wrong sum", &produce(&topic, 0, &damaged))?;
    let two = batches::plain(run.time(), &["v"]);
    run.send("format 2, then 1", &produce(&topic, 0, &[two.clone(), one.clone()].concat()))?;
    run.send("format 1, then 2", &produce(&topic, 0, &[one, two].concat()))?;
    read_back(run, "all", &topic, 0)
}

fn control(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let marker = jocko_records::ControlRecord {
        control_type: jocko_records::ControlType::Commit,
        coordinator_epoch: 0,
    };
    let time = Timestamp::from_millis(run.time());
    let builder = BatchBuilder::control(marker, ProducerId::new(7), ProducerEpoch::new(0), time);
    let marker = batches::bytes(&builder);
    run.send("a marker", &produce(&topic, 0, &marker))?;
    for bits in [0x20, 0x30] {
        let plain = batches::plain(run.time(), &["v"]);
        let batch = batches::with(&plain, at::ATTRIBUTES, &[0, bits]);
        run.send(format!("attributes {bits:#x}"), &produce(&topic, 0, &batch))?;
        let batch = batches::sequenced(run.time(), (7, 0), 0, 1);
        let batch = batches::with(&batch, at::ATTRIBUTES, &[0, bits]);
        run.send(format!("attributes {bits:#x}, a producer"), &produce(&topic, 0, &batch))?;
    }
    read_back(run, "all", &topic, 0)
}

fn mixed(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 3, &[])?;
    let good = batches::plain(run.time(), &["a"]);
    let damaged = batches::overwritten(&good, at::CRC, &[0, 0, 0, 0]);
    let all = produce_to(
        &topic,
        vec![(0, Some(&good)), (1, Some(&damaged)), (2, Some(b"")), (9, Some(&good))],
    );
    run.send("good, damaged, empty, unknown", &all)?;
    for partition in 0..3 {
        read_back(run, &format!("partition {partition}"), &topic, partition)?;
    }
    Ok(())
}

/// Changes each byte of a batch in turn and lets the sum be right.
fn each_byte(run: &mut Run<'_>, topic: &Topic, batch: &[u8]) -> Result<()> {
    for position in 0..batch.len() {
        for flip in [0x01, 0x80, 0xff] {
            let changed = batches::with(batch, position, &[batch[position] ^ flip]);
            run.send(format!("byte {position} by {flip:#x}"), &produce(topic, 0, &changed))?;
        }
    }
    Ok(())
}

fn single_bytes(run: &mut Run<'_>) -> Result<()> {
    run.forget_offsets();
    let topic = run.create("one", 1, &[])?;
    let batch = batches::plain(run.time(), &["a", "b"]);
    each_byte(run, &topic, &batch)?;
    let topic = run.create("two", 1, &[])?;
    let batch = batches::sequenced(run.time(), (77, 3), 0, 1);
    each_byte(run, &topic, &batch)
}

fn compressed_bytes(run: &mut Run<'_>) -> Result<()> {
    run.forget_offsets();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let topic = run.create(codec.name(), 1, &[])?;
        let batch = batches::bytes(&batches::builder(codec, run.time(), &["a", "bb", "ccc"]));
        for position in at::RECORDS..batch.len() {
            let changed = batches::with(&batch, position, &[batch[position] ^ 0x11]);
            run.send(format!("{codec}: byte {position}"), &produce(&topic, 0, &changed))?;
        }
    }
    Ok(())
}

/// Several bytes changed at once, the same ones at both brokers.
fn random(run: &mut Run<'_>) -> Result<()> {
    run.forget_offsets();
    let topic = run.create("one", 1, &[])?;
    let mut random = fastrand::Rng::with_seed(18);
    let originals = [
        batches::plain(run.time(), &["a", "b", "c"]),
        batches::sequenced(run.time(), (900, 1), 0, 2),
        batches::bytes(&batches::builder(Codec::Gzip, run.time(), &["a", "b"])),
        batches::bytes(&batches::builder(Codec::Lz4, run.time(), &["a", "b"])),
    ];
    for number in 0..400 {
        let mut batch = originals[random.usize(..originals.len())].clone();
        for _ in 0..random.usize(1..4) {
            // Length and format have cases of their own, and would hide the rest here.
            let position = random.usize(at::ATTRIBUTES..batch.len());
            batch = batches::with(&batch, position, &[random.u8(..)]);
        }
        run.send(format!("batch {number}"), &produce(&topic, 0, &batch))?;
    }
    Ok(())
}
