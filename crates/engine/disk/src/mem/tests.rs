//! The in-memory disk's own promises: what a crash keeps and loses, faults, room, and that the
//! same calls give the same disk.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::Path;

use super::*;
use crate::FaultKind;

const A: &str = "/data/a";

fn disk() -> MemDisk {
    MemDisk::with_dir("/data")
}

fn create(disk: &MemDisk, path: &str) -> FileRef {
    disk.open(Path::new(path), Open::Create).unwrap()
}

fn write(file: &FileRef, position: u64, bytes: &[u8]) {
    file.write_at(&[IoSlice::new(bytes)], position).unwrap();
}

/// A durable file of these bytes.
fn durable(disk: &MemDisk, path: &str, bytes: &[u8]) -> FileRef {
    let file = create(disk, path);
    write(&file, 0, bytes);
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    file
}

fn power(disk: &MemDisk, survivors: Survivors) -> MemDisk {
    disk.aftermath(Crash::Power(survivors))
}

fn lots(seed: u64, tear: Tear) -> Survivors {
    Survivors::Arbitrary { seed, tear }
}

/// Every content of `path` seen over many lots; `None` for no file.
fn outcomes(disk: &MemDisk, path: &str, tear: Tear) -> BTreeSet<Option<Vec<u8>>> {
    (0..400).map(|seed| power(disk, lots(seed, tear)).contents(path)).collect()
}

#[test]
fn only_what_was_synced_survives_a_power_cut() {
    let disk = disk();
    let file = create(&disk, A);
    write(&file, 0, b"one");
    file.sync_data().unwrap();
    assert_eq!(power(&disk, Survivors::Nothing).contents(A), None, "its name was not synced");
    disk.sync_dir(Path::new("/data")).unwrap();
    write(&file, 3, b"two");
    assert_eq!(disk.contents(A).unwrap(), b"onetwo");
    assert_eq!(power(&disk, Survivors::Nothing).contents(A).unwrap(), b"one");
    assert_eq!(power(&disk, Survivors::Everything).contents(A).unwrap(), b"onetwo");
    assert_eq!(disk.aftermath(Crash::Process).contents(A).unwrap(), b"onetwo");
    disk.sync_filesystem(Path::new("/data")).unwrap();
    assert_eq!(disk.unsynced(), 0);
    assert_eq!(power(&disk, Survivors::Nothing).contents(A).unwrap(), b"onetwo");
}

#[test]
fn a_killed_process_makes_nothing_durable() {
    let disk = disk();
    let file = create(&disk, A);
    write(&file, 0, b"one");
    let disk = disk.crash(Crash::Process);
    assert_eq!(disk.contents(A).unwrap(), b"one");
    assert_eq!(power(&disk, Survivors::Nothing).contents(A), None);
    file.read_at(&mut [0], 0).unwrap_err();
}

#[test]
fn a_crash_ends_open_files_locks_and_the_old_disk() {
    let disk = disk();
    let file = durable(&disk, A, b"one");
    let held = disk.lock(Path::new("/data/lock")).unwrap().unwrap();
    let after = disk.crash(Crash::Process);
    assert!(file.write_at(&[IoSlice::new(b"x")], 0).is_err());
    assert!(file.size().is_err() && file.sync_data().is_err());
    assert!(disk.exists(Path::new(A)).is_err());
    assert!(after.lock(Path::new("/data/lock")).unwrap().is_some());
    drop(held);
}

#[test]
fn names_vanish_or_reappear_until_their_folder_is_synced() {
    let disk = disk();
    durable(&disk, A, b"old");
    let new = create(&disk, "/data/new");
    write(&new, 0, b"new");
    new.sync_data().unwrap();
    disk.rename(Path::new("/data/new"), Path::new(A)).unwrap();
    let seen = outcomes(&disk, A, Tear::Sector);
    assert_eq!(seen, BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]));

    disk.sync_dir(Path::new("/data")).unwrap();
    disk.remove_file(Path::new(A)).unwrap();
    let seen = outcomes(&disk, A, Tear::Sector);
    assert_eq!(seen, BTreeSet::from([None, Some(b"new".to_vec())]));
}

