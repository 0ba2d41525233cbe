//! The network in memory: hang-ups, delays, cuts, kills, and that a seed repeats a run.

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const C: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
const MILLI: Duration = Duration::from_millis(1);

fn simulate<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

async fn accept(listener: &mut BoxListener) -> Arrival {
    std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap()
}

/// A connection from one node to another.
async fn connect(net: &MemoryNet, from: IpAddr, to: IpAddr) -> (BoxStream, BoxStream) {
    let options = SocketOptions::default();
    let mut listener = net.node(to).listen(([0, 0, 0, 0], 0).into(), &options).unwrap();
    assert_eq!(listener.address().ip(), to);
    let near = net.node(from).connect(listener.address(), &options).await.unwrap();
    let (far, peer) = accept(&mut listener).await;
    assert_eq!(peer.ip(), from);
    assert_eq!(near.local_address(), Some(peer));
    assert_eq!(far.local_address(), Some(listener.address()));
    (near, far)
}

async fn hang_up(stream: &mut BoxStream) -> io::Result<usize> {
    std::future::poll_fn(|cx| stream.poll_hang_up(cx)).await
}

async fn read_some(stream: &mut BoxStream) -> io::Result<usize> {
    stream.read(&mut [0; 1000]).await
}

/// Nothing comes for ten seconds.
async fn is_silent(stream: &mut BoxStream) -> bool {
    timeout(10_000 * MILLI, read_some(stream)).await.is_err()
}

#[test]
fn a_hang_up_shows_behind_unread_bytes() {
    simulate(async {
        for leave in [true, false] {
            let (mut near, mut far) = connect(&MemoryNet::new(), A, B).await;
            near.write_all(&[7; 50]).await.unwrap();
            let noticed = std::future::poll_fn(|cx| Poll::Ready(far.poll_hang_up(cx).is_ready()));
            assert!(!noticed.await);
            if leave {
                drop(near);
            } else {
                near.shutdown().await.unwrap();
            }
            assert_eq!(hang_up(&mut far).await.unwrap(), 50);
            let mut some = [0; 20];
            far.read_exact(&mut some).await.unwrap();
            assert_eq!(hang_up(&mut far).await.unwrap(), 30);
            assert_eq!(far.read_to_end(&mut Vec::new()).await.unwrap(), 30);
        }
    });
}

#[test]
fn whoever_watches_is_woken() {
    simulate(async {
        let (near, mut far) = connect(&MemoryNet::new(), A, B).await;
        let watch = tokio::spawn(async move { hang_up(&mut far).await });
        tokio::task::yield_now().await;
        drop(near);
        assert_eq!(watch.await.unwrap().unwrap(), 0);
    });
}

