//! A service that does what its frames say, and a client to say it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use jocko_disk::FileRef;
use jocko_net::ports::{BoxStream, Ports, SocketOptions};
use jocko_net::{
    Call, ConnectionSettings, Frame, Listen, Outcome, Peer, Piece, Reactor, ReactorSettings,
    Reactors, Reply, Server, ServerSettings, Service, Ticket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

/// What a frame asks for: its first byte.
pub(crate) mod op {
    pub(crate) const ECHO: u8 = b'e';
    /// Overlaps with its like; answered when the test releases its key.
    pub(crate) const OVERLAP: u8 = b'o';
    /// As `OVERLAP`, but alone.
    pub(crate) const LATER: u8 = b'l';
    /// Waits for a ticket.
    pub(crate) const WAIT: u8 = b'w';
    /// Overlaps with its like; admitted when the test releases its key, then answered when the
    /// test releases its key + 100, or at once if the key is even.
    pub(crate) const ADMIT: u8 = b'a';
    /// As `ADMIT`, but waits for a ticket once it is admitted.
    pub(crate) const ADMIT_WAIT: u8 = b'A';
    pub(crate) const SILENT: u8 = b'n';
    pub(crate) const CLOSE: u8 = b'c';
    pub(crate) const PANIC: u8 = b'p';
    pub(crate) const PANIC_LATER: u8 = b'P';
    /// Echo, then rest for `key` milliseconds.
    pub(crate) const THROTTLE: u8 = b't';
    /// The service's file behind a header.
    pub(crate) const FILE: u8 = b'f';
    /// `key` KiB of reply.
    pub(crate) const BIG: u8 = b'b';
}

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) log: Mutex<Vec<String>>,
    gates: Mutex<BTreeMap<u16, oneshot::Sender<()>>>,
    pub(crate) tickets: Mutex<Vec<Ticket>>,
    pub(crate) file: Mutex<Option<(FileRef, u64, usize)>>,
    pub(crate) open: Mutex<usize>,
}

impl Script {
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join(" ")
    }

    pub(crate) fn note(&self, what: String) {
        self.log.lock().unwrap().push(what);
    }

    pub(crate) fn release(&self, key: u16) {
        let gate = self.gates.lock().unwrap().remove(&key);
        gate.expect("the request has started").send(()).unwrap();
    }

    fn gate(&self, key: u16) -> oneshot::Receiver<()> {
        let (gate, released) = oneshot::channel();
        self.gates.lock().unwrap().insert(key, gate);
        released
    }

    /// The test's file, after a length prefix and four bytes of header.
    fn file_reply(&self) -> Reply {
        let (file, position, len) = self.file.lock().unwrap().clone().unwrap();
        let mut header = BytesMut::new();
        header.put_u32(u32::try_from(len + 4).unwrap());
        header.put_u32(0xfeed_beef);
        let mut reply = Reply::new(header.freeze());
        reply.push(Piece::File { file, position, len });
        reply
    }
}

pub(crate) struct Session {
    script: Option<Arc<Script>>,
    reactor: Reactor,
}

/// Notes the drop of what it is kept in.
struct NoteDrop(Arc<Script>, u16);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        self.0.note(format!("dropped{}", self.1));
    }
}

/// The service: shares the script with the test.
pub(crate) struct Scripted(pub(crate) Arc<Script>);

impl Service for Scripted {
    type Connection = Session;

    fn connected(&self, _peer: &Peer, reactor: &Reactor) -> Session {
        *self.0.open.lock().unwrap() += 1;
        Session { script: Some(Arc::clone(&self.0)), reactor: reactor.clone() }
    }

    fn may_overlap(&self, head: &[u8]) -> bool {
        head.first().is_some_and(|what| [op::OVERLAP, op::ADMIT, op::ADMIT_WAIT].contains(what))
    }

