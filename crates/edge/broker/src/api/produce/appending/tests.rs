//! Which batches are validated where they are read, and that a worker says the same of them.

use super::{Appending, PACKED_BYTES_MAX, UNPACKED_BYTES_MAX, Verdict, attach, detach};
use jocko_records::{AppendRules, BatchBuilder, Codec, Compression, Encoding, Rewrite, prepare};
use jocko_types::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A batch with one value: zeros, or bytes that no codec makes smaller.
fn batch(codec: Codec, value_bytes: usize, is_random: bool) -> Vec<u8> {
    let mut value = vec![0; value_bytes];
    if is_random {
        fastrand::Rng::with_seed(7).fill(&mut value);
    }
    let mut builder = BatchBuilder::new(Encoding::new(codec));
    builder.push(NOW, Some(b"key"), Some(&value), &[]).unwrap();
    builder.build().unwrap()
}

fn is_heavy(appending: &mut Appending, records: &[u8], rules: &AppendRules) -> bool {
    match appending.validate(records, rules) {
        Verdict::Heavy => true,
        Verdict::Good(_) => false,
        Verdict::Bad(error) => panic!("{error}"),
    }
}

#[test]
fn a_worker_gets_what_is_large_or_unpacks_to_much() {
    let rules = AppendRules::defaults(NOW);
    for codec in Codec::ALL {
        let is_packed = codec != Codec::None;
        for (value_bytes, is_random, heavy) in [
            (1_000, true, false),
            (60_000, true, false),
            (PACKED_BYTES_MAX + 10, true, is_packed),
            (500_000, false, is_packed && codec == Codec::None),
            (600_000, false, is_packed),
        ] {
            let records = batch(codec, value_bytes, is_random);
            let is_heavy = is_heavy(&mut Appending::new(), &records, &rules);
            assert_eq!(is_heavy, heavy, "{codec:?} {value_bytes} {is_random}");
        }
    }
}

#[test]
fn many_small_batches_are_no_way_around() {
    let rules = AppendRules::defaults(NOW);
    let records = batch(Codec::Zstd, 100_000, false);
    let mut appending = Appending::new();
    let light = (0..100).filter(|_| !is_heavy(&mut appending, &records, &rules)).count();
    assert_eq!(light as u64, UNPACKED_BYTES_MAX / 100_000);
    // What needs no unpacking still goes its way.
    assert!(!is_heavy(&mut appending, &batch(Codec::None, 500_000, true), &rules));
}

#[test]
fn faults_are_found_wherever_they_are_looked_for() {
    let mut rules = AppendRules::defaults(NOW);
    let mut damaged = batch(Codec::Zstd, 1_000, true);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let too_large = batch(Codec::Lz4, 2_000_000, true);
    for records in [&damaged[..], &too_large, &[], &[0; 70]] {
        let wanted = prepare(records, &rules).unwrap_err();
        match Appending::new().validate(records, &rules) {
            Verdict::Bad(error) => assert_eq!(error, wanted),
            Verdict::Good(_) | Verdict::Heavy => panic!("{wanted}"),
        }
    }
    // A topic whose own bound is the lower one refuses at once.
    rules.decompressed_bytes_max = 1_000;
    let bomb = batch(Codec::Gzip, 5_000, false);
    assert!(matches!(Appending::new().validate(&bomb, &rules), Verdict::Bad(_)));
}

#[test]
fn a_batch_that_must_be_packed_goes_to_a_worker_if_it_is_large() {
    let mut rules = AppendRules::defaults(NOW);
    rules.compression = Compression::Target(Encoding::new(Codec::Gzip));
    let (small, large) = (batch(Codec::None, 1_000, true), batch(Codec::None, 100_000, true));
    assert!(!is_heavy(&mut Appending::new(), &small, &rules));
    assert!(is_heavy(&mut Appending::new(), &large, &rules));
}

#[test]
fn what_comes_back_from_a_worker_is_what_was_sent() {
    let mut rules = AppendRules::defaults(NOW);
    // Bytes that are no batch may follow, and are dropped.
    let records = [batch(Codec::Lz4, 100_000, true), vec![0; 5]].concat();
    for compression in [Compression::Producer, Compression::Target(Encoding::new(Codec::Zstd))] {
        rules.compression = compression;
        let whole = prepare(&records, &rules).unwrap();
        let is_kept = whole.rewrite == Rewrite::None;
        assert_eq!(is_kept, compression == Compression::Producer);
        let (bytes, count) = (whole.bytes.to_vec(), whole.record_count);
        let (parted, borrowed) = detach(whole);
        let again = attach(parted, borrowed, &records);
        assert_eq!((&again.bytes[..], again.record_count), (&bytes[..], count));
    }
}
