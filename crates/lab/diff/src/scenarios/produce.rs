//! Produce (key 0): acks, places, codecs, timestamps, sizes and topic settings.

use super::requests::{UNKNOWN_ID, fetch, fetch_from, produce, produce_to};
use crate::batches;
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::ProduceRequest;
use jocko_records::{BatchBuilder, Codec, Encoding, Header};
use jocko_types::{Timestamp, Uuid};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::Produce, "topics of the broker's own", internal_topics),
    Scenario::new(ApiKey::Produce, "acks", acks),
    Scenario::new(ApiKey::Produce, "topics and partitions", places),
    Scenario::new(ApiKey::Produce, "named twice", named_twice),
    Scenario::new(ApiKey::Produce, "codecs", codecs),
    Scenario::new(ApiKey::Produce, "timestamps", timestamps),
    Scenario::new(ApiKey::Produce, "sizes", sizes),
    Scenario::new(ApiKey::Produce, "topics that set a codec", topic_codecs),
    Scenario::new(ApiKey::Produce, "compacted topics", compacted),
    Scenario::new(ApiKey::Produce, "keys, values and headers", contents),
    Scenario::new(ApiKey::Produce, "transactional", transactional),
    Scenario::new(ApiKey::Produce, "min.insync.replicas", min_insync),
];

/// Records what lies in a partition.
pub(super) fn read_back(
    run: &mut Run<'_>,
    label: &str,
    topic: &Topic,
    partition: i32,
) -> Result<()> {
    run.send(format!("{label}: read back"), &fetch(topic, vec![fetch_from(partition, 0)]))?;
    Ok(())
}

fn acks(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 2, &[])?;
    let gone = Topic { name: run.name("none"), id: UNKNOWN_ID };
    let batch = batches::plain(run.time(), &["a", "b"]);
    let damaged = batches::overwritten(&batch, batches::at::CRC, &[1, 2, 3, 4]);
    for acks in [-1, 1, 2, -2, i16::MAX, i16::MIN] {
        let with = |request| ProduceRequest { acks, ..request };
        run.send(format!("acks {acks}"), &with(produce(&topic, 0, &batch)))?;
        run.send(format!("acks {acks}, unknown topic"), &with(produce(&gone, 0, &batch)))?;
        run.send(format!("acks {acks}, unknown partition"), &with(produce(&topic, 7, &batch)))?;
        run.send(format!("acks {acks}, damaged"), &with(produce(&topic, 0, &damaged)))?;
        let empty = ProduceRequest { acks, ..Default::default() };
        run.send(format!("acks {acks}, no topic"), &empty)?;
    }
    let with = |request| ProduceRequest { acks: 0, ..request };
    run.send_unanswered("acks 0", &with(produce(&topic, 1, &batch)))?;
    run.send_unanswered("acks 0 again", &with(produce(&topic, 1, &batch)))?;
    run.send_unanswered("acks 0, no topic", &ProduceRequest { acks: 0, ..Default::default() })?;
    run.send_unanswered("acks 0, unknown topic", &with(produce(&gone, 0, &batch)))?;
    run.send_unanswered("acks 0, unknown partition", &with(produce(&topic, 7, &batch)))?;
    run.send_unanswered("acks 0, damaged", &with(produce(&topic, 1, &damaged)))?;
    let half = produce_to(&topic, vec![(1, Some(&batch)), (0, Some(&damaged))]);
    run.send_unanswered("acks 0, one good and one damaged", &with(half))?;
    // What acks=0 appended may be committed later; once this one is, all before it are.
    run.send("after acks 0", &produce(&topic, 1, &batch))?;
    read_back(run, "acks 0", &topic, 1)?;
    for timeout_ms in [0, -1, i32::MAX] {
        let request = ProduceRequest { acks: 1, timeout_ms, ..produce(&topic, 0, &batch) };
        run.send(format!("acks 1, a timeout of {timeout_ms} ms"), &request)?;
    }
    Ok(())
}

