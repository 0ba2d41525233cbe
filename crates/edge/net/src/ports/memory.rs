//! The Net port in memory: a network inside one process, for simulation and tests.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;

use super::net::{BoxListener, BoxStream, Connect, Listener, Net, SocketOptions};
use stream::MemoryStream;

mod stream;

/// Bytes in flight per direction of a connection, as a socket buffer would hold.
const BUFFER_BYTES: usize = 256 * 1024;
/// Connections waiting to be accepted at most; more are refused.
const BACKLOG_MAX: usize = 1024;
/// The first port given for port 0, and to connecting sides.
const PORT_FIRST: u16 = 32_768;

/// A network in memory. Clones share it. Ordered maps and counters only: the same calls give the
/// same addresses.
#[derive(Debug, Clone, Default)]
pub struct MemoryNet {
    shared: Arc<Mutex<Shared>>,
}

type Arrival = (BoxStream, SocketAddr);

#[derive(Debug, Default)]
struct Shared {
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Arrival>>,
    ports_given: u16,
}

impl Shared {
    fn next_port(&mut self) -> u16 {
        let span = u16::MAX - PORT_FIRST;
        let port = PORT_FIRST + self.ports_given % span;
        self.ports_given = self.ports_given.wrapping_add(1);
        port
    }
}

impl MemoryNet {
    /// An empty network.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free_address(&self, wanted: SocketAddr) -> io::Result<SocketAddr> {
        let mut shared = self.lock();
        if wanted.port() != 0 {
            let taken = shared.listeners.get(&wanted).is_some_and(|l| !l.is_closed());
            return if taken { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(wanted) };
        }
        for _ in 0..u16::MAX - PORT_FIRST {
            let address = SocketAddr::new(wanted.ip(), shared.next_port());
            if !shared.listeners.contains_key(&address) {
                return Ok(address);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    fn dial(&self, address: SocketAddr) -> io::Result<BoxStream> {
        let mut shared = self.lock();
        let own = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), shared.next_port());
        let Some(listener) = shared.listeners.get(&address) else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (near, far) = MemoryStream::pair(BUFFER_BYTES);
        listener
            .try_send((Box::new(far), own))
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(Box::new(near))
    }
}

impl Net for MemoryNet {
    fn listen(&self, address: SocketAddr, _options: &SocketOptions) -> io::Result<BoxListener> {
        let address = self.free_address(address)?;
        let (sender, arrivals) = mpsc::channel(BACKLOG_MAX);
        self.lock().listeners.insert(address, sender);
        Ok(Box::new(MemoryListener { address, arrivals }))
    }

    fn connect(&self, address: SocketAddr, _options: &SocketOptions) -> Connect {
        let dialled = self.dial(address);
        Box::pin(async move { dialled })
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
