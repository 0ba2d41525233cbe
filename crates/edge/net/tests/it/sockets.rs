//! What only real sockets show.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jocko_net::ports::{Congestion, Ports, SocketOptions};
use jocko_net::{Listen, ReactorSettings, Reactors, Server, ServerSettings};

use crate::harness::{Client, Script, Scripted, Setup, World, live, op};

#[test]
fn localhost_means_both_families_on_one_port() {
    live(async {
        let world = World::real(Setup::default());
        let addresses = world.server.as_ref().unwrap().addresses();
        assert_eq!(addresses[0].ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        for address in addresses {
            let stream = world.ports.net.connect(*address, &SocketOptions::default());
            let mut client = Client { stream: stream.await.unwrap() };
            client.echo(1, 100).await;
        }
        if let Some(v6) = addresses.get(1) {
            assert_eq!(v6.ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
            assert_eq!(v6.port(), addresses[0].port());
        }
    });
}

#[test]
fn a_taken_port_is_named_in_the_error() {
    let ports = Ports::production(1).unwrap();
    let reactors = Reactors::start(&ReactorSettings::default(), &ports).unwrap();
    let service = Arc::new(Scripted(Arc::new(Script::default())));
    let start = |port| {
        let listen = [Listen::Localhost(port)];
        Server::start(&reactors, &listen, ServerSettings::default(), &service)
    };
    let first = start(0).unwrap();
    let error = start(first.addresses()[0].port()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let address = first.addresses()[0].to_string();
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn an_unknown_congestion_control_still_serves() {
    live(async {
        let mut setup = Setup::default();
        setup.server.socket.congestion = Congestion::Named("no-such-thing".to_owned());
        let world = World::real(setup);
        world.client().await.echo(1, 1).await;
    });
}

#[test]
fn frames_of_all_sizes_cross_real_sockets_from_many_connections() {
    live(async {
        let world = World::real(Setup::default());
        let mut clients = Vec::new();
        for _ in 0..10 {
            clients.push(world.client().await);
        }
        for (key, payload) in (1..).zip([0, 1, 60_000, 65_536, 70_000, 70_000, 500, 1_100_000]) {
            for client in &mut clients {
                client.echo(key, payload).await;
            }
        }
        let totals = world.reactors.totals();
        assert_eq!((totals.open, totals.frames), (10, 80));
    });
}

#[test]
fn a_reset_drops_a_waiting_request() {
    live(async {
        let world = World::real(Setup::default());
        let mut client = world.client().await;
        client.send(op::WAIT, 1).await;
        crate::harness::until(|| world.script.log() == "w1").await;
        drop(client);
        crate::harness::until(|| world.script.log() == "w1 dropped1").await;
        world.all_ended().await;
    });
}

#[test]
fn listen_is_read_from_text() {
    let table = [
        ("localhost:9092", Some(Listen::Localhost(9092))),
        ("127.0.0.1:1", Some(Listen::At(([127, 0, 0, 1], 1).into()))),
        ("[::]:9092", Some(Listen::At((Ipv6Addr::UNSPECIFIED, 9092).into()))),
        ("localhost", None),
        ("localhost:x", None),
        (":9092", None),
        ("", None),
    ];
    for (text, wanted) in table {
        assert_eq!(text.parse::<Listen>().ok(), wanted, "{text}");
    }
}