fn places(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 3, &[])?;
    let other = run.create("two", 1, &[])?;
    let batch = batches::plain(run.time(), &["a"]);
    let good = Some(&batch[..]);
    let named = |topic: &Topic, name: &str| Topic { name: name.into(), id: topic.id };
    let cases = [
        ("an unknown topic", Topic { name: run.name("none"), id: UNKNOWN_ID }),
        ("no id", Topic { name: topic.name.clone(), id: Uuid::ZERO }),
        ("an empty name", named(&topic, "")),
        ("a bad name", named(&topic, "a b")),
        ("a long name", named(&topic, &"n".repeat(250))),
        ("a name and another's id", named(&other, &topic.name)),
    ];
    for (label, topic) in &cases {
        run.send(*label, &produce_to(topic, vec![(0, good), (1, good)]))?;
    }
    let partitions: &[(&str, &[i32])] = &[
        ("two partitions, backwards", &[2, 0]),
        ("a known and an unknown partition", &[0, 3]),
        ("a negative partition", &[-1]),
        ("no partition", &[]),
    ];
    for (label, partitions) in partitions {
        let partitions = partitions.iter().map(|partition| (*partition, good)).collect();
        run.send(*label, &produce_to(&topic, partitions))?;
    }
    let mut two = produce(&topic, 0, &batch);
    two.topic_data.extend(produce(&other, 0, &batch).topic_data);
    run.send("two topics", &two)?;
    for partition in 0..3 {
        read_back(run, &format!("partition {partition}"), &topic, partition)?;
    }
    run.delete(&other)?;
    run.send("a deleted topic", &produce(&other, 0, &batch))?;
    let again = run.create("two", 1, &[])?;
    run.send("a deleted topic that is there again, its old id", &produce(&other, 0, &batch))?;
    run.send("its new id", &produce(&again, 0, &batch))?;
    Ok(())
}

/// What no producer sends: the same partition more than once in a request.
fn named_twice(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 3, &[])?;
    let batch = batches::plain(run.time(), &["a"]);
    let good = Some(&batch[..]);
    run.send("a partition twice", &produce_to(&topic, vec![(0, good), (0, good)]))?;
    let among = vec![(1, good), (0, good), (1, good), (2, good)];
    run.send("a partition twice among others", &produce_to(&topic, among))?;
    let mut twice = produce(&topic, 0, &batch);
    twice.topic_data.extend(produce(&topic, 1, &batch).topic_data);
    run.send("a topic twice", &twice)?;
    Ok(())
}

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn codecs(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 5, &[])?;
    for (partition, codec) in (0..).zip(CODECS) {
        let batch = batches::bytes(&batches::builder(codec, run.time(), &["a", "b", "c"]));
        run.send(format!("{codec}"), &produce(&topic, partition, &batch))?;
        run.send(format!("{codec} again"), &produce(&topic, partition, &batch))?;
        read_back(run, codec.name(), &topic, partition)?;
        let garbage = batches::with_records(&batch, b"this is not what any codec writes");
        run.send(format!("{codec}: garbage"), &produce(&topic, partition, &garbage))?;
        let nothing = batches::with_records(&batch, b"");
        run.send(format!("{codec}: nothing"), &produce(&topic, partition, &nothing))?;
        let half = batches::with_records(&batch, &batch[61..61 + (batch.len() - 61) / 2]);
        run.send(format!("{codec}: half of it"), &produce(&topic, partition, &half))?;
    }
    for id in [5, 6, 7] {
        let batch = batches::plain(run.time(), &["a"]);
        let batch = batches::with(&batch, batches::at::ATTRIBUTES, &[0, id]);
        run.send(format!("codec {id}, which is none"), &produce(&topic, 0, &batch))?;
    }
    Ok(())
}

const DAY_MS: i64 = 86_400_000;

