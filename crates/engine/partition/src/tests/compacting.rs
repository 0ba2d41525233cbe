//! Compaction under a partition's lock, and shares of limits.

use super::{Bench, Durability, governed, now, offset};
use crate::{Acks, CompactionBudget, CompactionEnd, Governed, LimitSource, Share};
use jocko_disk::{Disk, Inject, Operation};
use jocko_records::{BatchBuilder, Encoding};
use std::cell::Cell;

const BUDGET: CompactionBudget = CompactionBudget { map_bytes_max: 1 << 20, seed: [1, 2] };

fn compacted() -> Governed {
    let mut governed = governed(Durability::Fsync);
    governed.log.compacts = true;
    governed.log.retention_deletes = false;
    governed.rules.compacted = true;
    governed
}

fn keyed(key: u8, value: u8) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    let value = vec![value; 300];
    builder.push(now(), Some(&[key]), Some(&value), &[]).expect("fits");
    builder.build().expect("has a record")
}

fn filled() -> Bench {
    let bench = Bench::governed(compacted());
    for value in 0..12 {
        bench.append_batch(&keyed(value % 3, value), Acks::Leader, None).0.expect("is appended");
    }
    bench
}

#[test]
fn a_pass_takes_what_is_committed_and_leaves_the_lock_free() {
    let bench = filled();
    let dirt = |bench: &Bench| bench.partition.dirt(now()).expect("is well").expect("is open");
    assert_eq!(dirt(&bench).dirty_bytes, 0);
    let idle = bench.partition.compact(&BUDGET, now(), &mut |_| true).0.expect("is well");
    assert_eq!(idle, CompactionEnd::Idle, "nothing is committed yet");
    let _ = bench.flush();
    assert!(dirt(&bench).is_due(0.5));
    // Between the steps others append and read.
    let appended = Cell::new(0);
    let (done, _) = bench.partition.compact(&BUDGET, now(), &mut |_| {
        if appended.get() < 3 {
            appended.set(appended.get() + 1);
            bench.append_batch(&keyed(9, 9), Acks::Leader, None).0.expect("is appended");
            let _ = bench.flush();
        }
        !bench.records(0).is_empty()
    });
    let Ok(CompactionEnd::Done(done)) = done else { panic!("{done:?}") };
    assert_eq!((done.cleaned_to, appended.get()), (offset(10), 3));
    assert_eq!(bench.partition.compacted_to(), Some(offset(10)));
    let left: Vec<i64> = bench.records(0).iter().map(|(at, _)| *at).collect();
    assert_eq!(left, [7, 8, 9, 10, 11, 12, 13, 14]);
    bench.check();
}

#[test]
fn a_deleted_partition_ends_the_pass() {
    let bench = filled();
    let _ = bench.flush();
    let (done, _) = bench.partition.compact(&BUDGET, now(), &mut |_| {
        let _ = bench.partition.delete();
        true
    });
    assert!(matches!(done, Ok(CompactionEnd::Interrupted(_))), "{done:?}");
}

#[test]
fn a_fault_of_the_pass_is_told_and_the_partition_goes_on() {
    let bench = filled();
    let _ = bench.flush();
    bench.mem.inject(Inject::new(Operation::Sync, "00000000000000000000.log.cleaned").times(1));
    let (done, effects) = bench.partition.compact(&BUDGET, now(), &mut |_| true);
    assert!(done.is_err() && effects.released.is_empty());
    assert!(bench.partition.fault().is_none());
    bench.append_batch(&keyed(1, 1), Acks::Leader, None).0.expect("is appended");
    assert_eq!(bench.records(0).len(), 12, "the last is not committed yet");
}

fn share(bytes_max: Option<u64>) -> Option<Share> {
    Some(Share { bytes_max, roll_bytes: 500, source: LimitSource::TopicBytes })
}

#[test]
fn a_share_rolls_early_and_is_kept_to_the_byte() {
    let mut governed = governed(Durability::Fsync);
    governed.log.segment_bytes_max = 100_000;
    let bench = Bench::governed(governed);
    for _ in 0..4 {
        bench.appended(&["x".repeat(400).as_str()]);
    }
    let _ = bench.flush();
    assert_eq!(bench.partition.standing().expect("is open").segments, 1);
    bench.partition.set_share(share(None));
    // What was written before there was a share is in one segment: it is sealed at once.
    let (done, _) = bench.partition.upkeep(now());
    assert_eq!(done.expect("is well").dropped_segments, 0);
    assert_eq!(bench.partition.standing().expect("is open").segments, 2);
    for _ in 0..6 {
        bench.appended(&["x".repeat(400).as_str()]);
    }
    // A batch that is larger than the share's segments gets one of its own.
    bench.appended(&["x".repeat(2_000).as_str()]);
    let _ = bench.flush();
    let before = bench.partition.held().expect("is open");
    assert_eq!(bench.partition.standing().expect("is open").segments, 8);
    bench.partition.set_share(share(Some(3_400)));
    let (done, _) = bench.partition.upkeep(now());
    let dropped = done.expect("is well").dropped_bytes;
    let held = bench.partition.held().expect("is open");
    assert!(held.live_bytes <= 3_400, "{held:?}");
    assert_eq!(held.live_bytes + dropped, before.live_bytes);
    assert_eq!(held.dropped_bytes, dropped);
    let (recovery_point, log_start) = bench.partition.checkpoint().expect("is open");
    bench.partition.checkpointed(recovery_point, log_start);
    bench.partition.make_room().0.expect("is well");
    assert_eq!(bench.partition.held().expect("is open").dropped_bytes, 0);
    let names = bench.mem.list(std::path::Path::new(super::DIR)).expect("is there");
    assert!(!names.iter().any(|entry| entry.name.ends_with(".deleted")));
    // A share that was set before the log was opened counts, too.
    let bench = bench.restarted(compacted());
    bench.partition.set_share(share(Some(0)));
    let _ = bench.partition.open();
    let (done, _) = bench.partition.upkeep(now());
    assert_eq!(done.expect("is well").dropped_segments, 0, "compacted alone: nothing is deleted");
    assert_eq!(bench.partition.share(), share(Some(0)));
}
