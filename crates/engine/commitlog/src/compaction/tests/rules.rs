//! Each rule by itself.

use super::*;
use crate::{OpenContext, Patience, ReadOutcome, ReadRequest};
use jocko_disk::{Inject, Operation};
use jocko_records::{Codec, ControlRecord, ControlType};

fn log_with(batches: &[&[Pair]]) -> (jocko_disk::MemDisk, jocko_disk::DiskRef, Log) {
    let (mem, disk, mut log) = fresh(&compacted(2000));
    for pairs in batches {
        append(&mut log, &keyed(Encoding::NONE, pairs, 10), 10);
    }
    seal(&mut log, 10);
    (mem, disk, log)
}

#[test]
fn of_each_key_the_newest_record_stays_at_its_offset() {
    for codec in Codec::ALL {
        let (_mem, _disk, mut log) = fresh(&compacted(4000));
        for value in 0..4 {
            let pairs =
                [(Some(1), Some(value)), (Some(2), Some(value)), (Some(10 + value), Some(0))];
            append(&mut log, &keyed(Encoding::new(codec), &pairs, i64::from(value)), 10);
        }
        seal(&mut log, 10);
        let done = clean(&mut log, 20);
        let expect = [
            (2, Some(10), Some(0), 0),
            (5, Some(11), Some(0), 1),
            (8, Some(12), Some(0), 2),
            (9, Some(1), Some(3), 3),
            (10, Some(2), Some(3), 3),
            (11, Some(13), Some(0), 3),
        ];
        assert_eq!(seen(&mut log), expect, "{codec}");
        assert_eq!((done.records_dropped, done.keys, done.is_partial), (6, 6, false));
        assert_eq!((done.cleaned_to, log.log_end()), (offset(12), offset(12)));
        assert_eq!(log.compacted_to(), Some(offset(12)));
        assert!(done.bytes_reclaimed() > 0 && !done.is_partial);
        assert_eq!(done.bytes_after, log.size_bytes());
    }
}

#[test]
fn a_log_without_dirt_is_left_alone() {
    let (mem, _disk, mut log) = log_with(&[&[(Some(1), Some(1))], &[(Some(1), Some(2))]]);
    assert!(log.dirt(log.log_end(), ts(10)).unwrap().is_due(0.5));
    clean(&mut log, 10);
    let dirt = log.dirt(log.log_end(), ts(10)).unwrap();
    assert_eq!((dirt.dirty_bytes, dirt.ratio()), (0, 0.0));
    assert!(dirt.clean_bytes > 0 && !dirt.is_due(0.0));
    let request = request(&log, 10);
    let before = mem.operations();
    assert_eq!(clean_with(&mut log, &request).unwrap(), CompactionEnd::Idle);
    assert_eq!(mem.operations(), before);
}

#[test]
fn only_sealed_durable_and_committed_segments_are_touched() {
    let (_mem, _disk, mut log) = fresh(&compacted(2000));
    for _ in 0..3 {
        for value in 0..3 {
            append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(value))], 10), 10);
        }
        assert!(log.roll(ts(10)).unwrap());
    }
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(9))], 10), 10);
    let dirt = log.dirt(log.log_end(), ts(10)).unwrap();
    assert!(dirt.awaits_flush && dirt.dirty_bytes == 0, "{dirt:?}");
    flush(&mut log);
    let mut bounded = request(&log, 10);
    bounded.upper = offset(7);
    let end = clean_with(&mut log, &bounded).unwrap();
    let CompactionEnd::Done(done) = end else { panic!("{end:?}") };
    assert_eq!(done.cleaned_to, offset(6));
    let offsets: Vec<i64> = seen(&mut log).iter().map(|(at, ..)| *at).collect();
    assert_eq!(offsets, [5, 6, 7, 8, 9]);
    let done = clean(&mut log, 10);
    assert_eq!(done.cleaned_to, offset(9));
    let offsets: Vec<i64> = seen(&mut log).iter().map(|(at, ..)| *at).collect();
    assert_eq!(offsets, [8, 9]);
}

