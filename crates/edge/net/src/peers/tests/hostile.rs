//! Strangers, impostors, and whoever sits on the way (rows S1, S9, S17, S18; rules DR21 to DR26).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::world::{SECOND, World, id, op, settings, settle, simulate};
use crate::peers::handshake::{MAGIC, VERSION};
use crate::peers::{Lane, PeerError, PeerIdentity, PeerSettings, Peers, Secret};
use crate::ports::{BoxListener, BoxStream, MemoryNet, Net, NetRef, SocketOptions};

/// Bytes of a whole handshake from the caller, and from the server.
const HANDSHAKE_BYTES: [usize; 2] = [125, 124];

fn world() -> (MemoryNet, World) {
    let net = MemoryNet::new();
    let world = World::over(Arc::new(net.clone()), settings(1), settings(2));
    (net, world)
}

async fn connect(net: &MemoryNet, address: SocketAddr) -> BoxStream {
    net.connect(address, &SocketOptions::default()).await.unwrap()
}

/// Sends bytes to the server and reads what it says until it closes; and how long that took.
async fn say(net: &MemoryNet, world: &World, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let mut stream = connect(net, world.server.address()).await;
    let started = Instant::now();
    // A server that has closed already has read enough.
    let _ = stream.write_all(bytes).await;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    (said, started.elapsed())
}

fn message(version: u16, fields: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.put_u16(version);
    bytes.put_u16(u16::try_from(fields.len()).unwrap());
    bytes.put_slice(fields);
    bytes
}

/// An introduction of node 3 of cluster 9.
fn introduction(has_secret: u8) -> Vec<u8> {
    [&[has_secret], [5; 32].as_slice(), &[3; 16], &[1], &[9; 16]].concat()
}

fn hello(version: u16, has_secret: u8) -> Vec<u8> {
    message(version, &[&[1, 1], introduction(has_secret).as_slice()].concat())
}

#[test]
fn strangers_are_shown_out_at_their_first_bytes() {
    simulate(async {
        let (net, world) = world();
        let strangers: [&[u8]; 7] = [
            // Kafka: ApiVersions, and a Fetch that says it comes from a replica.
            b"\0\0\0\x14\0\x12\0\x03\0\0\0\x01\0\x04test\0\x06test\x021\0",
            b"\0\0\0\x30\0\x01\0\x04\0\0\0\x01\0\x04test\0\0\0\x01",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x8ajockey",
            b"\0",
            &[0xff; 100_000],
        ];
        for (number, bytes) in strangers.into_iter().enumerate() {
            let (said, took) = say(&net, &world, bytes).await;
            assert_eq!((said.len(), took), (0, Duration::ZERO), "{number}");
            assert_eq!(world.server.totals().strangers, number as u64 + 1);
        }
        world.echo("a peer is served all the same").await;
    });
}

#[test]
fn broken_handshakes_are_closed() {
    simulate(async {
        let (net, world) = world();
        let [empty, long] = [0_u16, 1013].map(|length| {
            let mut bytes = MAGIC.to_vec();
            bytes.put_u16(VERSION);
            bytes.put_u16(length);
            bytes
        });
        let short = message(VERSION, &[1, 1, 0]);
        let proof_first = message(VERSION, &[[3].as_slice(), &[0; 32]].concat());
        let odd_flag = hello(VERSION, 2);
        for bytes in [empty, long, short, proof_first, odd_flag, message(VERSION, &[77])] {
            let (said, took) = say(&net, &world, &bytes).await;
            assert_eq!((said.len(), took), (0, Duration::ZERO), "{bytes:?}");
        }
        assert_eq!(world.server.totals().strangers, 6);
        assert_eq!(world.server.totals().proven, 0);
    });
}

