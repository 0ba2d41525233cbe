//! A disk in memory that tells the truth about durability, for tests and simulation.
//!
//! It keeps two pictures of everything: what programs see, and what the medium holds. Bytes move
//! from the first to the second only by a sync, names only by a sync of their folder. A
//! [`Crash`] builds the disk that a restarted machine would find: after a killed process all that
//! programs saw; after a power cut what was synced, plus any part of what was not, in any order
//! the [`Survivors`] choose.
//!
//! What file systems with a journal promise is kept: a rename happens or does not; a shrink that
//! was lost takes the later bytes beyond it along; synced bytes do not change by themselves
//! (unless a test flips one). What they do not promise is not: a new name without a synced folder,
//! size and bytes that belong together, one write staying whole.
//!
//! It has no clock and no randomness of its own: the same calls give the same disk. Calls with a
//! deliberate fault fail by [`Inject`]; running out of power at the n-th change is
//! [`MemDisk::power_off_after`], and [`CrashPoints`] walks through every such n.

mod content;
mod crash;
mod dice;
mod file;
mod inject;
mod points;
mod state;
mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crash::{Crash, Survivors, Tear};
pub use inject::{Inject, Operation, Residency};
pub use points::{Aftermath, Covered, CrashPoints};

use crate::{Disk, DiskFault, DiskRef, Entry, FileRef, Lock, Open, Result, Space};
use state::State;

/// The in-memory disk. Clones share it; [`MemDisk::crash`] yields a new one and kills this.
#[derive(Debug, Clone, Default)]
pub struct MemDisk {
    shared: Shared,
}

/// The state that a disk, its files and its locks share.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl std::fmt::Debug for Shared {
    /// Not the contents: disks stand inside many things that are printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("in memory")
    }
}

impl Shared {
    fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// A panic in a test that holds the lock is reported by the test; the state is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemDisk {
    /// An empty disk without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty disk on which the folder `dir` exists and is durable.
    ///
    /// # Panics
    /// If `dir` is not a usable path; this is for tests.
    #[must_use]
    pub fn with_dir(dir: impl AsRef<Path>) -> Self {
        let disk = Self::new();
        disk.create_dir_all(dir.as_ref()).expect("an empty disk takes a folder");
        disk.write_back();
        disk.shared.state().operations = 0;
        disk
    }

    /// This disk behind the port.
    #[must_use]
    pub fn shared(&self) -> DiskRef {
        Arc::new(self.clone())
    }

    /// An independent copy: same contents, same un-synced changes, no open files, no locks and no
    /// faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.aftermath(Crash::Process)
    }

    /// The disk found after `how`, leaving this one as it is: one run can be judged under many
    /// crashes. Capacity, cold files and the lack of `syncfs` carry over, deliberate faults and
    /// power limits do not.
    #[must_use]
    pub fn aftermath(&self, how: Crash) -> Self {
        Self { shared: Shared::new(crash::after(&self.shared.state(), how)) }
    }

    /// Crashes: the disk found afterwards. Every later call on this one, and on its open files,
    /// fails.
    #[must_use]
    pub fn crash(&self, how: Crash) -> Self {
        let after = self.aftermath(how);
        self.shared.state().power.cut = true;
        after
    }

    /// The changes made so far: every successful or failed call that would alter the disk or make
    /// it durable counts one (a created name, a write, a size, a rename, a removal, a sync).
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.shared.state().operations
    }

    /// How many of [`MemDisk::operations`] were syncs, of a file, a folder or the file system: what
    /// a real device takes its time for.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared.state().syncs
    }

    /// The changes made so far that no sync has covered.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.shared.state().unsynced()
    }

    /// Cuts the power after `operations` more changes: the next one, and every call after it,
    /// fails. If that next one is a write, a crash may still find a part of it.
    pub fn power_off_after(&self, operations: u64) {
        self.shared.state().power.left = Some(operations);
    }

    /// Whether the power limit was reached, or the disk crashed.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.shared.state().power.cut
    }

    /// Sets the room on the disk in bytes (blocks of 4 KiB are handed out), `None` for no limit.
    /// Room comes back when files are removed and closed, cut, or when the limit is raised.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.state().capacity = bytes;
    }

    /// Makes calls fail from now on; see [`Inject`].
    pub fn inject(&self, inject: Inject) {
        self.shared.state().injections.push(inject);
    }

    /// Ends all deliberate faults. What they destroyed stays destroyed.
    pub fn heal(&self) {
        self.shared.state().injections.clear();
    }

    /// Flips one bit (0 is the lowest) of a byte of a file, in memory and on the medium.
    ///
    /// # Errors
    /// If there is no such file, or it ends before `position`.
    pub fn flip_bit(&self, path: impl AsRef<Path>, position: u64, bit: u8) -> Result<()> {
        self.shared.state().flip_bit(path.as_ref(), position, bit)
    }

    /// Which reads find their bytes in memory.
    pub fn set_residency(&self, residency: Residency) {
        self.shared.state().set_residency(residency);
    }

    /// Makes one file cold: reads from memory find nothing until a blocking read has warmed it.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn cool(&self, path: impl AsRef<Path>) -> Result<()> {
        self.shared.state().cool(path.as_ref())
    }

    /// Whether [`Disk::sync_filesystem`] works here; it does unless this says otherwise.
    pub fn set_syncfs_supported(&self, supported: bool) {
        self.shared.state().syncfs_supported = supported;
    }

    /// Writes everything back, as the kernel does in the course of time, without a sync call.
    pub fn write_back(&self) {
        self.shared.state().write_back();
    }

    /// Forgets what is in memory only because a failed sync left it there: programs then see what
    /// the medium holds, plus what a later sync can still save. Kernels do this when memory runs
    /// short.
    pub fn drop_caches(&self) {
        self.shared.state().drop_caches();
    }

    /// The bytes of a file as programs see them, for assertions; `None` if there is no such file.
    /// Works after a power cut, too.
    #[must_use]
    pub fn contents(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.shared.state().contents(path.as_ref())
    }

    /// Every file as programs see it, by path, in order: for comparing whole disks.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.shared.state().files()
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &Path, how: Open) -> Result<FileRef> {
        let ino = self.shared.state().open(path, how)?;
        let writable = how != Open::Read;
        Ok(Arc::new(file::MemFile::new(self.shared.clone(), ino, path.to_owned(), writable)))
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        self.shared.state().list(dir)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.shared.state().exists(path)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<()> {
        self.shared.state().create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.shared.state().rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.shared.state().remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<()> {
        self.shared.state().remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.shared.state().sync_dir(dir)
    }

    fn sync_filesystem(&self, dir: &Path) -> Result<()> {
        self.shared.state().sync_filesystem(dir)
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        self.shared.state().space(dir)
    }

    fn lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>> {
        let Some(ino) = self.shared.state().lock(path)? else { return Ok(None) };
        Ok(Some(Box::new(MemLock { shared: self.shared.clone(), ino })))
    }
}

/// A lock on a file of the in-memory disk.
#[derive(Debug)]
struct MemLock {
    shared: Shared,
    ino: state::Ino,
}

impl Lock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.shared.state().unlock(self.ino);
    }
}

/// A fault as the operating system would word it.
fn fault(operation: &'static str, path: &Path, kind: std::io::ErrorKind) -> DiskFault {
    DiskFault::new(operation, path, kind.into())
}
