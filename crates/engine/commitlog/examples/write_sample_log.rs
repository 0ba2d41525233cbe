//! Writes a log with everything in it to a folder, for Kafka's own tools to judge:
//! `cargo run -p jocko-commitlog --example write_sample_log -- DIR`.
//!
//! `DIR/sample-0` is then a cleanly stopped partition of several segments: plain and compressed
//! batches, two leaders, idempotent producers, timestamps out of order.

use jocko_commitlog::{Log, LogConfig, OpenContext};
use jocko_disk::{DiskRef, RealDisk};
use jocko_records::{AppendRules, BatchBuilder, Codec, Encoding, prepare};
use jocko_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

/// 2024-01-01 UTC.
const START_MS: i64 = 1_704_067_200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().nth(1).ok_or("name a folder to write to")?;
    let dir = Path::new(&root).join("sample-0");
    let disk: DiskRef = Arc::new(RealDisk::new());
    let config = LogConfig {
        segment_bytes_max: 16 * 1024,
        index_interval_bytes: 1024,
        ..LogConfig::default()
    };
    let context = OpenContext {
        topic_id: Some(TopicId::from_random([0x5a; 16])),
        clean: false,
        recovery_point: Offset::ZERO,
        log_start: Offset::ZERO,
        now: Timestamp::from_millis(START_MS),
    };
    let (mut log, _) = Log::open(disk.clone(), &dir, config, &context)?;
    for number in 0..300 {
        let (leader_epoch, now) = (LeaderEpoch::new(number / 200), START_MS + i64::from(number));
        let now = Timestamp::from_millis(now);
        let bytes = batch(number)?;
        let batch = prepare(&bytes, &AppendRules::defaults(now))?;
        log.append(&batch, leader_epoch, now)?;
    }
    if let Some(mut job) = log.close()? {
        job.run(disk.as_ref())?;
        log.flushed(&job);
    }
    Ok(())
}

fn batch(number: i32) -> Result<Vec<u8>, Box<dyn Error>> {
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let turn = usize::try_from(number)? % codecs.len();
    let mut builder = BatchBuilder::new(Encoding::new(codecs[turn]));
    if number % 3 == 0 {
        // Two producers take turns, with five records a batch.
        let id = ProducerId::new(i64::from(7 + number % 2));
        let sequence = Sequence::new(number / 6 * 5);
        builder = builder.producer(id, ProducerEpoch::new(0), sequence);
    }
    for record in 0..5_i64 {
        let out_of_order = i64::from((number * 37) % 100);
        let timestamp = Timestamp::from_millis(START_MS + i64::from(number) * 10 + out_of_order);
        let value = format!("batch {number} record {record} {}", "x".repeat(turn * 60));
        builder.push(timestamp, Some(b"key"), Some(value.as_bytes()), &[])?;
    }
    Ok(builder.build()?)
}
