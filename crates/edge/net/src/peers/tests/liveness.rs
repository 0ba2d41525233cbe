//! Connections that break, fall silent, rest and come back.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::time::{Duration, Instant, sleep};

use super::world::{SECOND, Script, Scripted, World, id, op, settings, settle, simulate};
use crate::peers::{
    Lane, OwnIdentity, PeerError, PeerIdentity, PeerServer, PeerTarget, Peers, Secret,
};
use crate::ports::{LinkQuality, MemoryNet, NetRef};

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const ADDRESS: &str = "10.0.0.1:9093";

/// A server at A and a caller at B.
struct Two {
    net: MemoryNet,
    script: Arc<Script>,
    server: PeerServer,
    peers: Peers,
}

impl Two {
    fn new(net: MemoryNet) -> Self {
        let script = Arc::<Script>::default();
        let server = serve(&net, &script);
        let node: NetRef = Arc::new(net.node(B));
        let peers = Peers::start(&node, settings(2));
        Self { net, script, server, peers }
    }

    async fn call(&self, kind: u16, timeout: Duration) -> Result<Bytes, PeerError> {
        self.peers.call(ADDRESS, Lane::Control, kind, Bytes::from_static(b"body"), timeout).await
    }
}

fn serve(net: &MemoryNet, script: &Arc<Script>) -> PeerServer {
    let node: NetRef = Arc::new(net.node(A));
    let service = Arc::new(Scripted(Arc::clone(script)));
    PeerServer::start(&node, ADDRESS.parse().unwrap(), settings(1), service).unwrap()
}

#[test]
fn only_an_address_where_nobody_listens_refuses() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        assert!(!two.peers.is_refused(ADDRESS, SECOND).await, "it listens");
        two.net.cut_both(A, B);
        assert!(!two.peers.is_refused(ADDRESS, SECOND).await, "nobody knows");
        two.net.heal();
        two.server.stop().await;
        assert!(two.peers.is_refused(ADDRESS, SECOND).await, "its process has ended");
        assert!(!two.peers.is_refused("nobody.example:1", SECOND).await, "there is no address");
    });
}

#[test]
fn a_peer_that_falls_silent_is_noticed_while_calls_are_open() {
    for one_way in [false, true] {
        simulate(async {
            let two = Two::new(MemoryNet::new());
            two.call(op::ECHO, SECOND).await.unwrap();
            let silence = async {
                sleep(5 * SECOND).await;
                if one_way {
                    two.net.cut(A, B)
                } else {
                    two.net.isolate(A)
                }
                Instant::now()
            };
            let (broken, silent_since) = tokio::join!(two.call(op::WAIT, 60 * SECOND), silence);
            assert!(matches!(broken, Err(PeerError::Broken(_))), "{broken:?}");
            let noticed = silent_since.elapsed();
            assert!(noticed > SECOND && noticed < SECOND * 5 / 2, "{noticed:?}");
            // The server gives up on the caller, too.
            sleep(10 * SECOND).await;
            assert_eq!(two.script.log(), "waits dropped");
            assert_eq!(two.server.connections(), 0);
            two.net.heal();
            two.call(op::ECHO, 3 * SECOND).await.unwrap();
        });
    }
}

/// Votes are asked for with little patience: each is given up long before a connection counts as
/// dead, and they must not wait for TCP to come back to life one after the other.
#[test]
fn a_peer_that_falls_silent_is_noticed_although_each_call_is_given_up_soon() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        two.call(op::ECHO, SECOND).await.unwrap();
        sleep(5 * SECOND).await;
        two.net.cut_both(A, B);
        let silent_since = Instant::now();
        let noticed = loop {
            match two.call(op::WAIT, SECOND / 2).await {
                Err(PeerError::TimedOut) => sleep(SECOND / 10).await,
                Err(PeerError::Broken(_) | PeerError::NotConnected(_)) => {
                    break silent_since.elapsed();
                }
                other => panic!("{other:?}"),
            }
            assert!(silent_since.elapsed() < 10 * SECOND, "never noticed");
        };
        assert!(noticed > SECOND && noticed < 3 * SECOND, "{noticed:?}");
        two.net.heal();
        sleep(2 * SECOND).await;
        two.call(op::ECHO, SECOND).await.unwrap();
        // One that answers is left alone, whoever gives up on it.
        for _ in 0..20 {
            assert_eq!(two.call(op::WAIT, SECOND / 2).await, Err(PeerError::TimedOut));
        }
        assert_eq!(two.server.connections(), 1);
        sleep(70 * SECOND).await;
        assert_eq!(two.server.connections(), 0, "it rests as ever");
    });
}

