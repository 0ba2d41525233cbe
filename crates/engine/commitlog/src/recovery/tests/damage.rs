//! Damage in every kind of file: what is derived is rebuilt, what is not is reported, and never is
//! anything guessed.

use super::*;
use crate::{Recovery, TimestampFound};
use jocko_disk::{Crash, Disk, Inject, MemDisk, Open, Operation, Survivors};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

const LOG: &str = "/data/t-0/00000000000000000000.log";

const LAST_LOG: &str = "/data/t-0/00000000000000000040.log";
/// Batches of two records; three of them are in the last segment.
const BATCHES: i64 = 23;

/// A cleanly stopped log of three segments.
fn stopped() -> (MemDisk, Offset) {
    let (mem, _disk, mut log) = fresh(&small());
    for number in 0..BATCHES {
        let bytes = batch_of(4, 0, i32::try_from(number * 2).unwrap(), &[number * 10, number * 10]);
        let outcome = log.append(&prepared(&bytes), epoch(1), ts(0)).unwrap();
        assert!(matches!(outcome, AppendOutcome::Appended(_)), "{outcome:?}");
    }
    let end = log.log_end();
    assert_eq!(log.segment_count(), 3);
    stop(log);
    (mem, end)
}

fn open_on(
    mem: &MemDisk,
    clean: bool,
    recovery_point: Offset,
) -> Result<(Log, Recovery), LogFault> {
    open(&mem.shared(), &small(), &context(clean, recovery_point, offset(0)))
}

