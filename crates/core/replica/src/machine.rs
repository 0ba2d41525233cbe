//! The machine itself: role, ends, in-sync progress, high watermark.

use crate::waiters::{Outcome, Released, Ticket, Waiters};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch};
use std::collections::BTreeMap;

/// What a producer wants to be true before it is answered (the `acks` of a Produce request).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nothing; there is no answer at all.
    None,
    /// The leader has appended.
    Leader,
    /// The high watermark has passed the batch.
    All,
}

/// When an append counts as this replica's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk.
    Fsync,
    /// When it is in the page cache, as in Kafka.
    Relaxed,
}

/// The settings that govern this partition's decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `min.insync.replicas`; capped by the number of replicas.
    pub min_insync_replicas: usize,
    /// `storage.durability` for this topic.
    pub durability: Durability,
}

/// Where the log begins, ends, and how far it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnds {
    /// The first offset that may be read.
    pub start: Offset,
    /// The offset the next record will get.
    pub end: Offset,
    /// Everything below is on disk.
    pub durable: Offset,
}

/// What the cluster image says about this partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of this state.
    pub partition_epoch: PartitionEpoch,
    /// All replicas.
    pub replicas: Vec<BrokerId>,
    /// The in-sync ones.
    pub isr: Vec<BrokerId>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The image names a leader, an in-sync set, or new epochs.
    Assigned(Assignment),
    /// The settings changed.
    Governed(Policy),
    /// The log's end moved: bytes are in the page cache.
    Appended {
        /// The log's new end.
        end: Offset,
    },
    /// A flush ended well: everything below is on disk.
    Durable {
        /// The new durable end.
        end: Offset,
    },
    /// The log starts later: retention or DeleteRecords.
    Trimmed {
        /// The new start.
        start: Offset,
    },
    /// A follower says how far its disk holds the log.
    Progress {
        /// Which one.
        follower: BrokerId,
        /// Everything below is on its disk.
        end: Offset,
    },
    /// The log can take no more writes, or the partition is gone from this broker: nothing parked
    /// here will come true.
    Ended {
        /// What those who wait are answered.
        error: ErrorCode,
    },
    /// A parked request wants an answer once the high watermark is at least `offset`.
    Parked {
        /// The request.
        ticket: Ticket,
        /// What it waits for.
        offset: Offset,
    },
    /// A parked request timed out or its client left.
    Forgotten {
        /// The request.
        ticket: Ticket,
    },
}

/// What to do about it, after the partition's lock is released.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Output {
    /// Parked requests to answer.
    pub released: Vec<Released>,
    /// Whether the log holds bytes whose commit waits for the disk. Never in relaxed mode.
    pub flush_due: bool,
}

/// What this replica is for its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Somebody else leads, or nobody does.
    Follower,
    /// This broker leads.
    Leader,
}

/// Why a request was not admitted: an answer for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub ErrorCode);

/// One replica of one partition.
#[derive(Debug)]
pub struct Replica {
    broker: BrokerId,
    role: Role,
    leader: Option<BrokerId>,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    replica_count: usize,
    /// How far each in-sync replica but this one is durable.
    insync: BTreeMap<BrokerId, Offset>,
    policy: Policy,
    ends: LogEnds,
    high_watermark: Offset,
    waiters: Waiters,
}

impl Replica {
    /// A replica on `broker` whose log stands at `ends` and whose last known high watermark is
    /// given (the log's durable end bounds it). It serves nobody until it is assigned.
    #[must_use]
    pub fn new(broker: BrokerId, policy: Policy, ends: LogEnds, high_watermark: Offset) -> Self {
        Self {
            broker,
            role: Role::Follower,
            leader: None,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: PartitionEpoch::new(-1),
            replica_count: 0,
            insync: BTreeMap::new(),
            policy,
            ends,
            high_watermark: high_watermark.clamp(ends.start, ends.durable.max(ends.start)),
            waiters: Waiters::default(),
        }
    }

    /// Takes in what happened and says what follows. Total: there is no input it can fail on.
    pub fn step(&mut self, input: Input) -> Output {
        let mut output = Output::default();
        match input {
            Input::Assigned(assignment) => self.assign(&assignment, &mut output),
            Input::Governed(policy) => self.policy = policy,
            Input::Appended { end } => self.ends.end = self.ends.end.max(end),
            Input::Durable { end } => {
                self.ends.durable = self.ends.durable.max(end).min(self.ends.end);
            }
            Input::Trimmed { start } => self.trim(start),
            Input::Progress { follower, end } => {
                if let Some(known) = self.insync.get_mut(&follower) {
                    *known = (*known).max(end);
                }
            }
            Input::Ended { error } => self.waiters.refuse_all(error, &mut output.released),
            Input::Parked { ticket, offset } => self.park(ticket, offset, &mut output),
            Input::Forgotten { ticket } => self.waiters.forget(ticket),
        }
        self.advance_high_watermark(&mut output);
        // In relaxed mode nobody's answer waits for the disk.
        output.flush_due =
            self.policy.durability == Durability::Fsync && self.ends.durable < self.ends.end;
        output
    }

