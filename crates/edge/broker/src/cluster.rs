//! This broker among others: finding them, forming or joining a cluster with them, telling the
//! controller that it is there, and, while it leads, keeping watch over all of them. What is
//! decided lives in `core/forming` and `core/metadata`; the story is in docs/internals/membership.md.

pub(crate) mod addresses;
mod book;
mod contact;
mod entering;
mod former;
mod forwarding;
mod heartbeats;
mod keeper;
pub(crate) mod kinds;
mod network;
mod opening;
mod registering;
mod seeking;
mod service;
mod succession;
mod unreached;
mod waiting;
mod who;

pub(crate) use book::AddressBook;
pub(crate) use contact::{Contact, GivenUp};
pub(crate) use entering::{ask_members, enter, hold_election, refuse_foreigners_soon, still_waits};
pub(crate) use forwarding::Forwarding;
pub(crate) use heartbeats::Beating;
pub(crate) use keeper::{heir, keep};
pub(crate) use network::RaftOverPeers;
pub(crate) use opening::{
    Doors, FORMING_FILE, begin_forming, go_on_forming, listen, peer_settings, refuse_copy,
    see_others, settled_in, told, warn_if_unreachable,
};
pub(crate) use service::ClusterService;
pub(crate) use unreached::look_for_voters;
pub(crate) use waiting::Waiting;

use crate::controller::ControllerHandle;
use crate::disk_health::DiskHealth;
use crate::published::Published;
use arc_swap::ArcSwap;
use heartbeats::Sessions;
use jocko_consensus::Raft;
use jocko_discovery::{Discovery, Member, MemoryNetwork};
use jocko_forming::Envelope;
use jocko_net::peers::{OwnIdentity, PeerService, Peers};
use jocko_net::ports::ClockRef;
use jocko_types::{BrokerId, Uuid};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::mpsc;

/// Forming messages that may wait; more are dropped, and sent again.
const FORMING_QUEUE_MAX: usize = 256;

/// What the parts of this folder share.
pub(crate) struct Cluster {
    /// The id of the data directory.
    pub(crate) node: Uuid,
    pub(crate) identity: OwnIdentity,
    pub(crate) peers: Peers,
    pub(crate) book: AddressBook,
    pub(crate) raft: Raft,
    pub(crate) published: Arc<ArcSwap<Published>>,
    pub(crate) clock: ClockRef,
    /// What is wrong with this broker's disk.
    pub(crate) health: Arc<DiskHealth>,
    /// Whether the controller answers this broker.
    pub(crate) contact: Arc<Contact>,
    me: Mutex<Member>,
    /// Where others are found in a simulation.
    gathering: Option<MemoryNetwork>,
    /// What for, until this broker is part of its cluster.
    pub(crate) waiting: Waiting,
    /// Set when discovery has begun.
    discovery: OnceLock<Arc<dyn Discovery>>,
    /// Set when commands can be decided.
    controller: OnceLock<ControllerHandle>,
    /// Answers what replication says to replication.
    replication: OnceLock<Arc<dyn PeerService>>,
    sessions: Sessions,
    forming: mpsc::Sender<Envelope>,
}

/// What a [`Cluster`] is made of.
pub(crate) struct Parts {
    pub(crate) me: Member,
    pub(crate) identity: OwnIdentity,
    pub(crate) peers: Peers,
    pub(crate) book: AddressBook,
    pub(crate) raft: Raft,
    pub(crate) published: Arc<ArcSwap<Published>>,
    pub(crate) clock: ClockRef,
    pub(crate) gathering: Option<MemoryNetwork>,
    pub(crate) waiting: Waiting,
    pub(crate) health: Arc<DiskHealth>,
}

impl Cluster {
    /// The shared parts, and where forming messages arrive.
    pub(crate) fn new(parts: Parts) -> (Arc<Self>, mpsc::Receiver<Envelope>) {
        let (forming, inbox) = mpsc::channel(FORMING_QUEUE_MAX);
        let Parts { me, identity, peers, book, raft, published, clock, .. } = parts;
        let Parts { gathering, waiting, health, .. } = parts;
        let this = Self {
            node: me.node,
            identity,
            peers,
            book,
            raft,
            published,
            health,
            contact: Arc::new(Contact::new(Arc::clone(&clock))),
            clock,
            me: Mutex::new(me),
            gathering,
            waiting,
            discovery: OnceLock::new(),
            controller: OnceLock::new(),
            replication: OnceLock::new(),
            sessions: Sessions::default(),
            forming,
        };
        (Arc::new(this), inbox)
    }

    /// This broker as others are told of it.
    pub(crate) fn me(&self) -> Member {
        self.me.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what others are told.
    pub(crate) fn announce(&self, change: impl FnOnce(&mut Member)) {
        let me = {
            let mut me = self.me.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut me);
            me.clone()
        };
        if let Some(discovery) = self.discovery.get()
            && let Err(error) = discovery.announce(me)
        {
            tracing::warn!(%error, "what others know of this broker stays as it was");
        }
    }

    /// This broker belongs to a cluster from now on.
    pub(crate) fn belongs_to(&self, cluster: Uuid) {
        self.identity.join(cluster);
        self.announce(|me| me.cluster_id = Some(cluster));
    }

    /// This broker has a number from now on.
    pub(crate) fn is_broker(&self, id: BrokerId) {
        self.announce(|me| me.broker_id = Some(id));
    }

    /// Lets commands be decided for others.
    pub(crate) fn serve_commands(&self, controller: ControllerHandle) {
        // Set once, at the start.
        let _ = self.controller.set(controller);
    }

    /// Lets replication answer its kinds, from [`kinds::REPLICATION`] on.
    pub(crate) fn serve_replication(&self, service: Arc<dyn PeerService>) {
        // Set once, at the start.
        let _ = self.replication.set(service);
    }

    pub(crate) fn discovery(&self) -> Option<&Arc<dyn Discovery>> {
        self.discovery.get()
    }
}
