use super::*;
use jocko_types::ErrorCode;
use proptest::prelude::*;

mod random;

fn send(process: u32, number: u64, offset: i64) -> Event {
    sent(process, number, 1, Outcome::Acknowledged, Some(offset))
}

fn sent(process: u32, number: u64, count: u32, outcome: Outcome, offset: Option<i64>) -> Event {
    let value = value_of(process, number);
    let topic = "t".to_owned();
    Event::Send { process, topic, partition: 0, value, count, offset, outcome }
}

fn poll(process: u32, records: &[(i64, u32, u64)]) -> Event {
    let run =
        |&(offset, sender, number): &(i64, u32, u64)| Run(offset, value_of(sender, number), 1);
    let records = records.iter().map(run).collect();
    Event::Poll { process, topic: "t".to_owned(), partition: 0, records }
}

fn seek(process: u32) -> Event {
    Event::Seek { process, topic: "t".to_owned(), partition: 0 }
}

/// Consumer 7 is the one who reads in the end.
fn end(end: i64) -> Event {
    Event::Final { process: 7, topic: "t".to_owned(), partition: 0, end }
}

fn judge(events: &[Event]) -> Verdict {
    let mut checker = Checker::default();
    for event in events {
        checker.observe(event).unwrap();
    }
    checker.judge()
}

/// The anomalies of a history, each with its count. The final read is announced first.
fn check(events: &[Event], expect: &[(Anomaly, u64)]) {
    let mut events = events.to_vec();
    events.sort_by_key(|event| !matches!(event, Event::Final { .. }));
    let verdict = judge(&events);
    let found: Vec<(Anomaly, u64)> =
        verdict.anomalies.iter().map(|(anomaly, found)| (*anomaly, found.count)).collect();
    assert_eq!(found, expect, "{verdict}");
}

#[test]
fn an_ordinary_history_is_consistent() {
    check(&[], &[]);
    let events = [
        send(1, 0, 0),
        send(2, 0, 1),
        poll(7, &[(0, 1, 0), (1, 2, 0)]),
        send(1, 1, 2),
        poll(8, &[(0, 1, 0)]),
        poll(7, &[(2, 1, 1)]),
        poll(8, &[(1, 2, 0), (2, 1, 1)]),
        end(3),
    ];
    check(&events, &[]);
    let verdict = judge(&events);
    assert_eq!((verdict.acknowledged, verdict.read, verdict.unread), (3, 3, 0));
}

#[test]
fn offsets_hold_one_value() {
    use Anomaly::InconsistentOffsets;
    check(
        &[send(1, 0, 0), send(2, 0, 0), poll(7, &[(0, 1, 0)]), poll(8, &[(0, 2, 0)])],
        &[(InconsistentOffsets, 2)],
    );
    // Two readers, of which none is the sender.
    let unknown = |process| sent(process, 0, 1, Outcome::Unknown, None);
    let seen = [unknown(1), unknown(2), poll(7, &[(4, 1, 0)]), poll(8, &[(4, 2, 0)])];
    check(&seen, &[(InconsistentOffsets, 1)]);
    // The same offset of another partition is another place.
    let topic = || "u".to_owned();
    let value = value_of(2, 0);
    let elsewhere = [
        send(1, 0, 0),
        Event::Send {
            process: 2,
            topic: topic(),
            partition: 0,
            value,
            count: 1,
            offset: Some(0),
            outcome: Outcome::Acknowledged,
        },
    ];
    check(&elsewhere, &[]);
}

#[test]
fn values_are_at_one_offset() {
    use Anomaly::{Duplicate, InconsistentOffsets, PollSkip};
    let sends = [send(1, 0, 0), send(1, 1, 1)];
    let twice = poll(7, &[(0, 1, 0), (1, 1, 1), (2, 1, 0)]);
    check(&[&sends[..], &[twice]].concat(), &[(Duplicate, 1)]);
    // Acknowledged at one place and read at another.
    let moved = poll(7, &[(0, 1, 0), (2, 1, 1)]);
    check(&[&sends[..], &[moved]].concat(), &[(Duplicate, 1), (PollSkip, 1)]);
    // Read at the same place by many.
    let all = [(0, 1, 0), (1, 1, 1)];
    check(&[&sends[..], &[poll(7, &all), poll(8, &all)]].concat(), &[]);
    let swapped = poll(7, &[(0, 1, 1), (1, 1, 0)]);
    check(&[&sends[..], &[swapped]].concat(), &[(InconsistentOffsets, 2), (Duplicate, 2)]);
}

