//! What all members share: the broker's address, the ledgers, and whether the storm is on.

use crate::arguments::Arguments;
use crate::ledger::Ledger;
use crate::wire::{self, Trouble};
use anyhow::{Result, bail};
use jocko_client::{Client, Connection, NewTopic};
use std::cell::{Cell, RefCell, RefMut};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Partitions of each group's topic.
pub(crate) const PARTITIONS: i32 = 16;
/// How long a member may be silent.
pub(crate) const SESSION: Duration = Duration::from_secs(6);
/// How long others wait for a member in a rebalance.
pub(crate) const REBALANCE: Duration = Duration::from_secs(8);
/// How long one request may take before it is a fault of its own.
pub(crate) const REQUEST_MAX: Duration = Duration::from_secs(15);

pub(crate) struct World {
    address: SocketAddr,
    ledgers: Vec<RefCell<Ledger>>,
    faults: RefCell<Vec<String>>,
    is_calm: Cell<bool>,
    is_stopped: Cell<bool>,
    lives: Cell<u64>,
    random: RefCell<fastrand::Rng>,
    /// When the broker was last killed: what takes long after that is no wonder.
    lost_at: Cell<Option<Instant>>,
    /// How long joins took, classic ones: the rebalance as a member sees it.
    joins: RefCell<Vec<Duration>>,
}

impl World {
    pub(crate) fn new(address: SocketAddr, arguments: &Arguments) -> Self {
        Self {
            address,
            ledgers: (0..arguments.groups).map(|_| RefCell::default()).collect(),
            faults: RefCell::default(),
            is_calm: Cell::new(false),
            is_stopped: Cell::new(false),
            lives: Cell::new(0),
            random: RefCell::new(fastrand::Rng::with_seed(arguments.seed)),
            lost_at: Cell::new(None),
            joins: RefCell::default(),
        }
    }

    pub(crate) async fn prepare(&self) -> Result<()> {
        let mut client = Client::new(vec![self.address.to_string()], REQUEST_MAX);
        for group in 0..self.ledgers.len() {
            let name = topic(u32::try_from(group)?);
            let topic = NewTopic { name, partitions: Some(PARTITIONS), ..NewTopic::default() };
            client.create_topic(&topic).await?;
        }
        let mut connection =
            self.connect().await.map_err(|trouble| anyhow::anyhow!("{trouble}"))?;
        wire::find_coordinator(&mut connection, &group_id(0))
            .await
            .map_err(|trouble| anyhow::anyhow!("{trouble}"))
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Trouble> {
        Connection::open(&self.address.to_string(), REQUEST_MAX).await.map_err(Trouble::from)
    }

    pub(crate) fn ledger(&self, group: u32) -> RefMut<'_, Ledger> {
        self.ledgers[usize::try_from(group).unwrap_or(0)].borrow_mut()
    }

    pub(crate) fn new_life(&self) -> u64 {
        self.lives.set(self.lives.get() + 1);
        self.lives.get()
    }

    /// A random number below `bound`.
    pub(crate) fn random(&self, bound: u64) -> u64 {
        self.random.borrow_mut().u64(..bound)
    }

    /// From here on members stay.
    pub(crate) fn calm(&self) {
        self.is_calm.set(true);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.is_calm.get()
    }

    pub(crate) fn stop(&self) {
        self.is_stopped.set(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.get()
    }

    pub(crate) fn lost_broker(&self) {
        self.lost_at.set(Some(Instant::now()));
    }

    pub(crate) fn fault(&self, fault: String) {
        self.faults.borrow_mut().push(fault);
    }

    /// A classic member was let in after so long.
    pub(crate) fn joined(&self, group: u32, took: Duration) {
        self.joins.borrow_mut().push(took);
        let was_disturbed = self.lost_at.get().is_some_and(|at| at.elapsed() < took + SESSION);
        if took > REBALANCE + SESSION && !was_disturbed {
            self.fault(format!("group {group}: a rebalance took {took:?}"));
        }
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let mut all = self.faults.borrow().clone();
        for (group, ledger) in self.ledgers.iter().enumerate() {
            all.extend(
                ledger.borrow().faults.iter().map(|fault| format!("group {group}: {fault}")),
            );
        }
        all
    }

    /// Waits until every partition of every group has one owner.
    pub(crate) async fn settle(&self, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let unsettled =
                self.ledgers.iter().position(|each| !each.borrow().is_settled(PARTITIONS));
            let Some(group) = unsettled else { return Ok(()) };
            if begun.elapsed() > deadline {
                let owners = self.ledgers[group].borrow().owners();
                bail!("group {group} has not settled in {deadline:?}: {owners}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads back what every group has committed.
    pub(crate) async fn check_commits(&self) -> Result<()> {
        let mut connection =
            self.connect().await.map_err(|trouble| anyhow::anyhow!("{trouble}"))?;
        let partitions: Vec<i32> = (0..PARTITIONS).collect();
        for group in 0..u32::try_from(self.ledgers.len())? {
            let offsets = wire::fetch_offsets(&mut connection, group, &partitions, None)
                .await
                .map_err(|trouble| anyhow::anyhow!("{trouble}"))?;
            let mut ledger = self.ledger(group);
            for (partition, offset) in offsets {
                let acknowledged = ledger.acknowledged(partition);
                ledger.fetched(partition, offset, acknowledged);
            }
        }
        Ok(())
    }

    /// What happened, in numbers.
    pub(crate) fn told(&self) -> String {
        let sum = |of: fn(&Ledger) -> u64| -> u64 {
            self.ledgers.iter().map(|ledger| of(&ledger.borrow())).sum()
        };
        let mut joins = self.joins.borrow().clone();
        joins.sort_unstable();
        let at = |percent: usize| {
            joins.get((joins.len() * percent / 100).min(joins.len().saturating_sub(1))).copied()
        };
        format!(
            "{} lives, {} assignments, {} commits acknowledged, classic joins p50 {:.0?} p99 {:.0?}",
            self.lives.get(),
            sum(|ledger| ledger.assignments),
            sum(|ledger| ledger.commits),
            at(50).unwrap_or_default(),
            at(99).unwrap_or_default(),
        )
    }
}

pub(crate) fn group_id(group: u32) -> String {
    format!("group-{group}")
}

pub(crate) fn topic(group: u32) -> String {
    format!("storm-{group}")
}
