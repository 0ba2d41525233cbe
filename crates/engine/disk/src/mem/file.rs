//! An open file of the in-memory disk.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::Shared;
use super::state::Ino;
use crate::{File, Result};

#[derive(Debug)]
pub(super) struct MemFile {
    shared: Shared,
    ino: Ino,
    path: PathBuf,
    writable: bool,
}

impl MemFile {
    pub(super) fn new(shared: Shared, ino: Ino, path: PathBuf, writable: bool) -> Self {
        Self { shared, ino, path, writable }
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.shared.state().close(self.ino);
    }
}

impl File for MemFile {
    fn path(&self) -> &PathBuf {
        &self.path
    }

    fn size(&self) -> Result<u64> {
        self.shared.state().size(self.ino, &self.path)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> Result<usize> {
        self.shared.state().read(self.ino, &self.path, buf, position)
    }

    fn read_resident_at(&self, buf: &mut [u8], position: u64) -> Result<Option<usize>> {
        self.shared.state().read_resident(self.ino, &self.path, buf, position)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> Result<()> {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let mut state = self.shared.state();
        state.must_be_writable("write", &self.path, self.writable)?;
        state.write(self.ino, &self.path, bytes, position)
    }

    fn set_size(&self, size: u64) -> Result<()> {
        let mut state = self.shared.state();
        state.must_be_writable("set size", &self.path, self.writable)?;
        state.set_size(self.ino, &self.path, size)
    }

    fn reserve(&self, size: u64) -> Result<()> {
        let mut state = self.shared.state();
        state.must_be_writable("reserve", &self.path, self.writable)?;
        state.reserve(self.ino, &self.path, size)
    }

    fn sync_data(&self) -> Result<()> {
        self.shared.state().sync_data(self.ino, &self.path)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
