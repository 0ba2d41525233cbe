//! The log from outside: what goes in comes out.

mod faults;

use crate::testing::*;
use crate::{
    AppendOutcome, AssignedOutcome, Log, LogConfig, Patience, ReadOutcome, ReadRequest, Recovery,
    StartOutcome,
};
use jocko_disk::{CrashPoints, Residency};
use jocko_types::{Offset, ProducerEpoch, Sequence};
use std::time::Duration;

#[test]
fn what_is_appended_is_read_before_and_after_a_clean_stop() {
    for config in [small(), LogConfig::default()] {
        let (_mem, disk, mut log) = fresh(&config);
        assert!(!disk.exists(log.dir()).unwrap(), "an empty log has no files");
        let mut expect = Vec::new();
        for number in 0..40 {
            let bytes = batch(&[number * 10, number * 10 + 3], 20);
            let outcome = log.append(&prepared(&bytes), epoch(1), ts(number)).unwrap();
            let AppendOutcome::Appended(at) = outcome else { panic!("{outcome:?}") };
            assert_eq!(at.base_offset, offset(number * 2));
            expect.push(at.base_offset);
            log.check_invariants();
        }
        let end = log.log_end();
        assert_eq!(flush(&mut log), end);
        let bases = |log: &mut Log, from| {
            read_all(log, from, end, 500).into_iter().map(|(base, _)| base).collect::<Vec<_>>()
        };
        assert_eq!(bases(&mut log, offset(0)), expect);
        assert_eq!(bases(&mut log, offset(41)), expect[20..]);
        stop(log);
        let (mut log, report) = open(&disk, &config, &context(true, end, offset(0))).unwrap();
        assert_eq!(report, Recovery::default());
        assert_eq!(log.open_files(), 0, "a clean log opens no segment");
        assert_eq!(log.log_end(), end);
        assert_eq!(bases(&mut log, offset(0)), expect);
    }
}

fn append(log: &mut Log, bytes: &[u8]) -> AppendOutcome {
    log.append(&prepared(bytes), epoch(1), ts(1)).unwrap()
}

/// Appends `count` batches of two records.
fn fill(log: &mut Log, count: i64) {
    for number in 0..count {
        let outcome = append(log, &batch(&[number, number], 20));
        assert!(matches!(outcome, AppendOutcome::Appended(_)), "{outcome:?}");
    }
}

fn read(log: &mut Log, from: i64, upper: i64, bytes_max: usize, one: bool) -> ReadOutcome {
    log.read(&ReadRequest {
        from: offset(from),
        upper: offset(upper),
        bytes_max,
        at_least_one_batch: one,
        patience: Patience::Wait,
    })
    .unwrap()
}

#[test]
fn a_read_gives_whole_batches_within_its_bounds() {
    let (_mem, _disk, mut log) = fresh(&LogConfig::default());
    fill(&mut log, 10);
    let one = batch(&[0, 0], 20).len();
    let check = |log: &mut Log, (from, upper, bytes_max, at_least), expect: Option<usize>| {
        let outcome = read(log, from, upper, bytes_max, at_least);
        let batches = match &outcome {
            ReadOutcome::Slice(slice) => Some(slice.len / one),
            ReadOutcome::Empty => Some(0),
            _ => None,
        };
        assert_eq!(batches, expect, "{from}..{upper}, {bytes_max} bytes, {at_least}");
    };
    check(&mut log, (0, 20, usize::MAX, false), Some(10));
    check(&mut log, (0, 20, one * 3, false), Some(3));
    check(&mut log, (0, 20, one * 3 + one - 1, false), Some(3));
    check(&mut log, (0, 20, one - 1, false), Some(0));
    check(&mut log, (0, 20, one - 1, true), Some(1));
    check(&mut log, (0, 20, 0, true), Some(1));
    // Within a batch: that batch whole.
    check(&mut log, (5, 20, usize::MAX, false), Some(8));
    // The bound splits a batch: not that batch, not even as the first.
    check(&mut log, (4, 9, usize::MAX, true), Some(2));
    check(&mut log, (4, 5, usize::MAX, true), Some(0));
    check(&mut log, (4, 6, usize::MAX, true), Some(1));
    // Between the bound and the end there is nothing yet; beyond the end is an error.
    check(&mut log, (8, 8, usize::MAX, true), Some(0));
    check(&mut log, (12, 8, usize::MAX, true), Some(0));
    check(&mut log, (20, 20, usize::MAX, true), Some(0));
    check(&mut log, (20, 99, usize::MAX, true), Some(0));
    check(&mut log, (21, 20, usize::MAX, true), None);
    log.advance_log_start(offset(3)).unwrap();
    check(&mut log, (2, 20, usize::MAX, true), None);
    check(&mut log, (3, 20, usize::MAX, true), Some(9));
}

