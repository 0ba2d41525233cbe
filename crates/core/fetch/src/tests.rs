//! Each rule of KIP-227 once.

use crate::{Finding, Finished, Key, Limits, Params, Request, Sessions, TopicKey};
use jocko_types::{ErrorCode, Now, Offset, PartitionIndex};
use std::time::Duration;

fn key(partition: i32) -> Key {
    Key { topic: TopicKey::Name("t".into()), partition: PartitionIndex::new(partition) }
}

fn params(offset: i64) -> Params {
    Params {
        fetch_offset: Offset::new(offset),
        bytes_max: 1_024,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        log_start_offset: Offset::new(-1),
    }
}

fn request(
    session_id: i32,
    session_epoch: i32,
    wanted: &[(i32, i64)],
    forgotten: &[i32],
) -> Request {
    Request {
        session_id,
        session_epoch,
        uses_topic_ids: false,
        partitions: wanted.iter().map(|&(index, offset)| (key(index), params(offset))).collect(),
        forgotten: forgotten.iter().map(|&index| key(index)).collect(),
    }
}

fn idle(high_watermark: i64) -> Finding {
    Finding {
        high_watermark: Offset::new(high_watermark),
        log_start_offset: Offset::ZERO,
        has_records: false,
        is_special: false,
    }
}

fn records(high_watermark: i64) -> Finding {
    Finding { has_records: true, ..idle(high_watermark) }
}

fn failed() -> Finding {
    Finding { is_special: true, ..idle(-1) }
}

fn at(seconds: u64) -> Now {
    Now::from_start(Duration::from_secs(seconds))
}

/// One request from begin to finish; yields the partitions served, or the error.
fn exchange(
    sessions: &mut Sessions,
    request: Request,
    findings: &[Finding],
) -> Result<(Vec<i32>, Finished), ErrorCode> {
    let mut ids = 7..;
    let begun = sessions.begin(at(0), request)?;
    let served = begun.partitions.iter().map(|(key, _)| key.partition.get()).collect();
    let finished =
        sessions.finish(at(0), begun, findings, || ids.next().expect("ids do not end"))?;
    Ok((served, finished))
}

fn open(sessions: &mut Sessions, wanted: &[(i32, i64)], findings: &[Finding]) -> i32 {
    exchange(sessions, request(0, 0, wanted, &[]), findings).expect("opens").1.session_id
}

#[test]
fn an_answer_holds_only_what_is_news() {
    let mut sessions = Sessions::new(Limits::default());
    let id = open(&mut sessions, &[(0, 0), (1, 0)], &[idle(5), idle(5)]);
    assert_eq!(id, 7);
    let (served, finished) =
        exchange(&mut sessions, request(id, 1, &[], &[]), &[idle(5), idle(6)]).expect("goes on");
    assert_eq!(served, [0, 1]);
    assert_eq!(finished, Finished { session_id: id, included: vec![false, true] });
    let (_, finished) =
        exchange(&mut sessions, request(id, 2, &[], &[]), &[idle(5), idle(6)]).expect("goes on");
    assert_eq!(finished.included, [false, false]);
}

#[test]
fn a_served_partition_moves_to_the_end_of_the_rotation() {
    let mut sessions = Sessions::new(Limits::default());
    let id = open(&mut sessions, &[(0, 0), (1, 0), (2, 0)], &[idle(1), idle(1), idle(1)]);
    exchange(&mut sessions, request(id, 1, &[], &[]), &[records(1), idle(1), idle(1)]).expect("ok");
    let (served, _) = exchange(&mut sessions, request(id, 2, &[], &[]), &[idle(1); 3]).expect("ok");
    assert_eq!(served, [1, 2, 0]);
}

