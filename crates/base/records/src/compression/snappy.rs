//! snappy, raw and in the block framing of the Java library.
//!
//! Framed: 8 bytes magic, version and lowest compatible version (i32 each), then blocks of an i32
//! length and that many raw snappy bytes. Without the magic the payload is one raw block, which is
//! what some clients write.

use super::{Codec, DecompressError, move_bytes};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSION: i32 = 1;
const FRAME_HEADER_BYTES: usize = 16;
/// Bytes of input per written block: the Java library's default.
const BLOCK_BYTES: usize = 32 * 1024;
/// No snappy block unpacks to more than this many times its size (a copy makes 64 bytes of 3);
/// a block that claims more lies, and is refused before anything is allocated for it.
const RATIO_MAX: usize = 24;

const MALFORMED: DecompressError = DecompressError::Malformed { codec: Codec::Snappy };

/// Unpacks block by block.
pub(super) struct Decoder<'s, 'a> {
    rest: &'a [u8],
    framed: bool,
    block: &'s mut Vec<u8>,
    /// The unpacked bytes of `block` not yet taken.
    start: usize,
    end: usize,
    limit_bytes: u64,
}

impl<'s, 'a> Decoder<'s, 'a> {
    pub(super) fn new(
        payload: &'a [u8],
        block: &'s mut Vec<u8>,
        limit_bytes: u64,
    ) -> Result<Self, DecompressError> {
        let framed = payload.starts_with(&MAGIC);
        if payload.is_empty() {
            return Err(MALFORMED);
        }
        Ok(Self { rest: payload, framed, block, start: 0, end: 0, limit_bytes })
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        while self.start == self.end {
            let Some(packed) = self.next_block()? else { return Ok(0) };
            self.unpack(packed)?;
        }
        let mut ready = self.block.get(self.start..self.end).unwrap_or_default();
        let moved = move_bytes(&mut ready, out);
        self.start += moved;
        Ok(moved)
    }

    fn next_block(&mut self) -> Result<Option<&'a [u8]>, DecompressError> {
        if !self.framed {
            let block = std::mem::take(&mut self.rest);
            return Ok((!block.is_empty()).then_some(block));
        }
        // Streams may be concatenated: a frame header may stand where a block would begin.
        while self.rest.starts_with(&MAGIC) {
            self.rest = self.rest.get(FRAME_HEADER_BYTES..).ok_or(MALFORMED)?;
        }
        // Fewer bytes than a length end the stream, as for the Java library.
        let Some((length, after)) = self.rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| MALFORMED)?;
        let (block, after) = after.split_at_checked(length).ok_or(MALFORMED)?;
        self.rest = after;
        Ok(Some(block))
    }

    fn unpack(&mut self, packed: &[u8]) -> Result<(), DecompressError> {
        let claimed = snap::raw::decompress_len(packed).map_err(|_| MALFORMED)?;
        if claimed > packed.len().saturating_mul(RATIO_MAX) {
            return Err(MALFORMED);
        }
        if u64::try_from(claimed).is_ok_and(|claimed| claimed > self.limit_bytes) {
            return Err(DecompressError::Limit { limit_bytes: self.limit_bytes });
        }
        if self.block.len() < claimed {
            self.block.resize(claimed, 0);
        }
        let room = self.block.get_mut(..claimed).unwrap_or_default();
        self.start = 0;
        self.end =
            snap::raw::Decoder::new().decompress(packed, room).map_err(|_| MALFORMED)?.min(claimed);
        Ok(())
    }
}

/// Appends `payload` in the Java framing.
pub(super) fn compress(payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut packed = vec![0; snap::raw::max_compress_len(BLOCK_BYTES)];
    for block in payload.chunks(BLOCK_BYTES) {
        let length = encoder
            .compress(block, &mut packed)
            .expect("the buffer is as large as any block of this size can get");
        let length_field = u32::try_from(length).expect("a block is tens of kilobytes");
        out.extend_from_slice(&length_field.to_be_bytes());
        out.extend_from_slice(packed.get(..length).expect("the encoder stays in its buffer"));
    }
}
