//! Calls, tells, refusals, deadlines.

use bytes::Bytes;
use tokio::time::Instant;

use super::world::{SECOND, World, id, op, run, settings, settle, simulate};
use crate::peers::{Lane, PeerError, PeerIdentity, PeerSettings};

/// Settings of a node that is blank and knows no secret.
fn blank(node: u8) -> PeerSettings {
    PeerSettings::new(PeerIdentity { node: id(node), cluster_id: None })
}

#[test]
fn calls_are_answered_with_and_without_a_secret() {
    for of in [settings, blank] {
        simulate(async {
            let world = World::simulated(of(1), of(2));
            world.echo("one").await;
            let pieces: Vec<Bytes> = vec!["a".into(), vec![b'b'; 100_000].into(), "c".into()];
            let whole = pieces.concat();
            assert_eq!(world.call(op::ECHO, pieces).await.unwrap(), whole);
            assert_eq!(world.call(op::ECHO, Bytes::new()).await.unwrap(), "");
            assert_eq!(world.server.connections(), 1);
            let who = world.call(op::WHO, Bytes::new()).await.unwrap();
            assert_eq!(who, of(2).identity.get().to_string());
            let them = world.peers.identity(&world.address, Lane::Control, SECOND).await;
            assert_eq!(them.unwrap(), of(1).identity.get());
        });
    }
}

#[test]
fn sockets_carry_calls_of_any_size() {
    run(async {
        let world = World::real(settings(1), settings(2));
        for size in [0, 1, 100, 8_191, 8_192, 65_535, 65_536, 1 << 20, (5 << 20) + 3] {
            let body = Bytes::from((0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>());
            assert_eq!(world.call(op::ECHO, body.clone()).await.unwrap(), body);
        }
        let name = world.address.replace("127.0.0.1", "localhost");
        let answer = world.peers.call(&name, Lane::Data, op::ECHO, Bytes::from("by name"), SECOND);
        assert_eq!(answer.await.unwrap(), "by name");
        world.server.stop().await;
    });
}

#[test]
fn answers_leave_as_they_are_ready() {
    simulate(async {
        let world = World::simulated(settings(1), settings(2));
        let slow = world.call(op::WAIT, Bytes::from("slow"));
        let quick = async {
            settle().await;
            world.echo("quick").await;
            world.script.note("quick");
            world.script.release();
        };
        let (slow, ()) = tokio::join!(slow, quick);
        assert_eq!(slow.unwrap(), "slow");
        assert_eq!(world.script.log(), "waits quick");
    });
}

#[test]
fn tells_arrive_in_order() {
    simulate(async {
        let world = World::simulated(settings(1), settings(2));
        for number in 100..200 {
            assert!(world.tell(number, "x"));
        }
        world.echo("done").await;
        let expected: Vec<_> = (100..200).map(|number| format!("{number}:x")).collect();
        assert_eq!(world.script.log(), expected.join(" "));
    });
}

#[test]
fn a_refusal_carries_its_code_and_words() {
    simulate(async {
        let world = World::simulated(settings(1), settings(2));
        let refused = world.call(op::REFUSE, Bytes::new()).await.unwrap_err();
        let PeerError::Refused(refusal) = &refused else { panic!("{refused:?}") };
        assert_eq!((refusal.code, refusal.words.as_str()), (op::REFUSE, "as asked"));
        assert!(!refused.is_unsent());
        world.echo("goes on").await;
    });
}

#[test]
fn a_call_ends_at_its_deadline_and_is_given_up_over_there() {
    simulate(async {
        let world = World::simulated(settings(1), settings(2));
        let started = Instant::now();
        let late = world.call(op::WAIT, Bytes::new()).await;
        assert_eq!(late.unwrap_err(), PeerError::TimedOut);
        assert_eq!(started.elapsed(), SECOND);
        settle().await;
        assert_eq!(world.script.log(), "waits dropped");
        // A future that is dropped gives up in the same way.
        let call = tokio::time::timeout(SECOND / 2, world.call(op::WAIT, Bytes::new()));
        assert!(call.await.is_err());
        settle().await;
        assert_eq!(world.script.log(), "waits dropped waits dropped");
        world.echo("goes on").await;
        assert_eq!(world.server.totals().proven, 1);
    });
}

#[test]
fn calls_come_from_any_thread_and_runtime() {
    run(async {
        let world = World::real(settings(1), settings(2));
        let threads: Vec<_> = (0..4_u8)
            .map(|thread| {
                let (peers, address) = (world.peers.clone(), world.address.clone());
                std::thread::spawn(move || {
                    run(async {
                        for call in 0..200_u8 {
                            let lane = if call % 2 == 0 { Lane::Control } else { Lane::Data };
                            let body = vec![thread, call];
                            let answer =
                                peers.call(&address, lane, op::ECHO, body.clone(), 10 * SECOND);
                            assert_eq!(answer.await.unwrap(), body);
                        }
                    });
                })
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            settle().await;
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(world.server.totals().proven, 2);
    });
}
