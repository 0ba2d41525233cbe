//! The four codecs of Kafka, each read as a bounded stream and written in one go.
//!
//! Reading never holds more than a window (and one block of snappy or lz4) and stops at the
//! caller's limit, so a bomb costs its limit in time and nothing in memory. Contexts and windows
//! are kept per thread: a broker unpacks on the thread that read the request.

mod gzip;
mod lz4;
mod snappy;
mod stream;
mod zstandard;

pub(crate) use stream::ByteStream;

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// snappy; written in the block framing of the Java library, read with and without it.
    Snappy,
    /// An LZ4 frame of independent blocks (KIP-57).
    Lz4,
    /// A Zstandard frame (RFC 8878, KIP-110).
    Zstd,
}

impl Codec {
    /// All codecs, by id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The attribute bits of the codec.
    #[must_use]
    pub const fn id_bits(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name used in `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodecName;

    /// Reads a codec name as producers and topics spell it; `uncompressed` is a topic's `none`.
    fn from_str(name: &str) -> Result<Self, UnknownCodecName> {
        match name {
            "none" | "uncompressed" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "snappy" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            _ => Err(UnknownCodecName),
        }
    }
}

/// No codec has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no such codec: one of none, gzip, snappy, lz4, zstd is wanted")]
pub struct UnknownCodecName;

/// A codec and how hard it shall try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Encoding {
    /// The codec.
    pub codec: Codec,
    /// Effort, in the codec's own scale (KIP-390): gzip 1 to 9 or -1, zstd -131072 to 22. `None`
    /// is the codec's default. The lz4 encoder has one effort and ignores it, as snappy does.
    pub level: Option<i32>,
}

impl Encoding {
    /// No compression.
    pub const NONE: Self = Self { codec: Codec::None, level: None };

    /// The codec at its default level.
    #[must_use]
    pub const fn new(codec: Codec) -> Self {
        Self { codec, level: None }
    }
}

/// Why compressed bytes cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// The bytes are not what the codec writes.
    #[error("not valid {codec} data")]
    Malformed {
        /// The codec.
        codec: Codec,
    },
    /// An lz4 frame that Kafka's readers refuse: linked blocks, a dictionary, another version.
    #[error("an lz4 frame must be version 1 with independent blocks and no dictionary")]
    Lz4Frame,
    /// The output passes the caller's limit.
    #[error("the output is larger than {limit_bytes} bytes")]
    Limit {
        /// The limit.
        limit_bytes: u64,
    },
}

/// Bytes unpacked at a time.
const WINDOW_BYTES: usize = 32 * 1024;
/// A block buffer larger than this is not kept for the next batch.
const KEPT_BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// What a thread keeps between batches.
struct Scratch {
    window: Vec<u8>,
    block: Vec<u8>,
    zstd: zstandard::Context,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        window: vec![0; WINDOW_BYTES],
        block: Vec::new(),
        zstd: zstandard::Context::default(),
    });
}

/// Runs `read` over the unpacked form of `payload`, which ends with an error once more than
/// `limit_bytes` have come out. `read` must not unpack anything else meanwhile.
pub(crate) fn with_stream<T>(
    codec: Codec,
    payload: &[u8],
    limit_bytes: u64,
    read: impl FnOnce(&mut ByteStream<'_, '_>) -> Result<T, DecompressError>,
) -> Result<T, DecompressError> {
    SCRATCH.with_borrow_mut(|scratch| {
        let decoder = match codec {
            Codec::None => Decoder::None(payload),
            Codec::Gzip => Decoder::Gzip(gzip::Decoder::new(payload)),
            Codec::Snappy => {
                Decoder::Snappy(snappy::Decoder::new(payload, &mut scratch.block, limit_bytes)?)
            }
            Codec::Lz4 => Decoder::Lz4(lz4::Decoder::new(payload, &mut scratch.block)?),
            Codec::Zstd => Decoder::Zstd(scratch.zstd.decoder(payload)?),
        };
        let result = read(&mut ByteStream::new(decoder, &mut scratch.window, limit_bytes));
        if scratch.block.capacity() > KEPT_BLOCK_BYTES_MAX {
            scratch.block = Vec::new();
        }
        scratch.zstd.release_if_large();
        result
    })
}

/// Unpacks `payload` into `out`, which is cleared first.
///
/// # Errors
/// [`DecompressError::Limit`] if more than `limit_bytes` come out, which is noticed before they
/// are all in memory; otherwise that the bytes are damaged.
pub fn decompress_into(
    codec: Codec,
    payload: &[u8],
    limit_bytes: u64,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    out.clear();
    with_stream(codec, payload, limit_bytes, |stream| stream.drain_into(out))
}

/// Compresses `payload`, appending to `out`.
///
/// # Panics
/// Never on memory: the encoders cannot fail on a vector.
pub fn compress(encoding: Encoding, payload: &[u8], out: &mut Vec<u8>) {
    match encoding.codec {
        Codec::None => out.extend_from_slice(payload),
        Codec::Gzip => gzip::compress(payload, encoding.level, out),
        Codec::Snappy => snappy::compress(payload, out),
        Codec::Lz4 => lz4::compress(payload, out),
        Codec::Zstd => zstandard::compress(payload, encoding.level, out),
    }
}

/// A decoder of any codec, as a stream of bytes.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, one at a time")]
enum Decoder<'s, 'a> {
    None(&'a [u8]),
    Gzip(gzip::Decoder<'a>),
    Snappy(snappy::Decoder<'s, 'a>),
    Lz4(lz4::Decoder<'s, 'a>),
    Zstd(zstandard::Decoder<'s, 'a>),
}

impl Decoder<'_, '_> {
    /// Puts the next bytes into `out` and says how many; 0 is the end.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        match self {
            Self::None(rest) => Ok(move_bytes(rest, out)),
            Self::Gzip(decoder) => decoder.read(out),
            Self::Snappy(decoder) => decoder.read(out),
            Self::Lz4(decoder) => decoder.read(out),
            Self::Zstd(decoder) => decoder.read(out),
        }
    }
}

/// Moves as many bytes as fit from the front of `from` to the front of `to`.
fn move_bytes(from: &mut &[u8], to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    let (moved, rest) = from.split_at(count);
    to.split_at_mut(count).0.copy_from_slice(moved);
    *from = rest;
    count
}

#[cfg(test)]
mod tests;
