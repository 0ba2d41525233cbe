//! The Net port: listening, connecting, and the streams both yield.

use std::fmt::{self, Debug};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A shared network.
pub type NetRef = Arc<dyn Net>;
/// A listener of some network.
pub type BoxListener = Box<dyn Listener>;
/// A connection of some network.
pub type BoxStream = Box<dyn Stream>;
/// What [`Net::connect`] returns.
pub type Connect = BoxFuture<'static, io::Result<BoxStream>>;
/// What [`Net::resolve`] returns.
pub type Resolve = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// A network: sockets in production, memory in simulation.
pub trait Net: Debug + Send + Sync + 'static {
    /// Binds and listens. Port 0 picks a free port, told by [`Listener::address`]. Needs no
    /// runtime: a listener joins the runtime that first polls it.
    ///
    /// # Errors
    /// The system's, with the address in the message.
    fn listen(&self, address: SocketAddr, options: &SocketOptions) -> io::Result<BoxListener>;

    /// Connects to `address`. The future must run on the thread that will use the stream.
    fn connect(&self, address: SocketAddr, options: &SocketOptions) -> Connect;

    /// Takes `address` for [`Net::listen`] to come: nobody else gets it as long as the value lives,
    /// and nobody can connect before it is listened on. Port 0 picks a free port.
    ///
    /// # Errors
    /// The system's: it could not be listened on.
    fn reserve(&self, address: SocketAddr) -> io::Result<Reserved>;

    /// The addresses behind `host:port`, in the order in which they are to be tried. A network
    /// without names knows only literal addresses.
    fn resolve(&self, address: &str) -> Resolve {
        let parsed = address.parse().map(|address| vec![address]);
        Box::pin(async { parsed.map_err(|e| io::Error::new(io::ErrorKind::NotFound, e)) })
    }
}

/// An address that is taken, and not listened on yet.
pub struct Reserved {
    /// Which, with its port.
    pub address: SocketAddr,
    /// What keeps it from others.
    _held: Box<dyn Send + Sync>,
}

impl Reserved {
    /// An address, and what holds it until it is dropped.
    #[must_use]
    pub fn new(address: SocketAddr, held: impl Send + Sync + 'static) -> Self {
        Self { address, _held: Box::new(held) }
    }
}

impl Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reserved").field(&self.address).finish()
    }
}

/// Takes connections.
pub trait Listener: Debug + Send + 'static {
    /// The address it is bound to.
    fn address(&self) -> SocketAddr;

    /// The next connection and its peer. The stream may be sent to another thread as long as it
    /// has not been polled: it joins the runtime that first polls it.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(BoxStream, SocketAddr)>>;
}

/// A connection: any byte stream, with what sockets can do better as optional extras.
pub trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static {
    /// Ready when a read would probably not wait. Lets a reader allocate only when bytes are
    /// there; a stream that cannot tell says ready.
    fn poll_readable(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer sends no more than what waits here to be read: how many bytes that is.
    /// Notices a peer that leaves without reading what it sent before. An error says that the
    /// connection is broken; a stream that cannot tell is never ready.
    fn poll_hang_up(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    /// This end's address, where the network has such; asked before the stream is first polled.
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }

    /// Whether [`Stream::poll_send_file`] works.
    fn sends_files(&self) -> bool {
        false
    }

    /// Sends up to `len` bytes of a file from `position` without copying them through this
    /// process (`sendfile`); returns how many, 0 at the end of the file.
    fn poll_send_file(
        &mut self,
        _cx: &mut Context<'_>,
        _file: BorrowedFd<'_>,
        _position: u64,
        _len: usize,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// As `poll_write`, telling the kernel that more follows at once (`MSG_MORE`), so that a
    /// header does not leave in a packet of its own.
    fn poll_write_more(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::pin::Pin::new(self).poll_write(cx, bytes)
    }
}

impl Stream for tokio::io::DuplexStream {}

/// Which congestion control a listener's connections use. BBR, the default of some systems, cuts
/// loopback streaming to a third or a fifth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Congestion {
    /// Cubic towards loopback peers, the system's choice otherwise.
    #[default]
    Auto,
    /// The system's choice.
    System,
    /// This one, by the kernel's name.
    Named(String),
}

/// How sockets are set up. `TCP_NODELAY` is always on: replies leave whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// Congestion control.
    pub congestion: Congestion,
    /// `SO_SNDBUF` in bytes; `None` leaves the system's auto-tuning on.
    pub send_buffer_bytes: Option<usize>,
    /// `SO_RCVBUF` in bytes; `None` leaves the system's auto-tuning on.
    pub receive_buffer_bytes: Option<usize>,
    /// Connections the kernel may hold before they are accepted.
    pub backlog: u32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            congestion: Congestion::Auto,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            backlog: 1024,
        }
    }
}
