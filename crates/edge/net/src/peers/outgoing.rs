//! The calling side: one connection per peer and lane, made when it is needed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use jocko_types::Uuid;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::PeerError;
use super::link::{Abandon, Driver, Link, Submitted};
use super::settings::{Lane, PeerIdentity, PeerSettings};
use crate::ports::NetRef;

/// A link may end for idleness just as it is wanted; the next is fresh. More than one such in a
/// row means that links cannot live.
const LINKS_TRIED_MAX: usize = 3;

fn runtime_gone() -> PeerError {
    PeerError::NotConnected("the runtime of the connections has ended".to_owned())
}

/// A frame's body: pieces that are sent one behind the other, without being copied together.
#[derive(Debug, Clone, Default)]
pub struct PeerBody(pub(super) Vec<Bytes>);

impl PeerBody {
    /// Bytes in all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<Bytes>> for PeerBody {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self(pieces)
    }
}

impl From<Bytes> for PeerBody {
    fn from(bytes: Bytes) -> Self {
        Self(vec![bytes])
    }
}

impl From<Vec<u8>> for PeerBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self(vec![bytes.into()])
    }
}

impl From<&'static [u8]> for PeerBody {
    fn from(bytes: &'static [u8]) -> Self {
        Self(vec![Bytes::from_static(bytes)])
    }
}

/// Who is called: whoever answers at an address, or a certain node there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerTarget<'a> {
    /// `host:port`, resolved for each connection.
    pub address: &'a str,
    /// Whose data directory it must be; another's is not spoken to.
    pub node: Option<Uuid>,
}

impl<'a> PeerTarget<'a> {
    /// A certain node. Whoever else has taken its address, be it the same machine with a new
    /// disk, gets nothing that was meant for it.
    #[must_use]
    pub fn node(node: Uuid, address: &'a str) -> Self {
        Self { address, node: Some(node) }
    }
}

impl<'a> From<&'a str> for PeerTarget<'a> {
    fn from(address: &'a str) -> Self {
        Self { address, node: None }
    }
}

impl<'a> From<&'a String> for PeerTarget<'a> {
    fn from(address: &'a String) -> Self {
        Self { address, node: None }
    }
}

/// Connections to peers. Clones share them; the last one to go closes them.
#[derive(Clone)]
pub struct Peers {
    pool: Arc<Pool>,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) net: NetRef,
    pub(super) settings: PeerSettings,
    runtime: Handle,
    links: Mutex<Links>,
}

#[derive(Debug, Default)]
struct Links {
    by_peer: BTreeMap<(String, Lane), Arc<Link>>,
    is_closed: bool,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("links", &self.pool.lock().by_peer.len()).finish()
    }
}