#[test]
fn a_slice_outlives_its_segment() {
    let (_mem, _disk, mut log) = fresh(&small());
    fill(&mut log, 30);
    flush(&mut log);
    let ReadOutcome::Slice(slice) = read(&mut log, 0, 60, 300, true) else { panic!("a slice") };
    let before = slice.read().unwrap();
    log.advance_log_start(offset(40)).unwrap();
    log.checkpointed(log.recovery_point(), log.log_start());
    assert!(log.remove_deleted(ts(0)).unwrap() > 0);
    log.remove_deleted(ts(1_000_000)).unwrap();
    assert_eq!(slice.read().unwrap(), before);
}

#[test]
fn reading_on_and_reading_the_tail_touch_no_file_to_find_their_place() {
    let (mem, _disk, mut log) = fresh(&LogConfig::default());
    fill(&mut log, 1000);
    for (path, _) in mem.files() {
        mem.cool(path).unwrap();
    }
    let cold_read = |log: &mut Log, from: i64| {
        log.read(&ReadRequest {
            from: offset(from),
            upper: offset(1998),
            bytes_max: usize::MAX,
            at_least_one_batch: true,
            patience: Patience::ResidentOnly,
        })
        .unwrap()
    };
    assert!(matches!(cold_read(&mut log, 1990), ReadOutcome::Slice(_)), "near the end");
    assert!(matches!(cold_read(&mut log, 901), ReadOutcome::Cold(_)), "far from it");
    let ReadOutcome::Slice(slice) = read(&mut log, 0, 900, usize::MAX, true) else {
        panic!("a slice")
    };
    log.note_read(&slice, offset(900));
    for (path, _) in mem.files() {
        mem.cool(path).unwrap();
    }
    assert!(matches!(cold_read(&mut log, 900), ReadOutcome::Slice(_)), "where a read stopped");
}

#[test]
fn a_search_ends_where_the_file_system_cannot_tell_what_is_in_memory() {
    let (mem, _disk, mut log) = fresh(&LogConfig::default());
    fill(&mut log, 1000);
    mem.set_residency(Residency::Cold);
    let request = ReadRequest {
        from: offset(901),
        upper: offset(1998),
        bytes_max: usize::MAX,
        at_least_one_batch: true,
        patience: Patience::ResidentOnly,
    };
    let cold = |log: &mut Log| match log.read(&request).unwrap() {
        ReadOutcome::Cold(cold) => cold,
        other => panic!("{other:?}"),
    };
    // Two who read it at once.
    let (first, second) = (cold(&mut log), cold(&mut log));
    second.warm().unwrap();
    let ReadOutcome::Slice(slice) = log.read(&request).unwrap() else { panic!("a slice") };
    assert!(slice.read().is_ok());
    first.warm().unwrap();
    cold(&mut log).warm().unwrap();
    assert!(matches!(log.read(&request).unwrap(), ReadOutcome::Slice(_)));
    cold(&mut log);
    assert!(matches!(log.read(&request).unwrap(), ReadOutcome::Cold(_)), "nobody has warmed it");
}

