//! A data directory over its life.

use super::*;
use jocko_disk::{Crash, CrashPoints, MemDisk, Survivors};

const ROOT: &str = "/data";

fn id(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

fn open(disk: &DiskRef) -> Result<(DataDir, LastStop)> {
    DataDir::open(disk.clone(), Path::new(ROOT), id(1), Some(id(8)))
}

fn partition(name: &str) -> TopicPartition {
    parse_folder(name).unwrap()
}

#[test]
fn an_identity_is_drawn_once_and_claimed_once() {
    let disk = MemDisk::new().shared();
    let (mut dir, last) = open(&disk).unwrap();
    assert_eq!(last, LastStop { clean: None, same_boot: false, created: true });
    dir.claim(id(5), BrokerId::new(3)).unwrap();
    drop(dir);
    let (mut dir, last) = DataDir::open(disk.clone(), Path::new(ROOT), id(2), Some(id(8))).unwrap();
    assert_eq!(last, LastStop { clean: None, same_boot: true, created: false });
    assert_eq!(dir.identity().directory_id, id(1));
    assert_eq!(dir.identity().owner, Some((id(5), BrokerId::new(3))));
    dir.claim(id(5), BrokerId::new(3)).unwrap();
    let refused = dir.claim(id(6), BrokerId::new(3)).unwrap_err().to_string();
    assert!(refused.contains(&id(5).to_string()) && refused.contains(&id(6).to_string()));
    drop(dir);
    let (_, last) = DataDir::open(disk, Path::new(ROOT), id(2), Some(id(9))).unwrap();
    assert!(!last.same_boot);
}

#[test]
fn what_a_restart_of_the_machine_took_is_told_until_the_broker_is_let_in() {
    let disk = MemDisk::new().shared();
    let open = |boot: Option<u8>| {
        DataDir::open(disk.clone(), Path::new(ROOT), id(1), boot.map(id)).unwrap()
    };
    let (dir, last) = open(Some(8));
    assert!(last.kept_page_cache(), "there was nothing to lose");
    drop(dir);
    assert!(open(Some(8)).1.kept_page_cache(), "only a process died");
    assert!(!open(Some(9)).1.kept_page_cache());
    let (mut dir, last) = open(Some(9));
    assert!(!last.kept_page_cache(), "nobody was told yet");
    dir.note_boot().unwrap();
    dir.note_boot().unwrap();
    drop(dir);
    let (dir, last) = open(Some(9));
    assert!(last.kept_page_cache());
    dir.mark_clean(BrokerEpoch::new(1)).unwrap();
    assert!(open(Some(10)).1.kept_page_cache(), "all was on disk");
    assert!(!open(None).1.kept_page_cache(), "nobody knows");
}

#[test]
fn one_process_per_directory() {
    let disk = MemDisk::new().shared();
    let (dir, _) = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(DataDirFault::Locked { .. })));
    drop(dir);
    open(&disk).unwrap();
}

#[test]
fn a_newer_format_is_refused_in_words() {
    let disk = MemDisk::new().shared();
    disk.create_dir_all(Path::new(ROOT)).unwrap();
    let mut payload = encode(&Identity { directory_id: id(1), owner: None, boot_id: id(0) });
    payload[1] = 2;
    Slots::open(disk.as_ref(), &Path::new(ROOT).join(META), &payload).unwrap();
    let fault = open(&disk).unwrap_err();
    assert_eq!(fault.to_string(), "/data was written in data format 2, this version knows 1");
}

#[test]
fn logs_without_an_identity_are_refused() {
    let disk = MemDisk::new().shared();
    disk.create_dir_all(Path::new("/data/orders-0")).unwrap();
    assert!(matches!(open(&disk), Err(DataDirFault::IdentityMissing { .. })));
}

#[test]
fn a_directory_of_kafkas_is_refused_and_left_alone() {
    let disk = MemDisk::new().shared();
    for folder in [None, Some("/data/orders-0")] {
        disk.create_dir_all(Path::new(folder.unwrap_or(ROOT))).unwrap();
        write_atomically(disk.as_ref(), Path::new("/data/meta.properties"), b"version=1").unwrap();
        assert!(matches!(open(&disk), Err(DataDirFault::Kafkas { .. })), "{folder:?}");
        assert!(!disk.exists(Path::new("/data/jocko.meta")).unwrap());
    }
}

#[test]
fn a_lock_is_seen_from_outside() {
    let disk = MemDisk::new().shared();
    let root = Path::new(ROOT);
    assert!(!DataDir::is_locked(&disk, root));
    assert!(!disk.exists(root).unwrap(), "asking makes nothing");
    let (dir, _) = open(&disk).unwrap();
    assert!(DataDir::is_locked(&disk, root));
    drop(dir);
    assert!(!DataDir::is_locked(&disk, root));
    open(&disk).unwrap();
}

