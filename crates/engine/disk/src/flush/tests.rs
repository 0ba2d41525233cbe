//! Flush rounds over the in-memory disk: what is durable, and whose faults are whose.

use std::io::IoSlice;

use super::*;
use crate::{Crash, CrashPoints, Disk, Inject, MemDisk, Open, Operation, RealDisk, Survivors};

const DIR: &str = "/data";

fn path(n: usize) -> PathBuf {
    Path::new(DIR).join(format!("{n}.log"))
}

fn append(file: &FileRef, byte: u8) {
    file.write_at(&[IoSlice::new(&[byte; 100])], file.size().unwrap()).unwrap();
}

/// A round of `count` new files of 100 bytes, and their folder.
fn round(disk: &DiskRef, count: usize) -> Result<FlushRound> {
    let mut files = Vec::new();
    for n in 0..count {
        let file = disk.open(&path(n), Open::Create)?;
        let end = file.size()?;
        file.write_at(&[IoSlice::new(&[1; 100])], end)?;
        files.push(file);
    }
    Ok(FlushRound { files, dirs: vec![PathBuf::from(DIR)] })
}

fn plan(disk: &DiskRef) -> FlushPlan {
    FlushPlan::new(DiskRef::clone(disk), PathBuf::from(DIR)).unwrap()
}

/// Which files fail, by number.
fn faulty(flushed: &Flushed) -> Vec<usize> {
    let numbered = flushed.files.iter().enumerate();
    numbered.filter(|(_, outcome)| outcome.is_err()).map(|(n, _)| n).collect()
}

fn size_after_power_cut(disk: &MemDisk, n: usize) -> usize {
    let after = disk.aftermath(Crash::Power(Survivors::Everything));
    after.contents(path(n)).map_or(0, |bytes| bytes.len())
}

#[test]
fn few_and_many_files_survive_the_power_cut_after_their_round() {
    for count in [0, 1, FLUSH_CROSSOVER - 2, FLUSH_CROSSOVER - 1, 40] {
        for supported in [true, false] {
            let disk = MemDisk::with_dir(DIR);
            disk.set_syncfs_supported(supported);
            let mut plan = plan(&disk.shared());
            assert_eq!(plan.syncs_whole_filesystem(), supported);
            let round = round(&disk.shared(), count).unwrap();
            let before = disk.operations();
            assert_eq!(plan.flush(&round).faults(), 0);
            let calls = if supported && round.len() >= FLUSH_CROSSOVER { 1 } else { count + 1 };
            assert_eq!(disk.operations() - before, calls as u64, "{count} {supported}");
            let after = disk.crash(Crash::Power(Survivors::Nothing));
            assert_eq!(after.files().len(), count);
            assert!(after.files().iter().all(|(_, bytes)| bytes.len() == 100));
        }
    }
}

#[test]
fn what_a_round_promised_survives_every_crash_point() {
    for count in [2, 6] {
        CrashPoints::in_dir(DIR).run(
            |disk, promised: &mut usize| {
                let mut plan = FlushPlan::new(DiskRef::clone(disk), PathBuf::from(DIR))?;
                for rounds in 1..=2 {
                    let flushed = plan.flush(&round(disk, count)?);
                    if flushed.faults() > 0 {
                        return Err(DiskFault::corrupt("flush", Path::new(DIR), "faults"));
                    }
                    *promised = 100 * rounds;
                }
                Ok(())
            },
            |after, promised| {
                for n in 0..count {
                    let size = after.mem().contents(path(n)).map_or(0, |bytes| bytes.len());
                    assert!(size >= *promised, "{n}: {size} of {promised}");
                }
            },
        );
    }
}

#[test]
fn in_a_small_round_a_fault_is_the_files_own() {
    let disk = MemDisk::with_dir(DIR);
    let mut plan = plan(&disk.shared());
    let round = round(&disk.shared(), 2).unwrap();
    disk.inject(Inject::new(Operation::Sync, "1.log").times(1));
    assert_eq!(faulty(&plan.flush(&round)), [1]);
    disk.inject(Inject::new(Operation::SyncDir, DIR).times(1));
    let flushed = plan.flush(&round);
    assert!(flushed.files.iter().all(Result::is_ok) && flushed.dirs[0].is_err());
}

#[test]
fn in_a_large_round_a_fault_is_everybodys() {
    let disk = MemDisk::with_dir(DIR);
    let mut plan = plan(&disk.shared());
    let round = round(&disk.shared(), 6).unwrap();
    disk.inject(Inject::new(Operation::Sync, "1.log").times(1));
    let flushed = plan.flush(&round);
    assert_eq!(flushed.faults(), 7);
    let fault = flushed.files[3].as_ref().unwrap_err();
    assert_eq!((fault.operation, fault.path.as_path()), ("sync file system", Path::new(DIR)));
}

#[test]
fn an_append_that_a_failed_round_swallowed_is_reported_by_its_own_round() {
    let disk = MemDisk::with_dir(DIR);
    let mut plan = plan(&disk.shared());
    let mut both = round(&disk.shared(), 7).unwrap();
    assert_eq!(plan.flush(&both).faults(), 0);
    both.files.iter().for_each(|file| append(file, 2));
    // The last file is appended to after the round was taken: the failing sync loses its bytes,
    // but answers only for the others.
    let late = both.files.pop().unwrap();
    disk.inject(Inject::new(Operation::SyncFilesystem, DIR).times(1));
    assert_eq!(plan.flush(&both).faults(), 7);
    assert_eq!(size_after_power_cut(&disk, 6), 100, "lost");
    both.files = vec![late];
    both.files.extend((10..16).map(|n| disk.open(&path(n), Open::Create).unwrap()));
    let flushed = plan.flush(&both);
    assert_eq!(faulty(&flushed), [0], "and not acknowledged");
}

