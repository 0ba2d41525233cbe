//! Damage: whoever comes upon it notes it, and such a copy follows nobody and is handed to nobody.

use super::following::{follower_on, led, records, take};
use super::{
    Bench, DIR, Durability, ErrorCode, Offset, governed, offset, opening, read_code, reading,
};
use crate::{Followed, LogFault};
use jocko_disk::MemDisk;
use std::path::PathBuf;

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
