//! What every handler may use. Small on purpose: each piece of state has one owner, and this is
//! where they are introduced to each other.

use crate::cleaner::Cleaner;
use crate::cluster::Cluster;
use crate::controller::ControllerHandle;
use crate::disk_guard::DiskGuard;
use crate::flusher::Flusher;
use crate::groups::Groups;
use crate::limits::LimitKeeper;
use crate::listen::connection_limits;
use crate::log_starts::LogStarts;
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::published::Published;
use crate::replication::Outbox;
use arc_swap::ArcSwap;
use jocko_config::LoadedSettings;
use jocko_consensus::Raft;
use jocko_fetch::Sessions;
use jocko_net::ports::{ClockRef, SpawnRef};
use jocko_net::{ConnectionLimits, Mailboxes, Reactor, Ticket};
use jocko_partition::{Effects, Partition};
use jocko_types::BrokerId;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The broker, as its handlers see it.
pub(crate) struct Context {
    pub(crate) broker: BrokerId,
    pub(crate) published: Arc<ArcSwap<Published>>,
    pub(crate) controller: ControllerHandle,
    pub(crate) settings: Arc<LoadedSettings>,
    pub(crate) raft: Raft,
    pub(crate) log_starts: LogStarts,
    /// What replication is to do.
    pub(crate) outbox: Arc<Outbox>,
    /// Workers, for what may block.
    pub(crate) spawn: SpawnRef,
    /// Other brokers, and the way to them.
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) clock: ClockRef,
    /// For what is deleted by its age.
    pub(crate) steady: ClockRef,
    pub(crate) flusher: Flusher,
    pub(crate) cleaner: Cleaner,
    pub(crate) limits: LimitKeeper,
    pub(crate) guard: Arc<DiskGuard>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) groups: Groups,
    pub(crate) metrics: Metrics,
    pub(crate) mailboxes: Mailboxes,
    /// Where clients reach this broker, as bound.
    pub(crate) addresses: OnceLock<Vec<SocketAddr>>,
    /// Where it answers in HTTP, as bound; known as [`Context::addresses`] are.
    pub(crate) http_addresses: OnceLock<Vec<SocketAddr>>,
    /// What sets how many connections are taken; known as [`Context::addresses`] are.
    pub(crate) connection_limits: OnceLock<ConnectionLimits>,
    /// One shard per reactor, so that no two threads wait for each other here.
    pub(crate) fetch_shards: Vec<Mutex<Sessions>>,
}

impl Context {
    /// Where this broker listens; empty until it does.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        self.addresses.get().map_or(&[], Vec::as_slice)
    }

    /// The number of the broker that leads the metadata's group, as far as it is known here. Whoever
    /// has no answer from it does not know.
    pub(crate) fn controller_id(&self) -> Option<BrokerId> {
        if self.cluster.contact.is_lost() {
            return None;
        }
        let (leader, _) = self.raft.status().leader?;
        let published = self.published.load();
        let mut brokers = published.image.brokers();
        let is_leader = |id| id == leader.directory_id();
        brokers.find(|broker| is_leader(broker.registration.directory)).map(|broker| broker.id())
    }

    /// Whom this broker must not call a leader: itself, while it does not know whether it still is
    /// one. Clients then ask elsewhere.
    pub(crate) fn disowned(&self) -> Option<BrokerId> {
        self.cluster.contact.is_lost().then_some(self.broker)
    }

    /// The data directory as this broker tells it: from the root, whatever it was told itself.
    pub(crate) fn log_dir(&self) -> PathBuf {
        let told = &self.settings.settings().node.data_dir;
        std::path::absolute(told).unwrap_or_else(|_| told.clone())
    }

    /// Lets the limits on connections be what is set for them now (KIP-402).
    pub(crate) fn limit_connections(&self) {
        if let Some(limits) = self.connection_limits.get() {
            let (all, per_ip) = connection_limits(&self.published.load().settings.limits);
            limits.set(all, per_ip);
        }
    }

    /// Does what follows from an operation on a partition, now that its lock is free.
    pub(crate) fn carry_out(&self, partition: &Arc<Partition>, effects: Effects) {
        if effects.flush_due {
            self.flusher.enqueue(partition);
        }
        if let Some(bytes) = effects.no_room_for {
            self.guard.ran_out(bytes);
        }
        self.follow_up(effects);
    }

    /// As [`Context::carry_out`], for effects of several partitions, none of which asks for a flush.
    pub(crate) fn follow_up(&self, mut effects: Effects) {
        self.outbox.take(&mut effects);
        self.deliver(&effects.released);
    }

    /// Wakes parked requests: at most one wake-up per reactor.
    pub(crate) fn deliver(&self, released: &[u64]) {
        if released.is_empty() {
            return;
        }
        let tickets: Vec<Ticket> = released.iter().map(|&bits| Ticket::from_bits(bits)).collect();
        self.mailboxes.deliver(&tickets);
    }

    /// Which shard holds a fetch session: its id says so; a new one goes to its reactor's.
    pub(crate) fn fetch_shard(&self, session_id: i32, reactor: &Reactor) -> usize {
        let shards = self.fetch_shards.len();
        match usize::try_from(session_id) {
            Ok(id) if id > 0 => id % shards,
            _ => reactor.handle().number() % shards,
        }
    }

    /// The sessions of a shard.
    pub(crate) fn fetch_sessions(&self, shard: usize) -> MutexGuard<'_, Sessions> {
        self.fetch_shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A random session id that belongs to `shard`.
    pub(crate) fn new_fetch_session_id(&self, shard: usize) -> i32 {
        let shards = i32::try_from(self.fetch_shards.len()).unwrap_or(1);
        let shard = i32::try_from(shard).unwrap_or(0);
        fastrand::i32(1..i32::MAX / shards) * shards + shard
    }
}
