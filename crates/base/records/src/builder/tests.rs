use super::*;
use crate::compression::Codec;
use crate::records::Records;
use crate::validate::AppendRules;
use crate::view::BatchView;
use crate::{Rewrite, prepare};
use std::borrow::Cow;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn a_built_batch_is_accepted_as_it_is_and_reads_back() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(Encoding::new(codec));
        let headers = [
            Header { key: b"twice", value: Some(b"one") },
            Header { key: b"twice", value: None },
            Header { key: b"", value: Some(b"") },
        ];
        builder.push(at(1_000), Some(b"k"), Some(b"v"), &headers).unwrap();
        builder.push(at(900), None, None, &[]).unwrap();
        builder.push(at(1_100), Some(b""), Some(&[7; 100_000]), &headers[..1]).unwrap();
        let bytes = builder.build().unwrap();

        let prepared = prepare(&bytes, &AppendRules::defaults(at(2_000))).unwrap();
        assert!(matches!(prepared.bytes, Cow::Borrowed(same) if same == bytes));
        assert_eq!(prepared.rewrite, Rewrite::None);
        assert_eq!(prepared.max_timestamp, at(1_100));
        assert_eq!(prepared.max_timestamp_offset_delta, 2);
        assert_eq!(prepared.header.codec(), Ok(codec));

        let mut records = Records::new(&bytes, Offset::ZERO, 1 << 20);
        let first = records.next().unwrap().unwrap();
        assert_eq!((first.offset, first.timestamp), (Offset::ZERO, at(1_000)));
        assert_eq!((first.key, first.value), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!(first.headers.collect::<Vec<_>>(), headers);
        let second = records.next().unwrap().unwrap();
        assert_eq!((second.timestamp, second.key, second.value), (at(900), None, None));
        assert_eq!(second.headers.len(), 0);
        let third = records.next().unwrap().unwrap();
        assert_eq!((third.key, third.value.map(<[u8]>::len)), (Some(&b""[..]), Some(100_000)));
        assert!(records.next().unwrap().is_none());
        assert_eq!(records.next_offset(), Offset::new(3));
    }
}

#[test]
fn every_header_field_is_set() {
    let mut builder = BatchBuilder::new(Encoding::NONE)
        .base_offset(Offset::new(70))
        .leader_epoch(LeaderEpoch::new(4))
        .producer(ProducerId::new(9), ProducerEpoch::new(2), Sequence::new(i32::MAX))
        .transactional();
    builder.push(at(5), None, Some(b"a"), &[]).unwrap();
    builder.push(at(3), None, Some(b"b"), &[]).unwrap();
    let bytes = builder.build().unwrap();
    let (batch, rest) = BatchView::parse(&bytes).unwrap();
    assert!(rest.is_empty());
    batch.check_crc().unwrap();
    let header = batch.header();
    assert_eq!(header.size_bytes(), bytes.len());
    assert_eq!((header.last_offset(), header.next_offset()), (Offset::new(71), Offset::new(72)));
    assert_eq!(header.leader_epoch, LeaderEpoch::new(4));
    assert_eq!((header.base_timestamp, header.max_timestamp), (at(5), at(5)));
    assert_eq!(
        (header.producer_id, header.producer_epoch),
        (ProducerId::new(9), ProducerEpoch::new(2))
    );
    assert_eq!(
        (header.base_sequence, header.last_sequence()),
        (Sequence::new(i32::MAX), Sequence::new(0))
    );
    assert!(header.is_transactional() && !header.is_control() && header.is_idempotent());
    assert_eq!(header.record_count, 2);
}

#[test]
fn a_transaction_marker_reads_back() {
    for control_type in [ControlType::Abort, ControlType::Commit] {
        let marker = ControlRecord { control_type, coordinator_epoch: 7 };
        let builder =
            BatchBuilder::control(marker, ProducerId::new(3), ProducerEpoch::new(1), at(50));
        let bytes = builder.build().unwrap();
        let (batch, _) = BatchView::parse(&bytes).unwrap();
        assert!(batch.header().is_control() && batch.header().is_transactional());
        let mut scratch = Vec::new();
        let mut records = batch.records(1_000, &mut scratch).unwrap();
        let record = records.next().unwrap().unwrap();
        assert_eq!(ControlRecord::read(&record), Some(marker));
    }
}

#[test]
fn a_batch_needs_records() {
    assert_eq!(BatchBuilder::new(Encoding::NONE).build(), Err(BuildError::Empty));
}
