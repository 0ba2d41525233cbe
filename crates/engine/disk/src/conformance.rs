//! One suite that every disk passes, so that what is proven on one holds on the other.

mod random;

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use crate::{Disk, DiskRef, FaultKind, File, MemDisk, Open, RealDisk, WatchedDisk};

type Check = fn(&dyn Disk, &Path);

/// Every check, on a fresh folder each.
const CHECKS: &[(&str, Check)] = &[
    ("open modes", open_modes),
    ("positioned reads and writes", positioned),
    ("vectored writes", vectored),
    ("sizes", sizes),
    ("reservation", reservation),
    ("listing", listing),
    ("renaming", renaming),
    ("removing", removing),
    ("open files outlive their names", outlive),
    ("locks", locks),
    ("syncs and space", syncs),
    ("faults", faults),
];

fn run(disk: &DiskRef, root: &Path) {
    for (name, check) in CHECKS {
        let dir = root.join(name.replace(' ', "-"));
        disk.create_dir_all(&dir).unwrap();
        check(disk.as_ref(), &dir);
    }
}

#[test]
fn the_real_disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    run(&RealDisk::shared(), dir.path());
}

#[test]
fn the_memory_disk_conforms() {
    run(&MemDisk::with_dir("/data").shared(), Path::new("/data"));
}

#[test]
fn a_watched_disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    run(&WatchedDisk::shared(RealDisk::shared()).0, dir.path());
}

#[test]
fn the_memory_disk_conforms_after_every_kind_of_restart() {
    use crate::{Crash, Survivors};
    for how in [Crash::Process, Crash::Power(Survivors::Everything)] {
        let disk = MemDisk::with_dir("/data");
        run(&disk.shared(), Path::new("/data"));
        let disk = disk.crash(how);
        disk.remove_dir_all(Path::new("/data")).unwrap();
        run(&disk.shared(), Path::new("/data"));
    }
}

fn kind<T: std::fmt::Debug>(result: crate::Result<T>) -> FaultKind {
    result.unwrap_err().kind()
}

fn put(disk: &dyn Disk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, Open::Create).unwrap();
    file.set_size(0).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
}

fn get(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    all(disk.open(path, Open::Read).unwrap().as_ref())
}

