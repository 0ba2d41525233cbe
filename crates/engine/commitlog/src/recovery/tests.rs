//! Power cuts at every change of the disk, and damage in every kind of file.

mod damage;

use crate::producers::Producers;
use crate::testing::*;
use crate::{AppendOutcome, Log, LogConfig, LogFault};
use jocko_disk::{CrashPoints, DiskRef};
use jocko_types::{Offset, ProducerEpoch, ProducerId};

/// One thing a log's owner does.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Append so many batches of two records.
    Append(i64),
    Flush,
    /// A new leader takes over.
    NewLeader,
    Truncate(i64),
    StartOver(i64),
    AdvanceStart(i64),
    /// Write the checkpoints and tell the log.
    Checkpoint,
    RemoveDeleted,
    /// Stop cleanly and open again.
    Restart,
}

/// A batch: base offset and bytes as stored.
type Stored = (Offset, Vec<u8>);

/// What was promised to others, and what else may have reached the disk.
#[derive(Debug, Clone)]
struct Promised {
    /// Every content the log had since the last flush, the flushed one first.
    states: Vec<Vec<Stored>>,
    /// What a crash may not take away.
    floor: Offset,
    recovery_point: Offset,
    log_start: Offset,
    /// Where the log may start; nothing else may happen to its head.
    starts: Vec<Offset>,
    clean: bool,
}

impl Default for Promised {
    fn default() -> Self {
        Self {
            states: vec![Vec::new()],
            floor: offset(0),
            recovery_point: offset(0),
            log_start: offset(0),
            starts: vec![offset(0)],
            clean: false,
        }
    }
}

impl Promised {
    fn now(&self) -> &[Stored] {
        self.states.last().unwrap()
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<Stored>)) {
        let mut state = self.now().to_vec();
        change(&mut state);
        self.states.push(state);
    }

    fn context(&self) -> crate::OpenContext {
        context(self.clean, self.recovery_point, self.log_start)
    }
}

/// Does `steps`, noting what is promised before it is done and what is kept after.
fn run(
    disk: &DiskRef,
    steps: &[Step],
    config: &LogConfig,
    promised: &mut Promised,
) -> Result<(), LogFault> {
    let (mut log, _) = open(disk, config, &promised.context())?;
    let (mut leader, mut now) = (1, 0);
    for step in steps {
        now += 10;
        match *step {
            Step::Append(count) => {
                for number in 0..count {
                    append_one(&mut log, leader, now + number, promised)?;
                }
            }
            Step::Flush => {
                if let Some(mut job) = log.take_flush()? {
                    job.run(disk.as_ref())?;
                    log.flushed(&job);
                }
                settle(promised, log.durable_end());
            }
            Step::NewLeader => leader += 1,
            Step::Truncate(at) => {
                let end = log.truncated_end_would_be(at);
                promised.floor = promised.floor.min(end);
                promised.change(|state| state.retain(|(base, _)| *base < end));
                assert_eq!(log.truncate_to(offset(at), ts(now))?, end);
            }
            Step::StartOver(at) => {
                promised.floor = offset(0);
                promised.change(Vec::clear);
                promised.starts.push(offset(at));
                log.truncate_fully_and_start_at(offset(at), ts(now))?;
                promised.floor = offset(at);
                promised.states = vec![Vec::new()];
                promised.starts = vec![offset(at)];
            }
            Step::AdvanceStart(at) => {
                log.advance_log_start(offset(at))?;
            }
            Step::Checkpoint => {
                promised.recovery_point = log.recovery_point();
                promised.log_start = log.log_start();
                promised.starts = vec![log.log_start()];
                log.checkpointed(log.recovery_point(), log.log_start());
            }
            Step::RemoveDeleted => {
                log.remove_deleted(ts(now))?;
                log.remove_deleted(ts(now + 1000))?;
            }
            Step::Restart => {
                if let Some(mut job) = log.close()? {
                    job.run(disk.as_ref())?;
                    log.flushed(&job);
                }
                settle(promised, log.durable_end());
                promised.recovery_point = log.recovery_point();
                promised.log_start = log.log_start();
                promised.starts = vec![log.log_start()];
                promised.clean = true;
                let reopened = open(disk, config, &promised.context())?;
                assert_eq!(reopened.1.bytes_scanned, 0, "a clean log is not scanned");
                log = reopened.0;
                promised.clean = false;
            }
        }
        log.check_invariants();
    }
    Ok(())
}

