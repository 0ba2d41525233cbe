use super::*;
use crate::{BatchBuilder, Header, Records};
use jocko_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use proptest::prelude::*;

const MAX: u64 = 1 << 20;
const HORIZON: Timestamp = Timestamp::from_millis(1_000_000);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Key, value and timestamp by offset.
type Seen = Vec<(i64, Option<Vec<u8>>, Option<Vec<u8>>, i64)>;

fn seen(bytes: &[u8]) -> Seen {
    let mut records = Records::new(bytes, Offset::ZERO, MAX);
    let mut seen = Vec::new();
    while let Some(record) = records.next().unwrap() {
        assert_eq!(record.headers.count(), 1);
        seen.push((
            record.offset.get(),
            record.key.map(<[u8]>::to_vec),
            record.value.map(<[u8]>::to_vec),
            record.timestamp.as_millis(),
        ));
    }
    seen
}

fn batch(codec: Codec, values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Encoding::new(codec))
        .base_offset(Offset::new(40))
        .leader_epoch(LeaderEpoch::new(3))
        .producer(ProducerId::new(7), ProducerEpoch::new(1), Sequence::new(5));
    for (number, value) in values.iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        let header = [Header { key: b"h", value: Some(b"x") }];
        builder.push(at(100 - i64::from(number)), Some(&[number]), *value, &header).unwrap();
    }
    builder.build().unwrap()
}

fn view(bytes: &[u8]) -> BatchView<'_> {
    BatchView::parse(bytes).unwrap().0
}

#[test]
fn what_stays_keeps_offsets_timestamps_producer_and_codec() {
    for codec in Codec::ALL {
        let bytes = batch(codec, &[Some(b"a"), Some(b"b"), Some(b"c"), Some(b"d")]);
        let before = *view(&bytes).header();
        let mut scratch = RetainScratch::default();
        let kept = scratch.retain(&view(&bytes), MAX, HORIZON, |at| at.offset_delta % 2 == 1);
        let Ok(Retained::Rebuilt(rebuilt)) = kept else { panic!("{kept:?}") };
        view(rebuilt).check_crc().unwrap();
        let after = *view(rebuilt).header();
        assert_eq!(after.codec(), Ok(codec));
        assert_eq!((after.base_offset, after.last_offset()), (Offset::new(40), Offset::new(43)));
        assert_eq!(after.last_sequence(), before.last_sequence());
        assert_eq!(
            (after.producer_id, after.leader_epoch),
            (before.producer_id, before.leader_epoch)
        );
        assert_eq!((after.record_count, after.max_timestamp), (2, at(99)));
        assert_eq!((after.base_timestamp, after.delete_horizon()), (at(99), None));
        let mut expect = seen(&bytes);
        expect.retain(|(offset, ..)| offset % 2 == 1);
        assert_eq!(seen(rebuilt), expect);
    }
}

#[test]
fn a_batch_nothing_happens_to_is_not_rebuilt() {
    let bytes = batch(Codec::Zstd, &[Some(b"a"), Some(b"b")]);
    let mut scratch = RetainScratch::default();
    let kept = scratch.retain(&view(&bytes), MAX, HORIZON, |_| true).unwrap();
    assert_eq!(kept, Retained::Whole);
    let kept = scratch.retain(&view(&bytes), MAX, HORIZON, |_| false).unwrap();
    assert_eq!(kept, Retained::Nothing);
}

