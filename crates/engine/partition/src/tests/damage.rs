//! Damage: whoever comes upon it notes it, and such a copy follows nobody and is handed to nobody.

use super::following::{follower_on, led, records, take};
use super::{
    Acks, Bench, DIR, Durability, ErrorCode, Offset, batch, governed, now, offset, opening,
    prepare, read_code, reading,
};
use crate::{Followed, LogFault, Partition, Scrub};
use jocko_disk::MemDisk;
use std::path::PathBuf;
use std::sync::Arc;

fn first_segment() -> PathBuf {
    PathBuf::from(DIR).join("00000000000000000000.log")
}

#[test]
fn damage_is_found_by_checking_and_stays_known() {
    let bench = Bench::new(Durability::Fsync);
    for _ in 0..20 {
        bench.appended(&["a value of some length", "another"]);
    }
    let _ = bench.flush();
    let all = |bench: &Bench| -> Result<u32, LogFault> {
        let (mut at, mut pieces) = (Offset::ZERO, 0);
        while let Some((next, _)) = bench.partition.check(at, 300)? {
            (at, pieces) = (next, pieces + 1);
        }
        assert_eq!(at, offset(40));
        Ok(pieces)
    };
    assert!(all(&bench).unwrap() > 4);
    assert!(bench.partition.damage().is_none());
    let slice = bench.view(offset(0)).slice.unwrap();
    assert!(bench.partition.is_sound(&slice, &slice.read().unwrap()));
    bench.mem.flip_bit(first_segment(), 200, 3).unwrap();
    assert!(!bench.partition.is_sound(&slice, &slice.read().unwrap()), "no follower gets that");
    assert!(matches!(bench.partition.damage(), Some(LogFault::Corrupt { .. })));
    assert!(all(&bench).is_err());
    bench.appended(&["who is alone goes on"]);
    // It comes to light again, or does not: what was known stays known.
    bench.mem.flip_bit(first_segment(), 200, 3).unwrap();
    assert!(bench.partition.damage().is_some());
}

#[test]
fn a_log_that_cannot_be_opened_is_damaged_and_one_that_is_foreign_is_not() {
    let mem = MemDisk::with_dir(super::DATA);
    let lost = Bench::on(mem, governed(Durability::Fsync), opening(false, (offset(7), offset(0))));
    assert!(lost.partition.open().is_err(), "7 records were durable, and nothing is there");
    assert!(lost.partition.damage().is_some());
    assert_eq!(read_code(lost.partition.read(&reading(offset(0)))), ErrorCode::KafkaStorageError);
    // Given up, it answers nobody, and its end means nothing to a checkpoint.
    let _ = lost.partition.discard();
    assert!(lost.partition.is_deleted());
    assert_eq!(read_code(lost.partition.read(&reading(offset(0)))), ErrorCode::NotLeaderOrFollower);
    let well = Bench::new(Durability::Fsync);
    well.partition.note_damage(&LogFault::Latched { path: DIR.into(), reason: "full".into() });
    assert!(well.partition.damage().is_none());
    let fault = lost.partition.damage().unwrap().clone();
    well.partition.spoil(fault);
    assert_eq!(read_code(well.partition.read(&reading(offset(0)))), ErrorCode::KafkaStorageError);
}

#[test]
fn a_damaged_copy_says_nothing_to_leaders() {
    let mem = MemDisk::with_dir(super::DATA);
    let partition = follower_on(mem.shared());
    let _ = partition.assign(super::following::following(3));
    let bytes = led(&[], 3, &[&["a"], &["b"]]);
    assert!(matches!(take(&partition, &records(&bytes, 0)), Followed::Appended { .. }));
    assert!(partition.follow().unwrap().is_some());
    let reason = "flipped".to_owned();
    let path = first_segment();
    partition.note_damage(&LogFault::Corrupt { path, position: 0, offset: Offset::ZERO, reason });
    assert_eq!(partition.follow(), Err(ErrorCode::KafkaStorageError));
}

/// A partition of 20 batches, closed in order and not opened again.
fn closed_log() -> (MemDisk, Arc<Partition>) {
    let bench = Bench::new(Durability::Fsync);
    for _ in 0..20 {
        bench.appended(&["a value of some length", "another"]);
    }
    let _ = bench.flush();
    let (closed, _) = bench.partition.close();
    closed.unwrap();
    let Bench { mem, partition } = bench.restarted(governed(Durability::Fsync));
    (mem, Arc::new(partition))
}

#[test]
fn a_scrub_finds_what_nobody_reads_and_goes_on_with_the_others() {
    let ((_, well), (spoiled_disk, spoiled)) = (closed_log(), closed_log());
    spoiled_disk.flip_bit(first_segment(), 200, 3).unwrap();
    let mut scrub = Scrub::new([&spoiled, &well]);
    assert!(!scrub.is_over());
    scrub.step(usize::MAX);
    assert!(scrub.is_over());
    assert!(matches!(spoiled.damage(), Some(LogFault::Corrupt { .. })));
    assert!(well.damage().is_none() && well.is_open());
    // The next pass leaves it alone.
    let mut again = Scrub::new([&spoiled]);
    again.step(1);
    assert!(again.is_over());
}

#[test]
fn a_scrub_goes_piece_by_piece_and_ends_where_the_log_ended() {
    let (_, partition) = closed_log();
    partition.open().unwrap();
    let mut scrub = Scrub::new([&partition]);
    let mut steps = 0;
    while !scrub.is_over() {
        scrub.step(300);
        steps += 1;
        assert!(steps < 40, "it runs after what is appended");
        // More than it reads at once.
        for _ in 0..8 {
            let bytes = batch(&["a value of some length", "another"]);
            let prepared = prepare(&bytes, &partition.governed().rules).unwrap();
            partition.append(&prepared, Acks::Leader, now(), None).0.unwrap();
        }
        let (job, _) = partition.take_flush();
        let mut job = job.unwrap();
        job.run(partition.home().disk.as_ref()).unwrap();
        let _ = partition.flushed(&job);
    }
    assert!(steps > 4);
    assert!(partition.damage().is_none());
}

#[test]
fn a_scrub_keeps_no_partition() {
    let (_, gone) = closed_log();
    let mut scrub = Scrub::new([&gone]);
    drop(gone);
    scrub.step(usize::MAX);
    assert!(scrub.is_over());
}
