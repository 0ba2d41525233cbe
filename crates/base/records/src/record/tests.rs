use super::*;

fn written(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_record(&mut out, (-3, 7), key, value, headers.iter().copied());
    out
}

#[test]
fn a_record_is_written_as_kafka_writes_it() {
    let headers = [Header { key: b"h", value: None }];
    let bytes = written(Some(b"k"), None, &headers);
    assert_eq!(bytes, [20, 0, 5, 14, 2, b'k', 1, 2, 2, b'h', 1]);
}

#[test]
fn everything_survives() {
    let headers = [
        Header { key: b"same", value: Some(b"1") },
        Header { key: b"same", value: Some(b"") },
        Header { key: &[0xff], value: None },
    ];
    for (key, value) in [(None, None), (Some(&b""[..]), Some(&b""[..])), (None, Some(&b"v"[..]))] {
        let bytes = [written(key, value, &headers), written(value, key, &[])].concat();
        let mut records = RecordIter::new(&bytes, 2);
        let first = records.next().unwrap().unwrap();
        assert_eq!((first.timestamp_delta, first.offset_delta), (-3, 7));
        assert_eq!((first.key, first.value), (key, value));
        assert_eq!(first.headers().len(), 3);
        assert!(first.headers().eq(headers));
        let second = records.next().unwrap().unwrap();
        assert_eq!((second.key, second.value, second.headers().next()), (value, key, None));
        assert_eq!(records.next(), None);
    }
}

#[test]
fn an_error_ends_the_walk() {
    let good = written(None, None, &[]);
    for (bytes, record_count, good_ones, fault) in [
        (&good[..], 2, 1, "cut short"),
        (&good[..good.len() - 1], 1, 0, "longer than what is left"),
        (&[&good[..], &[0]].concat()[..], 1, 1, "bytes are left"),
        (&[1][..], 1, 0, "negative"),
    ] {
        let mut records = RecordIter::new(bytes, record_count);
        for _ in 0..good_ones {
            records.next().unwrap().unwrap();
        }
        let error = records.next().unwrap().unwrap_err();
        assert!(error.to_string().contains(fault), "{error}");
        assert_eq!(records.next(), None);
    }
    assert_eq!(RecordIter::new(&[], 0).count(), 0);
    assert_eq!(RecordIter::new(&[], -5).count(), 0);
}
