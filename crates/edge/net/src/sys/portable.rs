//! Everywhere else: files are read in chunks and written like other bytes, and the congestion
//! control stays the system's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use memmap2::MmapMut;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Files pass through this process.
pub(crate) const SENDS_FILES: bool = false;

/// Not available; nobody asks, given [`SENDS_FILES`].
pub(crate) fn send_file(
    _socket: impl AsFd,
    _file: BorrowedFd<'_>,
    _position: u64,
    _len: usize,
) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not available; only asked for in front of [`send_file`].
pub(crate) fn send_more(_socket: impl AsFd, _bytes: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Does nothing: the congestion control stays the system's.
pub(crate) fn set_congestion(_socket: impl AsFd, _name: &str) -> io::Result<()> {
    Ok(())
}

/// How often a socket with unread bytes is asked whether its peer has left.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Waits until the peer of `socket` sends no more, unread bytes or not.
pub(crate) async fn hung_up(socket: &TcpStream) -> io::Result<()> {
    // Told at once while bytes wait; asking costs no system call.
    while !socket.ready(Interest::READABLE).await?.is_read_closed() {
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    Ok(())
}

/// Does nothing: page sizes stay the system's choice.
pub(crate) fn keep_pages_small(_map: &MmapMut) {}
