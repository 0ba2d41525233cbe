use super::*;
use crate::builder::BatchBuilder;
use crate::compression::Encoding;
use crate::view::BatchView;
use proptest::prelude::*;

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    builder.push(Timestamp::from_millis(1_000), None, Some(b"v"), &[]).unwrap();
    builder.push(Timestamp::from_millis(900), None, Some(b"w"), &[]).unwrap();
    builder.build().unwrap()
}

#[test]
fn assigning_leaves_the_checksum_valid() {
    let original = batch();
    let (offset, epoch) = (Offset::new(0x0102_0304_0506_0708), LeaderEpoch::new(0x0a0b_0c0d));
    let mut patched = original.clone();
    patch_assigned(&mut patched, offset, epoch).unwrap();
    let view = BatchView::parse(&patched).unwrap().0;
    view.check_crc().unwrap();
    assert_eq!((view.header().base_offset, view.header().leader_epoch), (offset, epoch));

    let header = BatchHeader::read(&original).unwrap();
    let prefix = AssignedPrefix::new(&header, offset, epoch);
    let pieces = [&prefix.as_bytes()[..], &original[ASSIGNED_PREFIX_BYTES..]].concat();
    assert_eq!(pieces, patched);
}

#[test]
fn stamping_renews_the_checksum() {
    let mut bytes = batch();
    let now = Timestamp::from_millis(77);
    patch_log_append_time(&mut bytes, now).unwrap();
    let view = BatchView::parse(&bytes).unwrap().0;
    view.check_crc().unwrap();
    let header = view.header();
    assert_eq!(
        (header.timestamp_type(), header.max_timestamp),
        (TimestampType::LogAppendTime, now)
    );
    assert_eq!(header.record_timestamp(-100), now);
    patch_max_timestamp(&mut bytes, TimestampType::CreateTime, Timestamp::from_millis(1_000))
        .unwrap();
    assert_eq!(bytes, batch());
}

#[test]
fn what_is_already_so_is_not_touched() {
    let mut bytes = batch();
    bytes[CRC_AT] ^= 1;
    let damaged = bytes.clone();
    patch_max_timestamp(&mut bytes, TimestampType::CreateTime, Timestamp::from_millis(1_000))
        .unwrap();
    assert_eq!(bytes, damaged);
}

#[test]
fn too_few_bytes_are_refused() {
    let bytes = batch();
    for have in 0..BATCH_HEADER_BYTES {
        let mut cut = bytes[..have].to_vec();
        assert_eq!(BatchHeader::read(&cut), None);
        assert!(patch_log_append_time(&mut cut, Timestamp::NONE).is_err());
        let assigned = patch_assigned(&mut cut, Offset::ZERO, LeaderEpoch::NONE);
        assert_eq!(assigned.is_ok(), have >= ASSIGNED_PREFIX_BYTES);
    }
}

#[test]
fn extreme_fields_do_not_overflow() {
    for fill in [0x00, 0x7f, 0x80, 0xff] {
        let header = BatchHeader::read(&[fill; BATCH_HEADER_BYTES]).unwrap();
        let _ = (header.size_bytes(), header.last_offset(), header.next_offset());
        let _ =
            (header.last_sequence(), header.record_timestamp(i64::MIN), header.delete_horizon());
    }
}

proptest! {
    #[test]
    fn fields_round_trip(bytes in any::<[u8; 32]>(), more in any::<[u8; 29]>()) {
        let bytes = [&bytes[..], &more[..]].concat();
        prop_assert_eq!(BatchHeader::read(&bytes).unwrap().to_bytes().to_vec(), bytes);
    }

    #[test]
    fn attribute_bits_do_not_disturb_each_other(bits in any::<u16>()) {
        let before = Attributes::new(bits);
        for codec in Codec::ALL {
            let after = before.with_codec(codec);
            prop_assert_eq!(after.codec(), Ok(codec));
            prop_assert_eq!(after.get() & !7, bits & !7);
        }
        for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
            let after = before.with_timestamp_type(timestamp_type);
            prop_assert_eq!(after.timestamp_type(), timestamp_type);
            prop_assert_eq!(after.get() & !8, bits & !8);
        }
        prop_assert_eq!(before.with_transactional(true).get() & !16, bits & !16);
        prop_assert!(before.with_control(true).is_control());
        prop_assert!(!before.with_control(false).is_control());
    }
}
