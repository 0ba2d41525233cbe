//! The budget adds up, and gives its room to those who wait, in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use proptest::prelude::*;

use super::{Budget, Charge, Share};

#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One who holds or waits, and how often it was woken.
struct Holder {
    charge: Charge,
    woken: Arc<Count>,
}

impl Holder {
    fn new(budget: &Arc<Budget>) -> Self {
        Self { charge: Charge::none(budget), woken: Arc::default() }
    }

    fn raise(&mut self, bytes: usize, share: Share) -> bool {
        self.charge.raise_or_wait(bytes, share, &Waker::from(Arc::clone(&self.woken)))
    }

    /// One who waits for `bytes`.
    fn waiting(budget: &Arc<Budget>, bytes: usize, share: Share) -> Self {
        let mut holder = Self::new(budget);
        assert!(!holder.raise(bytes, share));
        holder
    }
}

fn wakes(holders: &[Holder]) -> Vec<usize> {
    holders.iter().map(|each| each.woken.get()).collect()
}

fn full(budget: &Arc<Budget>) -> Charge {
    let mut charge = Charge::none(budget);
    charge.set(budget.bytes_max());
    charge
}

#[test]
fn what_is_taken_comes_back() {
    let budget = Budget::new(100);
    let mut one = Charge::none(&budget);
    assert!(one.try_raise(60, Share::Ordinary));
    assert!(one.try_raise(40, Share::Ordinary), "less is always fine");
    assert_eq!(budget.used(), 60);
    let mut two = Charge::none(&budget);
    assert!(!two.try_raise(41, Share::Ordinary));
    assert!(two.try_raise(40, Share::Ordinary));
    // What is held already may pass the limit.
    two.set(90);
    assert_eq!(budget.used(), 150);
    let moved = two.split();
    drop(two);
    assert_eq!(budget.used(), 150);
    drop((one, moved));
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_part_is_kept_for_ordinary_frames() {
    let budget = Budget::new(100);
    let mut huge = Charge::none(&budget);
    assert!(!huge.try_raise(76, Share::Huge));
    assert!(huge.try_raise(75, Share::Huge));
    // One huge frame waits for others of its kind, which keeps nobody else.
    let mut waits = Holder::waiting(&budget, 10, Share::Huge);
    assert!(Charge::none(&budget).try_raise(25, Share::Ordinary));
    drop(huge);
    assert_eq!(waits.woken.get(), 1);
    assert!(waits.raise(10, Share::Huge));
}

#[test]
fn room_for_some_wakes_those_some_in_the_order_they_came() {
    let budget = Budget::new(1000);
    let mut charge = full(&budget);
    let mut holders: Vec<_> =
        (0..400).map(|_| Holder::waiting(&budget, 10, Share::Ordinary)).collect();
    for freed in [3, 1, 0, 50] {
        let before = wakes(&holders).iter().filter(|count| **count > 0).count();
        charge.set(charge.bytes() - freed * 10);
        let woken = wakes(&holders);
        let expected: Vec<_> = (0..400).map(|at| usize::from(at < before + freed)).collect();
        assert_eq!(woken, expected, "room for {freed} more");
    }
    assert!(holders[..54].iter_mut().all(|each| each.raise(10, Share::Ordinary)));
    assert!(!holders[54].raise(10, Share::Ordinary));
    assert_eq!(budget.used(), 1000);
}

#[test]
fn whoever_comes_later_is_no_faster() {
    let budget = Budget::new(100);
    let charge = full(&budget);
    let mut waits = Holder::waiting(&budget, 60, Share::Ordinary);
    let mut half = Charge::none(&budget);
    drop(charge);
    assert!(!half.try_raise(60, Share::Ordinary), "it is given already, if not yet taken");
    assert!(waits.raise(60, Share::Ordinary));
    // Nor does one who asks for little pass one who asks for much.
    let mut much = Holder::waiting(&budget, 50, Share::Ordinary);
    assert!(!half.try_raise(1, Share::Ordinary));
    let mut little = Holder::waiting(&budget, 1, Share::Ordinary);
    drop(waits);
    assert!(much.raise(50, Share::Ordinary) && little.raise(1, Share::Ordinary));
}

#[test]
fn room_that_is_not_taken_is_passed_on() {
    let budget = Budget::new(10);
    let charge = full(&budget);
    let mut holders: Vec<_> =
        (0..4).map(|_| Holder::waiting(&budget, 10, Share::Ordinary)).collect();
    drop(charge);
    assert_eq!(wakes(&holders), [1, 0, 0, 0]);
    holders.remove(0);
    assert_eq!(wakes(&holders), [1, 0, 0], "it left with what it was given");
    // One that leaves without having been given anything changes nothing.
    holders.remove(1);
    holders[0].charge.clear();
    assert_eq!(wakes(&holders), [1, 1], "it wants nothing any more");
    assert!(holders[1].raise(10, Share::Ordinary));
    drop(holders);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_place_that_is_left_makes_way_for_those_behind_it() {
    let budget = Budget::new(100);
    let mut charge = full(&budget);
    let much = Holder::waiting(&budget, 90, Share::Ordinary);
    let little = Holder::waiting(&budget, 10, Share::Ordinary);
    charge.set(80);
    assert_eq!(little.woken.get(), 0);
    assert!(budget.under_pressure());
    drop(much);
    assert_eq!(little.woken.get(), 1);
    assert!(!budget.under_pressure());
}

#[test]
fn what_came_by_itself_is_not_asked_for_again() {
    let budget = Budget::new(100);
    let charge = full(&budget);
    let mut waits = Holder::waiting(&budget, 100, Share::Huge);
    waits.charge.set(30);
    drop(charge);
    assert!(waits.raise(100, Share::Huge));
    assert_eq!(budget.used(), 100);
}

#[derive(Debug, Clone)]
enum Step {
    Raise(usize, usize, bool),
    Set(usize, usize),
    Drop(usize),
}

const HOLDERS: usize = 12;
const MAX: usize = 100;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..HOLDERS, 0..=75_usize, any::<bool>()).prop_map(|(at, bytes, huge)| Step::Raise(at, bytes, huge)),
        1 => (0..HOLDERS, 0..=60_usize).prop_map(|(at, bytes)| Step::Set(at, bytes)),
        2 => (0..HOLDERS).prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn it_adds_up_and_everybody_gets_a_turn(steps in steps()) {
        let budget = Budget::new(MAX);
        let mut holders: Vec<_> = (0..HOLDERS).map(|_| Holder::new(&budget)).collect();
        let mut wants: Vec<Option<(usize, Share)>> = vec![None; HOLDERS];
        for step in steps {
            match step {
                Step::Raise(at, bytes, huge) => {
                    // One who waits asks again for the same.
                    let share = if huge { Share::Huge } else { Share::Ordinary };
                    let (bytes, share) = wants[at].unwrap_or((bytes, share));
                    let raised = holders[at].raise(bytes, share);
                    wants[at] = (!raised).then_some((bytes, share));
                }
                Step::Set(at, bytes) => {
                    holders[at].charge.set(bytes);
                }
                Step::Drop(at) => {
                    holders[at] = Holder::new(&budget);
                    wants[at] = None;
                }
            }
            let held: usize = holders.iter().map(|each| each.charge.bytes).sum();
            let mut state = budget.lock();
            let granted: usize = state.granted.values().sum();
            prop_assert_eq!(state.used, held + granted);
            prop_assert!(state.grant(MAX).is_empty(), "room that is there has been given");
            let waiting = state.ordinary_waiting.len() + state.huge_waiting.len();
            prop_assert!(waiting + state.granted.len() <= wants.iter().flatten().count());
        }
        // Once those who hold and do not wait have gone, everyone who waits is served in a while:
        // one may take its turn in one round and go in the next, so that each costs two.
        for _ in 0..=2 * HOLDERS {
            for (holder, want) in holders.iter_mut().zip(&mut wants) {
                match *want {
                    None => holder.charge.clear(),
                    Some((bytes, share)) if holder.raise(bytes, share) => *want = None,
                    // Nobody waits while it holds something, but for what came by itself.
                    Some(_) if holder.charge.bytes > 0 => *holder = Holder::new(&budget),
                    Some(_) => {}
                }
            }
        }
        prop_assert!(holders.iter().all(|each| each.charge.place.is_none()));
        drop(holders);
        prop_assert_eq!(budget.used(), 0);
    }
}
