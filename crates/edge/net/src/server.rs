//! Servers: listeners, limits on connections, and the way to stop.
//!
//! Each listening socket is accepted from by one reactor, which hands the connection to one of
//! all reactors and never sees it again (docs/decisions/0012-net.md says why not one socket per
//! reactor).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, watch};

use crate::connection::{Connection, End};
use crate::metrics::{self, CloseReason};
use crate::ports::{BoxListener, BoxStream, Net, spawn_local};
use crate::reactor::{Errand, Reactor, ReactorHandle, Reactors};
use crate::service::{Peer, Service};
use crate::settings::{ConnectionSettings, ServerSettings};
use crate::vitals::Vitals;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// 127.0.0.1 and ::1 (if there is one), on the same port.
    Localhost(u16),
    /// This address; `[::]` takes IPv4 as well.
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = io::Error;

    /// `localhost:9092`, `0.0.0.0:9092`, `[::]:9092`. Other host names are for the caller to look
    /// up.
    fn from_str(text: &str) -> io::Result<Self> {
        if let Some(port) = text.strip_prefix("localhost:")
            && let Ok(port) = port.parse()
        {
            return Ok(Self::Localhost(port));
        }
        text.parse().map(Self::At).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{text:?} is neither localhost:PORT nor ADDRESS:PORT"),
            )
        })
    }
}

/// How often a free port of IPv4 is sought that is free for IPv6 as well.
const PORT_ATTEMPTS: usize = 16;
/// How long accepting rests when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a peer that was closed on for a fault may take to read its last replies.
const LINGER: Duration = Duration::from_millis(500);
/// How much such a peer may still send meanwhile.
const LINGER_BYTES: usize = 1024 * 1024;

static NEXT_SERVER: AtomicU64 = AtomicU64::new(0);

/// What the parts of a server share.
struct Shared {
    id: u64,
    settings: ServerSettings,
    connection: Arc<ConnectionSettings>,
    reactors: Arc<[ReactorHandle]>,
    open: AtomicUsize,
    connections_max: AtomicUsize,
    connections_per_ip_max: AtomicUsize,
    /// For connections that reach their reactor after the word to stop went round.
    stopping: AtomicBool,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    closed: Notify,
    next: AtomicU64,
}

/// A running server. Dropping it closes its listeners and its connections at once; use
/// [`Server::stop`] to let requests finish.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    stopping: watch::Sender<bool>,
}

/// Sets the limits on connections of a running server.
#[derive(Clone)]
pub struct ConnectionLimits(Arc<Shared>);

impl ConnectionLimits {
    /// Takes at most so many connections from here on, in all and from one address. Those that are
    /// open stay.
    pub fn set(&self, connections_max: usize, connections_per_ip_max: usize) {
        self.0.connections_max.store(connections_max, Ordering::Relaxed);
        self.0.connections_per_ip_max.store(connections_per_ip_max, Ordering::Relaxed);
    }
}

impl fmt::Debug for ConnectionLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimits")
            .field("connections_max", &self.0.connections_max)
            .field("connections_per_ip_max", &self.0.connections_per_ip_max)
            .finish()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.shared.settings.name)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on all of `listen` and serves what comes on all reactors. Any thread.
    ///
    /// # Errors
    /// When an address cannot be bound (the message names it), or the reactors have ended.
    pub fn start<S: Service>(
        reactors: &Reactors,
        listen: &[Listen],
        settings: ServerSettings,
        service: &Arc<S>,
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for each in listen {
            bind(&*reactors.ports.net, *each, &settings, &mut listeners)?;
        }
        let addresses = listeners.iter().map(|each| each.address()).collect();
        // A frame that could never get its memory is better refused than left waiting for it.
        let memory = reactors.memory_bytes_max();
        let mut connection = settings.connection.clone();
        connection.frame_bytes_max = connection.frame_bytes_max.min(memory - memory / 4);
        let shared = Arc::new(Shared {
            id: NEXT_SERVER.fetch_add(1, Ordering::Relaxed),
            connection: Arc::new(connection),
            connections_max: AtomicUsize::new(settings.connections_max),
            connections_per_ip_max: AtomicUsize::new(settings.connections_per_ip_max),
            settings,
            reactors: Arc::clone(&reactors.handles),
            open: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            by_ip: Mutex::default(),
            closed: Notify::new(),
            next: AtomicU64::new(0),
        });
        let (stopping, stopped) = watch::channel(false);
        let server = Self { shared: Arc::clone(&shared), addresses, stopping };
        for (number, listener) in listeners.into_iter().enumerate() {
            let (shared, service) = (Arc::clone(&shared), Arc::clone(service));
            let stopped = stopped.clone();
            let handle = &shared.reactors[number % shared.reactors.len()].clone();
            let errand: Errand = Box::new(move |reactor| {
                let reactor_here = reactor.clone();
                spawn_local(accept(listener, shared, service, reactor_here, stopped));
            });
            handle
                .errands
                .try_send(errand)
                .map_err(|_| io::Error::other("the reactors have ended"))?;
        }
        Ok(server)
    }

    /// The addresses it listens on, in the order asked for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// What sets the limits on connections while the server runs.
    #[must_use]
    pub fn limits(&self) -> ConnectionLimits {
        ConnectionLimits(Arc::clone(&self.shared))
    }

    /// Stops: takes no more connections and requests, lets those in flight finish for at most
    /// `deadline`, then closes what is left. Requests that wait for news are given up at once.
    pub async fn stop(self, deadline: Duration) {
        self.shared.stopping.store(true, Ordering::Release);
        self.stopping.send_replace(true);
        self.shared.each_connection(Vitals::stop).await;
        if tokio::time::timeout(deadline, self.shared.all_closed()).await.is_err() {
            self.shared.each_connection(|vitals| vitals.end(CloseReason::Stopped)).await;
            // A reactor that is stuck must not hold the stop up for ever.
            let _ = tokio::time::timeout(deadline, self.shared.all_closed()).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.stopping.send_replace(true);
        let id = self.shared.id;
        for reactor in self.shared.reactors.iter() {
            // A full queue means the reactor is stuck or gone; its end closes everything.
            let _ = reactor.errands.try_send(Box::new(move |reactor| {
                reactor.local.table.each(id, |vitals| vitals.end(CloseReason::Stopped));
            }));
        }
    }
}

