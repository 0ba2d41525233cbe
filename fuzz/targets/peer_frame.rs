//! Frames between brokers, from a stranger.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jocko_net::peers::fuzz::peer_frame(bytes));
