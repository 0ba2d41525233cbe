use super::*;
use crate::types::{StoredMembership, log_id};
use jocko_disk::{Disk, MemDisk};
use proptest::prelude::*;

const DIR: &str = "d";

fn stored(index: u64, state: &[u8]) -> Stored {
    let last_log_id = Some(log_id(3, index));
    let meta = SnapshotMeta { last_log_id, last_membership: StoredMembership::default() };
    Stored { meta, state: Bytes::copy_from_slice(state) }
}

fn open(disk: &MemDisk) -> SnapshotStore {
    SnapshotStore::open(disk.shared(), DIR.into()).expect("opens")
}

fn names(disk: &MemDisk) -> Vec<String> {
    let entries = disk.list(Path::new(DIR)).expect("lists");
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn the_newest_two_are_kept() {
    let disk = MemDisk::with_dir(DIR);
    let store = open(&disk);
    assert_eq!(store.newest().expect("reads"), None);
    for index in [10, 20, 30] {
        store.save(&stored(index, b"state")).expect("saves");
    }
    store.save(&stored(25, b"older")).expect("is left unwritten");
    let expect = [
        "00000000000000000020-0000000003.checkpoint",
        "00000000000000000030-0000000003.checkpoint",
    ];
    assert_eq!(names(&disk), expect);
    for store in [&store, &open(&disk)] {
        assert_eq!(store.newest().expect("reads"), Some(stored(30, b"state")));
        // Once from memory, then from the file.
        assert_eq!(store.newest().expect("reads"), Some(stored(30, b"state")));
    }
}

#[test]
fn a_damaged_one_gives_way_to_the_older() {
    let disk = MemDisk::with_dir(DIR);
    let store = open(&disk);
    store.save(&stored(10, b"old")).expect("saves");
    store.save(&stored(20, b"new")).expect("saves");
    disk.flip_bit(Path::new(DIR).join(&names(&disk)[1]), 30, 2).expect("exists");
    let store = open(&disk);
    assert_eq!(store.newest().expect("reads"), Some(stored(10, b"old")));
    assert!(names(&disk)[1].ends_with(".checkpoint.damaged"));
    store.save(&stored(30, b"newest")).expect("saves");
    assert_eq!(open(&disk).newest().expect("reads"), Some(stored(30, b"newest")));
}

#[test]
fn one_of_a_newer_format_stops_the_start() {
    let disk = MemDisk::with_dir(DIR);
    let mut bytes = encode(&stored(10, b"state")).expect("encodes");
    bytes[8..10].copy_from_slice(&9_u16.to_be_bytes());
    let crc = checksum(&bytes).to_be_bytes();
    bytes[4..8].copy_from_slice(&crc);
    let path = Path::new(DIR).join(file_name(&log_id(3, 10)));
    write_atomically(&disk, &path, &bytes).expect("writes");
    let fault = SnapshotStore::open(disk.shared(), DIR.into()).expect_err("newer");
    assert!(fault.to_string().contains("run a newer one"), "{fault}");
}

#[test]
fn leftovers_of_a_crash_are_removed() {
    let disk = MemDisk::with_dir(DIR);
    let path = Path::new(DIR).join("00000000000000000010-0000000003.checkpoint.tmp");
    write_atomically(&disk, &path, b"half").expect("writes");
    assert!(open(&disk).newest_meta().is_none());
    assert!(names(&disk).is_empty());
}

proptest! {
    #[test]
    fn no_flipped_bit_goes_unseen(state in prop::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = encode(&stored(10, &state)).expect("encodes");
        prop_assert_eq!(decode(bytes.clone().into()).expect("whole"), stored(10, &state));
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(decode(bytes.into()).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(bytes.into());
    }
}
