//! Tables for the writer, and that the reader reads what it wrote.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

use super::*;
use crate::Reader;
use proptest::prelude::*;

const F: &str = "Test.field";

fn written(write: impl FnOnce(&mut Writer) -> Result<()>) -> Vec<u8> {
    let mut w = Writer::new();
    write(&mut w).expect("can be written");
    w.into_bytes().expect("nothing is missing")
}

#[test]
fn both_forms_of_lengths() {
    assert_eq!(written(|w| w.string(false, "hi", F)), [0, 2, b'h', b'i']);
    assert_eq!(written(|w| w.string(true, "hi", F)), [3, b'h', b'i']);
    assert_eq!(written(|w| w.nullable_string(false, None, F)), [0xff, 0xff]);
    assert_eq!(written(|w| w.nullable_string(true, None, F)), [0]);
    assert_eq!(written(|w| w.byte_string(false, &[7], F)), [0, 0, 0, 1, 7]);
    assert_eq!(written(|w| w.byte_string(true, &[7], F)), [2, 7]);
    assert_eq!(written(|w| w.nullable_byte_string(false, None, F)), [0xff; 4]);
    let numbers: &[i8] = &[1, 2];
    let write = |w: &mut Writer, number: &i8| {
        w.i8(*number);
        Ok(())
    };
    assert_eq!(written(|w| w.array(true, numbers, F, write)), [3, 1, 2]);
    assert_eq!(written(|w| w.array(false, numbers, F, write)), [0, 0, 0, 2, 1, 2]);
    assert_eq!(written(|w| w.nullable_array(true, None, F, write)), [0]);
}

#[test]
fn strings_longer_than_kafka_reads_are_refused() {
    let text = "x".repeat(32_768);
    for flexible in [false, true] {
        let error = Writer::new().string(flexible, &text, F).expect_err("too long");
        assert_eq!(error.reason, EncodeReason::TooLong(32_768));
    }
}

#[test]
fn detached_records_leave_holes_and_count_in_lengths() {
    let mut w = Writer::new();
    let frame = w.begin_frame();
    w.records(true, &RecordBytes::Inline(&[1, 2]), F).expect("short");
    w.records(false, &RecordBytes::Detached { piece: 4, len: 1000 }, F).expect("short");
    w.i8(9);
    w.records(true, &RecordBytes::Detached { piece: 5, len: 300 }, F).expect("short");
    w.records(true, &RecordBytes::Detached { piece: 6, len: 0 }, F).expect("short");
    w.end_frame(frame).expect("short");
    assert_eq!(w.bytes(), [0, 0, 5, 31, 3, 1, 2, 0, 0, 3, 0xe8, 9, 0xad, 2, 1]);
    assert_eq!(
        w.holes(),
        [Hole { at: 11, piece: 4, len: 1000 }, Hole { at: 14, piece: 5, len: 300 }]
    );
    assert_eq!(w.wire_len_since(frame), 4 + 1311);
    assert_eq!(w.into_bytes(), None);
}

#[test]
fn frames_follow_each_other_in_one_buffer() {
    let mut w = Writer::new();
    let first = w.begin_frame();
    w.records(false, &RecordBytes::Detached { piece: 1, len: 7 }, F).expect("short");
    w.end_frame(first).expect("short");
    let second = w.begin_frame();
    w.i8(1);
    w.records(false, &RecordBytes::Detached { piece: 2, len: 3 }, F).expect("short");
    w.end_frame(second).expect("short");
    assert_eq!(w.bytes(), [0, 0, 0, 11, 0, 0, 0, 7, 0, 0, 0, 8, 1, 0, 0, 0, 3]);
    // Undoing the second leaves the first with its hole at the very end.
    w.truncate(second);
    assert_eq!(w.holes(), [Hole { at: 8, piece: 1, len: 7 }]);
    assert_eq!(w.wire_len_since(first), 15);
}

#[test]
fn long_tagged_values_move_aside_for_their_size() {
    let mut w = Writer::new();
    let unknown = UnknownTaggedFields::NONE;
    let mut tags = w.begin_tags(&unknown);
    w.tag(&mut tags, 0, F, |w| {
        w.raw(&[7; 200]);
        w.records(true, &RecordBytes::Detached { piece: 1, len: 5 }, F)
    })
    .expect("short");
    w.end_tags(tags, F).expect("short");
    // Count, tag, size 206 in two bytes, value, length of the records.
    assert_eq!(w.bytes()[..5], [1, 0, 0xce, 1, 7]);
    assert_eq!(w.len(), 205);
    assert_eq!(w.holes(), [Hole { at: 205, piece: 1, len: 5 }]);
}

#[test]
fn unknown_tagged_fields_are_merged_in_order() {
    let mut unknown = UnknownTaggedFields::default();
    for tag in [9, 0, 4] {
        unknown.insert(tag, &[u8::try_from(tag).expect("small")]);
    }
    let section = |tag| {
        let mut w = Writer::new();
        let mut tags = w.begin_tags(&unknown);
        w.tag(&mut tags, tag, F, |w| {
            w.i8(-1);
            Ok(())
        })?;
        w.end_tags(tags, F)?;
        Ok(w.into_bytes().expect("whole"))
    };
    assert_eq!(section(5), Ok(vec![4, 0, 1, 0, 4, 1, 4, 5, 1, 0xff, 9, 1, 9]));
    let conflict = EncodeError { field: F, reason: EncodeReason::TagConflict(4) };
    assert_eq!(section(4), Err(conflict));
}

#[test]
fn more_than_127_tagged_fields_take_a_longer_count() {
    let mut unknown = UnknownTaggedFields::default();
    (0..200).for_each(|tag| unknown.insert(tag, &[]));
    let mut w = Writer::new();
    let tags = w.begin_tags(&unknown);
    w.end_tags(tags, F).expect("short");
    let bytes = w.into_bytes().expect("whole");
    assert_eq!(bytes[..4], [0xc8, 1, 0, 0]);
    let mut r = Reader::new(&bytes);
    r.skip_tagged_fields(F).expect("well formed");
    assert_eq!(r.remaining(), 0);
}

proptest! {
    #[test]
    fn numbers_come_back(a: u32, b: u64, c: i32, d: i64, shift in 0..64_u32) {
        let mut w = Writer::new();
        let (a, b, c, d) = (a >> (shift / 2), b >> shift, c >> (shift / 2), d >> shift);
        w.varint(a);
        w.varlong(b);
        w.zigzag_i32(c);
        w.zigzag_i64(d);
        let bytes = w.into_bytes().expect("whole");
        let mut r = Reader::new(&bytes);
        prop_assert_eq!(r.varint(F), Ok(a));
        prop_assert_eq!(r.varlong(F), Ok(b));
        prop_assert_eq!(r.zigzag_i32(F), Ok(c));
        prop_assert_eq!(r.zigzag_i64(F), Ok(d));
        prop_assert_eq!(r.remaining(), 0);
    }

    #[test]
    fn text_and_bytes_come_back(flexible: bool, text: Option<String>, bytes: Option<Vec<u8>>) {
        let mut w = Writer::new();
        w.nullable_string(flexible, text.as_deref(), F).expect("short");
        w.nullable_byte_string(flexible, bytes.as_deref(), F).expect("short");
        let frame = w.into_bytes().expect("whole");
        let mut r = Reader::new(&frame);
        prop_assert_eq!(r.nullable_string(flexible, F), Ok(text.as_deref()));
        prop_assert_eq!(r.nullable_bytes(flexible, F), Ok(bytes.as_deref()));
        prop_assert_eq!(r.remaining(), 0);
    }
}
