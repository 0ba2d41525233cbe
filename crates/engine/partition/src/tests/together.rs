//! Many partitions at once: how many syncs that takes, and what a power cut in the midst leaves.

use super::{BROKER, EPOCH, TOPIC_ID, assignment, batch, governed, now, opening};
use crate::{
    Acks, Durability, Effects, Home, OpenContext, Partition, Progress, close_together,
    flush_together,
};
use jocko_disk::{Crash, CrashPoints, DiskRef, FlushPlan, Inject, MemDisk, Operation, Survivors};
use jocko_records::{Records, prepare};
use jocko_types::{Offset, PartitionIndex, TopicName, TopicPartition};
use std::path::PathBuf;
use std::sync::Arc;

const DATA: &str = "/data";

/// Per partition, what a checkpoint says: recovery point and log start.
type Checkpoints = Vec<(Offset, Offset)>;

fn partition(disk: &DiskRef, number: usize, open: OpenContext) -> Arc<Partition> {
    let topic = TopicName::new("t").expect("is a name");
    let index = PartitionIndex::new(i32::try_from(number).expect("few"));
    let name = TopicPartition { topic, partition: index };
    let dir = PathBuf::from(DATA).join(name.to_string());
    let home = Home { disk: disk.clone(), dir, broker: BROKER, open };
    let partition = Partition::new(name, TOPIC_ID, home, governed(Durability::Fsync));
    let _ = partition.assign(assignment(Some(BROKER), EPOCH, 0));
    Arc::new(partition)
}

fn all(disk: &DiskRef, clean: bool, checkpoints: &Checkpoints) -> Vec<Arc<Partition>> {
    let numbered = checkpoints.iter().enumerate();
    numbered.map(|(number, at)| partition(disk, number, opening(clean, *at))).collect()
}

fn plan(disk: &DiskRef) -> Result<FlushPlan, String> {
    FlushPlan::new(disk.clone(), PathBuf::from(DATA)).map_err(|fault| fault.to_string())
}

fn try_append(partition: &Partition, value: &str) -> Result<crate::Appended, String> {
    let bytes = batch(&[value]);
    let prepared = prepare(&bytes, &partition.governed().rules).expect("is a batch");
    let appended = partition.append(&prepared, Acks::All, now(), Some(1)).0;
    appended.map_err(|refused| format!("{refused:?}"))
}

fn append_to_all(partitions: &[Arc<Partition>], value: &str) {
    for partition in partitions {
        try_append(partition, value).expect("is appended");
    }
}

fn ignore(_: Effects) {}

fn flush_all(plan: &mut FlushPlan, partitions: &[Arc<Partition>]) {
    flush_together(plan, partitions.iter().cloned(), ignore);
}

/// As a start after a crash does it.
fn recovered(disk: &DiskRef, checkpoints: &Checkpoints) -> Result<Vec<Arc<Partition>>, String> {
    let mut plan = plan(disk)?;
    let partitions = all(disk, false, checkpoints);
    for partition in &partitions {
        partition.prepare().map_err(|fault| fault.to_string())?;
    }
    flush_all(&mut plan, &partitions);
    match partitions.iter().find_map(|partition| partition.fault()) {
        Some(fault) => Err(fault.to_string()),
        None => Ok(partitions),
    }
}

fn checkpoints_of(partitions: &[Arc<Partition>]) -> Checkpoints {
    let known = partitions.iter().map(|at| at.checkpoint().expect("was open"));
    known.collect()
}

/// Everything committed in one partition.
fn values(partition: &Partition) -> Vec<String> {
    let mut at = Offset::ZERO;
    let mut found = Vec::new();
    loop {
        let view = match partition.read(&super::reading(at)) {
            crate::ReadOutcome::Found(view) => view,
            other => panic!("{other:?}"),
        };
        let Some(slice) = view.slice else { return found };
        let bytes = slice.read().expect("reads");
        let mut records = Records::new(&bytes, at, 1 << 20);
        while let Some(record) = records.next().expect("is sound") {
            found.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
            at = record.offset.next();
        }
    }
}

const MANY: usize = 100;

#[test]
fn a_round_over_many_partitions_takes_a_handful_of_syncs() {
    let mem = MemDisk::with_dir(DATA);
    let disk = mem.shared();
    let mut plan = plan(&disk).expect("syncs");
    let partitions = all(&disk, false, &vec![(Offset::ZERO, Offset::ZERO); MANY]);
    append_to_all(&partitions, "first");
    let before = mem.syncs();
    flush_all(&mut plan, &partitions);
    assert_eq!(mem.syncs() - before, 3, "the logs; the small files' bytes; their names");
    append_to_all(&partitions, "second");
    let before = mem.syncs();
    flush_all(&mut plan, &partitions);
    assert_eq!(mem.syncs() - before, 1);
}

