//! Peers that mean harm or are broken (rows S1 and S9, rules DR21 and DR26).

use std::time::Duration;

use jocko_net::CloseReason;

use crate::harness::{Client, Setup, World, op, request, settle, simulate};

#[test]
fn frame_sizes_out_of_bounds_end_the_connection_at_once() {
    simulate(async {
        let setup = Setup::connection(|settings| settings.frame_bytes_max = 1_000_000);
        let world = World::simulated(setup);
        let sizes = [-1, i32::MIN, 0, 1, 7, 1_000_001, i32::MAX];
        for size in sizes {
            let mut client = world.client().await;
            client.raw(&size.to_be_bytes()).await;
            assert!(client.ended().await, "size {size}");
        }
        world.all_ended().await;
        let totals = world.reactors.totals();
        assert_eq!(totals.closed_for(CloseReason::FrameSize), sizes.len() as u64);
        assert_eq!(totals.memory_bytes, 0);
        // The largest allowed one is fine.
        world.client().await.echo(1, 1_000_000 - 8).await;
    });
}

#[test]
fn replies_to_earlier_requests_leave_before_a_fault_ends_the_connection() {
    simulate(async {
        let world = World::simulated(Setup::default());
        for fault in [(-5_i32).to_be_bytes().to_vec(), request(op::CLOSE, 9, 0)] {
            let mut client = world.client().await;
            client.send(op::ECHO, 1).await;
            client.send(op::ECHO, 2).await;
            client.raw(&fault).await;
            client.send(op::ECHO, 3).await;
            assert_eq!(client.key().await, Some(1));
            assert_eq!(client.key().await, Some(2));
            assert!(client.ended().await);
        }
        assert!(!world.script.log().contains("e3"));
    });
}

#[test]
fn a_fault_behind_a_pending_request_waits_for_its_reply() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        client.send(op::OVERLAP, 1).await;
        client.raw(&(-5_i32).to_be_bytes()).await;
        settle().await;
        world.script.release(1);
        assert_eq!(client.key().await, Some(1));
        assert!(client.ended().await);
    });
}

#[test]
fn a_panic_ends_its_connection_alone() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut witness = world.client().await;
        witness.echo(1, 10).await;
        for what in [op::PANIC, op::PANIC_LATER] {
            let mut client = world.client().await;
            client.send(what, 1).await;
            assert!(client.ended().await);
        }
        witness.echo(2, 10).await;
        settle().await;
        let totals = world.reactors.totals();
        assert_eq!(totals.closed_for(CloseReason::Panicked), 2);
        assert_eq!(totals.open, 1);
        assert_eq!(*world.script.open.lock().unwrap(), 1, "state of the others is dropped");
    });
}

#[test]
fn slow_loris_connections_end_and_harm_nobody() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut slow = Vec::new();
        for _ in 0..300 {
            slow.push(world.client().await);
        }
        let started = tokio::time::Instant::now();
        let drip = request(op::ECHO, 1, 100);
        for (turn, byte) in drip.iter().take(6).enumerate() {
            for client in &mut slow {
                use tokio::io::AsyncWriteExt;
                // Those already closed on refuse it.
                let _ = client.stream.write_all(&[*byte]).await;
            }
            world.client().await.echo(u16::try_from(turn).unwrap(), 1000).await;
            tokio::time::sleep(Duration::from_secs(8)).await;
        }
        for client in &mut slow {
            assert!(client.ended().await);
        }
        assert!(started.elapsed() < Duration::from_secs(49));
        let totals = world.reactors.totals();
        assert_eq!(totals.closed_for(CloseReason::FrameTimeout), 300);
    });
}

#[test]
fn half_sent_frames_cost_no_more_than_the_budget() {
    simulate(async {
        let budget = 4 * 1024 * 1024;
        let world = World::simulated(Setup::default().memory(budget));
        let mut half_sent = Vec::new();
        for _ in 0..40 {
            let mut client = world.client().await;
            // 3 MB frames, of which 200 kB come (the pipe takes them whether or not they are read).
            let frame = request(op::ECHO, 1, 3_000_000);
            client.raw(&frame[..200_000]).await;
            half_sent.push(client);
        }
        settle().await;
        let totals = world.reactors.totals();
        assert!(totals.memory_pauses > 0, "the budget was reached");
        assert!(totals.memory_bytes <= budget as u64, "{}", totals.memory_bytes);
        // Small requests have an allowance of their own.
        let mut small = world.client().await;
        small.echo(1, 30_000).await;
        // A large one gets its turn once the half frames have met their deadline.
        let started = tokio::time::Instant::now();
        let mut large: Client = world.client().await;
        large.echo(2, 2_900_000).await;
        let waited = started.elapsed();
        assert!(waited < Duration::from_secs(300), "{waited:?}");
        small.echo(3, 60_000).await;
        drop((half_sent, small, large));
        world.all_ended().await;
        assert_eq!(world.reactors.totals().memory_bytes, 0, "all of it came back");
    });
}

#[test]
fn a_frame_larger_than_the_budget_allows_is_refused_rather_than_left_waiting() {
    simulate(async {
        let world = World::simulated(Setup::default().memory(1_000_000));
        let mut client = world.client().await;
        client.raw(&800_000_u32.to_be_bytes()).await;
        assert!(client.ended().await);
    });
}

#[test]
fn connections_are_limited_in_total_and_per_address() {
    simulate(async {
        for (total, per_ip) in [(5, 100), (100, 5)] {
            let mut setup = Setup::default();
            setup.server.connections_max = total;
            setup.server.connections_per_ip_max = per_ip;
            let world = World::simulated(setup);
            let mut held = Vec::new();
            for key in 0..5 {
                let mut client = world.client().await;
                client.echo(key, 1).await;
                held.push(client);
            }
            assert!(world.client().await.ended().await);
            assert_eq!(world.reactors.totals().refused, 1);
            held.pop();
            settle().await;
            world.client().await.echo(7, 1).await;
        }
    });
}
