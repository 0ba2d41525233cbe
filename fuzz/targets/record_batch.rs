//! A record batch from a producer: validated, walked, made ready to append.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jocko_records::fuzz_batch(bytes));
