//! The serving side: lets brokers in that prove themselves.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::conversation::Conversation;
use super::error::PeerRefusal;
use super::handshake::{self, HandshakeError};
use super::settings::{PeerIdentity, PeerSettings};
use super::wire::WireError;
use crate::ports::{BoxListener, BoxStream, NetRef, belonging, spawn};

/// Accepting rests this long when the system has no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// At most one warning about unwelcome peers in this time; the counters tell of all.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// What answers the calls of peers.
pub trait PeerService: Send + Sync + 'static {
    /// Handles a call; `from` is who sent it. Called in the order in which calls arrive, while
    /// the futures run side by side and answers leave as they are ready. The future runs on the
    /// connection's task and must not block; it is dropped when the caller gives up or the
    /// connection ends, so work that must be finished is spawned. A panic ends the connection.
    fn call(
        &self,
        from: &PeerIdentity,
        kind: u16,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, PeerRefusal>>;

    /// Takes a one-way message, in the order in which they were sent. Must not block.
    fn told(&self, from: &PeerIdentity, kind: u16, body: Bytes);
}

/// What a server has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerTotals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections whose peer proved itself.
    pub proven: u64,
    /// Connections whose first bytes were no broker's.
    pub strangers: u64,
    /// Brokers refused in words: other secret, cluster or version, or no room.
    pub refused: u64,
    /// Unproven connections closed because they took too long, or broke.
    pub unfinished: u64,
    /// Unproven connections closed because too many others came.
    pub evicted: u64,
    /// Connections ended by bytes that are no frames, or carry a wrong seal.
    pub corrupt: u64,
    /// Connections ended by a panic of the service.
    pub panics: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    proven: AtomicU64,
    strangers: AtomicU64,
    refused: AtomicU64,
    unfinished: AtomicU64,
    evicted: AtomicU64,
    corrupt: AtomicU64,
    panics: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A listener for peers and the connections it has accepted. Dropping it closes them at once.
pub struct PeerServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl fmt::Debug for PeerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What all connections of a server share.
struct Shared {
    settings: PeerSettings,
    service: Arc<dyn PeerService>,
    stop: Stop,
    counters: Counters,
    /// Connections in their handshake, the oldest first.
    unproven: Mutex<VecDeque<(u64, AbortHandle)>>,
    proven_now: AtomicUsize,
    last_warning: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Stop {
    is_stopping: AtomicBool,
    notify: Notify,
}

impl Stop {
    fn begin(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    async fn wait(&self) {
        let notified = self.notify.notified();
        if !self.is_stopping.load(Ordering::Acquire) {
            notified.await;
        }
    }
}

impl PeerServer {
    /// Listens on `address` and serves peers, as tasks of the runtime this is called in.
    ///
    /// # Errors
    /// When `address` cannot be listened on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        net: &NetRef,
        address: SocketAddr,
        settings: PeerSettings,
        service: Arc<dyn PeerService>,
    ) -> io::Result<Self> {
        let listener = net.listen(address, &settings.socket)?;
        let address = listener.address();
        let shared = Arc::new(Shared {
            settings,
            service,
            stop: Stop::default(),
            counters: Counters::default(),
            unproven: Mutex::default(),
            proven_now: AtomicUsize::new(0),
            last_warning: Mutex::default(),
        });
        let accepting = spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen so far.
    #[must_use]
    pub fn totals(&self) -> PeerTotals {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PeerTotals {
            accepted: read(&counters.accepted),
            proven: read(&counters.proven),
            strangers: read(&counters.strangers),
            refused: read(&counters.refused),
            unfinished: read(&counters.unfinished),
            evicted: read(&counters.evicted),
            corrupt: read(&counters.corrupt),
            panics: read(&counters.panics),
        }
    }

    /// Proven connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.proven_now.load(Ordering::Relaxed)
    }