/// All batches are there, timestamps are found, and the producer goes on.
fn is_whole(log: &mut Log, end: Offset) {
    assert_eq!(log.log_end(), end);
    assert_eq!(read_all(log, offset(0), end, 200).len(), 23);
    for number in 0..BATCHES {
        let found = log.offset_for_timestamp(ts(number * 10 - 5), end).unwrap();
        let expect = TimestampFound {
            offset: offset(number * 2),
            timestamp: ts(number * 10),
            leader_epoch: epoch(1),
        };
        assert_eq!(found, Some(expect));
    }
    assert_eq!(log.epoch_at(offset(3)), Some(epoch(1)));
    let again = batch_of(4, 0, 44, &[220, 220]);
    let outcome = log.append(&prepared(&again), epoch(1), ts(0)).unwrap();
    assert!(matches!(outcome, AppendOutcome::Duplicate { .. }), "{outcome:?}");
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_nothing_else() {
    let (mem, end) = stopped();
    let bytes = mem.contents(LAST_LOG);
    let bytes = bytes.expect("the last segment has three batches");
    let one = bytes.len() / 3;
    for cut in 0..=bytes.len() {
        let torn = mem.fork();
        let file = torn.shared().open(Path::new(LAST_LOG), Open::Write);
        file.unwrap().set_size(cut as u64).unwrap();
        let (mut log, report) = open_on(&torn, false, offset(38)).unwrap();
        let whole = i64::try_from(cut / one).unwrap();
        assert_eq!(log.log_end(), offset(40 + 2 * whole), "cut to {cut}");
        assert_eq!(report.cut.is_some(), cut % one != 0);
        let left = read_all(&mut log, offset(0), end, 500).len();
        assert_eq!(left, 20 + cut / one);
        // The same above what is promised, below it is another matter.
        let file = torn.shared().open(Path::new(LAST_LOG), Open::Write);
        file.unwrap().set_size(cut as u64).unwrap();
        let refused = open_on(&torn, false, end);
        assert_eq!(refused.is_err(), cut < bytes.len(), "cut to {cut}");
    }
}

#[test]
fn any_flipped_bit_in_the_tail_ends_the_log_there() {
    let (mem, _) = stopped();
    let path = LAST_LOG;
    let one = mem.contents(path).unwrap().len() / 3;
    for position in one..2 * one {
        let flipped = mem.fork();
        flipped.flip_bit(path, position as u64, (position % 8) as u8).unwrap();
        let (log, report) = open_on(&flipped, false, offset(38)).unwrap();
        // A flipped leader epoch may still be a possible one: it is not under the checksum.
        let is_epoch = (one + 12..one + 16).contains(&position);
        if is_epoch && report.cut.is_none() {
            continue;
        }
        let kept = if is_epoch { 44 } else { 42 };
        assert!(log.log_end() <= offset(kept), "byte {position}: {report:?}");
        let cut = report.cut.unwrap();
        assert_eq!(cut.offset, log.log_end());
    }
}

#[test]
fn damage_below_the_recovery_point_is_reported_and_nothing_is_touched() {
    let (mem, end) = stopped();
    for path in [LOG, LAST_LOG] {
        let flipped = mem.fork();
        flipped.flip_bit(path, 80, 1).unwrap();
        // Without it the log was written to since its last stop.
        flipped.remove_file(Path::new(&format!("{DIR}/{:020}.jocko-snapshot", 46))).unwrap();
        let before = flipped.files();
        let recovery_point = if path == LOG { offset(10) } else { end };
        let fault = open_on(&flipped, false, recovery_point).map(drop).unwrap_err();
        let LogFault::Corrupt { path: at, position: 0, reason, .. } = &fault else {
            panic!("{fault}")
        };
        assert_eq!((at.to_str(), reason.as_str()), (Some(path), "the checksum does not fit"));
        assert_eq!(flipped.files(), before);
    }
    let gone = mem.fork();
    gone.shared().remove_dir_all(Path::new(DIR)).unwrap();
    let fault = open_on(&gone, false, end).map(drop).unwrap_err().to_string();
    assert!(fault.contains("the log is gone, but was durable up to offset 46"), "{fault}");
}

#[test]
fn a_missing_or_ragged_index_is_rebuilt() {
    for name in ["00000000000000000000.index", "00000000000000000000.timeindex"] {
        let (mem, end) = stopped();
        let path = format!("{DIR}/{name}");
        let before = mem.contents(&path).unwrap();
        mem.shared().remove_file(Path::new(&path)).unwrap();
        let (mut log, report) = open_on(&mem, true, end).unwrap();
        assert_eq!(report.indexes_rebuilt, 1);
        is_whole(&mut log, end);
        assert!(mem.contents(&path).unwrap().len() <= before.len());
    }
}

#[test]
fn any_flipped_bit_in_an_index_is_seen_or_harmless() {
    for name in ["00000000000000000000.index", "00000000000000000000.timeindex"] {
        let (mem, end) = stopped();
        let path = format!("{DIR}/{name}");
        let len = mem.contents(&path).unwrap().len();
        assert!(len >= 24);
        for bit in 0..len * 8 {
            let flipped = mem.fork();
            flipped.flip_bit(&path, bit as u64 / 8, (bit % 8) as u8).unwrap();
            let (mut log, _) = open_on(&flipped, true, end).unwrap();
            is_whole(&mut log, end);
        }
    }
}

#[test]
fn a_damaged_snapshot_is_rebuilt_from_the_log() {
    let (mem, end) = stopped();
    let path = format!("{DIR}/00000000000000000046.jocko-snapshot");
    for clean in [true, false] {
        for bit in (0..mem.contents(&path).unwrap().len() * 8).step_by(7) {
            let flipped = mem.fork();
            flipped.flip_bit(&path, bit as u64 / 8, (bit % 8) as u8).unwrap();
            let (mut log, report) = open_on(&flipped, clean, end).unwrap();
            assert!(report.snapshots_refused > 0, "bit {bit}");
            is_whole(&mut log, end);
        }
    }
}

#[test]
fn damaged_epochs_are_read_from_the_log() {
    for text in ["", "0\n1\n7", "garbage"] {
        let (mem, end) = stopped();
        let path = PathBuf::from(format!("{DIR}/leader-epoch-checkpoint"));
        jocko_disk::write_atomically(&mem, &path, text.as_bytes()).unwrap();
        let (mut log, report) = open_on(&mem, true, end).unwrap();
        assert!(report.epochs_rebuilt);
        is_whole(&mut log, end);
        flush(&mut log);
        assert_eq!(mem.contents(&path).unwrap(), b"0\n1\n1 0\n");
    }
}

#[test]
fn a_foreign_folder_is_refused_and_kept() {
    let (mem, end) = stopped();
    let before = mem.files();
    let foreign = crate::OpenContext {
        topic_id: Some(jocko_types::TopicId::from_bytes([8; 16])),
        ..context(true, end, offset(0))
    };
    let fault = open(&mem.shared(), &small(), &foreign).map(drop).unwrap_err();
    assert!(matches!(fault, LogFault::ForeignTopic { .. }), "{fault}");
    assert_eq!(mem.files(), before);
}

#[test]
fn leftovers_of_an_earlier_life_are_removed() {
    let (mem, end) = stopped();
    let disk = mem.shared();
    let leftovers = [
        "00000000000000000000.log.deleted",
        "leader-epoch-checkpoint.tmp",
        "00000000000000000099.index",
    ];
    for name in leftovers {
        let path = Path::new(DIR).join(name);
        disk.open(&path, Open::CreateNew).unwrap();
    }
    let (mut log, _) = open_on(&mem, true, end).unwrap();
    is_whole(&mut log, end);
    for name in leftovers {
        assert!(!disk.exists(&Path::new(DIR).join(name)).unwrap(), "{name}");
    }
}

/// Replaces the last segment's file.
fn overwrite(mem: &MemDisk, bytes: &[u8]) {
    let file = mem.shared().open(Path::new(LAST_LOG), Open::Write).unwrap();
    file.set_size(0).unwrap();
    file.write_at(&[std::io::IoSlice::new(bytes)], 0).unwrap();
}

#[test]
fn a_batch_of_an_older_leader_ends_the_log() {
    let (mem, _) = stopped();
    let batches = |epochs: [i32; 3]| -> Vec<u8> {
        let [first, second, third] = epochs;
        let at = |base, epoch| assigned(base, epoch, &[1, 2], 9);
        [at(40, first), at(42, second), at(44, third)].concat()
    };
    for (epochs, end) in [([1, 2, 2], 46), ([2, 2, 1], 44), ([2, 1, 2], 42), ([0, 1, 1], 40)] {
        overwrite(&mem, &batches(epochs));
        let (log, report) = open_on(&mem, false, offset(38)).unwrap();
        assert_eq!(log.log_end(), offset(end), "{epochs:?}");
        let reason = report.cut.map(|cut| cut.reason);
        assert_eq!(reason.is_some(), end < 46, "{reason:?}");
    }
}

#[test]
fn a_log_that_was_idle_when_the_broker_died_is_not_scanned() {
    let (mem, end) = stopped();
    let (mut log, report) = open_on(&mem, false, end).unwrap();
    assert_eq!(report, Recovery::default());
    is_whole(&mut log, end);
    // But one byte more, and it is.
    let bytes = batch(&[1], 1);
    log.append(&prepared(&bytes), epoch(1), ts(0)).unwrap();
    drop(log);
    let (log, report) = open_on(&mem, false, end).unwrap();
    assert_eq!((report.segments_scanned, log.log_end()), (1, end.next()));
}

#[test]
fn a_clean_mark_is_not_believed_if_the_file_has_another_size() {
    let (mem, end) = stopped();
    let whole = mem.contents(LAST_LOG).unwrap();
    overwrite(&mem, &[whole.clone(), whole[..50].to_vec()].concat());
    let (mut log, report) = open_on(&mem, true, end).unwrap();
    assert_eq!(report.cut.map(|cut| cut.bytes), Some(50));
    is_whole(&mut log, end);
    drop(log);
    overwrite(&mem, &whole[..whole.len() - 1]);
    let fault = open_on(&mem, true, end).map(drop).unwrap_err();
    assert!(matches!(fault, LogFault::Corrupt { .. }), "{fault}");
}

/// A log whose first segment's indexes were last synced with half their entries; then more was
/// appended, and made durable.
fn half_indexed() -> (MemDisk, Log) {
    let config = LogConfig { index_interval_bytes: 0, ..small() };
    let (mem, disk, mut log) = fresh(&config);
    let append = |log: &mut Log, time: i64| {
        log.append(&prepared(&batch(&[time], 9)), epoch(1), ts(time)).unwrap();
    };
    (0..3).for_each(|time| append(&mut log, time));
    let end = log.log_end();
    stop(log);
    let (mut log, _) = open(&disk, &config, &context(true, end, offset(0))).unwrap();
    (3..6).for_each(|time| append(&mut log, time));
    flush(&mut log);
    (mem, log)
}

fn finds_the_last_timestamp(mem: &MemDisk, recovery_point: Offset) {
    mem.sync_dir(Path::new(DIR)).unwrap();
    let found = mem.aftermath(Crash::Power(Survivors::Nothing));
    let (mut log, _) = open_on(&found, false, recovery_point).unwrap();
    let found = log.offset_for_timestamp(ts(5), offset(6)).unwrap();
    assert_eq!(found.map(|found| found.offset), Some(offset(5)));
}

#[test]
fn a_segment_sealed_after_the_checkpoint_is_indexed_anew() {
    let (mem, mut log) = half_indexed();
    let recovery_point = log.recovery_point();
    log.checkpointed(recovery_point, offset(0));
    assert!(log.roll(ts(6)).unwrap());
    finds_the_last_timestamp(&mem, recovery_point);
}

#[test]
fn the_recovery_point_waits_for_the_indexes_of_sealed_segments() {
    let (mem, mut log) = half_indexed();
    mem.inject(Inject::new(Operation::Write, "00000000000000000000.timeindex").no_space());
    assert!(log.roll(ts(6)).unwrap());
    log.append(&prepared(&batch(&[1], 9)), epoch(1), ts(1)).unwrap();
    assert_eq!(flush(&mut log), offset(7));
    assert_eq!(log.recovery_point(), offset(6));
    finds_the_last_timestamp(&mem, log.recovery_point());
    mem.heal();
    flush(&mut log);
    assert_eq!(log.recovery_point(), offset(7));
    finds_the_last_timestamp(&mem, log.recovery_point());
}

#[test]
fn a_snapshot_that_does_not_join_what_is_left_is_not_used() {
    let (mem, _disk, mut log) = fresh(&small());
    let mut sequences = [0, 0];
    for number in 0..23 {
        // Producer 9 writes once in each of the first two segments.
        let (id, sequence) = match number {
            5 | 15 => (9, &mut sequences[1]),
            _ => (4, &mut sequences[0]),
        };
        let bytes = batch_of(id, 0, *sequence, &[1, 1]);
        *sequence += 2;
        let outcome = log.append(&prepared(&bytes), epoch(1), ts(0)).unwrap();
        assert!(matches!(outcome, AppendOutcome::Appended(_)), "{outcome:?}");
    }
    stop(log);
    for newer in [40, 46] {
        mem.remove_file(Path::new(&format!("{DIR}/{newer:020}.jocko-snapshot"))).unwrap();
    }
    let context = context(false, offset(46), offset(40));
    let (mut log, _) = open(&mem.shared(), &small(), &context).unwrap();
    let next = batch_of(9, 0, 4, &[1]);
    let outcome = log.append(&prepared(&next), epoch(1), ts(0)).unwrap();
    assert!(matches!(outcome, AppendOutcome::Appended(_)), "{outcome:?}");
}

proptest! {
    /// Whatever the bytes, opening and using a log ends in an answer or a fault.
    #[test]
    fn no_damage_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(),
            any::<u8>()), 1..12),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..2),
        clean in any::<bool>(),
        recovery_point in 0..50_i64,
    ) {
        let (mem, end) = stopped();
        let disk = mem.shared();
        let files = mem.files();
        for (file, at, byte) in changes {
            let (path, bytes) = &files[file.index(files.len())];
            if !bytes.is_empty() {
                let file = disk.open(path, Open::Write).unwrap();
                let at = at.index(bytes.len()) as u64;
                file.write_at(&[std::io::IoSlice::new(&[byte])], at).unwrap();
            }
        }
        for (file, at) in cuts {
            let (path, bytes) = &files[file.index(files.len())];
            let file = disk.open(path, Open::Write).unwrap();
            file.set_size(at.index(bytes.len() + 1) as u64).unwrap();
        }
        let recovery_point = if clean { end } else { offset(recovery_point) };
        let Ok((mut log, _)) = open_on(&mem, clean, recovery_point) else { return Ok(()) };
        use_all(&mut log);
    }
}

/// Every call once, whatever it answers.
fn use_all(log: &mut Log) {
    let (start, end) = (log.log_start(), log.log_end());
    for at in 0..start.distance_to(end).min(60) {
        let request = crate::ReadRequest {
            from: start.plus(at),
            upper: end,
            bytes_max: 150,
            at_least_one_batch: at % 2 == 0,
            patience: crate::Patience::Wait,
        };
        let _answer = log.read(&request);
        let _answer = log.offset_for_timestamp(ts(at * 7), end);
    }
    let _answer = log.max_timestamp(end);
    let _answer = log.verify_range(start, u64::MAX);
    let _answer = log.expire(ts(1_000), end);
    let _answer = log.append(&prepared(&batch(&[1, 2], 10)), epoch(1), ts(0));
    let _answer = log.truncate_to(start.plus(3), ts(0));
    let _answer = log.append(&prepared(&batch(&[1, 2], 10)), epoch(2), ts(0));
    let _answer = log.close();
}