fn all(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn names(disk: &dyn Disk, dir: &Path) -> Vec<String> {
    disk.list(dir).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn open_modes(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("a");
    assert_eq!(kind(disk.open(&path, Open::Read)), FaultKind::NotFound);
    assert_eq!(kind(disk.open(&path, Open::Write)), FaultKind::NotFound);
    let file = disk.open(&path, Open::CreateNew).unwrap();
    assert_eq!(file.path(), &path);
    assert_eq!(kind(disk.open(&path, Open::CreateNew)), FaultKind::AlreadyExists);
    file.write_at(&[IoSlice::new(b"kept")], 0).unwrap();
    let again = disk.open(&path, Open::Create).unwrap();
    assert_eq!(all(again.as_ref()), b"kept", "creating keeps what is there");
    assert_eq!(all(disk.open(&path, Open::Write).unwrap().as_ref()), b"kept");
    let reader = disk.open(&path, Open::Read).unwrap();
    reader.write_at(&[IoSlice::new(b"no")], 0).unwrap_err();
    reader.set_size(0).unwrap_err();
    assert_eq!(all(reader.as_ref()), b"kept");
    disk.open(dir, Open::Read).unwrap_err();
    disk.open(dir, Open::Write).unwrap_err();
    assert_eq!(kind(disk.open(&dir.join("no/b"), Open::Create)), FaultKind::NotFound);
    disk.open(&path.join("b"), Open::Create).unwrap_err();
}

fn positioned(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("a"), Open::CreateNew).unwrap();
    file.write_at(&[IoSlice::new(b"world")], 10_000).unwrap();
    file.write_at(&[IoSlice::new(b"hello")], 0).unwrap();
    assert_eq!(file.size().unwrap(), 10_005);
    let mut buf = [9; 10];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 10);
    assert_eq!(&buf, b"hello\0\0\0\0\0", "a hole reads as zero");
    assert_eq!(file.read_at(&mut buf, 9_998).unwrap(), 7);
    assert_eq!(&buf[..7], b"\0\0world");
    assert_eq!(file.read_at(&mut buf, 10_005).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    file.write_at(&[IoSlice::new(b"W")], 10_000).unwrap();
    assert_eq!(file.size().unwrap(), 10_005, "overwriting does not grow");
    let mut buf = [0; 5];
    match file.read_resident_at(&mut buf, 10_000).unwrap() {
        Some(count) => assert_eq!(&buf[..count], &b"World"[..count]),
        None => assert_eq!(buf, [0; 5], "a cold read leaves the buffer alone"),
    }
    assert!(matches!(file.read_resident_at(&mut [], 0).unwrap(), Some(0)));
    file.sync_data().unwrap();
}

fn vectored(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("a"), Open::CreateNew).unwrap();
    file.write_at(&[], 0).unwrap();
    file.write_at(&[IoSlice::new(b"")], 50).unwrap();
    assert_eq!(file.size().unwrap(), 0, "writing nothing does not grow");
    let big: Vec<u8> = (0..400_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let many = vec![IoSlice::new(b"ab"); 2_500];
    file.write_at(
        &[IoSlice::new(b"x"), IoSlice::new(&big), IoSlice::new(b""), IoSlice::new(b"y")],
        3,
    )
    .unwrap();
    file.write_at(&many, 400_005).unwrap();
    let mut expected = b"\0\0\0x".to_vec();
    expected.extend_from_slice(&big);
    expected.push(b'y');
    expected.extend(b"ab".repeat(2_500));
    assert!(all(file.as_ref()) == expected);
}

fn sizes(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("a"), Open::CreateNew).unwrap();
    file.write_at(&[IoSlice::new(b"0123456789")], 0).unwrap();
    file.set_size(4).unwrap();
    file.set_size(6).unwrap();
    assert_eq!(all(file.as_ref()), b"0123\0\0");
    file.set_size(1 << 20).unwrap();
    assert_eq!(file.size().unwrap(), 1 << 20);
    file.set_size(0).unwrap();
    assert_eq!(all(file.as_ref()), b"");
}

fn reservation(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("a"), Open::CreateNew).unwrap();
    file.write_at(&[IoSlice::new(b"abc")], 0).unwrap();
    match file.reserve(1 << 20) {
        Ok(()) => {}
        Err(fault) => assert_eq!(fault.kind(), FaultKind::Unsupported),
    }
    file.reserve(0).unwrap();
    assert_eq!(all(file.as_ref()), b"abc", "reserving changes neither size nor bytes");
}

fn listing(disk: &dyn Disk, dir: &Path) {
    disk.create_dir_all(&dir.join("b/c")).unwrap();
    disk.create_dir_all(&dir.join("b/c")).unwrap();
    put(disk, &dir.join("a"), b"123");
    put(disk, &dir.join("c"), b"");
    let entries = disk.list(dir).unwrap();
    let seen: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.is_dir, e.len)).collect();
    assert_eq!(seen, [("a", false, 3), ("b", true, 0), ("c", false, 0)]);
    assert_eq!(kind(disk.list(&dir.join("no"))), FaultKind::NotFound);
    disk.list(&dir.join("a")).unwrap_err();
    assert!(disk.exists(&dir.join("b/c")).unwrap());
    assert!(!disk.exists(&dir.join("b/d")).unwrap());
    assert!(!disk.exists(&dir.join("no/d")).unwrap());
    disk.create_dir_all(&dir.join("a")).unwrap_err();
    disk.create_dir_all(&dir.join("a/b")).unwrap_err();
}

