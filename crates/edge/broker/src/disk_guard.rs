//! What keeps a full disk from being the end: a ballast file holds room for the metadata log, so
//! that topics can be deleted when nothing else can be written, and producers are refused early
//! where a share of the disk is to stay free, and from the first write that found no room until
//! there is some again.

use jocko_config::{LoadedSettings, Percent};
use jocko_disk::{DiskFault, DiskRef, FaultKind, Open, Space};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

const NAME: &str = "ballast";
/// Written and removed at once, to see whether it can be.
const PROBE: &str = "ballast.probe";
/// Metadata needs no more than this at a time: below it the ballast is let go.
const METADATA_BYTES: u64 = 4 << 20;
/// Written at a time where blocks cannot be reserved.
const ZEROES_BYTES: usize = 64 << 10;

/// What a disk is in want of while producers are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// A write found no room, or hardly any is left for metadata.
    Room,
    /// What is to stay free is used up.
    Reserve,
}

/// Watches one data directory's disk.
#[derive(Debug)]
pub(crate) struct DiskGuard {
    disk: DiskRef,
    dir: PathBuf,
    ballast_bytes: u64,
    used_max: Option<Percent>,
    is_loaded: Mutex<bool>,
    refuses_produce: AtomicBool,
    /// What a write found no room for, since there was room last; 0 for nothing.
    wanted_bytes: AtomicU64,
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
            wanted_bytes: AtomicU64::new(0),
        };
        // The process may have died between writing it and removing it.
        let _ = guard.disk.remove_file(&guard.dir.join(PROBE));
        guard.check();
        *guard.is_loaded.lock().unwrap_or_else(PoisonError::into_inner) |= is_left;
        guard.check();
        guard
    }

    /// Whether producers are to be told to come back later.
    pub(crate) fn refuses_produce(&self) -> bool {
        self.refuses_produce.load(Ordering::Relaxed)
    }

    /// What the disk is in want of, if producers are refused.
    pub(crate) fn want(&self) -> Option<Want> {
        let is_out = || self.wanted_bytes.load(Ordering::Relaxed) > 0 || self.is_full();
        self.refuses_produce().then(|| if is_out() { Want::Room } else { Want::Reserve })
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

    /// Takes note that a write of so many bytes found the disk full. Producers are refused from
    /// then on, until [`DiskGuard::check`] finds room for as much.
    ///
    /// What the disk says of itself is not asked: quotas and a want of inodes do not show there.
    pub(crate) fn ran_out(&self, bytes: u64) {
        self.wanted_bytes.fetch_max(bytes.max(METADATA_BYTES), Ordering::Relaxed);
        if !self.refuses_produce.swap(true, Ordering::Relaxed) {
            let free_mib = self.space().map(|space| space.free >> 20);
            tracing::warn!(
                free_mib,
                "a write found the disk full: producers are told to come back later"
            );
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
        let is_short = self.is_short();
        let over = self.used_max.is_some_and(|max| is_over(space, max));
        let refuses = over || is_short || (!*is_loaded && self.ballast_bytes > 0);
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

    /// Whether a write found no room and there still is none. Tried, for what the disk says is not
    /// all that may be in the way.
    fn is_short(&self) -> bool {
        let wanted = self.wanted_bytes.load(Ordering::Relaxed);
        if wanted == 0 {
            return false;
        }
        let has_room = self.space().is_some_and(|space| space.free > wanted)
            && self.take(&self.dir.join(PROBE), wanted).is_ok();
        if !has_room {
            return true;
        }
        if let Err(fault) = self.disk.remove_file(&self.dir.join(PROBE)) {
            tracing::warn!(%fault, "a file that was to show whether there is room stays");
        }
        // One that wanted more meanwhile is looked at next time.
        let settled =
            self.wanted_bytes.compare_exchange(wanted, 0, Ordering::Relaxed, Ordering::Relaxed);
        settled.is_err()
    }

    fn load(&self) -> Result<(), DiskFault> {
        if self.ballast_bytes == 0 {
            return Ok(());
        }
        self.take(&self.dir.join(NAME), self.ballast_bytes)
    }

    /// Takes so much of the disk for a file; it is not there if it cannot be had.
    fn take(&self, path: &Path, bytes: u64) -> Result<(), DiskFault> {
        let file = self.disk.open(path, Open::Create)?;
        let taken = match file.reserve(bytes) {
            Err(fault) if fault.kind() == FaultKind::Unsupported => self.write_zeroes(path, bytes),
            outcome => outcome,
        };
        if taken.is_err() {
            self.disk.remove_file(path)?;
        }
        taken
    }

    fn write_zeroes(&self, path: &Path, bytes: u64) -> Result<(), DiskFault> {
        let file = self.disk.open(path, Open::Write)?;
        let zeroes = vec![0; ZEROES_BYTES];
        let mut position = 0;
        while position < bytes {
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
    use jocko_disk::{Inject, MemDisk, Operation};

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

    #[test]
    fn a_write_without_room_refuses_producers_until_there_is_as_much() {
        let disk = MemDisk::with_dir(DIR);
        disk.set_capacity(Some(64 << 20));
        let guard = guard(&disk);
        assert!(!guard.refuses_produce());
        // The ballast is not at stake: less than metadata needs is left, but nobody changes any.
        disk.set_capacity(Some(BALLAST_BYTES + (1 << 20)));
        guard.ran_out(1 << 20);
        assert!(guard.refuses_produce());
        for _ in 0..3 {
            guard.check();
            assert!(guard.refuses_produce() && has_ballast(&disk));
        }
        // Enough for metadata, not for what was wanted.
        guard.ran_out(30 << 20);
        disk.set_capacity(Some(BALLAST_BYTES + (8 << 20)));
        guard.check();
        assert!(guard.refuses_produce());
        disk.set_capacity(Some(BALLAST_BYTES + (31 << 20)));
        guard.check();
        assert!(!guard.refuses_produce() && has_ballast(&disk));
    }

    #[test]
    fn a_disk_that_says_it_has_room_is_not_believed() {
        let disk = MemDisk::with_dir(DIR);
        let guard = guard(&disk);
        // As with a quota, or with no inodes left.
        let probe = Path::new(DIR).join(PROBE);
        disk.inject(Inject::new(Operation::Open, &probe).no_space());
        disk.inject(Inject::new(Operation::Reserve, &probe).no_space());
        guard.ran_out(1_000);
        for _ in 0..3 {
            guard.check();
            assert!(guard.refuses_produce());
        }
        disk.heal();
        guard.check();
        assert!(!guard.refuses_produce());
        assert!(!disk.shared().exists(&probe).unwrap(), "what was tried is gone again");
    }

    #[test]
    fn a_probe_left_by_a_dead_process_goes() {
        let disk = MemDisk::with_dir(DIR);
        let probe = Path::new(DIR).join(PROBE);
        disk.shared().open(&probe, Open::Create).unwrap();
        let _guard = guard(&disk);
        assert!(!disk.shared().exists(&probe).unwrap());
    }
}
