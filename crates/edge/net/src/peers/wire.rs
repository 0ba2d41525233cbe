//! A proven connection: frames in, frames out, and signs of life.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use jocko_types::Uuid;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::frame::{Decoder, Encoder, Frame, FrameError, FrameKind, Header};
use super::settings::{OwnIdentity, PeerIdentity, PeerSettings};
use crate::connection::give_turn;
use crate::ports::BoxStream;

/// Bytes that may wait to be written before no more is taken on.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Frames and bytes received before other tasks get their turn.
const TURN_FRAMES: usize = 64;
const TURN_BYTES: usize = 1 << 20;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("the peer has left")]
    Left,
    #[error("the peer has left in the middle of a frame")]
    LeftInside,
    #[error("no sign of life for {0:?}")]
    Dead(Duration),
    #[error("idle")]
    Idle,
    #[error("closed on this side")]
    Closed,
    #[error("the peer sent what its side may not send")]
    Unexpected,
    #[error("{0}")]
    Unwelcome(String),
}

/// One connection behind its handshake.
#[derive(Debug)]
pub(super) struct Wire {
    stream: BoxStream,
    decoder: Decoder,
    encoder: Encoder,
    /// Who the peer is, as it said last.
    pub(super) peer: PeerIdentity,
    own: OwnIdentity,
    /// Which change of the own identity the peer knows.
    told: u64,
    /// A write had to wait: when it goes on, the peer has taken bytes.
    write_waited: bool,
    /// Frames and bytes received in this turn.
    turn: (usize, usize),
    pub(super) last_sign: Instant,
    pub(super) last_sent: Instant,
}

