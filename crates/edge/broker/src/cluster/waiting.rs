//! What this broker waits for before it is part of a cluster, for whoever asks over HTTP meanwhile.

use jocko_discovery::Discovery;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// In words, for people. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    words: Arc<Mutex<String>>,
    /// Knows why nobody is found, once it looks for others.
    discovery: Arc<OnceLock<Arc<dyn Discovery>>>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { words: Arc::new(Mutex::new("starting".to_owned())), discovery: Arc::default() }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, String> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whoever looks for others knows why it finds nobody.
    pub(crate) fn looks_with(&self, discovery: Arc<dyn Discovery>) {
        // Set once, at the start.
        let _ = self.discovery.set(discovery);
    }

    /// What it waits for, and why nobody is found if that is so.
    pub(crate) fn words(&self) -> String {
        let words = self.lock().clone();
        match self.discovery.get().and_then(|it| it.trouble()) {
            Some(trouble) => format!("{words} (nobody is found: {trouble})"),
            None => words,
        }
    }
}
