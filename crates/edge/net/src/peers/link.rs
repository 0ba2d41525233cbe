//! One lane to one peer: what waits to be sent, what waits for answers, and the task that
//! connects, sends and receives.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use jocko_types::Uuid;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::chance::Chance;
use super::error::{PeerError, PeerRefusal};
use super::frame::{Frame, FrameKind, Header};
use super::handshake;
use super::outgoing::{PeerBody, Pool};
use super::settings::{Lane, PeerIdentity, PeerSettings};
use super::wire::{Vigil, Wire, WireError};
use crate::ports::{BoxStream, NetRef};

type Answer<T> = oneshot::Sender<Result<T, PeerError>>;

/// One lane to one peer.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: String,
    pub(super) lane: Lane,
    /// Bounds the calls under way; those above wait here, first come, first served.
    pub(super) turns: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Outgoing>,
    calls: BTreeMap<u64, Waiting>,
    asked_identity: Vec<Answer<PeerIdentity>>,
    /// Who is connected.
    peer: Option<PeerIdentity>,
    last_id: u64,
    tells: usize,
    tell_bytes: usize,
    driver: Option<Waker>,
    /// Why there is no connection.
    trouble: Option<PeerError>,
    ended: Option<&'static str>,
}

#[derive(Debug)]
struct Waiting {
    answer: Answer<Bytes>,
    is_sent: bool,
}

#[derive(Debug)]
enum Outgoing {
    Call { id: u64, node: Option<Uuid>, kind: u16, body: PeerBody },
    Tell { node: Option<Uuid>, kind: u16, body: PeerBody },
    Forget { id: u64 },
}

/// What became of a call handed to a link.
pub(super) enum Submitted {
    Call(Submission),
    /// The link has ended; the body comes back.
    Ended(PeerBody),
}

/// A call under way.
pub(super) struct Submission {
    pub(super) id: u64,
    pub(super) answer: oneshot::Receiver<Result<Bytes, PeerError>>,
}

impl State {
    fn has_work(&self) -> bool {
        !self.queue.is_empty() || !self.asked_identity.is_empty()
    }

    fn take_driver(&mut self) -> Option<Waker> {
        self.driver.take()
    }
}

fn wake(driver: Option<Waker>) {
    if let Some(driver) = driver {
        driver.wake();
    }
}

