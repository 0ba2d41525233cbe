//! Following: where to fetch from, what an answer asks for, and how two logs are brought to agree
//! (KIP-101, KIP-279, KIP-320, KIP-595). Pure rules; the engine cuts and appends.

use crate::machine::Replica;
use crate::types::{Claim, Durability, EpochEnd};
use jocko_types::{BrokerId, LeaderEpoch, Offset};

/// Where this follower is to fetch from. The engine adds the epoch of its log's last record
/// (`LastFetchedEpoch`), which its epoch cache knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Following {
    /// Whom to ask.
    pub leader: BrokerId,
    /// The epoch to ask in (`CurrentLeaderEpoch`).
    pub leader_epoch: LeaderEpoch,
    /// The end of this log.
    pub offset: Offset,
}

/// A leader's answer to a fetch, as far as it is to be judged before its records are touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What was asked for. An answer to an older question is not looked at.
    pub asked: Following,
    /// What the leader found.
    pub found: Found,
}

/// What a leader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The logs agree up to the offset asked for; records may follow.
    Agreement,
    /// They part (`DivergingEpoch`).
    Divergence {
        /// The largest epoch both may share, and where it ends at the leader.
        leader: EpochEnd,
        /// What this log's own epoch cache says of that same epoch.
        own: EpochEnd,
    },
    /// The offset lies outside the leader's log (`OFFSET_OUT_OF_RANGE`).
    OutOfRange {
        /// Where the leader's log starts.
        log_start: Offset,
        /// Where it ends.
        log_end: Offset,
    },
}

/// What to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: it answers a question of another time. Ask anew.
    Stale,
    /// Cut log and epoch cache to this offset, even if the log ends there (the cache may know
    /// epochs that no record has), then step [`crate::Input::Truncated`] and fetch again. The
    /// answer's high watermark and records are not for this log (KAFKA-14704).
    Truncate {
        /// The end of what stays.
        to: Offset,
        /// Whether what was thought committed goes: only after an unclean election.
        is_below_high_watermark: bool,
    },
    /// Empty the log and begin it at this offset, then step [`crate::Input::Truncated`]: the leader
    /// no longer has what comes next.
    Restart {
        /// The new start and end.
        at: Offset,
    },
    /// Append the answer's records, if any, and then step [`crate::Input::Replicated`] with the
    /// answer's high watermark.
    Append,
}

/// Whether a follower's log agrees with the leader's up to the offset it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// It does: step [`crate::Input::Fetched`] and answer with records.
    Yes,
    /// It does not: answer this and nothing else.
    No(EpochEnd),
    /// The leader knows no epoch that old, or the offset lies outside its log: answer
    /// `OFFSET_OUT_OF_RANGE`.
    OutOfRange,
}

/// Compares a follower's question with the leader's log, which holds `start..end`.
///
/// `last_fetched` is the epoch of the follower's last record with what the leader's own epoch cache
/// says of it; `None` if the follower's log is empty.
#[must_use]
pub fn agreement(
    from: Offset,
    last_fetched: Option<(LeaderEpoch, EpochEnd)>,
    (start, end): (Offset, Offset),
) -> Agreement {
    if let Some((asked, own)) = last_fetched {
        if own.end < Offset::ZERO || own.epoch < LeaderEpoch::new(0) {
            return Agreement::OutOfRange;
        }
        if own.epoch < asked || own.end < from {
            return Agreement::No(own);
        }
    }
    if from < start || from > end { Agreement::OutOfRange } else { Agreement::Yes }
}

impl Replica {
    /// Whom to fetch from and where, if there is a leader and it is another.
    #[must_use]
    pub fn following(&self) -> Option<Following> {
        let leader = self.leader.filter(|leader| *leader != self.broker)?;
        Some(Following { leader, leader_epoch: self.leader_epoch, offset: self.ends.end })
    }

    /// Whether the leader has said in this epoch that the logs agree as far as this one goes. Until
    /// then nothing is claimed, and a leader may wait for just that.
    #[must_use]
    pub fn is_reconciled(&self) -> bool {
        self.is_reconciled
    }

    /// What to do with a leader's answer, on the state of this moment: hold the lock from here until
    /// the log is cut or appended to and the machine told.
    #[must_use]
    pub fn plan(&self, answer: &Answer) -> Plan {
        if self.following() != Some(answer.asked) {
            return Plan::Stale;
        }
        match answer.found {
            Found::Agreement => Plan::Append,
            // Within an epoch logs that have agreed do not part again: this answers a question
            // from before the cut, and what was fetched since may be claimed already.
            Found::Divergence { .. } if self.is_reconciled => Plan::Stale,
            Found::OutOfRange { log_start, .. }
                if self.is_reconciled && log_start <= self.ends.end =>
            {
                Plan::Stale
            }
            Found::Divergence { leader, own } => self.truncate(common_end(leader, own)),
            Found::OutOfRange { log_start, .. } if log_start > self.ends.end => {
                Plan::Restart { at: log_start }
            }
            Found::OutOfRange { log_end, .. } if log_end < self.ends.end => self.truncate(log_end),
            // The leader knows none of this log's epochs: nothing here can be told from what is
            // there.
            Found::OutOfRange { log_start, .. } => Plan::Restart { at: log_start },
        }
    }

    fn truncate(&self, to: Offset) -> Plan {
        let to = to.min(self.ends.end).max(Offset::ZERO);
        Plan::Truncate { to, is_below_high_watermark: to < self.high_watermark }
    }

    /// How far this disk holds the leader's log, to be told with each fetch: `None` if this
    /// replica leads, has not found out yet whether its log agrees, or if nobody counts disks
    /// (relaxed mode).
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        let following = self.following()?;
        let counts = self.is_reconciled && self.policy.durability == Durability::Fsync;
        counts.then_some(Claim {
            leader: following.leader,
            leader_epoch: following.leader_epoch,
            end: self.ends.durable,
        })
    }
}

/// The end of what a follower shares with its leader, as far as one exchange can tell (KIP-279).
fn common_end(leader: EpochEnd, own: EpochEnd) -> Offset {
    if own.end < Offset::ZERO {
        // This log knows no epochs at all.
        return leader.end;
    }
    if own.epoch == leader.epoch {
        return own.end.min(leader.end);
    }
    // This log has nothing of that epoch: it keeps what is older, and asks again from there.
    own.end
}
