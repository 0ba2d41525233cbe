//! The file `jocko-followed`: up to where gaps between offsets are lawful because the leader that
//! this log was copied from had them. What compaction takes here by itself stands in
//! `jocko-compacted`; two files, because two threads write them.
//!
//! It is stored by the flush that makes the batches after a gap durable, and they do not count as
//! durable before it is: otherwise a crash would leave what recovery takes for a torn tail. Bytes
//! in docs/internals/replication.md.

use crate::fault::Result;
use crate::log::Log;
use jocko_disk::{Disk, read_small, write_atomically};
use jocko_records::crc32c;
use jocko_types::Offset;
use std::path::Path;

/// Its name.
pub(crate) const NAME: &str = "jocko-followed";
const MAGIC: [u8; 4] = *b"jkfl";
const BYTES: usize = 16;

fn encode(gaps_to: Offset) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[8..].copy_from_slice(&gaps_to.get().to_be_bytes());
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Offset> {
    let bytes = <&[u8; BYTES]>::try_from(bytes).ok()?;
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, body) = rest.split_first_chunk::<4>()?;
    let is_sound = *magic == MAGIC && crc32c(body) == u32::from_be_bytes(*crc);
    is_sound.then_some(Offset::new(i64::from_be_bytes(body.try_into().ok()?)))
}

/// Reads the file of a folder that has one. A damaged one says that there were gaps, and not up to
/// where: then any gap is lawful.
pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Offset> {
    let bytes = read_small(disk, &dir.join(NAME), 4096)?;
    Ok(bytes.map_or(Offset::ZERO, |bytes| decode(&bytes).unwrap_or(Offset::new(i64::MAX))))
}

impl Log {
    /// The leader has nothing between the log's end and `base`, whose batch is appended.
    pub(crate) fn note_gap(&mut self, base: Offset) {
        if base > self.followed_to {
            self.followed_to = base;
            self.note_followed();
        }
    }

    /// What a log that began anew has queued is forgotten; this is not to be.
    pub(crate) fn note_limited_followed(&mut self) {
        if self.followed_to > Offset::ZERO {
            self.note_followed();
        }
    }

    fn note_followed(&mut self) {
        let path = self.dir.join(NAME);
        self.flushing.note_gating_state(path, encode(self.followed_to).to_vec());
    }

    /// Before records from `end` on are cut: a gap in what comes in their place is lost data.
    pub(crate) fn limit_followed(&mut self, end: Offset) -> Result<()> {
        if self.followed_to <= end {
            return Ok(());
        }
        // On a full disk what was noted before stays in force.
        write_atomically(self.disk.as_ref(), &self.dir.join(NAME), &encode(end))?;
        self.followed_to = end;
        // A flush that is under way may still write an older one over it.
        self.note_followed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_disk::MemDisk;

    #[test]
    fn what_is_written_is_read_and_damage_makes_any_gap_lawful() {
        let mem = MemDisk::with_dir("/d");
        let (disk, dir) = (mem.shared(), Path::new("/d"));
        assert_eq!(load(disk.as_ref(), dir).unwrap(), Offset::ZERO);
        let bytes = encode(Offset::new(1 << 40));
        write_atomically(disk.as_ref(), &dir.join(NAME), &bytes).unwrap();
        assert_eq!(load(disk.as_ref(), dir).unwrap(), Offset::new(1 << 40));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None, "bit {bit}");
        }
        write_atomically(disk.as_ref(), &dir.join(NAME), b"?").unwrap();
        assert_eq!(load(disk.as_ref(), dir).unwrap(), Offset::new(i64::MAX));
    }
}
