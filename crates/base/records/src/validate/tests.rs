use super::*;
use crate::builder::BatchBuilder;
use crate::compression::Encoding;
use crate::error::BatchFault;
use crate::header::BATCH_HEADER_BYTES;
use crate::prepare::prepare;
use crate::varint::write_varlong;
use jocko_types::ErrorCode;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A batch whose records are `records`, packed by `codec`.
fn batch_of(codec: Codec, records: &[u8], record_count: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::new(codec));
    builder.push(at(NOW), Some(b"k"), None, &[]).unwrap();
    let mut header = BatchHeader::read(&builder.build().unwrap()).unwrap();
    let mut bytes = vec![0; BATCH_HEADER_BYTES];
    crate::compress(Encoding::new(codec), records, &mut bytes);
    header.length_bytes = i32::try_from(bytes.len() - 12).unwrap();
    header.record_count = record_count;
    header.last_offset_delta = record_count - 1;
    bytes[..BATCH_HEADER_BYTES].copy_from_slice(&header.to_bytes());
    crate::header::renew_crc(&mut bytes).unwrap();
    bytes
}

fn record(body: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    write_varlong(&mut record, i64::try_from(body.len()).unwrap());
    record.extend_from_slice(body);
    record
}

#[test]
fn bombs_cost_their_limit_and_nothing_more() {
    // One record whose value is all zeros, which pack to a few dozen kilobytes or less.
    let value_bytes = 20 << 20;
    let mut body = vec![0, 0, 0, 2, b'k'];
    write_varlong(&mut body, value_bytes);
    body.resize(body.len() + usize::try_from(value_bytes).unwrap(), 0);
    body.push(0);
    let records = record(&body);
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let bytes = batch_of(codec, &records, 1);
        let decompressed_bytes_max = AppendRules::decompressed_bytes_max_for(1000);
        let rules = AppendRules { decompressed_bytes_max, ..AppendRules::defaults(at(NOW)) };
        let error = prepare(&bytes, &rules).unwrap_err();
        assert_eq!(error.code(), ErrorCode::MessageTooLarge, "{codec}");
        assert!(matches!(error.fault(), BatchFault::DecompressedTooLarge { .. }), "{codec}");
        let generous = AppendRules { decompressed_bytes_max: u64::MAX, ..rules };
        assert!(prepare(&bytes, &generous).is_ok(), "{codec}");
    }
}

#[test]
fn the_bound_on_unpacking_follows_the_topic() {
    for (max_message_bytes, expected) in
        [(0, 16 << 20), (1 << 20, 64 << 20), (1 << 22, 256 << 20), (usize::MAX, 1 << 30)]
    {
        assert_eq!(AppendRules::decompressed_bytes_max_for(max_message_bytes), expected);
    }
}

#[test]
fn the_records_at_fault_are_named_up_to_a_bound() {
    let mut builder = BatchBuilder::new(Encoding::new(Codec::Gzip));
    for n in 0..3_000 {
        builder.push(at(n % 2 * NOW), None, None, &[]).unwrap();
    }
    let bytes = builder.build().unwrap();
    let rules = AppendRules { timestamp_before_max_ms: 1_000, ..AppendRules::defaults(at(NOW)) };
    let error = prepare(&bytes, &rules).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
    assert_eq!(error.fault(), &BatchFault::InvalidTimestamps { count: 1_500 });
    assert_eq!(error.record_errors().len(), RECORD_ERRORS_MAX);
    assert_eq!(error.record_errors()[1].index, 2);
    assert_eq!(
        error.record_errors()[1].fault,
        RecordFault::TimestampOutOfRange {
            timestamp: at(0),
            earliest: at(NOW - 1_000),
            latest: at(NOW + 3_600_000),
        }
    );
}

#[test]
fn a_coordinator_may_write_control_batches_and_base_offsets() {
    let marker =
        crate::ControlRecord { control_type: crate::ControlType::Abort, coordinator_epoch: 1 };
    let bytes = BatchBuilder::control(
        marker,
        jocko_types::ProducerId::new(5),
        jocko_types::ProducerEpoch::new(0),
        at(NOW),
    )
    .base_offset(jocko_types::Offset::new(9))
    .build()
    .unwrap();
    let client = AppendRules {
        compression: Compression::Target(Encoding::new(Codec::Zstd)),
        ..AppendRules::defaults(at(NOW))
    };
    assert_eq!(prepare(&bytes, &client).unwrap_err().code(), ErrorCode::InvalidRecord);
    let own = AppendRules { origin: Origin::Coordinator, ..client };
    assert_eq!(prepare(&bytes, &own).unwrap().bytes, bytes);
}

