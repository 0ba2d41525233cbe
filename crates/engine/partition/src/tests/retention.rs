//! Upkeep: what is dropped, when, and who notices.

use super::{Bench, Timestamp, governed, offset, read_code, reading};
use crate::{Durability, Governed, Upkeep};
use jocko_disk::Disk;
use jocko_types::{ErrorCode, Offset};
use std::path::Path;

/// Two batches of 400 bytes fill a segment; two segments are to be kept.
fn tight(durability: Durability) -> Governed {
    let mut governed = governed(durability);
    governed.log.retention_bytes = Some(1_000);
    governed
}

fn logs(bench: &Bench) -> usize {
    let names = bench.mem.list(Path::new(super::DIR)).expect("is there");
    names.iter().filter(|entry| entry.name.ends_with(".log")).count()
}

fn filled(durability: Durability) -> Bench {
    let bench = Bench::governed(tight(durability));
    for _ in 0..8 {
        bench.appended(&["x".repeat(400).as_str()]);
    }
    bench
}

fn upkeep(bench: &Bench, now: Timestamp) -> Upkeep {
    let (done, _) = bench.partition.upkeep(now);
    bench.check();
    done.expect("the disk is well")
}

#[test]
fn retention_drops_whole_segments_and_counts_them_once() {
    let bench = filled(Durability::Fsync);
    let _ = bench.flush();
    let dropped = upkeep(&bench, super::now());
    assert_eq!(dropped.dropped_segments, 2);
    assert!(dropped.dropped_bytes > 1_600, "{dropped:?}");
    assert_eq!(bench.partition.log_start(), Some(offset(4)));
    assert_eq!(bench.partition.earliest(None).expect("leads").offset, Some(offset(4)));
    let outcome = bench.partition.read(&reading(offset(3)));
    assert_eq!(read_code(outcome), ErrorCode::OffsetOutOfRange);
    assert_eq!(bench.records(4).len(), 4);

    assert_eq!(logs(&bench), 4, "files stay until a checkpoint says where the log starts");
    assert_eq!(upkeep(&bench, super::now()), Upkeep::default(), "counted already");
    let (recovery_point, log_start) = bench.partition.checkpoint().expect("is open");
    assert_eq!(log_start, offset(4));
    bench.partition.checkpointed(recovery_point, log_start);
    assert_eq!(upkeep(&bench, super::now()), Upkeep::default());
    assert_eq!(logs(&bench), 2);

    for _ in 0..2 {
        bench.appended(&["x".repeat(400).as_str()]);
    }
    let _ = bench.flush();
    assert_eq!(upkeep(&bench, super::now()).dropped_segments, 1);
}

#[test]
fn what_is_not_committed_is_not_dropped() {
    let bench = filled(Durability::Fsync);
    assert_eq!(upkeep(&bench, super::now()), Upkeep::default());
    assert_eq!(bench.partition.log_start(), Some(Offset::ZERO));
}

#[test]
fn the_start_survives_a_clean_stop() {
    let bench = filled(Durability::Relaxed);
    assert_eq!(upkeep(&bench, super::now()).dropped_segments, 2);
    bench.partition.close().0.expect("closes");
    assert_eq!(bench.partition.checkpoint(), Some((offset(8), offset(4))));
    let bench = bench.restarted(tight(Durability::Relaxed));
    assert_eq!(bench.partition.earliest(None).expect("leads").offset, Some(offset(4)));
}

#[test]
fn an_old_log_is_emptied_and_a_reader_beyond_its_end_goes_on() {
    let bench = filled(Durability::Relaxed);
    let week = 7 * 24 * 60 * 60 * 1_000;
    let later = Timestamp::from_millis(super::now().as_millis() + week + 1);
    let dropped = upkeep(&bench, later);
    assert_eq!(dropped.dropped_segments, 4, "the active one is not exempt");
    let standing = bench.partition.standing().expect("is open");
    assert_eq!((standing.log_start, standing.high_watermark), (offset(8), offset(8)));
    assert!(bench.view(offset(8)).slice.is_none());
    assert_eq!(bench.appended(&["next"]).base_offset, offset(8));
    assert_eq!(bench.records(8), [(8, "next".to_owned())]);
}

#[test]
fn a_closed_partition_needs_no_upkeep() {
    let bench = Bench::new(Durability::Fsync);
    assert_eq!(upkeep(&bench, super::now()), Upkeep::default());
    assert!(!bench.partition.is_open());
}
