//! Record batches for scenarios: good ones, and ones damaged on purpose.

use jocko_records::{BatchBuilder, Codec, Encoding, crc32c};
use jocko_types::{ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Where the fields of a batch lie.
pub mod at {
    /// Base offset, 8 bytes.
    pub const BASE_OFFSET: usize = 0;
    /// Bytes after this field, 4 bytes.
    pub const LENGTH: usize = 8;
    /// Leader epoch, 4 bytes.
    pub const LEADER_EPOCH: usize = 12;
    /// Format, 1 byte.
    pub const MAGIC: usize = 16;
    /// Checksum of all that follows, 4 bytes.
    pub const CRC: usize = 17;
    /// Attributes, 2 bytes.
    pub const ATTRIBUTES: usize = 21;
    /// Last offset delta, 4 bytes.
    pub const LAST_OFFSET_DELTA: usize = 23;
    /// Base timestamp, 8 bytes.
    pub const BASE_TIMESTAMP: usize = 27;
    /// Max timestamp, 8 bytes.
    pub const MAX_TIMESTAMP: usize = 35;
    /// Producer id, 8 bytes.
    pub const PRODUCER_ID: usize = 43;
    /// Producer epoch, 2 bytes.
    pub const PRODUCER_EPOCH: usize = 51;
    /// First sequence, 4 bytes.
    pub const BASE_SEQUENCE: usize = 53;
    /// Number of records, 4 bytes.
    pub const COUNT: usize = 57;
    /// The records.
    pub const RECORDS: usize = 61;
}

/// A builder with one record per value, at `time`, `time + 1`, ..., without keys.
#[must_use]
pub fn builder(codec: Codec, time: i64, values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Encoding::new(codec));
    for (time, value) in (time..).zip(values) {
        builder
            .push(Timestamp::from_millis(time), None, Some(value.as_bytes()), &[])
            .expect("a scenario's batch is small");
    }
    builder
}

/// The bytes of a batch with at least one record.
#[must_use]
pub fn bytes(builder: &BatchBuilder) -> Vec<u8> {
    builder.build().expect("a scenario's batch has records and is small")
}

/// An uncompressed batch of [`builder`].
#[must_use]
pub fn plain(time: i64, values: &[&str]) -> Vec<u8> {
    bytes(&builder(Codec::None, time, values))
}

/// A batch of one record with a key.
#[must_use]
pub fn keyed(time: i64, key: &str, value: &str) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    builder.push(Timestamp::from_millis(time), key, value, &[]).expect("small");
    bytes(&builder)
}

/// A batch of an idempotent producer with `count` records.
#[must_use]
pub fn sequenced(time: i64, producer: (i64, i16), sequence: i32, count: usize) -> Vec<u8> {
    let values: Vec<String> = (0..count).map(|value| format!("v{value}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let (id, epoch) = producer;
    bytes(&builder(Codec::None, time, &values).producer(
        ProducerId::new(id),
        ProducerEpoch::new(epoch),
        Sequence::new(sequence),
    ))
}

/// The batch with other bytes from `position` on and a checksum that is right for them.
#[must_use]
pub fn with(batch: &[u8], position: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = overwritten(batch, position, bytes);
    renew_crc(&mut batch);
    batch
}

/// The batch with other bytes from `position` on and its old checksum.
#[must_use]
pub fn overwritten(batch: &[u8], position: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[position..position + bytes.len()].copy_from_slice(bytes);
    batch
}

/// The batch with other records, a length and a checksum that fit them.
#[must_use]
pub fn with_records(batch: &[u8], records: &[u8]) -> Vec<u8> {
    let mut batch = batch[..at::RECORDS].to_vec();
    batch.extend_from_slice(records);
    let length = u32::try_from(batch.len() - at::LEADER_EPOCH).expect("small");
    batch[at::LENGTH..at::LEADER_EPOCH].copy_from_slice(&length.to_be_bytes());
    renew_crc(&mut batch);
    batch
}

fn renew_crc(batch: &mut [u8]) {
    let crc = crc32c(&batch[at::ATTRIBUTES..]);
    batch[at::CRC..at::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}

/// A message of format 0 or 1, as before Kafka 0.11.
#[must_use]
pub fn old_message(magic: u8, time: i64, value: &str) -> Vec<u8> {
    let mut checked = vec![magic, 0];
    if magic >= 1 {
        checked.extend(time.to_be_bytes());
    }
    checked.extend((-1_i32).to_be_bytes());
    checked.extend(u32::try_from(value.len()).expect("small").to_be_bytes());
    checked.extend(value.as_bytes());
    let mut message = 0_i64.to_be_bytes().to_vec();
    message.extend(u32::try_from(checked.len() + 4).expect("small").to_be_bytes());
    message.extend(crc32(&checked).to_be_bytes());
    message.extend(checked);
    message
}

/// The checksum of the old formats (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (low * 0xedb8_8320);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_records::BatchView;

    #[test]
    fn damage_is_where_it_was_put() {
        let batch = plain(7, &["a", "b"]);
        let (view, rest) = BatchView::parse(&batch).unwrap();
        assert!(rest.is_empty() && view.check_crc().is_ok());
        let changed = with(&batch, at::COUNT, &9_u32.to_be_bytes());
        let view = BatchView::parse(&changed).unwrap().0;
        assert_eq!(view.header().record_count, 9);
        assert!(view.check_crc().is_ok());
        let broken = overwritten(&batch, at::COUNT, &9_u32.to_be_bytes());
        assert!(BatchView::parse(&broken).unwrap().0.check_crc().is_err());
        let cut = with_records(&batch, b"xyz");
        let view = BatchView::parse(&cut).unwrap().0;
        assert_eq!((view.payload(), view.check_crc().is_ok()), (&b"xyz"[..], true));
    }

    #[test]
    fn old_checksum_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
