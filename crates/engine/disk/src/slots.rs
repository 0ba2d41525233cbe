//! A few bytes kept twice in one file, overwritten in place: votes, committed indexes, identities.
//!
//! A store writes the same generation into one copy, syncs, and then into the other and syncs, so
//! that what was promised is always held twice: one torn write, or one flipped bit, costs nothing.
//! The byte table is in docs/internals/disk.md.

use std::io::IoSlice;
use std::path::Path;

use crate::checksum::crc32c;
use crate::{Disk, DiskFault, FileRef, Open, Result, create_dir_durably, write_atomically};

/// One copy fills one block, so that no write of one touches the block of the other.
const SLOT_BYTES: usize = 4096;
const MAGIC: [u8; 4] = *b"jksl";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 24;
/// The most bytes a [`Slots`] file keeps.
pub const SLOT_PAYLOAD_BYTES_MAX: usize = SLOT_BYTES - HEADER_BYTES;

/// What a [`Slots`] file held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The bytes last stored.
    pub payload: Vec<u8>,
    /// How many stores there have been; the first is 1.
    pub generation: u64,
    /// One copy was damaged or behind, and has been written anew from the other.
    pub repaired: bool,
}

/// A file that keeps a few bytes twice.
#[derive(Debug)]
pub struct Slots {
    file: FileRef,
    generation: u64,
    /// After a failed store nobody knows what the medium holds; only opening anew finds out (DR2).
    latched: bool,
}

impl Slots {
    /// Opens the file at `path`, or creates it with `initial` as its first generation. A copy that
    /// is damaged or behind is restored from the other before this returns.
    ///
    /// # Errors
    /// Any fault of the disk; [`DiskFault::is_corruption`] if neither copy is whole, or if the file
    /// was written by a newer version.
    ///
    /// # Panics
    /// If `initial` is longer than [`SLOT_PAYLOAD_BYTES_MAX`].
    pub fn open(disk: &dyn Disk, path: &Path, initial: &[u8]) -> Result<(Self, Stored)> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        if disk.exists(path)? {
            // The process that created it may have been killed before the name was durable.
            disk.sync_dir(dir)?;
        } else {
            let slot = encode(1, initial);
            create_dir_durably(disk, dir)?;
            write_atomically(disk, path, &[slot.as_slice(), slot.as_slice()].concat())?;
        }
        let file = disk.open(path, Open::Write)?;
        let mut slots = Self { file, generation: 0, latched: false };
        let stored = slots.load()?;
        Ok((slots, stored))
    }

    fn load(&mut self) -> Result<Stored> {
        let copies = [self.read_copy(0)?, self.read_copy(1)?];
        let newest = match &copies {
            [Copy::Whole(first), Copy::Whole(second)] if first.0 >= second.0 => first.clone(),
            [_, Copy::Whole(second)] => second.clone(),
            [Copy::Whole(first), _] => first.clone(),
            [Copy::Newer(version), _] | [_, Copy::Newer(version)] => {
                let words = format!(
                    "written in format {version}, this program knows {VERSION}; run a newer one"
                );
                return Err(DiskFault::corrupt("load", self.file.path(), words));
            }
            [Copy::Damaged, Copy::Damaged] => {
                let words = "both copies are damaged";
                return Err(DiskFault::corrupt("load", self.file.path(), words));
            }
        };
        let (generation, payload) = newest;
        self.generation = generation;
        let slot = encode(generation, &payload);
        let mut repaired = false;
        for (number, copy) in copies.into_iter().enumerate() {
            if matches!(copy, Copy::Whole(held) if held.0 == generation) {
                continue;
            }
            self.write_copy(number, &slot)?;
            repaired = true;
        }
        if !repaired {
            // The copies may be seen only because the process died and the page cache lived: what
            // is acted upon must not be lost to a power cut that follows.
            self.file.sync_data()?;
        }
        Ok(Stored { payload, generation, repaired })
    }

    fn read_copy(&self, number: usize) -> Result<Copy> {
        let mut slot = [0; SLOT_BYTES];
        let read = self.file.read_at(&mut slot, position(number))?;
        Ok(if read == SLOT_BYTES { decode(&slot) } else { Copy::Damaged })
    }

    fn write_copy(&self, number: usize, slot: &[u8; SLOT_BYTES]) -> Result<()> {
        self.file.write_at(&[IoSlice::new(slot)], position(number))?;
        self.file.sync_data()
    }

    /// Stores `payload`; durable, twice, when this returns its generation.
    ///
    /// # Errors
    /// Any fault of the disk. The old bytes or the new ones are then held, and every later store
    /// fails: open the file anew to learn which (DR2).
    ///
    /// # Panics
    /// If `payload` is longer than [`SLOT_PAYLOAD_BYTES_MAX`].
    pub fn store(&mut self, payload: &[u8]) -> Result<u64> {
        if self.latched {
            let words = std::io::Error::other("an earlier store failed; the file must be reopened");
            return Err(DiskFault::new("store", self.file.path(), words));
        }
        let generation = self.generation + 1;
        let slot = encode(generation, payload);
        self.latched = true;
        self.write_copy(0, &slot)?;
        self.write_copy(1, &slot)?;
        self.latched = false;
        self.generation = generation;
        Ok(generation)
    }
}

/// One copy, as found.
#[derive(Debug)]
enum Copy {
    /// Its generation and payload.
    Whole((u64, Vec<u8>)),
    /// In a format of the future.
    Newer(u16),
    Damaged,
}

fn position(number: usize) -> u64 {
    (number * SLOT_BYTES) as u64
}

fn encode(generation: u64, payload: &[u8]) -> [u8; SLOT_BYTES] {
    assert!(payload.len() <= SLOT_PAYLOAD_BYTES_MAX, "a slot keeps few bytes");
    let mut slot = [0; SLOT_BYTES];
    let len = u16::try_from(payload.len()).expect("bounded above");
    slot[0..4].copy_from_slice(&MAGIC);
    slot[8..10].copy_from_slice(&VERSION.to_be_bytes());
    slot[10..12].copy_from_slice(&len.to_be_bytes());
    slot[16..24].copy_from_slice(&generation.to_be_bytes());
    slot[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
    let crc = crc32c(&slot[8..]);
    slot[4..8].copy_from_slice(&crc.to_be_bytes());
    slot
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Copy {
    let (magic, rest) = slot.split_at(4);
    let Some((crc, summed)) = rest.split_first_chunk::<4>() else { return Copy::Damaged };
    // A newer format keeps magic, checksum and version where they are.
    if magic != MAGIC || crc32c(summed) != u32::from_be_bytes(*crc) {
        return Copy::Damaged;
    }
    let number = |at: usize| u16::from_be_bytes([slot[at], slot[at + 1]]);
    let version = number(8);
    if version != VERSION {
        return Copy::Newer(version);
    }
    let mut generation = [0; 8];
    generation.copy_from_slice(&slot[16..24]);
    match slot.get(HEADER_BYTES..HEADER_BYTES + usize::from(number(10))) {
        Some(payload) => Copy::Whole((u64::from_be_bytes(generation), payload.to_vec())),
        None => Copy::Damaged,
    }
}

#[cfg(test)]
mod tests;
