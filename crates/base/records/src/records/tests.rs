//! `testdata/java-*.bin` are batches written by Kafka's own Java classes: base offset 7, leader
//! epoch 5, producer 99/3 from sequence 41 on, 54 records.

use super::*;
use crate::builder::BatchBuilder;
use crate::compression::Encoding;
use crate::prepare::prepare;
use crate::record::Header;
use crate::validate::{AppendRules, Origin};
use jocko_types::{ProducerEpoch, ProducerId, Sequence};
use proptest::prelude::*;

const LIMIT: u64 = 1 << 20;

const JAVA: [(&str, Codec, &[u8]); 7] = [
    ("none", Codec::None, include_bytes!("../../testdata/java-none.bin")),
    ("gzip", Codec::Gzip, include_bytes!("../../testdata/java-gzip.bin")),
    ("snappy", Codec::Snappy, include_bytes!("../../testdata/java-snappy.bin")),
    ("lz4", Codec::Lz4, include_bytes!("../../testdata/java-lz4.bin")),
    ("lz4 level 17", Codec::Lz4, include_bytes!("../../testdata/java-lz4-17.bin")),
    ("zstd", Codec::Zstd, include_bytes!("../../testdata/java-zstd.bin")),
    ("zstd level 22", Codec::Zstd, include_bytes!("../../testdata/java-zstd-22.bin")),
];

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// An owned copy of a record, for comparing.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn read_all(bytes: &[u8], from: i64) -> Result<Vec<Owned>, BatchError> {
    let mut records = Records::new(bytes, Offset::new(from), LIMIT);
    let mut all = Vec::new();
    while let Some(record) = records.next()? {
        all.push(Owned {
            offset: record.offset.get(),
            timestamp: record.timestamp.as_millis(),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        });
    }
    Ok(all)
}

#[test]
fn batches_of_the_java_classes_read_back() {
    let plain = read_all(JAVA[0].2, 0).unwrap();
    assert_eq!(plain.len(), 54);
    assert_eq!(
        plain[0],
        Owned {
            offset: 7,
            timestamp: 1_700_000_000_000,
            key: Some(b"key".to_vec()),
            value: Some(b"value".to_vec()),
            headers: vec![
                (b"h".to_vec(), Some(b"1".to_vec())),
                (b"h".to_vec(), None),
                (Vec::new(), Some(Vec::new())),
            ],
        }
    );
    assert_eq!((plain[1].key.as_deref(), plain[1].value.as_deref()), (None, None));
    assert_eq!(plain[2].timestamp, 1_699_999_999_999);
    assert_eq!(
        (plain[2].key.as_deref(), plain[2].value.as_deref()),
        (Some(&[][..]), Some(&[][..]))
    );
    assert_eq!(plain[3].value.as_ref().map(Vec::len), Some(90_000));
    assert_eq!(plain[53].value.as_deref(), Some(&b"value number 49 of a batch"[..]));
    for (name, codec, bytes) in JAVA {
        let (batch, rest) = BatchView::parse(bytes).unwrap();
        assert!(rest.is_empty(), "{name}");
        let header = batch.header();
        assert_eq!(header.codec(), Ok(codec), "{name}");
        assert_eq!(header.next_offset(), Offset::new(61));
        assert_eq!(header.leader_epoch, LeaderEpoch::new(5));
        assert_eq!(
            (header.producer_id, header.producer_epoch),
            (ProducerId::new(99), ProducerEpoch::new(3))
        );
        assert_eq!(header.base_sequence, Sequence::new(41));
        assert_eq!(read_all(bytes, 0).unwrap(), plain, "{name}");
        let rules = AppendRules {
            origin: Origin::Coordinator,
            ..AppendRules::defaults(at(1_700_000_000_000))
        };
        let prepared = prepare(bytes, &rules).unwrap();
        assert_eq!(prepared.bytes, bytes, "{name}");
        assert_eq!(prepared.max_timestamp, at(1_700_000_001_049), "{name}");
        assert_eq!(prepared.max_timestamp_offset_delta, 53, "{name}");
    }
}

#[test]
fn reading_begins_inside_a_batch_and_ends_before_a_cut_one() {
    let bytes = [JAVA[1].2, &JAVA[0].2[..500]].concat();
    let mut records = Records::new(&bytes, Offset::new(59), LIMIT);
    assert_eq!(records.next().unwrap().unwrap().offset, Offset::new(59));
    assert_eq!(records.next().unwrap().unwrap().offset, Offset::new(60));
    assert!(records.next().unwrap().is_none());
    assert_eq!(records.next_offset(), Offset::new(61));
}

