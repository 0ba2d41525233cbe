//! Every crash point: whatever the power left, the store opens again, to a state that Raft may be
//! in after what was promised.

use super::{DIR, Remembers, config, payload, serving, tasks};
use crate::log::LogStore;
use crate::metrics::Counters;
use crate::snapshot::{SnapshotStore, Stored};
use crate::types::{
    Entry, EntryPayload, Payload, SnapshotMeta, StoredMembership, Types, Vote, log_id, term_of,
};
use crate::{NoNetwork, Raft, seed_randomness};
use bytes::Bytes;
use futures_util::FutureExt;
use jocko_disk::{Crash, CrashPoints, DiskRef, MemDisk, Survivors};
use jocko_net::ports::{InlineSpawn, Job, Refused, Spawn};
use openraft::RaftLogReader;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A log: its first index, and the terms of its entries.
type Log = (u64, Vec<u64>);

/// What the store may hold now.
#[derive(Debug, Default)]
struct Legal {
    votes: Vec<Option<Vote>>,
    logs: Vec<Log>,
}

/// A store and what it holds if nothing goes wrong.
struct Driver<'a> {
    store: LogStore,
    legal: &'a mut Legal,
    log: Log,
}

fn open(disk: &DiskRef) -> LogStore {
    let counters = Arc::new(Counters::default());
    LogStore::open(disk, Path::new(DIR), Arc::new(InlineSpawn), counters).unwrap()
}

fn entry(term: u64, index: u64) -> Entry {
    Entry::new(log_id(term, index), EntryPayload::Normal(Payload(payload(index))))
}

/// The worker is inline: nothing has to be waited for.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("done at once")
}

fn append(store: &mut LogStore, entries: Vec<Entry>) -> Result<(), io::Error> {
    let (sender, receiver) = Types::oneshot();
    now(store.append(entries, IOFlushed::signal(sender)))?;
    now(receiver).expect("the flush reports")
}

impl Driver<'_> {
    fn next(&self) -> u64 {
        self.log.0 + self.log.1.len() as u64
    }

    fn vote(&mut self, term: u64) -> Result<(), io::Error> {
        let vote = Vote::new(term, super::node(1));
        self.legal.votes.push(Some(vote));
        now(self.store.save_vote(&vote))?;
        self.legal.votes = vec![Some(vote)];
        Ok(())
    }

    fn append(&mut self, term: u64, count: u64) -> Result<(), io::Error> {
        let first = self.next();
        let entries = (first..first + count).map(|index| entry(term, index)).collect();
        for _ in 0..count {
            self.log.1.push(term);
            self.legal.logs.push(self.log.clone());
        }
        append(&mut self.store, entries)?;
        self.legal.logs = vec![self.log.clone()];
        Ok(())
    }

    /// Keeps the entries before `next`.
    fn truncate(&mut self, next: u64) -> Result<(), io::Error> {
        let last = next - 1;
        let kept = usize::try_from(next - self.log.0).unwrap();
        let last_term = self.log.1[kept - 1];
        while self.log.1.len() > kept {
            // Entries that lost may go one by one.
            self.log.1.pop();
            self.legal.logs.push(self.log.clone());
        }
        now(self.store.truncate_after(Some(log_id(last_term, last))))?;
        self.legal.logs = vec![self.log.clone()];
        Ok(())
    }

    fn purge(&mut self, term: u64, last: u64) -> Result<(), io::Error> {
        let gone = usize::try_from(last + 1 - self.log.0).unwrap().min(self.log.1.len());
        self.log = (last + 1, self.log.1.split_off(gone));
        self.legal.logs.push(self.log.clone());
        now(self.store.purge(log_id(term, last)))?;
        self.legal.logs = vec![self.log.clone()];
        Ok(())
    }
}

fn work(disk: &DiskRef, legal: &mut Legal) -> Result<(), io::Error> {
    *legal = Legal { votes: vec![None], logs: vec![(0, Vec::new())] };
    let counters = Arc::new(Counters::default());
    let opened = LogStore::open(disk, Path::new(DIR), Arc::new(InlineSpawn), counters);
    let store = opened.map_err(|error| io::Error::other(error.to_string()))?;
    let mut driver = Driver { store, legal, log: (0, Vec::new()) };
    driver.append(0, 1)?;
    driver.vote(1)?;
    driver.append(1, 3)?;
    driver.append(1, 2)?;
    driver.vote(2)?;
    driver.truncate(3)?;
    driver.append(2, 4)?;
    now(driver.store.save_committed(Some(log_id(2, 5))))?;
    driver.purge(1, 2)?;
    driver.append(2, 1)?;
    // A snapshot of another node replaces all there is.
    driver.vote(3)?;
    driver.purge(3, 20)?;
    driver.append(3, 2)?;
    now(driver.store.close())
}

#[test]
fn the_log_store_survives_every_crash_point() {
    let covered = CrashPoints::in_dir("data").prefixes().run(work, |after, legal: &Legal| {
        let disk = after.disk();
        let mut store = open(&disk);
        let state = now(store.get_log_state()).unwrap();
        let vote = now(store.read_vote()).unwrap();
        let entries = now(store.try_get_log_entries(..)).unwrap();
        let first = state.last_purged_log_id.map_or(0, |id| id.index + 1);
        let terms: Vec<u64> = entries.iter().map(|entry| term_of(&entry.log_id)).collect();
        let indexes: Vec<u64> = entries.iter().map(|entry| entry.log_id.index).collect();
        let next = first + terms.len() as u64;
        assert_eq!(indexes, (first..next).collect::<Vec<_>>());
        if !legal.logs.is_empty() {
            assert!(legal.votes.contains(&vote), "{after}: {vote:?} of {:?}", legal.votes);
            let log = (first, terms);
            assert!(legal.logs.contains(&log), "{after}: {log:?} of {:?}", legal.logs);
        }
        assert_eq!(
            state.last_log_id,
            entries.last().map(|e| e.log_id).or(state.last_purged_log_id)
        );
        assert!(now(store.read_committed()).unwrap() <= state.last_log_id);
        // It goes on from there.
        append(&mut store, vec![entry(9, next)]).unwrap();
        drop(store);
        let mut again = open(&disk);
        assert_eq!(now(again.get_log_state()).unwrap().last_log_id, Some(log_id(9, next)));
    });
    assert!(covered.points > 60, "{covered:?}");
}