    /// Accepts no more, refuses further calls, gives those being handled
    /// [`PeerSettings::stop_grace`] to end, and closes all connections.
    pub async fn stop(mut self) {
        self.shared.stop.begin();
        // An error says that the task has panicked or its runtime is gone: it has ended.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        // The connections belong to this task and end with it.
        self.accepting.abort();
    }
}

async fn accept(mut listener: BoxListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut last_id = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.wait() => break,
            Some(_ended) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = poll_fn(|cx| listener.poll_accept(cx)) => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                last_id += 1;
                count(&shared.counters.accepted);
                shared.make_room();
                // Listed before the task can run, which may be at once and on another thread.
                let mut unproven = shared.lock_unproven();
                let served = serve(stream, from, last_id, Arc::clone(&shared));
                unproven.push_back((last_id, connections.spawn(belonging(served))));
            }
            // The peer gave up before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept peers");
                let pause = sleep(ACCEPT_PAUSE);
                tokio::select! { biased; () = shared.stop.wait() => break, () = pause => {} }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

impl Shared {
    fn lock_unproven(&self) -> MutexGuard<'_, VecDeque<(u64, AbortHandle)>> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the oldest of too many connections that have not proven themselves: a broker needs
    /// two round trips for it, so whoever is old by then is hardly one.
    fn make_room(&self) {
        let mut unproven = self.lock_unproven();
        while unproven.len() >= self.settings.unproven_max.max(1) {
            let Some((_, oldest)) = unproven.pop_front() else { return };
            oldest.abort();
            count(&self.counters.evicted);
        }
    }

    /// Says in the log what a person should know, but not as often as a stranger likes.
    fn warn(&self, from: SocketAddr, reason: &dyn fmt::Display) {
        let now = Instant::now();
        let mut last = self.last_warning.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| now - last >= WARNING_INTERVAL) {
            *last = Some(now);
            tracing::warn!(%from, %reason, "peer connection ended");
        } else {
            tracing::debug!(%from, %reason, "peer connection ended");
        }
    }
}

/// On the list of the unproven while it lives.
struct Unproven<'a>(&'a Shared, u64);

impl Drop for Unproven<'_> {
    fn drop(&mut self) {
        self.0.lock_unproven().retain(|(id, _)| *id != self.1);
    }
}

/// Counted among the proven while it lives.
struct Proven<'a>(&'a Shared);

impl Drop for Proven<'_> {
    fn drop(&mut self) {
        self.0.proven_now.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(mut stream: BoxStream, from: SocketAddr, id: u64, shared: Arc<Shared>) {
    let shared = &*shared;
    let unproven = Unproven(shared, id);
    let patience = shared.settings.handshake_timeout;
    if shared.proven_now.load(Ordering::Relaxed) >= shared.settings.connections_max {
        count(&shared.counters.refused);
        shared.warn(from, &"too many connections");
        // Whether the words arrive is the peer's affair.
        let _ =
            timeout(patience, handshake::refuse_words(&mut stream, "too many connections")).await;
        return;
    }
    let met = handshake::answer(stream, &shared.settings);
    let wire = tokio::select! {
        biased;
        () = shared.stop.wait() => return,
        met = timeout(patience, met) => match met {
            Ok(Ok(wire)) => wire,
            Ok(Err(error)) => return shared.not_met(from, &error),
            Err(_late) => return count(&shared.counters.unfinished),
        },
    };
    count(&shared.counters.proven);
    shared.proven_now.fetch_add(1, Ordering::Relaxed);
    let _proven = Proven(shared);
    drop(unproven);
    tracing::debug!(%from, peer = %wire.peer, "peer connected");
    let mut conversation = Conversation::new(wire, &shared.settings, Arc::clone(&shared.service));
    let talk = AssertUnwindSafe(shared.talk(&mut conversation)).catch_unwind().await;
    match talk {
        Ok(error) => shared.ended(from, &error),
        Err(_panic) => {
            count(&shared.counters.panics);
            tracing::error!(%from, "a peer's call panicked; its connection is closed");
        }
    }
}

impl Shared {
    fn not_met(&self, from: SocketAddr, error: &HandshakeError) {
        match error {
            HandshakeError::Stranger | HandshakeError::Malformed(_) => {
                count(&self.counters.strangers);
                tracing::debug!(%from, %error, "not a peer");
            }
            HandshakeError::Io(_) => count(&self.counters.unfinished),
            HandshakeError::Unwelcome(words) => {
                count(&self.counters.refused);
                self.warn(from, words);
            }
        }
    }

    fn ended(&self, from: SocketAddr, error: &WireError) {
        match error {
            WireError::Frame(_) | WireError::Unexpected => {
                count(&self.counters.corrupt);
                self.warn(from, error);
            }
            WireError::Unwelcome(_) => {
                count(&self.counters.refused);
                self.warn(from, error);
            }
            _ => tracing::debug!(%from, %error, "peer connection ended"),
        }
    }

    async fn talk(&self, conversation: &mut Conversation) -> WireError {
        tokio::select! {
            biased;
            () = self.stop.wait() => {}
            error = poll_fn(|cx| conversation.poll(cx)) => return error,
        }
        conversation.begin_stop();
        let rest = poll_fn(|cx| conversation.poll(cx));
        timeout(self.settings.stop_grace, rest).await.unwrap_or(WireError::Left)
    }
}