#[test]
fn tombstones_go_when_their_time_is_over_and_not_in_their_first_pass() {
    let (_mem, _disk, mut log) = log_with(&[
        &[(Some(1), Some(1)), (Some(2), Some(1))],
        &[(Some(1), None), (Some(3), None)],
        &[(Some(4), Some(1))],
    ]);
    clean(&mut log, 100);
    let with_tombstones = [
        (1, Some(2), Some(1), 10),
        (2, Some(1), None, 10),
        (3, Some(3), None, 10),
        (4, Some(4), Some(1), 10),
    ];
    assert_eq!(seen(&mut log), with_tombstones);
    let more = |log: &mut Log, now| {
        append(log, &keyed(Encoding::NONE, &[(Some(9), Some(1))], 10), 10);
        seal(log, now);
        clean(log, now)
    };
    let done = more(&mut log, 100 + HOUR_MS - 1);
    assert_eq!(
        (done.tombstones_dropped, seen(&mut log)[..4].to_vec()),
        (0, with_tombstones.to_vec())
    );
    let done = more(&mut log, 100 + HOUR_MS);
    assert_eq!(done.tombstones_dropped, 2);
    let left: Vec<i64> = seen(&mut log).iter().map(|(at, ..)| *at).collect();
    assert_eq!(left, [1, 4, 6]);
}

#[test]
fn a_horizon_that_a_client_made_up_counts_only_after_a_first_pass() {
    let (_mem, _disk, mut log) = fresh(&compacted(2000));
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(1))], 10), 10);
    let plain = keyed(Encoding::NONE, &[(Some(1), None)], 10);
    let mut scratch = jocko_records::RetainScratch::default();
    let view = BatchView::parse(&plain).unwrap().0;
    let rebuilt = scratch.retain(&view, 1 << 20, ts(1), |_| true).unwrap();
    let jocko_records::Retained::Rebuilt(forged) = rebuilt else { panic!("{rebuilt:?}") };
    append(&mut log, forged, 10);
    seal(&mut log, 10);
    let done = clean(&mut log, HOUR_MS);
    assert_eq!(done.tombstones_dropped, 0);
    assert_eq!(seen(&mut log), [(1, Some(1), None, 10)]);
}

#[test]
fn records_without_a_key_are_dropped() {
    let (_mem, _disk, mut log) =
        log_with(&[&[(None, Some(1)), (Some(1), Some(1)), (None, None)], &[(Some(2), Some(1))]]);
    let done = clean(&mut log, 10);
    assert_eq!(done.keyless_dropped, 2);
    assert_eq!(seen(&mut log), [(1, Some(1), Some(1), 10), (3, Some(2), Some(1), 10)]);
}

#[test]
fn a_producers_last_batch_and_the_last_of_a_segment_stay_as_headers() {
    let (mem, disk, mut log) = fresh(&compacted(2000));
    append(&mut log, &keyed_of(7, 0, &[(Some(1), Some(1))], 10), 10);
    append(&mut log, &keyed_of(7, 1, &[(Some(1), Some(2)), (Some(1), Some(3))], 10), 10);
    append(&mut log, &keyed_of(8, 0, &[(Some(1), Some(4))], 10), 10);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(5))], 10), 10);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(2), Some(5))], 10), 10);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(6))], 10), 10);
    seal(&mut log, 10);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(7))], 10), 10);
    seal(&mut log, 10);
    let mut first = request(&log, 10);
    first.map_bytes_max = 1 << 20;
    clean_with(&mut log, &first).unwrap();
    // Both segments became one.
    assert_eq!(outline(&mut log), [(1, 2, 0), (3, 3, 0), (5, 5, 1), (7, 7, 1)]);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(8))], 10), 10);
    let whole = [(2, 2), (5, 5)];
    let _ = whole;
    seal(&mut log, 10);
    log.config.segment_bytes_max = 200;
    clean(&mut log, 10);
    // The first segment's last batch is empty, and still ends it.
    assert_eq!(outline(&mut log), [(1, 2, 0), (3, 3, 0), (5, 5, 1), (7, 7, 0), (8, 8, 1)]);
    // Sequences go on after a crash that left nothing but the log.
    let end = flush(&mut log);
    let config = log.config.clone();
    drop((log, disk));
    let disk = mem.crash(jocko_disk::Crash::Process).shared();
    for entry in disk.list(std::path::Path::new(DIR)).unwrap() {
        if entry.name.ends_with("snapshot") {
            disk.remove_file(&std::path::Path::new(DIR).join(&entry.name)).unwrap();
        }
    }
    let (mut log, _) = open(&disk, &config, &context(false, end, offset(0))).unwrap();
    append(&mut log, &keyed_of(7, 3, &[(Some(1), Some(9))], 10), 10);
    append(&mut log, &keyed_of(8, 1, &[(Some(1), Some(9))], 10), 10);
    let gap = keyed_of(8, 5, &[(Some(1), Some(9))], 10);
    let refused = log.append(&prepared(&gap), epoch(1), ts(10)).unwrap();
    assert!(matches!(refused, AppendOutcome::OutOfOrderSequence { .. }), "{refused:?}");
}

