//! Full disks, failing disks, folders of somebody else.

use super::{Bench, TopicId, batch, code, governed, offset, opening, read_code, reading};
use crate::{Acks, Durability, FlushJob, OpenContext, Progress};
use jocko_disk::{Inject, MemDisk, Operation};
use jocko_types::{ErrorCode, Offset};

const FAILED: ErrorCode = ErrorCode::KafkaStorageError;

#[test]
fn a_full_disk_refuses_and_recovers() {
    let bench = Bench::new(Durability::Fsync);
    bench.append(Acks::All, Some(1), &["a"]).0.expect("fits");
    let _ = bench.flush();
    bench.mem.inject(Inject::new(Operation::Write, super::DIR).no_space().keeping(20));
    for ticket in [2, 3] {
        let (refused, effects) = bench.append(Acks::All, Some(ticket), &["b"]);
        assert_eq!(code(refused), FAILED);
        assert_eq!(effects.released, []);
        assert_eq!(
            effects.no_room_for,
            Some(batch(&["b"]).len() as u64),
            "whoever minds the disk is told"
        );
    }
    assert!(bench.partition.fault().is_none(), "want of room passes");
    assert_eq!(bench.records(0), [(0, "a".to_owned())], "reading goes on");
    bench.mem.heal();
    let (appended, effects) = bench.append(Acks::All, Some(4), &["b"]);
    let appended = appended.expect("there is room again");
    assert_eq!(effects.no_room_for, None);
    assert_eq!(appended.base_offset, offset(1));
    assert_eq!(bench.flush().released, [4]);
    assert_eq!(bench.records(0), [(0, "a".to_owned()), (1, "b".to_owned())]);
}

#[test]
fn a_disk_too_full_for_the_folder_recovers_too() {
    let bench = Bench::new(Durability::Fsync);
    bench.mem.set_capacity(Some(0));
    assert_eq!(code(bench.append(Acks::All, Some(1), &["a"]).0), FAILED);
    bench.mem.set_capacity(None);
    bench.append(Acks::All, Some(1), &["a"]).0.expect("there is room now");
    assert_eq!(bench.flush().released, [1]);
}

/// Takes a flush whose sync fails.
fn fail_a_flush(bench: &Bench) -> (FlushJob, crate::Effects) {
    let (job, _) = bench.partition.take_flush();
    let mut job = job.expect("is due");
    bench.mem.inject(Inject::new(Operation::Sync, super::DIR).times(1));
    let fault = job.run(bench.mem.shared().as_ref()).expect_err("was injected");
    let effects = bench.partition.flush_failed(&job, fault);
    (job, effects)
}

#[test]
fn a_failed_sync_tells_all_who_wait_and_closes_the_log_to_writes() {
    let bench = Bench::new(Durability::Fsync);
    let first = bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    let _ = bench.flush();
    let second = bench.append(Acks::All, Some(2), &["b"]).0.expect("is appended");
    let (job, effects) = fail_a_flush(&bench);
    assert_eq!(effects.released, [2]);
    assert!(!effects.flush_due);
    assert!(bench.partition.fault().is_some());
    assert_eq!(bench.partition.progress(&first), Progress::Committed);
    assert_eq!(bench.partition.progress(&second), Progress::Lost(FAILED));
    assert_eq!(code(bench.append(Acks::All, Some(3), &["c"]).0), FAILED);
    assert_eq!(bench.records(0), [(0, "a".to_owned())], "what was committed stays readable");
    let _ = bench.partition.flushed(&job);
    assert_eq!(bench.high_watermark(), 1, "nothing that comes later mends it (DR2)");
}

#[test]
fn a_latched_log_leaves_its_readers_in_peace() {
    let bench = Bench::new(Durability::Fsync);
    bench.appended(&["a"]);
    let _ = fail_a_flush(&bench);
    assert!(!bench.partition.is_flush_due(), "nothing would come of it");
    let parked = bench.partition.park(5, offset(1));
    assert_eq!((parked.released.as_slice(), parked.flush_due), (&[][..], false));
    let (job, effects) = bench.partition.take_flush();
    assert!(job.is_none());
    assert_eq!(effects.released, [], "or it would look again and again");
    let (_, effects) = bench.append(Acks::Leader, None, &["b"]);
    assert_eq!(effects.released, []);
    let (upkeep, effects) = bench.partition.upkeep(super::now());
    assert!(upkeep.is_err());
    assert_eq!(effects.released, []);
}

#[test]
fn a_failed_write_tells_all_who_wait() {
    let bench = Bench::new(Durability::Fsync);
    bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    bench.mem.inject(Inject::new(Operation::Write, super::DIR).times(1));
    let (refused, effects) = bench.append(Acks::All, Some(2), &["b"]);
    assert_eq!(code(refused), FAILED);
    assert_eq!(effects.released, [1]);
    assert!(bench.partition.fault().is_some());
}

#[test]
fn a_fault_in_upkeep_tells_all_who_wait() {
    let mut governed = governed(Durability::Fsync);
    governed.log.retention_bytes = Some(100);
    let bench = Bench::governed(governed);
    for _ in 0..4 {
        bench.appended(&["x".repeat(400).as_str()]);
    }
    let _ = bench.flush();
    bench.partition.upkeep(super::now()).0.expect("drops");
    let (recovery_point, log_start) = bench.partition.checkpoint().expect("is open");
    bench.partition.checkpointed(recovery_point, log_start);
    bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    bench.mem.inject(Inject::new(Operation::Rename, super::DIR));
    let (upkeep, effects) = bench.partition.upkeep(super::now());
    assert!(upkeep.is_err());
    assert_eq!(effects.released, [1]);
}

#[test]
fn a_foreign_folder_is_refused_and_left_alone() {
    let bench = Bench::new(Durability::Fsync);
    bench.appended(&["a"]);
    bench.partition.close().0.expect("closes");
    let before = bench.mem.files();
    let checkpoint = (Offset::ZERO, Offset::ZERO);
    let other = Some(TopicId::from_bytes([8; 16]));
    let context = OpenContext { topic_id: other, ..opening(true, checkpoint) };
    let other = Bench::on(bench.mem.clone(), governed(Durability::Fsync), context);
    assert!(other.partition.open().is_err());
    assert!(other.partition.fault().is_some());
    assert_eq!(code(other.append(Acks::All, None, &["b"]).0), FAILED);
    assert_eq!(read_code(other.partition.read(&reading(offset(0)))), FAILED);
    assert_eq!(other.partition.latest(None), Err(FAILED));
    other.partition.close().0.expect("there is nothing to close");
    assert_eq!(other.partition.checkpoint(), None, "what was known of it stays known");
    assert!(bench.mem.files() == before);
}

#[test]
fn lost_bytes_are_reported_not_forgotten() {
    let bench = Bench::new(Durability::Fsync);
    bench.append_batch(&batch(&["a"]), Acks::All, None).0.expect("is appended");
    let _ = bench.flush();
    let checkpoint = bench.partition.checkpoint().expect("is open");
    let wiped = Bench::on(
        MemDisk::with_dir(super::DATA),
        governed(Durability::Fsync),
        opening(false, checkpoint),
    );
    assert!(wiped.partition.open().is_err(), "the checkpoint says there was a record");
    assert_eq!(code(wiped.append(Acks::All, None, &["b"]).0), FAILED);
}