fn timestamps(run: &mut Run<'_>) -> Result<()> {
    let settings: &[(&str, &[(&str, &str)])] = &[
        ("by default", &[]),
        (
            "an hour before, a minute after",
            &[
                ("message.timestamp.before.max.ms", "3600000"),
                ("message.timestamp.after.max.ms", "60000"),
            ],
        ),
        (
            "nothing before or after",
            &[("message.timestamp.before.max.ms", "0"), ("message.timestamp.after.max.ms", "0")],
        ),
        ("stamped by the broker", &[("message.timestamp.type", "LogAppendTime")]),
        (
            "stamped by the broker, with bounds",
            &[
                ("message.timestamp.type", "LogAppendTime"),
                ("message.timestamp.before.max.ms", "1000"),
            ],
        ),
    ];
    let now = run.time();
    let times = [now, -1, 0, now - DAY_MS, now + 2 * DAY_MS, -2, i64::MIN, i64::MAX];
    for (number, (setting, configs)) in settings.iter().enumerate() {
        let topic = run.create(&format!("s{number}"), 1, configs)?;
        for (time, word) in times.into_iter().zip([
            "now",
            "none",
            "zero",
            "a day ago",
            "in two days",
            "-2",
            "the least",
            "the most",
        ]) {
            let mut builder = BatchBuilder::new(Encoding::NONE);
            builder.push(Timestamp::from_millis(time), None, Some(b"v"), &[]).expect("small");
            let batch = batches::bytes(&builder);
            run.send(format!("{setting}: {word}"), &produce(&topic, 0, &batch))?;
        }
        let mut builder = BatchBuilder::new(Encoding::new(Codec::Gzip));
        for time in [now, now - DAY_MS, now, now + 2 * DAY_MS] {
            builder.push(Timestamp::from_millis(time), None, Some(b"v"), &[]).expect("small");
        }
        let batch = batches::bytes(&builder);
        run.send(format!("{setting}: a mixed compressed batch"), &produce(&topic, 0, &batch))?;
        let stamped = batches::plain(now, &["a"]);
        let stamped = batches::with(&stamped, batches::at::ATTRIBUTES, &[0, 8]);
        run.send(format!("{setting}: stamped by the client"), &produce(&topic, 0, &stamped))?;
        read_back(run, setting, &topic, 0)?;
    }
    Ok(())
}

fn sizes(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("small", 1, &[("max.message.bytes", "1000")])?;
    for value_bytes in [800, 900, 931, 932, 933, 1_000, 2_000] {
        let value = "x".repeat(value_bytes);
        let batch = batches::plain(run.time(), &[&value]);
        run.send(format!("a batch of {} bytes", batch.len()), &produce(&topic, 0, &batch))?;
    }
    let many: Vec<&str> = vec!["0123456789"; 200];
    let batch = batches::plain(run.time(), &many);
    run.send("many small records", &produce(&topic, 0, &batch))?;
    let packed = batches::bytes(&batches::builder(Codec::Gzip, run.time(), &many));
    run.send("the same, packed small", &produce(&topic, 0, &packed))?;
    let usual = run.create("usual", 1, &[])?;
    for value_bytes in [1_000_000, 1_048_500, 1_048_576, 1_100_000] {
        let value = "x".repeat(value_bytes);
        let batch = batches::plain(run.time(), &[&value]);
        run.send(
            format!("a batch of {} bytes by default", batch.len()),
            &produce(&usual, 0, &batch),
        )?;
    }
    let segment = run.create(
        "segment",
        1,
        &[("segment.bytes", "1048576"), ("max.message.bytes", "3000000")],
    )?;
    for value_bytes in [1_000_000, 1_048_576, 1_500_000] {
        let value = "x".repeat(value_bytes);
        let batch = batches::plain(run.time(), &[&value]);
        run.send(
            format!("{} bytes into small segments", batch.len()),
            &produce(&segment, 0, &batch),
        )?;
    }
    Ok(())
}

fn topic_codecs(run: &mut Run<'_>) -> Result<()> {
    for setting in ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let topic = run.create(setting, 1, &[("compression.type", setting)])?;
        for codec in CODECS {
            let batch = batches::bytes(&batches::builder(codec, run.time(), &["a", "b"]));
            run.send(format!("{codec} into {setting}"), &produce(&topic, 0, &batch))?;
        }
        read_back(run, setting, &topic, 0)?;
    }
    Ok(())
}

