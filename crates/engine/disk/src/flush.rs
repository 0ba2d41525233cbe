//! One flush round: makes the files and folders of a data directory durable with the cheaper of
//! two means, and says for each whether it is.
//!
//! Few files are synced one by one; many by one sync of the file system, which takes the journal
//! commit and the device flush once for all of them (figures: docs/decisions/0005). Whoever calls
//! this, and when, is the flusher's business: this knows no threads and no logs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic::{beside, write_unsynced};
use crate::{DiskFault, DiskRef, FaultKind, FileRef, Result};

/// From this many files and folders on, one sync of the file system is cheaper than one each.
pub const FLUSH_CROSSOVER: usize = 4;

/// How one data directory is made durable. Owned by its flusher.
#[derive(Debug)]
pub struct FlushPlan {
    disk: DiskRef,
    data_dir: PathBuf,
    crossover: usize,
    /// Whether the file system can be synced as a whole, and be believed.
    whole: bool,
}

/// What one round makes durable. All of it must lie on the file system of the data directory: no
/// folder below that is a mount point or a link elsewhere.
#[derive(Debug, Default)]
pub struct FlushRound {
    /// Files whose bytes are due.
    pub files: Vec<FileRef>,
    /// Folders whose names are due.
    pub dirs: Vec<PathBuf>,
}

/// What a round came to, in the order of the [`FlushRound`]. A fault concerns that file or folder
/// for good (DR2): what it says is lost may be lost, and no later round mends it.
#[derive(Debug)]
pub struct Flushed {
    /// One answer per file.
    pub files: Vec<Result<()>>,
    /// One answer per folder.
    pub dirs: Vec<Result<()>>,
}

impl FlushPlan {
    /// A plan for the file system that holds `data_dir`. It tries the sync of the whole file
    /// system once: to learn whether it works, to make durable what an earlier process left, and
    /// because write errors are reported from the first call on.
    ///
    /// # Errors
    /// The fault of that first sync: what an earlier process left may be lost.
    pub fn new(disk: DiskRef, data_dir: PathBuf) -> Result<Self> {
        let whole = match disk.sync_filesystem(&data_dir) {
            Ok(()) => true,
            Err(fault) if fault.kind() == FaultKind::Unsupported => false,
            Err(fault) => return Err(fault),
        };
        Ok(Self { disk, data_dir, crossover: FLUSH_CROSSOVER, whole })
    }

    /// Another crossover than [`FLUSH_CROSSOVER`]; `usize::MAX` never syncs the file system as a
    /// whole, for data directories that share it with busy strangers.
    #[must_use]
    pub fn with_crossover(mut self, files_and_dirs: usize) -> Self {
        self.crossover = files_and_dirs;
        self
    }

    /// Whether large rounds sync the file system as a whole.
    #[must_use]
    pub fn syncs_whole_filesystem(&self) -> bool {
        self.whole
    }

    /// Performs one round. Blocks for as long as the device takes.
    ///
    /// After the first fault every later round goes file by file: a sync of the whole file system
    /// reports an error once, to whoever asks first and without saying whose it is, while an open
    /// file still reports its own.
    pub fn flush(&mut self, round: &FlushRound) -> Flushed {
        if self.whole && round.len() >= self.crossover {
            match self.disk.sync_filesystem(&self.data_dir) {
                Ok(()) => return Flushed::all(round, || Ok(())),
                Err(fault) if fault.kind() == FaultKind::Unsupported => self.whole = false,
                Err(fault) => {
                    self.whole = false;
                    return Flushed::all(round, || Err(again(&fault)));
                }
            }
        }
        let files = round.files.iter().map(|file| file.sync_data()).collect();
        let dirs = self.sync_dirs(&round.dirs);
        let flushed = Flushed { files, dirs };
        if flushed.faults() > 0 {
            self.whole = false;
        }
        flushed
    }

    /// Replaces small files as [`write_atomically`](crate::write_atomically) does each, with two
    /// rounds for all of them: the new bytes are durable before the first rename, the names
    /// when this returns. Answers in the order of `files`, whose paths must differ.
    ///
    /// Holds a descriptor per file meanwhile.
    pub fn replace(&mut self, files: &[(&Path, &[u8])]) -> Vec<Result<()>> {
        let mut round = FlushRound::default();
        let written: Vec<Result<PathBuf>> = files
            .iter()
            .map(|(path, bytes)| {
                let (_, temporary) = beside(path)?;
                round.files.push(write_unsynced(self.disk.as_ref(), &temporary, bytes)?);
                Ok(temporary)
            })
            .collect();
        let mut synced = self.flush(&round).files.into_iter();
        let renamed: Vec<Result<&Path>> = files
            .iter()
            .zip(written)
            .map(|((path, _), written)| {
                let temporary = written?;
                let renamed = synced
                    .next()
                    .unwrap_or(Ok(()))
                    .and_then(|()| self.disk.rename(&temporary, path))
                    .and_then(|()| beside(path));
                if renamed.is_err() {
                    // Best effort: the next writer starts over anyway.
                    let _leftover = self.disk.remove_file(&temporary);
                }
                renamed.map(|(dir, _)| dir)
            })
            .collect();
        let mut dirs: Vec<PathBuf> = renamed.iter().flatten().map(PathBuf::from).collect();
        dirs.sort();
        dirs.dedup();
        let round = FlushRound { files: Vec::new(), dirs };
        let synced = self.flush(&round).dirs;
        let outcomes: BTreeMap<&Path, Result<()>> =
            round.dirs.iter().map(PathBuf::as_path).zip(synced).collect();
        let answer = |dir: &Path| match outcomes.get(dir) {
            Some(Err(fault)) => Err(again(fault)),
            _ => Ok(()),
        };
        renamed.into_iter().map(|renamed| renamed.and_then(answer)).collect()
    }

    /// Syncs each folder once, however often it is named: new logs all name their parent.
    fn sync_dirs(&self, dirs: &[PathBuf]) -> Vec<Result<()>> {
        let mut faults: BTreeMap<&Path, Option<DiskFault>> = BTreeMap::new();
        for dir in dirs {
            faults.entry(dir).or_insert_with(|| self.sync_dir(dir).err());
        }
        let outcome = |dir: &PathBuf| match faults.get(dir.as_path()) {
            Some(Some(fault)) => Err(again(fault)),
            _ => Ok(()),
        };
        dirs.iter().map(outcome).collect()
    }

    /// A folder that is gone has no names to make durable: its log was deleted meanwhile, which is
    /// no fault of the disk (KAFKA-19571).
    fn sync_dir(&self, dir: &Path) -> Result<()> {
        match self.disk.sync_dir(dir) {
            Err(fault) if fault.kind() == FaultKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

impl FlushRound {
    /// How many files and folders are due.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len() + self.dirs.len()
    }

    /// Whether nothing is due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Flushed {
    fn all(round: &FlushRound, outcome: impl Fn() -> Result<()>) -> Self {
        Self {
            files: round.files.iter().map(|_| outcome()).collect(),
            dirs: round.dirs.iter().map(|_| outcome()).collect(),
        }
    }

    /// How many files and folders are not durable.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.files.iter().chain(&self.dirs).filter(|outcome| outcome.is_err()).count()
    }
}

/// The same fault for another log; `io::Error` has no clone.
fn again(fault: &DiskFault) -> DiskFault {
    let source = match fault.source.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(fault.source.kind(), fault.source.to_string()),
    };
    DiskFault::new(fault.operation, &fault.path, source)
}

#[cfg(test)]
mod tests;