#[test]
fn slow_handshakes_end_at_their_deadline() {
    simulate(async {
        let (net, world) = world();
        for part in [0, 3, 8, 11, 40, 80] {
            let bytes = hello(VERSION, 1);
            let (_, took) = say(&net, &world, &bytes[..part]).await;
            assert_eq!(took, 3 * SECOND, "{part}");
        }
        let mut stream = connect(&net, world.server.address()).await;
        let started = Instant::now();
        for byte in hello(VERSION, 1) {
            sleep(SECOND).await;
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        assert!(started.elapsed() <= 4 * SECOND, "{:?}", started.elapsed());
        assert_eq!(world.server.totals().unfinished, 7);
    });
}

#[test]
fn a_crowd_of_the_unproven_loses_its_oldest() {
    simulate(async {
        let (net, world) = world();
        let mut crowd = Vec::new();
        for _ in 0..100 {
            crowd.push(connect(&net, world.server.address()).await);
        }
        settle().await;
        assert_eq!(world.server.totals().evicted, 36);
        world.echo("a peer gets in").await;
        assert_eq!(world.server.totals().evicted, 37);
        let mut first = crowd.swap_remove(0);
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
        sleep(4 * SECOND).await;
        assert_eq!(world.server.totals().unfinished, 63);
    });
}

#[test]
fn who_lacks_the_secret_is_told_what_to_do() {
    let another = Secret::new("open barley");
    for (server, caller, expected) in [
        (None, Secret::new("open sesame"), "has none: set the same cluster.secret on both"),
        (Secret::new("open sesame"), None, "has none: set the same cluster.secret on both"),
        (
            another,
            Secret::new("open sesame"),
            "different cluster.secrets: set the same one on both",
        ),
    ] {
        simulate(async {
            let (mut there, mut here) = (settings(1), settings(2));
            there.secret = server;
            here.secret = caller;
            let world = World::simulated(there, here);
            let started = Instant::now();
            let error = world.call(op::ECHO, Bytes::new()).await.unwrap_err();
            assert_eq!(started.elapsed(), Duration::ZERO);
            let words = error.to_string();
            assert!(
                matches!(error, PeerError::Unwelcome(_)) && words.contains(expected),
                "{words}"
            );
            for node in [1, 2] {
                assert!(words.contains(&id(node).to_string()), "{words}");
            }
            assert!(words.starts_with(&world.address), "{words}");
            assert_eq!((world.server.totals().refused, world.server.totals().proven), (1, 0));
        });
    }
}

#[test]
fn secrets_are_exchanged_in_three_rounds() {
    let with = |node: u8, secret: &str, accepted: Option<&str>| PeerSettings {
        secret: Secret::new(secret),
        secret_accepted: accepted.and_then(Secret::new),
        ..settings(node)
    };
    // Brokers of two neighbouring rounds call each other, whoever begins.
    for (one, other, is_welcome) in [
        (("old", None), ("old", Some("new")), true),
        (("old", Some("new")), ("new", Some("old")), true),
        (("new", Some("old")), ("new", None), true),
        (("old", None), ("new", Some("old")), false),
        (("old", Some("third")), ("new", Some("third")), false),
    ] {
        for (server, caller) in [(one, other), (other, one)] {
            simulate(async {
                let world =
                    World::simulated(with(1, server.0, server.1), with(2, caller.0, caller.1));
                let answer = world.call(op::ECHO, Bytes::from("hello")).await;
                // A caller speaks with its own secret: the server must know that one.
                let is_known = caller.0 == server.0 || Some(caller.0) == server.1;
                assert!(!is_welcome || is_known);
                assert_eq!(answer.is_ok(), is_known, "{server:?} {caller:?} {answer:?}");
                assert_eq!(world.server.totals().proven, u64::from(is_known));
            });
        }
    }
    simulate(async {
        // A second secret alone opens nothing.
        let there = PeerSettings { secret: None, ..with(1, "x", Some("new")) };
        let world = World::simulated(there, with(2, "new", None));
        assert!(world.call(op::ECHO, Bytes::new()).await.is_err());
    });
}

#[test]
fn another_cluster_is_refused_with_both_ids_and_a_blank_node_is_not() {
    let of = |node: u8, cluster: Option<u8>| {
        let identity = PeerIdentity { node: id(node), cluster_id: cluster.map(id) };
        PeerSettings { identity: identity.into(), ..settings(node) }
    };
    for (server, caller, is_welcome) in [
        (Some(9), None, true),
        (None, Some(9), true),
        (None, None, true),
        (Some(9), Some(8), false),
    ] {
        simulate(async {
            let world = World::simulated(of(1, server), of(2, caller));
            let answer = world.call(op::ECHO, Bytes::new()).await;
            assert_eq!(answer.is_ok(), is_welcome);
            if let Err(error) = answer {
                let words = error.to_string();
                assert!(words.contains(&id(9).to_string()), "{words}");
                assert!(words.contains(&id(8).to_string()), "{words}");
                assert!(words.contains("clusters do not merge"), "{words}");
            }
        });
    }
}

#[test]
fn another_version_is_refused_with_both_numbers() {
    simulate(async {
        let (net, world) = world();
        let (said, _) = {
            let mut stream = connect(&net, world.server.address()).await;
            stream.write_all(&hello(7, 1)).await.unwrap();
            let mut said = vec![0; 1024];
            let read = stream.read(&mut said).await.unwrap();
            said.truncate(read);
            (said, ())
        };
        let words = String::from_utf8_lossy(&said[13..]).into_owned();
        assert_eq!(said[12], 5);
        assert!(
            words.contains("speaks version 7") && words.contains("broker version 1"),
            "{words}"
        );

        for kind in [2_u8, 5] {
            let (listener, peers, address) = impostor(&net);
            let reply = message(7, &[&[kind], b"you are too old".as_slice()].concat());
            let served = serve_raw(listener, vec![(80, reply)]);
            let error = peers.call(&address, Lane::Control, 1, Bytes::new(), SECOND);
            let (error, _) = tokio::join!(error, served);
            let words = error.unwrap_err().to_string();
            let expected = if kind == 5 { "you are too old" } else { "speaks version 7" };
            assert!(words.contains(expected), "{words}");
        }
    });
}

/// A listener that is no server, and a pool to call it.
fn impostor(net: &MemoryNet) -> (BoxListener, Peers, String) {
    let listener = net.listen(([127, 0, 0, 1], 0).into(), &SocketOptions::default()).unwrap();
    let address = listener.address().to_string();
    let net: NetRef = Arc::new(net.clone());
    (listener, Peers::start(&net, settings(2)), address)
}

/// Reads so many bytes and replies, step by step; returns what it read.
async fn serve_raw(mut listener: BoxListener, steps: Vec<(usize, Vec<u8>)>) -> Vec<u8> {
    let (mut stream, _) = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
    let mut all = Vec::new();
    for (bytes, reply) in steps {
        let mut read = vec![0; bytes];
        if stream.read_exact(&mut read).await.is_err() || stream.write_all(&reply).await.is_err() {
            break;
        }
        all.extend(read);
    }
    // Stays until the caller leaves.
    let _ = timeout(SECOND, stream.read_to_end(&mut all)).await;
    all
}

#[test]
fn an_impostor_learns_nothing_that_convinces() {
    simulate(async {
        let net = MemoryNet::new();
        let challenge =
            |has_secret| message(VERSION, &[&[2], introduction(has_secret).as_slice()].concat());
        let welcome = message(VERSION, &[[4].as_slice(), &[1; 32]].concat());
        let bare = message(VERSION, &[4]);
        let cases = [
            (vec![(80, challenge(1)), (45, welcome.clone())], "different cluster.secrets"),
            (vec![(80, challenge(1)), (45, bare.clone())], "different cluster.secrets"),
            (vec![(80, challenge(0)), (45, bare)], "has none"),
            (vec![(80, welcome)], "another message was due"),
            (vec![(80, b"HTTP/1.1 400 Bad Request\r\n".to_vec())], "not a broker"),
            (vec![(80, message(VERSION, &[5, 0xff, 0x1b, b'x']))], "\u{fffd}\u{fffd}x"),
        ];
        for (steps, expected) in cases {
            let (listener, peers, address) = impostor(&net);
            let call = peers.call(&address, Lane::Control, op::ECHO, Bytes::from("secret"), SECOND);
            let (error, heard) = tokio::join!(call, serve_raw(listener, steps));
            let error = error.unwrap_err();
            assert!(error.is_unsent());
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!heard.windows(6).any(|bytes| bytes == b"secret"), "nothing was sent yet");
        }
        // What the caller proves is not what a server must prove.
        let (mut listener, peers, address) = impostor(&net);
        let reflect = async {
            let (mut stream, _) =
                std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            stream.read_exact(&mut [0; 80]).await.unwrap();
            stream.write_all(&challenge(1)).await.unwrap();
            let mut proof = [0; 45];
            stream.read_exact(&mut proof).await.unwrap();
            proof[12] = 4;
            stream.write_all(&proof).await.unwrap();
        };
        let call = peers.call(&address, Lane::Control, op::ECHO, Bytes::new(), SECOND);
        let (error, ()) = tokio::join!(call, reflect);
        assert!(matches!(error, Err(PeerError::Unwelcome(_))), "{error:?}");
    });
}

