//! What goes into the machine and what comes out of it.

use crate::waiters::{Released, Ticket};
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Now, Offset, PartitionEpoch};
use std::time::Duration;

/// How long an in-sync replica may lag before it is proposed to leave, unless set otherwise.
///
/// Kafka takes 30 s (KIP-537), which is also how long acks=all may stall behind a disk that hangs.
/// The dead are fenced after a few seconds by their missing heartbeats, so this concerns only brokers
/// that live and do not keep up: 10 s bridges a pause of any disk or process that is worth waiting for.
pub const LAG_TIME_MAX: Duration = Duration::from_secs(10);

/// How long an in-sync replica may stand still, while this leader holds what it lacks, before it is
/// proposed to leave.
///
/// A replica that moves is given [`LAG_TIME_MAX`]. One that does not, though its broker beats, cannot
/// reach the leader, has a full disk or one that hangs: waiting will not help soon, and all acks=all of
/// the partition wait for it. It comes back when it has caught up.
pub const STALL_TIME_MAX: Duration = Duration::from_secs(2);

/// How long after a failed proposal the next one is made.
pub const PROPOSAL_BACKOFF: Duration = Duration::from_millis(500);

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

/// When an append counts as a replica's own.
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
    /// `replica.lag.time.max.ms`: an in-sync replica that has not had all there was for this long
    /// is proposed to leave.
    pub lag_time_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { min_insync_replicas: 1, durability: Durability::Fsync, lag_time_max: LAG_TIME_MAX }
    }
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

/// Where an epoch ends in a log, as its epoch cache says (KIP-101, KIP-279).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch there that is not above the one asked for; -1 if unknown.
    pub epoch: LeaderEpoch,
    /// The offset after its last record; -1 if unknown.
    pub end: Offset,
}

/// What the cluster image says about this partition. Tell it again when it, or one of the brokers
/// that keep a replica, has changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// The brokers of `replicas` as they are registered. Only those named here may join the ISR.
    pub peers: Vec<Peer>,
    /// Whether this broker is fenced, or registered by another process than this one. It leads
    /// nothing then, whatever `leader` says: a log that lost its tail in a crash must not go on in
    /// an epoch that it has written in before.
    pub is_fenced: bool,
}

/// A broker that keeps a replica, as the image knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub broker: BrokerId,
    /// The number of its registration.
    pub broker_epoch: BrokerEpoch,
    /// Whether it may join an ISR: neither fenced nor about to stop (KIP-841), with a disk that takes
    /// writes.
    pub may_join: bool,
}

/// Who a follower's message comes from, and in which epoch it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The follower.
    pub broker: BrokerId,
    /// The registration of its process (KIP-903): after a restart it may hold less.
    pub broker_epoch: BrokerEpoch,
    /// The leader epoch in which it follows.
    pub leader_epoch: LeaderEpoch,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The image names a leader, an in-sync set, new epochs, or a peer changed.
    Assigned(Assignment),
    /// The settings changed.
    Governed(Policy),
    /// The log's end moved: bytes are in the page cache. For the leader's own appends.
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
    /// As leader: a follower fetches from `offset`, and [`agreement`](crate::agreement) found that its
    /// log agrees with this one up to there.
    Fetched {
        /// The follower.
        caller: Caller,
        /// Where it fetches from: the end of its log.
        offset: Offset,
        /// When.
        now: Now,
    },
    /// As leader: a follower says how far its disk holds the log (a [`Claim`] that arrived).
    Progress {
        /// The follower.
        caller: Caller,
        /// Everything below is on its disk.
        end: Offset,
        /// When.
        now: Now,
    },
    /// As leader: what became of a [`Proposal`].
    Answered {
        /// The proposal's number.
        number: u64,
        /// What became of it.
        outcome: ProposalOutcome,
        /// When.
        now: Now,
    },
    /// As follower: the records of an answer for which [`crate::Replica::plan`] said
    /// [`crate::Plan::Append`] are in the log (or there were none).
    Replicated {
        /// The log's end now.
        end: Offset,
        /// The leader's high watermark, from the same answer.
        high_watermark: Offset,
    },
    /// As follower: the log was cut or begun anew, as [`crate::Replica::plan`] said.
    Truncated {
        /// Where it stands now.
        ends: LogEnds,
    },
    /// Time has passed ([`crate::Replica::next_deadline`]).
    Ticked {
        /// The time.
        now: Now,
    },
    /// The log can take no more writes, or the partition is gone from this broker: nothing parked
    /// here will come true.
    Ended {
        /// What those who wait are answered.
        error: ErrorCode,
    },
    /// A parked request wants an answer once the high watermark is at least `offset`. Refused at
    /// once by a replica that does not lead.
    Parked {
        /// The request.
        ticket: Ticket,
        /// What it waits for.
        offset: Offset,
    },
    /// As [`Input::Parked`], for a consumer that reads from a follower (KIP-392).
    ParkedReader {
        /// The request.
        ticket: Ticket,
        /// What it waits for.
        offset: Offset,
    },
    /// As leader: a follower's Fetch found nothing. It is released once there are records past `end`
    /// or a high watermark above the one it was told last, or acks=all would wait out its long poll.
    ParkedFetch {
        /// The request.
        ticket: Ticket,
        /// Where it fetches from.
        end: Offset,
        /// The high watermark it knows.
        high_watermark: Offset,
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
    /// As leader: another ISR to have decided by the controller (AlterPartition, KIP-497). What
    /// becomes of it comes back as [`Input::Answered`], always.
    pub proposal: Option<Proposal>,
    /// As follower: tell the leader how far this disk holds the log. A message that may be lost:
    /// send [`crate::Replica::claim`] again with every fetch.
    pub claim: Option<Claim>,
}

/// An in-sync set the leader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// To be given back with the answer.
    pub number: u64,
    /// The epoch of the leader that proposes.
    pub leader_epoch: LeaderEpoch,
    /// The state it wants to replace.
    pub partition_epoch: PartitionEpoch,
    /// The set, by broker.
    pub isr: Vec<IsrMember>,
}

/// A replica of a proposed in-sync set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsrMember {
    /// The broker.
    pub broker: BrokerId,
    /// The registration that was found in sync; `None` for this broker itself, and for a member
    /// that has not been heard of in this epoch. Always there for one that joins (KIP-903).
    pub broker_epoch: Option<BrokerEpoch>,
}

/// What became of a [`Proposal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// It is committed. The set comes into force with the image that shows it, since settings that
    /// were committed before it must be in force too: `min.insync.replicas` above all.
    Accepted {
        /// The state's new epoch.
        partition_epoch: PartitionEpoch,
    },
    /// The controller refused.
    Refused(ErrorCode),
    /// Nobody knows: a timeout, a broken connection, another controller. It may still be committed.
    Unknown,
}

/// How far a follower's disk holds the leader's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Whom to tell.
    pub leader: BrokerId,
    /// The epoch it holds in.
    pub leader_epoch: LeaderEpoch,
    /// Everything below is on this disk.
    pub end: Offset,
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
