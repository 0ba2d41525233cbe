//! What retention lets go, and when files leave the disk.

use crate::testing::*;
use crate::{AppendOutcome, Expired, Log, LogConfig};
use jocko_disk::{Inject, Operation};
use std::time::Duration;

const MINUTE_MS: i64 = 60_000;

fn config() -> LogConfig {
    LogConfig {
        retention_age: Some(Duration::from_secs(600)),
        segment_age_max: Duration::from_secs(100_000),
        segment_age_is_explicit: true,
        ..small()
    }
}

/// One batch of about 100 bytes a minute: ten to a segment.
fn fill(log: &mut Log, minutes: std::ops::Range<i64>) {
    for minute in minutes {
        let bytes = batch(&[minute * MINUTE_MS], 32);
        log.append(&prepared(&bytes), epoch(0), ts(minute * MINUTE_MS)).unwrap();
    }
    flush(log);
}

fn expire(log: &mut Log, minute: i64, upper: i64) -> Expired {
    let expired = log.expire(ts(minute * MINUTE_MS), offset(upper)).unwrap();
    log.check_invariants();
    expired
}

#[test]
fn segments_go_when_their_newest_record_is_too_old() {
    let (_mem, _disk, mut log) = fresh(&config());
    fill(&mut log, 0..35);
    assert_eq!(log.segment_count(), 4);
    let check = |log: &mut Log, minute, start| {
        assert_eq!(expire(log, minute, 35).log_start, offset(start), "after {minute} minutes");
    };
    check(&mut log, 19, 0);
    check(&mut log, 20, 10);
    check(&mut log, 29, 10);
    check(&mut log, 30, 20);
    assert_eq!(log.segment_count(), 4, "nothing leaves the disk yet");
    // All that the active segment holds is too old: it is rolled and goes, too.
    let last = expire(&mut log, 45, 35);
    assert_eq!((last.log_start, last.segments, last.rolled), (offset(35), 4, true));
    fill(&mut log, 45..46);
    assert_eq!(log.log_end(), offset(36));
}

#[test]
fn nothing_above_the_high_watermark_goes() {
    let (_mem, _disk, mut log) = fresh(&config());
    fill(&mut log, 0..35);
    assert_eq!(expire(&mut log, 1000, 19).log_start, offset(10));
    assert_eq!(expire(&mut log, 1000, 34).log_start, offset(30));
    assert_eq!(expire(&mut log, 1000, 35).log_start, offset(35));
}

#[test]
fn a_timestamp_in_the_future_keeps_its_segment() {
    let (_mem, _disk, mut log) = fresh(&config());
    fill(&mut log, 0..5);
    fill(&mut log, 5000..5001);
    fill(&mut log, 6..35);
    // The leap in time began a segment; that one stays.
    assert_eq!(expire(&mut log, 100, 35).log_start, offset(5));
    assert_eq!(expire(&mut log, 5011, 35).log_start, offset(35));
}

#[test]
fn the_oldest_segments_go_when_there_is_too_much() {
    let config = LogConfig { retention_age: None, retention_bytes: Some(2000), ..config() };
    let (_mem, _disk, mut log) = fresh(&config);
    fill(&mut log, 0..35);
    let size = log.size_bytes();
    let expired = expire(&mut log, 0, 35);
    // As in Kafka, what stays is never less than what was asked for.
    assert_eq!(expired.log_start, offset(10));
    assert!(size - expired.bytes >= 2000 && size - expired.bytes < 3000);
    assert_eq!(expire(&mut log, 0, 35).log_start, offset(10), "and no more the next time");
}

#[test]
fn compaction_alone_deletes_nothing() {
    let config = LogConfig { retention_deletes: false, retention_bytes: Some(1), ..config() };
    let (_mem, _disk, mut log) = fresh(&config);
    fill(&mut log, 0..35);
    assert_eq!(expire(&mut log, 1_000, 35).log_start, offset(0));
}

