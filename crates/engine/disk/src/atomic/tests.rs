//! The atomic replace, at every crash point.

use super::*;
use crate::{Crash, CrashPoints, Inject, MemDisk, Operation, Survivors, Tear};

const PATH: &str = "/data/deep/state";

fn work(disk: &dyn Disk, promised: &mut usize) -> Result<()> {
    let path = Path::new(PATH);
    create_dir_durably(disk, Path::new("/data/deep"))?;
    // Sizes rise and fall, so that a mixture of two versions would show.
    for (version, size) in [3_usize, 5_000, 10, 700].into_iter().enumerate() {
        write_atomically(disk, path, &contents(version + 1, size))?;
        *promised = version + 1;
    }
    Ok(())
}

fn contents(version: usize, size: usize) -> Vec<u8> {
    vec![u8::try_from(version).unwrap(); size]
}

/// The version found, whole or not at all.
fn found(disk: &MemDisk) -> usize {
    let Some(bytes) = disk.contents(PATH) else { return 0 };
    let version = usize::from(bytes[0]);
    assert_eq!(bytes, contents(version, [3, 5_000, 10, 700][version - 1]), "a mixture");
    version
}

#[test]
fn an_atomic_write_is_whole_at_every_crash_point_and_promised_ones_stay() {
    let covered = CrashPoints::in_dir("/data").arbitrary(24).prefixes().run(
        |disk, promised| work(disk.as_ref(), promised),
        |after, promised| {
            let version = found(after.mem());
            assert!(version == *promised || version == promised + 1, "{version}, {promised}");
        },
    );
    assert!(covered.points > 25 && covered.states > 300, "{covered:?}");
}

#[test]
fn a_writer_after_a_crash_is_not_hurt_by_the_leftover_of_the_last() {
    CrashPoints::in_dir("/data").run(
        |disk, promised| work(disk.as_ref(), promised),
        |after, _| {
            work(after.mem(), &mut 0).unwrap();
            assert_eq!(found(after.mem()), 4);
            assert_eq!(after.mem().files().len(), 1, "no leftover stays");
        },
    );
}

#[test]
fn no_room_leaves_the_old_file_and_no_leftover() {
    let disk = MemDisk::with_dir("/data/deep");
    let path = Path::new(PATH);
    write_atomically(&disk, path, b"old").unwrap();
    disk.set_capacity(Some(3 * 4096));
    let fault = write_atomically(&disk, path, &[1; 4 * 4096]).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::NoSpace);
    assert_eq!(disk.files(), [(path.to_owned(), b"old".to_vec())]);
    write_atomically(&disk, path, &[1; 2 * 4096]).unwrap();
}

#[test]
fn a_failed_sync_keeps_the_old_file_in_place() {
    let disk = MemDisk::with_dir("/data/deep");
    let path = Path::new(PATH);
    write_atomically(&disk, path, b"old").unwrap();
    disk.inject(Inject::new(Operation::Sync, "state.tmp"));
    write_atomically(&disk, path, b"new").unwrap_err();
    for how in [Crash::Process, Crash::Power(Survivors::Everything)] {
        assert_eq!(disk.aftermath(how).contents(path).unwrap(), b"old");
    }
}

#[test]
fn a_small_file_is_read_whole_and_a_large_one_refused() {
    let disk = MemDisk::with_dir("/data/deep");
    let path = Path::new(PATH);
    assert_eq!(read_small(&disk, path, 10).unwrap(), None);
    write_atomically(&disk, path, b"0123456789").unwrap();
    assert_eq!(read_small(&disk, path, 10).unwrap().unwrap(), b"0123456789");
    assert!(read_small(&disk, path, 9).unwrap_err().is_corruption());
}

#[test]
fn durable_folders_survive_even_when_the_first_try_was_killed() {
    let dir = Path::new("/data/a/b/c");
    CrashPoints::in_dir("/data").run(
        |disk, done: &mut bool| {
            create_dir_durably(disk.as_ref(), dir)?;
            *done = true;
            Ok::<(), DiskFault>(())
        },
        |after, done| {
            assert!(after.mem().exists(dir).unwrap() || !done);
            create_dir_durably(after.mem(), dir).unwrap();
            let lots = Survivors::Arbitrary { seed: after.point, tear: Tear::Sector };
            for how in [Survivors::Nothing, lots] {
                assert!(after.mem().aftermath(Crash::Power(how)).exists(dir).unwrap());
            }
        },
    );
}

#[test]
fn bare_names_live_in_the_current_folder() {
    assert_eq!(beside(Path::new("a")).unwrap(), (Path::new("."), PathBuf::from("./a.tmp")));
    beside(Path::new("/")).unwrap_err();
    let disk = MemDisk::new();
    write_atomically(&disk, Path::new("a"), b"1").unwrap();
    create_dir_durably(&disk, Path::new("d/e")).unwrap();
    let disk = disk.crash(Crash::Power(Survivors::Nothing));
    assert_eq!(disk.contents("a").unwrap(), b"1");
    assert!(disk.exists(Path::new("d/e")).unwrap());
}
