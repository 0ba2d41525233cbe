//! The address a client is told to come back to.

use jocko_config::Advertise;
use jocko_net::Peer;
use std::net::{IpAddr, SocketAddr};

/// What to answer `peer`, who reached a broker bound to `bound`: the address that was set, or, if
/// it is `auto`, the one this client evidently can reach.
pub(crate) fn advertised(
    advertise: &Advertise,
    peer: &Peer,
    bound: &[SocketAddr],
) -> (String, u16) {
    let port = peer.local.port();
    match advertise {
        Advertise::Auto => (reached(peer, bound), port),
        Advertise::Host(host) => (host.clone(), port),
        Advertise::HostPort(address) => (address.host.clone(), address.port),
    }
}

/// The host by which this client came. `localhost` only where it means this broker whichever
/// family a client tries first.
fn reached(peer: &Peer, bound: &[SocketAddr]) -> String {
    let local = unmapped(peer.local.ip());
    let serves = |wanted: IpAddr| {
        bound.iter().any(|address| {
            let same_family = address.is_ipv6() == wanted.is_ipv6();
            let any = address.ip().is_unspecified() && (same_family || address.is_ipv6());
            address.port() == peer.local.port() && (any || address.ip() == wanted)
        })
    };
    let both = serves([127, 0, 0, 1].into()) && serves([0, 0, 0, 0, 0, 0, 0, 1].into());
    if local.is_loopback() && both { "localhost".to_owned() } else { local.to_string() }
}

/// An IPv4 client on an IPv6 socket still speaks IPv4.
fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_answers_with_what_the_client_reached() {
        let check = |local: &str, bound: &[&str], expect: &str| {
            let local: SocketAddr = local.parse().expect("an address");
            let peer = Peer { address: local, listener: local, local };
            let bound: Vec<SocketAddr> =
                bound.iter().map(|text| text.parse().expect("an address")).collect();
            let (host, port) = advertised(&Advertise::Auto, &peer, &bound);
            assert_eq!((host.as_str(), port), (expect, 9092));
        };
        check("127.0.0.1:9092", &["127.0.0.1:9092", "[::1]:9092"], "localhost");
        check("127.0.0.1:9092", &["127.0.0.1:9092"], "127.0.0.1");
        check("127.0.0.1:9092", &["0.0.0.0:9092"], "127.0.0.1");
        check("127.0.0.1:9092", &["[::]:9092"], "localhost");
        check("10.0.0.5:9092", &["0.0.0.0:9092"], "10.0.0.5");
        check("[::ffff:10.0.0.5]:9092", &["[::]:9092"], "10.0.0.5");
    }
}
