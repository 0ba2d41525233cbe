//! The note `jocko-recovery-bound`: what the next start must know while a cut of the log is not
//! yet in the checkpoints. Byte table in docs/internals/commitlog.md.

use crate::fault::{LogFault, Result};
use crate::names;
use jocko_disk::{Disk, read_small};
use jocko_records::crc32c;
use jocko_types::Offset;
use std::path::Path;

const MAGIC: [u8; 4] = *b"jkrb";
const BYTES: usize = 17;
const RECOVER_FROM: u8 = 1;
const START_OVER: u8 = 2;

/// What the note says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The log was cut there: nothing from there on is promised, whatever the checkpoint says.
    RecoverFrom(Offset),
    /// Everything is to go, and the log to begin there.
    StartOver(Offset),
}

pub(crate) fn encode(bound: &Bound) -> [u8; BYTES] {
    let (kind, offset) = match bound {
        Bound::RecoverFrom(offset) => (RECOVER_FROM, offset),
        Bound::StartOver(offset) => (START_OVER, offset),
    };
    let mut bytes = [0; BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[8] = kind;
    bytes[9..].copy_from_slice(&offset.get().to_be_bytes());
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Bound> {
    let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
    let [a, b, c, d, e, f, g, h, kind, offset @ ..] = *bytes;
    if [a, b, c, d] != MAGIC || crc32c(&bytes[8..]) != u32::from_be_bytes([e, f, g, h]) {
        return None;
    }
    let offset = Offset::new(i64::from_be_bytes(offset));
    match kind {
        RECOVER_FROM => Some(Bound::RecoverFrom(offset)),
        START_OVER => Some(Bound::StartOver(offset)),
        _ => None,
    }
}

/// Reads the note. One that cannot be read is a fault: guessing could lose or revive records.
pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Bound>> {
    let path = dir.join(names::BOUND);
    let Some(bytes) = read_small(disk, &path, 4096)? else { return Ok(None) };
    decode(&bytes).map(Some).ok_or(LogFault::Corrupt {
        path,
        position: 0,
        offset: Offset::new(-1),
        reason: "the note about an unfinished cut is damaged".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_any_flipped_bit_is_seen() {
        for bound in [Bound::RecoverFrom(Offset::new(7)), Bound::StartOver(Offset::new(1 << 40))] {
            let bytes = encode(&bound);
            assert_eq!(decode(&bytes), Some(bound));
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes;
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&damaged), None, "bit {bit}");
            }
            assert_eq!(decode(&bytes[1..]), None);
        }
    }
}
