//! What went wrong on a disk, where, and doing what.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// A failed disk call: the operation, the path and the operating system's word.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}: {source}", path.display())]
pub struct DiskFault {
    /// What was tried, as a verb: `open`, `write`, `sync`.
    pub operation: &'static str,
    /// On which path.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The kinds of fault that callers treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing has that name.
    NotFound,
    /// The name exists already.
    AlreadyExists,
    /// No room, a quota that is used up, or no descriptors left. Passing: they can come back.
    NoSpace,
    /// The call is not available here.
    Unsupported,
    /// Anything else. The file must not be trusted any more (DR2).
    Other,
}

impl DiskFault {
    /// Wraps an error of the operating system.
    #[must_use]
    pub fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source }
    }

    /// Bytes that are not what was written there.
    #[must_use]
    pub fn corrupt(operation: &'static str, path: &Path, words: impl Into<String>) -> Self {
        Self::new(operation, path, io::Error::new(io::ErrorKind::InvalidData, words.into()))
    }

    /// Whether the bytes were read well but are not what was written there.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        self.source.kind() == io::ErrorKind::InvalidData
    }

    /// Whether the process, or the whole system, has as many files open as it may.
    #[must_use]
    pub fn is_want_of_descriptors(&self) -> bool {
        let is = |errno: Errno| self.source.raw_os_error() == Some(errno.raw_os_error());
        is(Errno::MFILE) || is(Errno::NFILE)
    }

    /// What kind of fault this is.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        if self.is_want_of_descriptors() {
            return FaultKind::NoSpace;
        }
        match self.source.kind() {
            io::ErrorKind::NotFound => FaultKind::NotFound,
            io::ErrorKind::AlreadyExists => FaultKind::AlreadyExists,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => FaultKind::NoSpace,
            io::ErrorKind::Unsupported => FaultKind::Unsupported,
            _ => FaultKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_passes_and_an_error_does_not() {
        let kind = |errno: Errno| {
            let source = io::Error::from_raw_os_error(errno.raw_os_error());
            DiskFault::new("open", Path::new("a"), source).kind()
        };
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::MFILE, Errno::NFILE] {
            assert_eq!(kind(errno), FaultKind::NoSpace, "{errno}");
        }
        for errno in [Errno::IO, Errno::ROFS, Errno::BADF] {
            assert_eq!(kind(errno), FaultKind::Other, "{errno}");
        }
    }
}
