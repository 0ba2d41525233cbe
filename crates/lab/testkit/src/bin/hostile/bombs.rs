//! Row S10: little that claims to be much.

use super::batches::{VERSIONS, batch_around, varint};
use super::target::{REFUSING, TOLERANT, Target};
use anyhow::{Context, Result, ensure};
use jocko_records::{Codec, Encoding, compress};
use jocko_types::ErrorCode;
use std::time::{Duration, Instant};

/// Each bomb stays below `max.message.bytes`: it must be refused for what it unpacks to.
const PACKED_BYTES_MAX: usize = 1_000_000;
/// How long one bomb may keep its own sender waiting.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Sends every bomb in every version: each is refused, and nothing is appended.
pub(crate) fn compression_bombs(target: &Target) -> Result<String> {
    let before = target.end_offset(REFUSING)?;
    let bombs = bombs()?;
    let mut slowest = (Duration::ZERO, "");
    for (what, codec, packed) in &bombs {
        ensure!(packed.len() <= PACKED_BYTES_MAX, "{what} is no bomb: {} bytes", packed.len());
        let batch = batch_around(*codec, 1, packed);
        for version in VERSIONS {
            let sent = Instant::now();
            let code = target
                .produce(version, REFUSING, &batch)
                .with_context(|| format!("{what}, version {version}"))?;
            let took = sent.elapsed();
            ensure!(code != ErrorCode::None, "{what}, version {version}: accepted");
            ensure!(took <= ANSWER_MAX, "{what}, version {version}: took {took:?}");
            slowest = slowest.max((took, what));
        }
    }
    let after = target.end_offset(REFUSING)?;
    ensure!(after == before, "{} records were appended", after - before);
    // The most that snappy can do honestly is within what a broker unpacks: either is right.
    let honest = packed(Codec::Snappy, 20 << 20);
    target.produce(9, TOLERANT, &batch_around(Codec::Snappy, 1, &honest)).context("snappy 20:1")?;
    Ok(format!("{} bombs refused; slowest {:?} ({})", bombs.len(), slowest.0, slowest.1))
}

fn bombs() -> Result<Vec<(&'static str, Codec, Vec<u8>)>> {
    let lz4 = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
    let snappy_frame = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
    let framed =
        |length: i32, block: &[u8]| [&snappy_frame[..], &length.to_be_bytes(), block].concat();
    // A raw block that says it holds 2^32 - 1 bytes, and one that says 1 GiB.
    let all_of_it = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let a_gibibyte = [0x80, 0x80, 0x80, 0x80, 0x04, 0, 0];
    let mut empty_gzip = Vec::new();
    compress(Encoding::new(Codec::Gzip), &[], &mut empty_gzip);
    let members = empty_gzip.repeat(PACKED_BYTES_MAX / empty_gzip.len().max(1));
    let endless_name = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &[b'n'; 900_000]].concat();
    Ok(vec![
        ("gzip of 256 MiB", Codec::Gzip, packed(Codec::Gzip, 256 << 20)),
        ("lz4 of 200 MiB", Codec::Lz4, packed(Codec::Lz4, 200 << 20)),
        ("zstd of 256 MiB", Codec::Zstd, packed(Codec::Zstd, 256 << 20)),
        ("zstd of 30 GB", Codec::Zstd, zstd_runs(0x58, 240_000)),
        ("zstd with a window of 256 MiB", Codec::Zstd, zstd_runs(0x90, 10)),
        ("zstd with a window of 2 GiB", Codec::Zstd, zstd_runs(0xa8, 10)),
        ("zstd with a window of 3.75 TiB", Codec::Zstd, zstd_runs(0xff, 10)),
        ("zstd that says 2^62 bytes", Codec::Zstd, zstd_claim(1 << 62)),
        ("snappy that says 4 GiB", Codec::Snappy, all_of_it.to_vec()),
        ("snappy that says 1 GiB", Codec::Snappy, a_gibibyte.to_vec()),
        ("framed snappy that says 1 GiB", Codec::Snappy, framed(7, &a_gibibyte)),
        ("a snappy chunk of 2 GiB", Codec::Snappy, framed(i32::MAX, &[0; 100])),
        ("a snappy chunk of -1 bytes", Codec::Snappy, framed(-1, &[0; 100])),
        ("an lz4 block of 2 GiB", Codec::Lz4, [&lz4[..], &[0xff, 0xff, 0xff, 0x7f, 0]].concat()),
        ("a plain lz4 block of 2 GiB", Codec::Lz4, [&lz4[..], &[0xff; 4], &[0; 9]].concat()),
        ("gzip with a name of 900 KB", Codec::Gzip, endless_name),
        ("gzip in 50,000 empty members", Codec::Gzip, members),
    ])
}

/// One record with a value of so many zeros, compressed.
fn packed(codec: Codec, value_bytes: i32) -> Vec<u8> {
    let mut body = vec![0, 0, 0];
    varint(-1, &mut body);
    varint(value_bytes, &mut body);
    let value_bytes = usize::try_from(value_bytes).unwrap_or(0);
    let mut record = Vec::with_capacity(value_bytes + 64);
    varint(i32::try_from(body.len() + value_bytes + 1).unwrap_or(i32::MAX), &mut record);
    record.extend(body);
    record.resize(record.len() + value_bytes + 1, 0);
    let mut packed = Vec::new();
    compress(Encoding::new(codec), &record, &mut packed);
    packed
}

/// A Zstandard frame (RFC 8878) with that window descriptor and so many blocks that each repeat
/// one zero 128 KiB long.
fn zstd_runs(window: u8, blocks: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    for block in 1..=blocks {
        let is_last = u32::from(block == blocks);
        let header = ((128 << 10) << 3) | (1 << 1) | is_last;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// A single-segment frame, whose window is as large as the content it says it has.
fn zstd_claim(content_bytes: u64) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    frame.extend(content_bytes.to_le_bytes());
    let header: u32 = (100 << 3) | (1 << 1) | 1;
    frame.extend(&header.to_le_bytes()[..3]);
    frame.push(0);
    frame
}
