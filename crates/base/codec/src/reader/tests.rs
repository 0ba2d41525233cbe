//! Tables for the reader: what it gives, and how it refuses.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

use super::*;
use proptest::prelude::*;

const F: &str = "Test.field";

fn error<T: std::fmt::Debug>(result: Result<T>) -> (usize, DecodeReason) {
    let error = result.expect_err("must be refused");
    assert_eq!(error.field, F);
    (error.offset, error.reason)
}

#[test]
fn numbers_are_big_endian() {
    let bytes = [0xff, 0xfe, 1, 2, 0, 0, 0, 7, 0x80, 0, 0, 0, 0, 0, 0, 0];
    let mut r = Reader::new(&bytes);
    assert_eq!(r.i16(F), Ok(-2));
    assert_eq!(r.u16(F), Ok(0x102));
    assert_eq!(r.i32(F), Ok(7));
    assert_eq!(r.offset(), 8);
    assert_eq!(r.i64(F), Ok(i64::MIN));
    assert_eq!(error(r.u8(F)), (16, DecodeReason::Truncated { needed: 1, remaining: 0 }));
    assert_eq!(Reader::new(&[2]).bool(F), Ok(true));
    assert_eq!(Reader::new(&[0]).bool(F), Ok(false));
}

#[test]
fn a_refused_read_moves_nothing() {
    let mut r = Reader::new(&[1, 2, 3]);
    assert_eq!(error(r.i32(F)), (0, DecodeReason::Truncated { needed: 4, remaining: 3 }));
    assert_eq!(error(r.take(9, F)), (0, DecodeReason::Truncated { needed: 9, remaining: 3 }));
    assert_eq!(r.remaining(), 3);
}

#[test]
fn varints_have_at_most_five_bytes() {
    let check = |bytes: &[u8], expect: std::result::Result<u32, DecodeReason>| {
        let mut r = Reader::new(bytes);
        assert_eq!(r.varint(F).map_err(|error| error.reason), expect, "{bytes:02x?}");
        let left = if expect.is_ok() { 0 } else { bytes.len() };
        assert_eq!(r.remaining(), left, "{bytes:02x?}");
    };
    check(&[0], Ok(0));
    check(&[0x7f], Ok(127));
    check(&[0x80, 1], Ok(128));
    check(&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX));
    // Padding is wasteful but within the five bytes.
    check(&[0x80, 0x80, 0], Ok(0));
    check(&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(DecodeReason::VarintTooLong));
    check(&[0x80, 0x80, 0x80, 0x80, 0x80, 0], Err(DecodeReason::VarintTooLong));
    check(&[], Err(DecodeReason::Truncated { needed: 1, remaining: 0 }));
    check(&[0x80, 0x80], Err(DecodeReason::Truncated { needed: 3, remaining: 2 }));
}

#[test]
fn varlongs_have_at_most_ten_bytes() {
    let check = |bytes: &[u8], expect: std::result::Result<u64, DecodeReason>| {
        let read = Reader::new(bytes).varlong(F).map_err(|error| error.reason);
        assert_eq!(read, expect, "{bytes:02x?}");
    };
    check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Ok(u64::MAX));
    check(
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        Err(DecodeReason::VarintTooLong),
    );
    check(&[0x80; 11], Err(DecodeReason::VarintTooLong));
    check(&[0x80; 9], Err(DecodeReason::Truncated { needed: 10, remaining: 9 }));
}

#[test]
fn zigzag_puts_small_numbers_first() {
    for (raw, expect) in [(0, 0), (1, -1), (2, 1), (3, -2), (4, 2)] {
        assert_eq!(Reader::new(&[raw]).zigzag_i32(F), Ok(expect));
        assert_eq!(Reader::new(&[raw]).zigzag_i64(F), Ok(i64::from(expect)));
    }
    let most = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(Reader::new(&most).zigzag_i32(F), Ok(i32::MIN));
}

#[test]
fn strings_are_checked_in_both_forms() {
    let check = |flexible,
                 bytes: &[u8],
                 expect: std::result::Result<Option<&str>, DecodeReason>| {
        let read = Reader::new(bytes).nullable_string(flexible, F).map_err(|error| error.reason);
        assert_eq!(read, expect, "{flexible} {bytes:02x?}");
    };
    check(false, &[0, 2, b'h', b'i'], Ok(Some("hi")));
    check(false, &[0xff, 0xff], Ok(None));
    check(false, &[0xff, 0xfe], Err(DecodeReason::InvalidLength(-2)));
    check(false, &[0, 2, b'h'], Err(DecodeReason::Truncated { needed: 2, remaining: 1 }));
    check(true, &[3, b'h', b'i'], Ok(Some("hi")));
    check(true, &[1], Ok(Some("")));
    check(true, &[0], Ok(None));
    check(true, &[2, 0xff], Err(DecodeReason::InvalidUtf8));
    check(true, &[0x81, 0x80, 0x02], Err(DecodeReason::StringTooLong(32_768)));
    assert_eq!(error(Reader::new(&[0]).string(true, F)), (1, DecodeReason::UnexpectedNull));
}

#[test]
fn bytes_are_slices_of_the_frame() {
    let frame = [0, 0, 0, 3, 7, 8, 9, 4, 7, 8, 9, 0xff, 0xff, 0xff, 0xff];
    let mut r = Reader::new(&frame);
    let plain = r.bytes(false, F).expect("three bytes");
    assert_eq!(plain.as_ptr(), frame[4..].as_ptr());
    assert_eq!(r.records(true, F), Ok(RecordBytes::Inline(&[7, 8, 9])));
    assert_eq!(r.nullable_records(false, F), Ok(None));
}

