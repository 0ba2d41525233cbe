//! The data directory as several owners share it, until the stop takes it from all of them.

use jocko_commitlog::data_dir::DataDir;
use std::sync::{Arc, Mutex, PoisonError};

/// A shared data directory. Its lock on the disk is held until [`SharedDataDir::take`].
#[derive(Debug, Clone)]
pub(crate) struct SharedDataDir(Arc<Mutex<Option<DataDir>>>);

impl SharedDataDir {
    pub(crate) fn new(data_dir: DataDir) -> Self {
        Self(Arc::new(Mutex::new(Some(data_dir))))
    }

    /// Runs `work` on it; `None` once it was taken.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut DataDir) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(work)
    }

    /// Takes it away from everybody: the last thing a stop does with it.
    pub(crate) fn take(&self) -> Option<DataDir> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
