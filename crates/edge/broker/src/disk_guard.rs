//! What keeps a full disk from being the end: a ballast file holds room for the metadata log, so
//! that topics can be deleted when nothing else can be written, and producers are refused early
//! where a share of the disk is to stay free.

use jocko_config::{LoadedSettings, Percent};
use jocko_disk::{DiskFault, DiskRef, FaultKind, Open, Space};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

const NAME: &str = "ballast";
/// Metadata needs no more than this at a time: below it the ballast is let go.
const METADATA_BYTES: u64 = 4 << 20;
/// Written at a time where blocks cannot be reserved.
const ZEROES_BYTES: usize = 64 << 10;

/// Watches one data directory's disk.
#[derive(Debug)]
pub(crate) struct DiskGuard {
    disk: DiskRef,
    dir: PathBuf,
    ballast_bytes: u64,
    used_max: Option<Percent>,
    is_loaded: Mutex<bool>,
    refuses_produce: AtomicBool,
}

impl DiskGuard {
    /// A guard that has loaded its ballast, if there is room for it.
    pub(crate) fn new(disk: DiskRef, dir: &Path, settings: &LoadedSettings) -> Self {
        let storage = &settings.settings().storage;
        // One that an earlier run left on a disk that is full by now is still there to be let go.
        let is_left = disk.open(&dir.join(NAME), Open::Read).is_ok();
        let guard = Self {
            disk,
            dir: dir.to_owned(),
            ballast_bytes: storage.ballast.get(),
            used_max: storage.max_disk,
            is_loaded: Mutex::new(false),
            refuses_produce: AtomicBool::new(false),
        };
        guard.check();
        *guard.is_loaded.lock().unwrap_or_else(PoisonError::into_inner) |= is_left;
        guard.check();
        guard
    }

    /// Whether producers are to be told to come back later.
    pub(crate) fn refuses_produce(&self) -> bool {
        self.refuses_produce.load(Ordering::Relaxed)
    }

    /// Lets the ballast go if the disk is full. Producers are refused from then on, or they would
    /// take the room.
    pub(crate) fn make_room_for_metadata(&self) {
        let is_full = self.is_full();
        let mut is_loaded = self.is_loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if is_full && *is_loaded {
            self.refuses_produce.store(true, Ordering::Relaxed);
            match self.disk.remove_file(&self.dir.join(NAME)) {
                Ok(()) => {
                    *is_loaded = false;
                    tracing::warn!(
                        "the disk is full: the ballast makes room for metadata, producers wait"
                    );
                }
                Err(fault) => tracing::error!(%fault, "the ballast cannot be let go"),
            }
        }
    }

    /// Looks at the disk: loads the ballast again when there is room, and refuses or admits
    /// producers. Called every second or so.
    pub(crate) fn check(&self) {
        let Some(space) = self.space() else { return };
        let mut is_loaded = self.is_loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_loaded && space.free > self.ballast_bytes.saturating_add(METADATA_BYTES) {
            match self.load() {
                Ok(()) => *is_loaded = true,
                Err(fault) if fault.kind() == FaultKind::NoSpace => {}
                Err(fault) => {
                    tracing::warn!(%fault, "no ballast: a full disk will stop metadata too")
                }
            }
        }
        let over = self.used_max.is_some_and(|max| is_over(space, max));
        let refuses = over || (!*is_loaded && self.ballast_bytes > 0);
        if self.refuses_produce.swap(refuses, Ordering::Relaxed) != refuses {
            let free_mib = space.free >> 20;
            if refuses {
                tracing::warn!(free_mib, "the disk is full: producers are told to come back later");
            } else {
                tracing::info!(free_mib, "the disk has room: producers are served again");
            }
        }
    }

    /// Whether there is hardly room for metadata.
    pub(crate) fn is_full(&self) -> bool {
        self.space().is_some_and(|space| space.free < METADATA_BYTES)
    }

    /// Free and total bytes of the disk, if it says.
    pub(crate) fn space(&self) -> Option<Space> {
        self.disk.space(&self.dir).ok()
    }

    fn load(&self) -> Result<(), DiskFault> {
        if self.ballast_bytes == 0 {
            return Ok(());
        }
        let path = self.dir.join(NAME);
        let file = self.disk.open(&path, Open::Create)?;
        let loaded = match file.reserve(self.ballast_bytes) {
            Err(fault) if fault.kind() == FaultKind::Unsupported => self.write_zeroes(&path),
            outcome => outcome,
        };
        if loaded.is_err() {
            self.disk.remove_file(&path)?;
        }
        loaded
    }

    fn write_zeroes(&self, path: &Path) -> Result<(), DiskFault> {
        let file = self.disk.open(path, Open::Write)?;
        let zeroes = vec![0; ZEROES_BYTES];
        let mut position = 0;
        while position < self.ballast_bytes {
            file.write_at(&[std::io::IoSlice::new(&zeroes)], position)?;
            position += ZEROES_BYTES as u64;
        }
        Ok(())
    }
}

fn is_over(space: Space, max: Percent) -> bool {
    let used = space.total.saturating_sub(space.free);
    used > max.of(jocko_config::ByteSize::new(space.total)).get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_disk::MemDisk;

    const DIR: &str = "data";
    const BALLAST_BYTES: u64 = 16 << 20;

    fn guard(disk: &MemDisk) -> DiskGuard {
        DiskGuard::new(disk.shared(), Path::new(DIR), &LoadedSettings::default())
    }

    fn has_ballast(disk: &MemDisk) -> bool {
        disk.shared().exists(&Path::new(DIR).join(NAME)).unwrap()
    }

    #[test]
    fn a_ballast_left_by_an_earlier_run_is_let_go_on_a_full_disk() {
        let disk = MemDisk::with_dir(DIR);
        disk.set_capacity(Some(64 << 20));
        assert!(!guard(&disk).refuses_produce() && has_ballast(&disk));
        // The broker died, and the disk has filled meanwhile.
        disk.set_capacity(Some(BALLAST_BYTES));
        let again = guard(&disk);
        assert!(has_ballast(&disk));
        again.make_room_for_metadata();
        assert!(!has_ballast(&disk) && again.refuses_produce());
        // What was let go is not loaded again before there is room for it and for metadata.
        again.check();
        assert!(!has_ballast(&disk) && again.refuses_produce());
        disk.set_capacity(Some(64 << 20));
        again.check();
        assert!(has_ballast(&disk) && !again.refuses_produce());
    }
}
