//! A broker that cannot start, and is started again and again (R15).

use super::Scene;
use crate::workload::pause;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is started in vain.
const TRIES: u32 = 5;
/// How long it may take to find out that it cannot.
const ENDS_MAX: Duration = Duration::from_secs(20);

/// What keeps a broker from starting, and the word that its last lines must have.
enum Ill {
    /// An argument that means nothing.
    Argument(&'static str, &'static str),
    /// A file that is not what it was.
    File(&'static str, &'static str),
}

/// What is to be undone.
enum Cure {
    Argument(&'static str),
    /// A file, and what was in it.
    File(PathBuf, Vec<u8>),
}

const ILLS: [Ill; 4] = [
    Ill::Argument("--topics-partitions=many", "partitions"),
    Ill::Argument("--storage-durability=perhaps", "durability"),
    Ill::File("jocko.meta", "jocko.meta"),
    Ill::File("__cluster_metadata-0/raft-state", "raft-state"),
];

impl Scene<'_> {
    /// Started with what cannot be, a broker ends each time, says why, and changes nothing; what it
    /// had is whole when it can start again.
    pub(super) fn crash_loop(&mut self) -> Result<Vec<usize>> {
        let victim = self.any();
        let ill = self.random.choice(&ILLS).context("an ill")?;
        self.cluster.kill(victim)?;
        let (cure, word) = match ill {
            Ill::Argument(argument, word) => {
                self.cluster.argue(victim, argument);
                (Cure::Argument(argument), word)
            }
            Ill::File(name, word) => {
                let path = self.cluster.data_dir(victim).join(name);
                let whole = fs::read(&path).with_context(|| path.display().to_string())?;
                // Files of which there are two copies bear the loss of one.
                let damaged: Vec<u8> = whole.iter().map(|byte| !byte).collect();
                fs::write(&path, &damaged)?;
                self.cluster.note(&format!("damage all of {name} of {victim}"));
                (Cure::File(path, whole), word)
            }
        };
        let before = contents(self.cluster.data_dir(victim))?;
        for _ in 0..TRIES {
            self.start_in_vain(victim, word)?;
        }
        let after = contents(self.cluster.data_dir(victim))?;
        for (path, digest) in before {
            ensure!(after.get(&path) == Some(&digest), "{} was changed", path.display());
        }
        match cure {
            Cure::Argument(argument) => self.cluster.argue_no_more(victim, argument),
            Cure::File(path, whole) => fs::write(path, whole)?,
        }
        self.cluster.start(victim)?;
        Ok(vec![victim])
    }

    fn start_in_vain(&mut self, victim: usize, word: &str) -> Result<()> {
        let said_before = fs::metadata(self.cluster.log(victim))?.len();
        self.cluster.start(victim)?;
        let begun = Instant::now();
        while !self.cluster.bury(victim)? {
            ensure!(begun.elapsed() < ENDS_MAX, "broker {victim} goes on with what cannot be");
            pause(Duration::from_millis(10));
        }
        let log = fs::read(self.cluster.log(victim))?;
        let said = log.get(usize::try_from(said_before)?..).unwrap_or_default();
        let said = String::from_utf8_lossy(said);
        ensure!(said.contains(word), "it ended and did not say {word:?}:\n{said}");
        ensure!(!said.contains("panicked"), "it ended by a panic:\n{said}");
        Ok(())
    }
}

/// The digest of each file below a folder.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut digests = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let mut hasher = DefaultHasher::new();
                fs::read(&path)?.hash(&mut hasher);
                digests.insert(path, hasher.finish());
            }
        }
    }
    Ok(digests)
}
