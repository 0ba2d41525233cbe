//! The Network port in memory: nodes of one process, with delays, losses and cuts that follow from
//! a seed. For tests and simulation.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::id::{NodeId, Peer};
use crate::network::{CallError, Network, NetworkRef};
use crate::raft::Raft;

/// A network in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryNetwork {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    nodes: BTreeMap<NodeId, Raft>,
    cut: BTreeSet<(NodeId, NodeId)>,
    delay: Range<Duration>,
    /// Of a hundred messages.
    lost_percent: u64,
    dice: u64,
    /// Told of every message, in order.
    listener: Option<Listener>,
}

type Listener = Box<dyn FnMut(Passing<'_>) + Send>;

/// A message on its way.
#[derive(Debug, Clone, Copy)]
pub struct Passing<'a> {
    /// Who sent it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What it says.
    pub bytes: &'a [u8],
    /// Whether it arrives.
    pub arrives: bool,
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.lock();
        f.debug_struct("MemoryNetwork")
            .field("nodes", &shared.nodes.len())
            .field("cut", &shared.cut)
            .finish_non_exhaustive()
    }
}

impl MemoryNetwork {
    /// An empty network whose chance follows from `seed`. Messages arrive at once and are not lost
    /// until told otherwise.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let shared = Shared {
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            delay: Duration::ZERO..Duration::ZERO,
            lost_percent: 0,
            dice: seed,
            listener: None,
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The network as `node` uses it.
    #[must_use]
    pub fn of(&self, node: NodeId) -> NetworkRef {
        Arc::new(Access { network: self.clone(), from: node })
    }

    /// Makes a started node reachable.
    pub fn join(&self, node: NodeId, raft: Raft) {
        self.lock().nodes.insert(node, raft);
    }

    /// Makes a node unreachable for good; returns it.
    pub fn leave(&self, node: NodeId) -> Option<Raft> {
        self.lock().nodes.remove(&node)
    }

    /// Delays every message by a time drawn from `delay`.
    pub fn set_delay(&self, delay: Range<Duration>) {
        self.lock().delay = delay;
    }

    /// Loses so many of a hundred messages.
    pub fn set_lost_percent(&self, percent: u64) {
        self.lock().lost_percent = percent;
    }

    /// Cuts the connection between two nodes, both ways.
    pub fn cut(&self, one: NodeId, other: NodeId) {
        self.lock().cut.extend([(one, other), (other, one)]);
    }

    /// Cuts `node` off from all others.
    pub fn isolate(&self, node: NodeId) {
        let others: Vec<_> = self.lock().nodes.keys().copied().filter(|id| *id != node).collect();
        for other in others {
            self.cut(node, other);
        }
    }

    /// Undoes every cut.
    pub fn heal(&self) {
        self.lock().cut.clear();
    }

    /// Calls `listener` for every message, in the order they arrive or are lost.
    pub fn listen(&self, listener: impl FnMut(Passing<'_>) + Send + 'static) {
        self.lock().listener = Some(Box::new(listener));
    }

    async fn pass(&self, from: NodeId, to: NodeId, bytes: &[u8]) -> Result<Raft, CallError> {
        let delay = self.lock().draw_delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut shared = self.lock();
        let is_lost = shared.roll() % 100 < shared.lost_percent;
        // Answers pass to nodes, too; a node that is not there cannot hear them.
        let arrives =
            !is_lost && !shared.cut.contains(&(from, to)) && shared.nodes.contains_key(&to);
        if let Some(listener) = shared.listener.as_mut() {
            listener(Passing { from, to, bytes, arrives });
        }
        let node = shared.nodes.get(&to).filter(|_| arrives).cloned();
        node.ok_or_else(|| CallError::new(format!("{to} is out of reach")))
    }
}

impl Shared {
    /// The next number of the seed's stream (SplitMix64).
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.dice ^ (self.dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn draw_delay(&mut self) -> Duration {
        let span = self.delay.end.saturating_sub(self.delay.start);
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        if span == 0 {
            return self.delay.start;
        }
        self.delay.start + Duration::from_nanos(self.roll() % span)
    }
}

/// One node's way into the network.
#[derive(Debug)]
struct Access {
    network: MemoryNetwork,
    from: NodeId,
}

impl Network for Access {
    fn call(
        &self,
        target: NodeId,
        _peer: &Peer,
        request: Bytes,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let (network, from) = (self.network.clone(), self.from);
        Box::pin(async move {
            let raft = network.pass(from, target, &request).await?;
            let served = raft.serve(request).await;
            let answer = served.map_err(|error| CallError::new(error.to_string()))?;
            network.pass(target, from, &answer).await?;
            Ok(answer)
        })
    }
}
