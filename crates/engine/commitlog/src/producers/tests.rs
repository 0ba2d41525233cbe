//! Snapshots of producers, in both formats.

use super::*;
use crate::time_index::Reached;
use jocko_records::{Attributes, BatchHeader};
use jocko_types::LeaderEpoch;
use proptest::prelude::*;

fn header(id: i64, epoch: i16, sequence: i32, base: i64, count: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset::new(base),
        length_bytes: 49,
        leader_epoch: LeaderEpoch::new(0),
        magic: 2,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: count - 1,
        base_timestamp: Timestamp::from_millis(base),
        max_timestamp: Timestamp::from_millis(base + 1),
        producer_id: ProducerId::new(id),
        producer_epoch: ProducerEpoch::new(epoch),
        base_sequence: Sequence::new(sequence),
        record_count: count,
    }
}

fn tail(end: i64) -> Tail {
    Tail {
        log_end: Offset::new(end),
        last_batch: Some((Offset::new(end - 1), 0xfeed)),
        segment: Offset::new(3),
        segment_bytes: 1 << 33,
        reached: Some(Reached {
            timestamp: Timestamp::from_millis(-7),
            last_offset: Offset::new(8),
        }),
        first_timestamp: Some(Timestamp::NONE),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        appends in prop::collection::vec((0..6_i64, 0..3_i16, any::<u32>(), 1..4_i32), 0..40),
    ) {
        let now = Timestamp::from_millis(99);
        let mut producers = Producers::default();
        for (number, (id, epoch, sequence, count)) in appends.into_iter().enumerate() {
            let base = i64::try_from(number * 4).unwrap();
            let sequence = i32::try_from(sequence >> 1).unwrap();
            producers.apply(&header(id, epoch, sequence, base, count), now, 4);
        }
        prop_assert!(producers.len() <= 4);
        for tail in [tail(40), Tail { last_batch: None, reached: None, first_timestamp: None, ..tail(0) }] {
            let bytes = encode(&tail, &producers);
            let read = Snapshot::decode(&bytes).unwrap();
            prop_assert_eq!(&read.producers, &producers);
            prop_assert_eq!(read.tail, tail);
            prop_assert!(read.producers.by_use.values().eq(producers.by_use.values()));
        }
        // Kafka's format keeps the last batch of each.
        let read = decode_kafka(&encode_kafka(&producers), now).unwrap();
        prop_assert_eq!(read.len(), producers.len());
        for ((id, kept), (other, read)) in producers.iter().zip(read.iter()) {
            prop_assert_eq!((id, kept.epoch), (other, read.epoch));
            prop_assert_eq!(kept.batches.back(), read.batches.back());
        }
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Snapshot::decode(&bytes).is_err());
        prop_assert!(decode_kafka(&bytes, Timestamp::NONE).is_err());
    }
}

#[test]
fn any_flipped_bit_or_cut_is_seen() {
    let now = Timestamp::from_millis(1);
    let mut producers = Producers::default();
    producers.apply(&header(1, 2, 3, 4, 5), now, 9);
    producers.apply(&header(2, 0, 0, 9, 1), now, 9);
    for (bytes, is_whole) in [
        (encode(&tail(10), &producers), (|b| Snapshot::decode(b).is_ok()) as fn(&[u8]) -> bool),
        (encode_kafka(&producers), |b| decode_kafka(b, Timestamp::NONE).is_ok()),
    ] {
        assert!(is_whole(&bytes));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_whole(&damaged), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(!is_whole(&bytes[..cut]), "cut to {cut}");
        }
    }
}

#[test]
fn a_marker_keeps_the_batches_and_ends_the_transaction() {
    let now = Timestamp::from_millis(1);
    let mut producers = Producers::default();
    let transactional = Attributes::default().with_transactional(true);
    let sent = BatchHeader { attributes: transactional, ..header(1, 0, 0, 10, 3) };
    producers.apply(&sent, now, 9);
    producers.apply(&BatchHeader { base_offset: Offset::new(13), ..sent }, now, 9);
    let start = |producers: &Producers| producers.iter().next().unwrap().1.transaction_start;
    assert_eq!(start(&producers), Offset::new(10));
    assert_eq!(producers.expire(Timestamp::from_millis(i64::MAX), Duration::ZERO), 0);
    let control = transactional.with_control(true);
    let marker = BatchHeader { attributes: control, ..header(1, 0, -1, 16, 1) };
    producers.apply(&marker, now, 9);
    assert_eq!(start(&producers), Offset::new(-1));
    assert_eq!(producers.iter().next().unwrap().1.batches.len(), 2);
    assert_eq!(producers.expire(Timestamp::from_millis(i64::MAX), Duration::ZERO), 1);
}
