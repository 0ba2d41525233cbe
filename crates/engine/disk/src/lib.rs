//! The Disk port: everything the engine may ask of a file system, and nothing else.
//!
//! Two implementations stand behind it: real files, and an in-memory disk that can lose what was
//! not synced, tear writes, run full, fail, and flip bits. Code above this line cannot tell them
//! apart, which is how recovery is proven.
//!
//! Rules every implementation keeps, because the log relies on them:
//! - bytes written are visible to readers at once, and durable only after [`File::sync_data`]
//!   on that file (or [`Disk::sync_filesystem`]) has returned `Ok`;
//! - a created, renamed or removed name is durable only after [`Disk::sync_dir`] on its folder;
//! - a sync that failed says nothing about what is durable, and the next success does not mend it
//!   (callers latch: rule DR2 of docs/internals/commitlog.md).
//!
//! Entry points: [`RealDisk`] and [`MemDisk`] implement [`Disk`]; [`CrashPoints`] proves recovery;
//! [`write_atomically`] and [`Slots`] keep small state durably. docs/internals/disk.md tells more.

mod atomic;
mod checksum;
mod fault;
mod flush;
mod mem;
mod real;
mod slots;
mod watched;

#[cfg(test)]
mod conformance;

pub use atomic::{create_dir_durably, read_small, write_atomically};
pub use fault::{DiskFault, FaultKind};
pub use flush::{FLUSH_CROSSOVER, FlushPlan, FlushRound, Flushed};
pub use mem::{
    Aftermath, Covered, Crash, CrashPoints, Inject, MemDisk, Operation, Residency, Survivors, Tear,
};
pub use real::{RealDisk, WRITE_PIECE_BYTES_MAX};
pub use slots::{SLOT_PAYLOAD_BYTES_MAX, Slots, Stored};
pub use watched::{DiskErrors, WatchedDisk};

use std::fmt::Debug;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A shared handle to a disk.
pub type DiskRef = Arc<dyn Disk>;
/// A shared handle to an open file. Reads and positioned writes need no exclusive access.
pub type FileRef = Arc<dyn File>;
/// What disk calls return.
pub type Result<T> = std::result::Result<T, DiskFault>;

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// It must exist; no writes.
    Read,
    /// It must exist; reads and writes.
    Write,
    /// Created if missing; reads and writes; what it holds is kept.
    Create,
    /// It must not exist; reads and writes.
    CreateNew,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without the folder.
    pub name: String,
    /// Whether it is a folder itself.
    pub is_dir: bool,
    /// Its size in bytes; 0 for a folder.
    pub len: u64,
}

/// Room on the file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All there is.
    pub total: u64,
    /// What this process may still write.
    pub free: u64,
}

/// A file system. Paths are used as given; there is no working directory to depend on.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens or creates a file. A name that this creates is not durable until its folder is synced.
    fn open(&self, path: &Path, how: Open) -> Result<FileRef>;
    /// The names in a folder, sorted.
    fn list(&self, dir: &Path) -> Result<Vec<Entry>>;
    /// Whether something has this name.
    fn exists(&self, path: &Path) -> Result<bool>;
    /// Creates a folder and its missing parents; fine if it exists.
    fn create_dir_all(&self, dir: &Path) -> Result<()>;
    /// Renames a file or folder, replacing a file of that name atomically.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> Result<()>;
    /// Removes a folder and all it holds.
    fn remove_dir_all(&self, dir: &Path) -> Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> Result<()>;
    /// Makes everything on the file system that holds `dir` durable, in one call (`syncfs`).
    /// [`FaultKind::Unsupported`] where that would not report write errors.
    fn sync_filesystem(&self, dir: &Path) -> Result<()>;
    /// Room on the file system that holds `dir`.
    fn space(&self, dir: &Path) -> Result<Space>;
    /// Takes an exclusive lock on a file, creating it if missing, held until the value is dropped
    /// or the process dies. `None` if another process (or another caller) holds it.
    fn lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>>;
}

/// A held lock; dropping it lets go.
pub trait Lock: Debug + Send + Sync {}

/// An open file.
pub trait File: Debug + Send + Sync + 'static {
    /// The path it was opened with, for messages.
    fn path(&self) -> &PathBuf;
    /// Its size in bytes.
    fn size(&self) -> Result<u64>;
    /// Reads into `buf` from `position`; returns how many bytes, fewer than asked only at the end
    /// of the file. May block on the device.
    fn read_at(&self, buf: &mut [u8], position: u64) -> Result<usize>;
    /// As [`File::read_at`], but only from memory: `None` if it might block (`RWF_NOWAIT`; a file
    /// system that cannot tell counts as cold). May return fewer bytes than are resident.
    fn read_resident_at(&self, buf: &mut [u8], position: u64) -> Result<Option<usize>>;
    /// Writes all of `pieces`, one after the other, at `position`. After an error the file may
    /// hold any prefix of them.
    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> Result<()>;
    /// Cuts or extends (with zeroes) to `size` bytes.
    fn set_size(&self, size: u64) -> Result<()>;
    /// Reserves blocks for the first `size` bytes without changing the file's size.
    /// [`FaultKind::Unsupported`] where the file system cannot; room is then taken by writes only.
    fn reserve(&self, size: u64) -> Result<()>;
    /// Has the device begin with `len` bytes from `position` on, without waiting for it, so that a
    /// sync soon after has less to do. Promises nothing: what goes wrong is told by that sync.
    fn begin_writeback(&self, position: u64, len: u64) {
        let _ = (position, len);
    }
    /// Makes contents and size durable (`fdatasync`).
    fn sync_data(&self) -> Result<()>;
    /// The descriptor, for `sendfile`; `None` where there is none.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}