#[test]
fn a_clean_stop_is_remembered_once() {
    let mem = MemDisk::new();
    let disk = mem.shared();
    let (dir, _) = open(&disk).unwrap();
    dir.mark_clean(BrokerEpoch::new(42)).unwrap();
    let (dir, last) = open(&disk).unwrap();
    assert_eq!(last.clean, Some(BrokerEpoch::new(42)));
    drop(dir);
    let (dir, last) = open(&disk).unwrap();
    assert_eq!(last.clean, None);
    dir.mark_clean(BrokerEpoch::new(43)).unwrap();
    mem.flip_bit("/data/.jocko-clean-shutdown", 9, 0).unwrap();
    assert_eq!(open(&disk).unwrap().1.clean, None, "a damaged mark is none");
}

#[test]
fn a_start_that_is_given_up_before_it_touches_anything_keeps_the_mark() {
    let disk = MemDisk::new().shared();
    let (mut dir, _) = open(&disk).unwrap();
    dir.give_up().unwrap();
    assert!(!dir.begin(), "it is given up");
    drop(dir);
    let (dir, last) = open(&disk).unwrap();
    assert_eq!(last.clean, None, "there was none");
    dir.mark_clean(BrokerEpoch::new(42)).unwrap();
    for _ in 0..2 {
        let (mut dir, last) = open(&disk).unwrap();
        assert_eq!(last.clean, Some(BrokerEpoch::new(42)));
        dir.give_up().unwrap();
        dir.give_up().unwrap();
        assert!(!dir.begin(), "partitions would change behind the mark");
    }
    let (mut dir, _) = open(&disk).unwrap();
    assert!(dir.begin() && dir.begin());
    dir.give_up().unwrap();
    drop(dir);
    assert_eq!(open(&disk).unwrap().1.clean, None, "partitions may have changed");
}

fn sample(recovery_point: i64) -> Checkpoints {
    let checkpoint = Checkpoint {
        topic_id: id(4),
        recovery_point: Offset::new(recovery_point),
        log_start: Offset::new(2),
    };
    [(partition("orders-0"), checkpoint)].into()
}

#[test]
fn checkpoints_survive_a_damaged_copy_and_fall_back_to_kafkas() {
    let mem = MemDisk::new();
    let disk = mem.shared();
    let (mut dir, _) = open(&disk).unwrap();
    assert!(dir.load_checkpoints().unwrap().is_empty());
    dir.store_checkpoints(&sample(5)).unwrap();
    dir.store_checkpoints(&sample(7)).unwrap();
    assert_eq!(dir.load_checkpoints().unwrap(), sample(7));
    mem.flip_bit("/data/jocko-checkpoints-a", 30, 0).unwrap();
    assert_eq!(dir.load_checkpoints().unwrap(), sample(7));
    mem.flip_bit("/data/jocko-checkpoints-b", 30, 0).unwrap();
    let mut kafkas = sample(7);
    kafkas.values_mut().for_each(|checkpoint| checkpoint.topic_id = TopicId::ZERO);
    assert_eq!(dir.load_checkpoints().unwrap(), kafkas);
}

#[test]
fn after_a_crash_the_checkpoints_are_the_last_promised_or_the_next() {
    let covered = CrashPoints::in_dir(ROOT).run(
        |disk, promised: &mut i64| {
            let (mut dir, _) = open(disk)?;
            for recovery_point in 1..4 {
                dir.store_checkpoints(&sample(recovery_point))?;
                *promised = recovery_point;
            }
            dir.mark_clean(BrokerEpoch::new(1))
        },
        |after, promised| {
            let (mut dir, last) = open(&after.disk()).unwrap();
            let found = dir.load_checkpoints().unwrap();
            let point = found.values().next().map_or(0, |at| at.recovery_point.get());
            assert!(point == *promised || point == *promised + 1, "{point} for {promised}");
            assert!(last.clean.is_none() || point == 3, "a clean stop comes last");
        },
    );
    assert!(covered.points > 40, "{covered:?}");
}

#[test]
fn folders_are_told_apart_by_name() {
    let check = |name: &str, expect: Option<(&str, i32)>| {
        let found = parse_folder(name);
        let found = found.as_ref().map(|at| (at.topic.as_str(), at.partition.get()));
        assert_eq!(found, expect, "{name}");
    };
    check("orders-0", Some(("orders", 0)));
    check("a-b.c-12", Some(("a-b.c", 12)));
    check("orders--1", Some(("orders-", 1)));
    for name in [
        "orders",
        "orders-",
        "-0",
        "orders-01",
        "orders-x",
        "orders-+1",
        "orders-99999999999",
        "orders-0.0123456789abcdef0123456789abcdef-delete",
    ] {
        check(name, None);
    }
}

#[test]
fn the_folder_of_another_topic_of_that_name_is_not_deleted() {
    let disk = MemDisk::new().shared();
    let (dir, _) = open(&disk).unwrap();
    let path = Path::new(ROOT).join("orders-0");
    disk.create_dir_all(&path).unwrap();
    let metadata = format!("version: 0\ntopic_id: {}\n", id(2));
    write_atomically(disk.as_ref(), &path.join(crate::names::METADATA), metadata.as_bytes())
        .unwrap();
    assert_eq!(dir.delete(&partition("orders-0"), id(1), id(3)).unwrap(), None);
    assert!(disk.exists(&path).unwrap());
    assert!(dir.delete(&partition("orders-0"), id(2), id(3)).unwrap().is_some());
    assert!(!disk.exists(&path).unwrap());
}