#[test]
fn counts_are_bounded_by_the_bytes_that_remain() {
    let check = |flexible, least, bytes: &[u8], expect: std::result::Result<_, DecodeReason>| {
        let mut r = Reader::new(bytes);
        let read = r.nullable_array_len(flexible, least, F).map_err(|error| error.reason);
        assert_eq!(read, expect, "{flexible} {least} {bytes:02x?}");
    };
    check(true, 2, &[3, 0, 0, 0, 0], Ok(Some(2)));
    check(true, 2, &[0], Ok(None));
    check(true, 2, &[4, 0, 0, 0, 0], Err(DecodeReason::CountBeyondFrame { count: 3, possible: 2 }));
    check(false, 4, &[0, 0, 0, 1, 0, 0, 0, 0], Ok(Some(1)));
    check(false, 1, &[0xff, 0xff, 0xff, 0xff], Ok(None));
    check(false, 1, &[0x80, 0, 0, 0], Err(DecodeReason::InvalidLength(i64::from(i32::MIN))));
    let (count, possible) = (0x7fff_ffff, 0);
    check(
        false,
        1,
        &[0x7f, 0xff, 0xff, 0xff],
        Err(DecodeReason::CountBeyondFrame { count, possible }),
    );
    // A least size of zero would let any count through.
    check(true, 0, &[3, 0], Err(DecodeReason::CountBeyondFrame { count: 2, possible: 1 }));
}

#[test]
fn all_arrays_of_a_message_share_one_budget() {
    let frame = [3, 0, 0, 3, 0, 0];
    let mut r = Reader::with_elements_max(&frame, 3);
    assert_eq!(r.array(true, 1, F, |r| r.i8(F)), Ok(vec![0, 0]));
    assert_eq!(error(r.array(true, 1, F, |r| r.i8(F))), (4, DecodeReason::TooManyElements));
}

#[test]
fn tagged_fields_ascend_and_are_read_whole() {
    fn read(bytes: &[u8]) -> Result<Vec<(u32, Vec<u8>)>> {
        let mut r = Reader::new(bytes);
        let mut tags = r.tagged_fields(F)?;
        let mut found = Vec::new();
        while let Some((tag, outer)) = r.next_tag(&mut tags, F)? {
            found.push((tag, r.unknown_tag(F)?.to_vec()));
            r.end_tag(outer, F)?;
        }
        assert_eq!(r.remaining(), 1, "stops where the section ends");
        Ok(found)
    }
    assert_eq!(read(&[0, 9]), Ok(vec![]));
    assert_eq!(read(&[2, 0, 1, 7, 5, 0, 9]), Ok(vec![(0, vec![7]), (5, vec![])]));
    assert_eq!(error(read(&[2, 5, 0, 5, 0, 9])), (3, DecodeReason::TagOutOfOrder(5)));
    assert_eq!(error(read(&[2, 5, 0, 4, 0, 9])), (3, DecodeReason::TagOutOfOrder(4)));
    let truncated = DecodeReason::Truncated { needed: 3, remaining: 1 };
    assert_eq!(error(read(&[1, 0, 3, 9])), (3, truncated));
    assert_eq!(error(read(&[0x91, 0x4e])), (2, DecodeReason::TooManyTaggedFields(10_001)));
}

#[test]
fn a_tagged_value_is_a_window() {
    // Tag 0 holds two bytes, and 9 follows the section.
    let frame = [1, 0, 2, 7, 8, 9];
    let mut r = Reader::new(&frame);
    let mut tags = r.tagged_fields(F).expect("one");
    let (_, outer) = r.next_tag(&mut tags, F).expect("well formed").expect("one");
    assert_eq!((r.offset(), r.remaining()), (3, 2));
    assert_eq!(error(r.i32(F)), (3, DecodeReason::Truncated { needed: 4, remaining: 2 }));
    assert_eq!(r.i8(F), Ok(7));
    let left = DecodeReason::TaggedFieldTooLong { left: 1 };
    assert_eq!(error(r.clone().end_tag(OuterWindow { rest: &[], end: 6 }, F)), (4, left));
    assert_eq!(r.i8(F), Ok(8));
    r.end_tag(outer, F).expect("read whole");
    assert_eq!((r.offset(), r.i8(F)), (5, Ok(9)));
}

proptest! {
    #[test]
    fn no_bytes_lead_astray(bytes in proptest::collection::vec(any::<u8>(), 0..64), steps: [u8; 12]) {
        let mut r = Reader::new(&bytes);
        for step in steps {
            let before = r.offset();
            let flexible = step & 0x80 != 0;
            match step % 8 {
                0 => drop(r.varint(F)),
                1 => drop(r.varlong(F)),
                2 => drop(r.nullable_string(flexible, F)),
                3 => drop(r.nullable_bytes(flexible, F)),
                4 => drop(r.nullable_array(flexible, 1, F, |r| r.i8(F))),
                5 => drop(r.skip_tagged_fields(F)),
                6 => drop(r.i64(F)),
                _ => drop(r.i8(F)),
            }
            prop_assert!(r.offset() >= before);
            prop_assert!(r.offset() + r.remaining() <= bytes.len());
        }
    }
}