#[test]
fn producers_are_judged_as_kafka_judges_them() {
    let (_mem, _disk, mut log) = fresh(&LogConfig::default());
    let send = |log: &mut Log, id, epoch, sequence, count: usize| {
        append(log, &batch_of(id, epoch, sequence, &vec![7; count]))
    };
    let is_appended = |outcome: AppendOutcome, base: i64| {
        let AppendOutcome::Appended(at) = outcome else { panic!("{outcome:?}") };
        assert_eq!(at.base_offset, offset(base));
    };
    let gap = |last: Option<i32>, got| AppendOutcome::OutOfOrderSequence {
        last: last.map(Sequence::new),
        got: Sequence::new(got),
    };
    let duplicate = |base, last| AppendOutcome::Duplicate {
        base_offset: offset(base),
        last_offset: offset(last),
        timestamp: ts(7),
    };
    // An unknown producer may begin anywhere (KIP-360).
    is_appended(send(&mut log, 1, 0, 40, 2), 0);
    is_appended(send(&mut log, 1, 0, 42, 1), 2);
    assert_eq!(send(&mut log, 1, 0, 40, 2), duplicate(0, 1));
    assert_eq!(send(&mut log, 1, 0, 40, 1), gap(Some(42), 40), "not the same batch");
    assert_eq!(send(&mut log, 1, 0, 44, 1), gap(Some(42), 44));
    // A new epoch begins at 0 and fences the old.
    assert_eq!(send(&mut log, 1, 1, 43, 1), gap(None, 43));
    is_appended(send(&mut log, 1, 1, 0, 1), 3);
    let fenced = AppendOutcome::InvalidProducerEpoch { current: ProducerEpoch::new(1) };
    assert_eq!(send(&mut log, 1, 0, 43, 1), fenced);
    // Five batches are remembered, not six.
    for sequence in 1..=5 {
        is_appended(send(&mut log, 1, 1, sequence, 1), i64::from(sequence) + 3);
    }
    assert_eq!(send(&mut log, 1, 1, 1, 1), duplicate(4, 4));
    assert_eq!(send(&mut log, 1, 1, 0, 1), gap(Some(5), 0));
    // Sequences wrap.
    is_appended(send(&mut log, 2, 0, i32::MAX - 1, 2), 9);
    is_appended(send(&mut log, 2, 0, 0, 1), 11);
    is_appended(send(&mut log, 3, 0, i32::MAX, 3), 12);
    is_appended(send(&mut log, 3, 0, 2, 1), 15);
    assert_eq!(send(&mut log, 3, 0, i32::MAX, 3), duplicate(12, 14));
}

#[test]
fn what_a_truncation_cut_may_be_sent_again() {
    let (_, _, mut log) = fresh(&small());
    for sequence in 0..4 {
        append(&mut log, &batch_of(7, 0, sequence, &[1]));
    }
    assert_eq!(log.truncate_to(offset(2), ts(0)).unwrap(), offset(2));
    let again = log.append(&prepared(&batch_of(7, 0, 2, &[1])), epoch(2), ts(0)).unwrap();
    assert!(
        matches!(again, AppendOutcome::Appended(at) if at.base_offset == offset(2)),
        "it is no duplicate any more: {again:?}"
    );
    let known = log.append(&prepared(&batch_of(7, 0, 1, &[1])), epoch(2), ts(0)).unwrap();
    assert!(
        matches!(known, AppendOutcome::Duplicate { base_offset, .. } if base_offset == offset(1))
    );
}

#[test]
fn producers_are_bounded_and_the_least_recent_goes() {
    let config = LogConfig { producers_max: 3, ..LogConfig::default() };
    let (_mem, disk, mut log) = fresh(&config);
    for id in [1, 2, 3, 1, 4] {
        let sequence = if id == 1 && log.log_end() > offset(0) { 1 } else { 0 };
        append(&mut log, &batch_of(id, 0, sequence, &[5]));
    }
    assert_eq!(log.producer_count(), 3);
    let kept = |log: &Log| log.producers.iter().map(|(id, _)| id.get()).collect::<Vec<_>>();
    assert_eq!(kept(&log), [1, 3, 4]);
    let end = log.log_end();
    stop(log);
    let (mut log, _) = open(&disk, &config, &context(true, end, offset(0))).unwrap();
    append(&mut log, &batch_of(5, 0, 0, &[5]));
    assert_eq!(kept(&log), [1, 4, 5], "a restart keeps the order of use");
    assert_eq!(log.expire(ts(2), end).unwrap().producers, 0);
    let silent = LogConfig { producer_expiration: Duration::from_millis(5), ..config };
    log.reconfigure(silent);
    assert_eq!(log.expire(ts(50), end).unwrap().producers, 3);
    assert_eq!(log.producer_count(), 0);
}