#[test]
fn the_first_clean_tells_when_tombstones_may_go_and_later_ones_do_not_change_it() {
    for codec in [Codec::None, Codec::Lz4] {
        let bytes = batch(codec, &[Some(b"a"), None, Some(b"c")]);
        let mut scratch = RetainScratch::default();
        let kept = scratch.retain(&view(&bytes), MAX, HORIZON, |_| true).unwrap();
        let Retained::Rebuilt(first) = kept else { panic!("{kept:?}") };
        let first = first.to_vec();
        view(&first).check_crc().unwrap();
        assert_eq!(view(&first).header().delete_horizon(), Some(HORIZON));
        assert_eq!(view(&first).header().max_timestamp, at(100));
        assert_eq!(seen(&first), seen(&bytes));
        let later = at(9_000_000);
        let kept = scratch.retain(&view(&first), MAX, later, |_| true).unwrap();
        assert_eq!(kept, Retained::Whole);
        let kept = scratch.retain(&view(&first), MAX, later, |at| at.offset_delta > 0).unwrap();
        let Retained::Rebuilt(second) = kept else { panic!("{kept:?}") };
        assert_eq!(view(second).header().delete_horizon(), Some(HORIZON));
        assert_eq!(seen(second), seen(&bytes)[1..]);
        let kept = scratch.retain(&view(&first), MAX, later, |at| at.offset_delta == 0).unwrap();
        let Retained::Rebuilt(third) = kept else { panic!("{kept:?}") };
        assert_eq!(seen(third), seen(&bytes)[..1]);
    }
}

#[test]
fn the_brokers_time_stays_that_of_the_whole_batch() {
    let mut bytes = batch(Codec::None, &[Some(b"a"), None, Some(b"c")]);
    crate::patch_log_append_time(&mut bytes, at(5_000)).unwrap();
    let mut scratch = RetainScratch::default();
    let kept = scratch.retain(&view(&bytes), MAX, HORIZON, |at| at.offset_delta > 0).unwrap();
    let Retained::Rebuilt(rebuilt) = kept else { panic!("{kept:?}") };
    assert_eq!(seen(rebuilt), seen(&bytes)[1..]);
    assert_eq!(view(rebuilt).header().max_timestamp, at(5_000));
}

#[test]
fn an_emptied_batch_is_a_header_that_readers_pass_over() {
    let bytes = batch(Codec::Gzip, &[Some(b"a"), None]);
    let empty = emptied_batch(view(&bytes).header());
    view(&empty).check_crc().unwrap();
    let header = *view(&empty).header();
    assert_eq!((header.base_offset, header.last_offset()), (Offset::new(40), Offset::new(41)));
    assert_eq!(
        (header.base_sequence, header.last_sequence()),
        (Sequence::new(5), Sequence::new(6))
    );
    assert_eq!((header.record_count, header.codec()), (0, Ok(Codec::None)));
    assert_eq!((header.max_timestamp, header.base_timestamp), (at(100), Timestamp::NONE));
    let mut records = Records::new(&empty, Offset::ZERO, MAX);
    assert!(records.next().unwrap().is_none());
    assert_eq!(records.next_offset(), Offset::new(42));
    let mut scratch = RetainScratch::default();
    let kept = scratch.retain(&view(&empty), MAX, HORIZON, |_| true).unwrap();
    assert_eq!(kept, Retained::Nothing);
}

proptest! {
    #[test]
    fn any_choice_of_records_reads_back(
        values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), 1..30),
        choice in any::<u32>(),
        codec in 0..5_usize,
    ) {
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        let bytes = batch(Codec::ALL[codec], &values);
        let keeps = |delta: i32| choice >> (delta % 32) & 1 == 1;
        let mut scratch = RetainScratch::default();
        let kept = scratch.retain(&view(&bytes), MAX, HORIZON, |at| keeps(at.offset_delta)).unwrap();
        let mut expect = seen(&bytes);
        expect.retain(|(offset, ..)| keeps(i32::try_from(offset - 40).unwrap()));
        match kept {
            Retained::Nothing => prop_assert!(expect.is_empty()),
            Retained::Whole => prop_assert_eq!(&expect, &seen(&bytes)),
            Retained::Rebuilt(rebuilt) => {
                view(rebuilt).check_crc().unwrap();
                prop_assert_eq!(&expect, &seen(rebuilt));
                let tombstones = expect.iter().any(|(_, _, value, _)| value.is_none());
                prop_assert_eq!(view(rebuilt).header().delete_horizon().is_some(), tombstones);
            }
        }
    }
}