/// Bodies of records that are wrong in one way each.
fn malformed_bodies() -> Vec<Vec<u8>> {
    let good = [0_u8, 0, 0, 2, b'k', 2, b'v', 0];
    let mut bodies: Vec<Vec<u8>> = (0..good.len()).map(|cut| good[..cut].to_vec()).collect();
    bodies.push([&good[..], &[0]].concat());
    bodies.push(vec![0, 0, 0, 2, b'k', 2, b'v', 1]);
    bodies.push(vec![0, 0, 0, 2, b'k', 2, b'v', 2, 1, 1]);
    bodies.push(vec![0, 0, 0, 2, b'k', 2, b'v', 4, 0, 1]);
    bodies.push(vec![0, 0, 0, 2, b'k', 100, b'v', 0]);
    bodies.push(vec![0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 0]);
    bodies.push(vec![0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 0]);
    bodies
}

#[test]
fn malformed_records_are_refused_packed_or_not() {
    for body in malformed_bodies() {
        for codec in Codec::ALL {
            let bytes = batch_of(codec, &record(&body), 1);
            let error = prepare(&bytes, &AppendRules::defaults(at(NOW))).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRecord, "{codec} {body:?} {error}");
        }
    }
}

#[test]
fn long_records_are_held_to_the_same_rules() {
    let field = |bytes: &[u8]| {
        let mut field = Vec::new();
        write_varlong(&mut field, i64::try_from(bytes.len()).unwrap());
        field.extend_from_slice(bytes);
        field
    };
    let long = field(&[b'x'; 70_000]);
    let start = [0_u8, 0, 0];
    let good = [
        [&start[..], &long, &long, &[0]].concat(),
        [&start[..], &[1], &long, &[2], &field(b"h"), &[1]].concat(),
        [&start[..], &[1, 1, 2], &long, &long].concat(),
        // Numbers longer than they need be.
        [&[0, 0x80, 0, 0x80, 0][..], &[0x81, 0], &long, &[0x80, 0]].concat(),
    ];
    for body in &good {
        for codec in Codec::ALL {
            let bytes = batch_of(codec, &record(body), 1);
            prepare(&bytes, &AppendRules::defaults(at(NOW))).unwrap();
        }
    }
    let bad = [
        [&start[..], &long, &long, &[0, 0]].concat(),
        [&start[..], &long, &long].concat(),
        [&start[..], &long, &long, &[1]].concat(),
        [&start[..], &long, &long, &[2, 1, 1]].concat(),
        [&start[..], &long, &[0xfe, 0xff, 0xff, 0xff, 0x0f], &[0]].concat(),
        [&start[..], &long, &long, &[0xfe, 0xff, 0xff, 0xff, 0x0f]].concat(),
    ];
    for body in &bad {
        for codec in Codec::ALL {
            // More records follow, so that reading past this one would find bytes.
            let records = [record(body), record(&good[0])].concat();
            let bytes = batch_of(codec, &records, 2);
            let error = prepare(&bytes, &AppendRules::defaults(at(NOW))).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRecord, "{codec}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The walk through a window and the walk in place see the same.
    #[test]
    fn packed_and_plain_records_are_judged_alike(
        bodies in proptest::collection::vec(proptest::collection::vec(0_u8..8, 5..30), 1..6),
        filler in 0..40_000_usize,
    ) {
        let mut records: Vec<u8> = bodies.iter().flat_map(|body| record(body)).collect();
        let mut long = vec![0, 0, 0, 1];
        write_varlong(&mut long, i64::try_from(filler).unwrap());
        long.resize(long.len() + filler, 0);
        long.push(0);
        records.extend(record(&long));
        let count = i32::try_from(bodies.len()).unwrap() + 1;
        let rules = AppendRules::defaults(at(NOW));
        let judge = |codec| {
            let bytes = batch_of(codec, &records, count);
            let batch = BatchView::parse(&bytes).unwrap().0;
            check(&batch, &rules).map(|checked| Checked { records_bytes: 0, ..checked })
        };
        let plain = judge(Codec::None);
        for codec in Codec::ALL {
            match (&plain, judge(codec)) {
                (Ok(plain), Ok(packed)) => prop_assert_eq!(plain, &packed),
                (Err(plain), Err(packed)) => prop_assert_eq!(plain.code(), packed.code()),
                (plain, packed) => prop_assert!(false, "{plain:?} {packed:?}"),
            }
        }
    }
}
