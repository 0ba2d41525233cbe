//! Linux: `sendfile`, `MSG_MORE` and `TCP_CONGESTION`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use memmap2::{Advice, MmapMut};
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Files go to sockets without passing through this process.
pub(crate) const SENDS_FILES: bool = true;

/// Sends up to `len` bytes of `file` from `position`; 0 at the end of the file.
pub(crate) fn send_file(
    socket: impl AsFd,
    file: BorrowedFd<'_>,
    position: u64,
    len: usize,
) -> io::Result<usize> {
    let mut position = position;
    Ok(rustix::fs::sendfile(socket, file, Some(&mut position), len)?)
}

/// Sends `bytes`, saying that more follows at once.
pub(crate) fn send_more(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // Rust ignores SIGPIPE at start, but a library user's process may not.
    Ok(rustix::net::send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}

/// Chooses the congestion control of a socket by its name.
pub(crate) fn set_congestion(socket: impl AsFd, name: &str) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_tcp_congestion(socket, name)?)
}

/// Waits until the peer of `socket` sends no more, unread bytes or not.
pub(crate) async fn hung_up(socket: &TcpStream) -> io::Result<()> {
    // Readability would be told at once while bytes wait. What is urgent is told with the same
    // event as the end of the stream, and never comes otherwise: nobody registers for it.
    while !socket.ready(Interest::PRIORITY).await?.is_read_closed() {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Asks that a touched page brings no others into memory with it, as huge pages would.
pub(crate) fn keep_pages_small(map: &MmapMut) {
    // A kernel without huge pages refuses and needs no asking.
    let _ = map.advise(Advice::NoHugePage);
}