fn bind(
    net: &dyn Net,
    listen: Listen,
    settings: &ServerSettings,
    listeners: &mut Vec<BoxListener>,
) -> io::Result<()> {
    let port = match listen {
        Listen::At(address) => {
            listeners.push(net.listen(address, &settings.socket)?);
            return Ok(());
        }
        Listen::Localhost(port) => port,
    };
    for attempt in 1.. {
        let v4 = net.listen((Ipv4Addr::LOCALHOST, port).into(), &settings.socket)?;
        let same = SocketAddr::from((Ipv6Addr::LOCALHOST, v4.address().port()));
        match net.listen(same, &settings.socket) {
            Ok(v6) => listeners.extend([v4, v6]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if port == 0 && attempt < PORT_ATTEMPTS {
                    continue;
                }
                return Err(error);
            }
            Err(error) => {
                // A machine without IPv6 is served on IPv4.
                tracing::debug!(%error, "no IPv6 loopback");
                listeners.push(v4);
            }
        }
        return Ok(());
    }
    Ok(())
}

impl Shared {
    /// Calls `f` for every connection of this server, on its reactor.
    async fn each_connection(&self, f: fn(&Vitals)) {
        let id = self.id;
        for reactor in self.reactors.iter() {
            let errand: Errand = Box::new(move |reactor| reactor.local.table.each(id, f));
            // A reactor that has ended has no connections.
            let _ = reactor.errands.send(errand).await;
        }
    }

    async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            closed.await;
        }
    }

    /// A place for a connection from `ip`, if the limits leave one.
    fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        let mut by_ip = self.by_ip.lock().unwrap_or_else(PoisonError::into_inner);
        if self.open.load(Ordering::Acquire) >= self.connections_max.load(Ordering::Relaxed) {
            return None;
        }
        let count = by_ip.entry(ip).or_insert(0);
        if *count >= self.connections_per_ip_max.load(Ordering::Relaxed) {
            return None;
        }
        *count += 1;
        self.open.fetch_add(1, Ordering::AcqRel);
        Some(Place { shared: Arc::clone(self), ip })
    }

    /// The reactor for the next connection: of two drawn, the less busy one. Strict turns would
    /// put every client's second connection, the one that carries its data, on the same reactor.
    fn choose(&self) -> &ReactorHandle {
        let draw = scramble(self.next.fetch_add(1, Ordering::Relaxed));
        let count = self.reactors.len() as u64;
        let one = draw % count;
        let other = (one + 1 + (draw >> 32) % (count - 1).max(1)) % count;
        let [one, other] = [one, other].map(|at| &self.reactors[at as usize]);
        let busy = |reactor: &ReactorHandle| {
            let open = reactor.counters.open.load(Ordering::Relaxed);
            (reactor.load.load(Ordering::Relaxed), open)
        };
        let ((load, open), (other_load, other_open)) = (busy(one), busy(other));
        if other_load < load || (other_load == load && other_open + 1 < open) { other } else { one }
    }
}

/// A number that looks random and is the same in every run (the finaliser of splitmix64).
fn scramble(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The place of one open connection within the limits.
struct Place {
    shared: Arc<Shared>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut by_ip = self.shared.by_ip.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = by_ip.get_mut(&self.ip) {
                *count -= 1;
                if *count == 0 {
                    by_ip.remove(&self.ip);
                }
            }
        }
        if self.shared.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.closed.notify_waiters();
        }
    }
}

