//! LZ4 frames (lz4 frame format 1.6.2) as Kafka's Java classes read and write them.
//!
//! The frame is walked here, the blocks are unpacked by the lz4 crate: its own frame reader
//! reserves buffers by the block size a frame claims, up to 8 MiB for a batch of a few bytes.

use super::{Codec, DecompressError, move_bytes};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use std::io::Write;
use twox_hash::XxHash32;

const MAGIC: u32 = 0x184d_2204;
const UNCOMPRESSED_BLOCK: u32 = 1 << 31;
/// No block unpacks to more than this many times its size, so claims beyond it are not believed.
const RATIO_MAX: usize = 256;

const MALFORMED: DecompressError = DecompressError::Malformed { codec: Codec::Lz4 };

/// Unpacks the first frame of a payload block by block; Kafka reads no further either.
pub(super) struct Decoder<'s, 'a> {
    rest: &'a [u8],
    block: &'s mut Vec<u8>,
    /// The unpacked bytes of `block` not yet taken.
    start: usize,
    end: usize,
    block_bytes_max: usize,
    has_block_checksums: bool,
    ended: bool,
}

impl<'s, 'a> Decoder<'s, 'a> {
    pub(super) fn new(payload: &'a [u8], block: &'s mut Vec<u8>) -> Result<Self, DecompressError> {
        let mut rest = payload;
        if take_u32(&mut rest)? != MAGIC {
            return Err(MALFORMED);
        }
        let descriptor = rest;
        let [flags, sizes, ..] = *rest else { return Err(MALFORMED) };
        // Version 1, independent blocks, reserved bit and dictionary id clear.
        if flags & 0b1110_0011 != 0b0110_0000 || sizes & 0b1000_1111 != 0 {
            return Err(DecompressError::Lz4Frame);
        }
        let block_bytes_max = match sizes >> 4 {
            4 => 64 * 1024,
            5 => 256 * 1024,
            6 => 1024 * 1024,
            7 => 4 * 1024 * 1024,
            _ => return Err(DecompressError::Lz4Frame),
        };
        let has_content_size = flags & 0b1000 != 0;
        let descriptor_bytes = if has_content_size { 10 } else { 2 };
        let (covered, after) = descriptor.split_at_checked(descriptor_bytes).ok_or(MALFORMED)?;
        let (&checksum, after) = after.split_first().ok_or(MALFORMED)?;
        let [_, second, ..] = XxHash32::oneshot(0, covered).to_le_bytes();
        if checksum != second {
            return Err(MALFORMED);
        }
        Ok(Self {
            rest: after,
            block,
            start: 0,
            end: 0,
            block_bytes_max,
            has_block_checksums: flags & 0b1_0000 != 0,
            ended: false,
        })
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        while self.start == self.end {
            if self.ended {
                return Ok(0);
            }
            self.next_block()?;
        }
        let mut ready = self.block.get(self.start..self.end).unwrap_or_default();
        let moved = move_bytes(&mut ready, out);
        self.start += moved;
        Ok(moved)
    }

    fn next_block(&mut self) -> Result<(), DecompressError> {
        let field = take_u32(&mut self.rest)?;
        if field == 0 {
            // The end mark. A content checksum may follow; Kafka does not look at it.
            self.ended = true;
            return Ok(());
        }
        let is_plain = field & UNCOMPRESSED_BLOCK != 0;
        let length = usize::try_from(field & !UNCOMPRESSED_BLOCK).map_err(|_| MALFORMED)?;
        if length > self.block_bytes_max {
            return Err(MALFORMED);
        }
        let (packed, after) = self.rest.split_at_checked(length).ok_or(MALFORMED)?;
        self.rest = after;
        if self.has_block_checksums && take_u32(&mut self.rest)? != XxHash32::oneshot(0, packed) {
            return Err(MALFORMED);
        }
        let room_bytes = if is_plain {
            length
        } else {
            self.block_bytes_max.min(length.saturating_mul(RATIO_MAX))
        };
        if self.block.len() < room_bytes {
            self.block.resize(room_bytes, 0);
        }
        let room = self.block.get_mut(..room_bytes).unwrap_or_default();
        self.start = 0;
        self.end = if is_plain {
            room.copy_from_slice(packed);
            length
        } else {
            lz4_flex::block::decompress_into(packed, room).map_err(|_| MALFORMED)?.min(room_bytes)
        };
        Ok(())
    }
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, DecompressError> {
    let (field, after) = rest.split_first_chunk::<4>().ok_or(MALFORMED)?;
    *rest = after;
    Ok(u32::from_le_bytes(*field))
}

/// Appends `payload` as one frame of independent 64 KiB blocks, like Kafka's producer.
pub(super) fn compress(payload: &[u8], out: &mut Vec<u8>) {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(payload).expect("writing to memory cannot fail");
    encoder.finish().expect("writing to memory cannot fail");
}
