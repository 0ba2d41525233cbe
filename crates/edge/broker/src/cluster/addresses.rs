//! Where others reach this broker: what is registered, announced and put into Raft's membership.

use jocko_config::{Advertise, HostPort, Settings};
use jocko_metadata::Endpoint;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};

/// The listener that clients use.
const CLIENTS: &str = "PLAINTEXT";
/// The listener that brokers use.
pub(crate) const PEERS: &str = "CLUSTER";

/// The host by which other brokers reach this one: the one that is set, the one the cluster port
/// listens on, or the one this machine has towards them.
pub(crate) fn own_host(settings: &Settings) -> String {
    match &settings.listen.advertise {
        Advertise::Host(host) => return host.clone(),
        Advertise::HostPort(address) => return address.host.clone(),
        Advertise::Auto => {}
    }
    let listened = settings.cluster_address().map(|address| address.host).unwrap_or_default();
    let any = |host: &str| {
        host.is_empty() || host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
    };
    if !any(&listened) {
        return listened;
    }
    let towards = |peer: &HostPort| {
        let found = (peer.host.as_str(), peer.port).to_socket_addrs().ok()?;
        found.into_iter().find_map(local_address_towards)
    };
    let found = settings.join_addresses().iter().find_map(towards);
    // With nobody named, an address of documentation: nothing is sent there.
    let found = found.or_else(|| local_address_towards(([192, 0, 2, 1], 9).into()));
    found.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())
}

/// The address the system would send from; asking for it sends nothing.
fn local_address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    let local = socket.local_addr().ok()?.ip();
    (!local.is_unspecified()).then_some(local)
}

/// Where clients reach this broker, which listens at `kafka`.
pub(crate) fn clients(settings: &Settings, kafka: &[HostPort], own_host: &str) -> Option<Endpoint> {
    let first = kafka.first()?;
    let (host, port) = match &settings.listen.advertise {
        Advertise::HostPort(address) => (address.host.clone(), address.port),
        Advertise::Host(host) => (host.clone(), first.port),
        Advertise::Auto => {
            let any = first.host.is_empty()
                || first.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
            (if any { own_host.to_owned() } else { first.host.clone() }, first.port)
        }
    };
    Some(Endpoint { listener: CLIENTS.to_owned(), host, port })
}

/// Where peers reach this broker, whose cluster port is `port`.
pub(crate) fn peers(own_host: &str, port: u16) -> Endpoint {
    Endpoint { listener: PEERS.to_owned(), host: own_host.to_owned(), port }
}

/// `host:port`, with brackets where they belong.
pub(crate) fn joined(host: &str, port: u16) -> String {
    HostPort { host: host.to_owned(), port }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_config::{Layers, load};

    #[test]
    fn what_is_told_can_be_reached() {
        let check = |flags: &[(&str, &str)], host: &str, clients_at: &str| {
            let flags: Vec<_> =
                flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let loaded = load(&Layers { flags: &flags, ..Layers::default() }).expect("settings");
            let settings = loaded.settings();
            let own = own_host(settings);
            assert_eq!(own, host, "{flags:?}");
            let kafka: Vec<HostPort> = settings.listen.kafka.iter().cloned().collect();
            let told = clients(settings, &kafka, &own).expect("one address");
            assert_eq!(joined(&told.host, told.port), clients_at, "{flags:?}");
        };
        check(&[], "127.0.0.1", "localhost:9092");
        check(&[("listen.advertise", "k.example")], "k.example", "k.example:9092");
        check(&[("listen.advertise", "k.example:7")], "k.example", "k.example:7");
        let cluster = ("listen.cluster", "127.0.0.2:7");
        check(&[cluster, ("listen.kafka", "0.0.0.0:5")], "127.0.0.2", "127.0.0.2:5");
    }
}
