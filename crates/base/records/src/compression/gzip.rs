//! gzip members one after the other. Bytes after a member that begin no other are passed over, as
//! Java's reader does; some clients pad.

use super::{Codec, DecompressError};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read, Write};

const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Unpacks the members of a payload.
pub(super) struct Decoder<'a>(GzDecoder<&'a [u8]>);

impl<'a> Decoder<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self(GzDecoder::new(payload))
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        loop {
            let came =
                self.0.read(out).map_err(|_| DecompressError::Malformed { codec: Codec::Gzip })?;
            let rest: &'a [u8] = self.0.get_ref();
            if came > 0 || !rest.starts_with(&MAGIC) {
                return Ok(came);
            }
            self.0 = GzDecoder::new(rest);
        }
    }
}

/// Appends `payload` as one member.
pub(super) fn compress(payload: &[u8], level: Option<i32>, out: &mut Vec<u8>) {
    let level = match level.and_then(|level| u32::try_from(level).ok()) {
        Some(level) => Compression::new(level.min(9)),
        None => Compression::default(),
    };
    let mut encoder = GzEncoder::new(out, level);
    encoder.write_all(payload).expect("writing to memory cannot fail");
    encoder.finish().expect("writing to memory cannot fail");
}
