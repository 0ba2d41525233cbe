//! Peers that mean harm or are broken (rows S1 and S9, rules DR21 and DR26).

use std::time::Duration;

use jocko_net::CloseReason;

use tokio::io::AsyncWriteExt;

use crate::harness::{Client, Setup, World, live, op, request, settle, simulate, until};

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

/// Row S17: what brokers begin with among themselves is, read as a size, negative.
#[test]
fn a_broker_that_takes_this_port_for_the_cluster_port_is_closed_at_once() {
    simulate(async {
        let world = World::simulated(Setup::default());
        let mut client = world.client().await;
        let started = tokio::time::Instant::now();
        client.raw(b"\x8ajocko\r\n\0\x01\0\x44").await;
        assert!(client.ended().await);
        assert_eq!(started.elapsed(), Duration::ZERO);
        world.all_ended().await;
        assert_eq!(world.reactors.totals().closed_for(CloseReason::FrameSize), 1);
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
        for _ in 0..30 {
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
        // A large one gets its turn once half frames that do not come were given up.
        let started = tokio::time::Instant::now();
        let mut large: Client = world.client().await;
        large.echo(2, 2_900_000).await;
        let waited = started.elapsed();
        assert!(waited < Duration::from_secs(120), "{waited:?}");
        small.echo(3, 60_000).await;
        drop((half_sent, small, large));
        world.all_ended().await;
        assert_eq!(world.reactors.totals().memory_bytes, 0, "all of it came back");
    });
}

/// Senders of frames, all at once and too many for the memory; how many were answered and how
/// many given up, and how long it took.
async fn compete(senders: u16, payload: usize, memory: usize) -> (u64, u64, Duration) {
    let world = World::simulated(Setup::default().memory(memory));
    let mut tasks = Vec::new();
    for key in 0..senders {
        let mut client = world.client().await;
        tasks.push(tokio::task::spawn_local(async move {
            let sent = client.stream.write_all(&request(op::ECHO, key, payload)).await;
            sent.is_ok() && client.key().await == Some(key)
        }));
    }
    let started = tokio::time::Instant::now();
    let mut answered = 0;
    for task in tasks {
        answered += u64::from(task.await.unwrap());
    }
    let given_up = world.reactors.totals().closed_for(CloseReason::Memory);
    (answered, given_up, started.elapsed())
}

#[test]
fn frames_of_ordinary_size_take_turns() {
    simulate(async {
        for payload in [100_000, 700_000, 1_900_000] {
            let (answered, given_up, took) = compete(40, payload, 4 * 1024 * 1024).await;
            assert_eq!((answered, given_up, took), (40, 0, Duration::ZERO), "{payload}");
        }
    });
}

#[test]
fn huge_frames_take_turns() {
    simulate(async {
        for payload in [2_500_000, 5_000_000, 6_200_000] {
            let (answered, given_up, took) = compete(20, payload, 8 * 1024 * 1024).await;
            assert_eq!((answered, given_up, took), (20, 0, Duration::ZERO), "{payload}");
        }
    });
}

/// Frames of 1.9 MB that take all of a budget of 4 MiB, and one more of which `sent` bytes have come
/// in part, the rest waiting in the socket.
async fn starved(world: &World, sent: usize) -> (Vec<Client>, Client) {
    let frame = request(op::ECHO, 1, 1_900_000);
    let mut holding = Vec::new();
    while world.reactors.totals().memory_pauses == 0 {
        let mut client = world.client().await;
        client.raw(&frame[..100_000]).await;
        // Each in turn, so that the last one is the first to find no memory.
        for _ in 0..1_000 {
            settle().await;
            if world.reactors.totals().memory_pauses > 0 {
                break;
            }
        }
        holding.push(client);
    }
    let mut paused = world.client().await;
    paused.raw(&request(op::ECHO, 9, 200_000 - 8)[..sent]).await;
    settle().await;
    (holding, paused)
}

#[test]
fn a_peer_that_leaves_while_its_frame_waits_for_memory_is_noticed_at_once() {
    simulate(async {
        let world = World::simulated(Setup::default().memory(4 * 1024 * 1024));
        let (holding, paused) = starved(&world, 150_000).await;
        let open = world.server.as_ref().unwrap().connections();
        let started = tokio::time::Instant::now();
        drop(paused);
        until(|| world.server.as_ref().unwrap().connections() < open).await;
        drop(holding);
        world.all_ended().await;
        assert_eq!(started.elapsed(), Duration::ZERO, "no deadline was needed");
        let totals = world.reactors.totals();
        assert_eq!(totals.closed_for(CloseReason::Disconnected), open as u64);
        assert_eq!(totals.memory_bytes, 0);
    });
}

#[test]
fn a_paused_peer_that_has_sent_its_whole_frame_and_no_more_is_answered() {
    simulate(async {
        let world = World::simulated(Setup::default().memory(4 * 1024 * 1024));
        let (holding, mut paused) = starved(&world, 200_004).await;
        paused.stream.shutdown().await.unwrap();
        settle().await;
        drop(holding);
        assert_eq!(paused.key().await, Some(9));
        assert!(paused.ended().await);
    });
}

#[test]
fn real_peers_that_leave_while_paused_are_noticed_at_once() {
    live(async {
        let mut setup = Setup::default().memory(4 * 1024 * 1024);
        setup.reactors.count = 1;
        let world = World::real(setup);
        let frame = request(op::ECHO, 1, 3_000_000);
        let mut half_sent = Vec::new();
        for _ in 0..20 {
            let mut client = world.client().await;
            // As much as the sockets take: what the broker does not read waits in them.
            let send = client.stream.write_all(&frame[..700_000]);
            let _ = tokio::time::timeout(Duration::from_millis(20), send).await;
            half_sent.push(client);
        }
        until(|| world.reactors.totals().memory_pauses >= 10).await;
        let left = std::time::Instant::now();
        drop(half_sent);
        world.all_ended().await;
        assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
        assert_eq!(world.reactors.totals().memory_bytes, 0);
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
fn limits_on_connections_change_while_the_server_runs() {
    simulate(async {
        let mut setup = Setup::default();
        setup.server.connections_max = 1;
        let world = World::simulated(setup);
        let limits = world.server.as_ref().unwrap().limits();
        let mut first = world.client().await;
        first.echo(1, 1).await;
        assert!(world.client().await.ended().await);
        limits.set(2, 2);
        let mut second = world.client().await;
        second.echo(2, 1).await;
        limits.set(1, 1);
        assert!(world.client().await.ended().await);
        // Those that are open stay.
        first.echo(3, 1).await;
        second.echo(4, 1).await;
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
