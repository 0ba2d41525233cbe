//! How long checking a produced batch takes: `cargo run --release -p jocko-records --example
//! validate`. One line per codec: nanoseconds for header and checksum, for all checks of
//! `prepare`, and for a walk that a consumer does.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, not part of jocko")]

use jocko_records::{
    AppendRules, BatchBuilder, BatchView, Codec, Encoding, Records, crc32c, prepare,
};
use jocko_types::{Offset, Timestamp};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 2_000;

fn main() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    for (record_bytes, records) in [(100, 150), (1024, 16), (10, 850)] {
        println!("{records} records of {record_bytes} bytes");
        for codec in Codec::ALL {
            let mut builder = BatchBuilder::new(Encoding::new(codec));
            let mut state = 42_u64;
            for _ in 0..records {
                let value: Vec<u8> = (0..record_bytes)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        b'a' + u8::try_from(state >> 60).unwrap()
                    })
                    .collect();
                builder.push(now, Some(b"key"), Some(&value), &[]).unwrap();
            }
            let bytes = builder.build().unwrap();
            let rules = AppendRules::defaults(now);
            let header = time(|| {
                black_box(BatchView::parse(black_box(&bytes)).unwrap());
            });
            let crc = time(|| {
                black_box(crc32c(black_box(&bytes)));
            });
            let checked = time(|| {
                black_box(prepare(black_box(&bytes), &rules).unwrap());
            });
            let walked = time(|| {
                let mut records = Records::new(black_box(&bytes), Offset::ZERO, 1 << 20);
                while let Some(record) = records.next().unwrap() {
                    black_box(record);
                }
            });
            println!(
                "  {codec:<7} {:>6} B: header {header:>5.1} ns, crc {crc:>6.0}, prepare {checked:>7.0}, read {walked:>7.0}",
                bytes.len(),
            );
        }
    }
}

/// The best of some rounds: the machine is shared.
fn time(mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..ROUNDS / 20 {
            run();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS / 20));
    }
    best
}