fn append_one(
    log: &mut Log,
    leader: i32,
    now: i64,
    promised: &mut Promised,
) -> Result<(), LogFault> {
    // Every third batch is an idempotent producer's, whose epoch is the leader's.
    let id_and_epoch = (ProducerId::new(5), ProducerEpoch::new(i16::try_from(leader).unwrap()));
    let known = log.producers.iter().next().map(|(_, producer)| producer);
    let last = known.filter(|known| known.epoch == id_and_epoch.1).and_then(|at| at.batches.back());
    let sequence = last.map_or(0, |last| last.last_sequence.get() + 1);
    let bytes = if (log.log_end().get() / 2) % 3 == 0 {
        batch_of(5, id_and_epoch.1.get(), sequence, &[now, now + 3])
    } else {
        batch(&[now, now + 1], 10)
    };
    let base = log.log_end();
    let mut stored = bytes.clone();
    jocko_records::patch_assigned(&mut stored, base, epoch(leader)).unwrap();
    promised.change(|state| state.push((base, stored)));
    let outcome = log.append(&prepared(&bytes), epoch(leader), ts(now))?;
    assert!(matches!(outcome, AppendOutcome::Appended(_)), "{outcome:?}");
    Ok(())
}

fn settle(promised: &mut Promised, durable: Offset) {
    promised.floor = durable;
    promised.states = vec![promised.now().to_vec()];
}

impl Log {
    /// Where a truncation to `at` ends: the start of the batch it splits. Batches here have two
    /// records, at even offsets.
    fn truncated_end_would_be(&self, at: i64) -> Offset {
        offset(at - at % 2).min(self.log_end())
    }
}

/// Offsets and leaders of batches.
fn outline(state: &[Stored]) -> Vec<(i64, i32)> {
    let header = |bytes: &[u8]| jocko_records::BatchHeader::read(bytes).unwrap();
    state.iter().map(|(base, bytes)| (base.get(), header(bytes).leader_epoch.get())).collect()
}

/// Opens what a crash left and checks it against what was promised.
fn check(disk: &DiskRef, config: &LogConfig, promised: &Promised) {
    let (mut log, report) = open(disk, config, &promised.context())
        .unwrap_or_else(|fault| panic!("{fault}; promised {promised:?}"));
    log.check_invariants();
    assert_eq!(log.durable_end(), log.log_end(), "what recovery keeps is durable");
    assert!(log.log_end() >= promised.floor, "{} of {}", log.log_end(), promised.floor);
    let start = log.log_start();
    let starts = &promised.starts;
    assert!(starts.contains(&start), "starts at {start}, not at one of {starts:?}");
    let end = log.log_end();
    let found = read_all(&mut log, start, end, 300);
    let is_one_of_them = promised.states.iter().any(|state| {
        let mut expect = state.iter().filter(|(base, _)| base.get() + 1 >= start.get());
        found.iter().all(|batch| expect.next() == Some(batch))
    });
    assert!(
        is_one_of_them,
        "found {:?}, expected one of {:?}; {report:?}",
        outline(&found),
        promised.states.iter().map(|state| outline(state)).collect::<Vec<_>>()
    );
    assert_eq!(found.last().map_or(start, |(base, _)| base.plus(2)), end.max(start));
    let mut producers = Producers::default();
    for (base, bytes) in &found {
        let header = jocko_records::BatchHeader::read(bytes).unwrap();
        producers.apply(&header, ts(0), 10);
        assert_eq!(log.epoch_at((*base).max(start)), Some(header.leader_epoch));
    }
    let known = |all: &Producers| -> Vec<_> {
        all.iter().map(|(id, at)| (id, at.epoch, at.batches.clone())).collect()
    };
    if start == offset(0) {
        assert_eq!(known(&log.producers), known(&producers), "producers are those of the log");
    }
    // The log is whole: it takes more and keeps it.
    let leader = log.latest_epoch().map_or(epoch(9), |last| last.epoch);
    let more = batch(&[1, 2], 30);
    let outcome = log.append(&prepared(&more), leader, ts(99)).unwrap();
    assert!(matches!(outcome, AppendOutcome::Appended(_)), "{outcome:?}");
    let end = flush(&mut log);
    stop(log);
    let (mut log, _) = open(disk, config, &context(true, end, start)).unwrap();
    assert_eq!(read_all(&mut log, start, end, 300).len(), found.len() + 1);
}