    fn call(&self, session: &mut Session, frame: Frame) -> Call {
        let what = frame.bytes[0];
        let key = u16::from_be_bytes([frame.bytes[2], frame.bytes[3]]);
        self.0.note(format!("{}{key}", char::from(what)));
        let answer = reply(&frame.bytes);
        let script = Arc::clone(session.script.as_ref().unwrap());
        match what {
            op::SILENT => Call::NoReply,
            op::CLOSE => Call::Close("asked for".into()),
            op::PANIC => panic!("told to"),
            op::PANIC_LATER => Call::Later(Box::pin(async {
                tokio::task::yield_now().await;
                panic!("told to, later")
            })),
            op::OVERLAP | op::LATER => {
                let released = self.0.gate(key);
                Call::Later(Box::pin(async move {
                    let _ = released.await;
                    Outcome::Reply(answer)
                }))
            }
            op::ADMIT => {
                let released = self.0.gate(key);
                Call::Admitting(Box::pin(async move {
                    let _ = released.await;
                    script.note(format!("admitted{key}"));
                    if key.is_multiple_of(2) {
                        return Call::Reply(answer);
                    }
                    let released = script.gate(key + 100);
                    Call::Later(Box::pin(async move {
                        let _ = released.await;
                        Outcome::Reply(answer)
                    }))
                }))
            }
            op::ADMIT_WAIT => {
                let released = self.0.gate(key);
                let mut waiter = session.reactor.waiter();
                Call::Admitting(Box::pin(async move {
                    let _ = released.await;
                    let guard = NoteDrop(script, key);
                    Call::Wait(Box::pin(async move {
                        waiter.delivered().await;
                        guard.0.note(format!("woken{key}"));
                        Outcome::Reply(answer)
                    }))
                }))
            }
            op::WAIT => {
                let mut waiter = session.reactor.waiter();
                self.0.tickets.lock().unwrap().push(waiter.ticket());
                Call::Wait(Box::pin(async move {
                    let guard = NoteDrop(script, key);
                    waiter.delivered().await;
                    guard.0.note(format!("woken{key}"));
                    Outcome::Reply(answer)
                }))
            }
            op::THROTTLE => Call::Reply(answer.throttled(Duration::from_millis(u64::from(key)))),
            op::BIG => Call::Reply(reply(&vec![7; usize::from(key) * 1024])),
            op::FILE => Call::Reply(self.0.file_reply()),
            _ => Call::Reply(answer),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(script) = self.script.take() {
            *script.open.lock().unwrap() -= 1;
        }
    }
}

fn reply(payload: &[u8]) -> Reply {
    let mut bytes = BytesMut::with_capacity(4 + payload.len());
    bytes.put_u32(u32::try_from(payload.len()).unwrap());
    bytes.put_slice(payload);
    Reply::new(bytes.freeze())
}

/// A request frame with its prefix.
pub(crate) fn request(what: u8, key: u16, payload: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(u32::try_from(8 + payload).unwrap());
    bytes.put_u8(what);
    bytes.put_u8(0);
    bytes.put_u16(key);
    bytes.put_u32(u32::from(key));
    bytes.extend((0..payload).map(|i| (i % 251) as u8));
    bytes
}

pub(crate) struct Client {
    pub(crate) stream: BoxStream,
}

impl Client {
    pub(crate) async fn send(&mut self, what: u8, key: u16) {
        self.raw(&request(what, key, 0)).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next reply, or `None` at the end.
    pub(crate) async fn reply(&mut self) -> Option<Bytes> {
        let mut prefix = [0; 4];
        match self.stream.read_exact(&mut prefix).await {
            Ok(_) => {}
            Err(error) => {
                let ended = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
                assert!(ended.contains(&error.kind()), "{error}");
                return None;
            }
        }
        let mut bytes = vec![0; u32::from_be_bytes(prefix) as usize];
        self.stream.read_exact(&mut bytes).await.unwrap();
        Some(bytes.into())
    }

    /// The key of the next reply.
    pub(crate) async fn key(&mut self) -> Option<u16> {
        let mut bytes = self.reply().await?;
        bytes.advance(2);
        Some(bytes.get_u16())
    }

    pub(crate) async fn ended(&mut self) -> bool {
        self.reply().await.is_none()
    }

    /// Asks for an echo of `payload` more bytes and checks it.
    pub(crate) async fn echo(&mut self, key: u16, payload: usize) {
        let request = request(op::ECHO, key, payload);
        self.raw(&request).await;
        let echoed = self.reply().await.expect("an open connection");
        assert!(echoed == request[4..], "echo of {payload} bytes differs");
    }
}

pub(crate) struct World {
    pub(crate) reactors: Reactors,
    pub(crate) server: Option<Server>,
    pub(crate) script: Arc<Script>,
    pub(crate) address: SocketAddr,
    pub(crate) ports: Ports,
}

#[derive(Default, Clone)]
pub(crate) struct Setup {
    pub(crate) reactors: ReactorSettings,
    pub(crate) server: ServerSettings,
}

impl Setup {
    pub(crate) fn connection(change: impl FnOnce(&mut ConnectionSettings)) -> Self {
        let mut setup = Self::default();
        change(&mut setup.server.connection);
        setup
    }

    pub(crate) fn memory(mut self, bytes: usize) -> Self {
        self.reactors.memory_bytes_max = bytes;
        self
    }
}

impl World {
    /// In memory, with paused time, two reactors as tasks.
    pub(crate) fn simulated(mut setup: Setup) -> Self {
        let ports = Ports::simulated();
        setup.reactors.count = 2;
        let reactors = Reactors::start_local(&setup.reactors, &ports);
        Self::with(reactors, ports, setup, Listen::Localhost(0))
    }

    /// Over loopback, with threads.
    pub(crate) fn real(setup: Setup) -> Self {
        let ports = Ports::production(2).unwrap();
        let reactors = Reactors::start(&setup.reactors, &ports).unwrap();
        Self::with(reactors, ports, setup, Listen::Localhost(0))
    }

    fn with(reactors: Reactors, ports: Ports, setup: Setup, listen: Listen) -> Self {
        let script = Arc::new(Script::default());
        let service = Arc::new(Scripted(Arc::clone(&script)));
        let server = Server::start(&reactors, &[listen], setup.server, &service).unwrap();
        Self { address: server.addresses()[0], reactors, server: Some(server), script, ports }
    }

    pub(crate) async fn client(&self) -> Client {
        let connected = self.ports.net.connect(self.address, &SocketOptions::default());
        Client { stream: connected.await.unwrap() }
    }

    /// Waits until every connection has ended, without moving time in simulation.
    pub(crate) async fn all_ended(&self) {
        until(|| self.server.as_ref().unwrap().connections() == 0).await;
    }
}

/// Runs a test on one thread with paused time.
pub(crate) fn simulate(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap()
        .block_on(test);
}

/// Runs a test's client side against real threads.
pub(crate) fn live(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, test).await.expect("in time");
    });
}

/// Lets everything that can run run, without moving time.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass until `done`.
pub(crate) async fn until_later(done: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never happened");
}

/// Yields until `done`.
pub(crate) async fn until(done: impl Fn() -> bool) {
    let turns = Rc::new(Cell::new(0_u64));
    while !done() {
        turns.set(turns.get() + 1);
        assert!(turns.get() < 50_000_000, "never happened");
        tokio::task::yield_now().await;
    }
}
