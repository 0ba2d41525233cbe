//! Compaction on an in-memory disk: rule by rule, against a model, through power cuts, and with
//! others changing the log under it.

mod crash;
mod interference;
mod model;
mod rules;

use crate::testing::*;
use crate::{
    AppendOutcome, Compacted, CompactionConfig, CompactionEnd, CompactionRequest, Log, LogConfig,
    LogFault, compact,
};
use jocko_records::{BatchBuilder, BatchView, Encoding, Header, Records};
use jocko_types::{Offset, ProducerEpoch, ProducerId, Sequence};
use std::cell::RefCell;
use std::time::Duration;

/// Key and value of a record; no value is a tombstone.
type Pair = (Option<u8>, Option<u8>);

/// A record as a reader sees it: offset, key, value, timestamp.
pub(super) type Seen = (i64, Option<u8>, Option<u8>, i64);

pub(super) const HOUR_MS: i64 = 3_600_000;

pub(super) fn compacted(segment_bytes_max: u32) -> LogConfig {
    LogConfig {
        segment_bytes_max,
        compacts: true,
        retention_deletes: false,
        compaction: CompactionConfig {
            delete_retention: Duration::from_millis(u64::try_from(HOUR_MS).unwrap()),
            ..CompactionConfig::default()
        },
        ..small()
    }
}

pub(super) fn keyed(encoding: Encoding, pairs: &[Pair], now: i64) -> Vec<u8> {
    fill(BatchBuilder::new(encoding), pairs, now)
}

pub(super) fn keyed_of(id: i64, sequence: i32, pairs: &[Pair], now: i64) -> Vec<u8> {
    let builder = BatchBuilder::new(Encoding::NONE).producer(
        ProducerId::new(id),
        ProducerEpoch::new(0),
        Sequence::new(sequence),
    );
    fill(builder, pairs, now)
}

pub(super) fn fill(mut builder: BatchBuilder, pairs: &[Pair], now: i64) -> Vec<u8> {
    for (key, value) in pairs {
        let key = key.map(|key| vec![b'k', key]);
        let value = value.map(|value| vec![value; 20]);
        let header = [Header { key: b"h", value: None }];
        builder.push(ts(now), key.as_deref(), value.as_deref(), &header).unwrap();
    }
    builder.build().unwrap()
}

pub(super) fn append(log: &mut Log, bytes: &[u8], now: i64) -> Offset {
    match log.append(&prepared(bytes), epoch(1), ts(now)).unwrap() {
        AppendOutcome::Appended(at) => at.base_offset,
        refused => panic!("{refused:?}"),
    }
}

pub(super) fn request(log: &Log, now: i64) -> CompactionRequest {
    CompactionRequest {
        upper: log.log_end(),
        now: ts(now),
        map_bytes_max: 1 << 20,
        decompressed_bytes_max: 1 << 20,
        seed: [5, 6],
    }
}

/// A whole pass, at full speed and undisturbed.
pub(super) fn clean(log: &mut Log, now: i64) -> Compacted {
    let request = request(log, now);
    match clean_with(log, &request).unwrap() {
        CompactionEnd::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

pub(super) fn clean_with(
    log: &mut Log,
    request: &CompactionRequest,
) -> Result<CompactionEnd, LogFault> {
    let log = RefCell::new(log);
    let end = compact(&|work| work(&mut log.borrow_mut()), request, &mut |_| true);
    log.borrow().check_invariants();
    end
}

pub(super) fn records_of(bytes: &[u8]) -> Vec<Seen> {
    let mut records = Records::new(bytes, offset(0), 1 << 20);
    let mut seen = Vec::new();
    while let Some(record) = records.next().unwrap() {
        assert_eq!(record.headers.count(), 1, "headers stay");
        let value = record.value.map(|value| {
            assert_eq!(value.len(), 20);
            value[0]
        });
        let key = record.key.map(|key| key[1]);
        seen.push((record.offset.get(), key, value, record.timestamp.as_millis()));
    }
    seen
}

pub(super) fn seen(log: &mut Log) -> Vec<Seen> {
    let (start, end) = (log.log_start(), log.log_end());
    let batches = read_all(log, start, end, 700);
    let seen = batches.iter().flat_map(|(_, bytes)| records_of(bytes));
    seen.filter(|(at, ..)| *at >= start.get()).collect()
}

/// Base, last offset and number of records of every batch.
pub(super) fn outline(log: &mut Log) -> Vec<(i64, i64, i32)> {
    let (start, end) = (log.log_start(), log.log_end());
    let header = |bytes: &[u8]| *BatchView::parse(bytes).unwrap().0.header();
    read_all(log, start, end, 700)
        .iter()
        .map(|(base, bytes)| {
            (base.get(), header(bytes).last_offset().get(), header(bytes).record_count)
        })
        .collect()
}

/// Seals the active segment.
pub(super) fn seal(log: &mut Log, now: i64) {
    assert!(log.roll(ts(now)).unwrap());
    flush(log);
}
