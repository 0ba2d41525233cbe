//! What a producer is told, and when.

use super::{
    BROKER, Bench, EPOCH, assignment, batch, batch_of, code, governed, now, offset, unopened,
};
use crate::{Acks, Assignment, Durability, OpenContext, Progress};
use jocko_disk::MemDisk;
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Offset};

#[test]
fn the_disk_is_untouched_until_the_first_append() {
    let bench = Bench::new(Durability::Fsync);
    assert!(!bench.partition.is_open());
    assert_eq!(bench.partition.standing(), None);
    assert_eq!(bench.records(0), []);
    assert_eq!(bench.partition.latest(None).expect("leads").offset, Some(Offset::ZERO));
    assert!(bench.partition.is_open(), "the first question opens it");
    assert_eq!(bench.mem.operations(), 0);
    assert!(!bench.partition.has_files());
    bench.appended(&["a"]);
    assert!(bench.partition.has_files());
}

#[test]
fn with_fsync_the_high_watermark_waits_for_the_disk() {
    for acks in [Acks::None, Acks::Leader, Acks::All] {
        let bench = Bench::new(Durability::Fsync);
        let (appended, effects) = bench.append(acks, Some(9), &["a", "b"]);
        let appended = appended.expect("is appended");
        assert_eq!((appended.base_offset, appended.end), (offset(0), offset(2)), "{acks:?}");
        assert_eq!(appended.leader_epoch, EPOCH);
        assert!(!appended.is_committed);
        assert!(effects.flush_due, "or acks {acks:?} would stay unreadable");
        assert_eq!(effects.released, []);
        assert_eq!(bench.high_watermark(), 0);
        assert_eq!(bench.records(0), []);
        assert_eq!(bench.partition.progress(&appended), Progress::Waiting);

        let effects = bench.flush();
        let expect: &[u64] = if acks == Acks::All { &[9] } else { &[] };
        assert_eq!(effects.released, expect, "{acks:?}");
        assert!(!effects.flush_due);
        assert_eq!(bench.high_watermark(), 2);
        assert_eq!(bench.partition.progress(&appended), Progress::Committed);
        assert_eq!(bench.records(0), [(0, "a".to_owned()), (1, "b".to_owned())]);
    }
}

#[test]
fn a_ticket_is_released_once() {
    let bench = Bench::new(Durability::Fsync);
    bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    assert_eq!(bench.flush().released, [1]);
    bench.append(Acks::All, Some(2), &["b"]).0.expect("is appended");
    assert_eq!(bench.flush().released, [2]);
    assert_eq!(bench.flush().released, [], "nothing is due, nobody waits");
}

#[test]
fn a_flush_covers_what_was_there_when_it_was_taken() {
    let bench = Bench::new(Durability::Fsync);
    bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    let (job, _) = bench.partition.take_flush();
    let mut job = job.expect("is due");
    bench.append(Acks::All, Some(2), &["b"]).0.expect("is appended");
    job.run(bench.mem.shared().as_ref()).expect("syncs");
    assert_eq!(bench.partition.flushed(&job).released, [1]);
    assert_eq!(bench.high_watermark(), 1);
    assert!(bench.partition.is_flush_due());
    assert_eq!(bench.flush().released, [2]);
    assert!(!bench.partition.is_flush_due());
}

#[test]
fn a_partition_stands_in_the_flushers_line_once() {
    let bench = Bench::new(Durability::Fsync);
    bench.appended(&["a"]);
    assert!(bench.partition.line_up_for_flush());
    assert!(!bench.partition.line_up_for_flush());
    let (job, _) = bench.partition.take_flush();
    assert!(bench.partition.line_up_for_flush(), "what comes now needs another round");
    drop(job);
}

#[test]
fn relaxed_commits_at_once() {
    let bench = Bench::new(Durability::Relaxed);
    let (appended, effects) = bench.append(Acks::All, Some(1), &["a"]);
    assert!(appended.expect("is appended").is_committed);
    assert_eq!((effects.released.as_slice(), effects.flush_due), (&[][..], false));
    assert_eq!(bench.records(0), [(0, "a".to_owned())]);
}

