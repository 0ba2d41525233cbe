//! The broker's doors: Kafka for clients, HTTP for operators.

use crate::cluster::Waiting;
use crate::company::{self, Knowledge};
use crate::context::Context;
use crate::metrics_page::Page;
use crate::session::Front;
use crate::start::StartError;
use jocko_config::{HostPort, LimitSettings, LoadedSettings};
use jocko_consensus::Raft;
use jocko_net::ports::{Net, Reserved, spawn};
use jocko_net::{ConnectionSettings, Listen, Reactors, Server, ServerSettings};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long whoever asks a broker that waits has for its answer once it waits no more.
const LOBBY_GRACE: Duration = Duration::from_millis(50);
/// How often a free port of IPv4 is sought that is free for IPv6 as well.
const PORT_ATTEMPTS: usize = 16;

/// Looks whether all addresses of ours can be listened on, before anything is begun or written.
/// Whoever takes one between now and then shows when the ports are opened for good.
pub(crate) fn refuse_unusable(net: &dyn Net, settings: &LoadedSettings) -> Result<(), StartError> {
    let listen = &settings.settings().listen;
    let mut all = Vec::new();
    for address in listen.kafka.iter() {
        let meant = match listen_at(address)? {
            Listen::At(address) => vec![address],
            Listen::Localhost(_) => address.literal_addrs(),
        };
        check_usable(net, &meant)?;
        all.extend(meant);
    }
    for address in listen.http.iter().flat_map(|all| all.iter()) {
        let meant = http_addrs(address)?;
        check_usable(net, &meant)?;
        all.extend(meant);
    }
    match first_twice(&mut all) {
        None => Ok(()),
        Some(address) => {
            let why = "it is named twice among the addresses to listen on";
            let source = io::Error::new(io::ErrorKind::AddrInUse, why);
            Err(StartError::Listen { address: address.to_string(), source })
        }
    }
}

/// An address that is named twice. Port 0 is another port each time.
fn first_twice(addresses: &mut [SocketAddr]) -> Option<SocketAddr> {
    addresses.sort_unstable();
    let is_same =
        |pair: &&[SocketAddr]| matches!(pair, [one, other] if one == other && one.port() != 0);
    addresses.windows(2).find(is_same).and_then(|pair| pair.first().copied())
}

/// The first of these addresses must be usable. A machine without IPv6 may lack the others, but
/// nobody else may have them.
fn check_usable(net: &dyn Net, addresses: &[SocketAddr]) -> Result<(), StartError> {
    for (at, address) in addresses.iter().enumerate() {
        // Nobody can connect meanwhile: whoever waits for this broker by trying its port must not
        // find it open before it serves.
        match net.reserve(*address) {
            Err(source) if at == 0 || source.kind() == io::ErrorKind::AddrInUse => {
                return Err(StartError::Listen { address: address.to_string(), source });
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// The addresses for clients, with their ports: others are told of them before they are open.
#[derive(Debug)]
pub(crate) struct KafkaDoors {
    pub(crate) addresses: Vec<HostPort>,
    /// Free ports that were found, kept from others until they are opened.
    _held: Vec<Reserved>,
}

impl KafkaDoors {
    /// Looks for free ports where none are set.
    pub(crate) fn reserve(net: &dyn Net, settings: &LoadedSettings) -> Result<Self, StartError> {
        let (mut addresses, mut held) = (Vec::new(), Vec::new());
        for address in settings.settings().listen.kafka.iter() {
            let failed = |source| StartError::Listen { address: address.to_string(), source };
            let mut address = address.clone();
            if address.port == 0 {
                address.port = free_port(net, &listen_at(&address)?, &mut held).map_err(failed)?;
            }
            addresses.push(address);
        }
        Ok(Self { addresses, _held: held })
    }
}

/// A port that is free wherever it is to be listened on.
fn free_port(net: &dyn Net, listen: &Listen, held: &mut Vec<Reserved>) -> io::Result<u16> {
    if let Listen::At(address) = listen {
        let reserved = net.reserve(*address)?;
        let port = reserved.address.port();
        held.push(reserved);
        return Ok(port);
    }
    let mut taken = Vec::new();
    for _ in 0..PORT_ATTEMPTS {
        let reserved = net.reserve((Ipv4Addr::LOCALHOST, 0).into())?;
        let port = reserved.address.port();
        match net.reserve((Ipv6Addr::LOCALHOST, port).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken.push(reserved),
            // A machine without IPv6 is served on IPv4.
            other => {
                held.push(reserved);
                held.extend(other.ok());
                return Ok(port);
            }
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Serves Kafka clients.
pub(crate) fn serve_kafka(
    settings: &LoadedSettings,
    doors: KafkaDoors,
    reactors: &Reactors,
    context: &Arc<Context>,
) -> Result<Server, StartError> {
    let mut listen = Vec::new();
    for address in &doors.addresses {
        listen.push(listen_at(address)?);
    }
    let limits = &settings.settings().limits;
    let (connections_max, connections_per_ip_max) = connection_limits(limits);
    let connection = ConnectionSettings {
        frame_bytes_max: limits.request.as_usize(),
        idle_max: limits.idle,
        frame_deadline: limits.frame_timeout,
        ..ConnectionSettings::default()
    };
    let server = ServerSettings {
        connections_max,
        connections_per_ip_max,
        connection,
        ..ServerSettings::default()
    };
    let front = Arc::new(Front { context: Arc::clone(context) });
    Server::start(reactors, &listen, server, &front).map_err(StartError::Serve)
}

/// Connections that are taken, in all and from one address.
pub(crate) fn connection_limits(limits: &LimitSettings) -> (usize, usize) {
    let count = |number: std::num::NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
    let all = count(limits.connections);
    (all, limits.connections_per_ip.map_or(all, count))
}

fn listen_at(address: &HostPort) -> Result<Listen, StartError> {
    match address.host.as_str() {
        "localhost" => Ok(Listen::Localhost(address.port)),
        "" => Ok(Listen::At(SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port)))),
        _ => resolve(address).map(Listen::At),
    }
}

/// The first address of a host name.
fn resolve(address: &HostPort) -> Result<SocketAddr, StartError> {
    let failed = |source| StartError::Listen { address: address.to_string(), source };
    let mut found = (address.host.as_str(), address.port).to_socket_addrs().map_err(failed)?;
    found.next().ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))
}

/// The HTTP port, while it is open.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) addresses: Vec<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Http {
    /// Lets answers under way finish, for as long as the settings say.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "the HTTP port failed");
            }
        }
    }
}