async fn accept<S: Service>(
    mut listener: BoxListener,
    shared: Arc<Shared>,
    service: Arc<S>,
    reactor: Reactor,
    mut stopped: watch::Receiver<bool>,
) {
    let address = listener.address();
    let mut starved = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            accepted = std::future::poll_fn(|cx| listener.poll_accept(cx)) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                starved = false;
                let Some(place) = shared.admit(peer.ip()) else {
                    metrics::add(&reactor.counters().refused, 1);
                    tracing::debug!(%peer, "connection refused, too many");
                    continue;
                };
                let local = stream.local_address().unwrap_or(address);
                let peer = Peer { address: peer, listener: address, local };
                hand_over(&shared, &service, stream, peer, place).await;
            }
            Err(error) if is_starved(&error) => {
                metrics::add(&reactor.counters().accept_pauses, 1);
                if !starved {
                    tracing::warn!(%address, %error, "accepting pauses");
                }
                starved = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                tracing::debug!(%address, %error, "listener closed");
                return;
            }
            // The peer gave up before it was accepted, or the like: the next one may do better.
            Err(error) => {
                tracing::debug!(%address, %error, "accepting failed");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Whether the process or the system is out of descriptors or memory.
fn is_starved(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let starving = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    starving.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Gives a connection to the reactor that will own it. Waits while that reactor's queue is full,
/// which holds back further accepting.
async fn hand_over<S: Service>(
    shared: &Arc<Shared>,
    service: &Arc<S>,
    stream: BoxStream,
    peer: Peer,
    place: Place,
) {
    let service = Arc::clone(service);
    let handle = shared.choose();
    metrics::add(&handle.counters.opened, 1);
    metrics::add(&handle.counters.open, 1);
    let errand: Errand = Box::new(move |reactor| {
        spawn_local(serve(service, stream, peer, place, reactor.clone()));
    });
    if handle.errands.send(errand).await.is_err() {
        handle.counters.count_close(CloseReason::Stopped);
    }
}

/// Takes what a connection left in its reactor's table with it, also when its task is dropped.
struct Registered {
    vitals: Rc<Vitals>,
    reactor: Reactor,
    reason: CloseReason,
    _place: Place,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.reactor.local.table.remove(&self.vitals);
        self.reactor.counters().count_close(self.reason);
    }
}

async fn serve<S: Service>(
    service: Arc<S>,
    stream: BoxStream,
    peer: Peer,
    place: Place,
    reactor: Reactor,
) {
    let shared = Arc::clone(&place.shared);
    let vitals = Rc::new(Vitals::new(shared.id, Arc::clone(&shared.connection), reactor.now()));
    vitals.stopping.set(shared.stopping.load(Ordering::Acquire));
    reactor.local.table.insert(&vitals);
    reactor.joined();
    let mut registered = Registered {
        vitals: Rc::clone(&vitals),
        reactor: reactor.clone(),
        reason: CloseReason::Stopped,
        _place: place,
    };
    let run = async {
        let mut connection = Connection::new(service, stream, &peer, &reactor, &vitals);
        let end = std::future::poll_fn(|cx| connection.poll(cx)).await;
        let faulty = matches!(end.reason, CloseReason::FrameSize | CloseReason::Service);
        let owes = faulty && connection.wrote;
        (end, owes.then_some(connection.stream))
    };
    // A panic leaves nothing behind that others see: what the connection owns dies with it.
    let (end, stream) = match AssertUnwindSafe(run).catch_unwind().await {
        Ok(ended) => ended,
        Err(panic) => (End::new(CloseReason::Panicked, panic_text(&*panic)), None),
    };
    registered.reason = end.reason;
    report(&shared, &peer, &end);
    if let Some(stream) = stream {
        let _ = tokio::time::timeout(LINGER, linger(stream)).await;
    }
}

fn report(shared: &Shared, peer: &Peer, end: &End) {
    let (server, reason) = (shared.settings.name.as_str(), end.reason.name());
    let (peer, detail) = (peer.address, &*end.detail);
    if end.reason == CloseReason::Panicked {
        tracing::error!(server, %peer, reason, detail, "connection closed");
    } else {
        tracing::debug!(server, %peer, reason, detail, "connection closed");
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panicked".to_owned())
}

/// Closes a connection whose peer may still be sending: closing at once would answer that with a
/// reset, which can destroy replies the peer has not read yet.
async fn linger(mut stream: BoxStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut discarded = 0;
    let mut buffer = [0; 4096];
    while let Ok(bytes) = stream.read(&mut buffer).await {
        discarded += bytes;
        if bytes == 0 || discarded > LINGER_BYTES {
            return;
        }
    }
}