#[test]
fn a_flush_under_way_does_not_cover_what_replaces_a_truncated_tail() {
    let (_mem, disk, mut log) = fresh(&small());
    fill(&mut log, 10);
    let mut job = log.take_flush().unwrap().unwrap();
    assert_eq!(job.end, offset(20));
    job.run(disk.as_ref()).unwrap();
    log.truncate_to(offset(6), ts(1)).unwrap();
    fill(&mut log, 9);
    assert_eq!(log.flushed(&job), offset(6));
    assert_eq!(flush(&mut log), offset(24));
    // A job that is lost costs nothing but its work.
    fill(&mut log, 1);
    drop(log.take_flush().unwrap().unwrap());
    assert_eq!(log.durable_end(), offset(24));
    assert_eq!(flush(&mut log), offset(26));
    assert!(!log.is_flush_due() && log.take_flush().unwrap().is_none());
}

#[test]
fn assigned_batches_must_follow_the_log() {
    let (_mem, _disk, mut log) = fresh(&small());
    let two = [assigned(0, 3, &[1, 2], 9), assigned(2, 3, &[3], 9)].concat();
    let appended = |base: i64, end: i64| AssignedOutcome::Appended {
        base_offset: Some(offset(base)),
        log_end: offset(end),
    };
    assert_eq!(log.append_assigned(&two, ts(0)).unwrap(), appended(0, 3));
    let out_of_place = |got| AssignedOutcome::OutOfPlace { expected: offset(3), got: offset(got) };
    assert_eq!(log.append_assigned(&two, ts(0)).unwrap(), out_of_place(0));
    let later = assigned(9, 3, &[1], 9);
    assert_eq!(log.append_assigned(&later, ts(0)).unwrap(), out_of_place(9));
    let old = assigned(3, 2, &[1], 9);
    let refused = AssignedOutcome::OldEpoch { latest: epoch(3), got: epoch(2) };
    assert_eq!(log.append_as_follower(&old, ts(0)).unwrap(), refused);
    let mut damaged = assigned(3, 3, &[1], 9);
    *damaged.last_mut().unwrap() ^= 1;
    let outcome = log.append_as_follower(&damaged, ts(0)).unwrap();
    assert!(matches!(outcome, AssignedOutcome::Refused(_)), "{outcome:?}");
    // Compaction at the leader leaves gaps, of any size.
    assert_eq!(log.append_as_follower(&later, ts(0)).unwrap(), appended(9, 10));
    let far = 10 + i64::from(i32::MAX);
    let next = assigned(far, 3, &[1, 2], 9);
    assert_eq!(log.append_as_follower(&next, ts(0)).unwrap(), appended(far, far + 2));
    log.check_invariants();
    let bases = read_all(&mut log, offset(0), offset(far + 2), 1000);
    let bases: Vec<_> = bases.into_iter().map(|(base, _)| base.get()).collect();
    assert_eq!(bases, [0, 2, 9, far]);
    assert_eq!(log.segment_count(), 2, "an index reaches no further");
}

#[test]
fn a_batch_larger_than_a_segment_is_refused() {
    let (_mem, _disk, mut log) = fresh(&small());
    let outcome = append(&mut log, &batch(&[1], 1000));
    assert_eq!(outcome, AppendOutcome::TooLarge { segment_bytes_max: 1000 });
    assert_eq!(log.log_end(), offset(0));
}

#[test]
fn segments_roll_by_age_of_their_records() {
    let config = LogConfig {
        segment_age_max: Duration::from_millis(100),
        segment_age_is_explicit: true,
        segment_jitter: Duration::from_millis(10),
        ..LogConfig::default()
    };
    let (_mem, _disk, mut log) = fresh(&config);
    for (time, segments) in [(1000, 1), (1090, 1), (1050, 1), (1091, 2), (1000, 2), (1182, 3)] {
        append(&mut log, &batch(&[time], 5));
        assert_eq!(log.segment_count(), segments, "at {time}");
    }
}

