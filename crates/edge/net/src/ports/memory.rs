//! The Net port in memory: a network of nodes inside one process, for simulation and tests.
//!
//! A node is an address; what happens to a connection follows from the two nodes at its ends and
//! from one seed. Streams lose no bytes, as TCP's do not: a lost packet shows as a delay, a cut
//! as silence until it is healed, and trouble beyond that as a broken connection. Time is tokio's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use super::net::{
    BoxListener, BoxStream, Connect, Listener, Net, Reserved, Resolve, SocketOptions,
};
use connection::{Connection, Ends};
pub use quality::LinkQuality;
use quality::Weather;
use stream::MemoryStream;

mod connection;
mod quality;
mod stream;
#[cfg(test)]
mod tests;

/// Connections waiting to be accepted at most; more are refused.
const BACKLOG_MAX: usize = 1024;
/// The first port given for port 0, and to connecting sides.
const PORT_FIRST: u16 = 32_768;
/// The node that a [`MemoryNet`] used as a Net of its own stands for.
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A network in memory. Clones share it. Ordered maps, counters and the seed only: the same calls
/// in the same order give the same run.
///
/// Used as a [`Net`] itself it is one node, 127.0.0.1, whose listeners may have any address;
/// [`MemoryNet::node`] makes others.
#[derive(Debug, Clone, Default)]
pub struct MemoryNet {
    shared: Arc<Shared>,
}

type Arrival = (BoxStream, SocketAddr);

#[derive(Debug, Default)]
struct Shared {
    fabric: Mutex<Fabric>,
    /// Something was healed.
    healed: Notify,
}

/// Bytes on their way, as a listener of [`MemoryNet::tap`] sees them.
#[derive(Debug, Clone, Copy)]
pub struct Passing<'a> {
    /// Who sends.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub bytes: &'a [u8],
}

type Tap = Box<dyn FnMut(Passing<'_>) + Send>;

/// All of the network's state.
#[derive(Default)]
struct Fabric {
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Arrival>>,
    names: BTreeMap<String, SocketAddr>,
    connections: BTreeMap<u64, Connection>,
    last_connection: u64,
    ports_given: u16,
    weather: Weather,
    /// Nothing passes from the first to the second.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    /// Nothing passes from or to these.
    isolated: BTreeSet<IpAddr>,
    tap: Option<Tap>,
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fabric")
            .field("listeners", &self.listeners.keys())
            .field("connections", &self.connections.len())
            .field("cuts", &self.cuts)
            .field("isolated", &self.isolated)
            .finish_non_exhaustive()
    }
}

impl Fabric {
    fn next_port(&mut self) -> u16 {
        let span = u16::MAX - PORT_FIRST;
        let port = PORT_FIRST + self.ports_given % span;
        self.ports_given = self.ports_given.wrapping_add(1);
        port
    }

    fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        from != to
            && (self.cuts.contains(&(from, to))
                || self.isolated.contains(&from)
                || self.isolated.contains(&to))
    }

    /// Applies a change of cuts to what is under way.
    fn change_cuts(&mut self, change: impl FnOnce(&mut Self)) {
        let before: BTreeMap<u64, [bool; 2]> =
            self.connections.iter().map(|(id, it)| (*id, self.cuts_of(it.ends))).collect();
        change(self);
        let ids: Vec<_> = before.into_iter().collect();
        for (id, [there_before, back_before]) in ids {
            let Some(mut connection) = self.connections.remove(&id) else { continue };
            let [there, back] = self.cuts_of(connection.ends);
            connection.recut(0, there_before, there, &mut self.weather);
            connection.recut(1, back_before, back, &mut self.weather);
            self.connections.insert(id, connection);
        }
    }

    /// Whether a connection's two directions are cut.
    fn cuts_of(&self, ends: Ends) -> [bool; 2] {
        let [dialler, acceptor] = ends.map(|end| end.ip());
        [self.is_cut(dialler, acceptor), self.is_cut(acceptor, dialler)]
    }
}

