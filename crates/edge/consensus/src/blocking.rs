//! Work that waits for the disk, done on the worker.

use jocko_disk::DiskFault;
use jocko_net::ports::{SpawnRef, run_on};
use std::io;

/// Runs `work` on the worker and waits for what it returns.
///
/// # Errors
/// If the worker stopped or the work panicked.
pub(crate) async fn run_blocking<T: Send + 'static>(
    spawn: &SpawnRef,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, io::Error> {
    run_on(&**spawn, work).await.ok_or_else(|| io::Error::other("the raft worker has stopped"))
}

/// A disk's fault in the words openraft takes.
pub(crate) fn in_io(fault: DiskFault) -> io::Error {
    io::Error::new(fault.source.kind(), fault)
}
