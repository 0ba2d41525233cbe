//! Deliberate faults, and which reads find their bytes in memory.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

use super::dice::Dice;

/// A kind of call, for aiming a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening or creating a file, or locking one.
    Open,
    /// Reading, from memory or from the device.
    Read,
    /// Writing bytes.
    Write,
    /// Cutting or extending.
    SetSize,
    /// Reserving blocks.
    Reserve,
    /// Syncing a file. A whole file system fails to sync, too, if a file that has something to
    /// write back is aimed at.
    Sync,
    /// Syncing a folder.
    SyncDir,
    /// Syncing the file system.
    SyncFilesystem,
    /// Renaming; the path aimed at is the old name.
    Rename,
    /// Removing a file or folder.
    Remove,
    /// Creating a folder.
    CreateDir,
    /// Listing a folder or looking up a name.
    List,
}

/// A deliberate fault: which calls fail, how, and how often.
///
/// A failed sync loses what it should have made durable: programs still see the bytes, the next
/// sync succeeds, and the bytes never reach the medium. That is what kernels do. As on Linux, an
/// error is told once to the file that lost bytes and once to who syncs the file system.
#[derive(Debug, Clone)]
pub struct Inject {
    operation: Operation,
    path: PathBuf,
    skip: u64,
    times: u64,
    error: Error,
    keep_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
enum Error {
    Device,
    NoSpace,
    NoDescriptors,
}

impl Inject {
    /// Every `operation` on a path that contains `path` fails with an I/O error. `path` matches by
    /// whole components: `"t-0"` and `"t-0/0.log"` both match `/data/t-0/0.log`; the empty path
    /// matches all.
    #[must_use]
    pub fn new(operation: Operation, path: impl AsRef<Path>) -> Self {
        Self {
            operation,
            path: path.as_ref().to_owned(),
            skip: 0,
            times: u64::MAX,
            error: Error::Device,
            keep_bytes: 0,
        }
    }

    /// Lets the first `calls` matching calls pass.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Fails `calls` times and then no more.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.times = calls;
        self
    }

    /// Fails for want of room.
    #[must_use]
    pub fn no_space(mut self) -> Self {
        self.error = Error::NoSpace;
        self
    }

    /// Fails because the process has as many files open as it may.
    #[must_use]
    pub fn no_descriptors(mut self) -> Self {
        self.error = Error::NoDescriptors;
        self
    }

    /// A failing write leaves its first `bytes` bytes.
    #[must_use]
    pub fn keeping(mut self, bytes: usize) -> Self {
        self.keep_bytes = bytes;
        self
    }

    fn aims_at(&self, operation: Operation, path: &Path) -> bool {
        if self.operation != operation {
            return false;
        }
        let wanted: Vec<_> = self.path.components().collect();
        let given: Vec<_> = path.components().collect();
        wanted.is_empty() || given.windows(wanted.len()).any(|window| window == wanted)
    }

    /// Whether this call fails; counts it.
    fn strikes(&mut self, operation: Operation, path: &Path) -> bool {
        if !self.aims_at(operation, path) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.times == 0 {
            return false;
        }
        self.times -= 1;
        true
    }
}

/// What a struck call does.
#[derive(Debug)]
pub(super) struct Struck {
    pub(super) error: io::Error,
    pub(super) keep_bytes: usize,
}

/// The first fault that strikes this call. All that aim at it count it.
pub(super) fn strike(
    injections: &mut [Inject],
    operation: Operation,
    path: &Path,
) -> Option<Struck> {
    let mut struck = None;
    for inject in injections {
        if inject.strikes(operation, path) && struck.is_none() {
            let error = match inject.error {
                Error::Device => io::Error::other("input/output error (injected)"),
                Error::NoSpace => io::ErrorKind::StorageFull.into(),
                Error::NoDescriptors => Errno::MFILE.into(),
            };
            struck = Some(Struck { error, keep_bytes: inject.keep_bytes });
        }
    }
    struck
}

/// Which reads from memory find their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Residency {
    /// All, except in files that were cooled one by one.
    #[default]
    Hot,
    /// None, as where the file system cannot tell.
    Cold,
    /// By lot, the same for the same seed and calls: all, some leading bytes, or none.
    Seeded(u64),
}

/// Decides one read from memory of `wanted` bytes: how many are found, if any.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) residency: Residency,
    dice: Dice,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Residency::Hot)
    }
}

impl Memory {
    pub(super) fn new(residency: Residency) -> Self {
        let seed = if let Residency::Seeded(seed) = residency { seed } else { 0 };
        Self { residency, dice: Dice::new(seed) }
    }

    pub(super) fn found(&mut self, wanted: usize) -> Option<usize> {
        match self.residency {
            Residency::Hot => Some(wanted),
            Residency::Cold => None,
            Residency::Seeded(_) => match self.dice.below(3) {
                0 => Some(wanted),
                // At least one byte: none at all would read as the end of the file.
                1 if wanted > 1 => {
                    let some = 1 + self.dice.below(wanted as u64 - 1);
                    Some(usize::try_from(some).unwrap_or(wanted))
                }
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_the_calls_it_aims_at() {
        let mut faults = [Inject::new(Operation::Sync, "t-0").after(1).times(2)];
        let mut hits =
            |operation, path: &str| strike(&mut faults, operation, Path::new(path)).is_some();
        assert!(!hits(Operation::Write, "/d/t-0/a"));
        assert!(!hits(Operation::Sync, "/d/t-01/a"), "whole components only");
        assert!(!hits(Operation::Sync, "/d/t-0/a"), "the first is let pass");
        assert!(hits(Operation::Sync, "/d/t-0/a"));
        assert!(hits(Operation::Sync, "/d/t-0"));
        assert!(!hits(Operation::Sync, "/d/t-0"), "twice and no more");
    }
}
