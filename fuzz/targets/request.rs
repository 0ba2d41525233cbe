//! The body of a request that the first two bytes choose.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jocko_protocol::fuzz::request(bytes));
