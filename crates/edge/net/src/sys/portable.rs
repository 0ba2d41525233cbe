//! Everywhere else: files are read in chunks and written like other bytes, and the congestion
//! control stays the system's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

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
