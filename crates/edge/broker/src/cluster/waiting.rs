//! What this broker waits for before it is part of a cluster, for whoever asks over HTTP meanwhile.

use jocko_discovery::Discovery;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// In words, for people. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    told: Arc<Mutex<Told>>,
    /// Knows why nobody is found, once it looks for others.
    discovery: Arc<OnceLock<Arc<dyn Discovery>>>,
}

#[derive(Debug)]
struct Told {
    words: String,
    /// Who does not answer that would have to.
    missed: Option<String>,
}

impl Default for Waiting {
    fn default() -> Self {
        let told = Told { words: "starting".to_owned(), missed: None };
        Self { told: Arc::new(Mutex::new(told)), discovery: Arc::default() }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what for from now on. Whether that is news, for the log.
    pub(crate) fn is_for(&self, words: &str) -> bool {
        let mut told = self.lock();
        let is_news = told.words != words;
        if is_news {
            words.clone_into(&mut told.words);
        }
        is_news
    }

    /// Who does not answer from now on that would have to. What is news of it, for the log.
    pub(crate) fn misses(&self, missed: Option<String>) -> Option<String> {
        let mut told = self.lock();
        let is_news = told.missed != missed;
        told.missed.clone_from(&missed);
        missed.filter(|_| is_news)
    }

    /// Whoever looks for others knows why it finds nobody.
    pub(crate) fn looks_with(&self, discovery: Arc<dyn Discovery>) {
        // Set once, at the start.
        let _ = self.discovery.set(discovery);
    }

    /// Who looks for others, once somebody does.
    pub(crate) fn discovery(&self) -> Option<&dyn Discovery> {
        self.discovery.get().map(|it| &**it)
    }

    /// What it waits for, who does not answer, and why nobody is found if that is so.
    pub(crate) fn words(&self) -> String {
        let words = {
            let told = self.lock();
            let missed = told.missed.iter().map(String::as_str);
            [told.words.as_str()].into_iter().chain(missed).collect::<Vec<_>>().join("; ")
        };
        match self.discovery.get().and_then(|it| it.trouble()) {
            Some(trouble) => format!("{words} (nobody is found: {trouble})"),
            None => words,
        }
    }
}
