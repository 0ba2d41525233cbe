//! Full disks and broken ones.

use super::*;
use crate::LogFault;
use jocko_disk::{Inject, MemDisk, Operation};

fn is_latched(log: &mut Log) {
    let fault = log.append(&prepared(&batch(&[1], 1)), epoch(1), ts(1)).unwrap_err();
    assert!(matches!(fault, LogFault::Latched { .. }), "{fault}");
    assert!(matches!(log.take_flush(), Err(LogFault::Latched { .. })));
    assert!(matches!(log.truncate_to(offset(0), ts(0)), Err(LogFault::Latched { .. })));
    assert!(matches!(log.expire(ts(0), offset(0)), Err(LogFault::Latched { .. })));
    assert!(matches!(log.close(), Err(LogFault::Latched { .. })));
}

fn count(log: &mut Log) -> usize {
    let (start, end) = (log.log_start(), log.log_end());
    read_all(log, start, end, 400).len()
}

#[test]
fn a_full_disk_refuses_and_takes_again_without_a_restart() {
    let (mem, disk, mut log) = fresh(&small());
    fill(&mut log, 3);
    flush(&mut log);
    let before = mem.contents(log.dir().join("00000000000000000000.log")).unwrap();
    for kept_bytes in [0, 1, 16, 70] {
        mem.inject(Inject::new(Operation::Write, "").no_space().keeping(kept_bytes).times(1));
        assert_eq!(append(&mut log, &batch(&[1, 2], 20)), AppendOutcome::NoSpace);
        let after = mem.contents(log.dir().join("00000000000000000000.log")).unwrap();
        assert_eq!(after, before, "nothing is left of the batch");
    }
    mem.inject(Inject::new(Operation::Write, "").no_space().keeping(9).times(1));
    let outcome = log.append_as_follower(&assigned(6, 1, &[1], 5), ts(0)).unwrap();
    assert_eq!(outcome, AssignedOutcome::NoSpace);
    fill(&mut log, 30);
    assert_eq!(flush(&mut log), offset(66));
    assert_eq!(count(&mut log), 33);
    drop(log);
    let (mut log, report) = open(&disk, &small(), &context(false, offset(0), offset(0))).unwrap();
    assert_eq!((report.cut, count(&mut log)), (None, 33));
}

#[test]
fn a_disk_that_fills_up_at_any_moment_loses_nothing() {
    // Room for ever less: the roll, the indexes and the small files run out, too.
    for room in (0..6000).step_by(97) {
        let mem = MemDisk::with_dir("/data");
        let disk = mem.shared();
        mem.set_capacity(Some(room));
        let (mut log, _) = open(&disk, &small(), &context(false, offset(0), offset(0))).unwrap();
        let mut taken = 0;
        for number in 0..40 {
            match append(&mut log, &batch(&[number, number], 20)) {
                AppendOutcome::Appended(_) => taken += 1,
                AppendOutcome::NoSpace => {}
                other => panic!("{other:?}"),
            }
            if number % 5 == 0 {
                let durable = flush(&mut log);
                assert_eq!(durable, log.log_end());
                let point = log.recovery_point();
                log.checkpointed(point, offset(0));
            }
        }
        assert_eq!(count(&mut log), taken, "with room for {room} bytes");
        let point = log.recovery_point();
        mem.set_capacity(None);
        assert!(matches!(append(&mut log, &batch(&[1], 9)), AppendOutcome::Appended(_)));
        flush(&mut log);
        assert_eq!(log.recovery_point(), log.log_end(), "what was put off is done");
        let found = mem.fork().shared();
        let (mut again, _) = open(&found, &small(), &context(false, point, offset(0))).unwrap();
        assert_eq!(count(&mut again), taken + 1);
    }
}

#[test]
fn a_failed_write_latches_and_reads_go_on() {
    let (mem, _disk, mut log) = fresh(&small());
    fill(&mut log, 3);
    mem.inject(Inject::new(Operation::Write, "").keeping(30).times(1));
    let fault = log.append(&prepared(&batch(&[1], 1)), epoch(1), ts(1)).unwrap_err();
    assert!(matches!(fault, LogFault::Disk(_)), "{fault}");
    mem.heal();
    is_latched(&mut log);
    assert_eq!(count(&mut log), 3);
    assert!(log.latched().unwrap().to_string().contains("closed to writes: write"));
}

