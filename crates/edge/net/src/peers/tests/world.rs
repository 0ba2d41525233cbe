//! A service that does what calls say, and brokers around it.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jocko_types::Uuid;
use tokio::sync::Notify;

use crate::peers::{
    Chance, Lane, PeerBody, PeerError, PeerIdentity, PeerRefusal, PeerServer, PeerService,
    PeerSettings, Peers, Secret,
};
use crate::ports::{MemoryNet, NetRef, TcpNet};

/// What calls ask for: their kind.
pub(super) mod op {
    pub(crate) const ECHO: u16 = 1;
    /// Answered once the test releases one.
    pub(crate) const WAIT: u16 = 2;
    pub(crate) const REFUSE: u16 = 3;
    pub(crate) const PANIC: u16 = 4;
    /// As many bytes as the body's four say.
    pub(crate) const SIZE: u16 = 5;
    /// Who is calling.
    pub(crate) const WHO: u16 = 6;
    pub(crate) const PANIC_AT_ONCE: u16 = 7;
}

#[derive(Default)]
pub(super) struct Script {
    log: Mutex<Vec<String>>,
    release: Notify,
}

impl Script {
    pub(super) fn note(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    pub(super) fn log(&self) -> String {
        self.log.lock().unwrap().join(" ")
    }

    pub(super) fn release(&self) {
        self.release.notify_one();
    }
}

struct NoteDrop(Arc<Script>);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

pub(super) struct Scripted(pub(super) Arc<Script>);

impl PeerService for Scripted {
    fn call(
        &self,
        from: &PeerIdentity,
        kind: u16,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, PeerRefusal>> {
        let script = Arc::clone(&self.0);
        let from = *from;
        assert_ne!(kind, op::PANIC_AT_ONCE, "as asked");
        async move {
            match kind {
                op::ECHO => Ok(vec![body]),
                op::WAIT => {
                    script.note("waits");
                    let unanswered = NoteDrop(Arc::clone(&script));
                    script.release.notified().await;
                    std::mem::forget(unanswered);
                    Ok(vec![body])
                }
                op::PANIC => panic!("as asked"),
                op::SIZE => {
                    let size = u32::from_be_bytes(body[..].try_into().unwrap());
                    Ok(vec![Bytes::from(vec![7; size as usize])])
                }
                op::WHO => Ok(vec![from.to_string().into()]),
                _ => Err(PeerRefusal::new(kind, "as asked")),
            }
        }
        .boxed()
    }

    fn told(&self, _from: &PeerIdentity, kind: u16, body: Bytes) {
        assert_ne!(kind, op::PANIC_AT_ONCE, "as asked");
        self.0.note(format!("{kind}:{}", String::from_utf8_lossy(&body)));
    }
}

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn id(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

/// Settings of a node of cluster 9 that knows the secret.
pub(super) fn settings(node: u8) -> PeerSettings {
    let identity = PeerIdentity { node: id(node), cluster_id: Some(id(9)) };
    let mut settings = PeerSettings::new(identity);
    settings.secret = Secret::new("open sesame");
    settings.chance = Chance::seeded(u64::from(node));
    settings
}

/// One server and one pool.
pub(super) struct World {
    pub(super) script: Arc<Script>,
    pub(super) server: PeerServer,
    pub(super) peers: Peers,
    pub(super) address: String,
}

impl World {
    pub(super) fn over(net: NetRef, server: PeerSettings, caller: PeerSettings) -> Self {
        let script = Arc::<Script>::default();
        let service = Arc::new(Scripted(Arc::clone(&script)));
        let address = ([127, 0, 0, 1], 0).into();
        let server = PeerServer::start(&net, address, server, service).unwrap();
        let peers = Peers::start(&net, caller);
        let address = server.address().to_string();
        Self { script, server, peers, address }
    }

    pub(super) fn simulated(server: PeerSettings, caller: PeerSettings) -> Self {
        Self::over(Arc::new(MemoryNet::new()), server, caller)
    }

    pub(super) fn real(server: PeerSettings, caller: PeerSettings) -> Self {
        Self::over(Arc::new(TcpNet), server, caller)
    }

    pub(super) async fn call(
        &self,
        kind: u16,
        body: impl Into<PeerBody>,
    ) -> Result<Bytes, PeerError> {
        self.peers.call(&self.address, Lane::Control, kind, body, SECOND).await
    }

    /// An echo that must succeed.
    pub(super) async fn echo(&self, text: &str) {
        let answer = self.call(op::ECHO, text.as_bytes().to_vec()).await;
        assert_eq!(answer.unwrap(), text.as_bytes());
    }

    pub(super) fn tell(&self, kind: u16, text: &str) -> bool {
        self.peers.tell(&self.address, Lane::Control, kind, text.as_bytes().to_vec())
    }
}

/// Runs a test in virtual time on one thread.
pub(super) fn simulate<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

/// Runs a test on sockets and in real time, cut off if it hangs.
pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(20 * SECOND, test).await.expect("it ends") })
}

/// Lets everything that can run do so.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