#[test]
fn what_is_acknowledged_is_there() {
    use Anomaly::{LostWrite, ShortLog, Unseen};
    let sends = [send(1, 0, 0), send(2, 0, 1), send(1, 1, 2)];
    let read = |records: &[(i64, u32, u64)]| [&sends[..], &[seek(7), poll(7, records)]].concat();
    // The last one may still come.
    check(&read(&[(0, 1, 0), (1, 2, 0)]), &[]);
    assert_eq!(judge(&read(&[(0, 1, 0), (1, 2, 0)])).unread, 1);
    // Nothing will come after the final read.
    check(&[&read(&[(0, 1, 0), (1, 2, 0)])[..], &[end(2)]].concat(), &[(Unseen, 1), (ShortLog, 1)]);
    check(&[&read(&[(0, 1, 0), (1, 2, 0)])[..], &[end(3)]].concat(), &[(Unseen, 1)]);
    check(&[&sends[..], &[end(0)]].concat(), &[(Unseen, 3), (ShortLog, 1)]);
    // Below what was read nothing will come either. Two readers, so that nobody jumps.
    let lost = [&sends[..], &[poll(7, &[(0, 1, 0)]), poll(8, &[(2, 1, 1)])]].concat();
    check(&lost, &[(LostWrite, 1)]);
}

#[test]
fn what_was_read_stays() {
    use Anomaly::LostWrite;
    let sends = [send(1, 0, 0), sent(1, 1, 1, Outcome::Unknown, None), send(1, 2, 2)];
    let early = poll(8, &[(0, 1, 0), (1, 1, 1), (2, 1, 2)]);
    let late = |records: &[(i64, u32, u64)]| {
        [&sends[..], &[early.clone(), poll(7, records), end(3)]].concat()
    };
    check(&late(&[(0, 1, 0), (1, 1, 1), (2, 1, 2)]), &[]);
    check(&late(&[(1, 1, 1), (2, 1, 2)]), &[(LostWrite, 1)]);
    check(&late(&[(0, 1, 0), (2, 1, 2)]), &[(LostWrite, 1), (Anomaly::PollSkip, 1)]);
}

#[test]
fn a_log_that_ends_below_what_was_read_is_short() {
    let unknown = sent(1, 0, 1, Outcome::Unknown, None);
    check(&[unknown, poll(7, &[(5, 1, 0)]), end(3)], &[(Anomaly::ShortLog, 1)]);
}

#[test]
fn what_is_unknown_may_be_there_or_not() {
    let unknown = sent(1, 0, 3, Outcome::Unknown, None);
    let other = send(2, 0, 3);
    check(&[unknown.clone(), other.clone(), poll(7, &[(3, 2, 0)]), end(4)], &[]);
    let whole = poll(7, &[(0, 1, 0), (1, 1, 1), (2, 1, 2), (3, 2, 0)]);
    check(&[unknown.clone(), other.clone(), whole, end(4)], &[]);
    // But not in part.
    let torn = poll(7, &[(0, 1, 0), (2, 1, 2), (3, 2, 0)]);
    check(&[unknown.clone(), other.clone(), torn, end(4)], &[(Anomaly::LostWrite, 1)]);
    // The rest of it has not been read yet.
    check(&[unknown, poll(7, &[(0, 1, 0)])], &[]);
    // It may come after what was sent later, and be read before anyone says that it was sent.
    let late =
        [poll(7, &[(0, 1, 1), (1, 1, 0)]), send(1, 1, 0), sent(1, 0, 1, Outcome::Unknown, None)];
    check(&late, &[]);
    assert_eq!(judge(&late).unknown_read, 1);
}

#[test]
fn what_failed_is_not_there() {
    let failed = sent(1, 0, 1, Outcome::Failed, None);
    check(&[failed.clone(), end(0)], &[]);
    check(&[failed, poll(7, &[(0, 1, 0)])], &[(Anomaly::FailedRead, 1)]);
}

#[test]
fn nobody_reads_what_nobody_sent() {
    check(&[poll(7, &[(0, 1, 0)])], &[(Anomaly::Phantom, 1)]);
    let stray = Event::Poll {
        process: 7,
        topic: "t".to_owned(),
        partition: 1,
        records: vec![Run(0, value_of(1, 0), 1)],
    };
    check(&[sent(1, 0, 1, Outcome::Unknown, None), stray], &[(Anomaly::Phantom, 1)]);
}

#[test]
fn consumers_skip_nothing_that_is_known() {
    use Anomaly::PollSkip;
    let sends = [send(1, 0, 0), send(1, 1, 1), send(1, 2, 5)];
    let all = poll(8, &[(0, 1, 0), (1, 1, 1), (5, 1, 2)]);
    // Nothing is known between 2 and 5: compaction or a control batch.
    check(&[&sends[..], std::slice::from_ref(&all)].concat(), &[]);
    let between =
        [&sends[..], &[all.clone(), poll(7, &[(0, 1, 0)]), poll(7, &[(5, 1, 2)])]].concat();
    check(&between, &[(PollSkip, 1)]);
    let inside = [&sends[..], &[all.clone(), poll(7, &[(0, 1, 0), (5, 1, 2)])]].concat();
    check(&inside, &[(PollSkip, 1)]);
    // A consumer that went elsewhere, or was given the partition anew, has skipped nothing.
    let sought =
        [&sends[..], &[all.clone(), poll(7, &[(0, 1, 0)]), seek(7), poll(7, &[(5, 1, 2)])]];
    check(&sought.concat(), &[]);
    // The jump is judged by what is known at the end.
    let late = [
        poll(7, &[(0, 1, 0)]),
        poll(7, &[(5, 1, 2)]),
        sends[0].clone(),
        sends[1].clone(),
        sends[2].clone(),
        all,
    ];
    check(&late, &[(PollSkip, 1)]);
}

