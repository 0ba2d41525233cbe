//! Where gossip is: which address to bind, which to tell others, and which are this broker's own.

use super::StartError;
use jocko_config::HostPort;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use tokio::net::lookup_host;

/// Addresses of the documentation (RFC 5737, RFC 3849): where the way out is shows the address
/// others may reach this machine at. Nothing is sent.
const SOMEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The address to bind and the host to tell others, for an address of the settings.
///
/// On every interface, gossip speaks the family of the address that is told: one socket of each
/// family on one port is not to be had everywhere.
pub(super) async fn find(
    listen: &HostPort,
    advertise: Option<&str>,
    join: &[HostPort],
) -> Result<(SocketAddr, IpAddr), StartError> {
    let told = match advertise {
        None => None,
        Some(host) => Some(resolve(host, 0).await?.ip()),
    };
    if !listen.host.is_empty() {
        let bind = resolve(&listen.host, listen.port).await?;
        if !bind.ip().is_unspecified() {
            return Ok((bind, told.unwrap_or(bind.ip())));
        }
        let told = match told {
            Some(told) => told,
            None => towards(join, Some(bind.is_ipv4())).await,
        };
        return Ok((bind, told));
    }
    let told = match told {
        Some(told) => told,
        None => towards(join, None).await,
    };
    let any: IpAddr =
        if told.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    Ok((SocketAddr::new(any, listen.port), told))
}

/// The first address of a host; an IPv4 one where there is one, as clients prefer it too.
async fn resolve(host: &str, port: u16) -> Result<SocketAddr, StartError> {
    let failed = |source| StartError::Resolve { host: host.to_owned(), source };
    let found: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(failed)?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))
}

/// The address of this machine on the way to those it is to join, or out; loopback if there is no
/// way at all.
async fn towards(join: &[HostPort], is_v4: Option<bool>) -> IpAddr {
    let fits = |ip: &IpAddr| is_v4.is_none_or(|is_v4| ip.is_ipv4() == is_v4);
    let mut only_here = None;
    for address in join {
        let Ok(found) = lookup_host((address.host.as_str(), address.port)).await else { continue };
        for ip in found.filter_map(|there| on_the_way_to(there.ip())).filter(fits) {
            if !ip.is_loopback() {
                return ip;
            }
            only_here = Some(ip);
        }
    }
    let out = || SOMEWHERE.into_iter().filter_map(on_the_way_to).find(fits);
    let loopback: IpAddr = match is_v4 {
        Some(false) => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    };
    // Brokers that are all to be joined on this machine are told of where they are looked for.
    only_here.or_else(out).unwrap_or(loopback)
}

/// The address this machine would send from.
fn on_the_way_to(there: IpAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Connecting a UDP socket chooses a route and sends nothing.
    socket.connect((there, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

/// Takes the port over UDP and TCP, or says why it is not to be had.
pub(super) fn take(bind: SocketAddr) -> io::Result<(UdpSocket, TcpListener, SocketAddr)> {
    const TRIES: usize = 16;
    let mut tries = 0;
    loop {
        let listener = TcpListener::bind(bind)?;
        let address = listener.local_addr()?;
        tries += 1;
        match UdpSocket::bind(address) {
            Ok(socket) => return Ok((socket, listener, address)),
            // A free port of one kind may be taken of the other.
            Err(_) if bind.port() == 0 && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether an address leads to this machine.
pub(super) fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> HostPort {
        let (host, port) = text.rsplit_once(':').expect("host:port");
        HostPort { host: host.to_owned(), port: port.parse().expect("a port") }
    }

    #[tokio::test]
    async fn addresses_are_bound_and_told() {
        let check = async |listen: &str, advertise: Option<&str>, join: &[&str], expect: &str| {
            let join: Vec<_> = join.iter().map(|text| address(text)).collect();
            let found = find(&address(listen), advertise, &join).await.expect("found");
            assert_eq!(format!("{} {}", found.0, found.1), expect, "{listen} {advertise:?}");
        };
        check("127.0.0.1:1", None, &[], "127.0.0.1:1 127.0.0.1").await;
        check("localhost:1", None, &[], "127.0.0.1:1 127.0.0.1").await;
        check(":1", Some("10.1.2.3"), &[], "0.0.0.0:1 10.1.2.3").await;
        check(":1", Some("fd00::1"), &[], "[::]:1 fd00::1").await;
        check("127.0.0.1:1", Some("10.1.2.3"), &[], "127.0.0.1:1 10.1.2.3").await;
        check(":1", None, &["127.0.0.1:2"], "0.0.0.0:1 127.0.0.1").await;
        check("0.0.0.0:1", None, &["127.0.0.1:2"], "0.0.0.0:1 127.0.0.1").await;
        let error = find(&address("no-such-host.invalid:1"), None, &[]).await.expect_err("no");
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    }

    #[tokio::test]
    async fn a_port_is_taken_whole_or_not() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (_socket, listener, address) = take(any).expect("free");
        drop(listener);
        let error = take(address).expect_err("the UDP port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(is_of_this_machine(address.ip()));
        assert!(!is_of_this_machine(SOMEWHERE[0]));
    }
}
