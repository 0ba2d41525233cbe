//! What must not happen while the partition's lock is held: reading for a search, removing files.

use super::{BROKER, EPOCH, TOPIC_ID, Timestamp, assignment, governed, offset, opening};
use crate::{Acks, Durability, Governed, Home, Partition};
use jocko_disk::{
    Disk, DiskFault, DiskRef, Entry, File, FileRef, Inject, Lock, MemDisk, Open, Operation, Space,
};
use jocko_records::{BatchBuilder, Encoding, prepare};
use jocko_types::{Offset, PartitionIndex, TopicName, TopicPartition};
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, Weak};

type DiskResult<T> = Result<T, DiskFault>;

/// Runs in the midst of a call, once.
type Meanwhile = Box<dyn FnOnce(&Partition) + Send>;

/// A disk that notes which calls come under the lock of a partition.
#[derive(Clone)]
struct Watched {
    inner: DiskRef,
    notes: Arc<Notes>,
}

#[derive(Default)]
struct Notes {
    partition: OnceLock<Weak<Partition>>,
    under_lock: Mutex<Vec<&'static str>>,
    free: Mutex<Vec<&'static str>>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("watched")
    }
}

impl Notes {
    fn note(&self, call: &'static str) {
        let Some(partition) = self.partition.get().and_then(Weak::upgrade) else { return };
        if partition.is_locked() {
            self.under_lock.lock().unwrap().push(call);
        } else {
            self.free.lock().unwrap().push(call);
            let meanwhile = self.meanwhile.lock().unwrap().take();
            if let Some(meanwhile) = meanwhile.filter(|_| call == "read") {
                meanwhile(&partition);
            }
        }
    }

    fn take(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let take = |calls: &Mutex<Vec<_>>| {
            let mut calls: Vec<_> = std::mem::take(&mut *calls.lock().unwrap());
            calls.sort_unstable();
            calls.dedup();
            calls
        };
        (take(&self.under_lock), take(&self.free))
    }
}