#[test]
fn relaxed_readers_cause_no_sync() {
    let bench = Bench::new(Durability::Relaxed);
    bench.appended(&["a"]);
    assert!(!bench.partition.park(1, offset(2)).flush_due);
    let (_, effects) = bench.append(Acks::Leader, None, &["b"]);
    assert_eq!((effects.released.as_slice(), effects.flush_due), (&[1][..], false));
}

#[test]
fn flush_messages_counts_records() {
    let governed = crate::Governed { flush_records: 3, ..governed(Durability::Relaxed) };
    let bench = Bench::governed(governed);
    let due: Vec<bool> = [&["a"][..], &["b"], &["c"], &["d"], &["e", "f", "g"]]
        .iter()
        .map(|values| bench.append(Acks::Leader, None, values).1.flush_due)
        .collect();
    assert_eq!(due, [false, false, true, false, true]);
}

#[test]
fn a_sealed_segment_goes_to_disk_in_relaxed_mode_too() {
    let bench = Bench::new(Durability::Relaxed);
    let long = "x".repeat(400);
    let due: Vec<bool> =
        (0..5).map(|_| bench.append(Acks::Leader, None, &[&long]).1.flush_due).collect();
    assert_eq!(due, [false, false, true, false, true], "two batches fill a segment");
}

#[test]
fn durability_can_change_at_any_time() {
    let bench = Bench::new(Durability::Fsync);
    bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    let effects = bench.partition.govern(governed(Durability::Relaxed));
    assert_eq!((effects.released.as_slice(), effects.flush_due), (&[1][..], false));
    assert!(bench.append(Acks::All, Some(2), &["b"]).0.expect("is appended").is_committed);
    let effects = bench.partition.govern(governed(Durability::Fsync));
    assert!(effects.flush_due, "what is not on disk goes there now");
    assert_eq!(bench.high_watermark(), 2, "what was committed stays so");
    assert!(!bench.append(Acks::All, Some(3), &["c"]).0.expect("is appended").is_committed);
    assert_eq!(bench.flush().released, [3]);
}

#[test]
fn a_duplicate_gets_the_first_answer_and_waits_like_it() {
    let bench = Bench::new(Durability::Fsync);
    let first = batch_of(5, 0, 0, &["a", "b"]);
    let (appended, _) = bench.append_batch(&first, Acks::All, Some(1));
    let appended = appended.expect("is appended");
    bench.appended(&["other"]);
    let (again, effects) = bench.append_batch(&first, Acks::All, Some(2));
    let again = again.expect("is known");
    assert_eq!((again.base_offset, again.end), (appended.base_offset, appended.end));
    assert!(!again.is_committed, "the first one is not on disk yet");
    assert!(effects.flush_due);
    assert_eq!(bench.flush().released, [1, 2]);

    let (again, effects) = bench.append_batch(&first, Acks::All, Some(3));
    assert!(again.expect("is known").is_committed);
    assert_eq!(effects.released, []);
    assert_eq!(bench.flush().released, [], "nobody was parked");
    let values: Vec<String> = bench.records(0).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["a", "b", "other"], "written once");
}