#[test]
fn what_moved_away_is_forgotten_durably_and_a_namesake_is_not() {
    let mem = MemDisk::new();
    let (mut dir, _) = open(&mem.shared()).unwrap();
    let checkpoint = |topic| Checkpoint {
        topic_id: id(topic),
        recovery_point: Offset::new(8),
        log_start: Offset::ZERO,
    };
    let all = [("t-0", 1), ("t-1", 1), ("u-0", 2)];
    let all: Checkpoints =
        all.into_iter().map(|(name, topic)| (partition(name), checkpoint(topic))).collect();
    dir.store_checkpoints(&all).unwrap();
    dir.forget(&[(partition("t-0"), id(1)), (partition("u-0"), id(9))]).unwrap();
    drop(dir);
    let (mut dir, _) = open(&mem.crash(Crash::Power(Survivors::Nothing)).shared()).unwrap();
    let left: Vec<String> =
        dir.load_checkpoints().unwrap().keys().map(ToString::to_string).collect();
    assert_eq!(left, ["t-1", "u-0"]);
}

#[test]
fn a_deleted_folder_is_renamed_first_and_a_stray_one_is_kept() {
    let disk = MemDisk::new().shared();
    let (dir, _) = open(&disk).unwrap();
    let long = format!("{}-0", "x".repeat(249));
    for name in ["orders-0", "orders-1", long.as_str()] {
        disk.create_dir_all(&Path::new(ROOT).join(name)).unwrap();
    }
    assert_eq!(dir.partitions().unwrap().len(), 3);
    let deleted = dir.delete(&partition("orders-0"), id(1), id(3)).unwrap().unwrap();
    assert_eq!(deleted, Path::new("/data/orders-0.03030303030303030303030303030303-delete"));
    assert_eq!(dir.delete(&partition("orders-0"), id(1), id(3)).unwrap(), None);
    let stray = dir.set_aside(&partition("orders-1"), id(4)).unwrap();
    let long = dir.delete(&partition(&long), id(1), id(5)).unwrap().unwrap();
    assert_eq!(long.file_name().unwrap().len(), NAME_BYTES_MAX);
    assert!(dir.partitions().unwrap().is_empty());
    assert_eq!(dir.trash().unwrap(), [deleted.clone(), long]);
    dir.remove_trash(&deleted).unwrap();
    dir.remove_trash(&deleted).unwrap();
    assert!(!disk.exists(&deleted).unwrap());
    assert!(disk.exists(&stray).unwrap());
}

#[test]
fn how_far_compaction_came_is_told_as_kafka_tells_it() {
    let mem = MemDisk::new();
    let (data_dir, _) = open(&mem.shared()).unwrap();
    assert_eq!(data_dir.load_cleaner_offsets().unwrap(), BTreeMap::new());
    let offsets: BTreeMap<_, _> = [(partition("t-3"), Offset::new(42))].into();
    data_dir.store_cleaner_offsets(&offsets).unwrap();
    let path = format!("{ROOT}/cleaner-offset-checkpoint");
    assert_eq!(mem.contents(path), Some(b"0\n1\nt 3 42\n".to_vec()));
    assert_eq!(data_dir.load_cleaner_offsets().unwrap(), offsets);
}

#[test]
fn a_damaged_log_is_kept_until_there_is_a_newer_one_or_no_room() {
    let disk = MemDisk::new().shared();
    let (dir, _) = open(&disk).unwrap();
    let make = |name: &str| disk.create_dir_all(&Path::new(ROOT).join(name)).unwrap();
    let kept = || {
        let entries = disk.list(Path::new(ROOT)).unwrap().into_iter().map(|entry| entry.name);
        entries.filter(|name| name.ends_with("-damaged")).collect::<Vec<_>>()
    };
    assert_eq!(dir.set_damaged_aside(&partition("t-1"), id(1)).unwrap(), None, "it is gone");
    for (name, unique) in [("t-1", 2), ("t-11", 3), ("t-1", 4)] {
        make(name);
        let path = dir.set_damaged_aside(&partition(name), id(unique)).unwrap().unwrap();
        assert!(disk.exists(&path).unwrap());
        assert!(!disk.exists(&dir.partition_path(&partition(name))).unwrap());
    }
    let mut names = kept();
    names.sort();
    assert!(names.len() == 2 && names[0].starts_with("t-1.0404"), "{names:?}");
    assert!(names[1].starts_with("t-11.0303"), "{names:?}");
    assert_eq!(dir.trash().unwrap().len(), 1, "the older one of t-1");
    assert!(dir.partitions().unwrap().is_empty());
    assert_eq!(dir.drop_damaged().unwrap(), 2);
    assert_eq!((kept().len(), dir.trash().unwrap().len()), (0, 3));
}
