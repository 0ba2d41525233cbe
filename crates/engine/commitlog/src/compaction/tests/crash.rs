//! The power is cut at every change of the disk, in passes and in recoveries from that.

use super::*;
use jocko_disk::{CrashPoints, DiskRef};

/// What everything so far has promised.
#[derive(Debug, Clone, Default)]
struct Promised {
    history: Vec<Seen>,
    /// What a crash may not take away.
    floor: i64,
    recovery_point: Offset,
    log_start: Offset,
}

/// One thing a log's owner does.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Append a batch of these keys; a value of 0 is a tombstone.
    Put(&'static [(u8, u8)]),
    /// Seal and flush.
    Seal,
    Compact,
    /// The same with a lower bound.
    CompactBelow(i64),
    /// Drop everything before the offset, checkpoint and remove.
    Trim(i64),
    /// Remove the files whose delay is over.
    Tidy,
    /// Time passes until tombstones may go.
    Wait,
    /// Cut the log there.
    Cut(i64),
}

fn run(
    disk: &DiskRef,
    steps: &[Step],
    config: &LogConfig,
    promised: &mut Promised,
) -> Result<(), LogFault> {
    let opened = context(false, promised.recovery_point, promised.log_start);
    let (mut log, _) = open(disk, config, &opened)?;
    let mut now = 1000;
    for step in steps {
        now += 10;
        match *step {
            Step::Put(pairs) => {
                let pairs: Vec<Pair> = pairs
                    .iter()
                    .map(|(key, value)| (Some(*key), Some(*value).filter(|value| *value > 0)))
                    .collect();
                for ((key, value), at) in pairs.iter().zip(log.log_end().get()..) {
                    promised.history.push((at, *key, *value, now));
                }
                let bytes = keyed(Encoding::NONE, &pairs, now);
                let outcome = log.append(&prepared(&bytes), epoch(1), ts(now))?;
                assert!(matches!(outcome, AppendOutcome::Appended(_)), "{outcome:?}");
            }
            Step::Seal => {
                log.roll(ts(now))?;
                if let Some(mut job) = log.take_flush()? {
                    job.run(disk.as_ref())?;
                    log.flushed(&job);
                }
                promised.floor = log.durable_end().get();
                promised.recovery_point = log.recovery_point();
                log.checkpointed(promised.recovery_point, promised.log_start);
            }
            Step::Compact => {
                let request = request(&log, now);
                let end = clean_with(&mut log, &request)?;
                assert!(matches!(end, CompactionEnd::Done(_)), "{end:?}");
            }
            Step::CompactBelow(upper) => {
                let request = CompactionRequest { upper: offset(upper), ..request(&log, now) };
                let end = clean_with(&mut log, &request)?;
                assert!(
                    matches!(end, CompactionEnd::Done(done) if done.segments_after > 0),
                    "{end:?}"
                );
            }
            Step::Trim(at) => {
                log.advance_log_start(offset(at))?;
                promised.log_start = offset(at);
                log.checkpointed(promised.recovery_point, promised.log_start);
                log.remove_deleted(ts(now))?;
            }
            Step::Tidy => {
                log.remove_deleted(ts(now + 1_000_000))?;
            }
            Step::Wait => now += 2 * HOUR_MS,
            Step::Cut(at) => {
                promised.floor = promised.floor.min(at);
                promised.recovery_point = promised.recovery_point.min(offset(at));
                log.truncate_to(offset(at), ts(now))?;
                promised.history.retain(|(offset, ..)| *offset < at);
            }
        }
        log.check_invariants();
    }
    Ok(())
}

/// What must be true of a log that was compacted any number of times (C-1).
pub(super) fn judge(history: &[Seen], found: &[Seen], end: i64) {
    let mut rest = history.iter();
    for record in found {
        assert!(rest.any(|at| at == record), "{record:?} is not what was written, or out of place");
    }
    let below = || history.iter().filter(|(at, ..)| *at < end);
    for (at, key, value, _) in below().filter(|(_, key, ..)| key.is_some()) {
        let is_newest = !below().any(|(later, other, ..)| later > at && other == key);
        if !is_newest || found.iter().any(|record| record.0 == *at) {
            continue;
        }
        assert!(value.is_none(), "offset {at} of key {key:?} is gone: {found:?}");
        let older = found.iter().find(|record| record.1 == *key);
        assert!(older.is_none(), "{older:?} is back, its tombstone {at} is gone");
    }
}

fn check(disk: &DiskRef, config: &LogConfig, promised: &Promised, goes_on: bool) {
    let opened = context(false, promised.recovery_point, promised.log_start);
    let (mut log, report) = open(disk, config, &opened)
        .unwrap_or_else(|fault| panic!("{fault}; promised {promised:?}"));
    log.check_invariants();
    let (start, end) = (log.log_start().get(), log.log_end().get());
    assert_eq!(start, promised.log_start.get(), "the head is there; {report:?}");
    assert!(end >= promised.floor, "{end} of {}, {report:?}", promised.floor);
    let live = |log: &mut Log| {
        let found = seen(log);
        let history: Vec<Seen> =
            promised.history.iter().filter(|(at, ..)| *at >= start).copied().collect();
        judge(&history, &found, end);
    };
    live(&mut log);
    let names = disk.list(std::path::Path::new(DIR)).unwrap_or_default();
    let unfinished: Vec<_> = names
        .iter()
        .filter(|entry| entry.name.ends_with(".cleaned") || entry.name.ends_with(".swap"))
        .collect();
    assert!(unfinished.is_empty(), "{unfinished:?}");
    if !goes_on {
        return;
    }
    // It takes more, and another pass.
    append(&mut log, &keyed(Encoding::NONE, &[(Some(200), Some(1))], 5000), 5000);
    seal(&mut log, 5000);
    clean(&mut log, 10 * HOUR_MS);
    let found = seen(&mut log);
    let mut history: Vec<Seen> =
        promised.history.iter().filter(|(at, ..)| (start..end).contains(at)).copied().collect();
    history.push((end, Some(200), Some(1), 5000));
    judge(&history, &found, end + 1);
    let (point, first) = (log.recovery_point(), log.log_start());
    stop(log);
    let (mut log, _) = open(disk, config, &context(true, point, first)).unwrap();
    assert_eq!(seen(&mut log), found);
}