#[test]
fn a_long_call_and_a_slow_body_live() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        let release = async {
            sleep(30 * SECOND).await;
            two.script.release();
        };
        let (long, ()) = tokio::join!(two.call(op::WAIT, 60 * SECOND), release);
        assert_eq!(long.unwrap(), "body");

        // Ten seconds there and ten back.
        let quality = LinkQuality { bytes_per_second: Some(500_000), ..Default::default() };
        two.net.set_quality(quality);
        let body = Bytes::from(vec![3; 5_000_000]);
        let started = Instant::now();
        let slow = two.peers.call(ADDRESS, Lane::Data, op::ECHO, body.clone(), 60 * SECOND);
        assert_eq!(slow.await.unwrap(), body);
        assert!(started.elapsed() > 19 * SECOND);
        assert_eq!(two.server.totals().proven, 2);
    });
}

#[test]
fn a_rested_connection_closes_and_the_next_call_makes_another() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        two.call(op::ECHO, SECOND).await.unwrap();
        sleep(59 * SECOND).await;
        assert_eq!(two.server.connections(), 1);
        sleep(2 * SECOND).await;
        assert_eq!(two.server.connections(), 0);
        assert_eq!(format!("{:?}", two.peers), "Peers { links: 1 }");
        sleep(60 * SECOND).await;
        assert_eq!(format!("{:?}", two.peers), "Peers { links: 0 }");
        two.call(op::ECHO, SECOND).await.unwrap();
        assert_eq!(two.server.totals().proven, 2);
    });
}

#[test]
fn a_server_that_dies_and_returns_is_found_again() {
    simulate(async {
        let mut two = Two::new(MemoryNet::new());
        two.call(op::ECHO, SECOND).await.unwrap();
        let kill = async {
            settle().await;
            two.net.kill(A);
        };
        let (broken, ()) = tokio::join!(two.call(op::WAIT, 60 * SECOND), kill);
        assert!(matches!(broken, Err(PeerError::Broken(_))), "{broken:?}");
        for _ in 0..20 {
            let refused = two.call(op::ECHO, SECOND).await.unwrap_err();
            assert!(
                matches!(&refused, PeerError::NotConnected(words) if words.contains("refused"))
            );
            assert!(refused.is_unsent());
        }
        two.server = serve(&two.net, &two.script);
        let started = Instant::now();
        let answer = two.call(op::ECHO, 2 * SECOND).await;
        assert_eq!(answer.unwrap(), "body");
        assert!(started.elapsed() <= SECOND, "{:?}", started.elapsed());
    });
}

#[test]
fn attempts_to_connect_grow_rarer() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        two.net.kill(A);
        let started = Instant::now();
        let mut failures = Vec::new();
        while started.elapsed() < 20 * SECOND {
            two.call(op::ECHO, 5 * SECOND).await.unwrap_err();
            failures.push(started.elapsed());
        }
        let in_first = failures.iter().filter(|at| **at < SECOND).count();
        assert!((4..10).contains(&in_first), "{in_first}");
        assert!((20..60).contains(&failures.len()), "{}", failures.len());
    });
}