impl Peers {
    /// A pool without connections. They live as tasks of the runtime this is called in; calls may
    /// come from any.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(net: &NetRef, settings: PeerSettings) -> Self {
        let runtime = Handle::current();
        let (net, links) = (Arc::clone(net), Mutex::default());
        Self { pool: Arc::new(Pool { net, settings, runtime, links }) }
    }

    /// Calls a peer and waits for its answer, `timeout` at most. Many calls may be under way on one lane; they reach the peer in
    /// some order and answers come as they are ready. Dropping the future gives the call up, here
    /// and over there.
    ///
    /// # Errors
    /// As [`PeerError`] says; [`PeerError::is_unsent`] tells whether the peer may have acted.
    pub async fn call(
        &self,
        target: impl Into<PeerTarget<'_>>,
        lane: Lane,
        kind: u16,
        body: impl Into<PeerBody>,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let deadline = Instant::now() + timeout;
        let target = target.into();
        let mut body = self.checked(body.into())?;
        for _ in 0..LINKS_TRIED_MAX {
            let link = self.link(target.address, lane)?;
            let turn = timeout_at(deadline, link.turns.acquire()).await;
            let Ok(Ok(_turn)) = turn else { return Err(link.unsent()) };
            let call = match link.submit_call(target.node, kind, body) {
                Submitted::Call(call) => call,
                // The connection ended for idleness as this call came; the next is made anew.
                Submitted::Ended(back) => {
                    body = back;
                    continue;
                }
            };
            let waiting = Abandon::new(&link, call.id);
            return match timeout_at(deadline, call.answer).await {
                Ok(Ok(answer)) => {
                    waiting.disarm();
                    answer
                }
                Ok(Err(_gone)) => Err(PeerError::Broken("the connection's task ended".to_owned())),
                Err(_late) if link.is_sent(call.id) => Err(PeerError::TimedOut),
                Err(_late) => Err(link.unsent()),
            };
        }
        Err(runtime_gone())
    }

    /// Sends a one-way message, in order with the others of its lane to that peer. It is dropped
    /// when too many wait, or when the connection breaks or cannot be made; the return value says
    /// only whether it was taken on.
    pub fn tell<'a>(
        &self,
        target: impl Into<PeerTarget<'a>>,
        lane: Lane,
        kind: u16,
        body: impl Into<PeerBody>,
    ) -> bool {
        let target = target.into();
        let Ok(mut body) = self.checked(body.into()) else { return false };
        for _ in 0..LINKS_TRIED_MAX {
            let Ok(link) = self.link(target.address, lane) else { return false };
            match link.submit_tell(target.node, kind, body, &self.pool.settings) {
                Ok(taken) => return taken,
                Err(back) => body = back,
            }
        }
        false
    }

    /// Connects, if need be, and says who answers at `address`.
    ///
    /// # Errors
    /// As [`Peers::call`].
    pub async fn identity(
        &self,
        address: &str,
        lane: Lane,
        timeout: Duration,
    ) -> Result<PeerIdentity, PeerError> {
        let deadline = Instant::now() + timeout;
        for _ in 0..LINKS_TRIED_MAX {
            let link = self.link(address, lane)?;
            let Some(asked) = link.ask_identity() else { continue };
            return match timeout_at(deadline, asked).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => Err(link.unsent()),
            };
        }
        Err(runtime_gone())
    }

    /// Whether surely nobody listens at `address`: all that it means refuse connections. A machine
    /// that is gone or cut off does not refuse, it is silent.
    pub async fn is_refused(&self, address: &str, patience: Duration) -> bool {
        let Pool { net, settings, .. } = &*self.pool;
        let look = async {
            let addresses = net.resolve(address).await.unwrap_or_default();
            for one in &addresses {
                match net.connect(*one, &settings.socket).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Ok(_) | Err(_) => return false,
                }
            }
            !addresses.is_empty()
        };
        timeout(patience, look).await.unwrap_or(false)
    }

    /// Closes all connections; calls under way end as broken, and there will be no others.
    pub fn close(&self) {
        self.pool.close();
    }

    fn checked(&self, body: PeerBody) -> Result<PeerBody, PeerError> {
        let (bytes, bytes_max) = (body.len(), self.pool.settings.frame_bytes_max);
        if bytes > bytes_max {
            return Err(PeerError::TooLarge { bytes, bytes_max });
        }
        Ok(body)
    }

    fn link(&self, address: &str, lane: Lane) -> Result<Arc<Link>, PeerError> {
        let mut links = self.pool.lock();
        if links.is_closed {
            return Err(PeerError::NotConnected("this broker is stopping".to_owned()));
        }
        let key = (address.to_owned(), lane);
        if let Some(link) = links.by_peer.get(&key) {
            return Ok(Arc::clone(link));
        }
        let link = Arc::new(Link::new(address, lane, &self.pool.settings));
        links.by_peer.insert(key, Arc::clone(&link));
        drop(links);
        let driver = Driver::new(Arc::clone(&link), &self.pool);
        self.pool.runtime.spawn(driver.run());
        Ok(link)
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let links = {
            let mut links = self.lock();
            links.is_closed = true;
            std::mem::take(&mut links.by_peer)
        };
        for link in links.values() {
            link.end("this broker is stopping");
        }
    }

    /// Takes a link that has ended off the list.
    pub(super) fn remove(pool: &Weak<Self>, link: &Arc<Link>) {
        let Some(pool) = pool.upgrade() else { return };
        let mut links = pool.lock();
        let key = (link.address.clone(), link.lane);
        if links.by_peer.get(&key).is_some_and(|listed| Arc::ptr_eq(listed, link)) {
            links.by_peer.remove(&key);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}