fn compacted(run: &mut Run<'_>) -> Result<()> {
    for policy in ["compact", "compact,delete"] {
        let base = policy.replace(',', "-");
        let topic = run.create(&base, 1, &[("cleanup.policy", policy)])?;
        let good = batches::keyed(run.time(), "k", "v");
        run.send(format!("{policy}: a key"), &produce(&topic, 0, &good))?;
        let keyless = batches::plain(run.time(), &["v", "w"]);
        run.send(format!("{policy}: no keys"), &produce(&topic, 0, &keyless))?;
        for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
            let mut builder = BatchBuilder::new(Encoding::new(codec));
            for key in [Some(&b"k"[..]), None, Some(b""), None] {
                let time = Timestamp::from_millis(run.time());
                builder.push(time, key, Some(b"v"), &[]).expect("small");
            }
            let mixed = batches::bytes(&builder);
            run.send(format!("{policy}: some keys, {codec}"), &produce(&topic, 0, &mixed))?;
        }
        let mut builder = BatchBuilder::new(Encoding::NONE);
        for _ in 0..25 {
            builder.push(Timestamp::from_millis(run.time()), None, None, &[]).expect("small");
        }
        let many = batches::bytes(&builder);
        run.send(format!("{policy}: 25 without a key"), &produce(&topic, 0, &many))?;
        read_back(run, policy, &topic, 0)?;
    }
    Ok(())
}

fn contents(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let headers: Vec<Vec<Header<'_>>> = vec![
        vec![],
        vec![Header { key: b"h", value: Some(b"1") }],
        vec![Header { key: b"h", value: None }, Header { key: b"h", value: Some(b"") }],
        vec![Header { key: b"", value: Some(&[0xff, 0xfe]) }],
    ];
    for codec in CODECS {
        let mut builder = BatchBuilder::new(Encoding::new(codec));
        for headers in &headers {
            for key in [None, Some(&b""[..]), Some(b"key")] {
                for value in [None, Some(&b""[..]), Some(b"value")] {
                    let time = Timestamp::from_millis(run.time());
                    builder.push(time, key, value, headers).expect("small");
                }
            }
        }
        let batch = batches::bytes(&builder);
        run.send(format!("{codec}"), &produce(&topic, 0, &batch))?;
    }
    read_back(run, "all", &topic, 0)
}

fn transactional(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[])?;
    let plain = batches::plain(run.time(), &["a"]);
    let in_transaction = batches::bytes(
        &batches::builder(Codec::None, run.time(), &["a"])
            .producer(
                jocko_types::ProducerId::new(5),
                jocko_types::ProducerEpoch::new(0),
                jocko_types::Sequence::new(0),
            )
            .transactional(),
    );
    let cases = [
        ("an id, a plain batch", Some("tx"), &plain),
        ("no id, a transactional batch", None, &in_transaction),
        ("an id, a transactional batch", Some("tx"), &in_transaction),
        ("an empty id, a plain batch", Some(""), &plain),
    ];
    for (label, transactional_id, batch) in cases {
        let request = ProduceRequest { transactional_id, ..produce(&topic, 0, batch) };
        run.send(label, &request)?;
    }
    Ok(())
}

fn min_insync(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create("one", 1, &[("min.insync.replicas", "2")])?;
    let batch = batches::plain(run.time(), &["a"]);
    for acks in [1, -1] {
        let request = ProduceRequest { acks, ..produce(&topic, 0, &batch) };
        run.send(format!("more than there are, acks {acks}"), &request)?;
    }
    Ok(())
}

fn internal_topics(run: &mut Run<'_>) -> Result<()> {
    super::groups::ready(run, ["group"])?;
    let plain_topic = run.create("plain", 1, &[])?;
    let offsets = run.await_named("__consumer_offsets")?;
    let batch = batches::keyed(run.time(), "no key of a group", "nothing");
    for acks in [-1, 1] {
        let request = ProduceRequest { acks, ..produce(&offsets, 0, &batch) };
        run.send(format!("offsets, acks {acks}"), &request)?;
    }
    run.send("offsets, no such partition", &produce(&offsets, 50, &batch))?;
    run.send("offsets, damaged", &produce(&offsets, 0, b"damaged"))?;
    run.send("offsets, no batch", &produce(&offsets, 0, &[]))?;
    let unknown = ProduceRequest { acks: 2, ..produce(&offsets, 0, &batch) };
    run.send("offsets, acks 2", &unknown)?;
    let mut both = produce(&plain_topic, 0, &batch);
    both.topic_data.extend(produce(&offsets, 1, &batch).topic_data);
    run.send("offsets and another", &both)?;
    run.send_unanswered(
        "offsets, acks 0",
        &ProduceRequest { acks: 0, ..produce(&offsets, 0, &batch) },
    )?;
    Ok(())
}
