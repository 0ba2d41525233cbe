//! Frames as bytes: header, body, seal. No sockets here.
//!
//! The layout is in docs/internals/peers.md. A claimed length is checked before anything is set
//! aside for it, and what is set aside grows with the bytes that arrive.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of a seal.
pub(super) const SEAL_BYTES: usize = 32;
/// Bytes read ahead at most; of a body of which more is missing, the rest is received in place. Kept
/// by each connection.
const AHEAD_BYTES: usize = 16 << 10;
/// Set aside at once for a body; more as bytes arrive.
const BODY_FIRST_BYTES: usize = 1 << 20;
/// A body that is still coming is hashed in multiples of this.
const HASH_STEP_BYTES: usize = 64 << 10;
/// Pieces from this size on are written from where they are, smaller ones are gathered.
const PIECE_BYTES_MIN: usize = 8 << 10;
/// The largest body of a frame that is neither call nor answer nor tell.
const SMALL_BODY_BYTES_MAX: usize = 512;
/// Pieces handed to one system call at most.
const SLICES_MAX: usize = 64;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameKind {
    /// Wants an answer or a refusal with the same id.
    Call = 1,
    /// A call's answer.
    Answer = 2,
    /// A call's refusal: a code, and words as the body.
    Refusal = 3,
    /// Wants nothing.
    Tell = 4,
    /// The caller no longer waits for the call of this id.
    Forget = 5,
    /// Wants a pong.
    Ping = 6,
    /// A ping's answer.
    Pong = 7,
    /// The sender's identity has changed.
    Identity = 8,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Call,
            2 => Self::Answer,
            3 => Self::Refusal,
            4 => Self::Tell,
            5 => Self::Forget,
            6 => Self::Ping,
            7 => Self::Pong,
            8 => Self::Identity,
            _ => return None,
        })
    }

    fn body_bytes_max(self, frame_bytes_max: usize) -> usize {
        match self {
            Self::Call | Self::Answer | Self::Tell => frame_bytes_max,
            Self::Refusal | Self::Identity => SMALL_BODY_BYTES_MAX,
            Self::Forget | Self::Ping | Self::Pong => 0,
        }
    }
}

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) frame: FrameKind,
    /// The service's number of the call or tell, or the code of a refusal.
    pub(super) kind: u16,
    /// Tells calls apart; 0 where no call is meant.
    pub(super) id: u64,
}

impl Header {
    pub(super) fn new(frame: FrameKind, kind: u16, id: u64) -> Self {
        Self { frame, kind, id }
    }

    fn encode(self, body_bytes: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out = bytes.as_mut_slice();
        out.put_u32(body_bytes);
        out.put_u8(self.frame as u8);
        out.put_u8(0);
        out.put_u16(self.kind);
        out.put_u64(self.id);
        bytes
    }
}

/// Bytes that are no frame: nothing behind them can be trusted either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of unknown type {0}")]
    UnknownFrame(u8),
    #[error("a reserved byte is {0}")]
    Reserved(u8),
    #[error("a body of {bytes} bytes, above the limit of {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("a frame's seal is wrong: it was changed or injected on its way")]
    Seal,
}

/// A frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) header: Header,
    pub(super) body: Bytes,
}

/// Seals the frames of one direction: a keyed BLAKE3 hash over body, header and the frame's
/// number. The number is not sent: both ends count, so a frame that is left out, repeated or
/// moved is noticed. The body comes first, where the hash is fastest: at its own beginning.
pub(super) struct Seal {
    /// Made once: setting one up costs as much as hashing a small frame.
    hasher: Box<blake3::Hasher>,
    next: u64,
}

impl Seal {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { hasher: Box::new(blake3::Hasher::new_keyed(&key)), next: 0 }
    }

    /// Takes the next part of the frame's body.
    fn update(&mut self, part: &[u8]) {
        self.hasher.update(part);
    }

    /// The seal of the frame whose body was taken.
    fn finish(&mut self, header: &[u8; HEADER_BYTES]) -> blake3::Hash {
        self.hasher.update(header);
        self.hasher.update(&self.next.to_be_bytes());
        let seal = self.hasher.finalize();
        self.hasher.reset();
        self.next = self.next.checked_add(1).expect("no connection carries 2^64 frames");
        seal
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seal(#{})", self.next)
    }
}

/// Cuts what arrives into frames.
#[derive(Debug)]
pub(super) struct Decoder {
    ahead: BytesMut,
    body: Option<Body>,
    seal: Option<Seal>,
    frame_bytes_max: usize,
}

/// A frame whose header is here.
#[derive(Debug)]
struct Body {
    header: Header,
    header_bytes: [u8; HEADER_BYTES],
    /// Bytes of the body, and of the seal behind it.
    body_bytes: usize,
    seal_bytes: usize,
    bytes: BytesMut,
    /// Bytes of the body that the seal has seen.
    hashed: usize,
}

impl Body {
    fn missing(&self) -> usize {
        (self.body_bytes + self.seal_bytes).saturating_sub(self.bytes.len())
    }

    /// Hashes what has come of the body: as it comes, while the processor's cache holds it, and in
    /// steps that the hash likes.
    fn hash(&mut self, seal: &mut Seal) {
        let come = self.bytes.len().min(self.body_bytes);
        let until = if come == self.body_bytes { come } else { come - come % HASH_STEP_BYTES };
        if let Some(new) = self.bytes.get(self.hashed..until) {
            seal.update(new);
            self.hashed = until;
        }
    }

