use super::*;
use proptest::prelude::*;

/// Batches to begin from: random bytes rarely look like one.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(Encoding::new(codec));
        for n in 0..5_i64 {
            let timestamp = Timestamp::from_millis(1_600_000_000_000 + n * 7);
            let headers =
                [Header { key: b"a", value: None }, Header { key: b"a", value: Some(b"b") }];
            let key: Option<&[u8]> = (n != 2).then_some(b"key");
            builder.push(timestamp, key, Some(&[b'v'; 30]), &headers).unwrap();
        }
        builder.push(Timestamp::from_millis(1_600_000_000_000), None, None, &[]).unwrap();
        seeds.push(builder.build().unwrap());
    }
    seeds
}

#[test]
fn good_batches_pass() {
    let seeds = seeds();
    for seed in &seeds {
        fuzz_batch(seed);
        for cut in 0..seed.len() {
            fuzz_batch(&seed[..cut]);
        }
    }
    fuzz_batch(&seeds.concat());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_batch(&bytes);
    }

    #[test]
    fn mutated_batches_never_panic(
        which in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let seeds = seeds();
        let mut bytes = which.get(&seeds).clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        fuzz_batch(&bytes);
    }
}
