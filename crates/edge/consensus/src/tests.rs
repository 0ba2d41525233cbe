//! The whole node, over disks and networks in memory.

mod cluster;
mod conformance;
mod crash;
mod single;

use bytes::Bytes;
use jocko_disk::DiskRef;
use jocko_net::ports::{SpawnRef, TaskSpawn};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{NodeId, Peer, Raft, RaftConfig, RaftStatus, RestoreError, StateMachine};

pub(crate) const DIR: &str = "data/__cluster_metadata-0";

/// A state machine that remembers every payload with its index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembers {
    pub(crate) seen: Arc<Mutex<Vec<(u64, Bytes)>>>,
    pub(crate) published: Arc<Mutex<Option<u64>>>,
    /// How many payloads it had seen when it first published.
    pub(crate) seen_at_first: Arc<Mutex<Option<usize>>>,
}

impl Remembers {
    pub(crate) fn payloads(&self) -> Vec<Bytes> {
        self.seen.lock().unwrap().iter().map(|(_, payload)| payload.clone()).collect()
    }
}

impl StateMachine for Remembers {
    fn apply(&mut self, index: u64, payload: &[u8]) {
        assert_ne!(payload, b"panic", "as asked");
        let mut seen = self.seen.lock().unwrap();
        assert!(seen.last().is_none_or(|(last, _)| *last < index), "indexes rise");
        seen.push((index, Bytes::copy_from_slice(payload)));
    }

    fn publish(&mut self, index: u64) {
        let seen = self.seen.lock().unwrap().len();
        self.seen_at_first.lock().unwrap().get_or_insert(seen);
        *self.published.lock().unwrap() = Some(index);
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, payload) in self.seen.lock().unwrap().iter() {
            out.extend_from_slice(&index.to_be_bytes());
            out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
            out.extend_from_slice(payload);
        }
        out
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let mut reader = jocko_codec::Reader::new(state);
        let mut seen = self.seen.lock().unwrap();
        seen.clear();
        while reader.remaining() > 0 {
            let index = reader.i64("index")?.cast_unsigned();
            let len = usize::try_from(reader.u32("len")?)?;
            seen.push((index, Bytes::copy_from_slice(reader.take(len, "payload")?)));
        }
        Ok(())
    }
}

pub(crate) fn node(number: u64) -> NodeId {
    NodeId::from(number)
}

pub(crate) fn config(number: u64) -> RaftConfig {
    RaftConfig::new(node(number), Peer::at(format!("node-{number}:9093")), DIR)
}

pub(crate) fn tasks() -> SpawnRef {
    Arc::new(TaskSpawn)
}

pub(crate) fn payload(number: u64) -> Bytes {
    Bytes::from(format!("payload {number}"))
}

/// The real disk under a fresh temporary folder, kept while the guard lives.
pub(crate) fn real_dir() -> (tempfile::TempDir, DiskRef) {
    (tempfile::tempdir().unwrap(), jocko_disk::RealDisk::shared())
}

/// Waits until the status fulfils a condition, for a minute of (mostly virtual) time at most.
pub(crate) async fn until(raft: &Raft, condition: impl Fn(&RaftStatus) -> bool) -> RaftStatus {
    let mut watch = raft.watch();
    let waited = tokio::time::timeout(Duration::from_secs(60), watch.wait_for(condition)).await;
    waited.ok().flatten().unwrap_or_else(|| panic!("waited in vain: {:?}", raft.status()))
}

pub(crate) async fn serving(raft: &Raft) -> RaftStatus {
    until(raft, |status| status.is_serving).await
}
