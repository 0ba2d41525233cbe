//! Random calls: the in-memory disk behaves as the real one does, and keeps its own promises about
//! crashes whatever was called before.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::{Crash, Disk, DiskRef, FaultKind, FileRef, MemDisk, Open, RealDisk, Survivors, Tear};

/// One call on names and files that few enough calls meet often.
#[derive(Debug, Clone)]
enum Call {
    Open { name: usize, how: Open },
    Write { file: usize, position: u64, bytes: usize },
    SetSize { file: usize, size: u64 },
    Reserve { file: usize, size: u64 },
    Sync { file: usize },
    CreateDir { name: usize },
    Rename { from: usize, to: usize },
    Remove { name: usize },
    RemoveDir { name: usize },
    SyncDir { name: usize },
    SyncFilesystem,
}

const NAMES: [&str; 7] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a"];

fn call() -> impl Strategy<Value = Call> {
    let name = 0..NAMES.len();
    let file = 0..4_usize;
    let how = prop_oneof![Just(Open::Create), Just(Open::CreateNew), Just(Open::Write)];
    prop_oneof![
        4 => (name.clone(), how).prop_map(|(name, how)| Call::Open { name, how }),
        6 => (file.clone(), 0..10_000_u64, 0..6_000_usize)
            .prop_map(|(file, position, bytes)| Call::Write { file, position, bytes }),
        2 => (file.clone(), 0..12_000_u64).prop_map(|(file, size)| Call::SetSize { file, size }),
        1 => (file.clone(), 0..12_000_u64).prop_map(|(file, size)| Call::Reserve { file, size }),
        2 => file.prop_map(|file| Call::Sync { file }),
        2 => name.clone().prop_map(|name| Call::CreateDir { name }),
        3 => (name.clone(), name.clone()).prop_map(|(from, to)| Call::Rename { from, to }),
        1 => name.clone().prop_map(|name| Call::Remove { name }),
        1 => name.clone().prop_map(|name| Call::RemoveDir { name }),
        1 => name.prop_map(|name| Call::SyncDir { name }),
        1 => Just(Call::SyncFilesystem),
    ]
}

/// Files with their bytes, and folders with none.
type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// A disk, its open files, and the folder it works in.
struct Player {
    disk: DiskRef,
    root: PathBuf,
    open: Vec<FileRef>,
    calls: u8,
}

impl Player {
    fn new(disk: DiskRef, root: &Path) -> Self {
        Self { disk, root: root.to_owned(), open: Vec::new(), calls: 0 }
    }

    /// Makes one call; what it came to, in words that are the same on all disks.
    fn play(&mut self, call: &Call) -> Result<(), FaultKind> {
        self.calls = self.calls.wrapping_add(1);
        let path = |name: &usize| self.root.join(NAMES[*name]);
        let nth = |file: &usize| self.open.iter().rev().nth(*file);
        let outcome = match call {
            Call::Open { name, how } => {
                let opened = self.disk.open(&path(name), *how);
                opened.map(|file| self.open.push(file))
            }
            Call::Write { file, position, bytes } => nth(file).map_or(Ok(()), |file| {
                file.write_at(&[IoSlice::new(&vec![self.calls; *bytes])], *position)
            }),
            Call::SetSize { file, size } => nth(file).map_or(Ok(()), |file| file.set_size(*size)),
            Call::Reserve { file, size } => {
                // Not every file system can; on those that can it changes nothing to be seen.
                let _reserved = nth(file).map(|file| file.reserve(*size));
                Ok(())
            }
            Call::Sync { file } => nth(file).map_or(Ok(()), |file| file.sync_data()),
            Call::CreateDir { name } => self.disk.create_dir_all(&path(name)),
            Call::Rename { from, to } => self.disk.rename(&path(from), &path(to)),
            Call::Remove { name } => self.disk.remove_file(&path(name)),
            Call::RemoveDir { name } if self.is_dir(*name) => self.disk.remove_dir_all(&path(name)),
            Call::SyncDir { name } if self.is_dir(*name) => self.disk.sync_dir(&path(name)),
            Call::RemoveDir { .. } | Call::SyncDir { .. } | Call::SyncFilesystem => Ok(()),
        };
        outcome.map_err(|fault| fault.kind())
    }

