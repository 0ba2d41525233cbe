use super::*;
use proptest::prelude::*;
use std::io::Write;

const LIMIT: u64 = 1 << 20;

fn packed(codec: Codec, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(Encoding::new(codec), payload, &mut out);
    out
}

fn unpacked(codec: Codec, payload: &[u8]) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    decompress_into(codec, payload, LIMIT, &mut out).map(|()| out)
}

#[test]
fn names_round_trip() {
    for codec in Codec::ALL {
        assert_eq!(codec.name().parse(), Ok(codec));
    }
    assert_eq!("uncompressed".parse(), Ok(Codec::None));
    assert_eq!("producer".parse::<Codec>(), Err(UnknownCodecName));
}

#[test]
fn levels_are_taken_and_clamped() {
    let payload: Vec<u8> = (0..50_000_u32).flat_map(|n| (n * n).to_be_bytes()).collect();
    for codec in Codec::ALL {
        for level in [None, Some(-1), Some(i32::MIN), Some(1), Some(9), Some(i32::MAX)] {
            if codec == Codec::Zstd && level == Some(i32::MAX) {
                // The highest level takes seconds on a debug build; it is the same path.
                continue;
            }
            let mut out = Vec::new();
            compress(Encoding { codec, level }, &payload, &mut out);
            assert_eq!(unpacked(codec, &out).unwrap(), payload, "{codec} {level:?}");
        }
    }
    let mut fast = Vec::new();
    compress(Encoding { codec: Codec::Gzip, level: Some(1) }, &payload, &mut fast);
    let mut best = Vec::new();
    compress(Encoding { codec: Codec::Gzip, level: Some(9) }, &payload, &mut best);
    assert_ne!(fast, best);
}

#[test]
fn raw_snappy_and_concatenated_java_streams_are_read() {
    let raw = snap::raw::Encoder::new().compress_vec(b"raw bytes").unwrap();
    assert_eq!(unpacked(Codec::Snappy, &raw).unwrap(), b"raw bytes");
    let mut twice = packed(Codec::Snappy, b"one");
    twice.extend(packed(Codec::Snappy, b"two"));
    assert_eq!(unpacked(Codec::Snappy, &twice).unwrap(), b"onetwo");
}

#[test]
fn a_snappy_length_that_lies_reserves_nothing() {
    let mut lie = packed(Codec::Snappy, b"");
    let raw = [0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
    lie.extend(u32::try_from(raw.len()).unwrap().to_be_bytes());
    lie.extend(raw);
    assert_eq!(unpacked(Codec::Snappy, &lie), Err(snappy_malformed()));
    assert_eq!(unpacked(Codec::Snappy, &raw), Err(snappy_malformed()));
    SCRATCH.with_borrow(|scratch| assert!(scratch.block.capacity() < 1024));
    let negative = [&packed(Codec::Snappy, b"")[..], &[0xff; 4], &[0; 8]].concat();
    assert_eq!(unpacked(Codec::Snappy, &negative), Err(snappy_malformed()));
}

fn snappy_malformed() -> DecompressError {
    DecompressError::Malformed { codec: Codec::Snappy }
}

#[test]
fn an_lz4_frame_with_every_option_is_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let payload: Vec<u8> = (0..300_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    for block_size in
        [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB]
    {
        let info = FrameInfo::new()
            .block_size(block_size)
            .block_mode(BlockMode::Independent)
            .block_checksums(true)
            .content_checksum(true)
            .content_size(Some(300_000));
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&payload).unwrap();
        let mut frame = encoder.finish().unwrap();
        assert_eq!(unpacked(Codec::Lz4, &frame).unwrap(), payload);
        // A flipped bit in a block is seen by its checksum.
        frame[40] ^= 1;
        assert!(unpacked(Codec::Lz4, &frame).is_err());
    }
    let linked = FrameInfo::new().block_mode(BlockMode::Linked);
    let mut encoder = FrameEncoder::with_frame_info(linked, Vec::new());
    encoder.write_all(&payload).unwrap();
    let frame = encoder.finish().unwrap();
    assert_eq!(unpacked(Codec::Lz4, &frame), Err(DecompressError::Lz4Frame));
}

#[test]
fn a_tiny_lz4_frame_with_large_blocks_reserves_little() {
    use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new().block_size(BlockSize::Max4MB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&[7; 100]).unwrap();
    let frame = encoder.finish().unwrap();
    std::thread::spawn(move || {
        assert_eq!(unpacked(Codec::Lz4, &frame).unwrap(), [7; 100]);
        SCRATCH.with_borrow(|scratch| assert!(scratch.block.capacity() < 64 * 1024));
    })
    .join()
    .unwrap();
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 40 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = packed(codec, &zeros);
        assert!(bomb.len() < 3 << 20, "{codec}: {}", bomb.len());
        let mut out = Vec::new();
        let limit = DecompressError::Limit { limit_bytes: LIMIT };
        assert_eq!(decompress_into(codec, &bomb, LIMIT, &mut out), Err(limit), "{codec}");
        assert!(out.len() <= usize::try_from(LIMIT).unwrap() + WINDOW_BYTES, "{codec}");
        SCRATCH.with_borrow(|scratch| {
            assert_eq!(scratch.window.capacity(), WINDOW_BYTES);
            assert!(scratch.block.capacity() <= KEPT_BLOCK_BYTES_MAX);
        });
    }
    // One raw snappy block that truly is as large as it says.
    let raw = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    assert_eq!(unpacked(Codec::Snappy, &raw), Err(DecompressError::Limit { limit_bytes: LIMIT }));
}

#[test]
fn a_zstd_window_beyond_the_bound_is_refused() {
    for (window_log, is_ok) in [(20_u8, true), (27, true), (28, false), (31, false), (41, false)] {
        // A frame header with a window descriptor, then one raw block of one byte.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (window_log - 10) << 3, 0x09, 0x00, 0x00, b'x'];
        assert_eq!(unpacked(Codec::Zstd, &frame).is_ok(), is_ok, "{window_log}");
    }
    SCRATCH.with_borrow_mut(|scratch| scratch.zstd.release_if_large());
}

#[test]
fn a_failed_batch_leaves_nothing_behind_for_the_next() {
    for codec in Codec::ALL {
        let good = packed(codec, &[5; 100_000]);
        for cut in [0, 1, 5, good.len() / 2, good.len() - 1] {
            let _ = unpacked(codec, &good[..cut]);
            assert_eq!(unpacked(codec, &good).unwrap(), [5; 100_000], "{codec} {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_codec_round_trips(
        seed in proptest::collection::vec(any::<u8>(), 0..200),
        repeats in 0..600_usize,
    ) {
        let payload = seed.repeat(repeats);
        for codec in Codec::ALL {
            prop_assert_eq!(unpacked(codec, &packed(codec, &payload)).unwrap(), payload.clone());
        }
    }

    #[test]
    fn damage_never_panics_and_never_passes_the_limit(
        seed in proptest::collection::vec(any::<u8>(), 1..200),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for codec in Codec::ALL {
            let mut bytes = packed(codec, &seed.repeat(50));
            for (at, value) in &flips {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            if let Ok(out) = unpacked(codec, &bytes) {
                prop_assert!(u64::try_from(out.len()).unwrap() <= LIMIT);
            }
            let _ = unpacked(codec, &seed);
        }
    }
}