/// The newest one may be lost with the power: then the one before is what is known of its producer.
#[test]
fn a_producers_last_durable_batch_stays_as_well() {
    let (_mem, _disk, mut log) = fresh(&compacted(2000));
    append(&mut log, &keyed_of(7, 0, &[(Some(1), Some(1))], 10), 10);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(2))], 10), 10);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(3))], 10), 10);
    seal(&mut log, 10);
    append(&mut log, &keyed_of(7, 1, &[(Some(1), Some(4))], 10), 10);
    assert!(log.durable_end() < log.log_end());
    clean(&mut log, 10);
    assert_eq!(outline(&mut log), [(0, 0, 0), (2, 2, 1), (3, 3, 1)]);
}

#[test]
fn snapshots_of_producers_stay_good_when_their_batch_was_rewritten() {
    let (mem, disk, mut log) = fresh(&compacted(2000));
    for sequence in 0..4 {
        append(&mut log, &keyed_of(7, sequence, &[(Some(1), Some(1))], 10), 10);
    }
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(5)), (Some(2), None)], 10), 10);
    seal(&mut log, 10);
    clean(&mut log, 10);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(5))], 10), 10);
    let (end, config) = (flush(&mut log), log.config.clone());
    drop((log, disk));
    let disk = mem.crash(jocko_disk::Crash::Process).shared();
    let (log, report) = open(&disk, &config, &context(false, end, offset(0))).unwrap();
    assert_eq!(report.snapshots_refused, 0, "{report:?}");
    let batches = log.producers.iter().map(|(_, producer)| producer.batches.len());
    assert_eq!(batches.collect::<Vec<_>>(), [4]);
}

#[test]
fn markers_and_what_they_end_are_kept_and_are_no_reason_for_others_to_go() {
    let (_mem, _disk, mut log) = fresh(&compacted(4000));
    let of = |id: i64| {
        BatchBuilder::new(Encoding::NONE).producer(
            ProducerId::new(id),
            ProducerEpoch::new(0),
            Sequence::new(0),
        )
    };
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(1)), (Some(2), Some(1))], 10), 10);
    // Whether these were aborted is for the marker to say.
    append(&mut log, &fill(of(3).transactional(), &[(Some(1), Some(2)), (Some(2), None)], 10), 10);
    let marker = ControlRecord { control_type: ControlType::Abort, coordinator_epoch: 0 };
    let mut bytes =
        BatchBuilder::control(marker, ProducerId::new(3), ProducerEpoch::new(0), ts(10))
            .base_offset(log.log_end())
            .leader_epoch(epoch(1))
            .build()
            .unwrap();
    jocko_records::patch_assigned(&mut bytes, log.log_end(), epoch(1)).unwrap();
    log.append_assigned(&bytes, ts(10)).unwrap();
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(3))], 10), 10);
    seal(&mut log, 10);
    clean(&mut log, 10);
    assert_eq!(outline(&mut log), [(0, 1, 1), (2, 3, 1), (4, 4, 1), (5, 5, 1)]);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(9), Some(3))], 10), 10);
    seal(&mut log, 10 + 2 * HOUR_MS);
    clean(&mut log, 10 + 2 * HOUR_MS);
    // The tombstone of an aborted transaction may be all that keeps an older value from going.
    assert_eq!(outline(&mut log)[..4], [(0, 1, 1), (2, 3, 1), (4, 4, 1), (5, 5, 1)]);
}

#[test]
fn small_segments_are_joined_and_clean_ones_not_rewritten() {
    let (mem, _disk, mut log) = fresh(&compacted(2000));
    for value in 0..10 {
        append(&mut log, &keyed(Encoding::NONE, &[(Some(value), Some(0))], 10), 10);
        seal(&mut log, 10);
    }
    let done = clean(&mut log, 10);
    assert_eq!(
        (done.segments_before, done.segments_after),
        (10, 1),
        "{done:?} {} {}",
        log.segment_count(),
        log.size_bytes()
    );
    assert_eq!((log.segment_count(), done.records_dropped), (2, 0));
    assert_eq!(done.bytes_before, done.bytes_after);
    // Nothing in the large first segment is superseded: it is read and not written.
    log.config.segment_bytes_max = 300;
    append(&mut log, &keyed(Encoding::NONE, &[(Some(100), Some(0)), (Some(100), Some(1))], 10), 10);
    seal(&mut log, 10);
    let before = mem.contents(format!("{DIR}/00000000000000000000.log"));
    let done = clean(&mut log, 10);
    assert_eq!((done.segments_before, done.segments_after, done.records_dropped), (1, 1, 1));
    assert_eq!(mem.contents(format!("{DIR}/00000000000000000000.log")), before);
}

