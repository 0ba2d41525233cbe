//! Frames come out as they went in however reads cut them, and memory follows what has come.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::{FRAME_BYTES_MIN, Frames, HUGE_BYTES, Hold, PREFIX_BYTES, SizeFault, beyond_allowance};
use crate::budget::{Budget, Charge};
use crate::reactor::SCRATCH_BYTES;

const MAX: usize = 4 * 1024 * 1024;

fn frame(size: usize, seed: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + size);
    bytes.put_u32(u32::try_from(size).unwrap());
    bytes.extend((0..size).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)));
    bytes
}

/// A reactor's buffer and a stream to read from, a chunk at a time.
struct Feed<'a> {
    rest: &'a [u8],
    scratch: Option<BytesMut>,
    frames: Frames,
}

impl<'a> Feed<'a> {
    fn new(budget: usize, rest: &'a [u8]) -> Self {
        Self {
            rest,
            scratch: None,
            frames: Frames::new(Charge::none(&Budget::new(budget)), &Arc::default()),
        }
    }

    /// Reads up to `chunk` bytes; false if there was no memory or nothing to read.
    fn read(&mut self, chunk: usize) -> bool {
        let scratch = &mut self.scratch;
        let lend = || scratch.take().unwrap_or_default();
        let Some(room) = self.frames.room(MAX, Waker::noop(), lend).unwrap() else {
            return false;
        };
        let bytes = room.min(chunk).min(self.rest.len());
        let (now, later) = self.rest.split_at(bytes);
        fill(&mut self.frames, now, room);
        self.rest = later;
        bytes > 0
    }

    fn cut(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.frames.next(MAX).unwrap()).map(|(frame, _)| frame).collect()
    }

    fn settle(&mut self) {
        let scratch = &mut self.scratch;
        self.frames.settle(|lent| *scratch = Some(lent));
    }
}

/// Reads all of `bytes`, for which there is room.
fn fill(frames: &mut Frames, mut bytes: &[u8], room: usize) {
    let wanted = bytes.len();
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(read) = frames.poll_fill(&mut cx, &mut bytes, room) else {
        panic!("a slice is always ready");
    };
    assert_eq!(read.unwrap(), wanted);
}

