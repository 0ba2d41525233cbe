//! openraft's own storage suite over our log, raft state and snapshots.

use super::{DIR, Remembers, real_dir};
use crate::log::LogStore;
use crate::machine::Machine;
use crate::metrics::Counters;
use crate::runtime::channel;
use crate::snapshot::SnapshotStore;
use crate::types::{Entry, LogId, Types, Vote};
use jocko_disk::{DiskRef, MemDisk};
use jocko_net::ports::InlineSpawn;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, StorageError};
use std::io;
use std::path::Path;
use std::sync::Arc;

fn stores(disk: DiskRef, dir: &Path) -> (BeginsAnywhere, Machine) {
    let spawn: jocko_net::ports::SpawnRef = Arc::new(InlineSpawn);
    let log = LogStore::open(&disk, dir, spawn.clone(), Arc::new(Counters::default())).unwrap();
    let snapshots = SnapshotStore::open(disk, dir.to_owned()).unwrap();
    let state = Box::new(Remembers::default());
    let machine = Machine::new(
        state,
        Arc::new(snapshots),
        spawn,
        channel(None).0,
        Arc::new(crate::machine::Hold::until_nothing()),
    );
    (BeginsAnywhere(log), machine)
}

/// The suite begins some logs at an index other than 0, which openraft never does and our log
/// refuses. Here an empty log may begin anywhere.
struct BeginsAnywhere(LogStore);

impl RaftLogStorage<Types> for BeginsAnywhere {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.0.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.0.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.0.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.0.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        if let Some(first) = entries.first() {
            self.0.begin_if_empty(first.log_id.index);
        }
        self.0.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.0.truncate_after(last_log_id).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.0.purge(log_id).await
    }
}

struct InMemory;

impl StoreBuilder<Types, BeginsAnywhere, Machine> for InMemory {
    async fn build(&self) -> Result<((), BeginsAnywhere, Machine), StorageError<Types>> {
        let (log, machine) = stores(MemDisk::with_dir("data").shared(), Path::new(DIR));
        Ok(((), log, machine))
    }
}

struct OnDisk;

impl StoreBuilder<Types, BeginsAnywhere, Machine, tempfile::TempDir> for OnDisk {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, BeginsAnywhere, Machine), StorageError<Types>> {
        let (guard, disk) = real_dir();
        let (log, machine) = stores(disk, &guard.path().join(DIR));
        Ok((guard, log, machine))
    }
}

/// In virtual time: the suite waits whole seconds for what must not happen.
fn conforms<B, G>(builder: B)
where
    B: StoreBuilder<Types, BeginsAnywhere, Machine, G>,
    G: Send + Sync,
{
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(Suite::<Types, BeginsAnywhere, Machine, B, G>::test_all(builder)).unwrap();
}

#[test]
fn the_store_conforms_in_memory() {
    conforms(InMemory);
}

#[test]
fn the_store_conforms_on_real_files() {
    conforms(OnDisk);
}