#[test]
fn an_error_is_always_news_and_so_is_the_recovery_from_it() {
    let mut sessions = Sessions::new(Limits::default());
    let id = open(&mut sessions, &[(0, 0)], &[idle(5)]);
    for (epoch, finding) in [(1, failed()), (2, failed()), (3, idle(5))] {
        let (_, finished) =
            exchange(&mut sessions, request(id, epoch, &[], &[]), &[finding]).expect("goes on");
        assert_eq!(finished.included, [true], "epoch {epoch}");
    }
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let mut sessions = Sessions::new(Limits::default());
    let id = open(&mut sessions, &[(0, 0), (1, 0)], &[idle(5), idle(5)]);
    let begun = sessions.begin(at(0), request(id, 1, &[(1, 3), (2, 9)], &[0])).expect("goes on");
    let wanted: Vec<_> = begun
        .partitions
        .iter()
        .map(|(key, params)| (key.partition.get(), params.fetch_offset.get()))
        .collect();
    assert_eq!(wanted, [(1, 3), (2, 9)]);
}

#[test]
fn a_session_with_nothing_left_is_closed() {
    let mut sessions = Sessions::new(Limits::default());
    let id = open(&mut sessions, &[(0, 0)], &[idle(5)]);
    let (served, finished) =
        exchange(&mut sessions, request(id, 1, &[], &[0]), &[]).expect("is answered");
    assert!(served.is_empty());
    assert_eq!(finished.session_id, 0);
    assert!(sessions.is_empty());
}

#[test]
fn wrong_ids_epochs_and_forms_are_refused() {
    let mut sessions = Sessions::new(Limits::default());
    let id = open(&mut sessions, &[(0, 0)], &[idle(5)]);
    let mut check = |request: Request, expect: ErrorCode| {
        assert_eq!(sessions.begin(at(0), request).err(), Some(expect));
    };
    check(request(id + 1, 1, &[], &[]), ErrorCode::FetchSessionIdNotFound);
    check(request(0, 1, &[], &[]), ErrorCode::FetchSessionIdNotFound);
    check(request(id, 2, &[], &[]), ErrorCode::InvalidFetchSessionEpoch);
    let by_id = Request { uses_topic_ids: true, ..request(id, 1, &[], &[]) };
    check(by_id, ErrorCode::FetchSessionTopicIdError);
}

#[test]
fn a_session_whose_turn_was_taken_meanwhile_is_refused() {
    let mut sessions = Sessions::new(Limits::default());
    let id = open(&mut sessions, &[(0, 0)], &[idle(5)]);
    let slow = sessions.begin(at(0), request(id, 1, &[], &[])).expect("goes on");
    sessions.begin(at(0), request(id, 2, &[], &[])).expect("goes on");
    let late = sessions.finish(at(0), slow, &[idle(5)], || 1);
    assert_eq!(late, Err(ErrorCode::InvalidFetchSessionEpoch));
}

#[test]
fn full_requests_close_the_session_they_name() {
    let mut sessions = Sessions::new(Limits::default());
    let id = open(&mut sessions, &[(0, 0)], &[idle(5)]);
    let (_, finished) =
        exchange(&mut sessions, request(id, -1, &[(0, 0)], &[]), &[idle(5)]).expect("is answered");
    assert_eq!(finished, Finished { session_id: 0, included: vec![true] });
    assert!(sessions.is_empty());
}

#[test]
fn sessions_are_bounded_and_only_stale_ones_give_way() {
    let limits = Limits { sessions_max: 1, idle_min: Duration::from_secs(120) };
    let mut sessions = Sessions::new(limits);
    let mut try_open = |seconds, id| {
        let begun = sessions.begin(at(seconds), request(0, 0, &[(0, 0)], &[])).expect("begins");
        sessions.finish(at(seconds), begun, &[idle(0)], || id).expect("finishes").session_id
    };
    assert_eq!(try_open(0, 7), 7);
    assert_eq!(try_open(119, 8), 0);
    assert_eq!(try_open(120, 9), 9);
}

#[test]
fn epochs_wrap_to_one() {
    assert_eq!(crate::sessions::next_epoch(i32::MAX), 1);
    assert_eq!(crate::sessions::next_epoch(1), 2);
}