impl Wire {
    pub(super) fn new(
        stream: BoxStream,
        (decoder, encoder): (Decoder, Encoder),
        peer: PeerIdentity,
        own: OwnIdentity,
        told: u64,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            decoder,
            encoder,
            peer,
            own,
            told,
            write_waited: false,
            turn: (0, 0),
            last_sign: now,
            last_sent: now,
        }
    }

    /// Whether more may be queued for writing.
    pub(super) fn has_room(&self) -> bool {
        self.encoder.pending() < OUTPUT_BYTES_MAX
    }

    /// Queues a frame, behind the own identity if that has changed.
    pub(super) fn push(&mut self, header: Header, body: &[Bytes]) {
        let changes = self.own.changes();
        if changes != self.told {
            self.told = changes;
            let mut bytes = BytesMut::new();
            put_identity(&mut bytes, &self.own.get());
            self.encoder.push(Header::new(FrameKind::Identity, 0, 0), &[bytes.freeze()]);
        }
        self.encoder.push(header, body);
    }

    /// Writes what is queued. Ready once all is written.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.encoder.pending() > 0 {
            let mut slices = Encoder::no_slices();
            let count = self.encoder.slices(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
            let Poll::Ready(written) = written else {
                self.write_waited = true;
                return Poll::Pending;
            };
            let written = written?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.encoder.advance(written);
            self.last_sent = Instant::now();
            if std::mem::take(&mut self.write_waited) {
                self.last_sign = self.last_sent;
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends the own direction, behind everything written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Gives the next frames and bytes a turn of their own.
    pub(super) fn begin_turn(&mut self) {
        self.turn = (0, 0);
    }

    /// The next frame for the caller; what is the connection's own affair is done on the way.
    /// Pending, too, when the turn is used up; the next one then follows by itself.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, WireError>> {
        loop {
            if self.turn.0 >= TURN_FRAMES || self.turn.1 >= TURN_BYTES {
                give_turn(cx);
                return Poll::Pending;
            }
            if let Some(frame) = self.decoder.next()? {
                self.turn.0 += 1;
                match frame.header.frame {
                    FrameKind::Ping => {
                        let pong = Header::new(FrameKind::Pong, 0, frame.header.id);
                        // A peer that is written to needs no pong.
                        if self.has_room() {
                            self.push(pong, &[]);
                        }
                    }
                    FrameKind::Pong => {}
                    FrameKind::Identity => self.learn(&frame.body)?,
                    _ => return Poll::Ready(Ok(frame)),
                }
                continue;
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        let mut space = self.decoder.space();
        let read = ready!(pin!(self.stream.read_buf(&mut space)).poll(cx))?;
        if read == 0 {
            let inside = !self.decoder.is_between_frames();
            let error = if inside { WireError::LeftInside } else { WireError::Left };
            return Poll::Ready(Err(error));
        }
        self.turn.1 += read;
        self.last_sign = Instant::now();
        Poll::Ready(Ok(()))
    }

    /// The peer has become somebody else: of a cluster where it was blank.
    fn learn(&mut self, body: &[u8]) -> Result<(), WireError> {
        let identity = take_identity(&mut &*body).ok_or(WireError::Unexpected)?;
        if identity.node != self.peer.node {
            return Err(WireError::Unexpected);
        }
        self.peer = identity;
        let own = self.own.get();
        if !own.may_talk_to(&identity) {
            return Err(WireError::Unwelcome(foreign_cluster(&own, &identity)));
        }
        Ok(())
    }
}

/// What is said when two clusters meet.
pub(super) fn foreign_cluster(own: &PeerIdentity, peer: &PeerIdentity) -> String {
    let id = |identity: &PeerIdentity| {
        identity.cluster_id.map_or_else(|| "none".to_owned(), |id| id.to_string())
    };
    format!(
        "node {} belongs to cluster {}, node {} to cluster {}: clusters do not merge; give the \
         one to be moved an empty data directory, or correct the address",
        own.node,
        id(own),
        peer.node,
        id(peer)
    )
}

/// An identity as bytes: node, whether there is a cluster, cluster.
pub(super) fn put_identity(out: &mut BytesMut, identity: &PeerIdentity) {
    out.put_slice(identity.node.as_bytes());
    out.put_u8(u8::from(identity.cluster_id.is_some()));
    out.put_slice(identity.cluster_id.unwrap_or(Uuid::ZERO).as_bytes());
}

/// Reads what [`put_identity`] wrote and moves `bytes` past it.
pub(super) fn take_identity(bytes: &mut &[u8]) -> Option<PeerIdentity> {
    let (node, rest) = bytes.split_first_chunk::<16>()?;
    let (has_cluster, rest) = rest.split_first()?;
    let (cluster, rest) = rest.split_first_chunk::<16>()?;
    let cluster_id = match has_cluster {
        0 if cluster == &[0; 16] => None,
        1 => Some(Uuid::from_bytes(*cluster)),
        _ => return None,
    };
    *bytes = rest;
    Some(PeerIdentity { node: Uuid::from_bytes(*node), cluster_id })
}

/// When a connection must be looked at although nothing happens.
#[derive(Debug)]
pub(super) struct Vigil {
    keep_alive: Option<Duration>,
    dead_after: Duration,
    idle_timeout: Duration,
    open_since: Option<Instant>,
    idle_since: Instant,
    pinged: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Vigil {
    /// A caller's: it keeps the connection alive while calls are open.
    pub(super) fn of_caller(settings: &PeerSettings) -> Self {
        Self::new(Some(settings.keep_alive), settings.dead_after, settings.idle_timeout)
    }

    /// A server's: it leaves keeping alive to the caller and closes later than one would.
    pub(super) fn of_server(settings: &PeerSettings) -> Self {
        let idle = settings.idle_timeout.saturating_mul(2);
        Self::new(None, settings.dead_after.saturating_mul(3), idle)
    }

    fn new(keep_alive: Option<Duration>, dead_after: Duration, idle_timeout: Duration) -> Self {
        let now = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(now + idle_timeout));
        let (open_since, idle_since, pinged) = (None, now, now);
        Self { keep_alive, dead_after, idle_timeout, open_since, idle_since, pinged, timer }
    }

    /// Looks after the connection: pings it, or says that it must end. To be asked at the end of
    /// each poll.
    pub(super) fn check(
        &mut self,
        wire: &mut Wire,
        is_open: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), WireError> {
        // Calls that were given up have no more been answered than those that wait: whoever asks
        // briefly and often, as for votes, must notice a dead connection, too. A ping is answered.
        let is_in_doubt = self.keep_alive.is_some()
            && self.open_since.is_some_and(|since| wire.last_sign < since);
        let is_open = is_open || is_in_doubt;
        // The clock is read only where it can matter: on a change, and when the timer fires.
        if is_open != self.open_since.is_some() {
            let now = Instant::now();
            self.open_since = is_open.then_some(now);
            self.idle_since = now;
        }
        loop {
            let next = self.next_look(wire);
            // A timer that fires early is set again, which costs less than moving it each time.
            if next < self.timer.deadline() {
                self.timer.as_mut().reset(next);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            let now = Instant::now();
            if next > now {
                self.timer.as_mut().reset(next);
                continue;
            }
            self.act(wire, now)?;
            if wire.poll_flush(cx)?.is_pending() {
                // Written when it can be; until then there is nothing to do but wait.
                wire.last_sent = now;
            }
        }
    }

    fn next_look(&self, wire: &Wire) -> Instant {
        let Some(open_since) = self.open_since else {
            return self.idle_since.max(wire.last_sign).max(wire.last_sent) + self.idle_timeout;
        };
        let dead = wire.last_sign.max(open_since) + self.dead_after;
        match self.keep_alive {
            // The peer is to hear something that often, and to be asked for a sign: what else is
            // sent it may have no answer to.
            Some(keep_alive) => {
                let unheard = wire.last_sign.max(self.pinged).min(wire.last_sent);
                dead.min(unheard.max(open_since) + keep_alive)
            }
            None => dead,
        }
    }

    fn act(&mut self, wire: &mut Wire, now: Instant) -> Result<(), WireError> {
        let Some(open_since) = self.open_since else { return Err(WireError::Idle) };
        if wire.last_sign.max(open_since) + self.dead_after <= now {
            return Err(WireError::Dead(self.dead_after));
        }
        // A backlog says as much as a ping would.
        if wire.has_room() {
            wire.push(Header::new(FrameKind::Ping, 0, 0), &[]);
        }
        (wire.last_sent, self.pinged) = (now, now);
        Ok(())
    }
}