#[test]
fn the_start_of_a_log_moves_forward_only_and_not_past_its_end() {
    let (_mem, _disk, mut log) = fresh(&small());
    fill(&mut log, 5);
    let moved = |to| StartOutcome::Moved { log_start: offset(to) };
    assert_eq!(log.advance_log_start(offset(4)).unwrap(), moved(4));
    assert_eq!(log.advance_log_start(offset(2)).unwrap(), moved(4));
    let beyond = StartOutcome::OutOfRange { log_end: offset(10) };
    assert_eq!(log.advance_log_start(offset(11)).unwrap(), beyond);
    assert_eq!(log.advance_log_start(offset(10)).unwrap(), moved(10));
}

#[test]
fn a_scrub_walks_the_whole_log_in_portions_and_finds_a_flipped_bit() {
    let (mem, _disk, mut log) = fresh(&small());
    fill(&mut log, 30);
    flush(&mut log);
    let mut at = Some(offset(0));
    let mut portions = 0;
    while let Some(from) = at {
        at = log.verify_range(from, 500).unwrap();
        portions += 1;
    }
    assert!(portions > 4, "{portions}");
    mem.flip_bit(log.dir().join("00000000000000000000.log"), 300, 2).unwrap();
    let fault = log.verify_range(offset(0), u64::MAX).unwrap_err();
    let crate::LogFault::Corrupt { offset: at, .. } = &fault else { panic!("{fault}") };
    assert_eq!(*at, Offset::new(4), "the third batch of 117 bytes");
    assert!(log.latched().is_none(), "the caller decides");
}

#[test]
fn any_flipped_bit_of_a_closed_segment_is_seen() {
    let (mem, _disk, mut log) = fresh(&small());
    fill(&mut log, 30);
    flush(&mut log);
    let path = log.dir().join("00000000000000000000.log");
    for position in 0..3 * 117 {
        for bit in 0..8 {
            mem.flip_bit(&path, position, bit).unwrap();
            let found = log.verify_range(offset(0), 2_000);
            mem.flip_bit(&path, position, bit).unwrap();
            assert!(found.is_err(), "bit {bit} of byte {position}: {found:?}");
        }
    }
    assert_eq!(log.verify_range(offset(0), u64::MAX).unwrap(), None);
}

#[test]
fn a_log_that_numbers_its_own_entries_survives_power_cuts() {
    // As a Raft log is kept: purge the front, cut the back, append; all durable at once.
    let config = small();
    CrashPoints::in_dir("/data").arbitrary(4).run(
        |disk, kept: &mut (i64, i64)| {
            let (mut log, _) = open(disk, &config, &context(false, offset(0), offset(0)))?;
            for index in 0..12 {
                log.append_assigned(&assigned(index, 1, &[index], 40), ts(0))?;
                if let Some(mut job) = log.take_flush()? {
                    job.run(disk.as_ref())?;
                    log.flushed(&job);
                }
                kept.1 = log.durable_end().get();
            }
            kept.1 = 9;
            log.truncate_to(offset(9), ts(0))?;
            log.append_assigned(&assigned(9, 2, &[9], 40), ts(0))?;
            Ok::<(), crate::LogFault>(())
        },
        |after, kept| {
            // The durable end the owner knows of is its recovery point.
            let context = context(false, offset(kept.1.min(9)), offset(kept.0));
            let (mut log, _) = open(&after.disk(), &config, &context).unwrap();
            assert!(log.log_end() >= offset(kept.1));
            let end = log.log_end();
            assert_eq!(read_all(&mut log, offset(0), end, 200).len() as i64, end.get());
        },
    );
}

#[test]
fn a_checkpoint_that_was_read_before_a_cut_and_written_after_it_does_no_harm() {
    let (mem, _disk, mut log) = fresh(&small());
    fill(&mut log, 10);
    flush(&mut log);
    let read_before = (log.recovery_point(), log.log_start());
    log.truncate_to(offset(6), ts(0)).unwrap();
    log.checkpointed(read_before.0, read_before.1);
    fill(&mut log, 12);
    let found = mem.aftermath(jocko_disk::Crash::Power(jocko_disk::Survivors::Nothing)).shared();
    let stale = context(false, read_before.0, read_before.1);
    let (log, _) = open(&found, &small(), &stale).unwrap();
    assert_eq!(log.log_end(), offset(6));
}
