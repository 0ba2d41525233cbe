//! Any bytes at all, in any pieces.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::world::{SECOND, World, settings, settle, simulate};
use crate::peers::frame::{Decoder, Encoder, Frame, FrameKind, Header, Seal};
use crate::peers::fuzz;
use crate::peers::handshake::{MAGIC, VERSION};
use crate::peers::{Lane, Peers};
use crate::ports::{MemoryNet, Net, NetRef, SocketOptions};

const KEY: [u8; 32] = [3; 32];

fn written(encoder: &mut Encoder) -> Vec<u8> {
    let mut all = Vec::new();
    while encoder.pending() > 0 {
        let mut slices = Encoder::no_slices();
        let count = encoder.slices(&mut slices);
        let mut bytes = 0;
        for slice in &slices[..count] {
            all.extend_from_slice(slice);
            bytes += slice.len();
        }
        encoder.advance(bytes);
    }
    all
}

/// Hands bytes to a decoder in pieces of at most so many.
fn decode(decoder: &mut Decoder, mut bytes: &[u8], piece: usize) -> Result<Vec<Frame>, String> {
    let mut frames = Vec::new();
    loop {
        while let Some(frame) = decoder.next().map_err(|error| error.to_string())? {
            frames.push(frame);
        }
        if bytes.is_empty() {
            return Ok(frames);
        }
        let mut space = decoder.space();
        let count = piece.min(bytes.len()).min(space.remaining_mut());
        space.put_slice(&bytes[..count]);
        bytes = &bytes[count..];
    }
}

fn frames() -> impl Strategy<Value = Vec<(u8, u16, u64, Vec<Vec<u8>>)>> {
    let size = prop_oneof![Just(0_usize), 1..100_usize, 8_000..9_000_usize, 60_000..200_000_usize];
    let piece = (any::<u8>(), size).prop_map(|(byte, size)| vec![byte; size]);
    let frame = (0..3_u8, any::<u16>(), any::<u64>(), prop::collection::vec(piece, 0..4));
    prop::collection::vec(frame, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_come_out_as_they_went_in(
        frames in frames(), piece in 1..100_000_usize, sealed in any::<bool>()
    ) {
        let seal = || sealed.then(|| Seal::new(KEY));
        let mut encoder = Encoder::new(seal());
        let mut expected = Vec::new();
        for (kind, number, id, pieces) in frames {
            let kind = [FrameKind::Call, FrameKind::Answer, FrameKind::Tell][usize::from(kind)];
            let header = Header::new(kind, number, id);
            let pieces: Vec<Bytes> = pieces.into_iter().map(Bytes::from).collect();
            encoder.push(header, &pieces);
            expected.push(Frame { header, body: pieces.concat().into() });
        }
        let bytes = written(&mut encoder);
        let mut decoder = Decoder::new(seal(), 1 << 20);
        prop_assert_eq!(decode(&mut decoder, &bytes, piece), Ok(expected));
        prop_assert!(decoder.is_between_frames());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        fuzz::peer_frame(&bytes);
    }

    #[test]
    fn without_the_key_nothing_passes(
        kind in 1..9_u8, body in prop::collection::vec(any::<u8>(), 0..500), seal in any::<[u8; 32]>()
    ) {
        let mut bytes = Vec::new();
        bytes.put_u32(u32::try_from(body.len()).unwrap());
        bytes.put_slice(&[kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.put_slice(&body);
        bytes.put_slice(&seal);
        let mut decoder = Decoder::new(Some(Seal::new(KEY)), 1 << 20);
        prop_assert!(decode(&mut decoder, &bytes, 100).is_err());
    }

    #[test]
    fn any_bytes_to_either_side_end_in_an_error(
        begins_well in any::<bool>(), mut bytes in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        if begins_well {
            let mut preamble = MAGIC.to_vec();
            preamble.put_u16(VERSION);
            preamble.put_u16(u16::try_from(bytes.len()).unwrap());
            bytes.splice(0..0, preamble);
        }
        simulate(async {
            let net = MemoryNet::new();
            let options = SocketOptions::default();
            let world = World::over(Arc::new(net.clone()), settings(1), settings(2));
            let mut stream = net.connect(world.server.address(), &options).await.unwrap();
            // A server that has closed already has read enough.
            let _ = stream.write_all(&bytes).await;
            settle().await;
            assert_eq!(world.server.totals().proven, 0);

            let mut listener = net.listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
            let address = listener.address().to_string();
            let shared: NetRef = Arc::new(net.clone());
            let peers = Peers::start(&shared, settings(2));
            let call = peers.call(&address, Lane::Control, 1, Bytes::new(), SECOND);
            let serve = async {
                let accepted = std::future::poll_fn(|cx| listener.poll_accept(cx));
                let (mut stream, _) = accepted.await.unwrap();
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            };
            let (error, ()) = tokio::join!(call, serve);
            assert!(error.unwrap_err().is_unsent());
            world.echo("served all the same").await;
        });
    }
}

#[test]
fn a_claimed_length_sets_nothing_aside() {
    let mut decoder = Decoder::new(None, usize::MAX);
    let mut head = u32::MAX.to_be_bytes().to_vec();
    head.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(decode(&mut decoder, &head, 16), Ok(vec![]));
    // What is set aside stays in step with what has come.
    let mut come = 0;
    while come < 20 << 20 {
        let mut space = decoder.space();
        let room = space.get_ref().capacity();
        assert!(room <= 2 * come + (3 << 20), "{room} bytes set aside after {come}");
        let count = space.remaining_mut().min(1 << 16);
        space.put_bytes(7, count);
        come += count;
        assert_eq!(decoder.next(), Ok(None));
    }
}
