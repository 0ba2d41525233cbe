//! Admission in order, replies in order, bounds on what is in flight.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::harness::{Setup, World, op, request, settle, simulate};

#[test]
fn replies_leave_in_request_order_whatever_finishes_first() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        for key in 1..=3 {
            client.send(op::OVERLAP, key).await;
        }
        settle().await;
        assert_eq!(world.script.log(), "o1 o2 o3", "all three have started");
        for key in [3, 2, 1] {
            world.script.release(key);
            settle().await;
        }
        for key in 1..=3 {
            assert_eq!(client.key().await, Some(key));
        }
    });
}

#[test]
fn what_may_not_overlap_starts_when_its_predecessors_are_answered() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        let sequence = [
            (op::OVERLAP, 1),
            (op::OVERLAP, 2),
            (op::ECHO, 3),
            (op::OVERLAP, 4),
            (op::LATER, 5),
            (op::OVERLAP, 6),
        ];
        for (what, key) in sequence {
            client.send(what, key).await;
        }
        let steps =
            [(2, "o1 o2"), (1, "o1 o2 e3 o4"), (4, "o1 o2 e3 o4 l5"), (5, "o1 o2 e3 o4 l5 o6")];
        for (key, log) in steps {
            settle().await;
            world.script.release(key);
            settle().await;
            assert_eq!(world.script.log(), log, "after {key} was released");
        }
        world.script.release(6);
        for key in 1..=6 {
            assert_eq!(client.key().await, Some(key));
        }
    });
}

#[test]
fn requests_in_flight_are_bounded() {
    simulate(async {
        let setup = Setup::connection(|settings| settings.in_flight_max = 3);
        let world = World::simulated(setup);
        let mut client = world.client().await;
        for key in 1..=5 {
            client.send(op::OVERLAP, key).await;
        }
        settle().await;
        assert_eq!(world.script.log(), "o1 o2 o3");
        world.script.release(1);
        settle().await;
        assert_eq!(world.script.log(), "o1 o2 o3 o4");
        for key in [2, 3, 4] {
            world.script.release(key);
        }
        settle().await;
        world.script.release(5);
        for key in 1..=5 {
            assert_eq!(client.key().await, Some(key));
        }
    });
}

#[test]
fn silent_requests_take_no_place_in_the_order() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        for (what, key) in [(op::SILENT, 1), (op::ECHO, 2), (op::SILENT, 3), (op::ECHO, 4)] {
            client.send(what, key).await;
        }
        assert_eq!(client.key().await, Some(2));
        assert_eq!(client.key().await, Some(4));
        assert_eq!(world.script.log(), "n1 e2 n3 e4");
    });
}

#[test]
fn frames_arrive_whole_however_they_are_cut() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        let mut bytes = Vec::new();
        let sizes = [0, 1, 100, 5_000, 70_000, 70_000, 3, 0, 300_000];
        for (key, size) in (1..).zip(sizes) {
            bytes.extend(request(op::ECHO, key, size));
        }
        for chunk in bytes.chunks(4093) {
            client.raw(chunk).await;
            settle().await;
        }
        for (key, size) in (1..).zip(sizes) {
            let echoed = client.reply().await.unwrap();
            assert!(echoed == request(op::ECHO, key, size)[4..], "frame {key}");
        }
        for byte in request(op::ECHO, 77, 2) {
            client.raw(&[byte]).await;
            settle().await;
        }
        assert_eq!(client.key().await, Some(77));
    });
}

#[test]
fn thousands_of_small_frames_in_one_write_are_all_answered() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        let bytes: Vec<u8> = (0..4000).flat_map(|key| request(op::ECHO, key, 0)).collect();
        client.raw(&bytes).await;
        for key in 0..4000 {
            assert_eq!(client.key().await, Some(key));
        }
        assert_eq!(world.reactors.totals().frames, 4000);
    });
}

#[test]
fn a_throttled_connection_rests_after_its_reply() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        let started = tokio::time::Instant::now();
        client.send(op::THROTTLE, 700).await;
        client.send(op::ECHO, 2).await;
        assert_eq!(client.key().await, Some(700));
        assert_eq!(started.elapsed(), Duration::ZERO, "the reply itself is not held back");
        assert_eq!(client.key().await, Some(2));
        let rested = started.elapsed();
        assert!(rested >= Duration::from_millis(700), "{rested:?}");
        assert!(rested < Duration::from_millis(800), "{rested:?}");
    });
}

#[test]
fn replies_nobody_reads_stop_the_reading_of_requests() {
    simulate(async {
        let setup = Setup::connection(|settings| settings.output_bytes_max = 100_000);
        let world = World::simulated(setup);
        let mut client = world.client().await;
        for key in 0..200 {
            // 64 KiB each: 12.5 MiB in all, of which the pipe holds 256 KiB.
            client.send(op::BIG, 64).await;
            let _ = key;
        }
        settle().await;
        let started = world.reactors.totals().frames;
        assert!((5..12).contains(&started), "{started} requests started");
        for _ in 0..200 {
            assert_eq!(client.reply().await.unwrap().len(), 65_536);
        }
    });
}

#[test]
fn nothing_starts_behind_a_request_that_is_being_admitted() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.send(op::OVERLAP, 1).await;
        client.send(op::ADMIT, 3).await;
        client.send(op::OVERLAP, 5).await;
        client.send(op::ADMIT, 6).await;
        settle().await;
        assert_eq!(world.script.log(), "o1 a3");
        world.script.release(3);
        settle().await;
        assert_eq!(world.script.log(), "o1 a3 admitted3 o5 a6", "admitted, though not answered");
        // Whatever finishes first, answers leave in turn.
        world.script.release(6);
        world.script.release(5);
        world.script.release(103);
        settle().await;
        world.script.release(1);
        for key in [1, 3, 5, 6] {
            assert_eq!(client.key().await, Some(key));
        }
    });
}

#[test]
fn a_request_being_admitted_goes_on_when_its_peer_sends_no_more() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.send(op::ADMIT, 2).await;
        client.stream.shutdown().await.unwrap();
        settle().await;
        world.script.release(2);
        assert_eq!(client.key().await, Some(2));
        assert!(client.ended().await);
    });
}

#[test]
fn what_is_admitted_to_wait_is_dropped_if_its_peer_has_left() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.send(op::ADMIT_WAIT, 2).await;
        settle().await;
        drop(client);
        settle().await;
        world.script.release(2);
        settle().await;
        assert_eq!(world.script.log(), "A2 dropped2");
        world.all_ended().await;
    });
}
