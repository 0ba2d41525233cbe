//! The connection loop: reads frames, admits them in order, sends replies in order.
//!
//! One task per connection, polled on its reactor. Each poll does a bounded turn: settle what
//! waited, admit what is here, write what is ready, read what has come. It keeps these rules:
//! - a frame starts when all before it are answered, or when it and they may overlap;
//! - replies leave in the order of their requests, whatever finishes first;
//! - at most `in_flight_max` requests and `output_bytes_max` reply bytes are held, then reading
//!   stops and the peer feels it;
//! - while a request waits, reading goes on a little, to notice a peer that leaves;
//! - before a connection is closed for a fault, replies to earlier requests are sent.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;
use jocko_types::Now;
use tokio::time::Sleep;

use crate::budget::Charge;
use crate::frames::{Frames, RoomFault, beyond_allowance};
use crate::metrics::{self, CloseReason};
use crate::output::{Flush, Output};
use crate::ports::BoxStream;
use crate::reactor::{Reactor, SCRATCH_BYTES};
use crate::service::{Call, Frame, Outcome, Peer, Reply, Service};
use crate::settings::ConnectionSettings;
use crate::vitals::{HalfFrame, Vitals};

/// Frames one connection may start before others of its reactor get their turn.
const TURN_FRAMES: usize = 128;
/// Bytes one connection may read before others of its reactor get their turn.
const TURN_BYTES: usize = 512 * 1024;

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) reason: CloseReason,
    pub(crate) detail: Cow<'static, str>,
}

