//! What a consumer is told, and how it waits.

use super::{Bench, EPOCH, assignment, governed, offset, read_code, reading};
use crate::{Acks, Diverging, Durability, Listed, Read, ReadOutcome};
use jocko_disk::Disk;
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::path::Path;

fn two_committed_one_not() -> Bench {
    let bench = Bench::new(Durability::Fsync);
    bench.appended(&["a"]);
    bench.appended(&["b"]);
    let _ = bench.flush();
    bench.appended(&["c"]);
    bench
}

#[test]
fn only_what_is_committed_is_read() {
    let bench = two_committed_one_not();
    assert_eq!(bench.records(0), [(0, "a".to_owned()), (1, "b".to_owned())]);
    assert_eq!(bench.records(1), [(1, "b".to_owned())]);
    let at_watermark = bench.view(offset(2));
    assert!(at_watermark.slice.is_none());
    assert_eq!((at_watermark.high_watermark, at_watermark.last_stable), (offset(2), offset(2)));
    assert!(bench.view(offset(3)).slice.is_none(), "the end is no error, as in Kafka");
    for from in [-1, 4] {
        let outcome = bench.partition.read(&reading(offset(from)));
        assert_eq!(read_code(outcome), ErrorCode::OffsetOutOfRange, "from {from}");
    }
}

#[test]
fn an_answer_is_as_large_as_asked_for_but_one_batch_at_least() {
    let bench = Bench::new(Durability::Relaxed);
    for value in ["a", "b", "c"] {
        bench.appended(&[value]);
    }
    let whole = bench.view(offset(0)).slice.expect("is there").len;
    let one = whole / 3;
    let check = |bytes_max: usize, whole_batch: bool, expect: usize| {
        let read = Read { bytes_max, whole_batch, ..reading(offset(0)) };
        let ReadOutcome::Found(view) = bench.partition.read(&read) else { panic!("is readable") };
        assert_eq!(view.slice.map_or(0, |slice| slice.len), expect, "{bytes_max} {whole_batch}");
    };
    check(whole, false, whole);
    check(whole - 1, false, 2 * one);
    check(one, false, one);
    check(one - 1, false, 0);
    check(one - 1, true, one);
    check(0, true, one);
}

#[test]
fn a_readers_epoch_must_be_ours() {
    let bench = two_committed_one_not();
    let check = |epoch: LeaderEpoch, expect: ErrorCode| {
        let read = Read { known_leader_epoch: Some(epoch), ..reading(offset(0)) };
        assert_eq!(read_code(bench.partition.read(&read)), expect);
        assert_eq!(bench.partition.latest(Some(epoch)), Err(expect));
        assert_eq!(bench.partition.earliest(Some(epoch)), Err(expect));
        assert_eq!(bench.partition.epoch_end(Some(epoch), EPOCH), Err(expect));
    };
    check(LeaderEpoch::new(2), ErrorCode::FencedLeaderEpoch);
    check(LeaderEpoch::new(4), ErrorCode::UnknownLeaderEpoch);
    let read = Read { known_leader_epoch: Some(EPOCH), ..reading(offset(0)) };
    assert!(matches!(bench.partition.read(&read), ReadOutcome::Found(_)));
    let _ = bench.partition.assign(assignment(Some(BrokerId::new(2)), LeaderEpoch::new(4), 1));
    let outcome = bench.partition.read(&reading(offset(0)));
    assert_eq!(read_code(outcome), ErrorCode::NotLeaderOrFollower);
}