#[test]
fn a_rename_without_a_data_sync_may_leave_an_empty_file() {
    let disk = disk();
    durable(&disk, A, b"old");
    let new = create(&disk, "/data/new");
    write(&new, 0, b"new");
    disk.rename(Path::new("/data/new"), Path::new(A)).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    assert_eq!(power(&disk, Survivors::Nothing).contents(A).unwrap(), b"");
}

#[test]
fn a_folder_sync_takes_along_what_its_names_build_on() {
    let disk = MemDisk::with_dir("/data/from");
    disk.create_dir_all(Path::new("/data/to")).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    let file = create(&disk, "/data/from/x");
    write(&file, 0, b"x");
    file.sync_data().unwrap();
    create(&disk, "/data/from/other");
    disk.rename(Path::new("/data/from/x"), Path::new("/data/to/y")).unwrap();
    disk.sync_dir(Path::new("/data/to")).unwrap();
    let after = power(&disk, Survivors::Nothing);
    assert_eq!(after.files(), [("/data/to/y".into(), b"x".to_vec())]);
}

#[test]
fn prefixes_cut_the_history_at_any_change_and_any_byte() {
    let disk = disk();
    let file = durable(&disk, A, b"");
    write(&file, 0, b"ab");
    write(&file, 2, b"cd");
    create(&disk, "/data/b");
    write(&file, 0, b"A");
    let cut = |changes, torn_bytes| {
        let after = power(&disk, Survivors::Prefix { changes, torn_bytes });
        (after.contents(A).unwrap(), after.contents("/data/b").is_some())
    };
    assert_eq!(cut(0, 0), (b"".to_vec(), false));
    assert_eq!(cut(0, 1), (b"a".to_vec(), false));
    assert_eq!(cut(1, 1), (b"abc".to_vec(), false));
    assert_eq!(cut(2, 9), (b"abcd".to_vec(), false));
    assert_eq!(cut(3, 0), (b"abcd".to_vec(), true));
    assert_eq!(cut(3, 1), (b"Abcd".to_vec(), true));
    assert_eq!(cut(9, 0), (b"Abcd".to_vec(), true));
}

#[test]
fn arbitrary_outcomes_reorder_tear_and_tell_size_from_bytes() {
    let disk = disk();
    let file = durable(&disk, A, &[1; 1024]);
    write(&file, 1024, &[2; 1024]);
    write(&file, 2048, &[3; 1024]);
    let sectors = |content: &[u8]| content.chunks(512).map(|s| s[0]).collect::<Vec<_>>();
    let seen: BTreeSet<Vec<u8>> = outcomes(&disk, A, Tear::Sector)
        .into_iter()
        .map(|content| {
            let content = content.unwrap();
            assert!(content.chunks(512).all(|s| s.iter().all(|b| *b == s[0])), "torn in a sector");
            assert_eq!(&content[..1024], &[1; 1024], "synced bytes do not change");
            sectors(&content)
        })
        .collect();
    let expected: &[&[u8]] = &[
        &[1, 1],             // all lost
        &[1, 1, 2, 2, 3, 3], // all kept
        &[1, 1, 2, 2],       // the later lost
        &[1, 1, 0, 0, 3, 3], // the earlier lost
        &[1, 1, 0, 0, 0, 0], // the size without the bytes
        &[1, 1, 2],          // torn
        &[1, 1, 0, 2, 0, 0], // torn the other way round
    ];
    for outcome in expected {
        assert!(seen.contains(*outcome), "{outcome:?} never came up in {seen:?}");
    }
    let ragged = outcomes(&disk, A, Tear::Byte).into_iter().flatten();
    assert!(ragged.into_iter().any(|content| content.len() % 512 != 0));
}