impl MemoryNet {
    /// An empty network, without delays until told otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty network whose chance follows from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let net = Self::default();
        net.lock().weather.seed(seed);
        net
    }

    /// The network as the node at `address` uses it: its connections come from there, and it
    /// listens there, also where it says "any" or "loopback".
    #[must_use]
    pub fn node(&self, address: IpAddr) -> MemoryNode {
        MemoryNode { net: self.clone(), address }
    }

    /// Makes `host:port` resolve to `address`.
    pub fn name(&self, name: impl Into<String>, address: SocketAddr) {
        self.lock().names.insert(name.into(), address);
    }

    /// How good the connections between different nodes are.
    pub fn set_quality(&self, quality: LinkQuality) {
        self.lock().weather.set_default(quality);
    }

    /// How good the way from one node to another is, in place of what all others have.
    pub fn set_quality_between(&self, from: IpAddr, to: IpAddr, quality: LinkQuality) {
        self.lock().weather.set_between(from, to, quality);
    }

    /// Cuts the way from one node to another: bytes stall, new connections hang, either until it
    /// is healed. What goes the other way still arrives, as far as the sender's buffer lasts,
    /// since nobody hears it acknowledged.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        self.lock().change_cuts(|fabric| {
            fabric.cuts.insert((from, to));
        });
    }

    /// Cuts both ways between two nodes.
    pub fn cut_both(&self, one: IpAddr, other: IpAddr) {
        self.lock().change_cuts(|fabric| fabric.cuts.extend([(one, other), (other, one)]));
    }

    /// Cuts a node off from all others, those to come included.
    pub fn isolate(&self, node: IpAddr) {
        self.lock().change_cuts(|fabric| {
            fabric.isolated.insert(node);
        });
    }

    /// Undoes the cut from one node to another.
    pub fn heal_between(&self, from: IpAddr, to: IpAddr) {
        self.lock().change_cuts(|fabric| {
            fabric.cuts.remove(&(from, to));
        });
        self.shared.healed.notify_waiters();
    }

    /// Undoes [`MemoryNet::isolate`].
    pub fn rejoin(&self, node: IpAddr) {
        self.lock().change_cuts(|fabric| {
            fabric.isolated.remove(&node);
        });
        self.shared.healed.notify_waiters();
    }

    /// Undoes every cut. What stalled goes on.
    pub fn heal(&self) {
        self.lock().change_cuts(|fabric| {
            fabric.cuts.clear();
            fabric.isolated.clear();
        });
        self.shared.healed.notify_waiters();
    }

    /// Resets every connection between two nodes, as a router between them would.
    pub fn reset_between(&self, one: IpAddr, other: IpAddr) {
        self.lock().each_connection(|connection, weather| {
            if connection.joins(one, other) {
                connection.reset(weather);
            }
        });
    }

    /// A node's process dies: its listeners are gone, its connections broken. Its peers see a
    /// reset, unless the way to them is cut: then once it is healed. To let a machine vanish
    /// without a word, isolate it first.
    pub fn kill(&self, node: IpAddr) {
        let mut fabric = self.lock();
        let gone: Vec<_> =
            fabric.listeners.keys().filter(|address| address.ip() == node).copied().collect();
        let gone: Vec<_> = gone.iter().map(|address| fabric.listeners.remove(address)).collect();
        let cuts: BTreeMap<u64, [bool; 2]> =
            fabric.connections.iter().map(|(id, it)| (*id, fabric.cuts_of(it.ends))).collect();
        for (id, cuts) in cuts {
            let Fabric { connections, weather, .. } = &mut *fabric;
            if let Some(connection) = connections.get_mut(&id) {
                connection.kill(node, cuts, weather);
            }
        }
        drop(fabric);
        // Whoever waits for a connection there is woken by this, outside the lock.
        drop(gone);
    }

    /// Calls `tap` for all bytes that are sent, in order. It must not use the network.
    pub fn tap(&self, tap: impl FnMut(Passing<'_>) + Send + 'static) {
        self.lock().tap = Some(Box::new(tap));
    }

    fn lock(&self) -> MutexGuard<'_, Fabric> {
        self.shared.fabric.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free_address(&self, wanted: SocketAddr) -> io::Result<SocketAddr> {
        let mut fabric = self.lock();
        if wanted.port() != 0 {
            let taken = fabric.listeners.get(&wanted).is_some_and(|l| !l.is_closed());
            return if taken { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(wanted) };
        }
        for _ in 0..u16::MAX - PORT_FIRST {
            let address = SocketAddr::new(wanted.ip(), fabric.next_port());
            if !fabric.listeners.contains_key(&address) {
                return Ok(address);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    fn listen_at(&self, address: SocketAddr) -> io::Result<BoxListener> {
        let address = self.free_address(address)?;
        let (sender, arrivals) = mpsc::channel(BACKLOG_MAX);
        self.lock().listeners.insert(address, sender);
        Ok(Box::new(MemoryListener { address, arrivals }))
    }

    async fn dial(self, from: IpAddr, to: SocketAddr) -> io::Result<BoxStream> {
        loop {
            let healed = self.shared.healed.notified();
            // A round trip, drawn before it is known whether it succeeds.
            let (is_cut, trip) = {
                let mut fabric = self.lock();
                let is_cut = fabric.is_cut(from, to.ip()) || fabric.is_cut(to.ip(), from);
                let there = fabric.weather.draw_delay(from, to.ip());
                let back = fabric.weather.draw_delay(to.ip(), from);
                (is_cut, there + back)
            };
            if is_cut {
                healed.await;
                continue;
            }
            if !trip.is_zero() {
                sleep(trip).await;
            }
            return self.join(from, to);
        }
    }

    fn join(&self, from: IpAddr, to: SocketAddr) -> io::Result<BoxStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let (listener, near, far, own) = {
            let mut fabric = self.lock();
            let own = SocketAddr::new(from, fabric.next_port());
            let listener = fabric.listeners.get(&to).cloned().ok_or_else(refused)?;
            fabric.last_connection += 1;
            let id = fabric.last_connection;
            fabric.connections.insert(id, Connection::new([own, to]));
            let near = MemoryStream::new(self.clone(), id, 0, own);
            let far = MemoryStream::new(self.clone(), id, 1, to);
            (listener, near, far, own)
        };
        // A stream that is refused is dropped here, which takes the lock.
        listener.try_send((Box::new(far), own)).map_err(|_| refused())?;
        Ok(Box::new(near))
    }

    fn resolve_name(&self, address: &str) -> Resolve {
        let known = self.lock().names.get(address).copied();
        let found = known.map_or_else(|| address.parse(), Ok).map(|address| vec![address]);
        Box::pin(async { found.map_err(|e| io::Error::new(io::ErrorKind::NotFound, e)) })
    }
}

impl Fabric {
    fn each_connection(&mut self, mut act: impl FnMut(&mut Connection, &mut Weather)) {
        for connection in self.connections.values_mut() {
            act(connection, &mut self.weather);
        }
    }
}

impl Net for MemoryNet {
    fn listen(&self, address: SocketAddr, _options: &SocketOptions) -> io::Result<BoxListener> {
        self.listen_at(address)
    }

    fn connect(&self, address: SocketAddr, _options: &SocketOptions) -> Connect {
        Box::pin(self.clone().dial(LOCALHOST, address))
    }

    fn reserve(&self, address: SocketAddr) -> io::Result<Reserved> {
        Ok(Reserved::new(self.free_address(address)?, ()))
    }

    fn resolve(&self, address: &str) -> Resolve {
        self.resolve_name(address)
    }
}

/// A [`MemoryNet`] as one of its nodes uses it.
#[derive(Debug, Clone)]
pub struct MemoryNode {
    net: MemoryNet,
    address: IpAddr,
}

impl MemoryNode {
    /// The node's own interface where "any" or "loopback" is meant.
    fn localise(&self, address: SocketAddr) -> SocketAddr {
        let ip = address.ip();
        let is_own = ip.is_unspecified() || ip.is_loopback();
        if is_own { SocketAddr::new(self.address, address.port()) } else { address }
    }

    /// The same, where only the node's own interface will do.
    fn own(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let address = self.localise(address);
        let is_own = address.ip() == self.address;
        if is_own { Ok(address) } else { Err(io::ErrorKind::AddrNotAvailable.into()) }
    }
}

impl Net for MemoryNode {
    fn listen(&self, address: SocketAddr, _options: &SocketOptions) -> io::Result<BoxListener> {
        self.net.listen_at(self.own(address)?)
    }

    fn connect(&self, address: SocketAddr, _options: &SocketOptions) -> Connect {
        Box::pin(self.net.clone().dial(self.address, self.localise(address)))
    }

    fn reserve(&self, address: SocketAddr) -> io::Result<Reserved> {
        Ok(Reserved::new(self.net.free_address(self.own(address)?)?, ()))
    }

    fn resolve(&self, address: &str) -> Resolve {
        self.net.resolve_name(address)
    }
}

#[derive(Debug)]
struct MemoryListener {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Listener for MemoryListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(BoxStream, SocketAddr)>> {
        match ready!(self.arrivals.poll_recv(cx)) {
            Some(arrival) => Poll::Ready(Ok(arrival)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

/// No time at all.
const AT_ONCE: Duration = Duration::ZERO;
