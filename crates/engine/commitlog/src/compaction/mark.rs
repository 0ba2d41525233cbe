//! The file `jocko-compacted`: that a log was compacted, and up to where. It makes gaps between
//! offsets lawful there, whatever the topic's policy is by now. It comes into force together with the
//! copy that has the first of them; where a crash parts the two, the copy's name tells that it is a
//! copy. Above, a gap is still lost data. Byte table in docs/internals/compaction.md.

use crate::fault::Result;
use crate::log::Log;
use crate::retention::remove;
use jocko_disk::{Disk, FileRef, Open, read_small, write_atomically};
use jocko_records::crc32c;
use jocko_types::Offset;
use std::io::IoSlice;
use std::path::Path;

/// Its name.
pub(crate) const NAME: &str = "jocko-compacted";
/// The next one, until it is in force; a leftover goes at the next start.
const NEXT: &str = "jocko-compacted.next.tmp";
const MAGIC: [u8; 4] = *b"jkcl";
const BYTES: usize = 24;

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Everything below was compacted.
    pub(crate) cleaned_to: Offset,
    /// No pass has taken a record at or after this.
    pub(crate) gaps_to: Offset,
}

fn encode(mark: Mark) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&mark.cleaned_to.get().to_be_bytes());
    bytes[16..].copy_from_slice(&mark.gaps_to.get().to_be_bytes());
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let bytes = <&[u8; BYTES]>::try_from(bytes).ok()?;
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, body) = rest.split_first_chunk::<4>()?;
    let (cleaned_to, gaps_to) = body.split_first_chunk::<8>()?;
    let offset = |bytes| Offset::new(i64::from_be_bytes(bytes));
    let mark = Mark { cleaned_to: offset(*cleaned_to), gaps_to: offset(gaps_to.try_into().ok()?) };
    let is_sound = *magic == MAGIC && crc32c(body) == u32::from_be_bytes(*crc);
    is_sound.then_some(mark)
}

impl Mark {
    const UNKNOWN: Self = Self { cleaned_to: Offset::ZERO, gaps_to: Offset::new(i64::MAX) };

    /// Reads the file of a folder that has one. A damaged one says that the log was compacted, and
    /// not up to where: then all of it counts as dirty, and any gap as lawful.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>> {
        let bytes = read_small(disk, &dir.join(NAME), 4096)?;
        Ok(bytes.map(|bytes| decode(&bytes).unwrap_or(Self::UNKNOWN)))
    }

    /// Writes it beside the one in force; no lock is needed. The file is to be synced next.
    pub(super) fn prepare(self, disk: &dyn Disk, dir: &Path) -> Result<FileRef> {
        let file = disk.open(&dir.join(NEXT), Open::Create)?;
        file.set_size(0)?;
        file.write_at(&[IoSlice::new(&encode(self))], 0)?;
        file.begin_writeback(0, BYTES as u64);
        Ok(file)
    }

    /// Puts what was prepared, and synced, in force. The folder is to be synced next.
    pub(super) fn publish(self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        Ok(disk.rename(&dir.join(NEXT), &dir.join(NAME))?)
    }

    /// What makes a gap lawful that ends before `end`, beside what was lawful already.
    pub(super) fn with_gaps_to(before: Option<Self>, end: Offset) -> Self {
        let before = before.unwrap_or(Self { cleaned_to: Offset::ZERO, gaps_to: Offset::ZERO });
        Self { gaps_to: before.gaps_to.max(end), ..before }
    }

    /// Writes it, durably.
    pub(crate) fn store(self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        Ok(write_atomically(disk, &dir.join(NAME), &encode(self))?)
    }
}

/// Removes one that was prepared and is not wanted.
pub(super) fn discard(disk: &dyn Disk, dir: &Path) -> Result<()> {
    remove(disk, &dir.join(NEXT))
}

impl Log {
    /// Before records from `end` on are cut: none of what comes in their place is clean.
    pub(crate) fn limit_mark(&mut self, end: Offset) -> Result<()> {
        let Some(mark) = self.cleaning.mark.filter(|mark| mark.gaps_to > end) else {
            return Ok(());
        };
        let limited = Mark { cleaned_to: mark.cleaned_to.min(end), gaps_to: end };
        // On a full disk the one before stays in force.
        limited.store(self.disk.as_ref(), &self.dir)?;
        self.cleaning.mark = Some(limited);
        Ok(())
    }

    /// The log begins anew, without a gap.
    pub(crate) fn remove_mark(&mut self) -> Result<()> {
        if self.cleaning.mark.take().is_some() {
            remove(self.disk.as_ref(), &self.dir.join(NAME))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_disk::MemDisk;

    #[test]
    fn what_is_written_is_read_and_damage_makes_all_dirty() {
        let mem = MemDisk::with_dir("/d");
        let (disk, dir) = (mem.shared(), Path::new("/d"));
        assert_eq!(Mark::load(disk.as_ref(), dir).unwrap(), None);
        let mark = Mark { cleaned_to: Offset::new(1 << 40), gaps_to: Offset::new(1 << 41) };
        mark.store(disk.as_ref(), dir).unwrap();
        assert_eq!(Mark::load(disk.as_ref(), dir).unwrap(), Some(mark));
        let bytes = encode(mark);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None, "bit {bit}");
        }
        write_atomically(disk.as_ref(), &dir.join(NAME), b"?").unwrap();
        assert_eq!(Mark::load(disk.as_ref(), dir).unwrap(), Some(Mark::UNKNOWN));
    }
}
