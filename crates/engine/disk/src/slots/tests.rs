//! The two-copy file, at every crash point and with every kind of damage.

use proptest::prelude::*;

use super::*;
use crate::{Crash, CrashPoints, Inject, MemDisk, Operation, Survivors, Tear};

const PATH: &str = "/data/meta/vote";

fn path() -> &'static Path {
    Path::new(PATH)
}

fn payload(generation: u64) -> Vec<u8> {
    format!("vote of generation {generation}").into_bytes()
}

fn open(disk: &dyn Disk) -> Result<(Slots, Stored)> {
    Slots::open(disk, path(), &payload(1))
}

fn store(slots: &mut Slots) -> Result<u64> {
    let next = slots.generation + 1;
    slots.store(&payload(next))
}

fn work(disk: &dyn Disk, promised: &mut u64) -> Result<()> {
    let (mut slots, stored) = open(disk)?;
    *promised = stored.generation;
    for _ in 0..3 {
        *promised = store(&mut slots)?;
    }
    Ok(())
}

/// Opens as a restart does and checks that nothing promised is missing.
fn judge(disk: &MemDisk, promised: u64) -> Stored {
    let (_, stored) = open(disk).unwrap();
    let expected = promised.max(1)..=promised + 1;
    assert!(expected.contains(&stored.generation), "{stored:?}, promised {promised}");
    assert_eq!(stored.payload, payload(stored.generation));
    stored
}

#[test]
fn what_was_stored_survives_every_crash_point() {
    let covered = CrashPoints::in_dir("/data").arbitrary(24).run(
        |disk, promised| work(disk.as_ref(), promised),
        |after, promised| {
            let stored = judge(after.mem(), *promised);
            // What a restart acted upon stays, held twice, whatever happens next.
            for seed in 0..4 {
                let lots = Survivors::Arbitrary { seed, tear: Tear::Byte };
                let survivors = if seed < 2 { Survivors::Nothing } else { lots };
                let again = after.mem().aftermath(Crash::Power(survivors));
                again.flip_bit(PATH, 4096 * (seed % 2) + 30, 3).unwrap();
                assert_eq!(open(&again).unwrap().1.generation, stored.generation);
            }
            // And what it stores is not lost with the name of the file.
            let next = store(&mut open(after.mem()).unwrap().0).unwrap();
            let again = after.mem().aftermath(Crash::Power(Survivors::Nothing));
            assert_eq!(open(&again).unwrap().1.generation, next);
        },
    );
    assert!(covered.points > 15 && covered.states > 250, "{covered:?}");
}

#[test]
fn a_crash_during_the_repair_loses_nothing_either() {
    CrashPoints::in_dir("/data").arbitrary(4).run(
        |disk, promised| work(disk.as_ref(), promised),
        |after, promised| {
            CrashPoints::on(after.mem()).arbitrary(4).run(
                |disk, _: &mut ()| open(disk.as_ref()).map(|_| ()),
                |again, ()| {
                    judge(again.mem(), *promised);
                },
            );
        },
    );
}

#[test]
fn any_flipped_bit_costs_nothing_and_is_mended() {
    let disk = MemDisk::with_dir("/data");
    let mut promised = 0;
    work(&disk, &mut promised).unwrap();
    let size = 2 * SLOT_BYTES as u64;
    for position in (0..size).step_by(97).chain(0..64).chain(size / 2..size / 2 + 64) {
        let rotten = disk.fork();
        rotten.flip_bit(PATH, position, u8::try_from(position % 8).unwrap()).unwrap();
        let (_, stored) = open(&rotten).unwrap();
        assert_eq!((stored.generation, stored.repaired), (promised, true), "{position}");
        let (_, stored) = open(&rotten.crash(Crash::Power(Survivors::Nothing))).unwrap();
        assert_eq!((stored.generation, stored.repaired), (promised, false), "{position}");
    }
}

