//! Any message, responses and records too, that the first three bytes choose.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jocko_protocol::fuzz::message(bytes));
