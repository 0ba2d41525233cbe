//! What this broker waits for before it is part of a cluster, for whoever asks over HTTP meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// In words, for people. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Waiting(Arc<Mutex<String>>);

impl Default for Waiting {
    fn default() -> Self {
        Self(Arc::new(Mutex::new("starting".to_owned())))
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what for from now on. Whether that is news, for the log.
    pub(crate) fn is_for(&self, words: &str) -> bool {
        let mut told = self.lock();
        let is_news = *told != words;
        if is_news {
            words.clone_into(&mut told);
        }
        is_news
    }

    /// What it waits for.
    pub(crate) fn words(&self) -> String {
        self.lock().clone()
    }
}
