//! Producer state on disk: Kafka's `.snapshot`, which holds one batch per producer, and our sidecar
//! beside it, which holds all five and says where the log ended when it was written.
//!
//! Both carry a CRC-32C; what does not check is thrown away and rebuilt from the log.

use super::{Appended, BATCHES_MAX, Producer, Producers};
use crate::time_index::Reached;
use jocko_records::crc32c;
use jocko_types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use std::collections::VecDeque;

/// Version of Kafka's format (`ProducerSnapshot.json`).
const KAFKA_VERSION: i16 = 1;
/// Bytes of one producer in Kafka's format.
const KAFKA_ENTRY_BYTES: usize = 46;
/// Begins a sidecar.
const MAGIC: [u8; 4] = *b"jkps";
/// Version of the sidecar's format.
const VERSION: u16 = 1;

/// Why a snapshot is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SnapshotFault {
    /// Cut short, flipped bits, or not a snapshot.
    Damaged,
    /// Written by a newer version.
    Newer,
}

/// Where the log ended when a sidecar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The offset the next record would get.
    pub(crate) log_end: Offset,
    /// Base offset and checksum of the last batch: a snapshot that was taken of other records
    /// than those in the log is known by them.
    pub(crate) last_batch: Option<(Offset, u32)>,
    /// Base offset of the active segment.
    pub(crate) segment: Offset,
    /// Its size in bytes.
    pub(crate) segment_bytes: u64,
    /// Its largest timestamp.
    pub(crate) reached: Option<Reached>,
    /// Largest timestamp of its first batch, from which its age counts.
    pub(crate) first_timestamp: Option<Timestamp>,
}

/// A sidecar's content.
#[derive(Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) tail: Tail,
    pub(crate) producers: Producers,
}

/// `producers` in Kafka's format, ordered by id.
pub(crate) fn encode_kafka(producers: &Producers) -> Vec<u8> {
    let mut entries = Vec::with_capacity(4 + producers.len() * KAFKA_ENTRY_BYTES);
    let count = i32::try_from(producers.len()).expect("producers are bounded far below");
    entries.extend(count.to_be_bytes());
    for (id, producer) in producers.iter() {
        let last = producer.batches.back();
        let delta = last.map_or(0, |at| at.base_offset.distance_to(at.last_offset));
        entries.extend(id.get().to_be_bytes());
        entries.extend(producer.epoch.get().to_be_bytes());
        entries.extend(last.map_or(-1, |at| at.last_sequence.get()).to_be_bytes());
        entries.extend(last.map_or(-1, |at| at.last_offset.get()).to_be_bytes());
        entries.extend(i32::try_from(delta).unwrap_or(i32::MAX).to_be_bytes());
        entries.extend(producer.last_timestamp.as_millis().to_be_bytes());
        entries.extend(producer.coordinator_epoch.to_be_bytes());
        entries.extend(producer.transaction_start.get().to_be_bytes());
    }
    let mut bytes = Vec::with_capacity(6 + entries.len());
    bytes.extend(KAFKA_VERSION.to_be_bytes());
    bytes.extend(crc32c(&entries).to_be_bytes());
    bytes.extend(entries);
    bytes
}

/// Reads Kafka's format. Producers count as seen at `now`: the file does not say when.
pub(crate) fn decode_kafka(bytes: &[u8], now: Timestamp) -> Result<Producers, SnapshotFault> {
    let mut fields = Fields(bytes);
    let version = i16::from_be_bytes(fields.take()?);
    let crc = u32::from_be_bytes(fields.take()?);
    if crc32c(fields.0) != crc {
        return Err(SnapshotFault::Damaged);
    }
    if version != KAFKA_VERSION {
        return Err(SnapshotFault::Newer);
    }
    let count = i32::from_be_bytes(fields.take()?);
    let mut producers = Producers::default();
    for _ in 0..count {
        let id = ProducerId::new(i64::from_be_bytes(fields.take()?));
        let epoch = ProducerEpoch::new(i16::from_be_bytes(fields.take()?));
        let last_sequence = Sequence::new(i32::from_be_bytes(fields.take()?));
        let last_offset = Offset::new(i64::from_be_bytes(fields.take()?));
        let delta = i32::from_be_bytes(fields.take()?);
        let last_timestamp = Timestamp::from_millis(i64::from_be_bytes(fields.take()?));
        let mut producer = Producer {
            epoch,
            batches: VecDeque::new(),
            last_timestamp,
            seen_at: now,
            coordinator_epoch: i32::from_be_bytes(fields.take()?),
            transaction_start: Offset::new(i64::from_be_bytes(fields.take()?)),
            touched: 0,
        };
        if last_offset >= Offset::ZERO && delta >= 0 {
            producer.batches.push_back(Appended {
                base_sequence: minus(last_sequence, delta),
                last_sequence,
                base_offset: last_offset.plus(-i64::from(delta)),
                last_offset,
                timestamp: last_timestamp,
            });
        }
        producers.restore(id, producer);
    }
    if fields.0.is_empty() { Ok(producers) } else { Err(SnapshotFault::Damaged) }
}

/// The sequence `delta` before `last`, wrapping from 0 to the largest.
fn minus(last: Sequence, delta: i32) -> Sequence {
    let first = i64::from(last.get()) - i64::from(delta);
    let wrapped = if first < 0 { first + i64::from(i32::MAX) + 1 } else { first };
    Sequence::new(i32::try_from(wrapped).unwrap_or(0))
}