#[test]
fn an_address_that_swallows_packets_costs_the_caller_its_timeout_only() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        two.net.isolate(A);
        for (timeout, expected) in [(SECOND / 2, "in time"), (5 * SECOND, "timed out")] {
            let started = Instant::now();
            let error = two.call(op::ECHO, timeout).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(started.elapsed() <= timeout.min(2 * SECOND));
            assert!(error.is_unsent());
        }
    });
}

#[test]
fn a_call_is_for_one_node_and_nobody_else_at_its_address() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        let call = |node| {
            let target = PeerTarget::node(id(node), ADDRESS);
            two.peers.call(target, Lane::Control, op::ECHO, Bytes::new(), SECOND)
        };
        call(1).await.unwrap();
        let other = call(3).await.unwrap_err();
        assert!(other.is_unsent());
        let words = other.to_string();
        assert!(words.contains(&id(1).to_string()) && words.contains(&id(3).to_string()));
        assert!(two.peers.tell(PeerTarget::node(id(3), ADDRESS), Lane::Control, 100, Bytes::new()));
        assert!(two.peers.tell(PeerTarget::node(id(1), ADDRESS), Lane::Control, 101, Bytes::new()));
        call(1).await.unwrap();
        assert_eq!(two.script.log(), "101:");
    });
}

#[test]
fn a_new_identity_is_told_before_anything_else() {
    simulate(async {
        let net: NetRef = Arc::new(MemoryNet::new());
        let blank = |node| OwnIdentity::new(PeerIdentity { node: id(node), cluster_id: None });
        let (own, theirs) = (blank(2), blank(1));
        let (mut caller, mut server) = (settings(2), settings(1));
        (caller.identity, server.identity) = (own.clone(), theirs.clone());
        let world = World::over(net, server, caller);
        let who = || async { world.call(op::WHO, Bytes::new()).await.unwrap() };
        let them = || world.peers.identity(&world.address, Lane::Control, SECOND);
        assert!(who().await.ends_with(b"of no cluster yet"));
        assert_eq!(them().await.unwrap().cluster_id, None);
        own.join(id(9));
        assert_eq!(who().await, own.get().to_string());
        theirs.join(id(9));
        who().await;
        assert_eq!(them().await.unwrap(), theirs.get());
        assert_eq!(world.server.totals().proven, 1);

        // Two that became different clusters part, and say why.
        own.join(id(8));
        let broken = world.call(op::WHO, Bytes::new()).await.unwrap_err();
        assert!(matches!(broken, PeerError::Broken(_)), "{broken:?}");
        let parted = world.call(op::WHO, Bytes::new()).await.unwrap_err();
        let words = parted.to_string();
        assert!(matches!(parted, PeerError::Unwelcome(_)), "{words}");
        assert!(words.contains(&id(8).to_string()) && words.contains(&id(9).to_string()));
    });
}

#[test]
fn a_stopping_server_ends_what_it_has_begun() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        let (peers, script) = (two.peers.clone(), Arc::clone(&two.script));
        let call = |kind| peers.call(ADDRESS, Lane::Control, kind, Bytes::from("body"), 5 * SECOND);
        let stopping = async {
            settle().await;
            let release = async {
                sleep(SECOND / 10).await;
                let refused = call(op::ECHO).await.unwrap_err();
                assert_eq!(refused.to_string(), "refused: the broker is stopping");
                script.release();
            };
            tokio::join!(two.server.stop(), release);
            Instant::now()
        };
        let started = Instant::now();
        let (answered, stopped) = tokio::join!(call(op::WAIT), stopping);
        assert_eq!(answered.unwrap(), "body");
        assert!(stopped - started < SECOND / 2, "{:?}", stopped - started);
        let gone = call(op::ECHO).await.unwrap_err();
        assert!(matches!(gone, PeerError::NotConnected(_)), "{gone:?}");

        // What takes longer than the grace is dropped.
        let script = Arc::<Script>::default();
        let server = serve(&two.net, &script);
        let stopping = async {
            sleep(SECOND).await;
            let started = Instant::now();
            server.stop().await;
            started.elapsed()
        };
        let (broken, took) = tokio::join!(call(op::WAIT), stopping);
        assert!(matches!(broken, Err(PeerError::Broken(_))), "{broken:?}");
        assert_eq!(took, SECOND / 2);
        assert_eq!(script.log(), "waits dropped");
    });
}

