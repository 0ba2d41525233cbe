//! A node alone.

use super::{DIR, Remembers, config, node, payload, real_dir, serving, tasks, until};
use crate::{NoNetwork, ProposeError, Raft, Role, StartError};
use bytes::Bytes;
use jocko_disk::{Crash, DiskRef, Inject, MemDisk, Operation, Survivors};
use jocko_net::ports::{
    Bell, Job, Manner, Refused, Routine, RoutineHandle, Spawn, SpawnRef, TaskSpawn, Workers,
};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

async fn start(disk: DiskRef, state: &Remembers) -> Raft {
    let state = Box::new(state.clone());
    Raft::start(config(1), disk, tasks(), state, Arc::new(NoNetwork)).await.unwrap()
}

async fn start_serving(disk: DiskRef, state: &Remembers) -> Raft {
    let raft = start(disk, state).await;
    if raft.is_blank() {
        raft.bootstrap_single().await.unwrap();
    }
    serving(&raft).await;
    raft
}

#[tokio::test(start_paused = true)]
async fn it_forms_a_group_serves_and_serves_again_after_a_restart() {
    let disk = MemDisk::with_dir("data");
    let state = Remembers::default();
    let raft = start(disk.shared(), &state).await;
    assert!(raft.is_blank());
    assert_eq!(raft.status().role, Role::Learner);
    let refused = raft.propose(payload(0)).await.unwrap_err();
    assert_eq!(refused, ProposeError::NotLeader { leader: None });
    raft.bootstrap_single().await.unwrap();
    serving(&raft).await;
    assert!(matches!(raft.bootstrap_single().await, Err(StartError::NotBlank)));
    let first = raft.propose(payload(1)).await.unwrap();
    let second = raft.propose(payload(2)).await.unwrap();
    assert!(second > first);
    assert!(raft.wait_applied(second).await);
    assert_eq!(*state.published.lock().unwrap(), Some(second));
    let term = raft.status().term;
    raft.shutdown().await.unwrap();
    assert_eq!(raft.status().fatal, None);
    assert!(raft.propose(payload(3)).await.unwrap_err().is_fatal());

    let state = Remembers::default();
    let raft = start_serving(disk.shared(), &state).await;
    assert_eq!(state.payloads(), [payload(1), payload(2)]);
    assert!(raft.status().term > term, "a restarted leader takes a new term");
    raft.propose(payload(3)).await.unwrap();
    raft.shutdown().await.unwrap();
}