    /// Whether a producer may append now.
    ///
    /// # Errors
    /// The answer for the producer: not the leader, or too few in-sync replicas for `acks=all`.
    pub fn admit_produce(&self, acks: Acks) -> Result<LeaderEpoch, Refusal> {
        if self.role != Role::Leader {
            return Err(Refusal(ErrorCode::NotLeaderOrFollower));
        }
        if acks == Acks::All && self.insync_count() < self.min_insync() {
            return Err(Refusal(ErrorCode::NotEnoughReplicas));
        }
        Ok(self.leader_epoch)
    }

    /// Whether this replica may answer a read that carries the leader epoch the client knows
    /// (`None`: it did not say) (KIP-320).
    ///
    /// # Errors
    /// The answer for the client: not the leader, or its epoch is older or newer than ours.
    pub fn admit_read(&self, known: Option<LeaderEpoch>) -> Result<(), Refusal> {
        match known {
            Some(epoch) if epoch < self.leader_epoch => Err(Refusal(ErrorCode::FencedLeaderEpoch)),
            Some(epoch) if epoch > self.leader_epoch => Err(Refusal(ErrorCode::UnknownLeaderEpoch)),
            Some(_) | None if self.role != Role::Leader => {
                Err(Refusal(ErrorCode::NotLeaderOrFollower))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What this replica is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The leader this replica knows, if any.
    #[must_use]
    pub fn leader(&self) -> Option<BrokerId> {
        self.leader
    }

    /// The epoch of the leader this replica knows.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Everything below is committed: it survives every clean election.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The ends of the log as last told.
    #[must_use]
    pub fn ends(&self) -> LogEnds {
        self.ends
    }

    /// How many requests are parked here.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Panics if an invariant of this machine does not hold. For tests and simulation.
    pub fn check_invariants(&self) {
        let LogEnds { start, end, durable } = self.ends;
        assert!(start <= self.high_watermark, "P-1: {start} <= {}", self.high_watermark);
        assert!(self.high_watermark <= end, "P-1: {} <= {end}", self.high_watermark);
        assert!(durable <= end, "durable {durable} <= end {end}");
        assert!(
            (self.role == Role::Leader) == (self.leader == Some(self.broker)),
            "P-2: role {:?} with leader {:?}",
            self.role,
            self.leader
        );
    }

    #[cfg(test)]
    pub(crate) fn policy_for_tests(&self) -> Policy {
        self.policy
    }

    fn assign(&mut self, assignment: &Assignment, output: &mut Output) {
        // Images arrive in order, but a late one must not undo a newer one (P-4).
        if assignment.leader_epoch < self.leader_epoch
            || assignment.partition_epoch < self.partition_epoch
        {
            return;
        }
        let new_leader = assignment.leader_epoch > self.leader_epoch;
        self.leader = assignment.leader;
        self.leader_epoch = assignment.leader_epoch;
        self.partition_epoch = assignment.partition_epoch;
        self.replica_count = assignment.replicas.len();
        self.role =
            if assignment.leader == Some(self.broker) { Role::Leader } else { Role::Follower };
        let previous = std::mem::take(&mut self.insync);
        if self.role == Role::Leader {
            for follower in assignment.isr.iter().filter(|&&id| id != self.broker) {
                // What a follower told an older leader says nothing about this epoch.
                let known = if new_leader { None } else { previous.get(follower) };
                self.insync.insert(*follower, known.copied().unwrap_or(self.ends.start));
            }
        }
        if new_leader || self.role == Role::Follower {
            self.waiters.refuse_all(ErrorCode::NotLeaderOrFollower, &mut output.released);
        }
    }

    fn trim(&mut self, start: Offset) {
        self.ends.start = self.ends.start.max(start);
        self.ends.end = self.ends.end.max(start);
        self.ends.durable = self.ends.durable.max(start);
        self.high_watermark = self.high_watermark.max(start);
    }

    fn park(&mut self, ticket: Ticket, offset: Offset, output: &mut Output) {
        if self.role == Role::Leader {
            self.waiters.park(ticket, offset);
        } else {
            let outcome = Outcome::Refused(ErrorCode::NotLeaderOrFollower);
            output.released.push(Released { ticket, outcome });
        }
    }

    fn advance_high_watermark(&mut self, output: &mut Output) {
        if self.role == Role::Leader && self.insync_count() >= self.min_insync() {
            let slowest = self.insync.values().copied().min();
            let committed = slowest.unwrap_or(Offset::new(i64::MAX)).min(self.own_progress());
            self.high_watermark = self.high_watermark.max(committed);
        }
        self.waiters.release_to(self.high_watermark, &mut output.released);
    }

    fn own_progress(&self) -> Offset {
        match self.policy.durability {
            Durability::Fsync => self.ends.durable,
            Durability::Relaxed => self.ends.end,
        }
    }

    fn insync_count(&self) -> usize {
        self.insync.len().saturating_add(1)
    }

    /// Kafka caps the minimum by the number of replicas, or a topic of one replica could never
    /// be written under a minimum of two.
    fn min_insync(&self) -> usize {
        self.policy.min_insync_replicas.min(self.replica_count)
    }
}
