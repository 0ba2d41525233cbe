//! The graceful stop.

use std::time::Duration;

use jocko_net::CloseReason;
use jocko_net::ports::SocketOptions;
use tokio::time::Instant;

use crate::harness::{Setup, World, live, op, settle, simulate};

#[test]
fn idle_and_waiting_connections_end_at_once_and_running_requests_finish() {
    simulate(async {
        let mut world = World::simulated(Setup::default());
        let mut idle = world.client().await;
        idle.echo(1, 1).await;
        let mut waiting = world.client().await;
        waiting.send(op::WAIT, 2).await;
        let mut running = world.client().await;
        running.send(op::OVERLAP, 3).await;
        running.send(op::OVERLAP, 4).await;
        settle().await;

        let server = world.server.take().unwrap();
        let stopping = tokio::task::spawn_local(server.stop(Duration::from_secs(10)));
        assert!(idle.ended().await);
        assert!(waiting.ended().await);
        assert!(world.script.log().contains("dropped2"));
        let refused = world.ports.net.connect(world.address, &SocketOptions::default());
        assert!(refused.await.is_err(), "nobody listens any more");

        assert!(!stopping.is_finished());
        let started = Instant::now();
        world.script.release(4);
        world.script.release(3);
        assert_eq!(running.key().await, Some(3));
        assert_eq!(running.key().await, Some(4));
        assert!(running.ended().await);
        stopping.await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
        let totals = world.reactors.totals();
        assert_eq!((totals.open, totals.closed_for(CloseReason::Stopped)), (0, 3));
    });
}

#[test]
fn connections_on_their_way_in_do_not_hold_the_stop_up() {
    for turns in 0..12 {
        simulate(async move {
            let mut world = World::simulated(Setup::default());
            let mut clients = Vec::new();
            for _ in 0..4 {
                clients.push(world.client().await);
            }
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let started = Instant::now();
            let server = world.server.take().unwrap();
            server.stop(Duration::from_secs(10)).await;
            assert_eq!(started.elapsed(), Duration::ZERO, "after {turns} turns");
            for client in &mut clients {
                assert!(client.ended().await);
            }
        });
    }
}

#[test]
fn requests_that_do_not_finish_are_cut_off_at_the_deadline() {
    simulate(async {
        let mut world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.send(op::LATER, 1).await;
        settle().await;
        let started = Instant::now();
        let server = world.server.take().unwrap();
        server.stop(Duration::from_secs(10)).await;
        assert_eq!(started.elapsed(), Duration::from_secs(10));
        assert!(client.ended().await);
    });
}

#[test]
fn dropping_a_server_closes_everything() {
    simulate(async {
        let mut world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.send(op::LATER, 1).await;
        settle().await;
        drop(world.server.take());
        assert!(client.ended().await);
    });
}

#[test]
fn threads_are_joined_and_sockets_closed() {
    live(async {
        let mut world = World::real(Setup::default());
        let mut clients = Vec::new();
        for key in 0..6 {
            let mut client = world.client().await;
            client.echo(key, 100).await;
            clients.push(client);
        }
        clients[0].send(op::LATER, 1).await;
        let server = world.server.take().unwrap();
        server.stop(Duration::from_millis(50)).await;
        world.reactors.stop();
        for client in &mut clients {
            assert!(client.ended().await);
        }
        assert_eq!(*world.script.open.lock().unwrap(), 0);
    });
}