impl Link {
    pub(super) fn new(address: &str, lane: Lane, settings: &PeerSettings) -> Self {
        let turns = settings.calls_in_flight_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            address: address.to_owned(),
            lane,
            turns: Semaphore::new(turns),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit_call(&self, node: Option<Uuid>, kind: u16, body: PeerBody) -> Submitted {
        let (sender, answer) = oneshot::channel();
        let (id, driver) = {
            let mut state = self.lock();
            if state.ended.is_some() {
                return Submitted::Ended(body);
            }
            state.last_id += 1;
            let id = state.last_id;
            state.calls.insert(id, Waiting { answer: sender, is_sent: false });
            state.queue.push_back(Outgoing::Call { id, node, kind, body });
            (id, state.take_driver())
        };
        wake(driver);
        Submitted::Call(Submission { id, answer })
    }

    /// Whether the tell was taken on; the body comes back if the link has ended.
    pub(super) fn submit_tell(
        &self,
        node: Option<Uuid>,
        kind: u16,
        body: PeerBody,
        settings: &PeerSettings,
    ) -> Result<bool, PeerBody> {
        let driver = {
            let mut state = self.lock();
            if state.ended.is_some() {
                return Err(body);
            }
            let bytes = state.tell_bytes.saturating_add(body.len());
            // A single tell may be larger than the queue: its size has a limit of its own.
            let is_full = state.tells >= settings.tells_queued_max
                || (state.tells > 0 && bytes > settings.tell_bytes_queued_max);
            if is_full {
                return Ok(false);
            }
            state.tells += 1;
            state.tell_bytes = bytes;
            state.queue.push_back(Outgoing::Tell { node, kind, body });
            state.take_driver()
        };
        wake(driver);
        Ok(true)
    }

    /// Asks who is there; `None` if the link has ended.
    pub(super) fn ask_identity(
        &self,
    ) -> Option<oneshot::Receiver<Result<PeerIdentity, PeerError>>> {
        let (sender, answer) = oneshot::channel();
        let driver = {
            let mut state = self.lock();
            if state.ended.is_some() {
                return None;
            }
            if let Some(peer) = state.peer {
                // Whoever has stopped waiting needs no answer.
                let _ = sender.send(Ok(peer));
                return Some(answer);
            }
            state.asked_identity.push(sender);
            state.take_driver()
        };
        wake(driver);
        Some(answer)
    }

    pub(super) fn is_sent(&self, id: u64) -> bool {
        self.lock().calls.get(&id).is_none_or(|call| call.is_sent)
    }

    /// What to say of a call that was not sent in time.
    pub(super) fn unsent(&self) -> PeerError {
        let state = self.lock();
        if state.peer.is_some() {
            return PeerError::NotConnected(format!("{} takes no more calls yet", self.address));
        }
        state.trouble.clone().unwrap_or_else(|| {
            PeerError::NotConnected(format!("{} could not be reached in time", self.address))
        })
    }

    /// The caller of `id` is gone.
    fn forget(&self, id: u64) {
        let driver = {
            let mut state = self.lock();
            match state.calls.remove(&id) {
                Some(call) if call.is_sent => {
                    state.queue.push_back(Outgoing::Forget { id });
                    state.take_driver()
                }
                Some(_) => {
                    // Its body must not wait for a connection that may take long.
                    let is_it = |next: &Outgoing| matches!(next, Outgoing::Call { id: it, .. } if *it == id);
                    state.queue.retain(|next| !is_it(next));
                    None
                }
                None => None,
            }
        };
        wake(driver);
    }

    /// Ends all calls: those sent as `broken`, the others as `unsent`.
    fn fail_all(&self, unsent: &PeerError, broken: &PeerError) {
        let (calls, asked) = {
            let mut state = self.lock();
            state.peer = None;
            state.trouble = Some(unsent.clone());
            state.queue.clear();
            state.tells = 0;
            state.tell_bytes = 0;
            (std::mem::take(&mut state.calls), std::mem::take(&mut state.asked_identity))
        };
        for call in calls.into_values() {
            let error = if call.is_sent { broken } else { unsent };
            // Whoever has stopped waiting needs no answer.
            let _ = call.answer.send(Err(error.clone()));
        }
        for asked in asked {
            let _ = asked.send(Err(unsent.clone()));
        }
    }

    /// No more calls; those under way end.
    pub(super) fn end(&self, why: &'static str) {
        let driver = {
            let mut state = self.lock();
            state.ended = Some(why);
            state.take_driver()
        };
        let unsent = PeerError::NotConnected(why.to_owned());
        self.fail_all(&unsent, &PeerError::Broken(why.to_owned()));
        wake(driver);
    }

    /// Ends the link if there is nothing to do.
    fn end_if_idle(&self) -> bool {
        let mut state = self.lock();
        if state.ended.is_none() && (state.has_work() || !state.calls.is_empty()) {
            return false;
        }
        state.ended.get_or_insert("idle");
        true
    }

    /// Goes on unless the link has ended; wakes when it does.
    fn poll_open(&self, cx: &Context<'_>) -> Result<(), WireError> {
        let mut state = self.lock();
        state.driver = Some(cx.waker().clone());
        if state.ended.is_some() { Err(WireError::Closed) } else { Ok(()) }
    }

    /// Ready when something is to be sent, or the link has ended.
    fn poll_work(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.ended.is_some() || state.has_work() {
            return Poll::Ready(());
        }
        state.driver = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Gives a call up when its future is dropped before the answer.
pub(super) struct Abandon<'a> {
    link: &'a Link,
    id: Option<u64>,
}

impl<'a> Abandon<'a> {
    pub(super) fn new(link: &'a Link, id: u64) -> Self {
        Self { link, id: Some(id) }
    }

    pub(super) fn disarm(mut self) {
        self.id = None;
    }
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.link.forget(id);
        }
    }
}

/// The task of a link.
pub(super) struct Driver {
    link: Arc<Link>,
    pool: Weak<Pool>,
    net: NetRef,
    settings: PeerSettings,
}

impl Driver {
    pub(super) fn new(link: Arc<Link>, pool: &Arc<Pool>) -> Self {
        let (net, settings) = (Arc::clone(&pool.net), pool.settings.clone());
        Self { link, pool: Arc::downgrade(pool), net, settings }
    }

