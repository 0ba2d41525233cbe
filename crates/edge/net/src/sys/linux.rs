//! Linux: `sendfile`, `MSG_MORE` and `TCP_CONGESTION`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::SendFlags;

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
