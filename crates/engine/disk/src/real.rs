//! Real files. What only Linux can do stands in [`system`]; everything else is the standard
//! library.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[path = "real/linux.rs"]
mod system;
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
#[path = "real/portable.rs"]
mod system;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Disk, DiskFault, DiskRef, Entry, File, FileRef, Lock, Open, Result, Space};

/// How often a folder is tried again that cannot be synced for want of a descriptor.
const DESCRIPTOR_RETRY: Duration = Duration::from_millis(20);

/// The most bytes handed to the kernel in one write call. Larger writes hold the inode lock for
/// long and leave the processor cache; 128 KiB was the best piece measured.
pub const WRITE_PIECE_BYTES_MAX: usize = 128 * 1024;
/// The most pieces in one vectored call: `IOV_MAX` on every system we know.
const WRITE_PIECES_MAX: usize = 1024;

/// The operating system's files.
#[derive(Debug, Default)]
pub struct RealDisk {
    /// Folders by which whole file systems are synced, kept open for good: the kernel reports a
    /// write error to a descriptor only if it was opened before the error was seen by another.
    sync_roots: Mutex<BTreeMap<PathBuf, Arc<fs::File>>>,
}

impl RealDisk {
    /// The disk of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk of this machine, behind the port.
    #[must_use]
    pub fn shared() -> DiskRef {
        Arc::new(Self::new())
    }

    fn sync_root(&self, dir: &Path) -> io::Result<Arc<fs::File>> {
        let mut roots = self.sync_roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = roots.get(dir) {
            return Ok(Arc::clone(root));
        }
        let root = Arc::new(fs::File::open(dir)?);
        roots.insert(dir.to_owned(), Arc::clone(&root));
        Ok(root)
    }
}