fn enumerate(steps: &[Step], segment_bytes_max: u32) {
    let config = compacted(segment_bytes_max);
    // For a long look: CRASH_OUTCOMES=20 cargo test --release.
    let wanted = std::env::var("CRASH_OUTCOMES").ok().and_then(|count| count.parse().ok());
    let arbitrary = wanted.unwrap_or(2);
    let covered = CrashPoints::in_dir("/data").arbitrary(arbitrary).run(
        |disk, promised: &mut Promised| run(disk, steps, &config, promised),
        |after, promised| {
            if after.point % 29 == 5 {
                CrashPoints::on(after.mem()).arbitrary(1).run(
                    |disk, _: &mut ()| {
                        let opened = context(false, promised.recovery_point, promised.log_start);
                        open(disk, &config, &opened).map(|_| ())
                    },
                    |again, ()| check(&again.disk(), &config, promised, false),
                );
            }
            // What was compacted stays lawful whatever the topic's policy says by then.
            let config = LogConfig { compacts: after.point % 3 != 0, ..config.clone() };
            check(&after.disk(), &config, promised, after.point % 5 == 0 || wanted.is_some());
        },
    );
    assert!(covered.points > 60, "{covered:?}");
}

#[test]
fn one_segment_replaced_by_its_copy_survives_power_cuts() {
    use Step::*;
    enumerate(
        &[
            Put(&[(1, 1), (2, 1)]),
            Put(&[(1, 2), (3, 0)]),
            Put(&[(2, 0)]),
            Seal,
            Compact,
            Put(&[(3, 1)]),
            Seal,
        ],
        400,
    );
}

#[test]
fn several_segments_joined_into_one_survive_power_cuts() {
    use Step::*;
    enumerate(
        &[
            Put(&[(1, 1), (2, 1)]),
            Seal,
            Put(&[(1, 2), (4, 1)]),
            Seal,
            Put(&[(1, 0), (2, 2)]),
            Seal,
            Compact,
            Tidy,
        ],
        4000,
    );
}

#[test]
fn tombstones_that_go_do_not_bring_back_what_they_deleted() {
    use Step::*;
    enumerate(
        &[
            Put(&[(1, 1), (2, 1)]),
            Seal,
            Put(&[(3, 1), (1, 2)]),
            Seal,
            Put(&[(1, 0), (2, 0)]),
            Seal,
            Compact,
            Put(&[(3, 0)]),
            Seal,
            Wait,
            Compact,
            Wait,
            Put(&[(5, 1)]),
            Seal,
            Compact,
        ],
        600,
    );
}

#[test]
fn passes_and_deletion_together_survive_power_cuts() {
    use Step::*;
    enumerate(
        &[
            Put(&[(1, 1), (2, 1)]),
            Seal,
            Put(&[(1, 2), (3, 1)]),
            Seal,
            Compact,
            Put(&[(2, 2), (4, 1)]),
            Seal,
            Trim(3),
            Compact,
            Tidy,
        ],
        250,
    );
}

#[test]
fn cuts_of_a_compacted_log_survive_power_cuts() {
    use Step::*;
    enumerate(
        &[
            Put(&[(1, 1), (2, 1)]),
            Put(&[(1, 2), (3, 1)]),
            Seal,
            Compact,
            Put(&[(4, 1)]),
            Put(&[(4, 2)]),
            Seal,
            Cut(5),
            Put(&[(2, 3)]),
            Seal,
            Compact,
        ],
        400,
    );
}

#[test]
fn several_copies_put_in_place_at_once_survive_power_cuts() {
    use Step::*;
    // Three groups of one segment each, then of two, with a flush of the folder between the passes
    // and without one.
    enumerate(
        &[
            Put(&[(1, 1), (2, 1), (3, 1)]),
            Seal,
            Put(&[(1, 2), (4, 1), (5, 1)]),
            Seal,
            Put(&[(2, 2), (4, 0), (6, 1)]),
            Seal,
            Compact,
            Put(&[(1, 3), (5, 0), (6, 2)]),
            Seal,
            Compact,
            Tidy,
        ],
        300,
    );
}

#[test]
fn names_that_wait_for_the_next_copy_survive_power_cuts() {
    use Step::*;
    // The second pass follows the first without a sync of the folder by anybody else.
    enumerate(
        &[
            Put(&[(1, 1), (2, 1)]),
            Put(&[(1, 2), (2, 2)]),
            Seal,
            Put(&[(3, 1), (4, 1)]),
            Put(&[(3, 2), (1, 0)]),
            Seal,
            CompactBelow(4),
            Compact,
        ],
        300,
    );
}