#[test]
fn a_slow_topic_rolls_at_a_tenth_of_its_retention_unless_told_otherwise() {
    let config = LogConfig { segment_age_is_explicit: false, ..config() };
    assert_eq!(config.segment_age(), Duration::from_secs(60));
    let (_mem, _disk, mut log) = fresh(&config);
    fill(&mut log, 0..1);
    assert!(!expire(&mut log, 1, 1).rolled);
    assert!(expire(&mut log, 2, 1).rolled);
    assert!(!expire(&mut log, 9, 1).rolled, "an empty segment does not");
    let explicit = LogConfig { segment_age_is_explicit: true, ..config };
    assert_eq!(explicit.segment_age(), Duration::from_secs(100_000));
}

#[test]
fn files_go_after_the_checkpoint_and_the_delay() {
    let (mem, _disk, mut log) = fresh(&config());
    fill(&mut log, 0..35);
    let names = || -> Vec<String> {
        let files = mem.files().into_iter().map(|(path, _)| path);
        let names = files.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
        names.filter(|name| name.contains(".log")).collect()
    };
    assert_eq!(expire(&mut log, 30, 35).segments, 2);
    assert_eq!(log.remove_deleted(ts(0)).unwrap(), 0, "the checkpoint does not say so yet");
    log.checkpointed(log.recovery_point(), log.log_start());
    assert!(log.remove_deleted(ts(1000)).unwrap() > 1000);
    assert_eq!(names().len(), 4);
    assert_eq!(names().iter().filter(|name| name.ends_with(".deleted")).count(), 2);
    log.remove_deleted(ts(1099)).unwrap();
    assert_eq!(names().len(), 4);
    log.remove_deleted(ts(1100)).unwrap();
    assert_eq!(names(), ["00000000000000000020.log", "00000000000000000030.log"]);
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn three_producer_snapshots_are_kept() {
    let (mem, _disk, mut log) = fresh(&config());
    fill(&mut log, 0..65);
    log.remove_deleted(ts(0)).unwrap();
    let snapshots = mem
        .files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "snapshot"));
    assert_eq!(snapshots.count(), 3);
}

#[test]
fn a_share_spares_the_newest_batch_alone() {
    let config = LogConfig { retention_age: None, ..config() };
    let (_mem, _disk, mut log) = fresh(&config);
    let share = |bytes_max| crate::retention::Share { bytes_max, roll_bytes: Some(50) };
    log.set_share(share(None));
    // Each is larger than a segment may grow, so each has its own.
    fill(&mut log, 0..3);
    log.set_share(share(Some(10)));
    let starts = [2, 2].map(|start| (expire(&mut log, 3, 3).log_start, offset(start)));
    assert!(starts.iter().all(|(found, expect)| found == expect), "{starts:?}");
    assert!(log.live_bytes() > 10);
    fill(&mut log, 3..4);
    assert_eq!(expire(&mut log, 4, 4).log_start, offset(3), "a newer one takes its place");
    // Several batches in a segment from before there was a share are no batch.
    log.set_share(share(None));
    log.set_share(crate::retention::Share::default());
    fill(&mut log, 4..7);
    log.set_share(share(Some(10)));
    assert_eq!(expire(&mut log, 7, 7).log_start, offset(7));
}

#[test]
fn a_want_of_descriptors_stops_nothing_for_good() {
    let (mem, _disk, mut log) = fresh(&config());
    fill(&mut log, 0..35);
    let segments = log.segment_count();
    mem.inject(Inject::new(Operation::List, "").no_descriptors());
    mem.inject(Inject::new(Operation::Open, "").no_descriptors());
    assert!(log.remove_deleted(ts(0)).is_err(), "the snapshots cannot be looked through");
    // Until a segment is full it takes records, and then none for as long as that lasts.
    let mut outcomes = (35..60).map(|minute| {
        let bytes = batch(&[minute * MINUTE_MS], 32);
        log.append(&prepared(&bytes), epoch(0), ts(minute * MINUTE_MS)).unwrap()
    });
    assert!(outcomes.any(|outcome| outcome == AppendOutcome::NoSpace));
    drop(outcomes);
    assert!(log.latched().is_none());
    mem.heal();
    let end = log.log_end();
    fill(&mut log, 60..80);
    log.check_invariants();
    assert!(log.segment_count() > segments && log.log_end() == offset(end.get() + 20));
}
