//! The Net port over TCP.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::net::{
    BoxListener, BoxStream, Congestion, Connect, Listener, Net, Reserved, Resolve, SocketOptions,
    Stream,
};
use crate::sys;

/// TCP sockets of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpNet;

impl Net for TcpNet {
    fn listen(&self, address: SocketAddr, options: &SocketOptions) -> io::Result<BoxListener> {
        let listener = bind(address, options)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}")))?;
        Ok(Box::new(listener))
    }

    fn connect(&self, address: SocketAddr, options: &SocketOptions) -> Connect {
        let options = options.clone();
        Box::pin(async move {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            set_buffers(&socket, &options)?;
            set_congestion(&socket, &options.congestion, address);
            let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
            let stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(TcpStream::Joined(Joined::Tokio(stream))) as BoxStream)
        })
    }

    fn reserve(&self, address: SocketAddr) -> io::Result<Reserved> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // As listeners have it: connections of an earlier run that linger are no hindrance.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Reserved::new(bound, socket))
    }

    fn resolve(&self, address: &str) -> Resolve {
        let address = address.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host(address).await?.collect()) })
    }
}

fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if let SocketAddr::V6(v6) = address {
        // `[::]` serves both families; any other v6 address itself alone, so that 127.0.0.1 and
        // ::1 can be bound side by side.
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    // Accepted sockets inherit all of these, so nothing is set per connection.
    set_buffers(&socket, options)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    set_congestion(&socket, &options.congestion, address);
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    let listener = std::net::TcpListener::from(socket);
    Ok(TcpListener {
        address: listener.local_addr()?,
        // Loopback peers of a listener on another address get it one by one.
        loopback_congestion: options.congestion == Congestion::Auto && !address.ip().is_loopback(),
        listener: Joined::Std(listener),
    })
}

fn set_buffers(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}

/// What `Auto` asks for towards loopback peers.
const LOOPBACK_CONGESTION: &str = "cubic";

/// A kernel without the wanted algorithm still serves: this tunes, it does not decide.
fn set_congestion(socket: &Socket, congestion: &Congestion, address: SocketAddr) {
    let name = match congestion {
        Congestion::System => return,
        Congestion::Auto if !address.ip().to_canonical().is_loopback() => return,
        Congestion::Auto => LOOPBACK_CONGESTION,
        Congestion::Named(name) => name,
    };
    if let Err(error) = sys::set_congestion(socket, name) {
        tracing::debug!(%address, name, %error, "congestion control not set");
    }
}

/// A socket joins a runtime when it is first polled, so that it may be made on one thread and
/// live on another.
#[derive(Debug)]
enum Joined<Std, Tokio> {
    Std(Std),
    Tokio(Tokio),
    /// Joining failed; the error has been returned once.
    Lost,
}

impl<Std, Tokio: TryFrom<Std, Error = io::Error>> Joined<Std, Tokio> {
    fn get(&mut self) -> io::Result<&mut Tokio> {
        if matches!(self, Self::Std(_))
            && let Self::Std(raw) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Tokio(Tokio::try_from(raw)?);
        }
        match self {
            Self::Tokio(joined) => Ok(joined),
            Self::Std(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[derive(Debug)]
struct TcpListener {
    address: SocketAddr,
    loopback_congestion: bool,
    listener: Joined<std::net::TcpListener, tokio::net::TcpListener>,
}

impl Listener for TcpListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(BoxStream, SocketAddr)>> {
        let listener = self.listener.get()?;
        let (stream, peer) = ready!(listener.poll_accept(cx))?;
        let socket = Socket::from(stream.into_std()?);
        if self.loopback_congestion {
            set_congestion(&socket, &Congestion::Auto, peer);
        }
        let stream = TcpStream::Joined(Joined::Std(socket.into()));
        Poll::Ready(Ok((Box::new(stream), peer)))
    }
}

enum TcpStream {
    Joined(Joined<std::net::TcpStream, tokio::net::TcpStream>),
    /// Nobody reads or writes, and the peer's end is watched. The watch must outlive the polls
    /// of it, so it shares the socket; whoever reads or writes ends it first.
    Watched(Arc<tokio::net::TcpStream>, BoxFuture<'static, io::Result<()>>),
}

impl TcpStream {
    /// The socket, to be read or written.
    fn get(&mut self) -> io::Result<&mut tokio::net::TcpStream> {
        if let Self::Watched(..) = self
            && let Self::Watched(socket, watch) =
                std::mem::replace(self, Self::Joined(Joined::Lost))
        {
            drop(watch);
            let socket = Arc::into_inner(socket).expect("only the watch shared it");
            *self = Self::Joined(Joined::Tokio(socket));
        }
        match self {
            Self::Joined(joined) => joined.get(),
            Self::Watched(..) => unreachable!("the watch has just ended"),
        }
    }

    /// The socket as it is now.
    fn peek(&self) -> Option<&tokio::net::TcpStream> {
        match self {
            Self::Joined(Joined::Tokio(socket)) => Some(socket),
            Self::Watched(socket, _) => Some(socket),
            Self::Joined(_) => None,
        }
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(&self.peek()).finish()
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.get()?).poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get()?).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get()?).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get()?).poll_shutdown(cx)
    }
}

impl Stream for TcpStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get()?.poll_read_ready(cx)
    }

    fn poll_hang_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Self::Joined(joined) = self {
            joined.get()?;
            let Self::Joined(Joined::Tokio(socket)) =
                std::mem::replace(self, Self::Joined(Joined::Lost))
            else {
                unreachable!("it has just joined");
            };
            let socket = Arc::new(socket);
            let watched = Arc::clone(&socket);
            let watch = Box::pin(async move { sys::hung_up(&watched).await });
            *self = Self::Watched(socket, watch);
        }
        let Self::Watched(_, watch) = self else { unreachable!("it is watched now") };
        ready!(watch.as_mut().poll(cx))?;
        // A finished watch must not be polled again.
        let socket = self.get()?;
        if let Some(error) = socket.take_error()? {
            return Poll::Ready(Err(error));
        }
        let unread = rustix::io::ioctl_fionread(socket)?;
        Poll::Ready(Ok(usize::try_from(unread).unwrap_or(usize::MAX)))
    }

    fn local_address(&self) -> Option<SocketAddr> {
        if let Self::Joined(Joined::Std(stream)) = self {
            return stream.local_addr().ok();
        }
        self.peek().and_then(|stream| stream.local_addr().ok())
    }

    fn sends_files(&self) -> bool {
        sys::SENDS_FILES
    }

    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        position: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, |socket| sys::send_file(socket, file, position, len))
    }

    fn poll_write_more(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, |socket| sys::send_more(socket, bytes))
    }
}

impl TcpStream {
    fn poll_io(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&tokio::net::TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let socket = self.get()?;
        loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, || call(socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}