#[test]
fn a_recorded_conversation_cannot_be_played_again() {
    simulate(async {
        let (net, world) = world();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (seen, server) = (Arc::clone(&sent), world.server.address());
        net.tap(move |it| {
            if it.to == server {
                seen.lock().unwrap().extend_from_slice(it.bytes);
            }
        });
        assert!(world.tell(100, "once"));
        world.echo("once").await;
        let recorded = sent.lock().unwrap().clone();
        assert!(recorded.len() > HANDSHAKE_BYTES[0]);
        let mut stream = connect(&net, server).await;
        stream.write_all(&recorded).await.unwrap();
        let mut said = vec![0; 2048];
        let mut words = String::new();
        while let Ok(read @ 1..) = stream.read(&mut said).await {
            words.push_str(&String::from_utf8_lossy(&said[..read]));
        }
        assert!(words.contains("different cluster.secrets"), "{words}");
        drop(stream);
        settle().await;
        assert_eq!((world.server.totals().proven, world.server.totals().refused), (1, 1));
        assert_eq!(world.script.log(), "100:once");
    });
}

/// Passes bytes on between a caller and the server, changing them on the way.
async fn relay(
    net: MemoryNet,
    mut listener: BoxListener,
    server: SocketAddr,
    mut change: impl FnMut(usize, Vec<u8>) -> Vec<u8>,
) {
    let (mut near, _) = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
    let mut far = connect(&net, server).await;
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let (direction, bytes) = tokio::select! {
            biased;
            read = near.read(&mut up) => (0, read.map(|read| up[..read].to_vec())),
            read = far.read(&mut down) => (1, read.map(|read| down[..read].to_vec())),
        };
        let Some(bytes) = bytes.ok().filter(|bytes| !bytes.is_empty()) else { return };
        let to = if direction == 0 { &mut far } else { &mut near };
        if to.write_all(&change(direction, bytes)).await.is_err() {
            return;
        }
    }
}

