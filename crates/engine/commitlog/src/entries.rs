//! A file of fixed-size, ascending entries: what both indexes are made of.
//!
//! New entries gather in memory and reach the file in blocks, at a roll and at a clean stop: an
//! active segment's index is rebuilt after a crash anyway, so it needs no write per batch. Lookups
//! search the file by halves, so an index of any size costs a few small reads and no memory.

use crate::fault::Result;
use crate::read::{Miss, Patience, read_full};
use jocko_disk::{Disk, FaultKind, FileRef, Open, write_atomically};
use std::io::IoSlice;
use std::path::Path;

/// Entries gathered in memory before a block is written.
const PENDING_MAX: usize = 512;
/// Entries read at once when a search by halves has come this close.
const BLOCK: u32 = 64;

/// Entries of `N` bytes in a file, the newest of them still in memory.
#[derive(Debug, Default)]
pub(crate) struct Entries<const N: usize> {
    file: Option<FileRef>,
    /// Entries in the file that count; the file may be longer if `cut_due`.
    written: u32,
    pending: Vec<[u8; N]>,
    /// The file holds more than `written` entries.
    cut_due: bool,
}

/// Where an index's file is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) path: &'a Path,
}

impl<const N: usize> Entries<N> {
    /// An index whose file has `file_bytes` bytes. A ragged end is ignored and cut at the next
    /// write.
    pub(crate) fn with_file_size(file_bytes: u64) -> Self {
        let written = u32::try_from(file_bytes / N as u64).unwrap_or(u32::MAX);
        Self {
            file: None,
            written,
            pending: Vec::new(),
            cut_due: !file_bytes.is_multiple_of(N as u64),
        }
    }