#[test]
fn two_damaged_copies_are_reported_never_guessed() {
    let disk = MemDisk::with_dir("/data");
    work(&disk, &mut 0).unwrap();
    disk.flip_bit(PATH, 30, 0).unwrap();
    disk.flip_bit(PATH, SLOT_BYTES as u64 + 5, 7).unwrap();
    let fault = open(&disk).unwrap_err();
    assert!(fault.is_corruption() && fault.to_string().contains("both copies"), "{fault}");

    let disk = MemDisk::with_dir("/data");
    work(&disk, &mut 0).unwrap();
    disk.open(path(), Open::Write).unwrap().set_size(10).unwrap();
    assert!(open(&disk).unwrap_err().is_corruption(), "a cut file is damage, not a fresh start");
}

#[test]
fn a_cut_file_is_mended_from_the_first_copy() {
    let disk = MemDisk::with_dir("/data");
    work(&disk, &mut 0).unwrap();
    disk.open(path(), Open::Write).unwrap().set_size(SLOT_BYTES as u64 + 100).unwrap();
    let (_, stored) = open(&disk).unwrap();
    assert_eq!((stored.generation, stored.repaired), (4, true));
    assert!(!open(&disk).unwrap().1.repaired);
}

#[test]
fn after_a_failed_store_only_reopening_helps() {
    for operation in [Operation::Write, Operation::Sync] {
        for nth in 0..2 {
            let disk = MemDisk::with_dir("/data");
            let (mut slots, _) = open(&disk).unwrap();
            disk.inject(Inject::new(operation, "vote").after(nth).times(1));
            store(&mut slots).unwrap_err();
            store(&mut slots).unwrap_err();
            for how in [Crash::Process, Crash::Power(Survivors::Nothing)] {
                judge(&disk.aftermath(how), 1);
            }
            let (mut slots, stored) = open(&disk).unwrap();
            // The copy whose sync failed is behind on the medium, though it was read well.
            let cut = disk.aftermath(Crash::Power(Survivors::Nothing));
            assert_eq!(open(&cut).unwrap().1.generation, stored.generation);
            assert_eq!(store(&mut slots).unwrap(), stored.generation + 1);
            let disk = disk.crash(Crash::Power(Survivors::Nothing));
            assert_eq!(open(&disk).unwrap().1.generation, stored.generation + 1);
        }
    }
}

#[test]
fn a_file_of_a_newer_program_is_refused() {
    let disk = MemDisk::with_dir("/data/meta");
    let mut slot = encode(7, b"?");
    slot[9] = 2;
    let crc = crc32c(&slot[8..]);
    slot[4..8].copy_from_slice(&crc.to_be_bytes());
    write_atomically(&disk, path(), &[slot, slot].concat()).unwrap();
    let fault = open(&disk).unwrap_err();
    assert!(fault.to_string().contains("format 2"), "{fault}");
}

#[test]
fn the_bytes_are_as_documented() {
    let slot = encode(0x0102_0304_0506_0708, b"abc");
    assert_eq!(&slot[..4], b"jksl");
    assert_eq!(&slot[8..16], [0, 1, 0, 3, 0, 0, 0, 0]);
    assert_eq!(&slot[16..27], b"\x01\x02\x03\x04\x05\x06\x07\x08abc");
    assert!(slot[27..].iter().all(|byte| *byte == 0));
    assert_eq!(slot[4..8], crc32c(&slot[8..]).to_be_bytes());
}

proptest! {
    #[test]
    fn whatever_fits_comes_back(
        payload in proptest::collection::vec(any::<u8>(), 0..=SLOT_PAYLOAD_BYTES_MAX),
        generation: u64,
    ) {
        match decode(&encode(generation, &payload)) {
            Copy::Whole(held) => prop_assert_eq!(held, (generation, payload)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(noise in proptest::collection::vec(any::<u8>(), SLOT_BYTES)) {
        let mut slot = [0; SLOT_BYTES];
        slot.copy_from_slice(&noise);
        let _any = decode(&slot);
        let crc = crc32c(&slot[8..]);
        slot[..4].copy_from_slice(&MAGIC);
        slot[4..8].copy_from_slice(&crc.to_be_bytes());
        let _any = decode(&slot);
    }
}