/// A call through a relay that changes bytes; what came of it, and what the server saw.
fn call_through(
    change: impl FnMut(usize, Vec<u8>) -> Vec<u8> + Send + 'static,
) -> (Result<Bytes, PeerError>, String, u64) {
    simulate(async move {
        let (net, world) = world();
        let listener = net.listen(([127, 0, 0, 1], 0).into(), &SocketOptions::default()).unwrap();
        let address = listener.address().to_string();
        tokio::spawn(relay(net, listener, world.server.address(), change));
        assert!(world.peers.tell(&address, Lane::Control, 100, Bytes::from("tell")));
        let call = world.peers.call(&address, Lane::Control, op::ECHO, Bytes::from("call"), SECOND);
        let answer = call.await;
        settle().await;
        (answer, world.script.log(), world.server.totals().corrupt)
    })
}

#[test]
fn a_flipped_bit_anywhere_is_never_believed() {
    // Tell and call there, the call's answer back.
    let lengths = [HANDSHAKE_BYTES[0] + 2 * 52, HANDSHAKE_BYTES[1] + 52];
    let seen = Arc::new(Mutex::new([0; 2]));
    let counted = Arc::clone(&seen);
    let (answer, log, _) = call_through(move |direction, bytes| {
        counted.lock().unwrap()[direction] += bytes.len();
        bytes
    });
    assert_eq!((answer.unwrap().as_ref(), log.as_str()), (b"call".as_slice(), "100:tell"));
    assert_eq!(*seen.lock().unwrap(), lengths);

    for (wanted, length) in lengths.into_iter().enumerate() {
        for flipped in 0..length {
            let mut passed = 0;
            let (answer, log, _) = call_through(move |direction, mut bytes| {
                if direction == wanted {
                    let at = flipped.wrapping_sub(passed);
                    passed += bytes.len();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << (flipped % 8);
                    }
                }
                bytes
            });
            assert!(answer.is_err(), "byte {flipped} of way {wanted}: {answer:?}");
            // What came before the flipped byte is as it was, and nothing else is believed.
            let in_call = wanted == 1 || flipped >= HANDSHAKE_BYTES[0] + 52;
            let expected = if in_call && log.is_empty() { "" } else { "100:tell" };
            assert!(log.is_empty() || log == expected, "byte {flipped} of way {wanted}: {log}");
            assert!(wanted == 1 || in_call || log.is_empty(), "byte {flipped}: {log}");
        }
    }
}

