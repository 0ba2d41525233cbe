//! The partition: its settings, its lock, and how it opens.

use crate::share::Share;
use crate::upkeep::{Upkeep, of_log};
use arc_swap::ArcSwap;
use jocko_commitlog::{Log, LogConfig, LogFault, OpenContext};
use jocko_disk::DiskRef;
use jocko_records::AppendRules;
use jocko_replica::{
    Assignment, Claim, Durability, Input, LogEnds, Policy, Proposal, Released, Replica, Role,
    Ticket,
};
use jocko_types::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, TopicId, TopicIdPartition, TopicPartition,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// Everything a topic's settings decide for one of its partitions.
#[derive(Debug, Clone, PartialEq)]
pub struct Governed {
    /// For the log.
    pub log: LogConfig,
    /// For the replica.
    pub policy: Policy,
    /// For produced batches; `now` and `zstd_allowed` are the request's to fill in.
    pub rules: AppendRules,
    /// `flush.messages`: records after which a relaxed topic is synced all the same.
    pub flush_records: i64,
    /// `flush.ms`: milliseconds after which it is.
    pub flush_ms: i64,
}

/// Where a partition lives.
#[derive(Debug, Clone)]
pub struct Home {
    /// The disk.
    pub disk: DiskRef,
    /// The log's folder.
    pub dir: PathBuf,
    /// The broker that hosts it.
    pub broker: BrokerId,
    /// How its log is to be opened.
    pub open: OpenContext,
}

/// What follows from an operation, to be carried out once the lock is free.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// Parked requests to wake, by the number they were parked under.
    pub released: Vec<u64>,
    /// Whether the log is to be synced because somebody's answer depends on it.
    pub flush_due: bool,
    /// Bytes of a batch that found the disk full.
    pub no_room_for: Option<u64>,
    /// What leaders are to be told of this disk.
    pub claims: Vec<(TopicIdPartition, Claim)>,
    /// In-sync sets to have decided. What becomes of each comes back
    /// ([`Partition::proposal_answered`]), always.
    pub proposals: Vec<(TopicIdPartition, Proposal)>,
}

/// Where a partition stands, for requests that only describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The first offset that may be read.
    pub log_start: Offset,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// The offset the next record gets.
    pub log_end: Offset,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Bytes of the log.
    pub size_bytes: u64,
    /// Segments of the log.
    pub segments: usize,
}

/// What went through a partition since the process started.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes of batches appended.
    pub bytes_in: AtomicU64,
    /// Records appended.
    pub records_in: AtomicU64,
    /// Bytes of batches handed out to readers.
    pub bytes_out: AtomicU64,
}

/// One partition of a topic on this broker.
#[derive(Debug)]
pub struct Partition {
    name: TopicPartition,
    topic_id: TopicId,
    home: Home,
    governed: ArcSwap<Governed>,
    /// Whether the flusher has it in its line.
    in_line: AtomicBool,
    /// What is damaged of the log, once that was found.
    damage: OnceLock<LogFault>,
    pub(crate) traffic: Traffic,
    /// What it may hold of limits that it shares with others.
    pub(crate) share: Mutex<Option<Share>>,
    state: Mutex<State>,
}

/// The log is opened by whoever needs it first.
#[derive(Debug)]
enum State {
    Closed(Option<Assignment>),
    Open(Box<Open>),
    /// It could not be opened, or was set aside; why.
    Unusable(LogFault),
    Gone(Gone),
}

/// The topic is deleted, or the broker stops.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone {
    /// What whoever still asks is answered.
    pub(crate) error: ErrorCode,
    /// The recovery point and the start of the log as it was closed, if it was open.
    pub(crate) checkpoint: Option<(Offset, Offset)>,
    /// Whether its log means nothing to this broker any more.
    pub(crate) is_deleted: bool,
}