    /// A copy for lookups without the log's lock.
    pub(crate) fn lent(&self) -> Self {
        Self {
            file: self.file.clone(),
            written: self.written,
            pending: self.pending.clone(),
            cut_due: self.cut_due,
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.written + u32::try_from(self.pending.len()).unwrap_or(u32::MAX)
    }

    /// Bytes of the entries.
    pub(crate) fn size_bytes(&self) -> u64 {
        u64::from(self.len()) * N as u64
    }

    /// Adds an entry, in memory.
    pub(crate) fn push(&mut self, entry: [u8; N]) {
        self.pending.push(entry);
    }

    /// Whether enough entries have gathered for a write.
    pub(crate) fn is_due(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }

    /// Entry number `at`; `None` past the end, and where the file is shorter than it was.
    pub(crate) fn get(
        &mut self,
        place: Place<'_>,
        at: u32,
        patience: Patience,
    ) -> std::result::Result<Option<[u8; N]>, Miss> {
        if at >= self.written {
            let at = usize::try_from(at - self.written).unwrap_or(usize::MAX);
            return Ok(self.pending.get(at).copied());
        }
        let mut entry = [0; N];
        let read = self.read(place, &mut entry, at, patience)?;
        Ok((read == N).then_some(entry))
    }

    fn read(
        &mut self,
        place: Place<'_>,
        buffer: &mut [u8],
        at: u32,
        patience: Patience,
    ) -> std::result::Result<usize, Miss> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(place.disk.open(place.path, Open::Read)?),
        };
        read_full(file, buffer, u64::from(at) * N as u64, patience)
    }

    /// How many leading entries satisfy `goes_before`, which holds for a prefix of them.
    pub(crate) fn partition_point(
        &mut self,
        place: Place<'_>,
        patience: Patience,
        goes_before: impl Fn(&[u8; N]) -> bool,
    ) -> std::result::Result<u32, Miss> {
        if self.pending.first().is_some_and(&goes_before) {
            let within = self.pending.partition_point(&goes_before);
            return Ok(self.written + u32::try_from(within).unwrap_or(u32::MAX));
        }
        let (mut low, mut high) = (0, self.written);
        while high - low > BLOCK {
            let middle = low + (high - low) / 2;
            match self.get(place, middle, patience)? {
                Some(entry) if goes_before(&entry) => low = middle + 1,
                _ => high = middle,
            }
        }
        let count = usize::try_from(high - low).unwrap_or(usize::MAX);
        let mut block = vec![0; count * N];
        if count > 0 {
            let read = self.read(place, &mut block, low, patience)?;
            block.truncate(read);
        }
        let (entries, _) = block.as_chunks::<N>();
        let within = entries.partition_point(goes_before);
        Ok(low + u32::try_from(within).unwrap_or(u32::MAX))
    }

    /// Keeps the first `count` entries.
    pub(crate) fn truncate(&mut self, count: u32) {
        if count < self.written {
            self.written = count;
            self.cut_due = true;
            self.pending.clear();
        } else {
            self.pending.truncate(usize::try_from(count - self.written).unwrap_or(usize::MAX));
        }
    }

    /// Forgets every entry, so that they can be written anew.
    pub(crate) fn clear(&mut self) {
        self.file = None;
        self.written = 0;
        self.cut_due = true;
        self.pending.clear();
    }

    /// Writes what is in memory, creating the file if need be. Want of room is no fault: the
    /// entries stay in memory and the next call tries again.
    pub(crate) fn store(&mut self, place: Place<'_>) -> Result<()> {
        match self.try_store(place) {
            Err(fault) if fault.kind() == FaultKind::NoSpace => Ok(()),
            other => Ok(other?),
        }
    }

    /// Replaces the file by what is in memory, which must be all, so that a crash leaves the old
    /// entries or the new ones. Durable when this returns.
    pub(crate) fn replace(&mut self, place: Place<'_>) -> Result<()> {
        assert_eq!(self.written, 0, "the entries are all in memory");
        write_atomically(place.disk, place.path, self.pending.as_flattened())?;
        self.written = self.len();
        self.pending = Vec::new();
        self.cut_due = false;
        self.file = None;
        Ok(())
    }

    fn try_store(&mut self, place: Place<'_>) -> std::result::Result<(), jocko_disk::DiskFault> {
        let file = place.disk.open(place.path, Open::Create)?;
        let position = u64::from(self.written) * N as u64;
        if self.cut_due {
            file.set_size(position)?;
            self.cut_due = false;
        }
        if !self.pending.is_empty() {
            if let Err(fault) =
                file.write_at(&[IoSlice::new(self.pending.as_flattened())], position)
            {
                self.cut_due = true;
                return Err(fault);
            }
            self.written += u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
            self.pending = Vec::new();
        }
        self.file = Some(file);
        Ok(())
    }

    /// All entries, none of which may have been written yet.
    pub(crate) fn bytes(&self) -> &[u8] {
        assert_eq!(self.written, 0, "the entries are all in memory");
        self.pending.as_flattened()
    }

    /// Looks up in this file, whatever its name is by now.
    pub(crate) fn hold(&mut self, file: FileRef) {
        self.file = Some(file);
    }

    /// Whether the file holds exactly what counts.
    pub(crate) fn is_stored(&self) -> bool {
        self.pending.is_empty() && !self.cut_due
    }

    /// The open file, opened if need be, for a sync.
    pub(crate) fn file(&mut self, place: Place<'_>) -> Result<FileRef> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => Ok(self.file.insert(place.disk.open(place.path, Open::Write)?).clone()),
        }
    }

    /// Lets go of the descriptor; the next lookup opens the file again.
    pub(crate) fn release(&mut self) {
        self.file = None;
    }

    /// Whether a descriptor is held.
    pub(crate) fn is_open(&self) -> bool {
        self.file.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_disk::{Inject, MemDisk, Operation};

    const PATH: &str = "/d/0.index";

    fn entry(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    #[test]
    fn a_search_finds_the_same_place_wherever_the_entries_lie() {
        for in_file in [0, 1, 63, 64, 65, 200, 300] {
            let disk = MemDisk::with_dir("/d");
            let place = Place { disk: &disk, path: Path::new(PATH) };
            let mut entries = Entries::<4>::default();
            for number in 0..300 {
                if number == in_file {
                    entries.store(place).unwrap();
                }
                entries.push(entry(number * 2));
            }
            for wanted in 0..=600 {
                let found = entries
                    .partition_point(place, Patience::Wait, |at| u32::from_be_bytes(*at) < wanted)
                    .unwrap();
                assert_eq!(found, wanted.div_ceil(2), "{in_file} in the file, wanted {wanted}");
            }
            assert_eq!(entries.get(place, 299, Patience::Wait).unwrap(), Some(entry(598)));
            assert_eq!(entries.get(place, 300, Patience::Wait).unwrap(), None);
        }
    }

    #[test]
    fn want_of_room_keeps_the_entries_in_memory() {
        let disk = MemDisk::with_dir("/d");
        let place = Place { disk: &disk, path: Path::new(PATH) };
        let mut entries = Entries::<4>::default();
        entries.push(entry(7));
        entries.push(entry(9));
        disk.inject(Inject::new(Operation::Write, "").no_space().keeping(5).times(1));
        entries.store(place).unwrap();
        assert!(!entries.is_stored());
        assert_eq!(entries.get(place, 1, Patience::Wait).unwrap(), Some(entry(9)));
        entries.truncate(1);
        entries.store(place).unwrap();
        assert!(entries.is_stored());
        assert_eq!(disk.contents(PATH), Some(entry(7).to_vec()));
    }

    #[test]
    fn a_cut_reaches_the_file_at_the_next_store() {
        let disk = MemDisk::with_dir("/d");
        let place = Place { disk: &disk, path: Path::new(PATH) };
        let mut entries = Entries::<4>::default();
        for number in 0..10 {
            entries.push(entry(number));
        }
        entries.store(place).unwrap();
        entries.truncate(3);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries.get(place, 3, Patience::Wait).unwrap(), None);
        entries.push(entry(100));
        entries.store(place).unwrap();
        assert_eq!(entries.size_bytes(), 16);
        let expect: Vec<u8> = [0, 1, 2, 100].into_iter().flat_map(entry).collect();
        assert_eq!(disk.contents(PATH), Some(expect));
    }
}
