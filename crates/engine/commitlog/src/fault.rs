//! What can go wrong with a log on disk, and where.

use jocko_disk::DiskFault;
use jocko_types::{Offset, TopicId};
use std::path::PathBuf;
use std::sync::Arc;

/// A log that cannot do what was asked because of what its disk holds or says. Expected answers
/// (out of range, duplicate, no room) are outcomes, not faults.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogFault {
    /// A disk call failed.
    #[error(transparent)]
    Disk(Arc<DiskFault>),
    /// Bytes that were durable are not what was written. The log must be set aside and, where
    /// there are replicas, fetched anew (DR6).
    #[error("{}: damaged at byte {position}, offset {offset}: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// The offset that was expected there.
        offset: Offset,
        /// What is wrong.
        reason: String,
    },
    /// An earlier write or sync failed, so nothing more is written until the log is opened anew
    /// (DR2). Reads still work.
    #[error("{}: closed to writes: {reason}", path.display())]
    Latched {
        /// The log's folder.
        path: PathBuf,
        /// The first failure.
        reason: Arc<str>,
    },
    /// The folder belongs to another topic of the same name: set it aside, never delete it (DR5).
    #[error("{}: holds topic id {found}, expected {expected}", path.display())]
    ForeignTopic {
        /// The folder.
        path: PathBuf,
        /// The id the cluster's metadata gives.
        expected: TopicId,
        /// The id in the folder's `partition.metadata`.
        found: TopicId,
    },
}

impl LogFault {
    /// Whether only descriptors were wanting: what was asked for was not begun.
    #[must_use]
    pub fn is_want_of_descriptors(&self) -> bool {
        matches!(self, Self::Disk(fault) if fault.is_want_of_descriptors())
    }

    /// Whether the disk was full, or a quota used up: it passes.
    #[must_use]
    pub fn is_want_of_room(&self) -> bool {
        matches!(self, Self::Disk(fault) if fault.kind() == jocko_disk::FaultKind::NoSpace)
    }
}

impl From<DiskFault> for LogFault {
    fn from(fault: DiskFault) -> Self {
        Self::Disk(Arc::new(fault))
    }
}

/// What engine calls return.
pub type Result<T> = std::result::Result<T, LogFault>;
