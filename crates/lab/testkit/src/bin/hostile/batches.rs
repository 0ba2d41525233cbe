//! Row S7: record batches that are damaged in one way each, and at random.

use super::target::{REFUSING, TOLERANT, Target};
use anyhow::{Context, Result, ensure};
use jocko_records::{
    Attributes, BATCH_HEADER_BYTES, BatchBuilder, BatchHeader, Codec, Encoding, crc32c,
};
use jocko_types::{ErrorCode, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Where the bytes under the checksum begin.
const CHECKED_FROM: usize = 21;
/// The versions whose bodies differ in shape: the oldest there is, the first flexible one, the
/// first with topic ids.
pub(crate) const VERSIONS: [i16; 3] = [3, 9, 13];

/// A batch that every broker takes.
pub(crate) fn good_batch(records: usize, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    let value = vec![b'v'; value_bytes];
    for _ in 0..records {
        builder.push(now(), Some(b"key"), Some(&value), &[]).expect("a small batch");
    }
    builder.build().expect("a batch with records")
}

/// A batch of one record whose records section is exactly `payload`, right in all else.
pub(crate) fn batch_around(codec: Codec, record_count: i32, payload: &[u8]) -> Vec<u8> {
    let mut batch = good_batch(1, 1);
    batch.truncate(BATCH_HEADER_BYTES);
    batch.extend(payload);
    change_header(&mut batch, |header| {
        header.attributes = Attributes::new(codec.id_bits());
        header.record_count = record_count;
        header.last_offset_delta = record_count.wrapping_sub(1);
    });
    batch
}

/// Changes header fields; length and checksum are made right first, so that only the change (which
/// may be to the length) is wrong.
fn change_header(batch: &mut [u8], change: impl FnOnce(&mut BatchHeader)) {
    let mut header = BatchHeader::read(batch).expect("a whole header");
    header.length_bytes = i32::try_from(batch.len() - 12).expect("a small batch");
    change(&mut header);
    batch[..BATCH_HEADER_BYTES].copy_from_slice(&header.to_bytes());
    let crc = crc32c(&batch[CHECKED_FROM..]);
    batch[17..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A zigzag varint, as records use it.
pub(crate) fn varint(value: i32, into: &mut Vec<u8>) {
    let mut bits = ((value << 1) ^ (value >> 31)).cast_unsigned();
    while bits >= 0x80 {
        into.push((bits & 0x7f) as u8 | 0x80);
        bits >>= 7;
    }
    into.push(bits as u8);
}

/// Sends every damaged batch in every version: each is refused, and nothing is appended.
pub(crate) fn damaged_batches(target: &Target) -> Result<String> {
    let before = target.end_offset(REFUSING)?;
    let damaged = damaged();
    for (what, batch) in &damaged {
        for version in VERSIONS {
            let code = target
                .produce(version, REFUSING, batch)
                .with_context(|| format!("{what}, version {version}"))?;
            ensure!(code != ErrorCode::None, "{what}, version {version}: accepted");
        }
    }
    let after = target.end_offset(REFUSING)?;
    ensure!(after == before, "{} records were appended", after - before);
    Ok(format!("{} batches refused in {} versions", damaged.len(), VERSIONS.len()))
}

fn damaged() -> Vec<(String, Vec<u8>)> {
    let mut all = damaged_headers();
    all.extend(damaged_framing());
    all.extend(damaged_records());
    all
}

fn damaged_headers() -> Vec<(String, Vec<u8>)> {
    let changed = |change: &dyn Fn(&mut BatchHeader)| {
        let mut batch = good_batch(3, 10);
        change_header(&mut batch, change);
        batch
    };
    let mut all = Vec::new();
    for offset in [1, -1, i64::MAX] {
        let batch = changed(&|header| header.base_offset = Offset::new(offset));
        all.push((format!("base offset {offset}"), batch));
    }
    for delta in [-1, 1, 3, i32::MAX, i32::MIN] {
        let batch = changed(&|header| header.last_offset_delta = delta);
        all.push((format!("last offset delta {delta}"), batch));
    }
    for count in [-1, 0, 1, 4, i32::MAX, i32::MIN] {
        let batch = changed(&|header| header.record_count = count);
        all.push((format!("record count {count}"), batch));
    }
    for count in [4, 1_000_000, i32::MAX] {
        let batch = changed(&|header| {
            header.record_count = count;
            header.last_offset_delta = count - 1;
        });
        all.push((format!("record count and delta for {count}"), batch));
    }
    for length in [-1, 0, 48, 49, i32::MAX, i32::MIN] {
        let batch = changed(&|header| header.length_bytes = length);
        all.push((format!("length {length}"), batch));
    }
    for magic in [-1, 0, 1, 3, i8::MAX] {
        all.push((format!("magic {magic}"), changed(&|header| header.magic = magic)));
    }
    for codec in 5..8 {
        let batch = changed(&|header| header.attributes = Attributes::new(codec));
        all.push((format!("codec {codec}"), batch));
    }
    let control = changed(&|header| header.attributes = header.attributes.with_control(true));
    all.push(("a control batch".into(), control));
    let producer = changed(&|header| {
        header.producer_id = ProducerId::new(5);
        header.producer_epoch = ProducerEpoch::new(0);
    });
    all.push(("a producer id without a sequence".into(), producer));
    all
}

fn damaged_framing() -> Vec<(String, Vec<u8>)> {
    let good = good_batch(3, 10);
    let mut all = Vec::new();
    for at in [17, 20, CHECKED_FROM, good.len() - 1] {
        let mut batch = good.clone();
        batch[at] ^= 0x40;
        all.push((format!("byte {at} flipped under the checksum"), batch));
    }
    for keep in [1, 11, 12, 16, 17, 60, BATCH_HEADER_BYTES, good.len() - 1] {
        all.push((format!("cut to {keep} bytes"), good[..keep].to_vec()));
    }
    all.push(("two batches".into(), [good.clone(), good].concat()));
    all
}

fn damaged_records() -> Vec<(String, Vec<u8>)> {
    // Each is the body of a record: attributes, timestamp delta, offset delta, key, value, headers.
    let body = |key: i32, value: i32, headers: i32, rest: &[u8]| {
        let mut body = vec![0, 0, 0];
        varint(key, &mut body);
        varint(value, &mut body);
        varint(headers, &mut body);
        body.extend(rest);
        body
    };
    let bodies: [(&str, Vec<u8>); 8] = [
        ("a key longer than the batch", body(i32::MAX, 0, 0, &[])),
        ("a value longer than the batch", body(-1, i32::MAX, 0, &[])),
        ("a key of length -2", body(-2, -1, 0, &[0; 4])),
        ("2^31 - 1 headers", body(-1, -1, i32::MAX, &[])),
        ("-1 headers", body(-1, -1, -1, &[])),
        ("a header with a null key", body(-1, -1, 1, &[1, 1])),
        ("a header longer than the record", body(-1, -1, 1, &[100, 1])),
        ("bytes after the headers", body(-1, -1, 0, &[0; 9])),
    ];
    let mut all = Vec::new();
    for (what, body) in bodies {
        let mut payload = Vec::new();
        varint(i32::try_from(body.len()).expect("a small record"), &mut payload);
        payload.extend(&body);
        all.push((what.to_owned(), batch_around(Codec::None, 1, &payload)));
        // The same inside of a codec: the walk is another one.
        let mut packed = Vec::new();
        jocko_records::compress(Encoding::new(Codec::Lz4), &payload, &mut packed);
        all.push((format!("{what}, in lz4"), batch_around(Codec::Lz4, 1, &packed)));
    }
    for length in [-1, 0, 1, i32::MAX, i32::MIN] {
        let mut payload = Vec::new();
        varint(length, &mut payload);
        payload.extend([0; 20]);
        all.push((format!("a record of length {length}"), batch_around(Codec::None, 1, &payload)));
    }
    let overlong = [0xff; 12];
    all.push(("a varint that never ends".into(), batch_around(Codec::None, 1, &overlong)));
    all
}

/// Random changes to good batches, with the checksum made right again. Some are harmless: what
/// was accepted must be readable.
pub(crate) fn mutated_batches(target: &Target) -> Result<String> {
    const COUNT: usize = 1_000;
    let mut random = fastrand::Rng::with_seed(7);
    let mut accepted = 0;
    for at in 0..COUNT {
        let codec = Codec::ALL[at % Codec::ALL.len()];
        let mut builder = BatchBuilder::new(Encoding::new(codec));
        for _ in 0..5 {
            builder.push(now(), Some(b"k"), Some(&[b'v'; 50]), &[])?;
        }
        let mut batch = builder.build()?;
        for _ in 0..random.usize(1..4) {
            let changed = random.usize(CHECKED_FROM..batch.len());
            batch[changed] = random.u8(..);
        }
        let length = i32::try_from(batch.len() - 12)?;
        change_header(&mut batch, |header| header.length_bytes = length);
        let code = target.produce(9, TOLERANT, &batch).with_context(|| format!("mutation {at}"))?;
        accepted += usize::from(code == ErrorCode::None);
    }
    let read = target.read_all(TOLERANT).context("what was accepted must be readable")?;
    Ok(format!("{COUNT} mutations, {accepted} harmless; all {read} records readable"))
}