#[test]
fn consumers_do_not_go_back() {
    use Anomaly::NonmonotonicPoll;
    let sends = [send(1, 0, 0), send(1, 1, 1)];
    let first = poll(7, &[(0, 1, 0), (1, 1, 1)]);
    let again = poll(7, &[(1, 1, 1)]);
    check(&[&sends[..], &[first.clone(), again.clone()]].concat(), &[(NonmonotonicPoll, 1)]);
    check(&[&sends[..], &[first, seek(7), again]].concat(), &[]);
    let inside = poll(7, &[(1, 1, 1), (0, 1, 0)]);
    check(&[&sends[..], &[inside]].concat(), &[(NonmonotonicPoll, 1)]);
}

#[test]
fn producers_go_forward() {
    use Anomaly::NonmonotonicSend;
    check(&[send(1, 0, 5), send(1, 1, 3)], &[(NonmonotonicSend, 1)]);
    // The order of answers is not the order of sending.
    check(&[send(1, 1, 5), send(1, 0, 3)], &[]);
    // Different producers, and what is between them, have no order.
    check(&[send(1, 0, 5), send(2, 0, 3), send(1, 1, 6)], &[]);
}

#[test]
fn outcomes_of_attempts_add_up() {
    use Outcome::{Acknowledged, Failed, Unknown};
    assert_eq!(Outcome::of_refusal(ErrorCode::NotLeaderOrFollower), Unknown);
    assert_eq!(Outcome::of_refusal(ErrorCode::RequestTimedOut), Unknown);
    assert_eq!(Outcome::of_refusal(ErrorCode::UnknownServerError), Unknown);
    assert_eq!(Outcome::of_refusal(ErrorCode::MessageTooLarge), Failed);
    assert_eq!(Failed.and(Failed), Failed);
    assert_eq!(Unknown.and(Failed), Unknown);
    assert_eq!(Failed.and(Unknown), Unknown);
    assert_eq!(Unknown.and(Acknowledged), Acknowledged);
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |event: &Event| Checker::default().observe(event).is_err();
    assert!(refused(&sent(1, 0, 1, Outcome::Acknowledged, None)));
    assert!(refused(&sent(1, 0, 1, Outcome::Unknown, Some(3))));
    assert!(refused(&sent(1, 0, 0, Outcome::Unknown, None)));
    assert!(refused(&sent(1, 0, u32::MAX, Outcome::Unknown, None)));
    assert!(refused(&send(1, 0, -1)));
    assert!(refused(&send(1, 0, i64::MAX)));
    let run =
        |run| Event::Poll { process: 1, topic: "t".to_owned(), partition: 0, records: vec![run] };
    assert!(refused(&run(Run(0, 0, 1))));
    assert!(refused(&run(Run(0, u64::MAX, 1))));
    assert!(!refused(&run(Run(1 << 60, u64::MAX - 1, 1))));
    let mut checker = Checker::default();
    checker.observe(&send(1, 0, 0)).unwrap();
    assert!(checker.observe(&send(1, 0, 1)).is_err(), "sent twice");
}

#[test]
fn histories_are_read_line_by_line() {
    let lines = concat!(
        r#"{"op":"send","process":1,"topic":"t","partition":0,"value":1099511627776,"offset":17}"#,
        "\n\n",
        r#"{"op":"send","process":1,"topic":"t","partition":0,"value":1099511627777,"count":3,"outcome":"unknown"}"#,
        "\n",
        r#"{"op":"seek","process":2,"topic":"t","partition":0}"#,
        "\n",
        r#"{"op":"final","process":2,"topic":"t","partition":0,"end":21}"#,
        "\n",
        r#"{"op":"poll","process":2,"topic":"t","partition":0,"records":[[17,1099511627776,4]]}"#,
    );
    let mut checker = Checker::default();
    assert_eq!(checker.read(lines.as_bytes()).unwrap(), 5);
    let verdict = checker.judge();
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.read, verdict.unknown_read), (4, 3));
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(event.to_line(), line);
    }
    let error = Checker::default().read("\n{}".as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with("line 2"), "{error}");
}

#[test]
fn a_million_records_take_seconds() {
    let mut checker = Checker::default();
    let begun = std::time::Instant::now();
    for batch in 0..100_000_u32 {
        let (number, offset) = (u64::from(batch) * 10, i64::from(batch) * 10);
        checker.observe(&sent(1, number, 10, Outcome::Acknowledged, Some(offset))).unwrap();
        for process in 7..9 {
            let records = vec![Run(offset, value_of(1, number), 10)];
            let poll = Event::Poll { process, topic: "t".to_owned(), partition: 0, records };
            checker.observe(&poll).unwrap();
        }
    }
    assert!(checker.judge().is_clean());
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