impl Disk for Watched {
    fn open(&self, path: &Path, how: Open) -> DiskResult<FileRef> {
        let inner = self.inner.open(path, how)?;
        Ok(Arc::new(WatchedFile { inner, notes: Arc::clone(&self.notes) }))
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<Entry>> {
        self.notes.note("list");
        self.inner.list(dir)
    }

    fn exists(&self, path: &Path) -> DiskResult<bool> {
        self.inner.exists(path)
    }

    fn create_dir_all(&self, dir: &Path) -> DiskResult<()> {
        self.inner.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> DiskResult<()> {
        self.notes.note("remove");
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> DiskResult<()> {
        self.inner.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        self.notes.note("sync");
        self.inner.sync_dir(dir)
    }

    fn sync_filesystem(&self, dir: &Path) -> DiskResult<()> {
        self.notes.note("sync");
        self.inner.sync_filesystem(dir)
    }

    fn space(&self, dir: &Path) -> DiskResult<Space> {
        self.inner.space(dir)
    }

    fn lock(&self, path: &Path) -> DiskResult<Option<Box<dyn Lock>>> {
        self.inner.lock(path)
    }
}

struct WatchedFile {
    inner: FileRef,
    notes: Arc<Notes>,
}

impl std::fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl File for WatchedFile {
    fn path(&self) -> &PathBuf {
        self.inner.path()
    }

    fn size(&self) -> DiskResult<u64> {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> DiskResult<usize> {
        self.notes.note("read");
        self.inner.read_at(buf, position)
    }

    fn read_resident_at(&self, buf: &mut [u8], position: u64) -> DiskResult<Option<usize>> {
        self.inner.read_resident_at(buf, position)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> DiskResult<()> {
        self.inner.write_at(pieces, position)
    }

    fn set_size(&self, size: u64) -> DiskResult<()> {
        self.inner.set_size(size)
    }

    fn reserve(&self, size: u64) -> DiskResult<()> {
        self.inner.reserve(size)
    }

    fn sync_data(&self) -> DiskResult<()> {
        self.notes.note("sync");
        self.inner.sync_data()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }
}

fn ts(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Twenty batches, two a segment, of one record each: at offset n the time 1000 + n.
fn filled(mem: &MemDisk, governed: Governed) -> (Arc<Partition>, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let disk: DiskRef = Arc::new(Watched { inner: mem.shared(), notes: Arc::clone(&notes) });
    let topic = TopicName::new("t").expect("is a name");
    let name = TopicPartition { topic, partition: PartitionIndex::new(0) };
    let open = opening(false, (Offset::ZERO, Offset::ZERO));
    let home = Home { disk, dir: PathBuf::from(super::DIR), broker: BROKER, open };
    let partition = Arc::new(Partition::new(name, TOPIC_ID, home, governed));
    let _ = partition.assign(assignment(Some(BROKER), EPOCH, 0));
    for number in 0..20 {
        append(&partition, 1_000 + number);
    }
    flush(&partition);
    notes.partition.set(Arc::downgrade(&partition)).expect("only once");
    (partition, notes)
}

fn append(partition: &Partition, time: i64) {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    builder.push(ts(time), None, Some(&[b'x'; 400]), &[]).expect("fits");
    let bytes = builder.build().expect("has records");
    let batch = prepare(&bytes, &partition.governed().rules).expect("is a batch");
    partition.append(&batch, Acks::Leader, ts(time), None).0.expect("is appended");
}

fn flush(partition: &Partition) {
    if let Some(mut job) = partition.take_flush().0 {
        job.run(partition.home().disk.as_ref()).expect("syncs");
        let _ = partition.flushed(&job);
    }
}

fn found(partition: &Partition, time: i64) -> Option<Offset> {
    partition.at_timestamp(None, ts(time)).expect("leads").offset
}

#[test]
fn searches_by_time_read_without_the_lock() {
    let (partition, notes) = filled(&MemDisk::with_dir(super::DATA), governed(Durability::Fsync));
    for number in 0..20 {
        assert_eq!(found(&partition, 1_000 + number), Some(offset(number)));
    }
    assert_eq!(found(&partition, 1_020), None);
    let newest = partition.at_max_timestamp(None).expect("leads");
    assert_eq!((newest.offset, newest.timestamp), (Some(offset(19)), Some(ts(1_019))));
    assert_eq!(notes.take(), (vec![], vec!["read"]));
}

#[test]
fn what_a_search_learns_of_sealed_segments_is_remembered() {
    let mem = MemDisk::with_dir(super::DATA);
    drop(filled(&mem, governed(Durability::Fsync)));
    let (partition, notes) = {
        let notes = Arc::new(Notes::default());
        let disk: DiskRef = Arc::new(Watched { inner: mem.shared(), notes: Arc::clone(&notes) });
        let bench = super::Bench::new(Durability::Fsync);
        let open = opening(false, (offset(20), Offset::ZERO));
        let home = Home { disk, open, ..bench.partition.home().clone() };
        let governed = governed(Durability::Fsync);
        let name = bench.partition.name().clone();
        let partition = Arc::new(Partition::new(name, TOPIC_ID, home, governed));
        let _ = partition.assign(assignment(Some(BROKER), EPOCH, 0));
        partition.open().expect("opens");
        notes.partition.set(Arc::downgrade(&partition)).expect("only once");
        (partition, notes)
    };
    assert_eq!(partition.at_timestamp(None, ts(5_000)).expect("leads").offset, None);
    assert_eq!(notes.take(), (vec![], vec!["read"]), "each segment says how far it reaches");
    assert_eq!(partition.at_timestamp(None, ts(5_000)).expect("leads").offset, None);
    assert_eq!(notes.take(), (vec![], vec![]), "once");
}

#[test]
fn a_search_that_the_log_was_cut_under_is_made_again() {
    let mut governed = governed(Durability::Fsync);
    governed.log.retention_bytes = Some(1_500);
    let (partition, notes) = filled(&MemDisk::with_dir(super::DATA), governed);
    *notes.meanwhile.lock().unwrap() = Some(Box::new(|partition| {
        let (done, _) = partition.upkeep(ts(1_000));
        assert!(done.expect("the disk is well").dropped_segments > 5);
    }));
    let start = |partition: &Partition| partition.log_start().expect("is open");
    assert_eq!(start(&partition), Offset::ZERO);
    let first = found(&partition, 1_000);
    assert!(start(&partition) > offset(10));
    assert_eq!(first, Some(start(&partition)), "not what was dropped meanwhile");
}

#[test]
fn a_damaged_index_is_mended_under_the_lock() {
    let mem = MemDisk::with_dir(super::DATA);
    let (partition, notes) = filled(&mem, governed(Durability::Fsync));
    let path = format!("{}/{:020}.timeindex", super::DIR, 4);
    mem.flip_bit(&path, 7, 3).expect("is there");
    for number in 0..20 {
        assert_eq!(found(&partition, 1_000 + number), Some(offset(number)), "{number}");
    }
    assert!(notes.take().0.contains(&"read"), "only whoever holds the lock may write");
    for number in 0..20 {
        assert_eq!(found(&partition, 1_000 + number), Some(offset(number)), "{number}");
    }
    assert_eq!(notes.take().0, Vec::<&str>::new());
}

#[test]
fn files_are_removed_without_the_lock() {
    let mut governed = governed(Durability::Fsync);
    governed.log.retention_bytes = Some(1_500);
    let mem = MemDisk::with_dir(super::DATA);
    let (partition, notes) = filled(&mem, governed);
    // The largest timestamps of the oldest segments are read once.
    let _ = partition.upkeep(ts(1_000)).0.expect("the disk is well");
    let (point, start) = partition.checkpoint().expect("is open");
    partition.checkpointed(point, start);
    let _ = partition.upkeep(ts(1_000)).0.expect("the disk is well");
    let _ = notes.take();
    let count = mem.files().len();
    let _ = partition.upkeep(ts(1_000_000)).0.expect("the disk is well");
    assert!(mem.files().len() < count);
    let (locked, free) = notes.take();
    assert!(!locked.contains(&"remove") && free.contains(&"remove"), "{locked:?} {free:?}");
}

#[test]
fn a_full_disk_gets_its_room_at_once() {
    let mut governed = governed(Durability::Fsync);
    governed.log.retention_bytes = Some(1_500);
    let mem = MemDisk::with_dir(super::DATA);
    let (partition, _) = filled(&mem, governed);
    let _ = partition.upkeep(ts(1_000)).0.expect("the disk is well");
    let count = mem.files().len();
    partition.make_room().0.expect("the disk is well");
    assert_eq!(mem.files().len(), count, "no checkpoint holds the start yet");
    let (point, start) = partition.checkpoint().expect("is open");
    partition.checkpointed(point, start);
    partition.make_room().0.expect("the disk is well");
    assert!(mem.files().len() + 3 * 6 <= count);
    assert_eq!(found(&partition, 1_000), Some(start));
}

#[test]
fn a_failed_removal_closes_the_log_to_writes() {
    let mut governed = governed(Durability::Fsync);
    governed.log.retention_bytes = Some(1_500);
    let mem = MemDisk::with_dir(super::DATA);
    let (partition, _) = filled(&mem, governed);
    let _ = partition.upkeep(ts(1_000)).0.expect("the disk is well");
    let (point, start) = partition.checkpoint().expect("is open");
    partition.checkpointed(point, start);
    mem.inject(Inject::new(Operation::Remove, super::DIR));
    assert!(partition.make_room().0.is_err());
    assert!(partition.fault().is_some());
    assert_eq!(found(&partition, 1_019), Some(offset(19)), "reading goes on");
}