#[test]
fn a_fault_of_one_log_does_not_come_back_as_everybodys() {
    let disk = MemDisk::with_dir(DIR);
    let mut plan = plan(&disk.shared());
    let many = round(&disk.shared(), 6).unwrap();
    disk.inject(Inject::new(Operation::Sync, "1.log").times(1));
    let one = FlushRound { files: vec![FileRef::clone(&many.files[1])], dirs: Vec::new() };
    assert_eq!(plan.flush(&one).faults(), 1);
    assert_eq!(plan.flush(&many).faults(), 0);
    disk.sync_filesystem(Path::new(DIR)).expect_err("the error would have been reported here");
}

#[test]
fn a_deleted_log_is_no_fault() {
    for crossover in [1, usize::MAX] {
        let disk = MemDisk::with_dir("/data/t-0");
        let mut plan = plan(&disk.shared()).with_crossover(crossover);
        let file = disk.open(Path::new("/data/t-0/0.log"), Open::Create).unwrap();
        append(&file, 1);
        disk.remove_dir_all(Path::new("/data/t-0")).unwrap();
        let round = FlushRound { files: vec![file], dirs: vec![PathBuf::from("/data/t-0")] };
        assert_eq!(plan.flush(&round).faults(), 0);
    }
}

#[test]
fn what_an_earlier_process_left_must_become_durable_first() {
    let disk = MemDisk::with_dir(DIR);
    round(&disk.shared(), 2).unwrap();
    let disk = disk.crash(Crash::Process);
    disk.inject(Inject::new(Operation::Sync, "1.log").times(1));
    FlushPlan::new(disk.shared(), PathBuf::from(DIR)).unwrap_err();
    plan(&disk.shared());
    let after = disk.crash(Crash::Power(Survivors::Nothing));
    assert_eq!(after.contents(path(0)).unwrap().len(), 100);
}

#[test]
fn real_files_are_flushed_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::shared();
    let mut plan = FlushPlan::new(DiskRef::clone(&disk), dir.path().to_owned()).unwrap();
    for count in [1, 3, 6] {
        let files = (0..count)
            .map(|n| disk.open(&dir.path().join(format!("{n}")), Open::Create).unwrap())
            .collect();
        let round = FlushRound { files, dirs: vec![dir.path().to_owned()] };
        round.files.iter().for_each(|file| append(file, 1));
        assert_eq!(plan.flush(&round).faults(), 0);
    }
}

#[test]
fn small_files_are_replaced_whole_whenever_the_power_goes() {
    let small = |n: usize| Path::new(DIR).join(n.to_string()).join("small");
    for supported in [true, false] {
        let start = MemDisk::with_dir(DIR);
        start.set_syncfs_supported(supported);
        for n in 0..5 {
            start.create_dir_all(&Path::new(DIR).join(n.to_string())).unwrap();
        }
        start.write_back();
        let covered = CrashPoints::on(&start).run(
            |disk, promised: &mut u8| {
                let mut plan = FlushPlan::new(DiskRef::clone(disk), PathBuf::from(DIR))?;
                for generation in 1..3 {
                    let paths: Vec<PathBuf> = (0..5).map(small).collect();
                    let bytes = [generation; 50];
                    let files: Vec<(&Path, &[u8])> =
                        paths.iter().map(|path| (path.as_path(), &bytes[..])).collect();
                    plan.replace(&files).into_iter().collect::<Result<()>>()?;
                    *promised = generation;
                }
                Ok::<(), DiskFault>(())
            },
            |after, promised| {
                for n in 0..5 {
                    let found = after.mem().contents(small(n)).unwrap_or(vec![0; 50]);
                    assert_eq!(found.len(), 50);
                    assert!(found.iter().all(|byte| *byte == found[0]));
                    assert!(found[0] == *promised || found[0] == *promised + 1, "{found:?}");
                }
            },
        );
        assert!(covered.points > 20, "{covered:?}");
    }
}

#[test]
fn replacing_tells_of_each_file_and_leaves_no_drafts_of_those_that_failed() {
    let disk = MemDisk::with_dir(DIR);
    let mut plan = plan(&disk.shared());
    let paths: Vec<PathBuf> = (0..3).map(path).collect();
    let files: Vec<(&Path, &[u8])> =
        paths.iter().map(|path| (path.as_path(), &b"small"[..])).collect();
    disk.inject(Inject::new(Operation::Write, "0.log.tmp").no_space());
    disk.inject(Inject::new(Operation::Rename, "1.log.tmp"));
    let outcomes = plan.replace(&files);
    assert!(outcomes[0].as_ref().is_err_and(|fault| fault.kind() == FaultKind::NoSpace));
    assert!(outcomes[1].is_err() && outcomes[2].is_ok());
    let names: Vec<_> = disk.files().into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, [path(2)]);
}

#[test]
fn a_folder_named_often_is_synced_once_and_its_fault_told_to_all() {
    let disk = MemDisk::with_dir(DIR);
    disk.set_syncfs_supported(false);
    let mut plan = plan(&disk.shared());
    let before = disk.syncs();
    let round = || FlushRound { files: Vec::new(), dirs: vec![PathBuf::from(DIR); 10] };
    assert_eq!(plan.flush(&round()).faults(), 0);
    assert_eq!(disk.syncs() - before, 1);
    disk.inject(Inject::new(Operation::SyncDir, DIR).times(1));
    assert_eq!(plan.flush(&round()).faults(), 10);
}