#[test]
fn control_records_are_passed_over_but_counted() {
    let marker =
        crate::ControlRecord { control_type: crate::ControlType::Commit, coordinator_epoch: 0 };
    let mut bytes = batch(10, &[1, 2]);
    let control = BatchBuilder::control(marker, ProducerId::new(1), ProducerEpoch::new(0), at(3));
    control.base_offset(Offset::new(12)).build_into(&mut bytes).unwrap();
    let mut records = Records::new(&bytes, Offset::new(11), LIMIT);
    assert_eq!(records.next().unwrap().unwrap().offset, Offset::new(11));
    assert!(records.next().unwrap().is_none());
    assert_eq!(records.next_offset(), Offset::new(13));
}

#[test]
fn a_damaged_batch_is_told_and_the_next_one_read() {
    let mut bytes = batch(0, &[1, 2]);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes.extend(batch(2, &[3]));
    let mut records = Records::new(&bytes, Offset::ZERO, LIMIT);
    assert!(matches!(records.next().unwrap_err().fault(), BatchFault::Crc { .. }));
    assert_eq!(records.next().unwrap().unwrap().offset, Offset::new(2));
    assert!(records.next().unwrap().is_none());
}

#[test]
fn unpacking_stops_at_the_limit() {
    let mut records = Records::new(JAVA[1].2, Offset::ZERO, 1_000);
    let error = records.next().unwrap_err();
    assert_eq!(error.fault(), &BatchFault::DecompressedTooLarge { decompressed_bytes_max: 1_000 });
}

fn batch(base_offset: i64, timestamps: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::new(Codec::Snappy))
        .base_offset(Offset::new(base_offset))
        .leader_epoch(LeaderEpoch::new(3));
    for &timestamp in timestamps {
        builder.push(at(timestamp), None, Some(b"v"), &[]).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn the_first_record_in_time_is_found_inside_its_batch() {
    let stamped = {
        let mut builder = BatchBuilder::new(Encoding::NONE).base_offset(Offset::new(6));
        builder.push(at(1), None, None, &[]).unwrap();
        builder.push(at(2), None, None, &[]).unwrap();
        builder.log_append_time(at(90)).build().unwrap()
    };
    let bytes = [batch(0, &[10, 30, 20]), batch(3, &[40, 5, 50]), stamped].concat();
    let mut scratch = Vec::new();
    for (target, from, expected) in [
        (0, 0, Some((10, 0))),
        (10, 0, Some((10, 0))),
        (11, 0, Some((30, 1))),
        (15, 2, Some((20, 2))),
        (31, 0, Some((40, 3))),
        (41, 0, Some((50, 5))),
        (0, 4, Some((5, 4))),
        (51, 0, Some((90, 6))),
        (51, 7, Some((90, 7))),
        (91, 0, None),
        (0, 8, None),
    ] {
        let found = find_by_timestamp(&bytes, at(target), Offset::new(from), LIMIT, &mut scratch);
        let found = found.unwrap().map(|found| (found.timestamp.as_millis(), found.offset.get()));
        assert_eq!(found, expected, "target {target} from {from}");
    }
    let found = find_by_timestamp(&bytes, at(0), Offset::ZERO, LIMIT, &mut scratch);
    assert_eq!(found.unwrap().unwrap().leader_epoch, LeaderEpoch::new(3));
}

fn record() -> impl Strategy<Value = Owned> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let header = (proptest::collection::vec(any::<u8>(), 0..3), bytes());
    let long = proptest::option::weighted(0.02, 33_000..70_000_usize);
    (any::<i32>(), bytes(), bytes(), proptest::collection::vec(header, 0..4), long).prop_map(
        |(timestamp, key, value, headers, long)| Owned {
            offset: 0,
            timestamp: 1_000_000_000_000 + i64::from(timestamp),
            key,
            value: long.map_or(value, |long| Some(vec![7; long])),
            headers,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_built_is_accepted_and_read_as_it_was(
        mut input in proptest::collection::vec(record(), 1..40),
    ) {
        for (offset, record) in (0..).zip(&mut input) {
            record.offset = offset;
        }
        let max = input.iter().map(|record| record.timestamp).max().unwrap();
        let first = input.iter().position(|record| record.timestamp == max).unwrap();
        for codec in Codec::ALL {
            let mut builder = BatchBuilder::new(Encoding::new(codec));
            for record in &input {
                let headers: Vec<Header<'_>> = record
                    .headers
                    .iter()
                    .map(|(key, value)| Header { key, value: value.as_deref() })
                    .collect();
                builder
                    .push(at(record.timestamp), record.key.as_deref(), record.value.as_deref(), &headers)
                    .unwrap();
            }
            let bytes = builder.build().unwrap();
            let prepared = prepare(&bytes, &AppendRules::defaults(at(max))).unwrap();
            prop_assert_eq!(&prepared.bytes[..], &bytes[..]);
            prop_assert_eq!(prepared.max_timestamp, at(max));
            prop_assert_eq!(usize::try_from(prepared.max_timestamp_offset_delta).unwrap(), first);
            prop_assert_eq!(usize::try_from(prepared.record_count).unwrap(), input.len());
            prop_assert_eq!(read_all(&bytes, 0).unwrap(), input.clone());
        }
    }
}