fn at<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DiskFault + 'a {
    move |source| DiskFault::new(operation, path, source)
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> Result<FileRef> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => &mut options,
            Open::Write => options.write(true),
            Open::Create => options.write(true).create(true).truncate(false),
            Open::CreateNew => options.write(true).create_new(true),
        };
        let file = options.open(path).map_err(at("open", path))?;
        // A folder opens for reading; saying so here beats a puzzling fault at the first read.
        if how == Open::Read && file.metadata().map_err(at("open", path))?.is_dir() {
            return Err(DiskFault::new("open", path, io::ErrorKind::IsADirectory.into()));
        }
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for found in fs::read_dir(dir).map_err(at("list", dir))? {
            let found = found.map_err(at("list", dir))?;
            let metadata = match fs::metadata(found.path()) {
                Ok(metadata) => metadata,
                // Removed since the folder was read, or a link to nothing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(DiskFault::new("list", &found.path(), error)),
            };
            entries.push(Entry {
                name: found.file_name().to_string_lossy().into_owned(),
                is_dir: metadata.is_dir(),
                len: if metadata.is_dir() { 0 } else { metadata.len() },
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        fs::exists(path).map_err(at("look up", path))
    }

    fn create_dir_all(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).map_err(at("create folder", dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(at("rename", from))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(at("remove", path))
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<()> {
        fs::remove_dir_all(dir).map_err(at("remove folder", dir))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let folder = loop {
            match fs::File::open(dir).map_err(at("open folder", dir)) {
                // Nothing is lost yet, and a sync takes as long as it takes.
                Err(fault) if fault.is_want_of_descriptors() => {
                    std::thread::park_timeout(DESCRIPTOR_RETRY);
                }
                opened => break opened?,
            }
        };
        folder.sync_all().map_err(at("sync folder", dir))
    }

    fn sync_filesystem(&self, dir: &Path) -> Result<()> {
        let root = self.sync_root(dir).map_err(at("open folder", dir))?;
        system::sync_filesystem(&root).map_err(at("sync file system", dir))
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        let stat = rustix::fs::statvfs(dir)
            .map_err(|errno| DiskFault::new("measure", dir, errno.into()))?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(at("lock", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock { _file: file }))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(DiskFault::new("lock", path, error)),
        }
    }
}

/// A lock that the kernel drops with the descriptor (`flock`).
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl Lock for RealLock {}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl RealFile {
    fn fault(&self, operation: &'static str) -> impl FnOnce(io::Error) -> DiskFault + '_ {
        at(operation, &self.path)
    }
}

impl File for RealFile {
    fn path(&self) -> &PathBuf {
        &self.path
    }

    fn size(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(self.fault("measure"))?.len())
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskFault::new("read", &self.path, error)),
            }
        }
        Ok(done)
    }

    fn read_resident_at(&self, buf: &mut [u8], position: u64) -> Result<Option<usize>> {
        if buf.is_empty() {
            return Ok(Some(0));
        }
        system::read_resident(&self.file, buf, position).map_err(self.fault("read"))
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> Result<()> {
        write_pieces(pieces, position, |batch, at| system::write_some(&self.file, batch, at))
            .map_err(self.fault("write"))
    }

    fn set_size(&self, size: u64) -> Result<()> {
        self.file.set_len(size).map_err(self.fault("set size"))
    }

    fn reserve(&self, size: u64) -> Result<()> {
        if size == 0 {
            return Ok(());
        }
        system::reserve(&self.file, size).map_err(self.fault("reserve"))
    }

    fn begin_writeback(&self, position: u64, len: u64) {
        system::begin_writeback(&self.file, position, len);
    }

    fn sync_data(&self) -> Result<()> {
        self.file.sync_data().map_err(self.fault("sync"))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// Writes all of `pieces` through `write_some`, which may write less than it is given: batches of
/// at most [`WRITE_PIECE_BYTES_MAX`] bytes and [`WRITE_PIECES_MAX`] pieces.
fn write_pieces(
    pieces: &[IoSlice<'_>],
    mut position: u64,
    mut write_some: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut current = 0;
    let mut skip = 0;
    let mut batch: Vec<IoSlice<'_>> = Vec::with_capacity(pieces.len().min(WRITE_PIECES_MAX));
    loop {
        while pieces.get(current).is_some_and(|piece| skip >= piece.len()) {
            current += 1;
            skip = 0;
        }
        batch.clear();
        let mut room = WRITE_PIECE_BYTES_MAX;
        let mut start = skip;
        for piece in pieces.iter().skip(current).take(WRITE_PIECES_MAX) {
            let rest = &piece[start..];
            start = 0;
            let step = rest.len().min(room);
            batch.push(IoSlice::new(&rest[..step]));
            room -= step;
            if room == 0 {
                break;
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        match write_some(&batch, position) {
            Ok(0) if batch.iter().any(|piece| !piece.is_empty()) => {
                return Err(io::ErrorKind::WriteZero.into());
            }
            Ok(written) => {
                position = position
                    .checked_add(written as u64)
                    .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
                (current, skip) = advance(pieces, current, skip, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The place `written` bytes behind byte `skip` of piece `current`.
fn advance(
    pieces: &[IoSlice<'_>],
    mut current: usize,
    mut skip: usize,
    mut written: usize,
) -> (usize, usize) {
    while let Some(piece) = pieces.get(current) {
        let rest = piece.len() - skip;
        if written < rest {
            return (current, skip + written);
        }
        written -= rest;
        current += 1;
        skip = 0;
    }
    (current, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(pieces: &[&[u8]], short: usize) -> (Vec<u8>, usize) {
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut out = Vec::new();
        let mut calls = 0;
        write_pieces(&slices, 7, |batch, at| {
            assert_eq!(at, 7 + out.len() as u64);
            let total: usize = batch.iter().map(|piece| piece.len()).sum();
            assert!(total <= WRITE_PIECE_BYTES_MAX && batch.len() <= WRITE_PIECES_MAX);
            calls += 1;
            if calls % 3 == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let bytes: Vec<u8> = batch.iter().flat_map(|piece| piece.iter().copied()).collect();
            let count = bytes.len().min(short);
            out.extend_from_slice(&bytes[..count]);
            Ok(count)
        })
        .unwrap();
        (out, calls)
    }

    #[test]
    fn every_byte_is_written_once_in_order_however_short_the_writes() {
        let big: Vec<u8> = (0..300_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let cases: &[&[&[u8]]] = &[
            &[],
            &[b""],
            &[b"", b"a", b"", b"bc", b""],
            &[b"head", &big, b"", b"tail"],
            &[&big, &big],
        ];
        for pieces in cases {
            let expected: Vec<u8> = pieces.concat();
            for short in [7919, 65_536, usize::MAX] {
                assert_eq!(gather(pieces, short).0, expected);
            }
        }
    }

    #[test]
    fn many_tiny_pieces_go_out_in_legal_batches() {
        let pieces = vec![&b"x"[..]; 3000];
        let (out, calls) = gather(&pieces, usize::MAX);
        assert_eq!(out.len(), 3000);
        assert_eq!(calls, 4, "1024 + 1024 + interrupted + 952");
    }

    #[test]
    fn a_write_that_makes_no_progress_is_a_fault() {
        let error = write_pieces(&[IoSlice::new(b"x")], 0, |_, _| Ok(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