impl End {
    pub(crate) fn new(reason: CloseReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// A request that has started and whose reply has not been queued.
enum Slot {
    /// Answered; earlier ones are not.
    Answered(Reply),
    /// Being answered.
    Running {
        future: LocalBoxFuture<'static, Outcome>,
        /// Given up when the peer leaves.
        waits: bool,
    },
    /// Being admitted; nothing starts behind it, so always the last.
    Admitting(LocalBoxFuture<'static, Call>),
    /// The connection ends here. Always the last.
    End(End),
}

/// What reading brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Bytes(usize),
    /// Nothing now; the task is woken when that changes.
    Nothing,
    /// No memory to read into.
    NoMemory,
}

pub(crate) struct Connection<S: Service> {
    service: Arc<S>,
    state: S::Connection,
    pub(crate) stream: BoxStream,
    reactor: Reactor,
    vitals: Rc<Vitals>,
    settings: Arc<ConnectionSettings>,
    frames: Frames,
    pending: VecDeque<Slot>,
    /// Whether everything in `pending` may overlap.
    overlapping: bool,
    output: Output,
    output_charge: Charge,
    muted: Option<Pin<Box<Sleep>>>,
    /// The peer sends no more.
    eof: bool,
    /// Nothing more is taken; the connection closes when all replies are out.
    ending: Option<End>,
    paused: bool,
    pub(crate) wrote: bool,
}

impl<S: Service> Connection<S> {
    pub(crate) fn new(
        service: Arc<S>,
        stream: BoxStream,
        peer: &Peer,
        reactor: &Reactor,
        vitals: &Rc<Vitals>,
    ) -> Self {
        Self {
            state: service.connected(peer, reactor),
            service,
            stream,
            reactor: reactor.clone(),
            vitals: Rc::clone(vitals),
            settings: Arc::clone(&vitals.settings),
            frames: Frames::new(Charge::none(&reactor.local.budget), &reactor.local.buffers),
            pending: VecDeque::new(),
            overlapping: false,
            output: Output::default(),
            output_charge: Charge::none(&reactor.local.budget),
            muted: None,
            eof: false,
            ending: None,
            paused: false,
            wrote: false,
        }
    }

    /// One turn. Ready when the connection is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.vitals.waker.borrow_mut().clone_from(cx.waker());
        self.reactor.drain_mail();
        if let Some(reason) = self.vitals.kill.take() {
            return Poll::Ready(End::new(reason, ""));
        }
        let now = self.reactor.now();
        if self.vitals.stopping.get() && self.ending.is_none() {
            self.give_up_waiting();
            self.ending = Some(End::new(CloseReason::Stopped, ""));
        }
        if let Some(sleep) = &mut self.muted
            && sleep.as_mut().poll(cx).is_ready()
        {
            self.muted = None;
        }
        self.poll_pending(cx);
        let turn = self.turn(cx, now);
        self.frames.settle(|scratch| self.reactor.give_scratch(scratch));
        if turn.is_pending() {
            self.note_vitals(now);
        }
        turn
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: Now) -> Poll<End> {
        let (mut started, mut received) = (0, 0);
        loop {
            started += self.admit(cx, now, TURN_FRAMES - started);
            // What writing makes room for may start in this turn.
            let held_back = self.output.bytes() >= self.settings.output_bytes_max;
            let flushed = match self.flush(cx, now) {
                Ok(flushed) => flushed,
                Err(end) => return Poll::Ready(end),
            };
            if let Some(end) = self.over() {
                return Poll::Ready(end);
            }
            if flushed == Flush::Turn || started >= TURN_FRAMES || received >= TURN_BYTES {
                give_turn(cx);
                return Poll::Pending;
            }
            match self.read(cx) {
                Ok(Read::Bytes(bytes)) => {
                    received += bytes;
                    self.vitals.active.set(now);
                }
                Ok(Read::Nothing | Read::NoMemory) if held_back && flushed == Flush::Done => {}
                Ok(read) => {
                    self.note_pause(read == Read::NoMemory, now);
                    // What was read may have ended the last thing we stayed for.
                    return self.over().map_or(Poll::Pending, Poll::Ready);
                }
                Err(end) => return Poll::Ready(end),
            }
        }
    }

    /// Whether there is nothing left to stay for.
    fn over(&mut self) -> Option<End> {
        if !self.pending.is_empty() || !self.output.is_empty() {
            return None;
        }
        if self.ending.is_some() {
            return self.ending.take();
        }
        let rest = self.eof && !self.frames.has_next(self.frame_bytes_max());
        rest.then(|| End::new(CloseReason::Disconnected, ""))
    }

    fn frame_bytes_max(&self) -> usize {
        let own = self.service.frame_bytes_max(&self.state);
        self.settings.frame_bytes_max.min(own)
    }

    /// Whether nothing new is taken any more.
    fn closing(&self) -> bool {
        self.ending.is_some() || matches!(self.pending.back(), Some(Slot::End(_)))
    }

    /// Whether the next frame may start.
    fn may_start(&self) -> bool {
        if self.closing() || self.muted.is_some() {
            return false;
        }
        if self.pending.is_empty() {
            return self.output.bytes() < self.settings.output_bytes_max;
        }
        self.overlapping
            && !matches!(self.pending.back(), Some(Slot::Admitting(_)))
            && self.pending.len() < self.settings.in_flight_max
            && self.frames.head().is_none_or(|head| self.service.may_overlap(head))
    }

    /// Starts frames that are here whole; how many.
    fn admit(&mut self, cx: &mut Context<'_>, now: Now, frames_max: usize) -> usize {
        let mut started = 0;
        while started < frames_max && self.may_start() {
            match self.frames.next(self.frame_bytes_max()) {
                Ok(Some((bytes, charge))) => {
                    self.vitals.half_frame.set(None);
                    let overlaps = self.service.may_overlap(&bytes);
                    let frame = Frame { bytes, received: now, _charge: charge };
                    let call = self.service.call(&mut self.state, frame);
                    self.begin(cx, call, overlaps);
                    started += 1;
                }
                Ok(None) => break,
                Err(fault) => {
                    let end = End::new(CloseReason::FrameSize, fault.to_string());
                    self.queue(Slot::End(end));
                    break;
                }
            }
        }
        metrics::add(&self.reactor.counters().frames, started);
        started
    }

    fn begin(&mut self, cx: &mut Context<'_>, call: Call, overlaps: bool) {
        let Some(slot) = started(cx, call) else { return };
        if matches!(slot, Slot::Answered(_) | Slot::End(_)) {
            return self.queue(slot);
        }
        self.overlapping = overlaps && (self.overlapping || self.pending.is_empty());
        self.pending.push_back(slot);
        if self.eof {
            self.give_up_waiting();
        }
    }

    /// Puts a slot behind what is pending; what has nothing before it goes straight out.
    fn queue(&mut self, slot: Slot) {
        self.pending.push_back(slot);
        self.release();
    }

    /// Queues the replies at the front that are ready.
    fn release(&mut self) {
        while let Some(slot) = self.pending.pop_front() {
            match slot {
                Slot::Answered(reply) => {
                    if let Some(pause) = reply.throttle {
                        metrics::add(&self.reactor.counters().throttled, 1);
                        self.muted = Some(Box::pin(tokio::time::sleep(pause)));
                        // The sleep must be polled to run; this turn polls no more.
                        self.vitals.wake();
                    }
                    self.output.push(reply);
                }
                Slot::End(end) => {
                    self.ending.get_or_insert(end);
                    self.pending.clear();
                }
                running @ (Slot::Running { .. } | Slot::Admitting(_)) => {
                    self.pending.push_front(running);
                    return;
                }
            }
        }
    }

    /// Polls every running request.
    fn poll_pending(&mut self, cx: &mut Context<'_>) {
        if self.pending.is_empty() {
            return;
        }
        for slot in &mut self.pending {
            // An empty reply sends nothing.
            let nothing = || Slot::Answered(Reply::default());
            match slot {
                Slot::Running { future, .. } => {
                    if let Poll::Ready(outcome) = future.as_mut().poll(cx) {
                        *slot = answered(outcome).unwrap_or_else(nothing);
                    }
                }
                Slot::Admitting(future) => {
                    if let Poll::Ready(call) = future.as_mut().poll(cx) {
                        *slot = started(cx, call).unwrap_or_else(nothing);
                    }
                }
                Slot::Answered(_) | Slot::End(_) => {}
            }
        }
        if self.eof || self.vitals.stopping.get() {
            // What was being admitted may have come to wait only now.
            self.give_up_waiting();
        }
        self.release();
    }

    /// Drops a request that waits for the peer's sake; nothing after it can be answered then.
    fn give_up_waiting(&mut self) {
        let waits = |slot: &Slot| matches!(slot, Slot::Running { waits: true, .. });
        if let Some(at) = self.pending.iter().position(waits) {
            self.pending.truncate(at);
            self.ending
                .get_or_insert(End::new(CloseReason::Disconnected, "while a request waited"));
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Now) -> Result<Flush, End> {
        if self.output.is_empty() {
            self.vitals.write_blocked.set(None);
            return Ok(Flush::Done);
        }
        let flushed = self.output.flush(cx, &mut *self.stream, &self.reactor);
        let (written, flush) =
            flushed.map_err(|fault| End::new(fault.reason(), fault.to_string()))?;
        if written > 0 {
            self.wrote = true;
            self.vitals.active.set(now);
            metrics::add(&self.reactor.counters().bytes_out, written);
        }
        if flush != Flush::Blocked {
            self.vitals.write_blocked.set(None);
        } else if written > 0 || self.vitals.write_blocked.get().is_none() {
            self.vitals.write_blocked.set(Some(now));
        }
        Ok(flush)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<Read, End> {
        if self.eof || self.closing() || self.muted.is_some() {
            return Ok(Read::Nothing);
        }
        // A peer that must wait for its answers may send this much ahead, which also shows when
        // it leaves.
        if self.frames.len() >= SCRATCH_BYTES && !self.may_start() {
            return Ok(Read::Nothing);
        }
        match self.stream.poll_readable(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Err(broken(&error)),
            Poll::Pending => return Ok(Read::Nothing),
        }
        let room = match self.room(cx)? {
            Some(0) => return Ok(Read::Nothing),
            Some(room) => room,
            None => return self.watch(cx),
        };
        match self.frames.poll_fill(cx, &mut *self.stream, room) {
            Poll::Pending => Ok(Read::Nothing),
            Poll::Ready(Err(error)) => Err(broken(&error)),
            Poll::Ready(Ok(0)) => {
                self.eof = true;
                self.give_up_waiting();
                Ok(Read::Nothing)
            }
            Poll::Ready(Ok(bytes)) => {
                metrics::add(&self.reactor.counters().bytes_in, bytes);
                Ok(Read::Bytes(bytes))
            }
        }
    }

    /// Notices, while there is no memory to read into, that the rest of the frame will never come:
    /// what is held for it goes back at once.
    fn watch(&mut self, cx: &mut Context<'_>) -> Result<Read, End> {
        match self.stream.poll_hang_up(cx) {
            Poll::Pending => Ok(Read::NoMemory),
            Poll::Ready(Err(error)) => Err(broken(&error)),
            // The peer sends no more, but all that it asked is here and may still be answered.
            Poll::Ready(Ok(unread))
                if self.frames.may_have_next(self.frame_bytes_max(), unread) =>
            {
                Ok(Read::NoMemory)
            }
            Poll::Ready(Ok(_)) => {
                self.frames.abandon();
                self.eof = true;
                self.give_up_waiting();
                Ok(Read::Nothing)
            }
        }
    }

    /// Room to read into, or `None` when memory has run out; then the task is woken when it is
    /// its turn to have some.
    fn room(&mut self, cx: &mut Context<'_>) -> Result<Option<usize>, End> {
        let max = self.frame_bytes_max();
        match self.frames.room(max, cx.waker(), || self.reactor.take_scratch()) {
            Ok(room) => Ok(room),
            // Frames at fault are met when it is their turn.
            Err(RoomFault::Size(_)) => Ok(Some(0)),
            Err(fault @ RoomFault::System(_)) => {
                Err(End::new(CloseReason::Memory, fault.to_string()))
            }
        }
    }

    fn note_pause(&mut self, paused: bool, now: Now) {
        if paused && !self.paused {
            metrics::add(&self.reactor.counters().memory_pauses, 1);
        }
        self.paused = paused;
        if let Some(mut half) = self.vitals.half_frame.get() {
            match (paused, half.paused_since) {
                (true, None) => half.paused_since = Some(now),
                (false, Some(since)) => {
                    half.paused += now.since(since);
                    half.paused_since = None;
                }
                _ => {}
            }
            self.vitals.half_frame.set(Some(half));
        }
    }

    /// Tells the reactor's tick where this connection stands.
    fn note_vitals(&mut self, now: Now) {
        let whole = || self.frames.has_next(self.frame_bytes_max());
        let peer_owes = !self.frames.is_empty() && !self.closing() && self.may_start() && !whole();
        let half = peer_owes.then(|| {
            let mut half = self.vitals.half_frame.get().unwrap_or(HalfFrame {
                began: now,
                paused: std::time::Duration::ZERO,
                paused_since: self.paused.then_some(now),
                received: 0,
                total: 0,
                held: 0,
            });
            half.received = self.frames.len();
            half.total = self.frames.total_or_zero(self.frame_bytes_max());
            half.held = self.frames.held();
            half
        });
        self.vitals.half_frame.set(half);
        self.vitals
            .idle
            .set(self.pending.is_empty() && self.output.is_empty() && self.muted.is_none());
        self.output_charge.set(beyond_allowance(self.output.bytes()));
    }
}

/// Asks to be polled again, after every connection for which something has come. A plain wake
/// would keep the runtime from looking at its sockets for many turns.
pub(crate) fn give_turn(cx: &mut Context<'_>) {
    let mut turn = pin!(tokio::task::yield_now());
    if turn.as_mut().poll(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
}

fn broken(error: &std::io::Error) -> End {
    // A reset is how many clients say goodbye.
    let reason = match error.kind() {
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => {
            CloseReason::Disconnected
        }
        _ => CloseReason::Broken,
    };
    End::new(reason, error.to_string())
}

/// What a call is as a request that has started, once it has been polled; nothing if it is over
/// without an answer.
fn started(cx: &mut Context<'_>, mut call: Call) -> Option<Slot> {
    loop {
        let (mut future, waits) = match call {
            Call::Reply(reply) => return Some(Slot::Answered(reply)),
            Call::NoReply => return None,
            Call::Close(why) => return Some(Slot::End(End::new(CloseReason::Service, why))),
            Call::Admitting(mut future) => match future.as_mut().poll(cx) {
                Poll::Ready(admitted) => {
                    call = admitted;
                    continue;
                }
                Poll::Pending => return Some(Slot::Admitting(future)),
            },
            Call::Later(future) => (future, false),
            Call::Wait(future) => (future, true),
        };
        return match future.as_mut().poll(cx) {
            Poll::Ready(outcome) => answered(outcome),
            Poll::Pending => Some(Slot::Running { future, waits }),
        };
    }
}

fn answered(outcome: Outcome) -> Option<Slot> {
    match outcome {
        Outcome::Reply(reply) => Some(Slot::Answered(reply)),
        Outcome::NoReply => None,
        Outcome::Close(why) => Some(Slot::End(End::new(CloseReason::Service, why))),
    }
}