#[test]
fn snapshots_survive_every_crash_point() {
    let stored = |index: u64| {
        let last_membership = StoredMembership::default();
        let meta = SnapshotMeta { last_log_id: Some(log_id(1, index)), last_membership };
        Stored { meta, state: Bytes::from(vec![1; usize::try_from(index).unwrap() * 100]) }
    };
    let covered = CrashPoints::in_dir(DIR).run(
        |disk, promised: &mut u64| {
            let store = SnapshotStore::open(disk.clone(), DIR.into())?;
            for index in [10, 20, 30, 40] {
                store.save(&stored(index))?;
                *promised = index;
            }
            Ok::<(), jocko_disk::DiskFault>(())
        },
        |after, promised| {
            let store = SnapshotStore::open(after.disk(), DIR.into()).unwrap();
            let newest = store.newest().unwrap();
            let index = newest.as_ref().map_or(0, |found| found.meta.last_log_id.unwrap().index);
            assert!(index == *promised || index == promised + 10, "{after}: {index}");
            assert!(newest.is_none_or(|found| found == stored(index)), "{after}: damaged");
            store.save(&stored(50)).unwrap();
        },
    );
    assert!(covered.points > 15, "{covered:?}");
}

/// A whole node: payloads that were answered are there after any crash, in order, each once.
#[test]
fn a_lone_node_survives_every_crash_point() {
    let run = |work: &mut dyn FnMut(&tokio::runtime::Runtime)| {
        seed_randomness(Some(1));
        let mut builder = tokio::runtime::Builder::new_current_thread();
        work(&builder.enable_all().start_paused(true).build().unwrap());
    };
    let start = async |disk: DiskRef, state: &Remembers| {
        let mut config = config(1);
        config.snapshot_every_entries = 4;
        let state = Box::new(state.clone());
        let raft = Raft::start(config, disk, tasks(), state, Arc::new(NoNetwork)).await.ok()?;
        if raft.is_blank() {
            raft.bootstrap_single().await.ok()?;
        }
        Some(raft)
    };
    let covered = CrashPoints::in_dir("data").arbitrary(2).run(
        |disk, answered: &mut u64| {
            let mut outcome = Err("the power went");
            run(&mut |runtime| {
                outcome = runtime.block_on(async {
                    let state = Remembers::default();
                    let raft = start(disk.clone(), &state).await.ok_or("start")?;
                    let ended = |status: &crate::RaftStatus| status.fatal.is_some();
                    let ready = super::until(&raft, |s| s.is_serving || ended(s)).await;
                    if ended(&ready) {
                        return Err("fatal");
                    }
                    for number in 0..14 {
                        raft.propose(payload(number)).await.map_err(|_| "propose")?;
                        *answered = number + 1;
                    }
                    raft.shutdown().await.map_err(|_| "shutdown")
                });
            });
            outcome
        },
        |after, answered| {
            run(&mut |runtime| {
                runtime.block_on(async {
                    let state = Remembers::default();
                    let raft = start(after.disk(), &state).await.expect("starts");
                    serving(&raft).await;
                    let found = state.payloads();
                    let count = found.len() as u64;
                    assert!(count == *answered || count == answered + 1, "{after}: {count}");
                    assert_eq!(found, (0..count).map(payload).collect::<Vec<_>>(), "{after}");
                    raft.propose(payload(99)).await.unwrap();
                });
            });
        },
    );
    assert!(covered.points > 30, "{covered:?}");
}

/// A worker that is slow: what is submitted while it rests is done by nobody.
#[derive(Debug, Default)]
struct Resting(AtomicBool);

impl Spawn for Resting {
    fn submit(&self, job: Job) -> Result<(), Refused> {
        if !self.0.load(Ordering::Acquire) {
            job();
        }
        Ok(())
    }
}

#[test]
fn what_was_flushed_is_there_though_nobody_waited_for_it() {
    let mem = MemDisk::with_dir("data");
    let worker = Arc::new(Resting::default());
    let counters = Arc::new(Counters::default());
    let mut store =
        LogStore::open(&mem.shared(), Path::new(DIR), Arc::clone(&worker) as _, counters).unwrap();
    // Raft goes on with what others hold, too, while this disk is behind.
    worker.0.store(true, Ordering::Release);
    let (sender, _) = Types::oneshot();
    now(store.append(vec![entry(0, 0), entry(1, 1)], IOFlushed::signal(sender))).unwrap();
    let last = |mem: &MemDisk| {
        let mut store = open(&mem.aftermath(Crash::Power(Survivors::Nothing)).shared());
        now(store.get_log_state()).unwrap().last_log_id
    };
    assert_eq!(last(&mem), None);
    worker.0.store(false, Ordering::Release);
    now(store.flush()).unwrap();
    assert_eq!(last(&mem), Some(log_id(1, 1)));
}
