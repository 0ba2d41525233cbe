//! Others change the log between the steps of a pass.

use super::*;
use crate::compaction::tests::crash::judge;
use jocko_disk::{Crash, MemDisk, Survivors};

/// A log with a few sealed segments, and what was written to it.
fn sample() -> (MemDisk, Log, Vec<Seen>) {
    let (mem, _disk, mut log) = fresh(&compacted(600));
    let mut history = Vec::new();
    for value in 0..12_u8 {
        let pairs = [(Some(value % 4), Some(value)), (Some(100 + value), Some(value))];
        for ((key, value), at) in pairs.iter().zip(log.log_end().get()..) {
            history.push((at, *key, *value, 10));
        }
        append(&mut log, &keyed(Encoding::NONE, &pairs, 10), 10);
        if value % 3 == 2 {
            seal(&mut log, 10);
        }
    }
    (mem, log, history)
}

/// Runs a pass, and `meddle` after its look number `at`; `None` if there were not so many.
fn meddled(
    log: &RefCell<Option<Log>>,
    (at, upper): (usize, i64),
    meddle: &dyn Fn(&mut Option<Log>),
) -> Option<Result<CompactionEnd, LogFault>> {
    let looks = RefCell::new(0);
    let mut request = request(log.borrow().as_ref().unwrap(), 10);
    request.upper = offset(upper);
    let end = compact(
        &|work| {
            let mut log = log.borrow_mut();
            if let Some(log) = log.as_mut() {
                work(log);
                log.check_invariants();
            }
            *looks.borrow_mut() += 1;
            if *looks.borrow() == at {
                meddle(&mut log);
            }
        },
        &request,
        &mut |_| true,
    );
    (*looks.borrow() >= at).then_some(end)
}

/// Meddles after every look in turn, and has what is there then checked, and again after a crash.
fn everywhere(upper: i64, meddle: impl Fn(&mut Option<Log>), expect: impl Fn(&mut Log, &[Seen])) {
    let mut at = 1;
    loop {
        let (mem, log, history) = sample();
        let config = log.config.clone();
        let log = RefCell::new(Some(log));
        let Some(end) = meddled(&log, (at, upper), &meddle) else { break };
        end.unwrap_or_else(|fault| panic!("look {at}: {fault}"));
        let (mut point, mut start) = (offset(0), offset(0));
        if let Some(log) = log.borrow_mut().as_mut() {
            log.check_invariants();
            assert!(log.cleaning.swap.is_none(), "look {at}");
            expect(log, &history);
            flush(log);
            (point, start) = (log.recovery_point(), log.log_start());
        }
        for crash in
            [Crash::Process, Crash::Power(Survivors::Nothing), Crash::Power(Survivors::Everything)]
        {
            let disk = mem.aftermath(crash).shared();
            let (mut log, report) = open(&disk, &config, &context(false, point, start))
                .unwrap_or_else(|fault| panic!("look {at}, {crash:?}: {fault}"));
            log.check_invariants();
            assert_eq!(report.cut, None, "look {at}, {crash:?}");
            expect(&mut log, &history);
        }
        at += 1;
    }
    assert!(at > 5, "only {at} looks");
}

#[test]
fn a_truncation_takes_a_swap_back_or_brings_it_to_its_end() {
    everywhere(
        12,
        |log| {
            if let Some(log) = log {
                log.truncate_to(offset(15), ts(10)).unwrap();
            }
        },
        |log, history| {
            let end = log.log_end().get();
            assert_eq!(end, 14);
            judge(&history[..14], &seen(log), end);
        },
    );
}

#[test]
fn a_truncation_below_what_was_compacted_leaves_what_is_left() {
    everywhere(
        24,
        |log| {
            if let Some(log) = log {
                log.truncate_to(offset(9), ts(10)).unwrap();
            }
        },
        |log, history| {
            assert!(log.log_end() <= offset(9) && log.compacted_to() <= Some(log.log_end()));
            let found = seen(log);
            assert!(found.iter().all(|record| history.contains(record)), "{found:?}");
        },
    );
}

#[test]
fn starting_over_ends_a_pass() {
    everywhere(
        24,
        |log| {
            if let Some(log) = log {
                log.truncate_fully_and_start_at(offset(50), ts(10)).unwrap();
            }
        },
        |log, _| {
            assert_eq!((log.log_start(), log.log_end()), (offset(50), offset(50)));
            assert_eq!(log.compacted_to(), None);
        },
    );
}

#[test]
fn retention_waits_for_a_swap_or_ends_the_pass() {
    everywhere(
        24,
        |log| {
            if let Some(log) = log {
                log.advance_log_start(offset(13)).unwrap();
                log.checkpointed(log.recovery_point(), offset(13));
                log.remove_deleted(ts(10)).unwrap();
                log.remove_deleted(ts(1_000_000)).unwrap();
            }
        },
        |log, history| {
            assert_eq!(log.log_start(), offset(13));
            judge(&history[13..], &seen(log), log.log_end().get());
        },
    );
}

#[test]
fn appends_and_reads_go_on() {
    everywhere(
        24,
        |log| {
            if let Some(log) = log {
                append(log, &keyed(Encoding::NONE, &[(Some(250), Some(1))], 10), 10);
                flush(log);
                let end = log.log_end();
                for from in 0..end.get() {
                    read_all(log, offset(from), end, 200);
                }
                log.max_timestamp(end).unwrap();
                log.offset_for_timestamp(ts(5), end).unwrap();
            }
        },
        |log, history| {
            let mut history = history.to_vec();
            history.push((24, Some(250), Some(1), 10));
            judge(&history, &seen(log), log.log_end().get());
        },
    );
}

#[test]
fn a_log_that_goes_away_ends_the_pass() {
    everywhere(
        24,
        |log| *log = None,
        |log, history| judge(history, &seen(log), log.log_end().get()),
    );
}

#[test]
fn a_pass_that_is_told_to_stop_leaves_nothing_behind() {
    let mut pieces = 0;
    loop {
        let (mem, mut log, history) = sample();
        let request = request(&log, 10);
        let mut left = pieces;
        let log_cell = RefCell::new(&mut log);
        let end = compact(&|work| work(&mut log_cell.borrow_mut()), &request, &mut |_| {
            left -= 1;
            left >= 0
        });
        judge(&history, &seen(&mut log), log.log_end().get());
        assert!(log.cleaning.swap.is_none());
        let left_over = mem.files().into_iter().map(|(path, _)| path.display().to_string());
        let left_over: Vec<_> = left_over.filter(|name| name.ends_with("cleaned")).collect();
        assert!(left_over.is_empty(), "{left_over:?}");
        match end.unwrap() {
            CompactionEnd::Done(_) => break,
            CompactionEnd::Interrupted(_) => pieces += 1,
            CompactionEnd::Idle => panic!("there is dirt"),
        }
    }
    assert!(pieces > 8, "{pieces}");
}