#[test]
fn who_has_no_small_files_to_wait_for_is_told_first() {
    let mem = MemDisk::with_dir(DATA);
    let disk = mem.shared();
    let mut plan = plan(&disk).expect("syncs");
    let partitions = all(&disk, false, &vec![(Offset::ZERO, Offset::ZERO); 2]);
    try_append(&partitions[0], "first").expect("is appended");
    flush_all(&mut plan, &partitions);
    try_append(&partitions[1], "first").expect("is appended");
    try_append(&partitions[0], "second").expect("is appended");
    let mut told = Vec::new();
    let (older, newer) = (&partitions[0], &partitions[1]);
    flush_together(&mut plan, partitions.iter().cloned(), |effects| {
        let ends = [older, newer].map(|at| at.standing().expect("is open").high_watermark.get());
        told.push((effects.released, ends));
    });
    assert_eq!(told, [(vec![1], [2, 0]), (vec![1], [2, 1])]);
}

#[test]
fn many_recoveries_take_one_sync_and_leave_nothing_to_do() {
    let mem = MemDisk::with_dir(DATA);
    let disk = mem.shared();
    let none = vec![(Offset::ZERO, Offset::ZERO); MANY];
    let mut first_plan = plan(&disk).expect("syncs");
    let partitions = all(&disk, false, &none);
    append_to_all(&partitions, "first");
    flush_all(&mut first_plan, &partitions);
    append_to_all(&partitions, "second");
    let mem = mem.crash(Crash::Process);
    let disk = mem.shared();
    let partitions = recovered(&disk, &none).expect("recovers");
    assert_eq!(mem.syncs(), 2, "one tries the file system, one does the work");
    let after = mem.aftermath(Crash::Power(Survivors::Nothing));
    for partition in &partitions {
        assert_eq!(values(partition), ["first", "second"]);
    }
    for partition in recovered(&after.shared(), &checkpoints_of(&partitions)).expect("recovers") {
        assert_eq!(values(&partition), ["first", "second"], "what was served is durable");
    }
}

#[test]
fn nothing_uncommitted_is_served_before_the_sync_of_a_recovery() {
    let mem = MemDisk::with_dir(DATA);
    let disk = mem.shared();
    let partitions = all(&disk, false, &vec![(Offset::ZERO, Offset::ZERO)]);
    append_to_all(&partitions, "first");
    let disk = mem.crash(Crash::Process).shared();
    let again = all(&disk, false, &vec![(Offset::ZERO, Offset::ZERO)]);
    again[0].prepare().expect("recovers");
    assert!(values(&again[0]).is_empty());
    flush_all(&mut plan(&disk).expect("syncs"), &again);
    assert_eq!(values(&again[0]), ["first"]);
}

#[test]
fn a_stop_of_many_takes_a_handful_of_syncs_and_is_clean_for_each() {
    let mem = MemDisk::with_dir(DATA);
    let disk = mem.shared();
    let mut plan = plan(&disk).expect("syncs");
    let partitions = all(&disk, false, &vec![(Offset::ZERO, Offset::ZERO); MANY]);
    append_to_all(&partitions, "first");
    flush_all(&mut plan, &partitions);
    append_to_all(&partitions, "second");
    let before = mem.syncs();
    assert!(close_together(&mut plan, &partitions, ignore).is_empty());
    assert_eq!(mem.syncs() - before, 3);
    let checkpoints = checkpoints_of(&partitions);
    assert!(checkpoints.iter().all(|at| *at == (Offset::new(2), Offset::ZERO)));
    let after = mem.crash(Crash::Power(Survivors::Nothing));
    let before = after.operations();
    for partition in all(&after.shared(), true, &checkpoints) {
        assert_eq!(values(&partition), ["first", "second"]);
    }
    assert_eq!(after.operations(), before, "a clean log is opened without a write");
}