#[test]
fn a_map_that_is_too_small_makes_several_passes() {
    let (_mem, _disk, mut log) = fresh(&compacted(700));
    let mut newest = std::collections::BTreeMap::new();
    for at in 0..120_i64 {
        let key = u8::try_from(at * 7 % 40).unwrap();
        let value = u8::try_from(at).unwrap();
        append(&mut log, &keyed(Encoding::NONE, &[(Some(key), Some(value))], 10), 10);
        newest.insert(key, at);
    }
    seal(&mut log, 10);
    let mut passes = 0;
    loop {
        let mut request = request(&log, 10);
        request.map_bytes_max = 24 * 12;
        let end = clean_with(&mut log, &request).unwrap();
        let CompactionEnd::Done(done) = end else { panic!("{end:?}") };
        passes += 1;
        let kept: Vec<i64> = seen(&mut log).iter().map(|(at, ..)| *at).collect();
        assert!(newest.values().all(|at| kept.contains(at)));
        if !done.is_partial {
            break;
        }
    }
    assert!(passes > 5, "{passes}");
    assert_eq!(log.compacted_to(), Some(log.log_end()));
}

#[test]
fn one_batch_larger_than_the_map_is_mapped_in_parts() {
    let (_mem, _disk, mut log) = fresh(&compacted(4000));
    let pairs: Vec<Pair> = (0..30).map(|at| (Some(at % 15), Some(at))).collect();
    append(&mut log, &keyed(Encoding::NONE, &pairs, 10), 10);
    seal(&mut log, 10);
    for _ in 0..10 {
        let mut request = request(&log, 10);
        request.map_bytes_max = 0;
        let end = clean_with(&mut log, &request).unwrap();
        let CompactionEnd::Done(done) = end else { panic!("{end:?}") };
        if !done.is_partial {
            break;
        }
    }
    assert_eq!(log.compacted_to(), Some(offset(30)));
    let kept: Vec<i64> = seen(&mut log).iter().map(|(at, ..)| *at).collect();
    assert!((15..30).all(|at| kept.contains(&at)), "{kept:?}");
}

#[test]
fn lags_hold_passes_back_and_push_them() {
    let (_mem, _disk, mut log) = fresh(&compacted(2000));
    log.config.compaction.lag_min = Duration::from_millis(100);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(1)), (Some(1), Some(2))], 10), 10);
    seal(&mut log, 10);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(3))], 50), 50);
    seal(&mut log, 50);
    let end = log.log_end();
    assert_eq!(log.dirt(end, ts(109)).unwrap().dirty_bytes, 0);
    let first = log.dirt(end, ts(110)).unwrap().dirty_bytes;
    assert!(first > 0 && log.dirt(end, ts(150)).unwrap().dirty_bytes > first);
    // The active segment is rolled when its first record has waited too long.
    log.config.compaction.lag_min = Duration::ZERO;
    log.config.compaction.lag_max = Some(Duration::from_millis(1000));
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(4))], 2000), 2000);
    flush(&mut log);
    let segments = log.segment_count();
    let dirt = log.dirt(log.log_end(), ts(900)).unwrap();
    assert!(!dirt.is_overdue, "{dirt:?}");
    let dirt = log.dirt(log.log_end(), ts(1011)).unwrap();
    assert!(dirt.is_overdue && dirt.is_due(0.99), "{dirt:?}");
    clean(&mut log, 1011);
    assert_eq!(log.dirt(log.log_end(), ts(3000)).unwrap().dirty_bytes, 0);
    assert_eq!(log.segment_count(), segments - 1);
    let dirt = log.dirt(log.log_end(), ts(3001)).unwrap();
    assert!(dirt.is_overdue && dirt.dirty_bytes > 0, "{dirt:?}");
}

#[test]
fn a_reader_keeps_what_it_found_and_positions_are_those_of_the_new_file() {
    let (_mem, _disk, mut log) = log_with(&[
        &[(Some(1), Some(1))],
        &[(Some(1), Some(2))],
        &[(Some(2), Some(1))],
        &[(Some(3), Some(1))],
    ]);
    let wanted = ReadRequest {
        from: offset(0),
        upper: offset(3),
        bytes_max: 1 << 20,
        at_least_one_batch: true,
        patience: Patience::Wait,
    };
    let ReadOutcome::Slice(slice) = log.read(&wanted).unwrap() else { panic!() };
    clean(&mut log, 10);
    log.remove_deleted(ts(10_000)).unwrap();
    assert_eq!(records_of(&slice.read().unwrap()).len(), 3);
    // What the reader tells of the old file must not lead others astray in the new one.
    log.note_read(&slice, offset(3));
    let all = read_all(&mut log, offset(3), offset(4), 100);
    assert_eq!(all.len(), 1);
    assert_eq!(
        seen(&mut log),
        [(1, Some(1), Some(2), 10), (2, Some(2), Some(1), 10), (3, Some(3), Some(1), 10)]
    );
}

