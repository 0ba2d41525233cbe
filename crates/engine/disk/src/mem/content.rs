//! The bytes of one file: sparse pages that copies share.
//!
//! Crash enumeration copies whole disks thousands of times, and preallocated index files are
//! mostly holes; shared pages make both cheap.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The block size of the in-memory disk, in bytes; space is counted in blocks, as on real disks.
pub(super) const BLOCK_BYTES: u64 = 4096;
const BLOCK: usize = 4096;

type Block = Arc<[u8; BLOCK]>;

/// A sparse file: blocks that were written, and a size. Everything else reads as zero.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    blocks: BTreeMap<u64, Block>,
    size: u64,
}

/// How many blocks hold `size` bytes.
pub(super) fn blocks_for(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES)
}

fn inside(position: u64) -> usize {
    usize::try_from(position % BLOCK_BYTES).expect("a remainder of 4096 fits")
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Blocks that hold bytes, among those numbered `from` and up.
    pub(super) fn blocks_from(&self, from: u64) -> u64 {
        u64::try_from(self.blocks.range(from..).count()).expect("a count fits")
    }

    /// Blocks that hold bytes, among those numbered `from..to`.
    pub(super) fn blocks_between(&self, from: u64, to: u64) -> u64 {
        if from >= to {
            return 0;
        }
        u64::try_from(self.blocks.range(from..to).count()).expect("a count fits")
    }

    pub(super) fn has_block(&self, number: u64) -> bool {
        self.blocks.contains_key(&number)
    }

    /// Fills `buf` from `position`; fewer bytes only at the end of the file.
    pub(super) fn read(&self, buf: &mut [u8], position: u64) -> usize {
        let left = usize::try_from(self.size.saturating_sub(position)).unwrap_or(usize::MAX);
        let wanted = buf.len().min(left);
        let mut done = 0;
        while done < wanted {
            let at = position + done as u64;
            let start = inside(at);
            let step = (BLOCK - start).min(wanted - done);
            let target = &mut buf[done..done + step];
            match self.blocks.get(&(at / BLOCK_BYTES)) {
                Some(block) => target.copy_from_slice(&block[start..start + step]),
                None => target.fill(0),
            }
            done += step;
        }
        wanted
    }

    /// Writes `bytes` at `position`, growing the file if they end beyond it.
    pub(super) fn write(&mut self, bytes: &[u8], position: u64) {
        let mut done = 0;
        while done < bytes.len() {
            let at = position + done as u64;
            let start = inside(at);
            let step = (BLOCK - start).min(bytes.len() - done);
            let block = self.blocks.entry(at / BLOCK_BYTES).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[start..start + step].copy_from_slice(&bytes[done..done + step]);
            done += step;
        }
        if !bytes.is_empty() {
            self.size = self.size.max(position + bytes.len() as u64);
        }
    }

    /// Cuts, or extends with zeroes.
    pub(super) fn set_size(&mut self, size: u64) {
        if size < self.size {
            let _cut = self.blocks.split_off(&blocks_for(size));
            let start = inside(size);
            if start > 0
                && let Some(block) = self.blocks.get_mut(&(size / BLOCK_BYTES))
            {
                Arc::make_mut(block)[start..].fill(0);
            }
        }
        self.size = size;
    }

    /// Flips one bit; `false` if `position` lies beyond the end.
    pub(super) fn flip(&mut self, position: u64, bit: u8) -> bool {
        if position >= self.size {
            return false;
        }
        let block =
            self.blocks.entry(position / BLOCK_BYTES).or_insert_with(|| Arc::new([0; BLOCK]));
        Arc::make_mut(block)[inside(position)] ^= 1 << (bit % 8);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_read_as_zero_and_a_cut_tail_does_not_come_back() {
        let mut content = Content::default();
        content.write(b"abc", 5000);
        let mut buf = [1; 8];
        assert_eq!(content.read(&mut buf, 4998), 5);
        assert_eq!(&buf[..5], b"\0\0abc");
        content.set_size(5001);
        content.set_size(5003);
        assert_eq!(content.read(&mut buf, 5000), 3);
        assert_eq!(&buf[..3], b"a\0\0");
        assert_eq!(content.blocks_from(0), 1);
        assert_eq!(content.read(&mut buf, 9000), 0);
    }
}