#[test]
fn a_writer_waits_for_room_and_learns_of_a_reader_that_left() {
    simulate(async {
        let (mut near, mut far) = connect(&MemoryNet::new(), A, B).await;
        let bytes = vec![1; 2 * connection::BUFFER_BYTES];
        assert!(timeout(MILLI, near.write_all(&bytes)).await.is_err());
        far.read_exact(&mut vec![0; 1000]).await.unwrap();
        near.write_all(&[1; 1000]).await.unwrap();
        assert!(timeout(MILLI, near.write_all(&[1])).await.is_err());
        let write = tokio::spawn(async move { near.write_all(&[1]).await });
        tokio::task::yield_now().await;
        drop(far);
        assert_eq!(write.await.unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn connections_that_are_gone_leave_nothing_behind() {
    simulate(async {
        let net = MemoryNet::new();
        for _ in 0..10 {
            let (near, far) = connect(&net, A, B).await;
            drop((near, far));
        }
        assert!(net.lock().connections.is_empty());
        let refused = net.connect(([10, 0, 0, 9], 1).into(), &SocketOptions::default()).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn bytes_take_their_time_and_keep_their_order() {
    simulate(async {
        let net = MemoryNet::seeded(1);
        let delay = 10 * MILLI..30 * MILLI;
        let stall = 200 * MILLI..300 * MILLI;
        let (stalls_per_10k, bytes_per_second) = (1_000, Some(1_000_000));
        net.set_quality(LinkQuality {
            delay,
            stalls_per_10k,
            stall,
            breaks_per_10k: 0,
            bytes_per_second,
        });
        let started = Instant::now();
        let (mut near, mut far) = connect(&net, A, B).await;
        assert!((20 * MILLI..60 * MILLI).contains(&started.elapsed()), "a round trip");
        let started = Instant::now();
        near.write_all(b"x").await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        assert!((10 * MILLI..330 * MILLI).contains(&started.elapsed()));
        let sent: Vec<u8> = (0..1000_u32).map(|at| at as u8).collect();
        for part in sent.chunks(10) {
            near.write_all(part).await.unwrap();
        }
        let mut received = vec![0; 1000];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(received, sent);
        // A hundred thousand bytes at a megabyte a second.
        let started = Instant::now();
        near.write_all(&[1; 100_000]).await.unwrap();
        drop(near);
        far.read_exact(&mut vec![0; 100_000]).await.unwrap();
        assert!((110 * MILLI..440 * MILLI).contains(&started.elapsed()), "{:?}", started.elapsed());
        assert_eq!(hang_up(&mut far).await.unwrap(), 0);
        // A node talks with itself at once.
        let started = Instant::now();
        let (mut near, mut far) = connect(&net, A, A).await;
        near.write_all(b"x").await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
    });
}

#[test]
fn a_cut_stalls_what_is_sent_and_healing_lets_it_go_on() {
    simulate(async {
        let net = MemoryNet::new();
        let (mut near, mut far) = connect(&net, A, B).await;
        let (mut other_near, mut other_far) = connect(&net, A, C).await;
        near.write_all(b"before").await.unwrap();
        net.cut_both(A, B);
        assert_eq!(read_some(&mut far).await.unwrap(), 6, "it had arrived");
        near.write_all(b"one").await.unwrap();
        near.write_all(b"two").await.unwrap();
        near.shutdown().await.unwrap();
        assert!(is_silent(&mut far).await);
        other_near.write_all(b"elsewhere").await.unwrap();
        assert_eq!(read_some(&mut other_far).await.unwrap(), 9);

        net.heal();
        let mut all = String::new();
        far.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "onetwo");
    });
}

#[test]
fn a_one_way_cut_lets_the_other_way_pass_until_acknowledgements_lack() {
    simulate(async {
        let net = MemoryNet::new();
        let (mut near, mut far) = connect(&net, A, B).await;
        net.cut(A, B);
        near.write_all(b"lost").await.unwrap();
        assert!(is_silent(&mut far).await);
        let mut passed = 0;
        while timeout(MILLI, far.write_all(&[1; 1000])).await.is_ok() {
            passed += read_some(&mut near).await.unwrap();
        }
        assert!(passed <= connection::BUFFER_BYTES, "{passed}");
        assert!(passed >= connection::BUFFER_BYTES - 1000, "{passed}");
        net.heal_between(A, B);
        assert_eq!(read_some(&mut far).await.unwrap(), 4);
        far.write_all(&[1; 1000]).await.unwrap();
    });
}

#[test]
fn bytes_on_their_way_stall_in_a_cut_that_comes_meanwhile() {
    simulate(async {
        let net = MemoryNet::new();
        net.set_quality(LinkQuality { delay: 50 * MILLI..50 * MILLI, ..Default::default() });
        let (mut near, mut far) = connect(&net, A, B).await;
        near.write_all(b"x").await.unwrap();
        sleep(20 * MILLI).await;
        net.isolate(B);
        assert!(is_silent(&mut far).await);
        net.rejoin(B);
        let started = Instant::now();
        far.read_exact(&mut [0]).await.unwrap();
        assert_eq!(started.elapsed(), 50 * MILLI);
    });
}

#[test]
fn connecting_hangs_while_either_way_is_cut() {
    simulate(async {
        let net = MemoryNet::new();
        for (from, to) in [(A, B), (B, A)] {
            net.cut(from, to);
            assert!(timeout(1000 * MILLI, connect(&net, A, B)).await.is_err());
            let started = Instant::now();
            let healer = net.clone();
            let heal = async move {
                sleep(500 * MILLI).await;
                healer.heal();
            };
            let ((mut near, mut far), ()) = tokio::join!(connect(&net, A, B), heal);
            assert_eq!(started.elapsed(), 500 * MILLI);
            near.write_all(b"x").await.unwrap();
            far.read_exact(&mut [0]).await.unwrap();
        }
    });
}

#[test]
fn a_killed_node_resets_its_connections_and_listens_no_more() {
    simulate(async {
        let net = MemoryNet::new();
        let options = SocketOptions::default();
        let (mut near, mut far) = connect(&net, A, B).await;
        let (mut back_near, mut back_far) = connect(&net, B, A).await;
        let (mut other_near, mut other_far) = connect(&net, A, C).await;
        far.write_all(b"last words").await.unwrap();
        let listener = net.node(B).listen(([127, 0, 0, 1], 7).into(), &options).unwrap();
        net.kill(B);
        assert_eq!(read_some(&mut near).await.unwrap(), 10);
        for stream in [&mut near, &mut far, &mut back_near, &mut back_far] {
            assert_eq!(read_some(stream).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            assert!(stream.write_all(b"x").await.is_err());
            assert!(hang_up(stream).await.is_err());
        }
        let refused = net.node(A).connect(listener.address(), &options).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        other_near.write_all(b"x").await.unwrap();
        other_far.read_exact(&mut [0]).await.unwrap();
        // It comes back on the same address.
        net.node(B).listen(listener.address(), &options).unwrap();
    });
}

#[test]
fn a_machine_that_vanishes_says_nothing_until_it_can_be_reached() {
    simulate(async {
        let net = MemoryNet::new();
        let (mut near, mut far) = connect(&net, A, B).await;
        net.isolate(B);
        far.write_all(b"never leaves").await.unwrap();
        net.kill(B);
        drop(far);
        near.write_all(b"hello?").await.unwrap();
        assert!(is_silent(&mut near).await);
        net.heal();
        assert_eq!(read_some(&mut near).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn connections_break_by_chance_and_on_command() {
    simulate(async {
        let net = MemoryNet::seeded(5);
        let (mut near, mut far) = connect(&net, A, B).await;
        net.reset_between(B, A);
        assert_eq!(read_some(&mut far).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(near.write(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

        net.set_quality(LinkQuality { breaks_per_10k: 1000, ..Default::default() });
        let (mut near, mut far) = connect(&net, A, B).await;
        let mut passed = 0;
        while near.write_all(b"x").await.is_ok() {
            passed += 1;
        }
        assert!((1..200).contains(&passed), "{passed}");
        let mut all = Vec::new();
        assert!(far.read_to_end(&mut all).await.is_err());
        assert_eq!(all.len(), passed);
    });
}

#[test]
fn names_lead_to_addresses() {
    simulate(async {
        let net = MemoryNet::new();
        let address = SocketAddr::new(B, 9093);
        net.name("broker-2:9093", address);
        assert_eq!(net.node(A).resolve("broker-2:9093").await.unwrap(), [address]);
        assert_eq!(net.resolve("10.0.0.2:9093").await.unwrap(), [address]);
        assert!(net.resolve("broker-3:9093").await.is_err());
    });
}

/// Everything sent in a run of several talking nodes, and when.
fn trace(seed: u64) -> Vec<(Duration, SocketAddr, usize)> {
    simulate(async move {
        let net = MemoryNet::seeded(seed);
        net.set_quality(LinkQuality {
            delay: MILLI..20 * MILLI,
            stalls_per_10k: 500,
            stall: 100 * MILLI..200 * MILLI,
            breaks_per_10k: 100,
            bytes_per_second: Some(100_000),
        });
        let started = Instant::now();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sent);
        net.tap(move |it| {
            seen.lock().unwrap().push((started.elapsed(), it.from, it.bytes.len()));
        });
        let mut pairs = Vec::new();
        for (from, to) in [(A, B), (B, C), (C, A)] {
            let (mut near, mut far) = connect(&net, from, to).await;
            pairs.push(tokio::spawn(async move {
                while far.read_u8().await.is_ok() && far.write_all(&[2; 100]).await.is_ok() {}
            }));
            pairs.push(tokio::spawn(async move {
                let mut echo = [0; 100];
                for _ in 0..50 {
                    if near.write_u8(1).await.is_err() || near.read_exact(&mut echo).await.is_err()
                    {
                        return;
                    }
                }
            }));
        }
        sleep(100 * MILLI).await;
        net.cut(A, B);
        sleep(300 * MILLI).await;
        net.heal();
        for pair in pairs {
            pair.await.unwrap();
        }
        let sent = sent.lock().unwrap();
        sent.clone()
    })
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let one = trace(1);
    assert!(one.len() > 50, "{}", one.len());
    assert_eq!(one, trace(1));
    assert_ne!(one, trace(2));
}