#[test]
fn logs_that_part_are_told_where() {
    let bench = Bench::new(Durability::Fsync);
    bench.appended(&["a", "b"]);
    let _ = bench.partition.assign(assignment(Some(super::BROKER), LeaderEpoch::new(6), 1));
    bench.appended(&["c"]);
    let _ = bench.flush();
    let diverging = |from: i64, epoch: i32| {
        let last_fetched_epoch = Some(LeaderEpoch::new(epoch));
        let read = Read { last_fetched_epoch, ..reading(offset(from)) };
        match bench.partition.read(&read) {
            ReadOutcome::Found(view) => Ok((view.diverging, view.slice.is_some())),
            ReadOutcome::Refused(code) => Err(code),
            ReadOutcome::Cold(_) => panic!("all is in memory"),
        }
    };
    let parts = |epoch: i32, end: i64| {
        Ok((Some(Diverging { epoch: LeaderEpoch::new(epoch), end_offset: offset(end) }), false))
    };
    assert_eq!(diverging(2, 3), Ok((None, true)), "epoch 3 ended there");
    assert_eq!(diverging(3, 6), Ok((None, false)));
    assert_eq!(diverging(3, 3), parts(3, 2), "epoch 3 wrote less here");
    assert_eq!(diverging(2, 5), parts(3, 2), "epoch 5 wrote nothing here");
    assert_eq!(diverging(0, 9), Err(ErrorCode::OffsetOutOfRange), "nobody knows epoch 9");
}

#[test]
fn offsets_are_listed() {
    let bench = two_committed_one_not();
    let listed = |offset: i64, timestamp: Option<Timestamp>| Listed {
        offset: Some(Offset::new(offset)),
        timestamp,
        leader_epoch: Some(EPOCH),
    };
    assert_eq!(bench.partition.earliest(None), Ok(listed(0, None)));
    assert_eq!(bench.partition.latest(None), Ok(listed(2, None)));
    let at = super::now();
    assert_eq!(bench.partition.at_timestamp(None, at), Ok(listed(0, Some(at))));
    assert_eq!(bench.partition.at_max_timestamp(None), Ok(listed(0, Some(at))));
    let later = Timestamp::from_millis(at.as_millis() + 1);
    assert_eq!(bench.partition.at_timestamp(None, later), Ok(Listed::NOTHING));
    assert_eq!(bench.partition.epoch_end(None, EPOCH).map(|end| end.end), Ok(offset(3)));
}

#[test]
fn what_is_not_in_memory_is_warmed_elsewhere() {
    let bench = Bench::new(Durability::Fsync);
    for _ in 0..6 {
        bench.appended(&["x".repeat(300).as_str()]);
    }
    let _ = bench.flush();
    bench.partition.close().0.expect("closes");
    let bench = bench.restarted(governed(Durability::Fsync));
    let dir = Path::new(super::DIR);
    for entry in bench.mem.list(dir).expect("is there") {
        bench.mem.cool(dir.join(entry.name)).expect("is there");
    }
    let read = Read { bytes_max: 500, ..reading(offset(1)) };
    let mut warmed = 0;
    loop {
        match bench.partition.read(&read) {
            ReadOutcome::Cold(cold) => cold.warm().expect("reads"),
            ReadOutcome::Found(view) => {
                assert_eq!(view.slice.expect("is there").from, offset(1));
                break;
            }
            ReadOutcome::Refused(code) => panic!("{code}"),
        }
        warmed += 1;
        assert!(warmed < 10, "each warming gets the search on");
    }
    assert!(warmed > 0, "the search met cold bytes");
}

#[test]
fn a_parked_reader_wakes_when_there_is_something() {
    let bench = two_committed_one_not();
    assert_eq!(bench.partition.park(1, offset(2)).released, [1], "that is committed already");
    assert_eq!(bench.partition.park(2, offset(3)).released, []);
    assert_eq!(bench.partition.park(3, offset(4)).released, []);
    assert_eq!(bench.partition.park(4, offset(3)).released, []);
    bench.partition.forget(4);
    assert_eq!(bench.flush().released, [2]);
    bench.append(Acks::Leader, None, &["d"]).0.expect("is appended");
    assert_eq!(bench.flush().released, [3]);
}

#[test]
fn parking_where_nothing_will_happen_wakes_at_once() {
    let bench = two_committed_one_not();
    let _ = bench.partition.delete();
    assert_eq!(bench.partition.park(1, offset(9)).released, [1]);
    bench.partition.forget(1);
}