#[test]
fn a_pool_that_closes_ends_its_calls_and_connections() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        let close = async {
            settle().await;
            two.peers.close();
        };
        let (broken, ()) = tokio::join!(two.call(op::WAIT, 60 * SECOND), close);
        assert!(matches!(broken, Err(PeerError::Broken(_))), "{broken:?}");
        settle().await;
        assert_eq!(two.server.connections(), 0);
        assert!(two.call(op::ECHO, SECOND).await.unwrap_err().is_unsent());
        assert!(!two.peers.tell(ADDRESS, Lane::Control, 1, Bytes::new()));

        let peers = Peers::start(&(Arc::new(two.net.node(B)) as NetRef), settings(2));
        let call = peers.call(ADDRESS, Lane::Data, op::ECHO, Bytes::new(), SECOND);
        call.await.unwrap();
        assert_eq!(two.server.connections(), 1);
        drop(peers);
        settle().await;
        assert_eq!(two.server.connections(), 0);
    });
}

#[test]
fn a_pool_that_closes_connects_no_more() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        let delay = SECOND / 2..SECOND / 2;
        two.net.set_quality(LinkQuality { delay, ..Default::default() });
        let close = async {
            settle().await;
            two.peers.close();
            Instant::now()
        };
        let (unsent, closed) = tokio::join!(two.call(op::ECHO, 60 * SECOND), close);
        assert!(unsent.unwrap_err().is_unsent());
        assert_eq!(closed.elapsed(), Duration::ZERO);
        sleep(5 * SECOND).await;
        assert_eq!(two.server.totals().accepted, 0);
    });
}

#[test]
fn a_server_that_is_dropped_closes_at_once() {
    simulate(async {
        let two = Two::new(MemoryNet::new());
        let Two { server, peers, net: _net, script } = two;
        let drop_server = async {
            settle().await;
            drop(server);
        };
        let call = peers.call(ADDRESS, Lane::Control, op::WAIT, Bytes::new(), 60 * SECOND);
        let (broken, ()) = tokio::join!(call, drop_server);
        assert!(matches!(broken, Err(PeerError::Broken(_))), "{broken:?}");
        assert_eq!(script.log(), "waits dropped");
    });
}

/// All that was sent in a run with trouble, and when.
fn trace(seed: u64) -> Vec<(Duration, Vec<u8>)> {
    simulate(async move {
        let net = MemoryNet::seeded(seed);
        net.set_quality(LinkQuality {
            delay: Duration::from_millis(1)..Duration::from_millis(30),
            stalls_per_10k: 300,
            stall: SECOND / 5..SECOND * 3,
            breaks_per_10k: 200,
            bytes_per_second: None,
        });
        let started = Instant::now();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sent);
        net.tap(move |it| seen.lock().unwrap().push((started.elapsed(), it.bytes.to_vec())));
        let two = Two::new(net);
        for round in 0..200 {
            let one = two.call(op::ECHO, SECOND);
            let other = two.call(op::WHO, SECOND / 2);
            let (one, other) = tokio::join!(one, other);
            two.peers.tell(ADDRESS, Lane::Control, 100, Bytes::new());
            if let (Ok(one), Ok(_)) = (one, other) {
                assert_eq!(one, "body");
            }
            if round == 100 {
                two.net.isolate(A);
            }
            if round == 110 {
                two.net.heal();
            }
        }
        let sent = sent.lock().unwrap();
        sent.clone()
    })
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_the_same_times() {
    let one = trace(1);
    assert!(one.len() > 200, "{}", one.len());
    assert_eq!(one, trace(1));
    assert_ne!(one, trace(2));
}

#[test]
fn the_secret_does_not_show() {
    let mut settings = settings(1);
    settings.secret = Secret::new("hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
}