#[test]
fn frames_are_neither_repeated_nor_left_out() {
    let frames = |direction: usize, passed: &mut usize, bytes: &[u8]| {
        let is_frame = direction == 0 && *passed >= HANDSHAKE_BYTES[0];
        if direction == 0 {
            *passed += bytes.len();
        }
        is_frame
    };
    let mut passed = 0;
    let (_, log, corrupt) =
        call_through(
            move |direction, bytes| {
                if frames(direction, &mut passed, &bytes) { bytes.repeat(2) } else { bytes }
            },
        );
    assert_eq!((log.as_str(), corrupt), ("100:tell", 1), "the second was noticed");

    let mut passed = 0;
    let (answer, log, corrupt) = call_through(move |direction, mut bytes| {
        if frames(direction, &mut passed, &bytes) {
            // The tell is left out.
            bytes.drain(..52.min(bytes.len()));
        }
        bytes
    });
    assert!(answer.is_err());
    assert_eq!((log.as_str(), corrupt), ("", 1));
}

/// A handshake without a secret, by hand.
async fn meet(net: &MemoryNet, world: &World) -> BoxStream {
    let mut stream = connect(net, world.server.address()).await;
    stream.write_all(&hello(VERSION, 0)).await.unwrap();
    stream.read_exact(&mut [0; 79]).await.unwrap();
    stream.write_all(&message(VERSION, &[3])).await.unwrap();
    stream.read_exact(&mut [0; 13]).await.unwrap();
    stream
}

#[test]
fn who_calls_on_without_reading_is_closed_and_costs_little() {
    simulate(async {
        let net = MemoryNet::new();
        let (mut server, mut caller) = (settings(1), settings(2));
        server.secret = None;
        caller.secret = None;
        let world = World::over(Arc::new(net.clone()), server, caller);
        let mut stream = meet(&net, &world).await;
        let mut calls = 0_u64;
        let started = Instant::now();
        loop {
            calls += 1;
            let mut frame = 4000_u32.to_be_bytes().to_vec();
            frame.put_slice(&[1, 0, 0, op::ECHO as u8]);
            frame.put_u64(calls);
            frame.resize(16 + 4000, 7);
            if stream.write_all(&frame).await.is_err() {
                break;
            }
        }
        // What fits into buffers both ways, and a megabyte of answers; then nothing is read.
        assert!(calls * 4016 < 2 << 20, "{calls}");
        assert_eq!(started.elapsed(), 6 * SECOND, "taken for dead");
        assert_eq!(world.server.connections(), 0);

        // Nor are pings answered without end.
        let mut stream = meet(&net, &world).await;
        let mut pings = 0;
        while stream.write_all(b"\0\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0").await.is_ok() {
            pings += 1;
        }
        assert!(pings * 16 < 2 << 20, "{pings}");
        world.echo("goes on").await;
    });
}

#[test]
fn without_a_secret_broken_frames_end_the_connection_only() {
    simulate(async {
        let net = MemoryNet::new();
        let (mut server, mut caller) = (settings(1), settings(2));
        server.secret = None;
        caller.secret = None;
        server.frame_bytes_max = 1 << 20;
        let world = World::over(Arc::new(net.clone()), server, caller);
        let frames: [&[u8]; 7] = [
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0",
            b"\0\0\0\0\x01\x01\0\0\0\0\0\0\0\0\0\0",
            b"\xff\xff\xff\xff\x01\0\0\0\0\0\0\0\0\0\0\0",
            b"\0\0\0\x01\x06\0\0\0\0\0\0\0\0\0\0\0",
            // An answer, which only servers send; an identity of another node.
            b"\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0",
            b"\0\0\0\x21\x08\0\0\0\0\0\0\0\0\0\0\0aaaaaaaaaaaaaaaa\0bbbbbbbbbbbbbbbb",
        ];
        for (number, frame) in frames.into_iter().enumerate() {
            let mut stream = meet(&net, &world).await;
            let started = Instant::now();
            stream.write_all(frame).await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "{number}");
            assert_eq!(started.elapsed(), Duration::ZERO);
            assert_eq!(world.server.totals().corrupt, number as u64 + 1);
        }
        world.echo("goes on").await;
    });
}
