//! Stops, restarts, deletion.

use super::{Bench, batch_of, code, governed, offset, read_code, reading};
use crate::{Acks, Durability, Progress};
use jocko_disk::{Inject, Operation};
use jocko_types::{ErrorCode, Offset};

#[test]
fn a_clean_stop_keeps_ends_and_producers() {
    for durability in [Durability::Fsync, Durability::Relaxed] {
        let bench = Bench::new(durability);
        bench.append_batch(&batch_of(5, 0, 0, &["a", "b"]), Acks::Leader, None).0.expect("fits");
        bench.appended(&["c"]);
        bench.partition.close().0.expect("closes");
        assert_eq!(bench.partition.checkpoint(), Some((offset(3), Offset::ZERO)), "all is durable");

        let bench = bench.restarted(governed(durability));
        assert_eq!(bench.partition.latest(None).expect("leads").offset, Some(offset(3)));
        assert_eq!(bench.records(1), [(1, "b".to_owned()), (2, "c".to_owned())]);
        let again = bench.append_batch(&batch_of(5, 0, 0, &["a", "b"]), Acks::All, None).0;
        assert_eq!(again.expect("is known").base_offset, offset(0));
        let next = bench.append_batch(&batch_of(5, 0, 2, &["d"]), Acks::All, None).0;
        assert_eq!(next.expect("follows").base_offset, offset(3));
    }
}

#[test]
fn what_was_never_opened_has_no_checkpoint_and_closes() {
    let bench = Bench::new(Durability::Fsync);
    bench.partition.close().0.expect("closes");
    assert_eq!(bench.partition.checkpoint(), None);
    assert_eq!(bench.mem.operations(), 0);
}

#[test]
fn an_empty_log_closes_without_a_trace() {
    let bench = Bench::new(Durability::Fsync);
    bench.partition.open().expect("opens");
    bench.partition.close().0.expect("closes");
    assert_eq!(bench.partition.checkpoint(), Some((Offset::ZERO, Offset::ZERO)));
    assert_eq!(bench.mem.operations(), 0);
}

#[test]
fn a_closed_partition_serves_nobody() {
    let bench = Bench::new(Durability::Fsync);
    let appended = bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    let (closed, effects) = bench.partition.close();
    closed.expect("closes");
    assert_eq!(effects.released, [1]);
    let lost = ErrorCode::NotLeaderOrFollower;
    assert_eq!(bench.partition.progress(&appended), Progress::Lost(lost));
    assert_eq!(code(bench.append(Acks::Leader, None, &["b"]).0), lost);
    assert_eq!(read_code(bench.partition.read(&reading(offset(0)))), lost);
    assert_eq!(bench.partition.latest(None), Err(lost));
    assert!(bench.partition.open().is_err());
    let checkpoint = bench.partition.checkpoint();
    bench.partition.close().0.expect("once more changes nothing");
    assert_eq!(bench.partition.checkpoint(), checkpoint);
}

#[test]
fn who_waits_is_told_even_if_closing_fails() {
    let bench = Bench::new(Durability::Fsync);
    bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    bench.mem.inject(Inject::new(Operation::Sync, super::DIR));
    let (closed, effects) = bench.partition.close();
    assert!(closed.is_err(), "this stop is not clean");
    assert_eq!(effects.released, [1]);
    assert_eq!(
        bench.partition.checkpoint(),
        Some((Offset::ZERO, Offset::ZERO)),
        "nothing is known to be durable"
    );
}

#[test]
fn a_deleted_topic_is_unknown_to_who_waits_and_who_comes() {
    let bench = Bench::new(Durability::Fsync);
    let appended = bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    assert_eq!(bench.partition.park(2, offset(5)).released, []);
    assert_eq!(bench.partition.delete().released, [1, 2]);
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(bench.partition.progress(&appended), Progress::Lost(unknown));
    assert_eq!(code(bench.append(Acks::All, Some(3), &["b"]).0), unknown);
    assert_eq!(read_code(bench.partition.read(&reading(offset(0)))), unknown);
    let (job, effects) = bench.partition.take_flush();
    assert!(job.is_none());
    assert_eq!(effects.released, []);
}

#[test]
fn a_flush_under_way_survives_deletion() {
    let bench = Bench::new(Durability::Fsync);
    bench.appended(&["a"]);
    let (job, _) = bench.partition.take_flush();
    let mut job = job.expect("is due");
    let _ = bench.partition.delete();
    job.run(bench.mem.shared().as_ref()).expect("the files are still there");
    assert_eq!(bench.partition.flushed(&job).released, []);
}