#[derive(Debug)]
pub(crate) struct Open {
    key: TopicIdPartition,
    pub(crate) log: Log,
    pub(crate) replica: Replica,
    durability: Durability,
    /// Records appended since the last sync was asked for, in relaxed mode.
    pub(crate) unsynced_records: i64,
    /// What retention has dropped already and whose files are still there.
    pub(crate) awaiting: Upkeep,
    /// Where followers said last that their logs start: nobody is sent there for what is gone.
    pub(crate) follower_starts: BTreeMap<BrokerId, Offset>,
}

/// [`Log::open`] or [`Log::prepare`].
type OpenLog = fn(
    DiskRef,
    &Path,
    LogConfig,
    &OpenContext,
) -> Result<(Log, jocko_commitlog::Recovery), LogFault>;

impl Partition {
    /// A partition that has not touched the disk yet.
    #[must_use]
    pub fn new(name: TopicPartition, topic_id: TopicId, home: Home, governed: Governed) -> Self {
        Self {
            name,
            topic_id,
            home,
            governed: ArcSwap::from_pointee(governed),
            in_line: AtomicBool::new(false),
            damage: OnceLock::new(),
            traffic: Traffic::default(),
            share: Mutex::new(None),
            state: Mutex::new(State::Closed(None)),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// Its topic's id.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Its topic's id and its number.
    #[must_use]
    pub fn key(&self) -> TopicIdPartition {
        TopicIdPartition { topic_id: self.topic_id, partition: self.name.partition }
    }

    /// Where it lives.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// What went through it.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The settings in force.
    #[must_use]
    pub fn governed(&self) -> Arc<Governed> {
        self.governed.load_full()
    }

    /// Puts other settings in force.
    pub fn govern(&self, governed: Governed) -> Effects {
        let mut state = self.lock();
        let effects = match &mut *state {
            State::Open(open) => {
                open.log.reconfigure(governed.log.clone());
                open.durability = governed.policy.durability;
                open.step(Input::Governed(governed.policy))
            }
            State::Closed(_) | State::Unusable(_) | State::Gone(_) => Effects::default(),
        };
        self.governed.store(Arc::new(governed));
        effects
    }

    /// Takes the cluster's word about who leads.
    pub fn assign(&self, assignment: Assignment) -> Effects {
        let mut state = self.lock();
        match &mut *state {
            State::Closed(pending) => {
                *pending = Some(assignment);
                Effects::default()
            }
            State::Open(open) => open.assign(assignment),
            State::Unusable(_) | State::Gone(_) => Effects::default(),
        }
    }

    /// Opens the log, recovering it if the last stop was unclean. May take long: for workers.
    ///
    /// # Errors
    /// Why it cannot be opened; the partition then answers every request with a storage error.
    pub fn open(&self) -> Result<(), LogFault> {
        self.with_open(|_| ()).map_err(|_| match &*self.lock() {
            State::Unusable(fault) => fault.clone(),
            State::Closed(_) | State::Open(_) | State::Gone(_) => LogFault::Latched {
                path: self.home.dir.clone(),
                reason: "the partition is gone".into(),
            },
        })
    }

    /// As [`Partition::open`], but what a recovery kept is left to the next flush, so that many
    /// partitions share one ([`crate::flush_together`]). Nobody may be served before that.
    ///
    /// # Errors
    /// As [`Partition::open`].
    pub fn prepare(&self) -> Result<(), LogFault> {
        let mut state = self.lock();
        if let State::Closed(pending) = &mut *state {
            let pending = pending.take();
            *state = self.open_log(pending, Log::prepare);
        }
        match &*state {
            State::Unusable(fault) => Err(fault.clone()),
            State::Closed(_) | State::Open(_) | State::Gone(_) => Ok(()),
        }
    }

    /// Whether the log is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(*self.lock(), State::Open(_))
    }

    /// Whether its log has a folder. A partition that was never written to has none.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.home.disk.exists(&self.home.dir).unwrap_or(true)
    }

    /// Why the partition cannot be used, if so.
    #[must_use]
    pub fn fault(&self) -> Option<LogFault> {
        match &*self.lock() {
            State::Unusable(fault) => Some(fault.clone()),
            State::Open(open) => open.log.latched(),
            State::Closed(_) | State::Gone(_) => None,
        }
    }