fn renaming(disk: &dyn Disk, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    put(disk, &a, b"new");
    put(disk, &b, b"old");
    let old = disk.open(&b, Open::Read).unwrap();
    disk.rename(&a, &b).unwrap();
    assert_eq!(get(disk, &b), b"new");
    assert_eq!(all(old.as_ref()), b"old", "an open file keeps its bytes");
    assert!(!disk.exists(&a).unwrap());
    assert_eq!(kind(disk.rename(&a, &b)), FaultKind::NotFound);
    disk.rename(&b, &b).unwrap();
    disk.create_dir_all(&dir.join("d/e")).unwrap();
    disk.rename(&b, &dir.join("d/e/b")).unwrap();
    disk.rename(&dir.join("d"), &dir.join("f")).unwrap();
    assert_eq!(get(disk, &dir.join("f/e/b")), b"new");
    assert!(!disk.exists(&dir.join("d")).unwrap());
    disk.create_dir_all(&dir.join("g")).unwrap();
    disk.rename(&dir.join("f"), &dir.join("g")).unwrap();
    disk.create_dir_all(&dir.join("h")).unwrap();
    disk.rename(&dir.join("h"), &dir.join("g")).unwrap_err();
    disk.rename(&dir.join("g"), &dir.join("g/e/x")).unwrap_err();
    put(disk, &a, b"");
    disk.rename(&a, &dir.join("h")).unwrap_err();
    disk.rename(&dir.join("h"), &a).unwrap_err();
    assert_eq!(names(disk, dir), ["a", "g", "h"]);
}

fn removing(disk: &dyn Disk, dir: &Path) {
    disk.create_dir_all(&dir.join("t/u")).unwrap();
    put(disk, &dir.join("t/u/a"), b"1");
    put(disk, &dir.join("t/b"), b"2");
    disk.remove_file(&dir.join("t")).unwrap_err();
    disk.remove_file(&dir.join("t/b")).unwrap();
    assert_eq!(kind(disk.remove_file(&dir.join("t/b"))), FaultKind::NotFound);
    assert_eq!(names(disk, &dir.join("t")), ["u"]);
    disk.remove_dir_all(&dir.join("t")).unwrap();
    assert_eq!(kind(disk.remove_dir_all(&dir.join("t"))), FaultKind::NotFound);
    assert_eq!(names(disk, dir), Vec::<String>::new());
}

fn outlive(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("a");
    put(disk, &path, b"first");
    let file = disk.open(&path, Open::Write).unwrap();
    disk.remove_file(&path).unwrap();
    put(disk, &path, b"second");
    file.write_at(&[IoSlice::new(b"F")], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(all(file.as_ref()), b"First");
    assert_eq!(get(disk, &path), b"second");
}

fn locks(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("lock");
    let held = disk.lock(&path).unwrap().expect("nobody has it");
    assert!(disk.exists(&path).unwrap());
    assert!(disk.lock(&path).unwrap().is_none());
    assert!(disk.lock(&dir.join("other")).unwrap().is_some());
    drop(held);
    assert!(disk.lock(&path).unwrap().is_some());
    assert_eq!(kind(disk.lock(&dir.join("no/lock"))), FaultKind::NotFound);
}

fn syncs(disk: &dyn Disk, dir: &Path) {
    put(disk, &dir.join("a"), b"1");
    disk.sync_dir(dir).unwrap();
    for _ in 0..2 {
        if let Err(fault) = disk.sync_filesystem(dir) {
            assert_eq!(fault.kind(), FaultKind::Unsupported);
        }
    }
    assert_eq!(kind(disk.sync_dir(&dir.join("no"))), FaultKind::NotFound);
    assert_eq!(kind(disk.sync_filesystem(&dir.join("no"))), FaultKind::NotFound);
    let space = disk.space(dir).unwrap();
    assert!(space.free > 0 && space.free <= space.total);
    assert_eq!(kind(disk.space(&dir.join("no"))), FaultKind::NotFound);
}

fn faults(disk: &dyn Disk, dir: &Path) {
    let path: PathBuf = dir.join("no");
    let fault = disk.open(&path, Open::Read).unwrap_err();
    assert_eq!(fault.path, path);
    assert!(fault.to_string().starts_with(&format!("open {}: ", path.display())), "{fault}");
    let file = disk.open(&dir.join("a"), Open::Create).unwrap();
    assert!(file.write_at(&[IoSlice::new(b"x")], u64::MAX).is_err());
}