#[test]
fn bytes_beyond_a_lost_cut_are_lost_with_it() {
    let disk = disk();
    let file = durable(&disk, A, b"0123456789");
    file.set_size(4).unwrap();
    write(&file, 4, b"abcdef");
    write(&file, 0, b"X");
    for content in outcomes(&disk, A, Tear::Byte).into_iter().flatten() {
        let tail = content.get(4..).unwrap_or_default();
        let old = tail.iter().all(|byte| b"456789".contains(byte));
        let new = tail.iter().all(|byte| b"abcdef\0".contains(byte));
        assert!(old || new, "{:?}", String::from_utf8_lossy(&content));
    }
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let disk = disk();
    for n in 0..20 {
        write(&create(&disk, &format!("/data/{n}")), n * 100, &[7; 3000]);
    }
    for seed in 0..20 {
        let twice = [(); 2].map(|()| power(&disk, lots(seed, Tear::Byte)).files());
        assert_eq!(twice[0], twice[1]);
    }
    let all: BTreeSet<_> = (0..20).map(|s| power(&disk, lots(s, Tear::Byte)).files()).collect();
    assert!(all.len() > 15);
}

#[test]
fn a_failed_sync_loses_the_bytes_and_the_next_success_hides_it() {
    let disk = disk();
    let file = durable(&disk, A, b"old");
    write(&file, 0, b"new");
    disk.inject(Inject::new(Operation::Sync, "a").times(1));
    let fault = file.sync_data().unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Other);
    file.sync_data().unwrap();
    assert_eq!(disk.contents(A).unwrap(), b"new", "programs still see it");
    assert_eq!(power(&disk, Survivors::Everything).contents(A).unwrap(), b"old");
    disk.drop_caches();
    assert_eq!(disk.contents(A).unwrap(), b"old");
}

#[test]
fn a_file_that_cannot_be_written_back_fails_the_sync_of_the_file_system() {
    let disk = disk();
    let (a, b) = (durable(&disk, A, b"a"), durable(&disk, "/data/b", b"b"));
    disk.inject(Inject::new(Operation::Sync, "a"));
    write(&b, 0, b"B");
    disk.sync_filesystem(Path::new("/data")).unwrap();
    write(&a, 0, b"A");
    write(&b, 0, b"C");
    disk.sync_filesystem(Path::new("/data")).unwrap_err();
    let after = power(&disk, Survivors::Everything);
    assert_eq!(
        (after.contents(A).unwrap(), after.contents("/data/b").unwrap()),
        (b"a".to_vec(), b"C".to_vec())
    );
    disk.heal();
    disk.inject(Inject::new(Operation::SyncFilesystem, ""));
    write(&b, 0, b"D");
    disk.sync_filesystem(Path::new("/data")).unwrap_err();
    assert_eq!(power(&disk, Survivors::Everything).contents("/data/b").unwrap(), b"C");
    disk.set_syncfs_supported(false);
    let fault = disk.sync_filesystem(Path::new("/data")).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unsupported);
}

#[test]
fn faults_hit_reads_writes_and_names() {
    let disk = disk();
    let file = durable(&disk, A, b"0123");
    disk.inject(Inject::new(Operation::Write, "a").keeping(2).times(1));
    file.write_at(&[IoSlice::new(b"ABCD")], 0).unwrap_err();
    assert_eq!(disk.contents(A).unwrap(), b"AB23");
    disk.inject(Inject::new(Operation::Write, "a").no_space().times(1));
    assert_eq!(file.write_at(&[IoSlice::new(b"x")], 0).unwrap_err().kind(), FaultKind::NoSpace);
    disk.inject(Inject::new(Operation::Read, "a"));
    file.read_at(&mut [0], 0).unwrap_err();
    file.read_resident_at(&mut [0], 0).unwrap_err();
    disk.heal();
    file.read_at(&mut [0], 0).unwrap();
    disk.inject(Inject::new(Operation::Rename, "a"));
    disk.rename(Path::new(A), Path::new("/data/b")).unwrap_err();
    disk.inject(Inject::new(Operation::Open, "b"));
    disk.open(Path::new("/data/b"), Open::Create).unwrap_err();
    disk.inject(Inject::new(Operation::SyncDir, "/data"));
    disk.sync_dir(Path::new("/data")).unwrap_err();
    assert_eq!(disk.list(Path::new("/data")).unwrap().len(), 1);
}

