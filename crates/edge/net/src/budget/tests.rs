//! The budget adds up, and those who wait for it are woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::{Budget, Charge};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_is_taken_comes_back() {
    let budget = Budget::new(100);
    let mut one = Charge::none(&budget);
    assert!(one.try_raise_within(60, usize::MAX));
    assert!(one.try_raise_within(40, usize::MAX), "less is always fine");
    assert_eq!(budget.used(), 60);
    let mut two = Charge::none(&budget);
    assert!(!two.try_raise_within(41, usize::MAX));
    assert!(two.try_raise_within(40, usize::MAX));
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
fn a_part_can_be_kept_for_others() {
    let budget = Budget::new(100);
    let mut huge = Charge::none(&budget);
    assert!(!huge.try_raise_within(76, 4));
    assert!(huge.try_raise_within(75, 4));
    assert!(Charge::none(&budget).try_raise_within(25, usize::MAX));
}

#[test]
fn those_who_wait_are_woken_once_by_the_next_release() {
    let budget = Budget::new(100);
    let mut charge = Charge::none(&budget);
    charge.set(100);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    budget.wait(&waker);
    budget.wait(&waker);
    assert!(budget.under_pressure());
    charge.set(90);
    charge.set(80);
    assert!(!budget.under_pressure());
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}
