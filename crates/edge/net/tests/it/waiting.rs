//! Waiting requests: tickets, mailboxes, peers that leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jocko_net::ports::Ports;
use jocko_net::{CloseReason, ReactorSettings, Reactors, Ticket};
use tokio::io::AsyncWriteExt;

use crate::harness::{Setup, World, live, op, request, settle, simulate, until};

#[test]
fn a_delivered_ticket_answers_its_request() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut clients = Vec::new();
        for key in 0..10 {
            let mut client = world.client().await;
            client.send(op::WAIT, key).await;
            clients.push(client);
        }
        settle().await;
        let tickets = world.script.tickets.lock().unwrap().clone();
        assert_eq!(tickets.len(), 10);
        world.reactors.mailboxes().deliver(&tickets);
        for client in &mut clients {
            assert!(client.key().await.is_some());
        }
        // All are spent now: delivering them again does nothing.
        world.reactors.mailboxes().deliver(&tickets);
        settle().await;
        clients[0].echo(1, 0).await;
    });
}

#[test]
fn a_waiting_request_is_dropped_when_its_peer_leaves() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.send(op::WAIT, 1).await;
        settle().await;
        drop(client);
        settle().await;
        assert_eq!(world.script.log(), "w1 dropped1");
        world.all_ended().await;
        let totals = world.reactors.totals();
        assert_eq!(totals.closed_for(CloseReason::Disconnected), 1);
        let late = world.script.tickets.lock().unwrap().clone();
        world.reactors.mailboxes().deliver(&late);
    });
}

#[test]
fn a_waiting_request_is_dropped_though_more_requests_came_behind_it() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.send(op::WAIT, 1).await;
        client.raw(&request(op::ECHO, 2, 20_000)).await;
        settle().await;
        drop(client);
        settle().await;
        assert_eq!(world.script.log(), "w1 dropped1", "what follows can have no answer");
        world.all_ended().await;
    });
}

#[test]
fn a_peer_that_sends_no_more_still_gets_its_answers() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.send(op::OVERLAP, 1).await;
        client.send(op::ECHO, 2).await;
        client.send(op::ECHO, 3).await;
        client.stream.shutdown().await.unwrap();
        settle().await;
        assert_eq!(world.script.log(), "o1");
        world.script.release(1);
        for key in 1..=3 {
            assert_eq!(client.key().await, Some(key));
        }
        assert!(client.ended().await);
    });
}

#[test]
fn delivery_from_many_threads_loses_no_ticket() {
    live(async {
        let world = World::real(Setup::default());
        let mailboxes = world.reactors.mailboxes();
        let script = Arc::clone(&world.script);
        let done = Arc::new(AtomicBool::new(false));
        let deliverers: Vec<_> = (0..2)
            .map(|_| {
                let (mailboxes, script) = (mailboxes.clone(), Arc::clone(&script));
                let done = Arc::clone(&done);
                std::thread::spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let tickets = std::mem::take(&mut *script.tickets.lock().unwrap());
                        mailboxes.deliver(&tickets);
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(world.client().await);
        }
        for round in 0..500 {
            for client in &mut clients {
                client.send(op::WAIT, round).await;
            }
            for client in &mut clients {
                assert_eq!(client.key().await, Some(round));
            }
        }
        done.store(true, Ordering::Relaxed);
        for deliverer in deliverers {
            deliverer.join().unwrap();
        }
    });
}

#[test]
fn a_batch_wakes_a_sleeping_reactor_once() {
    live(async {
        let mut setup = Setup::default();
        setup.reactors.count = 1;
        let world = World::real(setup);
        let mut clients = Vec::new();
        for key in 0..20 {
            let mut client = world.client().await;
            client.send(op::WAIT, key).await;
            clients.push(client);
        }
        let tickets = || world.script.tickets.lock().unwrap().clone();
        until(|| tickets().len() == 20).await;
        let before = world.reactors.totals().wakeups;
        world.reactors.mailboxes().deliver(&tickets());
        for client in &mut clients {
            assert!(client.key().await.is_some());
        }
        let wakeups = world.reactors.totals().wakeups - before;
        assert!(wakeups <= 1, "{wakeups} wake-ups for one batch");
    });
}

#[test]
fn any_number_may_be_delivered() {
    let ports = Ports::production(1).unwrap();
    let reactors = Reactors::start(&ReactorSettings::default(), &ports).unwrap();
    for bits in [0, 1, u64::MAX, 1 << 24, 1 << 52, 0x00ff_ffff] {
        let ticket = Ticket::from_bits(bits);
        assert_eq!(ticket.to_bits(), bits);
        reactors.mailboxes().deliver(&[ticket, ticket]);
    }
    reactors.stop();
}

#[test]
fn waiting_ends_at_its_deadline() {
    simulate(async {
        use jocko_net::{Call, Frame, Listen, Outcome, Peer, Reactor, Reply, Server};
        struct Patient;
        impl jocko_net::Service for Patient {
            type Connection = Reactor;
            fn connected(&self, _peer: &Peer, reactor: &Reactor) -> Reactor {
                reactor.clone()
            }
            fn call(&self, reactor: &mut Reactor, _frame: Frame) -> Call {
                let mut waiter = reactor.waiter();
                let reactor = reactor.clone();
                Call::Wait(Box::pin(async move {
                    let came = waiter.delivered_within(Duration::from_millis(500)).await;
                    assert!(!came);
                    assert_eq!(reactor.waiters(), 1);
                    Outcome::Reply(Reply::new(vec![0, 0, 0, 4, 0, 0, 1, 1]))
                }))
            }
        }
        let ports = Ports::simulated();
        let reactors = Reactors::start_local(&ReactorSettings::default(), &ports);
        let listen = [Listen::Localhost(0)];
        let server =
            Server::start(&reactors, &listen, Default::default(), &Arc::new(Patient)).unwrap();
        let stream = ports.net.connect(server.addresses()[0], &Default::default());
        let mut client = crate::harness::Client { stream: stream.await.unwrap() };
        let started = tokio::time::Instant::now();
        client.send(op::WAIT, 1).await;
        assert_eq!(client.key().await, Some(0x0101));
        let waited = started.elapsed().as_millis();
        assert!((500..=510).contains(&waited), "{waited} ms");
    });
}