    /// What of its log was found to be damaged, by whoever came upon it: at opening, reading or
    /// checking. Such a copy follows nobody any more; whether it may go on leading is for others to
    /// decide. It stays so until another [`Partition`] takes its place.
    #[must_use]
    pub fn damage(&self) -> Option<&LogFault> {
        self.damage.get()
    }

    /// Notes that the log is damaged, if that is what the fault says.
    pub fn note_damage(&self, fault: &LogFault) {
        if matches!(fault, LogFault::Corrupt { .. }) && self.damage.set(fault.clone()).is_ok() {
            tracing::error!(partition = %self.name, %fault, "this copy is damaged");
        }
    }

    /// Ends it before its log was opened: the folder that it has is not to be touched.
    pub fn spoil(&self, fault: LogFault) {
        self.note_damage(&fault);
        *self.lock() = State::Unusable(fault);
    }

    /// Where it stands; `None` while it is closed (then nothing has happened to it).
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        match &*self.lock() {
            State::Open(open) => Some(open.standing()),
            State::Closed(_) | State::Unusable(_) | State::Gone(_) => None,
        }
    }

    /// Forgets a parked request.
    pub fn forget(&self, ticket: u64) {
        if let State::Open(open) = &mut *self.lock() {
            // Forgetting releases nobody and dirties nothing.
            let _ = open.replica.step(Input::Forgotten { ticket: Ticket(ticket) });
        }
    }

    /// Takes a place in the flusher's line; `false` if it has one already.
    #[must_use]
    pub fn line_up_for_flush(&self) -> bool {
        !self.in_line.swap(true, Ordering::AcqRel)
    }

    /// Leaves the line: what is appended from here on needs a new place in it.
    pub(crate) fn leave_line(&self) {
        self.in_line.store(false, Ordering::Release);
    }

    /// Runs `work` on the open log, opening it first if need be.
    pub(crate) fn with_open<T>(&self, work: impl FnOnce(&mut Open) -> T) -> Result<T, ErrorCode> {
        let mut state = self.lock();
        if let State::Closed(pending) = &mut *state {
            let pending = pending.take();
            *state = self.open_log(pending, Log::open);
        }
        match &mut *state {
            State::Open(open) => Ok(work(open)),
            State::Unusable(_) => Err(ErrorCode::KafkaStorageError),
            State::Gone(gone) => Err(gone.error),
            State::Closed(_) => unreachable!("it was opened just now, for better or worse"),
        }
    }

    /// Runs `work` on the log if it is open.
    pub(crate) fn if_open<T>(&self, work: impl FnOnce(&mut Open) -> T) -> Option<T> {
        match &mut *self.lock() {
            State::Open(open) => Some(work(open)),
            State::Closed(_) | State::Unusable(_) | State::Gone(_) => None,
        }
    }

    /// Ends the partition's life on this broker: nobody is served any more, all who wait are
    /// refused. Yields the log if it was open, to be closed or thrown away.
    pub(crate) fn retire(&self, error: ErrorCode, is_deleted: bool) -> (Option<Log>, Effects) {
        let mut state = self.lock();
        let checkpoint = match &*state {
            State::Open(open) => Some((open.log.recovery_point(), open.log.log_start())),
            State::Gone(gone) => gone.checkpoint,
            State::Closed(_) | State::Unusable(_) => None,
        };
        let gone = Gone { error, checkpoint, is_deleted };
        match std::mem::replace(&mut *state, State::Gone(gone)) {
            State::Open(mut open) => {
                let effects = open.step(Input::Ended { error });
                (Some(open.log), effects)
            }
            State::Closed(_) | State::Unusable(_) | State::Gone(_) => (None, Effects::default()),
        }
    }

    /// Remembers where a log that was retired has ended.
    pub(crate) fn closed_at(&self, log: &Log) {
        if let State::Gone(gone) = &mut *self.lock() {
            gone.checkpoint = Some((log.recovery_point(), log.log_start()));
        }
    }

    /// The error for those who ask a partition that is gone.
    pub(crate) fn gone(&self) -> Option<Gone> {
        match &*self.lock() {
            State::Gone(gone) => Some(*gone),
            State::Closed(_) | State::Open(_) | State::Unusable(_) => None,
        }
    }

    fn open_log(&self, pending: Option<Assignment>, open: OpenLog) -> State {
        let governed = self.governed.load();
        let opened = open(
            Arc::clone(&self.home.disk),
            &self.home.dir,
            governed.log.clone(),
            &self.home.open,
        );
        let (mut log, recovery) = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                tracing::error!(partition = %self.name, %fault, "log cannot be opened");
                self.note_damage(&fault);
                return State::Unusable(fault);
            }
        };
        if let Some(cut) = &recovery.cut {
            tracing::warn!(
                partition = %self.name,
                offset = cut.offset.get(),
                bytes = cut.bytes,
                reason = cut.reason,
                "an invalid tail was cut off the log"
            );
        }
        log.set_share(of_log(self.share()));
        let ends = ends_of(&log);
        // What is known to be committed: no more than the start, until a leader says more or this one
        // has heard all in sync. A lone replica knows at once, by what its disk holds.
        let replica = Replica::new(self.home.broker, governed.policy, ends, ends.start);
        let mut open = Open {
            key: self.key(),
            log,
            replica,
            durability: governed.policy.durability,
            unsynced_records: 0,
            awaiting: Upkeep::default(),
            follower_starts: BTreeMap::new(),
        };
        if let Some(assignment) = pending {
            // A log that was just opened has nobody waiting.
            let _ = open.assign(assignment);
        }
        State::Open(Box::new(open))
    }

    #[cfg(test)]
    pub(crate) fn is_locked(&self) -> bool {
        self.state.try_lock().is_err()
    }

    /// A panic under the lock may have left the log half changed: the process must not go on from
    /// there, and recovery at its next start will sort it out.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|_| {
            tracing::error!(partition = %self.name, "a panic left this partition in an unknown state");
            std::process::abort()
        })
    }
}

