//! The same functions as `linux.rs`, with the standard library alone: for other systems, and on
//! Linux under the feature `portable`, which is how they are tested.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

/// Nothing here can tell memory from disk, so every read counts as cold.
pub(super) fn read_resident(_: &File, _: &mut [u8], _: u64) -> io::Result<Option<usize>> {
    Ok(None)
}

/// One write of the first piece that holds bytes, possibly short.
pub(super) fn write_some(file: &File, pieces: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
    match pieces.iter().find(|piece| !piece.is_empty()) {
        Some(piece) => file.write_at(piece, position),
        None => Ok(0),
    }
}

/// No portable call reserves blocks.
pub(super) fn reserve(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// No portable call begins a sync without waiting for it.
pub(super) fn begin_writeback(_: &File, _: u64, _: u64) {}

/// No portable call syncs a file system and reports errors.
pub(super) fn sync_filesystem(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