#[test]
fn producers_are_refused_with_kafkas_codes() {
    let bench = Bench::new(Durability::Fsync);
    let try_batch = |bytes: &[u8]| bench.append_batch(bytes, Acks::All, Some(1)).0;
    try_batch(&batch_of(5, 1, 0, &["a"])).expect("starts at 0");
    let check = |bytes: &[u8], expect: ErrorCode| {
        let refused = try_batch(bytes).expect_err("must be refused");
        assert_eq!(refused.code, expect, "{refused:?}");
        // It holds only of a broker that leads.
        let gap_in = (expect == ErrorCode::OutOfOrderSequenceNumber).then_some(EPOCH);
        assert_eq!(refused.gap_in, gap_in, "{refused:?}");
    };
    assert!(bench.partition.leads_in(EPOCH));
    check(&batch_of(5, 1, 2, &["c"]), ErrorCode::OutOfOrderSequenceNumber);
    check(&batch_of(5, 2, 7, &["c"]), ErrorCode::OutOfOrderSequenceNumber);
    check(&batch_of(5, 0, 1, &["b"]), ErrorCode::InvalidProducerEpoch);
    check(&batch(&["x".repeat(2_000).as_str()]), ErrorCode::RecordListTooLarge);
    assert_eq!(bench.flush().released, [1], "who is refused does not wait");
    assert_eq!(bench.records(0), [(0, "a".to_owned())]);
    try_batch(&batch_of(5, 1, 1, &["b"])).expect("goes on where it was");
}

#[test]
fn only_the_leader_appends() {
    let mem = MemDisk::with_dir("/data");
    let context = OpenContext { topic_id: None, ..super::opening(false, Default::default()) };
    let partition = unopened(&mem, governed(Durability::Fsync), context);
    let bench = Bench { mem, partition };
    assert_eq!(code(bench.append(Acks::All, None, &["a"]).0), ErrorCode::NotLeaderOrFollower);
    let _ = bench.partition.assign(assignment(Some(BrokerId::new(2)), EPOCH, 0));
    assert_eq!(code(bench.append(Acks::All, None, &["a"]).0), ErrorCode::NotLeaderOrFollower);
    assert_eq!(bench.mem.operations(), 0);
}

#[test]
fn a_new_leader_ends_all_waits() {
    let bench = Bench::new(Durability::Fsync);
    let appended = bench.append(Acks::All, Some(1), &["a"]).0.expect("is appended");
    let lost = assignment(Some(BrokerId::new(2)), LeaderEpoch::new(4), 1);
    assert_eq!(bench.partition.assign(lost).released, [1]);
    let lost = Progress::Lost(ErrorCode::NotLeaderOrFollower);
    assert_eq!(bench.partition.progress(&appended), lost);
    let _ = bench.flush();
    assert_eq!(bench.partition.progress(&appended), lost, "whatever the disk holds");
}

#[test]
fn acks_all_needs_enough_replicas_in_sync() {
    let mut governed = governed(Durability::Fsync);
    governed.policy.min_insync_replicas = 2;
    let bench = Bench::governed(governed);
    let others = vec![BROKER, BrokerId::new(2), BrokerId::new(3)];
    let state = Assignment { replicas: others, ..assignment(Some(BROKER), LeaderEpoch::new(4), 1) };
    let _ = bench.partition.assign(state);
    assert_eq!(code(bench.append(Acks::All, None, &["a"]).0), ErrorCode::NotEnoughReplicas);
    bench.append(Acks::Leader, None, &["a"]).0.expect("acks=1 does not ask");
    let _ = bench.flush();
    assert_eq!(bench.high_watermark(), 0, "nothing is committed below the minimum (KIP-966)");
}

#[test]
fn who_knows_the_log_of_one_leadership_does_not_write_in_a_later_one() {
    let bench = Bench::new(Durability::Fsync);
    let bytes = batch(&["a"]);
    let batch =
        jocko_records::prepare(&bytes, &bench.partition.governed().rules).expect("is a batch");
    let append = |epoch| bench.partition.append_in(epoch, &batch, Acks::All, now()).0;
    assert_eq!(append(EPOCH).expect("leads").leader_epoch, EPOCH);
    let _ = bench.partition.assign(assignment(Some(BrokerId::new(2)), LeaderEpoch::new(4), 1));
    let _ = bench.partition.assign(assignment(Some(BROKER), LeaderEpoch::new(5), 2));
    assert_eq!(code(append(EPOCH)), ErrorCode::NotLeaderOrFollower, "another wrote meanwhile");
    append(LeaderEpoch::new(5)).expect("leads again");
}