#[test]
fn room_runs_out_and_comes_back() {
    let disk = disk();
    disk.set_capacity(Some(4 * 4096));
    let ballast = create(&disk, "/data/ballast");
    ballast.reserve(4096).unwrap();
    let file = create(&disk, A);
    let fault = file.write_at(&[IoSlice::new(&[1; 5 * 4096])], 100).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::NoSpace);
    assert_eq!(file.size().unwrap(), 3 * 4096, "what fitted is there");
    assert_eq!(disk.space(Path::new("/")).unwrap(), Space { total: 4 * 4096, free: 0 });
    write(&file, 0, &[2; 3 * 4096]);
    assert_eq!(ballast.reserve(8192).unwrap_err().kind(), FaultKind::NoSpace);
    write(&ballast, 0, &[3; 4096]);
    file.write_at(&[IoSlice::new(b"x")], 3 * 4096).unwrap_err();
    disk.remove_file(Path::new("/data/ballast")).unwrap();
    file.write_at(&[IoSlice::new(b"x")], 3 * 4096).unwrap_err();
    drop(ballast);
    write(&file, 3 * 4096, b"x");
    file.set_size(4096).unwrap();
    assert_eq!(disk.space(Path::new("/")).unwrap().free, 3 * 4096);
    file.set_size(1 << 40).unwrap();
    assert_eq!(disk.space(Path::new("/")).unwrap().free, 3 * 4096, "holes take no room");
    disk.set_capacity(None);
    write(&file, 1 << 30, &[1; 9 * 4096]);
    disk.set_capacity(Some(4 * 4096));
    file.write_at(&[IoSlice::new(b"x")], 1 << 31).unwrap_err();
    let after = disk.crash(Crash::Power(Survivors::Nothing));
    assert_eq!(after.space(Path::new("/")).unwrap().free, 4 * 4096, "no name was synced");
}

#[test]
fn reads_from_memory_can_be_cold_or_short() {
    let disk = disk();
    let file = durable(&disk, A, &[1; 100]);
    let mut buf = [0; 100];
    let mut resident = || file.read_resident_at(&mut buf, 0).unwrap();
    assert_eq!(resident(), Some(100));
    disk.cool(A).unwrap();
    assert_eq!(resident(), None);
    assert_eq!(resident(), None);
    file.read_at(&mut [0], 0).unwrap();
    assert_eq!(resident(), Some(100), "a blocking read warms the file");
    disk.set_residency(Residency::Cold);
    assert_eq!(resident(), None);
    let mut run = |seed| {
        disk.set_residency(Residency::Seeded(seed));
        (0..50).map(|_| resident()).collect::<Vec<_>>()
    };
    let seen = run(1);
    assert_eq!(seen, run(1));
    assert!(seen.contains(&None) && seen.contains(&Some(100)));
    assert!(seen.iter().flatten().any(|n| *n < 100));
    assert!(seen.iter().flatten().all(|n| *n > 0));
}

#[test]
fn a_flipped_bit_is_seen_now_and_after_every_crash() {
    let disk = disk();
    let file = durable(&disk, A, b"0000");
    write(&file, 2, b"00");
    disk.flip_bit(A, 3, 0).unwrap();
    assert_eq!(disk.contents(A).unwrap(), b"0001");
    for how in [Survivors::Nothing, Survivors::Everything] {
        assert_eq!(power(&disk, how).contents(A).unwrap(), b"0001");
    }
    disk.flip_bit(A, 4, 0).unwrap_err();
    disk.flip_bit("/data/none", 0, 0).unwrap_err();
}

