//! What the tests of this crate share: batches, and a log on an in-memory disk.

use crate::{Log, LogConfig, LogFault, OpenContext, Patience, ReadOutcome, ReadRequest, Recovery};
use jocko_disk::{DiskRef, MemDisk};
use jocko_records::{AppendRules, BatchBuilder, Encoding, PreparedBatch, prepare, whole_batches};
use jocko_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use std::path::Path;
use std::time::Duration;

pub(crate) const DIR: &str = "/data/t-0";
pub(crate) const TOPIC_ID: TopicId = TopicId::from_bytes([7; 16]);

pub(crate) fn ts(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn offset(at: i64) -> Offset {
    Offset::new(at)
}

pub(crate) fn epoch(at: i32) -> LeaderEpoch {
    LeaderEpoch::new(at)
}

/// Small segments and a tight index, so that a few batches meet every boundary.
pub(crate) fn small() -> LogConfig {
    LogConfig {
        segment_bytes_max: 1000,
        index_interval_bytes: 150,
        file_delete_delay: Duration::from_millis(100),
        ..LogConfig::default()
    }
}

/// A batch with one record per timestamp, each with `value_bytes` bytes of payload.
pub(crate) fn batch(timestamps: &[i64], value_bytes: usize) -> Vec<u8> {
    build(BatchBuilder::new(Encoding::NONE), timestamps, value_bytes)
}

/// A batch of an idempotent producer.
pub(crate) fn batch_of(id: i64, epoch: i16, sequence: i32, timestamps: &[i64]) -> Vec<u8> {
    let builder = BatchBuilder::new(Encoding::NONE).producer(
        ProducerId::new(id),
        ProducerEpoch::new(epoch),
        Sequence::new(sequence),
    );
    build(builder, timestamps, 10)
}

/// A batch as a leader stored it.
pub(crate) fn assigned(base: i64, epoch: i32, timestamps: &[i64], value_bytes: usize) -> Vec<u8> {
    let builder = BatchBuilder::new(Encoding::NONE)
        .base_offset(Offset::new(base))
        .leader_epoch(LeaderEpoch::new(epoch));
    build(builder, timestamps, value_bytes)
}

fn build(mut builder: BatchBuilder, timestamps: &[i64], value_bytes: usize) -> Vec<u8> {
    for (number, timestamp) in timestamps.iter().enumerate() {
        let value = vec![b'a' + u8::try_from(number % 26).unwrap(); value_bytes];
        builder.push(ts(*timestamp), None, Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn prepared(bytes: &[u8]) -> PreparedBatch<'_> {
    let mut rules = AppendRules::defaults(ts(0));
    rules.timestamp_after_max_ms = i64::MAX;
    prepare(bytes, &rules).unwrap()
}

pub(crate) fn context(clean: bool, recovery_point: Offset, log_start: Offset) -> OpenContext {
    OpenContext { topic_id: Some(TOPIC_ID), clean, recovery_point, log_start, now: ts(0) }
}

pub(crate) fn open(
    disk: &DiskRef,
    config: &LogConfig,
    context: &OpenContext,
) -> Result<(Log, Recovery), LogFault> {
    Log::open(disk.clone(), Path::new(DIR), config.clone(), context)
}

/// A disk with a data directory, and a new log on it.
pub(crate) fn fresh(config: &LogConfig) -> (MemDisk, DiskRef, Log) {
    let mem = MemDisk::with_dir("/data");
    let disk = mem.shared();
    let (log, report) = open(&disk, config, &context(false, offset(0), offset(0))).unwrap();
    assert_eq!(report, Recovery::default());
    (mem, disk, log)
}

/// Performs a flush from beginning to end.
pub(crate) fn flush(log: &mut Log) -> Offset {
    let disk = log.disk.clone();
    if let Some(mut job) = log.take_flush().unwrap() {
        job.run(disk.as_ref()).unwrap();
        log.flushed(&job);
    }
    log.check_invariants();
    log.durable_end()
}

/// Stops a log cleanly.
pub(crate) fn stop(mut log: Log) {
    let disk = log.disk.clone();
    if let Some(mut job) = log.close().unwrap() {
        job.run(disk.as_ref()).unwrap();
        log.flushed(&job);
    }
    assert_eq!(log.recovery_point(), log.log_end());
}

/// Reads everything from `from` to `upper` in pieces of at most `bytes_max` bytes: per batch its
/// base offset and bytes.
pub(crate) fn read_all(
    log: &mut Log,
    from: Offset,
    upper: Offset,
    bytes_max: usize,
) -> Vec<(Offset, Vec<u8>)> {
    let mut at = from;
    let mut batches = Vec::new();
    loop {
        let request = ReadRequest {
            from: at,
            upper,
            bytes_max,
            at_least_one_batch: true,
            patience: Patience::Wait,
        };
        let ReadOutcome::Slice(slice) = log.read(&request).unwrap() else { break };
        let bytes = slice.read().unwrap();
        let mut end = 0;
        for batch in whole_batches(&bytes) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            end += batch.bytes().len();
            assert!(batch.header().last_offset() >= at, "the first batch holds the offset");
            assert!(batch.header().last_offset() < upper, "no batch reaches the upper bound");
            batches.push((batch.header().base_offset, batch.bytes().to_vec()));
            at = batch.header().next_offset();
        }
        assert_eq!(end, bytes.len(), "only whole batches");
        assert!(!bytes.is_empty(), "a slice holds something");
        log.note_read(&slice, at);
    }
    batches
}