/// Cuts the power after every change that `steps` make.
fn enumerate(steps: &[Step]) {
    let config = LogConfig { segment_bytes_max: 400, ..small() };
    let covered = CrashPoints::in_dir("/data").arbitrary(3).run(
        |disk, promised: &mut Promised| run(disk, steps, &config, promised),
        |after, promised| {
            // Recovery may be cut short, too; and once it was done, what it served must stay.
            if after.point % 31 == 3 {
                CrashPoints::on(after.mem()).arbitrary(1).run(
                    |disk, served: &mut Offset| {
                        *served = open(disk, &config, &promised.context())?.0.log_end();
                        Ok::<_, LogFault>(())
                    },
                    |again, served| {
                        let promised =
                            Promised { floor: promised.floor.max(*served), ..promised.clone() };
                        check(&again.disk(), &config, &promised);
                    },
                );
            }
            check(&after.disk(), &config, promised);
        },
    );
    assert!(covered.points > 20, "{covered:?}");
}

#[test]
fn appends_flushes_and_rolls_survive_power_cuts() {
    use Step::*;
    enumerate(&[Append(2), Flush, Append(7), Flush, Append(3)]);
}

#[test]
fn a_log_that_rolled_before_its_first_flush_keeps_its_head_or_nothing() {
    use Step::*;
    enumerate(&[Append(9), Flush, Append(1)]);
}

#[test]
fn truncations_survive_power_cuts() {
    use Step::*;
    enumerate(&[Append(9), Flush, Truncate(14), NewLeader, Append(3), Flush]);
    enumerate(&[Append(9), Truncate(5), NewLeader, Append(8), Flush, Append(1)]);
}

#[test]
fn truncations_below_the_checkpoint_survive_power_cuts() {
    use Step::*;
    enumerate(&[
        Append(9),
        Flush,
        Checkpoint,
        Truncate(6),
        NewLeader,
        Append(2),
        Flush,
        Checkpoint,
    ]);
}

#[test]
fn starting_over_survives_power_cuts() {
    use Step::*;
    enumerate(&[Append(6), Flush, Checkpoint, StartOver(100), Append(2), Flush]);
    enumerate(&[Append(6), Flush, StartOver(4), Append(3), Flush, Checkpoint]);
}

#[test]
fn dropping_the_oldest_segments_survives_power_cuts() {
    use Step::*;
    enumerate(&[
        Append(14),
        Flush,
        AdvanceStart(25),
        RemoveDeleted,
        Checkpoint,
        RemoveDeleted,
        Append(2),
        Flush,
        AdvanceStart(30),
        Checkpoint,
        RemoveDeleted,
    ]);
}

#[test]
fn clean_stops_survive_power_cuts() {
    use Step::*;
    enumerate(&[Append(3), Restart, Append(5), Restart, NewLeader, Append(1), Flush]);
}

