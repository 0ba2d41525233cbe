//! Which connections a sweep ends, row by row.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jocko_types::Now;

use super::{HalfFrame, Table, Vitals};
use crate::budget::{Budget, Charge, Share};
use crate::metrics::CloseReason;
use crate::settings::ConnectionSettings;

fn at(seconds: u64) -> Now {
    Now::from_start(Duration::from_secs(seconds))
}

fn connection(table: &Table, half: Option<HalfFrame>) -> Rc<Vitals> {
    let settings = Arc::new(ConnectionSettings::default());
    let vitals = Rc::new(Vitals::new(0, settings, at(0)));
    vitals.half_frame.set(half);
    table.insert(&vitals);
    vitals
}

fn half(began: u64, received: usize, paused_since: Option<u64>) -> HalfFrame {
    HalfFrame {
        began: at(began),
        paused: Duration::ZERO,
        paused_since: paused_since.map(at),
        received,
        total: 0,
        held: 0,
    }
}

/// The same, holding so many bytes of shared memory.
fn holding(held: usize, half: HalfFrame) -> HalfFrame {
    HalfFrame { held, ..half }
}

/// A budget that somebody waits for.
fn pressed() -> (Arc<Budget>, [Charge; 2]) {
    let budget = Budget::new(1000);
    let (mut charge, mut waits) = (Charge::none(&budget), Charge::none(&budget));
    charge.set(1000);
    assert!(!waits.raise_or_wait(1, Share::Ordinary, std::task::Waker::noop()));
    (budget, [charge, waits])
}

#[test]
fn frames_overstay_by_their_age_less_what_they_earned_and_what_was_our_doing() {
    let mib = 1024 * 1024;
    let rows = [
        // began, received, paused for, now, ended without and with pressure
        (0, 10, 0, 30, false, false),
        (0, 10, 0, 31, true, true),
        (0, mib, 0, 31, false, true),
        (0, mib, 0, 47, true, true),
        (0, 10, 20, 50, false, false),
        (0, 10, 20, 51, true, true),
    ];
    for (began, received, paused, now, calm, pressure) in rows {
        let mut frame = half(began, received, None);
        frame.paused = Duration::from_secs(paused);
        let (busy, _charge) = pressed();
        for (budget, ended) in [(Budget::new(1000), calm), (busy, pressure)] {
            let table = Table::default();
            let vitals = connection(&table, Some(frame));
            table.sweep(at(now), &budget);
            let wanted = ended.then_some(CloseReason::FrameTimeout);
            assert_eq!(vitals.kill.take(), wanted, "{frame:?} at {now}");
        }
    }
}

#[test]
fn frames_that_hold_memory_others_wait_for_must_come_at_a_pace() {
    let rows = [
        // bytes of 3000 here, held, paused for, now, ended without and with pressure
        (199, 100, 0, 2, false, false),
        (299, 100, 0, 3, false, true),
        (300, 100, 0, 3, false, false),
        (299, 100, 1, 3, false, false),
        (299, 0, 0, 3, false, false),
        (1999, 100, 0, 20, false, true),
        (2000, 100, 0, 20, false, false),
    ];
    for (received, held, paused, now, calm, pressure) in rows {
        let paused = Duration::from_secs(paused);
        let frame = HalfFrame { total: 3000, held, paused, ..half(0, received, None) };
        let (busy, _charges) = pressed();
        for (budget, ended) in [(Budget::new(1000), calm), (busy, pressure)] {
            let table = Table::default();
            let vitals = connection(&table, Some(frame));
            table.sweep(at(now), &budget);
            let wanted = ended.then_some(CloseReason::FrameTimeout);
            assert_eq!(vitals.kill.take(), wanted, "{frame:?} at {now}");
        }
    }
}

#[test]
fn frames_that_wait_for_each_other_are_given_up_oldest_first() {
    let (budget, _charge) = pressed();
    let table = Table::default();
    let stuck: Vec<_> = (0..16)
        .map(|began| connection(&table, Some(half(began, 1_000_000, Some(began + 1)))))
        .collect();
    table.sweep(at(30), &budget);
    assert!(stuck.iter().all(|each| each.kill.get().is_none()), "none is past its deadline");
    table.sweep(at(100), &budget);
    let ended: Vec<_> = stuck.iter().map(|each| each.kill.get().is_some()).collect();
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 2);
    assert!(ended[0] && ended[1]);
}

#[test]
fn frames_wait_longer_while_others_make_progress_also_on_other_reactors() {
    let (budget, _charge) = pressed();
    let (table, elsewhere) = (Table::default(), Table::default());
    let stuck = connection(&table, Some(half(0, 1_000_000, Some(1))));
    connection(&elsewhere, Some(holding(100, half(90, 1_000_000, None))));
    // A small frame holds nothing that others wait for.
    connection(&table, Some(half(99, 100, None)));
    elsewhere.sweep(at(100), &budget);
    table.sweep(at(100), &budget);
    assert_eq!(stuck.kill.take(), None);
    table.sweep(at(121), &budget);
    assert_eq!(stuck.kill.take(), Some(CloseReason::Memory), "but not for ever");
}

#[test]
fn frames_that_hold_all_memory_and_wait_for_more_are_given_up_soon() {
    let rows = [
        // held by each of 16 of 1000 used, paused since, others receive, how many are given up
        (60, 8, false, 8),
        (0, 8, false, 0),
        (50, 8, false, 0),
        (60, 10, false, 0),
        (60, 8, true, 0),
    ];
    for (held, paused_since, others, wanted) in rows {
        let (budget, _charge) = pressed();
        let (table, elsewhere) = (Table::default(), Table::default());
        let stuck: Vec<_> = (0..16)
            .map(|_| connection(&table, Some(holding(held, half(8, 100, Some(paused_since))))))
            .collect();
        connection(&elsewhere, others.then(|| holding(1, half(9, 1, None))));
        elsewhere.sweep(at(10), &budget);
        table.sweep(at(10), &budget);
        let ended = stuck.iter().filter(|each| each.kill.get().is_some()).count();
        assert_eq!(ended, wanted, "{held} held, paused since {paused_since}, {others}");
    }
}

#[test]
fn the_reactor_with_the_oldest_frame_gives_up_first() {
    let (budget, _charge) = pressed();
    let (older, newer) = (Table::default(), Table::default());
    let stuck = |table, began| connection(table, Some(holding(500, half(began, 1, Some(5)))));
    let (first, second) = (stuck(&older, 1), stuck(&newer, 2));
    older.sweep(at(5), &budget);
    newer.sweep(at(6), &budget);
    older.sweep(at(6), &budget);
    assert_eq!((first.kill.take(), second.kill.take()), (Some(CloseReason::Memory), None));
}

#[test]
fn removal_keeps_the_table_in_order() {
    let table = Table::default();
    let all: Vec<_> = (0..5).map(|_| connection(&table, None)).collect();
    for at in [1, 4, 0, 3, 2] {
        table.remove(&all[at]);
        table.remove(&all[at]);
    }
    assert_eq!(table.len(), 0);
}
