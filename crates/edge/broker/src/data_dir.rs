//! The data directory as several owners share it, until the stop takes it from all of them.

use jocko_commitlog::data_dir::DataDir;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A shared data directory. Its lock on the disk is held until [`SharedDataDir::take`].
#[derive(Debug, Clone)]
pub(crate) struct SharedDataDir {
    data_dir: Arc<Mutex<Option<DataDir>>>,
    checkpointing: Arc<Mutex<()>>,
}

impl SharedDataDir {
    pub(crate) fn new(data_dir: DataDir) -> Self {
        let data_dir = Arc::new(Mutex::new(Some(data_dir)));
        Self { data_dir, checkpointing: Arc::default() }
    }

    /// Runs `work` on it; `None` once it was taken.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut DataDir) -> T) -> Option<T> {
        self.data_dir.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(work)
    }

    /// Held by whoever collects checkpoints and stores them: one collected earlier must not be
    /// stored later, or a log would begin again where it no longer does.
    pub(crate) fn checkpointing(&self) -> MutexGuard<'_, ()> {
        self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it away from everybody: the last thing a stop does with it.
    pub(crate) fn take(&self) -> Option<DataDir> {
        self.data_dir.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
