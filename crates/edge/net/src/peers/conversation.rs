//! One accepted connection: calls in, answers out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{AbortHandle, BoxFuture, abortable};
use futures_util::stream::{FuturesUnordered, Stream};

use super::error::PeerRefusal;
use super::frame::{Frame, FrameKind, Header};
use super::server::PeerService;
use super::settings::PeerSettings;
use super::wire::{Vigil, Wire, WireError};

/// A handler's outcome; `None` if its caller gave it up.
type Handled = (u64, Option<Result<Vec<Bytes>, PeerRefusal>>);

/// One accepted connection.
pub(super) struct Conversation {
    wire: Wire,
    vigil: Vigil,
    service: Arc<dyn PeerService>,
    handlers: FuturesUnordered<BoxFuture<'static, Handled>>,
    open: BTreeMap<u64, Open>,
    /// Bytes of the bodies in `open`.
    open_bytes: usize,
    calls_max: usize,
    open_bytes_max: usize,
    answer_bytes_max: usize,
    is_stopping: bool,
}

/// A call being handled.
struct Open {
    abort: AbortHandle,
    bytes: usize,
}

impl Conversation {
    pub(super) fn new(wire: Wire, settings: &PeerSettings, service: Arc<dyn PeerService>) -> Self {
        Self {
            wire,
            vigil: Vigil::of_server(settings),
            service,
            handlers: FuturesUnordered::new(),
            open: BTreeMap::new(),
            open_bytes: 0,
            calls_max: settings.calls_in_flight_max,
            open_bytes_max: settings.bytes_in_flight_max,
            answer_bytes_max: settings.frame_bytes_max,
            is_stopping: false,
        }
    }

    /// Refuses further calls; once those being handled are answered, says good-bye.
    pub(super) fn begin_stop(&mut self) {
        self.is_stopping = true;
    }

    /// Ready when the connection has ended, and why.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<WireError> {
        match self.advance(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.wire.begin_turn();
        let is_flushed = loop {
            let is_dry = self.take_frames(cx)?;
            let is_flushed = self.give_answers(cx)?;
            // Answers that have left may have made room for what waits to be read.
            if is_dry || !self.wire.has_room() {
                break is_flushed;
            }
        };
        if self.is_stopping && self.open.is_empty() && is_flushed {
            // The peer leaves when it sees the end; a close before would destroy what it has not
            // read yet.
            let _ = self.wire.poll_shutdown(cx)?;
        }
        let is_open = !is_flushed || !self.open.is_empty();
        self.vigil.check(&mut self.wire, is_open, cx)
    }

    /// Takes frames as long as there is room for what they may cause; whether none is left for now.
    /// A peer that does not read its answers is not read from.
    fn take_frames(&mut self, cx: &mut Context<'_>) -> Result<bool, WireError> {
        while self.wire.has_room() {
            let Poll::Ready(frame) = self.wire.poll_frame(cx) else { return Ok(true) };
            self.handle(frame?)?;
        }
        Ok(false)
    }

    /// Writes answers; whether all that are ready have left.
    fn give_answers(&mut self, cx: &mut Context<'_>) -> Result<bool, WireError> {
        loop {
            let is_more = self.take_answers(cx);
            let is_flushed = self.wire.poll_flush(cx)?.is_ready();
            if !is_flushed || !is_more {
                return Ok(is_flushed);
            }
        }
    }

    /// Queues answers that are ready; whether there may be more that found no room.
    fn take_answers(&mut self, cx: &mut Context<'_>) -> bool {
        while self.wire.has_room() {
            match Pin::new(&mut self.handlers).poll_next(cx) {
                Poll::Ready(Some((id, outcome))) => self.answer(id, outcome),
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
        true
    }

    fn answer(&mut self, id: u64, outcome: Option<Result<Vec<Bytes>, PeerRefusal>>) {
        // A call that was given up has left already, and its number may be in use again.
        let Some(outcome) = outcome else { return };
        if let Some(open) = self.open.remove(&id) {
            self.open_bytes = self.open_bytes.saturating_sub(open.bytes);
        }
        match outcome {
            Ok(body) => {
                let bytes = body.iter().map(Bytes::len).sum::<usize>();
                if bytes <= self.answer_bytes_max {
                    return self.wire.push(Header::new(FrameKind::Answer, 0, id), &body);
                }
                let max = self.answer_bytes_max;
                let words = format!("the answer has {bytes} bytes, above the limit of {max}");
                self.refuse(id, &PeerRefusal::new(PeerRefusal::ANSWER_TOO_LARGE, words));
            }
            Err(refusal) => self.refuse(id, &refusal),
        }
    }

    fn refuse(&mut self, id: u64, refusal: &PeerRefusal) {
        let header = Header::new(FrameKind::Refusal, refusal.code, id);
        self.wire.push(header, &[refusal.to_bytes()]);
    }

    fn handle(&mut self, frame: Frame) -> Result<(), WireError> {
        let Header { frame: what, kind, id } = frame.header;
        match what {
            FrameKind::Call => self.call(id, kind, frame.body),
            FrameKind::Tell => {
                self.service.told(&self.wire.peer, kind, frame.body);
                Ok(())
            }
            FrameKind::Forget => {
                // What was answered meanwhile is not there any more.
                if let Some(open) = self.open.remove(&id) {
                    open.abort.abort();
                    self.open_bytes = self.open_bytes.saturating_sub(open.bytes);
                }
                Ok(())
            }
            _ => Err(WireError::Unexpected),
        }
    }

    fn call(&mut self, id: u64, kind: u16, body: Bytes) -> Result<(), WireError> {
        if self.open.contains_key(&id) {
            return Err(WireError::Unexpected);
        }
        let bytes = body.len();
        let open_bytes = self.open_bytes.saturating_add(bytes);
        let is_busy = self.open.len() >= self.calls_max
            || (!self.open.is_empty() && open_bytes > self.open_bytes_max);
        if is_busy || self.is_stopping {
            let (code, words) = if self.is_stopping {
                (PeerRefusal::STOPPING, "the broker is stopping")
            } else {
                (PeerRefusal::BUSY, "too many calls at once")
            };
            self.refuse(id, &PeerRefusal::new(code, words));
            return Ok(());
        }
        let handler = self.service.call(&self.wire.peer, kind, body);
        let (handler, abort) = abortable(handler);
        self.handlers.push(Box::pin(async move { (id, handler.await.ok()) }));
        self.open.insert(id, Open { abort, bytes });
        self.open_bytes = open_bytes;
        Ok(())
    }
}