    /// Connects when there is something to send, until there has been nothing for long.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(&self.settings);
        let mut warned = None;
        loop {
            let work = poll_fn(|cx| self.link.poll_work(cx));
            let is_idle = timeout(self.settings.idle_timeout, work).await.is_err();
            if (is_idle || self.link.lock().ended.is_some()) && self.link.end_if_idle() {
                return;
            }
            let connecting = timeout(self.settings.connect_timeout, self.connect());
            let met = tokio::select! {
                biased;
                () = poll_fn(|cx| self.poll_ended(cx)) => return,
                met = connecting => met,
            };
            match met {
                Ok(Ok(wire)) => {
                    warned = None;
                    if self.converse(wire).await {
                        backoff.reset();
                        continue;
                    }
                }
                Ok(Err(error)) => self.fail(&error, &mut warned),
                Err(_late) => self.fail(&self.late(), &mut warned),
            }
            tokio::select! {
                biased;
                () = poll_fn(|cx| self.poll_ended(cx)) => return,
                () = sleep(backoff.next()) => {}
            }
        }
    }

    fn late(&self) -> PeerError {
        let (address, patience) = (&self.link.address, self.settings.connect_timeout);
        PeerError::NotConnected(format!("{address} did not answer within {patience:?}"))
    }

    fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.link.lock();
        if state.ended.is_some() {
            return Poll::Ready(());
        }
        state.driver = Some(cx.waker().clone());
        Poll::Pending
    }

    fn fail(&self, unsent: &PeerError, warned: &mut Option<PeerError>) {
        let address = &self.link.address;
        // A person must mend what makes a broker unwelcome; it is said once, not at each attempt.
        if matches!(unsent, PeerError::Unwelcome(_)) && warned.as_ref() != Some(unsent) {
            tracing::warn!(address, reason = %unsent, "not welcome at a peer");
            *warned = Some(unsent.clone());
        }
        tracing::debug!(address, lane = ?self.link.lane, reason = %unsent, "no connection");
        self.link.fail_all(unsent, unsent);
    }

    async fn connect(&self) -> Result<Wire, PeerError> {
        let address = &self.link.address;
        let unreachable = |error: io::Error| PeerError::NotConnected(format!("{address}: {error}"));
        let addresses = self.net.resolve(address).await.map_err(unreachable)?;
        let stream = self.connect_any(&addresses).await.map_err(unreachable)?;
        let met = handshake::call(stream, self.link.lane, &self.settings).await;
        met.map_err(|error| match error {
            handshake::HandshakeError::Unwelcome(words) => {
                PeerError::Unwelcome(format!("{address}: {words}"))
            }
            other => PeerError::NotConnected(format!("{address}: {other}")),
        })
    }

    async fn connect_any(&self, addresses: &[SocketAddr]) -> io::Result<BoxStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        // An address that swallows packets leaves time for the others.
        let parts = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let patience = self.settings.connect_timeout / parts;
        for address in addresses {
            let connect = self.net.connect(*address, &self.settings.socket);
            match timeout(patience, connect).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_late) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    /// Sends and receives until the connection ends; whether it was of any use.
    async fn converse(&self, wire: Wire) -> bool {
        {
            let mut state = self.link.lock();
            state.peer = Some(wire.peer);
            state.trouble = None;
            for asked in std::mem::take(&mut state.asked_identity) {
                // Whoever has stopped waiting needs no answer.
                let _ = asked.send(Ok(wire.peer));
            }
        }
        let mut talk =
            Talk { wire, vigil: Vigil::of_caller(&self.settings), link: &self.link, heard: false };
        let error = poll_fn(|cx| talk.poll(cx)).await;
        let heard = talk.heard;
        drop(talk);
        let address = &self.link.address;
        tracing::debug!(address, lane = ?self.link.lane, %error, "connection ended");
        let unsent = match error {
            WireError::Unwelcome(words) => PeerError::Unwelcome(words),
            // Nothing waits, unless it came just now: then a fresh connection serves it.
            WireError::Idle => {
                self.link.lock().peer = None;
                return true;
            }
            other => PeerError::NotConnected(format!("{address}: {other}")),
        };
        let broken = PeerError::Broken(unsent.to_string());
        self.link.fail_all(&unsent, &broken);
        heard
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // However the task ends, nobody waits for it in vain.
        self.link.end("the connection's task ended");
        Pool::remove(&self.pool, &self.link);
    }
}

