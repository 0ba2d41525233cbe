//! Bits that flip on a disk that says nothing of it (D5).

use super::Scene;
use crate::workload::pause;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a broker may take to find what rots, and to have another copy there: all that was ever
/// written in a run is read through meanwhile.
const REPLACED_MAX: Duration = Duration::from_secs(120);
/// Bytes that are flipped together, at most.
const FLIPPED_MAX: usize = 8;
/// So much around them tells whether they are there still.
const WINDOW_BYTES: usize = 64;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was done to a log.
struct Rot {
    path: PathBuf,
    position: u64,
    /// What stands there since.
    window: Vec<u8>,
}

impl Scene<'_> {
    /// Some bytes of one copy of a partition are not what was written any more, while its broker runs
    /// or before it starts after a kill. Nobody is told; the copy must be replaced all the same.
    pub(super) fn rot(&mut self) -> Result<Vec<usize>> {
        if self.shared.replicas < 2 {
            self.cluster.note("what rots would be gone for good");
            return Ok(Vec::new());
        }
        let (victim, partition) = (self.any(), self.random.u32(..self.shared.partitions));
        let is_live = self.random.bool();
        if !is_live {
            self.cluster.kill(victim)?;
        }
        let folder = format!("{}-{partition}", self.shared.topic);
        let rot = spoil(&self.cluster.data_dir(victim).join(&folder), self.random);
        let rot = rot.with_context(|| format!("{folder} of {victim}"))?;
        if !is_live {
            self.wait_ms(0, 2_000);
            self.cluster.start(victim)?;
        }
        let Some(Rot { path, position, window }) = rot else {
            self.cluster.note(&format!("there is nothing in {folder} of {victim} to rot"));
            return Ok(vec![victim]);
        };
        self.cluster.note(&format!("rot in {} from byte {position} on", path.display()));
        let until = Instant::now() + REPLACED_MAX;
        while stands_at(&path, position, window.len())?.is_some_and(|found| found == window) {
            self.cluster.check_running()?;
            ensure!(
                Instant::now() < until,
                "broker {victim} keeps what is damaged: {} at byte {position}",
                path.display()
            );
            pause(LOOK_EVERY);
        }
        self.cluster.note(&format!("{folder} of {victim} is not what it was"));
        Ok(vec![victim])
    }
}

/// Flips some bytes of what is durable in a log; `None` if there is nothing.
fn spoil(folder: &Path, random: &mut fastrand::Rng) -> Result<Option<Rot>> {
    let mut segments: Vec<PathBuf> = Vec::new();
    let entries = match folder.read_dir() {
        // Not every broker has a copy of every partition.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "log") {
            segments.push(path);
        }
    }
    segments.sort();
    let Some(active) = segments.pop() else { return Ok(None) };
    // A closed one if there is one; of the other what is not as good as new.
    let (path, part) = match random.choice(segments) {
        Some(closed) => (closed, 1),
        None => (active, 2),
    };
    let file = File::options().read(true).write(true).open(&path)?;
    let size = file.metadata()?.len() / part;
    if size == 0 {
        return Ok(None);
    }
    let position = random.u64(..size);
    let count = u64::try_from(random.usize(1..=FLIPPED_MAX))?.min(size - position);
    let mut bytes = vec![0; usize::try_from(count)?];
    file.read_exact_at(&mut bytes, position)?;
    for byte in &mut bytes {
        *byte ^= random.u8(1..);
    }
    file.write_all_at(&bytes, position)?;
    let window = stands_at(&path, position, WINDOW_BYTES)?.context("what was just written")?;
    // What is not written yet is not waited for.
    let len = usize::try_from(size - position)?.min(window.len());
    Ok(Some(Rot { window: window[..len].to_vec(), path, position }))
}

/// What a file holds there, as far as it goes; `None` where there is no such file.
fn stands_at(path: &Path, position: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let (mut bytes, mut filled) = (vec![0; len], 0);
    while filled < len {
        match file.read_at(&mut bytes[filled..], position + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rots_is_old_and_differs() {
        let folder = tempfile::tempdir().unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        assert!(spoil(folder.path(), &mut random).unwrap().is_none());
        let write = |name: &str, len| std::fs::write(folder.path().join(name), vec![7; len]);
        write("1.log", 0).unwrap();
        assert!(spoil(folder.path(), &mut random).unwrap().is_none());
        write("1.log", 100).unwrap();
        write("1.index", 9).unwrap();
        for _ in 0..100 {
            write("1.log", 100).unwrap();
            let Rot { path, position, window } =
                spoil(folder.path(), &mut random).unwrap().unwrap();
            assert!(path.ends_with("1.log") && position < 50 && window[0] != 7);
            let found = stands_at(&path, position, window.len()).unwrap().unwrap();
            assert_eq!(found, window);
            let all = std::fs::read(&path).unwrap();
            assert!(all[50..].iter().all(|byte| *byte == 7) && all.len() == 100);
        }
        write("2.log", 100).unwrap();
        let rot = spoil(folder.path(), &mut random).unwrap().unwrap();
        assert!(rot.path.ends_with("1.log"), "that one is closed");
        std::fs::remove_file(&rot.path).unwrap();
        assert!(stands_at(&rot.path, 0, 1).unwrap().is_none());
    }
}
