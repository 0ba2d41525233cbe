//! The contract between this crate and whoever answers requests.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use jocko_disk::FileRef;
use jocko_types::Now;

use crate::budget::Charge;
use crate::reactor::Reactor;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who connected.
    pub address: SocketAddr,
    /// The listener's address, as bound: perhaps a wildcard.
    pub listener: SocketAddr,
    /// The address of ours that the peer reached.
    pub local: SocketAddr,
}

/// Answers the frames of connections.
///
/// Requests of one connection are *admitted* in order and their replies leave in order. A frame
/// starts once every earlier one is answered, unless it [may overlap](Service::may_overlap). All
/// calls for one connection come from the reactor thread that owns it. A panic in any of them
/// closes that connection alone.
pub trait Service: Send + Sync + 'static {
    /// What is kept per connection, on its reactor's thread.
    type Connection: 'static;

    /// A connection was accepted.
    fn connected(&self, peer: &Peer, reactor: &Reactor) -> Self::Connection;

    /// Whether a frame may start while earlier ones of this connection, which also said yes, are
    /// still unanswered. `head` is the beginning of the frame: at least 8 bytes, perhaps all.
    fn may_overlap(&self, head: &[u8]) -> bool {
        let _ = head;
        false
    }

    /// A limit on the frame size that depends on the connection (stricter before it has
    /// authenticated), beside [`ConnectionSettings::frame_bytes_max`](crate::ConnectionSettings).
    fn frame_bytes_max(&self, connection: &Self::Connection) -> usize {
        let _ = connection;
        usize::MAX
    }

    /// Handles one frame. Runs on the reactor: it must not block.
    fn call(&self, connection: &mut Self::Connection, frame: Frame) -> Call;
}

/// One request as it came, without its size prefix.
#[derive(Debug)]
pub struct Frame {
    /// The header and the body. Small frames share their buffer with others of the connection:
    /// keep a copy rather than the slice where only a few bytes must outlive the call.
    pub bytes: Bytes,
    /// When its last byte was read.
    pub received: Now,
    /// Held until the frame is dropped, so that large frames count while they are handled.
    pub(crate) _charge: Option<Charge>,
}

/// What becomes of a frame.
pub enum Call {
    /// Answered at once.
    Reply(Reply),
    /// Done, and the protocol wants no answer (Produce with acks=0).
    NoReply,
    /// Answered later. Goes on when the peer has closed its sending side or the server stops, as
    /// the peer may still be reading (Produce that waits for durability).
    Later(LocalBoxFuture<'static, Outcome>),
    /// Answered later, but only worth it while the peer is there: dropped at once when the peer
    /// closes or the server stops (a long-polling Fetch).
    Wait(LocalBoxFuture<'static, Outcome>),
    /// Not admitted yet: the future does elsewhere what must come before anything behind this frame
    /// (validating what is to be appended), and then says what becomes of it. Until then no later
    /// frame of the connection starts. Goes on as [`Call::Later`] does.
    Admitting(LocalBoxFuture<'static, Call>),
    /// Earlier replies are sent, then the connection is closed. The reason goes to the log.
    Close(Cow<'static, str>),
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => f.debug_tuple("Reply").field(reply).finish(),
            Self::NoReply => f.write_str("NoReply"),
            Self::Later(_) => f.write_str("Later"),
            Self::Wait(_) => f.write_str("Wait"),
            Self::Admitting(_) => f.write_str("Admitting"),
            Self::Close(reason) => f.debug_tuple("Close").field(reason).finish(),
        }
    }
}

/// How a [`Call::Later`] or [`Call::Wait`] ended.
#[derive(Debug)]
pub enum Outcome {
    /// With this answer.
    Reply(Reply),
    /// Without one.
    NoReply,
    /// With the end of the connection, once earlier replies are sent.
    Close(Cow<'static, str>),
}

/// An answer in pieces, ready to be sent: the size prefix is in the first piece.
#[derive(Debug, Default)]
pub struct Reply {
    pub(crate) first: Option<Piece>,
    /// An empty vector allocates nothing, so an answer of one piece costs no list.
    pub(crate) rest: Vec<Piece>,
    /// How long the connection is not read from once this reply is queued (quotas).
    pub throttle: Option<Duration>,
}

impl Reply {
    /// An answer that is one run of bytes, size prefix included.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { first: Some(Piece::Bytes(bytes.into())), ..Self::default() }
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Piece) {
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.rest.push(piece);
        }
    }

    /// The same answer, after which the connection rests for `pause`.
    #[must_use]
    pub fn throttled(mut self, pause: Duration) -> Self {
        self.throttle = Some(pause);
        self
    }

    /// The size of all pieces in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first
            .iter()
            .chain(&self.rest)
            .fold(0, |sum: usize, piece| sum.saturating_add(piece.len()))
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<Piece>> for Reply {
    fn from(pieces: Vec<Piece>) -> Self {
        Self { rest: pieces, ..Self::default() }
    }
}

/// A run of bytes of an answer.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a file. Small resident ranges are copied, large ones go by `sendfile`, cold ones
    /// are read by a worker first. The range must exist: a shorter file ends the connection.
    File {
        /// The file.
        file: FileRef,
        /// Where the range starts, in bytes.
        position: u64,
        /// Its length in bytes.
        len: usize,
    },
}

impl Piece {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File { len, .. } => *len,
        }
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