#[test]
fn a_log_that_was_flushed_keeps_what_retention_left_without_its_checkpoints() {
    let config = LogConfig { segment_bytes_max: 400, ..small() };
    let (mem, disk, mut log) = fresh(&config);
    for _ in 0..9 {
        log.append(&prepared(&batch(&[1, 2], 10)), epoch(1), ts(1)).unwrap();
    }
    flush(&mut log);
    log.advance_log_start(offset(9)).unwrap();
    log.checkpointed(log.recovery_point(), log.log_start());
    log.remove_deleted(ts(1)).unwrap();
    assert_eq!(log.log_end(), offset(18));
    drop((log, disk));
    let disk = mem.crash(jocko_disk::Crash::Process).shared();
    let (log, report) = open(&disk, &config, &context(false, offset(0), offset(0))).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (offset(8), offset(18)), "{report:?}");
}

/// Reopens what a killed process left, at the recovery point that a checkpoint would hold.
fn reopened_after_a_kill(mem: &jocko_disk::MemDisk, log: &Log, config: &LogConfig) -> Log {
    let disk = mem.aftermath(jocko_disk::Crash::Process).shared();
    let at = context(false, log.recovery_point(), log.log_start());
    open(&disk, config, &at).unwrap().0
}

/// The checkpoint says that it starts earlier, and no flush has ended since.
#[test]
fn a_log_that_was_cut_down_to_its_start_begins_there_after_a_kill() {
    let config = small();
    let (mem, _disk, mut log) = fresh(&config);
    for sequence in 0..4 {
        log.append(&prepared(&batch_of(5, 0, sequence, &[1])), epoch(1), ts(0)).unwrap();
    }
    log.advance_log_start(offset(1)).unwrap();
    assert_eq!(log.truncate_to(offset(1), ts(0)).unwrap(), offset(1));
    let disk = mem.aftermath(jocko_disk::Crash::Process).shared();
    let (log, report) = open(&disk, &config, &context(false, offset(0), offset(0))).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (offset(1), offset(1)), "{report:?}");
}

#[test]
fn a_stops_snapshot_of_records_that_were_cut_and_replaced_by_as_many_bytes_is_not_believed() {
    let config = small();
    let (mem, disk, mut log) = fresh(&config);
    let write = |log: &mut Log, producer: i64, sequence: i32, leader: i32| {
        let bytes = batch_of(producer, 0, sequence, &[1]);
        log.append(&prepared(&bytes), epoch(leader), ts(0)).unwrap()
    };
    for sequence in 0..4 {
        write(&mut log, 5, sequence, 1);
    }
    flush(&mut log);
    stop(log);
    let (mut log, _) = open(&disk, &config, &context(true, offset(4), offset(0))).unwrap();
    log.truncate_to(offset(2), ts(0)).unwrap();
    for sequence in 0..2 {
        write(&mut log, 6, sequence, 2);
    }
    assert_eq!(flush(&mut log), offset(4));
    log.checkpointed(log.recovery_point(), log.log_start());
    let mut log = reopened_after_a_kill(&mem, &log, &config);
    assert!(matches!(write(&mut log, 6, 1, 2), AppendOutcome::Duplicate { .. }));
    assert!(matches!(write(&mut log, 5, 2, 2), AppendOutcome::Appended(_)));
}

#[test]
fn the_recovery_point_waits_for_the_epochs() {
    let config = LogConfig { segment_bytes_max: 400, ..small() };
    let (mem, disk, mut log) = fresh(&config);
    let write = |log: &mut Log, leader: i32| {
        log.append(&prepared(&batch(&[1, 2], 10)), epoch(leader), ts(1)).unwrap();
    };
    write(&mut log, 1);
    flush(&mut log);
    for _ in 0..9 {
        write(&mut log, 2);
    }
    // Somebody who has no time for the small files yet.
    let job = log.take_flush().unwrap().unwrap();
    for file in &job.files {
        file.sync_data().unwrap();
    }
    for dir in &job.dirs {
        disk.sync_dir(dir).unwrap();
    }
    assert_eq!(log.flushed(&job), offset(20));
    assert_eq!(log.recovery_point(), offset(2));
    let again = reopened_after_a_kill(&mem, &log, &config);
    assert_eq!(again.epochs(), log.epochs());
}