/// Serves health and metrics on all addresses that are set, if any are.
pub(crate) fn serve_http(
    settings: &LoadedSettings,
    context: &Arc<Context>,
    raft: &Raft,
    reactors: &Reactors,
) -> Result<Http, StartError> {
    let page: Arc<dyn jocko_admin::Probe> =
        Arc::new(Page::new(Arc::clone(context), raft.clone(), reactors.meter()));
    let company: Arc<dyn jocko_admin::Company> = Arc::new(Knowledge(Arc::clone(context)));
    let grace = settings.settings().node.shutdown_grace;
    serve_pages(settings, (&page, &company), grace)
}

/// The same addresses for a broker that is not part of its cluster yet: it lives, and says what it
/// waits for.
pub(crate) fn serve_lobby(
    settings: &LoadedSettings,
    waiting: &Waiting,
) -> Result<Http, StartError> {
    let lobby = Arc::new(Lobby(waiting.clone()));
    let page: Arc<dyn jocko_admin::Probe> = Arc::<Lobby>::clone(&lobby);
    let company: Arc<dyn jocko_admin::Company> = lobby;
    serve_pages(settings, (&page, &company), LOBBY_GRACE)
}

/// What is told before there is anything to tell.
struct Lobby(Waiting);

impl jocko_admin::Probe for Lobby {
    fn unready(&self) -> Vec<String> {
        vec![self.0.words()]
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
}

impl jocko_admin::Company for Lobby {
    fn members(&self) -> String {
        company::seen(self.0.discovery())
    }

    fn events(&self) -> String {
        company::events(self.0.discovery())
    }

    fn transfer_leader(&self, _to: Option<i32>, _only_ask: bool) -> jocko_admin::Answering {
        let words = format!("this broker is not part of a cluster yet: {}", self.0.words());
        Box::pin(async move { Err(words) })
    }
}

fn serve_pages(
    settings: &LoadedSettings,
    (page, company): (&Arc<dyn jocko_admin::Probe>, &Arc<dyn jocko_admin::Company>),
    grace: Duration,
) -> Result<Http, StartError> {
    let (stop, stopped) = watch::channel(false);
    let mut http = Http { addresses: Vec::new(), tasks: Vec::new(), stop };
    let limits = jocko_admin::Limits { grace, ..jocko_admin::Limits::default() };
    let wanted = settings.settings().listen.http.iter().flat_map(|all| all.iter());
    for address in wanted {
        let failed = |source| StartError::Listen { address: address.to_string(), source };
        let mut bound = 0;
        for candidate in http_addrs(address)? {
            let listener = match bind(candidate) {
                Ok(listener) => listener,
                // A machine without IPv6 still has the other loopback.
                Err(error) if bound > 0 && error.kind() != io::ErrorKind::AddrInUse => continue,
                Err(error) => return Err(failed(error)),
            };
            bound += 1;
            http.addresses.push(listener.local_addr().map_err(failed)?);
            let mut stopped = stopped.clone();
            let stopping = async move {
                // The sender is only dropped when all is over.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            http.tasks.push(spawn(jocko_admin::serve(
                listener,
                (Arc::clone(page), Arc::clone(company)),
                limits.clone(),
                stopping,
            )));
        }
    }
    Ok(http)
}

/// All addresses that one of HTTP means.
fn http_addrs(address: &HostPort) -> Result<Vec<SocketAddr>, StartError> {
    match address.literal_addrs() {
        none if none.is_empty() => resolve(address).map(|one| vec![one]),
        some => Ok(some),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

#[cfg(test)]
mod tests {
    use super::first_twice;

    #[test]
    fn an_address_named_twice_is_found() {
        for (addresses, expect) in [
            (vec!["127.0.0.1:1", "[::1]:1", "127.0.0.1:2"], None),
            (vec!["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:1"], Some("127.0.0.1:1")),
            (vec!["127.0.0.1:0", "127.0.0.1:0"], None),
        ] {
            let mut parsed: Vec<_> =
                addresses.iter().map(|one| one.parse().expect("an address")).collect();
            let found = first_twice(&mut parsed).map(|one| one.to_string());
            assert_eq!(found.as_deref(), expect, "{addresses:?}");
        }
    }
}