/// More entries than Raft applies at a time.
#[tokio::test(start_paused = true)]
async fn a_start_publishes_nothing_that_was_true_once() {
    let disk = MemDisk::with_dir("data");
    let raft = start_serving(disk.shared(), &Remembers::default()).await;
    for number in 0..300 {
        raft.propose(payload(number)).await.unwrap();
    }
    raft.shutdown().await.unwrap();
    for crash in [Crash::Process, Crash::Power(Survivors::Nothing)] {
        let disk = disk.crash(crash);
        let state = Remembers::default();
        let raft = start_serving(disk.shared(), &state).await;
        assert_eq!(*state.seen_at_first.lock().unwrap(), Some(300));
        raft.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_of_another_directory_says_whose_it_is() {
    let disk = MemDisk::with_dir("data");
    let raft = start(disk.shared(), &Remembers::default()).await;
    assert!(raft.voters_found().is_empty());
    raft.bootstrap_single().await.unwrap();
    serving(&raft).await;
    raft.shutdown().await.unwrap();
    let start = async |number| {
        let state = Box::<Remembers>::default();
        let network = Arc::new(NoNetwork);
        Raft::start(config(number), disk.shared(), tasks(), state, network).await.unwrap()
    };
    for number in [2, 1] {
        let raft = start(number).await;
        assert!(!raft.is_blank());
        assert!(raft.voters_found().iter().eq([&node(1)]), "{:?}", raft.voters_found());
        raft.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_loses_nothing_that_was_answered() {
    let mut disk = MemDisk::with_dir("data");
    let mut expected = Vec::new();
    for round in 0..5 {
        let state = Remembers::default();
        let raft = start_serving(disk.shared(), &state).await;
        assert_eq!(state.payloads(), expected);
        for number in 0..4 {
            let payload = payload(round * 4 + number);
            raft.propose(payload.clone()).await.unwrap();
            expected.push(payload);
        }
        disk = disk.crash(Crash::Power(Survivors::Nothing));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_is_fatal_and_says_why() {
    let disk = MemDisk::with_dir("data");
    let raft = start_serving(disk.shared(), &Remembers::default()).await;
    disk.inject(Inject::new(Operation::Sync, DIR).times(1));
    let error = raft.propose(payload(1)).await.unwrap_err();
    assert!(error.is_fatal(), "{error}");
    let status = until(&raft, |status| status.fatal.is_some()).await;
    assert_eq!(status.role, Role::Stopped);
    disk.heal();
    assert!(raft.propose(payload(2)).await.unwrap_err().is_fatal());
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_state_machine_is_fatal() {
    let disk = MemDisk::with_dir("data");
    let raft = start_serving(disk.shared(), &Remembers::default()).await;
    let error = raft.propose(Bytes::from_static(b"panic")).await.unwrap_err();
    assert!(error.is_fatal(), "{error}");
    until(&raft, |status| status.fatal.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_too_large_is_refused() {
    let disk = MemDisk::with_dir("data");
    let raft = start_serving(disk.shared(), &Remembers::default()).await;
    let huge = Bytes::from(vec![0; crate::PAYLOAD_BYTES_MAX + 1]);
    let error = raft.propose(huge).await.unwrap_err();
    assert!(matches!(error, ProposeError::TooLarge { .. }) && !error.is_retriable());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_taken_and_the_log_behind_it_goes() {
    let disk = MemDisk::with_dir("data");
    let mut config = config(1);
    config.snapshot_every_entries = 10;
    let state = Remembers::default();
    let start = async |state: &Remembers| {
        let state = Box::new(state.clone());
        let config = config.clone();
        Raft::start(config, disk.shared(), tasks(), state, Arc::new(NoNetwork)).await.unwrap()
    };
    let raft = start(&state).await;
    raft.bootstrap_single().await.unwrap();
    serving(&raft).await;
    for number in 0..100 {
        raft.propose(payload(number)).await.unwrap();
    }
    let mut watch = raft.watch();
    while raft.metrics().purged_index.is_none_or(|index| index < 60) {
        watch.changed().await.unwrap();
    }
    assert!(raft.metrics().snapshot_index.unwrap() >= 80);
    raft.shutdown().await.unwrap();

    let again = Remembers::default();
    let raft = start(&again).await;
    serving(&raft).await;
    assert_eq!(again.payloads(), (0..100).map(payload).collect::<Vec<_>>());
    raft.propose(payload(100)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_proposals_and_snapshots_until_there_is_room() {
    let disk = MemDisk::with_dir("data");
    let mut config = config(1);
    config.snapshot_every_entries = 5;
    let state = Remembers::default();
    let machine = Box::new(state.clone());
    let raft = Raft::start(config, disk.shared(), tasks(), machine, Arc::new(NoNetwork));
    let raft = raft.await.unwrap();
    raft.bootstrap_single().await.unwrap();
    serving(&raft).await;
    disk.set_capacity(Some(512 * 1024));
    let error = raft.propose(payload(1)).await.unwrap_err();
    assert!(matches!(error, ProposeError::NoSpace { .. }) && error.is_retriable(), "{error}");
    // Enough for entries, too little for snapshots.
    disk.set_capacity(Some(3 * 1024 * 1024));
    for number in 0..20 {
        raft.propose(payload(number)).await.unwrap();
    }
    assert_eq!(raft.metrics().snapshot_index, None);
    disk.set_capacity(None);
    raft.propose(payload(20)).await.unwrap();
    let mut tries = 0;
    while raft.metrics().snapshot_index.is_none() {
        tries += 1;
        assert!(tries < 100, "no snapshot although there is room");
        raft.propose(payload(20 + tries)).await.unwrap();
    }
    assert_eq!(raft.status().fatal, None);
}

#[tokio::test(start_paused = true)]
async fn an_entry_without_room_waits_for_it_and_ends_nothing() {
    let disk = MemDisk::with_dir("data");
    let mut config = config(1);
    config.propose_timeout = Duration::from_secs(2);
    let state = Remembers::default();
    let machine = Box::new(state.clone());
    let raft = Raft::start(config, disk.shared(), tasks(), machine, Arc::new(NoNetwork));
    let raft = raft.await.unwrap();
    raft.bootstrap_single().await.unwrap();
    serving(&raft).await;
    raft.propose(payload(1)).await.unwrap();
    // There seems to be room when it is asked for, but somebody else takes it.
    let log = format!("{:020}.log", 0);
    disk.inject(Inject::new(Operation::Write, &log).no_space().keeping(10));
    let error = raft.propose(payload(2)).await.unwrap_err();
    assert!(matches!(error, ProposeError::OutcomeUnknown(why) if why.contains("room")), "{error}");
    let error = raft.propose(payload(3)).await.unwrap_err();
    assert!(matches!(error, ProposeError::NoSpace { .. }) && error.is_retriable(), "{error}");
    assert_eq!(raft.status().fatal, None);
    disk.heal();
    tokio::time::sleep(Duration::from_secs(1)).await;
    raft.propose(payload(4)).await.unwrap();
    assert_eq!(state.payloads(), [payload(1), payload(2), payload(4)]);
}

/// What is decided meanwhile would not know of it, and would come behind it.
#[tokio::test(start_paused = true)]
async fn a_proposal_whose_outcome_is_unknown_is_settled_before_the_next_decision() {
    let disk = MemDisk::with_dir("data");
    let mut config = config(1);
    config.propose_timeout = Duration::from_millis(500);
    let spawn = Arc::new(Stuck::default());
    let state = Remembers::default();
    let machine = Box::new(state.clone());
    let held: SpawnRef = Arc::clone(&spawn) as _;
    let raft = Raft::start(config, disk.shared(), held, machine, Arc::new(NoNetwork));
    let raft = raft.await.unwrap();
    raft.bootstrap_single().await.unwrap();
    serving(&raft).await;
    // What it writes does not reach the disk.
    spawn.hold();
    let error = raft.propose(payload(1)).await.unwrap_err();
    assert!(matches!(error, ProposeError::OutcomeUnknown(_)), "{error}");
    for _ in 0..3 {
        let error = raft.lead().await.unwrap_err();
        assert!(error == ProposeError::Unsettled && error.is_retriable(), "{error}");
    }
    assert_eq!(raft.propose(payload(2)).await, Err(ProposeError::Unsettled));
    let (leading, release) = tokio::join!(raft.lead(), async { spawn.release() });
    assert_eq!((leading.is_ok(), release), (true, ()));
    assert_eq!(state.payloads(), [payload(1)], "the state to decide on shows it");
    raft.propose(payload(3)).await.unwrap();
    assert_eq!(state.payloads(), [payload(1), payload(3)]);
}

/// Work that is held back until it is let go.
#[derive(Default)]
struct Stuck {
    is_held: AtomicBool,
    jobs: Mutex<Vec<Job>>,
}

impl fmt::Debug for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stuck").field("is_held", &self.is_held).finish_non_exhaustive()
    }
}

impl Stuck {
    fn hold(&self) {
        self.is_held.store(true, Ordering::Relaxed);
    }

    fn release(&self) {
        self.is_held.store(false, Ordering::Relaxed);
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap());
        jobs.into_iter().for_each(|job| job());
    }
}

impl Spawn for Stuck {
    fn submit(&self, job: Job) -> Result<(), Refused> {
        if !self.is_held.load(Ordering::Relaxed) {
            return TaskSpawn.submit(job);
        }
        self.jobs.lock().unwrap().push(job);
        Ok(())
    }

    fn routine(
        &self,
        manner: Manner,
        bell: Bell,
        routine: Box<dyn Routine>,
    ) -> std::io::Result<RoutineHandle> {
        TaskSpawn.routine(manner, bell, routine)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_room() {
    let disk = MemDisk::with_dir("data");
    let raft = start_serving(disk.shared(), &Remembers::default()).await;
    raft.propose(payload(1)).await.unwrap();
    disk.inject(Inject::new(Operation::Write, format!("{:020}.log", 0)).no_space());
    let _unknown = raft.propose(payload(2)).await.unwrap_err();
    raft.shutdown().await.unwrap();
    disk.heal();
    let again = Remembers::default();
    let raft = start_serving(disk.shared(), &again).await;
    assert_eq!(again.payloads(), [payload(1)]);
    raft.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_on_a_full_disk_waits_for_room() {
    let disk = MemDisk::with_dir("data");
    let raft = start_serving(disk.shared(), &Remembers::default()).await;
    raft.propose(payload(1)).await.unwrap();
    let disk = disk.crash(Crash::Process);
    let log = format!("{:020}.log", 0);
    disk.inject(Inject::new(Operation::Write, &log).no_space());
    let state = Remembers::default();
    let machine = Box::new(state.clone());
    let raft = Raft::start(config(1), disk.shared(), tasks(), machine, Arc::new(NoNetwork));
    let raft = raft.await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(5), serving(&raft)).await;
    assert!(waited.is_err(), "it cannot lead without an entry of its own");
    disk.heal();
    serving(&raft).await;
    assert_eq!(state.payloads(), [payload(1)]);
}

/// The committed index is stored every 64 commits only; what was answered does not depend on it.
#[tokio::test(start_paused = true)]
async fn what_was_answered_outlives_any_crash_between_two_stores_of_the_committed_index() {
    let disk = MemDisk::with_dir("data");
    let raft = start_serving(disk.shared(), &Remembers::default()).await;
    for number in 0..150 {
        raft.propose(payload(number)).await.unwrap();
        if number % 7 != 0 && !(60..70).contains(&number) {
            continue;
        }
        for crash in [Crash::Process, Crash::Power(Survivors::Nothing)] {
            let again = Remembers::default();
            let _raft = start_serving(disk.aftermath(crash).shared(), &again).await;
            let expected: Vec<_> = (0..=number).map(payload).collect();
            assert_eq!(again.payloads(), expected, "{number} {crash:?}");
        }
    }
}

/// What a real device takes its time for; decision 0009 names these figures.
#[tokio::test(start_paused = true)]
async fn syncs_are_few() {
    let disk = MemDisk::with_dir("data");
    let raft = start_serving(disk.shared(), &Remembers::default()).await;
    let blank = disk.syncs();
    raft.propose(payload(0)).await.unwrap();
    let before = disk.syncs();
    for number in 1..=64 {
        raft.propose(payload(number)).await.unwrap();
    }
    let proposals = disk.syncs() - before;
    let before = disk.syncs();
    raft.shutdown().await.unwrap();
    let stop = disk.syncs() - before;
    let after_stop = disk.fork();
    let _raft = start_serving(after_stop.shared(), &Remembers::default()).await;
    let killed = disk.crash(Crash::Process);
    let _raft = start_serving(killed.shared(), &Remembers::default()).await;
    let again = (after_stop.syncs(), killed.syncs());
    assert_eq!(blank, 18, "a blank directory, until it serves");
    assert_eq!(proposals, 66, "one each, and two for the committed index every 64");
    assert_eq!(stop, 8);
    assert_eq!(again, (9, 9), "a start, after a stop and after a kill, until it serves");
}

#[tokio::test(start_paused = true)]
async fn damage_to_what_was_durable_stops_the_start() {
    let disk = MemDisk::with_dir("data");
    let raft = start_serving(disk.shared(), &Remembers::default()).await;
    for number in 0..10 {
        raft.propose(payload(number)).await.unwrap();
    }
    raft.shutdown().await.unwrap();
    let path = format!("{DIR}/00000000000000000000.log");
    disk.flip_bit(&path, 600, 3).unwrap();
    let state = Box::new(Remembers::default());
    let error = Raft::start(config(1), disk.shared(), tasks(), state, Arc::new(NoNetwork)).await;
    let error = error.unwrap_err();
    // A log that was idle is not read when it is opened, but when its entries are applied.
    let found_in_time = match &error {
        StartError::Log(_) | StartError::Damaged(_) => true,
        StartError::Stopped(reason) => reason.contains("checksum"),
        _ => false,
    };
    assert!(found_in_time, "{error}");
}

/// Real files, real time, a real worker: from start to the first proposal answered.
#[tokio::test]
async fn it_is_ready_at_once() {
    let (guard, disk) = real_dir();
    let mut config = config(1);
    config.dir = guard.path().join(DIR);
    // An election by timeout would take longer than any test may.
    config.election_timeout_min = Duration::from_secs(600);
    for _ in 0..3 {
        let worker: SpawnRef = Arc::new(Workers::start("raft", 1, 64).unwrap());
        let state = Box::new(Remembers::default());
        let raft = Raft::start(config.clone(), disk.clone(), worker, state, Arc::new(NoNetwork));
        let raft = raft.await.unwrap();
        if raft.is_blank() {
            raft.bootstrap_single().await.unwrap();
        }
        tokio::time::timeout(Duration::from_secs(30), serving(&raft)).await.expect("an election");
        raft.propose(payload(1)).await.unwrap();
        raft.shutdown().await.unwrap();
    }
}
