//! Tickets reach their waiters once, and nobody else.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Mailbox, Ticket, Waiters};
use crate::metrics::Counters;

fn mailbox(number: u16) -> (Arc<Mailbox>, Rc<Waiters>) {
    let mailbox = Mailbox::new(number, Arc::new(Counters::default()));
    let waiters = Waiters::new(&mailbox);
    (mailbox, waiters)
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn a_ticket_is_three_numbers() {
    for (reactor, generation, slot) in
        [(0, 0, 0), (4095, (1 << 28) - 1, (1 << 24) - 1), (7, 12345, 678)]
    {
        let ticket = Ticket::new(reactor, generation, slot);
        let parts = (ticket.reactor(), ticket.generation(), ticket.slot());
        assert_eq!(parts, (usize::from(reactor), generation, slot));
        assert_eq!(Ticket::from_bits(ticket.to_bits()), ticket);
    }
}

#[test]
fn a_delivery_before_the_first_look_is_kept_and_each_counts_once() {
    let (mailbox, waiters) = mailbox(3);
    let mut waiter = waiters.register();
    mailbox.deliver(&[waiter.ticket(), waiter.ticket()]);
    assert_eq!(waiter.poll_delivered(&mut cx()), Poll::Ready(()));
    assert_eq!(waiter.poll_delivered(&mut cx()), Poll::Pending);
    mailbox.deliver(&[waiter.ticket()]);
    assert_eq!(waiter.poll_delivered(&mut cx()), Poll::Ready(()));
}

#[test]
fn tickets_of_others_do_nothing() {
    let (mailbox, waiters) = mailbox(3);
    let gone = waiters.register().ticket();
    // Takes the slot of the one that is gone.
    let mut waiter = waiters.register();
    assert_eq!((gone.slot(), waiters.len()), (waiter.ticket().slot(), 1));
    let elsewhere = Ticket::new(4, waiter.ticket().generation(), waiter.ticket().slot());
    mailbox.deliver(&[gone, elsewhere, Ticket::new(3, 0, 99), Ticket::from_bits(u64::MAX)]);
    assert_eq!(waiter.poll_delivered(&mut cx()), Poll::Pending);
}

#[test]
fn mail_from_another_thread_waits_for_the_drain() {
    let (mailbox, waiters) = mailbox(0);
    let mut waiter = waiters.register();
    let ticket = waiter.ticket();
    let sender = Arc::clone(&mailbox);
    std::thread::spawn(move || sender.deliver(&[ticket])).join().unwrap();
    assert_eq!(waiter.poll_delivered(&mut cx()), Poll::Pending);
    mailbox.drain(&waiters);
    assert_eq!(waiter.poll_delivered(&mut cx()), Poll::Ready(()));
}

#[test]
fn mail_is_not_missed_by_going_to_sleep() {
    let (mailbox, waiters) = mailbox(0);
    mailbox.after_sleep();
    let mut waiter = waiters.register();
    let ticket = waiter.ticket();
    let sender = Arc::clone(&mailbox);
    std::thread::spawn(move || sender.deliver(&[ticket])).join().unwrap();
    let wakeups = &mailbox.counters.wakeups;
    assert_eq!(wakeups.load(std::sync::atomic::Ordering::Relaxed), 0);
    mailbox.before_sleep();
    assert_eq!(waiter.poll_delivered(&mut cx()), Poll::Ready(()));
}
