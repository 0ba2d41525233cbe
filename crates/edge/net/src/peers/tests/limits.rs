//! Nothing grows without bound: calls, tells, bodies, connections.

use bytes::Bytes;
use tokio::time::Instant;

use super::world::{SECOND, World, op, settings, settle, simulate};
use crate::peers::{Lane, PeerError, PeerRefusal};

#[test]
fn calls_above_the_limit_wait_for_their_turn() {
    simulate(async {
        let mut caller = settings(2);
        caller.calls_in_flight_max = 2;
        let world = World::simulated(settings(1), caller);
        let waiting = || world.call(op::WAIT, Bytes::new());
        let third = async {
            settle().await;
            let started = Instant::now();
            let late = world.peers.call(
                &world.address,
                Lane::Control,
                op::ECHO,
                Bytes::new(),
                SECOND / 10,
            );
            let late = late.await.unwrap_err();
            assert!(late.is_unsent(), "{late:?}");
            assert_eq!(started.elapsed(), SECOND / 10);
            world.script.release();
            world.echo("after one has ended").await;
            world.script.release();
        };
        let (one, other, ()) = tokio::join!(waiting(), waiting(), third);
        assert!(one.is_ok() && other.is_ok());
    });
}

#[test]
fn a_server_refuses_more_calls_or_bytes_than_it_handles_at_once() {
    simulate(async {
        let mut server = settings(1);
        server.calls_in_flight_max = 2;
        server.bytes_in_flight_max = 1000;
        let world = World::simulated(server, settings(2));
        let busy = |size: usize| {
            let world = &world;
            async move {
                settle().await;
                let refused = world.call(op::ECHO, vec![0; size]).await.unwrap_err();
                let is_busy = matches!(
                    &refused,
                    PeerError::Refused(refusal) if refusal.code == PeerRefusal::BUSY
                );
                assert!(is_busy, "{refused:?}");
                world.script.release();
                world.script.release();
            }
        };
        let (large, ()) = tokio::join!(world.call(op::WAIT, vec![0; 5000]), busy(1));
        assert_eq!(large.unwrap().len(), 5000, "a single call is always taken");
        // One permit was left over.
        world.call(op::WAIT, Bytes::new()).await.unwrap();
        let one = world.call(op::WAIT, Bytes::new());
        let other = world.call(op::WAIT, Bytes::new());
        let (one, other, ()) = tokio::join!(one, other, busy(1));
        assert!(one.is_ok() && other.is_ok());
        world.echo("goes on").await;
    });
}

#[test]
fn tells_that_find_no_room_are_dropped() {
    simulate(async {
        let mut caller = settings(2);
        caller.tells_queued_max = 10;
        caller.tell_bytes_queued_max = 1000;
        let world = World::simulated(settings(1), caller);
        // Nothing is sent before this task rests.
        let taken: Vec<_> = (0..15).map(|_| world.tell(100, "x")).collect();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 10);
        world.echo("sent").await;
        assert_eq!(world.script.log().split(' ').count(), 10);
        let long = "x".repeat(600);
        assert!(world.tell(101, &long));
        assert!(!world.tell(101, &long));
        assert!(world.tell(101, "short"));
        world.echo("sent").await;
        assert!(world.tell(102, &"x".repeat(5000)), "a single one is always taken");
        world.echo("sent").await;
        assert_eq!(world.script.log().split(' ').count(), 13);
    });
}

#[test]
fn bodies_and_answers_have_a_largest_size() {
    simulate(async {
        let (mut server, mut caller) = (settings(1), settings(2));
        server.frame_bytes_max = 1000;
        caller.frame_bytes_max = 1000;
        let world = World::simulated(server, caller);
        assert_eq!(world.call(op::ECHO, vec![0; 1000]).await.unwrap().len(), 1000);
        let too_large = world.call(op::ECHO, vec![0; 1001]).await.unwrap_err();
        assert_eq!(too_large, PeerError::TooLarge { bytes: 1001, bytes_max: 1000 });
        assert!(!world.tell(100, &"x".repeat(1001)));
        let answer = world.call(op::SIZE, 1001_u32.to_be_bytes().to_vec()).await.unwrap_err();
        let PeerError::Refused(refusal) = answer else { panic!("{answer:?}") };
        assert_eq!(refusal.code, PeerRefusal::ANSWER_TOO_LARGE);
        world.echo("goes on").await;
    });
}

#[test]
fn a_peer_with_a_smaller_limit_closes_before_it_reads_a_larger_body() {
    simulate(async {
        let mut server = settings(1);
        server.frame_bytes_max = 1000;
        let world = World::simulated(server, settings(2));
        let broken = world.call(op::ECHO, vec![0; 1001]).await.unwrap_err();
        assert!(matches!(broken, PeerError::Broken(_)), "{broken:?}");
        assert_eq!(world.server.totals().corrupt, 1);
        world.echo("goes on").await;
    });
}

#[test]
fn connections_above_the_limit_are_refused_in_words() {
    simulate(async {
        let mut server = settings(1);
        server.connections_max = 1;
        let world = World::simulated(server, settings(2));
        world.echo("one").await;
        let other = world.peers.call(&world.address, Lane::Data, op::ECHO, Bytes::new(), SECOND);
        let words = other.await.unwrap_err().to_string();
        assert!(words.contains("too many connections"), "{words}");
        assert_eq!(world.server.totals().refused, 1);
        world.echo("goes on").await;
    });
}

#[test]
fn a_panic_ends_its_connection_only() {
    simulate(async {
        let world = World::simulated(settings(1), settings(2));
        let other = world.peers.call(&world.address, Lane::Data, op::WAIT, Bytes::new(), SECOND);
        let panics = async {
            for (kind, times) in [(op::PANIC, 1), (op::PANIC_AT_ONCE, 2)] {
                world.echo("fine").await;
                let broken = world.call(kind, Bytes::new()).await.unwrap_err();
                assert!(matches!(broken, PeerError::Broken(_)), "{broken:?}");
                assert_eq!(world.server.totals().panics, times);
            }
            world.echo("fine").await;
            world.tell(op::PANIC_AT_ONCE, "");
            settle().await;
            assert_eq!(world.server.totals().panics, 3);
            world.echo("fine again").await;
            world.script.release();
        };
        let (other, ()) = tokio::join!(other, panics);
        other.unwrap();
    });
}