    fn finish(mut self, seal: Option<&mut Seal>) -> Result<Frame, FrameError> {
        if let Some(seal) = seal {
            let found = self.bytes.last_chunk::<SEAL_BYTES>().ok_or(FrameError::Seal)?;
            // This comparison takes the same time wherever the two differ.
            if seal.finish(&self.header_bytes) != *found {
                return Err(FrameError::Seal);
            }
            self.bytes.truncate(self.body_bytes);
        }
        Ok(Frame { header: self.header, body: self.bytes.freeze() })
    }
}

impl Decoder {
    pub(super) fn new(seal: Option<Seal>, frame_bytes_max: usize) -> Self {
        Self { ahead: BytesMut::new(), body: None, seal, frame_bytes_max }
    }

    /// Where the next bytes belong, and how many at most. To be filled before [`Decoder::next`] is
    /// asked again.
    pub(super) fn space(&mut self) -> bytes::buf::Limit<&mut BytesMut> {
        if let Some(body) = &mut self.body
            && body.missing() >= AHEAD_BYTES
        {
            let missing = body.missing();
            if body.bytes.capacity() == body.bytes.len() {
                // Doubles, up to what is missing.
                body.bytes.reserve(missing.min(body.bytes.len().max(BODY_FIRST_BYTES)));
            }
            return (&mut body.bytes).limit(missing);
        }
        self.ahead.reserve(AHEAD_BYTES);
        (&mut self.ahead).limit(AHEAD_BYTES)
    }

    /// The next frame that is here whole.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.body.is_none() {
            self.body = self.begin()?;
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        let here = body.missing().min(self.ahead.len());
        if let Some(bytes) = self.ahead.get(..here) {
            body.bytes.extend_from_slice(bytes);
            self.ahead.advance(here);
        }
        if let Some(seal) = &mut self.seal {
            body.hash(seal);
        }
        if body.missing() > 0 {
            return Ok(None);
        }
        self.body.take().map(|body| body.finish(self.seal.as_mut())).transpose()
    }

    /// Whether no frame has begun.
    pub(super) fn is_between_frames(&self) -> bool {
        self.body.is_none() && self.ahead.is_empty()
    }

    fn begin(&mut self) -> Result<Option<Body>, FrameError> {
        let Some(bytes) = self.ahead.first_chunk::<HEADER_BYTES>().copied() else {
            return Ok(None);
        };
        let mut head = bytes.as_slice();
        let body_bytes = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        let frame = head.get_u8();
        let frame = FrameKind::from_byte(frame).ok_or(FrameError::UnknownFrame(frame))?;
        let reserved = head.get_u8();
        if reserved != 0 {
            return Err(FrameError::Reserved(reserved));
        }
        let header = Header::new(frame, head.get_u16(), head.get_u64());
        let bytes_max = frame.body_bytes_max(self.frame_bytes_max);
        if body_bytes > bytes_max {
            return Err(FrameError::TooLarge { bytes: body_bytes, bytes_max });
        }
        self.ahead.advance(HEADER_BYTES);
        let seal_bytes = if self.seal.is_some() { SEAL_BYTES } else { 0 };
        Ok(Some(Body {
            header,
            header_bytes: bytes,
            body_bytes,
            seal_bytes,
            bytes: BytesMut::with_capacity(body_bytes.min(BODY_FIRST_BYTES) + seal_bytes),
            hashed: 0,
        }))
    }
}

/// Turns frames into bytes to be written.
#[derive(Debug)]
pub(super) struct Encoder {
    seal: Option<Seal>,
    /// Small things, gathered.
    gathered: BytesMut,
    /// What comes before them.
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Encoder {
    pub(super) fn new(seal: Option<Seal>) -> Self {
        Self { seal, gathered: BytesMut::new(), pieces: VecDeque::new(), bytes: 0 }
    }

    /// Bytes not yet written.
    pub(super) fn pending(&self) -> usize {
        self.bytes
    }

    /// Queues a frame. Large pieces of the body are not copied. The caller has checked the body
    /// against its limit.
    pub(super) fn push(&mut self, header: Header, body: &[Bytes]) {
        let body_bytes = body.iter().map(Bytes::len).sum::<usize>();
        let body_bytes = u32::try_from(body_bytes).expect("bodies are checked against their limit");
        let head = header.encode(body_bytes);
        self.gather(&head);
        for piece in body {
            if let Some(seal) = &mut self.seal {
                seal.update(piece);
            }
            if piece.len() < PIECE_BYTES_MIN {
                self.gather(piece);
            } else {
                self.close_gathered();
                self.bytes += piece.len();
                self.pieces.push_back(piece.clone());
            }
        }
        let seal = self.seal.as_mut().map(|seal| seal.finish(&head));
        if let Some(seal) = seal {
            self.gather(seal.as_bytes());
        }
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        self.bytes += bytes.len();
    }

    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces.push_back(self.gathered.split().freeze());
        }
    }

    /// The first pieces to be written: fills `slices` and returns how many there are.
    pub(super) fn slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        self.close_gathered();
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// An empty array for [`Encoder::slices`].
    pub(super) fn no_slices<'a>() -> [IoSlice<'a>; SLICES_MAX] {
        [IoSlice::new(&[]); SLICES_MAX]
    }

    /// Forgets the first `written` bytes.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        while let Some(first) = self.pieces.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.pieces.pop_front();
        }
    }
}