/// A sidecar's bytes.
pub(crate) fn encode(tail: &Tail, producers: &Producers) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(VERSION.to_be_bytes());
    body.extend(tail.log_end.get().to_be_bytes());
    let (last_base, last_crc) = tail.last_batch.unwrap_or((Offset::new(-1), 0));
    body.extend(last_base.get().to_be_bytes());
    body.extend(last_crc.to_be_bytes());
    body.extend(tail.segment.get().to_be_bytes());
    body.extend(tail.segment_bytes.to_be_bytes());
    let none = Reached { timestamp: Timestamp::NONE, last_offset: Offset::new(-1) };
    let reached = tail.reached.unwrap_or(none);
    body.extend(reached.timestamp.as_millis().to_be_bytes());
    body.extend(reached.last_offset.get().to_be_bytes());
    body.push(u8::from(tail.first_timestamp.is_some()));
    let first = tail.first_timestamp.unwrap_or(Timestamp::NONE);
    body.extend(first.as_millis().to_be_bytes());
    let count = u32::try_from(producers.len()).expect("producers are bounded far below");
    body.extend(count.to_be_bytes());
    for (id, producer) in producers.in_order_of_use() {
        encode_producer(&mut body, id, producer);
    }
    let mut bytes = Vec::with_capacity(8 + body.len());
    bytes.extend(MAGIC);
    bytes.extend(crc32c(&body).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn encode_producer(body: &mut Vec<u8>, id: ProducerId, producer: &Producer) {
    body.extend(id.get().to_be_bytes());
    body.extend(producer.epoch.get().to_be_bytes());
    body.extend(producer.last_timestamp.as_millis().to_be_bytes());
    body.extend(producer.seen_at.as_millis().to_be_bytes());
    body.extend(producer.coordinator_epoch.to_be_bytes());
    body.extend(producer.transaction_start.get().to_be_bytes());
    body.push(u8::try_from(producer.batches.len()).expect("at most five"));
    for at in &producer.batches {
        body.extend(at.base_sequence.get().to_be_bytes());
        body.extend(at.last_sequence.get().to_be_bytes());
        body.extend(at.base_offset.get().to_be_bytes());
        body.extend(at.last_offset.get().to_be_bytes());
        body.extend(at.timestamp.as_millis().to_be_bytes());
    }
}

impl Snapshot {
    /// Reads a sidecar.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SnapshotFault> {
        let mut fields = Fields(bytes);
        if fields.take::<4>()? != MAGIC {
            return Err(SnapshotFault::Damaged);
        }
        let crc = u32::from_be_bytes(fields.take()?);
        if crc32c(fields.0) != crc {
            return Err(SnapshotFault::Damaged);
        }
        if u16::from_be_bytes(fields.take()?) != VERSION {
            return Err(SnapshotFault::Newer);
        }
        let log_end = Offset::new(fields.i64()?);
        let last_base = Offset::new(fields.i64()?);
        let last_crc = u32::from_be_bytes(fields.take()?);
        let segment = Offset::new(fields.i64()?);
        let segment_bytes = u64::from_be_bytes(fields.take()?);
        let reached = Reached {
            timestamp: Timestamp::from_millis(fields.i64()?),
            last_offset: Offset::new(fields.i64()?),
        };
        let [has_first] = fields.take()?;
        let first = Timestamp::from_millis(fields.i64()?);
        let tail = Tail {
            log_end,
            last_batch: (last_base >= Offset::ZERO).then_some((last_base, last_crc)),
            segment,
            segment_bytes,
            reached: (reached.last_offset >= Offset::ZERO).then_some(reached),
            first_timestamp: (has_first == 1).then_some(first),
        };
        let count = u32::from_be_bytes(fields.take()?);
        let mut producers = Producers::default();
        for _ in 0..count {
            let (id, producer) = decode_producer(&mut fields)?;
            producers.restore(id, producer);
        }
        if fields.0.is_empty() { Ok(Self { tail, producers }) } else { Err(SnapshotFault::Damaged) }
    }
}

fn decode_producer(fields: &mut Fields<'_>) -> Result<(ProducerId, Producer), SnapshotFault> {
    let id = ProducerId::new(fields.i64()?);
    let mut producer = Producer {
        epoch: ProducerEpoch::new(i16::from_be_bytes(fields.take()?)),
        batches: VecDeque::new(),
        last_timestamp: Timestamp::from_millis(fields.i64()?),
        seen_at: Timestamp::from_millis(fields.i64()?),
        coordinator_epoch: i32::from_be_bytes(fields.take()?),
        transaction_start: Offset::new(fields.i64()?),
        touched: 0,
    };
    let [count] = fields.take()?;
    if usize::from(count) > BATCHES_MAX {
        return Err(SnapshotFault::Damaged);
    }
    for _ in 0..count {
        producer.batches.push_back(Appended {
            base_sequence: Sequence::new(i32::from_be_bytes(fields.take()?)),
            last_sequence: Sequence::new(i32::from_be_bytes(fields.take()?)),
            base_offset: Offset::new(fields.i64()?),
            last_offset: Offset::new(fields.i64()?),
            timestamp: Timestamp::from_millis(fields.i64()?),
        });
    }
    Ok((id, producer))
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotFault> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(SnapshotFault::Damaged)?;
        self.0 = rest;
        Ok(*field)
    }

    fn i64(&mut self) -> Result<i64, SnapshotFault> {
        Ok(i64::from_be_bytes(self.take()?))
    }
}
