//! What a fuzzer and the property tests do with any bytes.

use bytes::{BufMut, Bytes};

use super::frame::{Decoder, Encoder, Seal};

/// Decodes bytes as frames, in pieces, with and without a seal. Whatever comes out must encode to
/// what went in.
pub fn peer_frame(bytes: &[u8]) {
    const FRAME_BYTES_MAX: usize = 4096;
    let Some((piece, bytes)) = bytes.split_first() else { return };
    for seal in [None, Some(Seal::new([7; 32]))] {
        let is_sealed = seal.is_some();
        let mut decoder = Decoder::new(seal, FRAME_BYTES_MAX);
        let mut encoder = Encoder::new(None);
        let mut pieces = bytes.chunks(usize::from(*piece).max(1));
        loop {
            match decoder.next() {
                Ok(Some(frame)) => {
                    assert!(!is_sealed, "nobody but the holder of the key makes frames");
                    assert!(frame.body.len() <= FRAME_BYTES_MAX);
                    encoder.push(frame.header, &[frame.body]);
                }
                Ok(None) => {
                    let Some(piece) = pieces.next() else { break };
                    decoder.space().put_slice(piece);
                }
                Err(_) => break,
            }
        }
        check_encoded(&mut encoder, bytes);
    }
}

fn check_encoded(encoder: &mut Encoder, bytes: &[u8]) {
    let mut rest = Bytes::copy_from_slice(bytes);
    while encoder.pending() > 0 {
        let mut slices = Encoder::no_slices();
        let count = encoder.slices(&mut slices);
        let mut written = 0;
        for slice in slices.iter().take(count) {
            assert!(rest.starts_with(slice), "a frame is what it was decoded from");
            rest = rest.split_off(slice.len());
            written += slice.len();
        }
        encoder.advance(written);
    }
}
