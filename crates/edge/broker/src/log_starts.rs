//! Makes moved beginnings of logs durable: DeleteRecords is answered once a restart would not undo
//! it.

use crate::context::Context;
use crate::data_dir::SharedDataDir;
use crate::housekeeping::store_checkpoints;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Stores checkpoints for those who wait, one round for all who came before it began.
#[derive(Debug)]
pub(crate) struct LogStarts {
    data_dir: SharedDataDir,
    asked: AtomicU64,
    /// Up to which of the asked the last round that went well has gone.
    covered: Mutex<u64>,
}

impl LogStarts {
    pub(crate) fn new(data_dir: SharedDataDir) -> Self {
        Self { data_dir, asked: AtomicU64::new(0), covered: Mutex::new(0) }
    }

    /// Returns once every beginning that was moved before the call is on disk, or `false` if it
    /// cannot be brought there. Waits for the device: for workers.
    pub(crate) fn make_durable(&self, context: &Context) -> bool {
        let turn = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut covered = self.covered.lock().unwrap_or_else(PoisonError::into_inner);
        if *covered >= turn {
            return true;
        }
        let all = self.asked.load(Ordering::Acquire);
        match store_checkpoints(&context.published.load(), &self.data_dir) {
            Ok(()) => {
                *covered = all;
                true
            }
            Err(fault) => {
                tracing::error!(%fault, "where logs begin could not be written down");
                false
            }
        }
    }
}