    fn is_dir(&self, name: usize) -> bool {
        self.disk.list(&self.root.join(NAMES[name])).is_ok()
    }

    /// All files and folders below the root, and what every open file reads.
    fn seen(&self) -> (Tree, Vec<Vec<u8>>) {
        let mut found = BTreeMap::new();
        let mut dirs = vec![String::new()];
        while let Some(dir) = dirs.pop() {
            for entry in self.disk.list(&self.root.join(&dir)).unwrap() {
                let name = format!("{dir}{}", entry.name);
                if entry.is_dir {
                    found.insert(name.clone(), None);
                    dirs.push(format!("{name}/"));
                } else {
                    let file = self.disk.open(&self.root.join(&name), Open::Read).unwrap();
                    assert_eq!(file.size().unwrap(), entry.len);
                    found.insert(name, Some(super::all(file.as_ref())));
                }
            }
        }
        (found, self.open.iter().map(|file| super::all(file.as_ref())).collect())
    }
}

fn in_memory(calls: &[Call]) -> (MemDisk, Player) {
    let disk = MemDisk::with_dir("/data");
    let mut player = Player::new(disk.shared(), Path::new("/data"));
    for call in calls {
        let _outcome = player.play(call);
        if matches!(call, Call::SyncFilesystem) {
            disk.sync_filesystem(Path::new("/data")).unwrap();
        }
    }
    (disk, player)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn memory_and_real_disks_agree(calls in proptest::collection::vec(call(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut real = Player::new(RealDisk::shared(), dir.path());
        let mut memory = Player::new(MemDisk::with_dir("/data").shared(), Path::new("/data"));
        for call in &calls {
            // Syncs change nothing that can be seen, and cost the real disk its time.
            if matches!(call, Call::Sync { .. } | Call::SyncDir { .. }) {
                continue;
            }
            prop_assert_eq!(real.play(call), memory.play(call), "{:?}", call);
        }
        prop_assert!(real.seen() == memory.seen());
    }

    #[test]
    fn a_kill_and_a_lucky_power_cut_keep_all_that_was_seen(
        calls in proptest::collection::vec(call(), 1..60),
    ) {
        let (disk, player) = in_memory(&calls);
        let seen = player.seen().0;
        for how in [Crash::Process, Crash::Power(Survivors::Everything)] {
            let after = Player::new(disk.aftermath(how).shared(), Path::new("/data"));
            prop_assert!(after.seen().0 == seen, "{:?}", how);
        }
    }

    #[test]
    fn nothing_is_lost_once_the_file_system_is_synced(
        calls in proptest::collection::vec(call(), 1..60),
        seed: u64,
    ) {
        let (disk, player) = in_memory(&calls);
        disk.sync_filesystem(Path::new("/data")).unwrap();
        let seen = player.seen().0;
        let lots = Survivors::Arbitrary { seed, tear: Tear::Byte };
        for how in [Survivors::Nothing, lots] {
            let after = disk.aftermath(Crash::Power(how));
            let after = Player::new(after.shared(), Path::new("/data"));
            prop_assert!(after.seen().0 == seen, "{:?}", how);
        }
    }

    #[test]
    fn room_is_counted_right_whatever_happens(
        calls in proptest::collection::vec(call(), 1..60),
    ) {
        let (disk, player) = in_memory(&calls);
        disk.set_capacity(Some(1 << 30));
        drop(player);
        let counted = disk.space(Path::new("/")).unwrap();
        // A fork counts anew.
        prop_assert_eq!(counted, disk.fork().space(Path::new("/")).unwrap());
        disk.remove_dir_all(Path::new("/data")).unwrap();
        prop_assert_eq!(disk.space(Path::new("/")).unwrap().free, 1 << 30);
    }
}
