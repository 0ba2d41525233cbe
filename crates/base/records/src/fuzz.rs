//! The body of the fuzz target for record batches; runs as a property test too.

use crate::batches::{strict_batches, whole_batches};
use crate::builder::BatchBuilder;
use crate::compression::{Codec, Encoding};
use crate::header::{BATCH_HEADER_BYTES, TimestampType, renew_crc};
use crate::prepare::{Compression, prepare};
use crate::record::Header;
use crate::records::{Records, find_by_timestamp};
use crate::validate::{AppendRules, Origin};
use jocko_types::{Offset, Timestamp};

/// Small, so that a fuzzer does not spend its time unpacking.
const DECOMPRESSED_BYTES_MAX: u64 = 1024 * 1024;

/// Does with `data` all that a broker and a client do with bytes from outside: nothing may panic,
/// and what was accepted must be readable and acceptable again.
///
/// # Panics
/// If this crate is wrong.
pub fn fuzz_batch(data: &[u8]) {
    read_all(data);
    offer(data);
    // Behind the checksum lies most of the code, and random bytes do not get there.
    let mut sealed = data.to_vec();
    if sealed.len() >= BATCH_HEADER_BYTES {
        seal(&mut sealed);
        read_all(&sealed);
        offer(&sealed);
    }
}

/// Makes length, format and checksum of a would-be batch true.
fn seal(bytes: &mut [u8]) {
    let length = i32::try_from(bytes.len().saturating_sub(12)).unwrap_or(i32::MAX);
    if let Some(field) = bytes.get_mut(..17) {
        let (_, field) = field.split_at_mut(8);
        let (length_field, rest) = field.split_at_mut(4);
        length_field.copy_from_slice(&length.to_be_bytes());
        if let Some(magic) = rest.last_mut() {
            *magic = 2;
        }
    }
    let _ = renew_crc(bytes);
}

fn read_all(data: &[u8]) {
    let _ = strict_batches(data).count();
    let mut scratch = Vec::new();
    for batch in whole_batches(data).flatten() {
        let header = batch.header();
        assert!(batch.bytes().starts_with(&header.to_bytes()));
        let _ = (header.next_offset(), header.last_sequence(), header.delete_horizon());
        if let Ok(records) = batch.records(DECOMPRESSED_BYTES_MAX, &mut scratch) {
            for record in records.flatten() {
                assert_eq!(record.headers().count(), record.headers().len());
            }
        }
    }
    let mut records = Records::new(data, Offset::new(3), DECOMPRESSED_BYTES_MAX);
    for _ in 0..1_000 {
        match records.next() {
            Ok(None) => break,
            Ok(Some(record)) => assert_eq!(record.headers.count(), record.headers.len()),
            Err(_) => {}
        }
    }
    let target = Timestamp::from_millis(1_000);
    let _ = find_by_timestamp(data, target, Offset::ZERO, DECOMPRESSED_BYTES_MAX, &mut scratch);
}

/// Offers the bytes under different rules.
fn offer(data: &[u8]) {
    let client = AppendRules {
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        timestamp_after_max_ms: i64::MAX,
        ..AppendRules::defaults(Timestamp::from_millis(1_700_000_000_000))
    };
    let stamped = AppendRules {
        timestamp_type: TimestampType::LogAppendTime,
        compression: Compression::Target(Encoding::new(Codec::Lz4)),
        ..client
    };
    let strict = AppendRules {
        compacted: true,
        timestamp_before_max_ms: 1_000,
        timestamp_after_max_ms: 1_000,
        zstd_allowed: false,
        max_message_bytes: 512,
        ..client
    };
    let own = AppendRules { origin: Origin::Coordinator, ..client };
    for rules in [client, stamped, strict, own] {
        match prepare(data, &rules) {
            Ok(batch) => {
                assert_eq!(batch.header.size_bytes(), batch.bytes.len());
                let again = AppendRules { max_message_bytes: usize::MAX, ..client };
                if rules.origin == Origin::Client && batch.log_append_time.is_none() {
                    prepare(&batch.bytes, &again).expect("what was accepted stays acceptable");
                    rebuild(&batch.bytes);
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Reads an accepted batch and writes its records again: they must survive.
fn rebuild(bytes: &[u8]) {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    let mut records = Records::new(bytes, Offset::new(i64::MIN), DECOMPRESSED_BYTES_MAX);
    while let Some(record) = records.next().expect("an accepted batch can be read") {
        let headers: Vec<Header<'_>> = record.headers.collect();
        builder
            .push(record.timestamp, record.key, record.value, &headers)
            .expect("an accepted batch is small");
    }
    let rebuilt = builder.build().expect("an accepted batch has records");
    let mut left = Records::new(bytes, Offset::ZERO, DECOMPRESSED_BYTES_MAX);
    let mut right = Records::new(&rebuilt, Offset::ZERO, DECOMPRESSED_BYTES_MAX);
    loop {
        let old = left.next().expect("an accepted batch can be read");
        let new = right.next().expect("a built batch can be read");
        let (Some(old), Some(new)) = (old, new) else { break };
        assert_eq!((old.offset, old.timestamp), (new.offset, new.timestamp));
        assert_eq!((old.key, old.value), (new.key, new.value));
        assert!(old.headers.eq(new.headers));
    }
}

#[cfg(test)]
mod tests;