#[test]
fn one_partition_whose_small_files_fail_spoils_nobody_elses_stop() {
    let mem = MemDisk::with_dir(DATA);
    mem.set_syncfs_supported(false);
    let disk = mem.shared();
    let mut plan = plan(&disk).expect("is refused politely");
    let partitions = all(&disk, false, &vec![(Offset::ZERO, Offset::ZERO); 3]);
    append_to_all(&partitions, "first");
    mem.inject(Inject::new(Operation::Rename, "t-1"));
    let unclosed = close_together(&mut plan, &partitions, ignore);
    let names: Vec<_> =
        unclosed.iter().map(|unclosed| unclosed.partition.name().partition.get()).collect();
    assert_eq!(names, [1]);
    mem.heal();
    let checkpoints = checkpoints_of(&partitions);
    assert_eq!(checkpoints[0].0, Offset::new(1));
    assert_eq!(checkpoints[1].0, Offset::ZERO);
    for (number, partition) in all(&disk, false, &checkpoints).iter().enumerate() {
        assert_eq!(values(partition), ["first"], "{number}");
    }
}

/// What three partitions promised while they lived together.
#[derive(Debug, Default, Clone)]
struct Promised {
    committed: [usize; 3],
    checkpoints: Checkpoints,
    is_clean: bool,
}

impl Promised {
    fn checkpoints(&self) -> Checkpoints {
        let mut all = self.checkpoints.clone();
        all.resize(3, (Offset::ZERO, Offset::ZERO));
        all
    }
}

/// Appends to all, flushes, checkpoints, stops cleanly, starts, and once more; small segments roll
/// at every other record.
fn live(disk: &DiskRef, promised: &mut Promised) -> Result<(), String> {
    let value = |number: usize| format!("{number}{}", "x".repeat(400));
    let mut plan = plan(disk)?;
    let mut number = 0;
    for round in 0..2 {
        let partitions = all(disk, promised.is_clean, &promised.checkpoints());
        promised.is_clean = false;
        for _ in 0..3 {
            let mut appended = Vec::new();
            for partition in &partitions {
                appended.push(try_append(partition, &value(number))?);
            }
            number += 1;
            flush_all(&mut plan, &partitions);
            for ((partition, appended), known) in
                partitions.iter().zip(&appended).zip(&mut promised.committed)
            {
                if partition.progress(appended) == Progress::Committed {
                    *known = number;
                }
            }
            if round == 0 {
                promised.checkpoints = checkpoints_of(&partitions);
                for (partition, (point, start)) in partitions.iter().zip(&promised.checkpoints) {
                    partition.checkpointed(*point, *start);
                }
            }
        }
        // Not flushed before the stop.
        for partition in &partitions {
            try_append(partition, &value(number))?;
        }
        number += 1;
        if let Some(unclosed) = close_together(&mut plan, &partitions, ignore).first() {
            return Err(unclosed.fault.to_string());
        }
        promised.committed = [number; 3];
        promised.checkpoints = checkpoints_of(&partitions);
        promised.is_clean = true;
    }
    Ok(())
}

fn check(partitions: &[Arc<Partition>], promised: &Promised) {
    for (partition, committed) in partitions.iter().zip(promised.committed) {
        let found = values(partition);
        assert!(found.len() >= committed, "{} of {committed}", found.len());
        for (number, value) in found.iter().enumerate() {
            assert_eq!(value.trim_end_matches('x'), number.to_string());
        }
    }
}

#[test]
fn stops_and_recoveries_of_several_logs_survive_power_cuts() {
    let covered = CrashPoints::in_dir(DATA).arbitrary(2).run(live, |after, promised| {
        // Only at the end does the mark of a clean stop stand.
        let is_clean = promised.is_clean && after.completed;
        if is_clean {
            check(&all(&after.disk(), true, &promised.checkpoints()), promised);
        }
        if after.point % 29 == 5 {
            // The recovery is cut short, too; what it has served must be there the next time.
            CrashPoints::on(after.mem()).arbitrary(1).run(
                |disk, served: &mut Option<Promised>| {
                    let partitions = recovered(disk, &promised.checkpoints())?;
                    let counts: Vec<_> = partitions.iter().map(|at| values(at).len()).collect();
                    let committed = [counts[0], counts[1], counts[2]];
                    let checkpoints = checkpoints_of(&partitions);
                    *served = Some(Promised { committed, checkpoints, is_clean: false });
                    Ok::<(), String>(())
                },
                |again, served| {
                    let promised = served.as_ref().unwrap_or(promised);
                    let partitions = recovered(&again.disk(), &promised.checkpoints());
                    check(&partitions.expect("recovers"), promised);
                },
            );
        }
        let partitions = recovered(&after.disk(), &promised.checkpoints()).expect("recovers");
        check(&partitions, promised);
        // And all go on.
        append_to_all(&partitions, "next");
        flush_all(&mut plan(&after.disk()).expect("syncs"), &partitions);
        for partition in &partitions {
            assert_eq!(values(partition).last().map(String::as_str), Some("next"));
        }
    });
    assert!(covered.points > 60, "{covered:?}");
}
