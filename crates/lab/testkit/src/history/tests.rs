//! A clean history is clean, and every planted violation is reported as what it is.

use super::*;

const PARTITION: u16 = 3;

fn id(number: u64) -> Id {
    Id::new(1, PARTITION, number)
}

/// Ten records: three acknowledged, two seen as well, five neither; all there.
fn clean() -> (History, Log) {
    let mut history = History::new(PARTITION);
    history.acknowledge(0, id(0), 3);
    for offset in 2..5 {
        history.see(offset, Some(id(offset.unsigned_abs())), 5);
    }
    history.told_high_watermark(5);
    let records = (0..10).map(|offset: i64| (offset, Some(id(offset.unsigned_abs())))).collect();
    (history, Log { end: 10, records })
}

/// Plants one change and says which faults come of it.
fn faults(plant: impl FnOnce(&mut History, &mut Log)) -> Vec<String> {
    let (mut history, mut log) = clean();
    plant(&mut history, &mut log);
    let tally = history.judge(&log);
    let kind = |fault: &Fault| fault.to_string().split(':').next().unwrap_or_default().to_owned();
    let sum = tally.lost + tally.duplicates + tally.conflicts + tally.others;
    assert_eq!(sum, tally.examples.len() as u64, "{tally:?}");
    assert_eq!(tally.is_clean(), tally.examples.is_empty());
    tally.examples.iter().map(kind).collect()
}

fn check(plant: impl FnOnce(&mut History, &mut Log), expect: &[&str]) {
    assert_eq!(faults(plant), expect);
}

#[test]
fn a_clean_history_is_clean() {
    check(|_, _| {}, &[]);
    let (history, log) = clean();
    let tally = history.judge(&log);
    assert_eq!((tally.acknowledged, tally.read), (3, 10));
}

#[test]
fn a_duplicate_answered_with_its_first_offset_is_clean() {
    check(|history, _| history.acknowledge_again(0, id(0), 3), &[]);
}

#[test]
fn a_lost_record_is_reported() {
    // The end is gone: everything acknowledged and read there with it.
    let cut = |log: &mut Log, end: i64| {
        log.end = end;
        log.records.retain(|(offset, _)| *offset < end);
    };
    check(|_, log| cut(log, 2), &["short", "lost", "vanished", "vanished"]);
    check(|_, log| cut(log, 5), &[]);
    // One acknowledged beyond the end.
    check(|history, _| history.acknowledge(10, id(10), 1), &["lost"]);
}

#[test]
fn a_record_elsewhere_than_acknowledged_is_reported() {
    let plant = |history: &mut History, _: &mut Log| history.acknowledge_again(7, id(6), 1);
    check(plant, &["lost"]);
    let (mut history, log) = clean();
    plant(&mut history, &mut Log::default());
    let lost = Fault::Lost { id: id(6), offset: 7, found: Some(6) };
    assert_eq!(history.judge(&log).examples, [lost]);
}

#[test]
fn a_duplicate_is_reported() {
    let plant = |_: &mut History, log: &mut Log| {
        log.records.push((10, Some(id(9))));
        log.end = 11;
    };
    check(plant, &["duplicate"]);
}

#[test]
fn a_changed_value_is_reported() {
    // Of an acknowledged record, of one only read; one that nobody knew may be anything.
    let other = |number| Some(Id::new(2, PARTITION, number));
    check(|_, log| log.records[1].1 = other(0), &["lost"]);
    check(|_, log| log.records[4].1 = other(0), &["conflict"]);
    check(|_, log| log.records[8].1 = other(0), &[]);
}

#[test]
fn two_values_at_one_offset_are_reported() {
    check(|history, _| history.see(4, Some(id(50)), 5), &["conflict"]);
    check(|history, _| history.acknowledge_again(1, id(0), 1), &["conflict", "lost"]);
    // Read before the crash, another after it, nobody was promised anything.
    let plant = |_: &mut History, log: &mut Log| {
        log.records[4].1 = Some(Id::new(2, PARTITION, 0));
    };
    check(plant, &["conflict"]);
}

#[test]
fn gaps_are_reported() {
    check(|_, log| log.records.retain(|(offset, _)| *offset != 7), &["gap"]);
    check(|_, log| log.end = 11, &["gap"]);
    check(|history, _| history.acknowledge_again(i64::MAX - 5, id(0), 1), &["gap", "lost"]);
}

#[test]
fn values_nobody_wrote_are_reported() {
    check(|_, log| log.records[8].1 = None, &["altered"]);
    check(|history, _| history.see(3, None, 5), &["altered"]);
    check(|_, log| log.records[8].1 = Some(Id::new(1, 4, 8)), &["stray", "reordered"]);
}

#[test]
fn records_out_of_order_are_reported() {
    let plant = |_: &mut History, log: &mut Log| {
        log.records[8].1 = Some(id(9));
        log.records[9].1 = Some(id(8));
    };
    check(plant, &["reordered"]);
}

#[test]
fn records_served_before_they_are_committed_are_reported() {
    check(|history, _| history.see(5, Some(id(5)), 5), &["uncommitted"]);
}

#[test]
fn a_high_watermark_beyond_the_end_is_reported() {
    check(|history, _| history.told_high_watermark(11), &["short"]);
}
