//! A log that Kafka wrote, opened here: it reads back, and what we derive from it is, byte for
//! byte, what Kafka derived.

use crate::checkpoint;
use crate::producers::{decode_kafka, encode_kafka};
use crate::testing::*;
use crate::{Log, LogConfig, OpenContext, Recovery};
use jocko_disk::{DiskRef, MemDisk, Open};
use jocko_records::Records;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

const FOLDER: &str = "/data/fixture-0";
const RECORDS: i64 = 180;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/kafka-4.3.1")
}

/// The fixture on a disk in memory.
fn fixture() -> (MemDisk, DiskRef) {
    let mem = MemDisk::with_dir(FOLDER);
    let disk = mem.shared();
    for entry in std::fs::read_dir(testdata().join("fixture-0")).unwrap() {
        let entry = entry.unwrap();
        let path = Path::new(FOLDER).join(entry.file_name());
        let bytes = std::fs::read(entry.path()).unwrap();
        disk.open(&path, Open::CreateNew).unwrap().write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    }
    (mem, disk)
}

fn open_fixture(disk: &DiskRef, clean: bool) -> (Log, Recovery) {
    let topic_id = crate::read_topic_id(disk.as_ref(), Path::new(FOLDER)).unwrap();
    assert!(topic_id.is_some());
    let context = OpenContext {
        topic_id,
        clean,
        recovery_point: offset(if clean { RECORDS } else { 0 }),
        log_start: offset(0),
        now: ts(0),
    };
    let config = LogConfig { index_interval_bytes: 100, ..LogConfig::default() };
    Log::open(disk.clone(), Path::new(FOLDER), config, &context).unwrap()
}

/// Offset, timestamp and value of every record.
fn records(log: &mut Log) -> Vec<(i64, i64, String)> {
    let mut found = Vec::new();
    for (base, bytes) in read_all(log, offset(0), offset(RECORDS), 1 << 20) {
        let mut records = Records::new(&bytes, base, 1 << 20);
        while let Some(record) = records.next().unwrap() {
            let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
            found.push((record.offset.get(), record.timestamp.as_millis(), value));
        }
    }
    found
}

#[test]
fn kafkas_checkpoint_is_read() {
    let text = std::fs::read_to_string(testdata().join("recovery-point-offset-checkpoint"));
    let offsets = checkpoint::from_kafka(&text.unwrap()).unwrap();
    assert!(
        offsets
            .iter()
            .any(|(at, offset)| { at.to_string() == "fixture-0" && offset.get() == RECORDS })
    );
}

#[test]
fn a_clean_log_of_kafkas_opens_without_a_scan_and_reads_back() {
    let (_mem, disk) = fixture();
    let (mut log, report) = open_fixture(&disk, true);
    assert_eq!(report, Recovery::default());
    assert_eq!((log.log_end(), log.segment_count()), (offset(RECORDS), 3));
    assert_eq!(log.producer_count(), 45);
    let records = records(&mut log);
    assert_eq!(records.len(), 180);
    assert_eq!(records[0].2, "round 1 codec none batch 1 record 1");
    assert_eq!(records[179].2, "round 3 codec zstd batch 3 record 4");
    for (number, (at, _, _)) in records.iter().enumerate() {
        assert_eq!(*at, i64::try_from(number).unwrap());
    }
    for (_, time, _) in &records {
        let first = records.iter().find(|(_, other, _)| other >= time).unwrap();
        let found = log.offset_for_timestamp(ts(*time), offset(RECORDS)).unwrap().unwrap();
        assert_eq!((found.offset.get(), found.timestamp.as_millis()), (first.0, first.1));
    }
    let last = records.iter().map(|(_, time, _)| *time).max();
    let found = log.max_timestamp(offset(RECORDS)).unwrap();
    assert_eq!(found.map(|found| found.timestamp.as_millis()), last);
}

#[test]
fn what_we_derive_from_kafkas_log_is_what_kafka_derived() {
    let (mem, disk) = fixture();
    let before = mem.files();
    let (log, report) = open_fixture(&disk, false);
    assert_eq!((report.segments_scanned, report.cut), (3, None));
    let kafkas = mem.contents(format!("{FOLDER}/00000000000000000180.snapshot")).unwrap();
    let kafkas = decode_kafka(&kafkas, ts(0)).unwrap();
    let ours = decode_kafka(&encode_kafka(&log.producers), ts(0)).unwrap();
    assert_eq!(ours, kafkas);
    stop(log);
    let mut compared = 0;
    for (path, bytes) in before {
        let name = path.to_string_lossy().into_owned();
        if !name.ends_with(".snapshot") {
            assert_eq!(mem.contents(&path), Some(bytes), "{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 11, "three segments of three files, epochs, metadata");
}

#[test]
fn a_kafka_log_lives_on_here() {
    let (_mem, disk) = fixture();
    let (mut log, _) = open_fixture(&disk, true);
    let bytes = batch(&[1, 2, 3], 10);
    log.append(&prepared(&bytes), epoch(1), ts(0)).unwrap();
    assert_eq!(flush(&mut log), offset(RECORDS + 3));
    assert_eq!(records(&mut log).len(), 180);
}