#[test]
fn gaps_stay_lawful_when_the_policy_changes() {
    let (mem, disk, mut log) = log_with(&[
        &[(Some(1), Some(1))],
        &[(Some(1), Some(2))],
        &[(Some(1), Some(3)), (Some(1), Some(4))],
    ]);
    clean(&mut log, 10);
    let expect = seen(&mut log);
    drop((log, disk));
    let disk = mem.crash(jocko_disk::Crash::Process).shared();
    let config = LogConfig { compacts: false, ..compacted(2000) };
    let context = OpenContext { recovery_point: offset(3), ..context(false, offset(3), offset(0)) };
    let (mut log, report) = open(&disk, &config, &context).unwrap();
    assert_eq!((report.cut, seen(&mut log)), (None, expect));
    assert_eq!(log.verify_range(offset(0), u64::MAX).unwrap(), None);
}

#[test]
fn a_full_disk_or_a_damaged_segment_ends_the_pass_and_harms_nothing() {
    let (mem, _disk, mut log) = log_with(&[&[(Some(1), Some(1))], &[(Some(1), Some(2))]]);
    let before = seen(&mut log);
    mem.inject(
        Inject::new(Operation::Write, "00000000000000000000.log.cleaned").no_space().times(1),
    );
    let request = request(&log, 10);
    let fault = clean_with(&mut log, &request).unwrap_err();
    assert!(
        matches!(&fault, LogFault::Disk(fault) if fault.kind() == jocko_disk::FaultKind::NoSpace)
    );
    assert!(log.latched().is_none());
    let names = |mem: &jocko_disk::MemDisk| -> Vec<String> {
        let disk = mem.shared();
        disk.list(std::path::Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect()
    };
    assert!(!names(&mem).iter().any(|name| name.contains("cleaned")), "{:?}", names(&mem));
    assert_eq!(seen(&mut log), before);
    // A flipped bit in a record.
    let path = format!("{DIR}/00000000000000000000.log");
    let bytes = mem.contents(&path).unwrap();
    let file = mem.shared().open(std::path::Path::new(&path), jocko_disk::Open::Write).unwrap();
    file.write_at(&[std::io::IoSlice::new(&[bytes[70] ^ 1])], 70).unwrap();
    let fault = clean_with(&mut log, &request).unwrap_err();
    assert!(matches!(fault, LogFault::Corrupt { .. }), "{fault}");
    assert!(log.latched().is_none());
    file.write_at(&[std::io::IoSlice::new(&[bytes[70]])], 70).unwrap();
    clean(&mut log, 10);
    assert_eq!(seen(&mut log).len(), 1);
}

#[test]
fn a_failed_sync_of_the_folder_latches() {
    let (mem, _disk, mut log) = log_with(&[&[(Some(1), Some(1))], &[(Some(1), Some(2))]]);
    mem.inject(Inject::new(Operation::SyncDir, "").times(1));
    let request = request(&log, 10);
    clean_with(&mut log, &request).unwrap_err();
    assert!(log.latched().is_some());
    assert_eq!(seen(&mut log).len(), 2);
}

#[test]
fn kafkas_lists_of_aborted_transactions_are_joined() {
    let (mem, disk, mut log) = log_with(&[&[(Some(1), Some(1))], &[(Some(2), Some(2))]]);
    append(&mut log, &keyed(Encoding::NONE, &[(Some(1), Some(2))], 10), 10);
    seal(&mut log, 10);
    let put = |name: &str, bytes: &[u8]| {
        let path = std::path::Path::new(DIR).join(name);
        jocko_disk::write_atomically(disk.as_ref(), &path, bytes).unwrap();
    };
    put("00000000000000000000.txnindex", &[1; 34]);
    put("00000000000000000002.txnindex", &[2; 68]);
    clean(&mut log, 10);
    let joined = mem.contents(format!("{DIR}/00000000000000000000.txnindex")).unwrap();
    assert_eq!(joined, [vec![1; 34], vec![2; 68]].concat());
    assert_eq!(mem.contents(format!("{DIR}/00000000000000000002.txnindex")), None);
}
