//! A frame from a stranger: header and body.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jocko_protocol::fuzz::frame(bytes));