/// A connection in use.
struct Talk<'a> {
    wire: Wire,
    vigil: Vigil,
    link: &'a Link,
    /// Something came since the handshake.
    heard: bool,
}

impl Talk<'_> {
    /// Ready when the connection has ended, and why.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<WireError> {
        match self.advance(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.link.poll_open(cx)?;
        loop {
            self.take_queued(cx);
            let is_flushed = self.wire.poll_flush(cx)?.is_ready();
            if !is_flushed || self.link.lock().queue.is_empty() {
                break;
            }
        }
        self.wire.begin_turn();
        while let Poll::Ready(frame) = self.wire.poll_frame(cx) {
            self.handle(frame?)?;
        }
        // A pong or a new identity may have been queued.
        let is_flushed = self.wire.poll_flush(cx)?.is_ready();
        let is_open = !is_flushed || !self.link.lock().calls.is_empty();
        self.vigil.check(&mut self.wire, is_open, cx)
    }

    /// Moves what waits to the wire, as far as there is room.
    fn take_queued(&mut self, cx: &Context<'_>) {
        while self.wire.has_room() {
            let Some((header, body)) = self.next_queued(cx) else { return };
            self.wire.push(header, &body.0);
        }
    }

    fn next_queued(&self, cx: &Context<'_>) -> Option<(Header, PeerBody)> {
        let mut state = self.link.lock();
        let state = &mut *state;
        let peer = self.wire.peer.node;
        loop {
            let Some(next) = state.queue.pop_front() else {
                state.driver = Some(cx.waker().clone());
                return None;
            };
            match next {
                Outgoing::Call { id, node, kind, body } => {
                    if let Some(wanted) = node.filter(|node| *node != peer) {
                        self.refuse_other_node(state.calls.remove(&id), wanted);
                    } else if let Some(call) = state.calls.get_mut(&id) {
                        call.is_sent = true;
                        return Some((Header::new(FrameKind::Call, kind, id), body));
                    }
                }
                Outgoing::Tell { node, kind, body } => {
                    state.tells = state.tells.saturating_sub(1);
                    state.tell_bytes = state.tell_bytes.saturating_sub(body.len());
                    if node.is_none_or(|node| node == peer) {
                        return Some((Header::new(FrameKind::Tell, kind, 0), body));
                    }
                }
                Outgoing::Forget { id } => {
                    return Some((Header::new(FrameKind::Forget, 0, id), PeerBody::default()));
                }
            }
        }
    }

    fn refuse_other_node(&self, call: Option<Waiting>, wanted: Uuid) {
        let Some(call) = call else { return };
        let (address, found) = (&self.link.address, self.wire.peer.node);
        let words = format!("at {address} is node {found} and not node {wanted} any more");
        // Whoever has stopped waiting needs no answer.
        let _ = call.answer.send(Err(PeerError::Unwelcome(words)));
    }

    fn handle(&mut self, frame: Frame) -> Result<(), WireError> {
        self.heard = true;
        let answer = match frame.header.frame {
            FrameKind::Answer => Ok(frame.body),
            FrameKind::Refusal => {
                let refusal = PeerRefusal::from_bytes(frame.header.kind, &frame.body);
                Err(PeerError::Refused(refusal))
            }
            _ => return Err(WireError::Unexpected),
        };
        let mut state = self.link.lock();
        state.peer = Some(self.wire.peer);
        // An answer to a call that was given up finds nobody.
        let call = state.calls.remove(&frame.header.id);
        drop(state);
        if let Some(call) = call {
            // Whoever has stopped waiting needs no answer.
            let _ = call.answer.send(answer);
        }
        Ok(())
    }
}

/// Rests between attempts to connect.
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    chance: Chance,
}

impl Backoff {
    fn new(settings: &PeerSettings) -> Self {
        let (min, max) = (settings.backoff_min, settings.backoff_max);
        Self { min, max, next: min, chance: settings.chance.clone() }
    }

    fn reset(&mut self) {
        self.next = self.min;
    }

    /// Between half and all of a time that doubles: peers that lost the same broker do not come
    /// back all at once.
    fn next(&mut self) -> Duration {
        let whole = self.next.min(self.max);
        self.next = whole.saturating_mul(2);
        let half = whole / 2;
        let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.chance.below(span))
    }
}