#[test]
fn the_power_goes_after_the_given_number_of_changes() {
    let disk = disk();
    disk.power_off_after(3);
    let file = create(&disk, A);
    write(&file, 0, b"12345678");
    file.sync_data().unwrap();
    assert_eq!(disk.operations(), 3);
    file.read_at(&mut [0], 0).unwrap();
    assert!(!disk.is_off());
    file.write_at(&[IoSlice::new(b"abcdefgh")], 8).unwrap_err();
    assert!(disk.is_off());
    file.read_at(&mut [0], 0).unwrap_err();
    file.sync_data().unwrap_err();
    let found = |how| disk.aftermath(how).contents(A).unwrap();
    assert_eq!(found(Crash::Process), b"12345678");
    assert_eq!(found(Crash::ProcessMidWrite), b"12345678abcd");
    let torn = outcomes(&disk, A, Tear::Byte);
    assert!(torn.contains(&Some(b"12345678abcdefgh".to_vec())));
    assert!(torn.contains(&Some(b"12345678abc".to_vec())));
}

#[test]
fn a_forgotten_sync_is_found_by_the_crash_points() {
    let verdict = std::panic::catch_unwind(|| {
        CrashPoints::in_dir("/data").run(
            |disk, promised: &mut bool| {
                let file = disk.open(Path::new(A), Open::Create)?;
                disk.sync_dir(Path::new("/data"))?;
                file.write_at(&[IoSlice::new(b"1")], 0)?;
                *promised = true;
                Ok::<(), DiskFault>(())
            },
            |after, promised| {
                let found = after.mem().contents(A).is_some_and(|bytes| bytes == b"1");
                assert!(found || !promised, "promised and lost");
            },
        )
    });
    let cause = verdict.unwrap_err();
    let words = cause.downcast_ref::<String>().unwrap();
    assert!(
        words.starts_with("crash point 3 (Power(Nothing)), after the end: promised"),
        "{words}"
    );
}

#[test]
fn crash_points_cover_every_change_and_can_skip() {
    let count = |points: &CrashPoints| {
        points
            .run(
                |disk, _: &mut ()| {
                    for n in 0..10 {
                        disk.create_dir_all(Path::new(&format!("/data/{n}")))?;
                    }
                    Ok::<(), DiskFault>(())
                },
                |_, ()| {},
            )
            .points
    };
    assert_eq!(count(&CrashPoints::in_dir("/data")), 11);
    assert_eq!(count(&CrashPoints::in_dir("/data").every(1, 4)), 4, "1, 5, 9 and the end");
}

#[test]
fn removed_files_are_forgotten_once_nothing_can_bring_them_back() {
    let disk = disk();
    for n in 0..5_000 {
        let path = format!("/data/{n}");
        write(&create(&disk, &path), 0, b"x");
        disk.remove_file(Path::new(&path)).unwrap();
        disk.sync_dir(Path::new("/data")).unwrap();
    }
    assert!(disk.shared.state().nodes.len() < 1_000);
    assert_eq!(disk.shared.state().used_blocks, 0);
}

#[test]
fn a_folder_is_removed_name_by_name() {
    let disk = disk();
    disk.create_dir_all(Path::new("/data/t")).unwrap();
    durable(&disk, "/data/t/1", b"");
    durable(&disk, "/data/t/2", b"");
    disk.write_back();
    disk.power_off_after(1);
    disk.remove_dir_all(Path::new("/data/t")).unwrap_err();
    let after = disk.crash(Crash::Process);
    assert_eq!(after.files(), [("/data/t/2".into(), b"".to_vec())]);
}