impl Open {
    /// Steps the replica. In relaxed mode nobody's answer waits for the disk, and a latched log
    /// has nothing to gain from a sync.
    pub(crate) fn step(&mut self, input: Input) -> Effects {
        let output = self.replica.step(input);
        let number = |released: Released| released.ticket.0;
        Effects {
            released: output.released.into_iter().map(number).collect(),
            flush_due: output.flush_due
                && self.durability == Durability::Fsync
                && self.log.latched().is_none(),
            no_room_for: None,
            claims: output.claim.map(|claim| (self.key, claim)).into_iter().collect(),
            proposals: output.proposal.map(|proposal| (self.key, proposal)).into_iter().collect(),
        }
    }

    fn assign(&mut self, assignment: Assignment) -> Effects {
        let leader_epoch = assignment.leader_epoch;
        let was_leader = self.replica.role() == Role::Leader;
        let was = self.replica.leader_epoch();
        let effects = self.step(Input::Assigned(assignment));
        let is_new = !was_leader || self.replica.leader_epoch() > was;
        if self.replica.role() == Role::Leader && is_new {
            let end = self.log.log_end();
            if let Err(fault) = self.log.assign_epoch(leader_epoch, end) {
                tracing::error!(%fault, "leader epoch cannot be noted");
            }
        }
        effects
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            log_start: self.log.log_start(),
            high_watermark: self.replica.high_watermark(),
            log_end: self.log.log_end(),
            leader_epoch: self.replica.leader_epoch(),
            size_bytes: self.log.size_bytes(),
            segments: self.log.segment_count(),
        }
    }
}

pub(crate) fn ends_of(log: &Log) -> LogEnds {
    LogEnds { start: log.log_start(), end: log.log_end(), durable: log.durable_end() }
}

impl Effects {
    /// Both one after the other.
    pub fn and(mut self, mut later: Self) -> Self {
        self.released.append(&mut later.released);
        self.claims.append(&mut later.claims);
        self.proposals.append(&mut later.proposals);
        self.flush_due |= later.flush_due;
        self.no_room_for = self.no_room_for.max(later.no_room_for);
        self
    }
}
