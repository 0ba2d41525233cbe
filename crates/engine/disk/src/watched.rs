//! A disk whose errors are noted, whoever met them: one broken file is the sign of a broken disk.

use crate::{Disk, DiskFault, DiskRef, Entry, FaultKind, File, FileRef, Lock, Open, Result, Space};
use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// What the system says when the device, or the file system on it, is at fault, and not the caller
/// or a limit of the process.
const DEVICE: [Errno; 7] = [
    Errno::IO,
    Errno::ROFS,
    Errno::NODEV,
    Errno::NXIO,
    Errno::STALE,
    Errno::UCLEAN,
    Errno::REMOTEIO,
];

/// The first error of a disk that says that it cannot be relied on. It stays for as long as the
/// process: what it wrote before may be gone, and only a start finds out.
#[derive(Debug, Clone, Default)]
pub struct DiskErrors(Arc<OnceLock<Box<str>>>);

impl DiskErrors {
    /// The first error, with operation and path, if there was one.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.0.get().map(AsRef::as_ref)
    }

    fn note(&self, fault: &DiskFault) {
        // One is enough; later ones may follow from it.
        self.0.get_or_init(|| fault.to_string().into_boxed_str());
    }

    /// Passes on what came of a read or of a change of names.
    fn seen<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|fault| {
            if is_of_device(fault) {
                self.note(fault);
            }
        })
    }

    /// Passes on what came of a write or a sync: after any error but a want of room nobody knows
    /// what the file holds.
    fn written<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|fault| {
            if fault.kind() == FaultKind::Other && !fault.is_corruption() {
                self.note(fault);
            }
        })
    }

    /// As [`DiskErrors::written`]: a sync that finds no room has lost what it should have kept.
    fn synced<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|fault| {
            if matches!(fault.kind(), FaultKind::Other | FaultKind::NoSpace) {
                self.note(fault);
            }
        })
    }
}

fn is_of_device(fault: &DiskFault) -> bool {
    match fault.source.raw_os_error() {
        Some(code) => DEVICE.iter().any(|errno| errno.raw_os_error() == code),
        // A simulated disk.
        None => fault.source.kind() == io::ErrorKind::Other,
    }
}

/// A disk like the one within, whose errors [`DiskErrors`] shows.
#[derive(Debug)]
pub struct WatchedDisk {
    inner: DiskRef,
    errors: DiskErrors,
}

impl WatchedDisk {
    /// `inner` under watch.
    #[must_use]
    pub fn shared(inner: DiskRef) -> (DiskRef, DiskErrors) {
        let errors = DiskErrors::default();
        (Arc::new(Self { inner, errors: errors.clone() }), errors)
    }
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, how: Open) -> Result<FileRef> {
        let inner = self.errors.seen(self.inner.open(path, how))?;
        Ok(Arc::new(WatchedFile { inner, errors: self.errors.clone() }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        self.errors.seen(self.inner.list(dir))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.errors.seen(self.inner.exists(path))
    }

    fn create_dir_all(&self, dir: &Path) -> Result<()> {
        self.errors.seen(self.inner.create_dir_all(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.errors.seen(self.inner.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.errors.seen(self.inner.remove_file(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<()> {
        self.errors.seen(self.inner.remove_dir_all(dir))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.errors.synced(self.inner.sync_dir(dir))
    }

    fn sync_filesystem(&self, dir: &Path) -> Result<()> {
        self.errors.synced(self.inner.sync_filesystem(dir))
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        self.inner.space(dir)
    }

    fn lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>> {
        self.inner.lock(path)
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: FileRef,
    errors: DiskErrors,
}

impl File for WatchedFile {
    fn path(&self) -> &PathBuf {
        self.inner.path()
    }

    fn size(&self) -> Result<u64> {
        self.errors.seen(self.inner.size())
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> Result<usize> {
        self.errors.seen(self.inner.read_at(buf, position))
    }

    fn read_resident_at(&self, buf: &mut [u8], position: u64) -> Result<Option<usize>> {
        self.errors.seen(self.inner.read_resident_at(buf, position))
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> Result<()> {
        self.errors.written(self.inner.write_at(pieces, position))
    }

    fn set_size(&self, size: u64) -> Result<()> {
        self.errors.written(self.inner.set_size(size))
    }

    fn reserve(&self, size: u64) -> Result<()> {
        self.errors.seen(self.inner.reserve(size))
    }

    fn begin_writeback(&self, position: u64, len: u64) {
        self.inner.begin_writeback(position, len);
    }

    fn sync_data(&self) -> Result<()> {
        self.errors.synced(self.inner.sync_data())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Inject, MemDisk, Operation};

    #[test]
    fn what_the_device_did_is_told_apart_from_what_others_did() {
        let fault = |source| DiskFault::new("read", Path::new("a"), source);
        let of_system = |errno: Errno| fault(io::Error::from_raw_os_error(errno.raw_os_error()));
        for errno in DEVICE {
            assert!(is_of_device(&of_system(errno)), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOENT, Errno::NOSPC, Errno::ACCESS] {
            assert!(!is_of_device(&of_system(errno)), "{errno}");
        }
        assert!(!is_of_device(&DiskFault::corrupt("read", Path::new("a"), "a flipped bit")));
    }

    #[test]
    fn the_first_error_stays() {
        let memory = MemDisk::with_dir("data");
        let (disk, errors) = WatchedDisk::shared(memory.shared());
        let path = Path::new("data/file");
        assert!(disk.open(path, Open::Read).is_err(), "it is not there, which is nobody's fault");
        let file = disk.open(path, Open::Create).unwrap();
        memory.inject(Inject::new(Operation::Reserve, path).no_space());
        assert!(file.reserve(1).is_err());
        assert_eq!(errors.first(), None);
        memory.inject(Inject::new(Operation::Sync, path));
        assert!(file.sync_data().is_err());
        memory.heal();
        file.sync_data().unwrap();
        let first = errors.first().unwrap();
        assert!(first.starts_with("sync data/file: "), "{first}");
    }
}
