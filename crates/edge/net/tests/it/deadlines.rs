//! Deadlines, on paused time.

use std::time::Duration;

use jocko_net::CloseReason;
use tokio::time::Instant;

use crate::harness::{Setup, World, op, request, simulate};

fn assert_about(elapsed: Duration, seconds: u64) {
    let wanted = Duration::from_secs(seconds);
    assert!(
        elapsed >= wanted && elapsed <= wanted + Duration::from_secs(3),
        "{elapsed:?} instead of {wanted:?}"
    );
}

#[test]
fn a_half_frame_ends_after_its_deadline() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.echo(1, 10).await;
        let started = Instant::now();
        client.raw(&request(op::ECHO, 1, 100)[..50]).await;
        assert!(client.ended().await);
        assert_about(started.elapsed(), 30);
        let totals = world.reactors.totals();
        assert_eq!(totals.closed_for(CloseReason::FrameTimeout), 1);
    });
}

#[test]
fn a_slow_but_steady_sender_may_take_longer() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        let frame = request(op::ECHO, 1, 8_000_000);
        // 100 kB each second: 80 s in all.
        for chunk in frame.chunks(100_000) {
            client.raw(chunk).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(client.key().await, Some(1));
    });
}

#[test]
fn an_idle_connection_ends_after_its_deadline_and_not_while_it_waits() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut waiting = world.client().await;
        waiting.send(op::LATER, 5).await;
        let mut idle = world.client().await;
        idle.echo(1, 10).await;
        let started = Instant::now();
        assert!(idle.ended().await);
        assert_about(started.elapsed(), 600);
        tokio::time::sleep(Duration::from_secs(1000)).await;
        world.script.release(5);
        assert_eq!(waiting.key().await, Some(5));
        let totals = world.reactors.totals();
        assert_eq!(totals.closed_for(CloseReason::Idle), 1);
    });
}

#[test]
fn a_peer_that_reads_no_replies_is_closed_on() {
    let patience = [None, Some(2), Some(300)];
    for seconds in patience {
        simulate(async move {
            let setup = Setup::connection(|settings| {
                if let Some(seconds) = seconds {
                    settings.write_stall_max = Duration::from_secs(seconds);
                }
            });
            let limit = setup.server.connection.write_stall_max;
            let world = World::simulated(setup);
            let mut client = world.client().await;
            for _ in 0..20 {
                client.send(op::BIG, 64).await;
            }
            tokio::time::sleep(limit - Duration::from_secs(1)).await;
            assert_eq!(world.reactors.totals().open, 1, "{limit:?}");
            tokio::time::sleep(Duration::from_secs(4)).await;
            let totals = world.reactors.totals();
            assert_eq!(totals.closed_for(CloseReason::WriteStalled), 1, "{limit:?}");
            assert_eq!((totals.open, totals.memory_bytes), (0, 0));
        });
    }
}

#[test]
fn every_byte_taken_gives_a_peer_another_write_deadline() {
    simulate(async {
        let limit = Duration::from_secs(10);
        let world = World::simulated(Setup::connection(|each| each.write_stall_max = limit));
        let mut client = world.client().await;
        for _ in 0..20 {
            client.send(op::BIG, 64).await;
        }
        // A reply each eight seconds, then none.
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(8)).await;
            assert_eq!(client.reply().await.unwrap().len(), 65_536);
        }
        let stopped = Instant::now();
        crate::harness::until_later(|| world.reactors.totals().open == 0).await;
        assert_about(stopped.elapsed(), 10);
    });
}

#[test]
fn a_peer_that_reads_slowly_is_not() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        for _ in 0..20 {
            client.send(op::BIG, 64).await;
        }
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(client.reply().await.unwrap().len(), 65_536);
        }
    });
}

#[test]
fn deadlines_of_a_new_connection_count_from_the_start() {
    simulate(async {
        let setup = Setup::connection(|settings| settings.idle_max = Duration::from_millis(100));
        let world = World::simulated(setup);
        let mut client = world.client().await;
        let started = Instant::now();
        assert!(client.ended().await);
        let elapsed = started.elapsed().as_millis();
        assert!((100..200).contains(&elapsed), "{elapsed} ms");
    });
}