fn capacity(frames: &Frames) -> usize {
    match &frames.hold {
        Hold::Leftover(bytes) | Hold::Scratch(bytes) => bytes.capacity(),
        Hold::Behind(bytes) => bytes.len(),
        Hold::Own(buffer) => buffer.capacity(),
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![
        4 => FRAME_BYTES_MIN..600,
        2 => FRAME_BYTES_MIN..SCRATCH_BYTES + 100,
        1 => SCRATCH_BYTES - 20..SCRATCH_BYTES + 20,
        1 => SCRATCH_BYTES..1_500_000_usize,
    ];
    proptest::collection::vec(size, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_come_out_as_they_went_in(
        sizes in sizes(),
        chunks in proptest::collection::vec(1_usize..200_000, 1..6),
        turn in 1_usize..5,
        keep in any::<bool>(),
    ) {
        let sent: Vec<Vec<u8>> = sizes
            .iter()
            .zip(0..)
            .map(|(size, seed)| frame(*size, seed))
            .collect();
        let stream = sent.concat();
        let mut feed = Feed::new(64 * 1024 * 1024, &stream);
        let mut received = 0;
        let mut held = Vec::new();
        let mut chunks = chunks.iter().cycle();
        let mut reads = 0;
        while received < sent.len() {
            prop_assert!(feed.read(*chunks.next().unwrap()));
            for frame in feed.cut() {
                prop_assert!(frame[..] == sent[received][PREFIX_BYTES..]);
                received += 1;
                // Whether frames are kept or dropped decides how buffers are used again.
                if keep {
                    held.push(frame);
                }
            }
            reads += 1;
            if reads % turn == 0 {
                feed.settle();
            }
        }
        prop_assert!(feed.frames.is_empty());
        for (frame, sent) in held.iter().zip(&sent) {
            prop_assert!(frame[..] == sent[PREFIX_BYTES..], "a kept frame never changes");
        }
    }

    #[test]
    fn any_bytes_are_cut_or_refused(stream in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut feed = Feed::new(1_000_000, &stream);
        loop {
            let scratch = &mut feed.scratch;
            match feed.frames.room(1000, Waker::noop(), || scratch.take().unwrap_or_default()) {
                Err(_) => break,
                Ok(room) => prop_assert!(room.is_some_and(|room| room > 0)),
            }
            let bytes = feed.rest.len().min(7);
            if bytes == 0 {
                break;
            }
            let (now, later) = feed.rest.split_at(bytes);
            fill(&mut feed.frames, now, 7);
            feed.rest = later;
            while let Ok(Some(_)) = feed.frames.next(1000) {}
        }
    }
}

#[test]
fn sizes_out_of_bounds_are_refused_with_what_was_sent() {
    for size in [-1, i32::MIN, 0, 7, 1001, i32::MAX] {
        let stream = size.to_be_bytes();
        let mut feed = Feed::new(1_000_000, &stream);
        assert!(feed.read(4));
        let fault = SizeFault { size, max: 1000 };
        assert_eq!(feed.frames.next(1000).err(), Some(fault));
        assert!(feed.frames.has_next(1000), "faults are met in turn");
    }
}

#[test]
fn a_claim_is_not_believed_before_the_frame_comes() {
    let stream = frame(40 * 1024 * 1024, 0);
    let budget = Budget::new(64 * 1024 * 1024);
    let mut feed = Feed::new(0, &stream);
    feed.frames = Frames::new(Charge::none(&budget), &Arc::default());
    let mut received = 0;
    while received < stream.len() {
        let room = feed.frames.room(stream.len(), Waker::noop(), BytesMut::new).unwrap().unwrap();
        let bytes = room.min(100_000).min(feed.rest.len());
        let (now, later) = feed.rest.split_at(bytes);
        fill(&mut feed.frames, now, room);
        feed.rest = later;
        received += bytes;
        // Nothing is asked and no address space set aside before the frame has shown that it
        // comes; then all of it is, so that it never waits while it holds memory.
        let wanted = if received <= SCRATCH_BYTES { 0 } else { beyond_allowance(stream.len()) };
        assert_eq!(budget.used(), wanted, "{received} received");
        let claimed = if wanted == 0 { 0 } else { stream.len() };
        let allowed = claimed.max(HUGE_BYTES) + SCRATCH_BYTES;
        let capacity = capacity(&feed.frames);
        assert!(capacity <= allowed, "room for {capacity} bytes, {received} received");
    }
    let (frame, charge) = feed.frames.next(stream.len()).unwrap().unwrap();
    assert!(frame == stream[PREFIX_BYTES..]);
    feed.settle();
    assert_eq!(budget.used(), beyond_allowance(stream.len()), "counted until it is dropped");
    drop(charge);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_abandoned_is_given_back() {
    let stream = frame(1_000_000, 0);
    let budget = Budget::new(64 * 1024 * 1024);
    let mut feed = Feed::new(0, &stream[..500_000]);
    feed.frames = Frames::new(Charge::none(&budget), &Arc::default());
    while feed.read(usize::MAX) {}
    assert!(budget.used() > 400_000);
    let rows = [(0, false), (500_003, false), (500_004, true), (usize::MAX, true)];
    for (more, may) in rows {
        assert_eq!(feed.frames.may_have_next(MAX, more), may, "{more} more");
    }
    feed.frames.abandon();
    assert_eq!((budget.used(), feed.frames.len()), (0, 0));
}

#[test]
fn nothing_is_read_without_memory_and_small_frames_need_none() {
    let large = frame(200_000, 0);
    let mut feed = Feed::new(1000, &large);
    while feed.read(10_000) {}
    let got = large.len() - feed.rest.len();
    assert_eq!(got, SCRATCH_BYTES, "only its allowance");

    let small = frame(60_000, 1);
    let mut feed = Feed::new(0, &small);
    while feed.read(10_000) {
        feed.settle();
    }
    assert_eq!(feed.cut().len(), 1);
}

#[test]
fn a_settled_connection_holds_no_more_than_it_has_received() {
    let stream = [frame(100_000, 0), frame(8, 1)].concat();
    let mut feed = Feed::new(1_000_000, &stream[..stream.len() - 3]);
    while feed.read(usize::MAX) {}
    let cut = feed.cut();
    assert_eq!(cut.len(), 1);
    feed.settle();
    while feed.read(usize::MAX) {}
    feed.settle();
    assert_eq!(feed.frames.len(), 9);
    assert!(capacity(&feed.frames) <= 64);
}
