//! What went wrong on a disk, where, and doing what.

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
    /// No room, or a quota is used up. Passing: room can come back.
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

    /// What kind of fault this is.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
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