#[test]
fn a_failed_sync_latches_though_the_next_would_succeed() {
    let (mem, disk, mut log) = fresh(&small());
    fill(&mut log, 3);
    flush(&mut log);
    fill(&mut log, 2);
    mem.inject(Inject::new(Operation::Sync, "").times(1));
    let mut job = log.take_flush().unwrap().unwrap();
    let fault = job.run(disk.as_ref()).unwrap_err();
    log.flush_failed(&job, fault);
    assert_eq!(log.durable_end(), offset(6), "what was durable stays so");
    is_latched(&mut log);
    assert_eq!(log.flushed(&job), offset(6), "not even if somebody says it worked after all");
    assert_eq!(count(&mut log), 5);
}

#[test]
fn a_failed_truncation_latches() {
    for operation in [Operation::SetSize, Operation::Sync, Operation::SyncDir] {
        let (mem, _disk, mut log) = fresh(&small());
        fill(&mut log, 20);
        flush(&mut log);
        mem.inject(Inject::new(operation, "").times(1));
        log.truncate_to(offset(9), ts(0)).unwrap_err();
        is_latched(&mut log);
    }
}

#[test]
fn a_disk_too_full_to_begin_a_cut_cuts_nothing_and_cuts_later() {
    type Cut = fn(&mut Log) -> crate::Result<()>;
    let cuts: [Cut; 2] = [
        |log| log.truncate_to(offset(9), ts(0)).map(drop),
        |log| log.truncate_fully_and_start_at(offset(9), ts(0)),
    ];
    for cut in cuts {
        let (mem, _disk, mut log) = fresh(&small());
        fill(&mut log, 20);
        flush(&mut log);
        // What a checkpoint has promised is lowered by a note first.
        let point = log.recovery_point();
        log.checkpointed(point, offset(0));
        let (end, before) = (log.log_end(), count(&mut log));
        let space = mem.shared().space(log.dir()).unwrap();
        mem.set_capacity(Some(space.total - space.free));
        for _ in 0..2 {
            let fault = cut(&mut log).unwrap_err();
            assert!(fault.is_want_of_room(), "{fault}");
            assert_eq!((log.log_end(), count(&mut log)), (end, before), "nothing was cut");
            assert!(log.latched().is_none());
        }
        mem.set_capacity(None);
        cut(&mut log).unwrap();
        assert!(log.log_end() <= offset(9));
        assert!(matches!(append(&mut log, &batch(&[1], 9)), AppendOutcome::Appended(_)));
        flush(&mut log);
    }
}

#[test]
fn a_folder_that_was_never_flushed_says_whose_it_is_after_a_kill() {
    let (mem, _disk, mut log) = fresh(&small());
    fill(&mut log, 3);
    let killed = mem.fork();
    let made_anew = crate::OpenContext {
        topic_id: Some(jocko_types::TopicId::from_bytes([8; 16])),
        ..context(false, offset(0), offset(0))
    };
    let fault = open(&killed.shared(), &small(), &made_anew).map(drop).unwrap_err();
    assert!(matches!(fault, LogFault::ForeignTopic { .. }), "{fault}");
    let same = context(false, offset(0), offset(0));
    let (log, _) = open(&killed.shared(), &small(), &same).unwrap();
    assert_eq!(log.log_end(), offset(6));
}

#[test]
fn a_failed_read_does_not_latch() {
    let (mem, _disk, mut log) = fresh(&small());
    fill(&mut log, 20);
    flush(&mut log);
    let (end, start) = (log.log_end(), log.log_start());
    stop(log);
    let disk = mem.shared();
    let (mut log, _) = open(&disk, &small(), &context(true, end, start)).unwrap();
    mem.inject(Inject::new(Operation::Read, ""));
    let request = ReadRequest {
        from: offset(5),
        upper: end,
        bytes_max: 100,
        at_least_one_batch: true,
        patience: Patience::Wait,
    };
    log.read(&request).unwrap_err();
    mem.heal();
    fill(&mut log, 1);
    assert_eq!(count(&mut log), 21);
}
