//! Following another broker's replica: where to fetch from, and what to do with the answer.
//!
//! One call takes an answer in, under one hold of the lock: what the machine planned on is what is
//! cut or appended to. The log is cut first, then appended to, and only then the leader's high
//! watermark counts (KAFKA-14704).

use crate::partition::{Effects, Open, Partition, ends_of};
use jocko_commitlog::{AssignedOutcome, LogFault};
use jocko_records::BatchError;
use jocko_replica::{Answer, Claim, EpochEnd, Following, Found, Input, Plan};
use jocko_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::sync::atomic::Ordering;

/// What to ask the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follow {
    /// Whom, in which epoch, and from where. To be given back with the answer.
    pub following: Following,
    /// The newest epoch this log knows; `None` if it knows none.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The first offset of this log.
    pub log_start: Offset,
    /// What is known to be committed.
    pub high_watermark: Offset,
    /// How far this disk holds the log, to be told beside.
    pub claim: Option<Claim>,
    /// Whether the leader has not said yet that the logs agree. Nothing is claimed before, and what
    /// the leader has from its predecessor may wait for the claim: it is to answer at once.
    pub is_new: bool,
}

/// What a leader answered.
#[derive(Debug, Clone, Copy)]
pub enum Answered<'a> {
    /// The logs agree; here are whole batches, if there are any.
    Records {
        /// As they lie in the leader's log.
        bytes: &'a [u8],
        /// Everything below is committed.
        high_watermark: Offset,
        /// The first offset of the leader's log.
        log_start: Offset,
    },
    /// The logs part at the end of this epoch, or before.
    Diverging(EpochEnd),
    /// The offset lies outside the leader's log.
    OutOfRange {
        /// Where that starts.
        log_start: Offset,
        /// Where it ends.
        log_end: Offset,
    },
}

/// What was done with an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// The batches are in the log, to be flushed.
    Appended {
        /// The log's end now.
        end: Offset,
        /// How many bytes came.
        bytes: usize,
    },
    /// The log was cut, durably. Fetch again at once.
    Cut {
        /// The end of what is left.
        end: Offset,
    },
    /// The log was emptied and begins anew, durably: the leader has nothing before. Fetch again at
    /// once.
    Restarted {
        /// Where it begins.
        at: Offset,
    },
    /// It answers a question of another time. Nothing was done.
    Stale,
    /// The leader's answer does not fit: a batch is damaged or out of place. What was before it is
    /// in the log.
    Misfit(Misfit),
    /// What this replica knows to be committed would have to be cut. Nothing was done: after a clean
    /// election this cannot be, so that somebody is wrong about what is committed (KAFKA-12460).
    LosesCommitted {
        /// Where the leader's log parts from this one.
        to: Offset,
        /// Everything below was committed.
        high_watermark: Offset,
    },
    /// The disk is full; it passes.
    NoRoom {
        /// The log's end.
        end: Offset,
    },
    /// The log takes no more writes, or the partition is gone.
    Failed(ErrorCode),
}

/// Why batches of a leader do not fit.
#[derive(Debug, Clone, PartialEq)]
pub enum Misfit {
    /// A batch is damaged.
    Damaged(BatchError),
    /// It does not follow the log's end.
    OutOfPlace {
        /// That.
        expected: Offset,
        /// Its base offset.
        got: Offset,
    },
    /// Its epoch is older than the log's newest.
    OldEpoch {
        /// That.
        latest: LeaderEpoch,
        /// Its epoch.
        got: LeaderEpoch,
    },
    /// It is larger than any file may be.
    TooLarge,
}

/// What a cut notes first takes a block of the disk or two, in bytes.
const CUT_BYTES: u64 = 8 << 10;

impl Partition {
    /// What to ask the leader next; `None` if there is none, or if it is this broker. Opens the log:
    /// the first time, for workers.
    ///
    /// # Errors
    /// The log cannot be opened, is damaged or takes no more writes, or the partition is gone.
    pub fn follow(&self) -> Result<Option<Follow>, ErrorCode> {
        self.with_open(|open| {
            // A damaged log says nothing to leaders of epochs to come: they must not count on it.
            if open.log.latched().is_some() || self.damage().is_some() {
                return Err(ErrorCode::KafkaStorageError);
            }
            let Some(following) = open.replica.following() else { return Ok(None) };
            Ok(Some(Follow {
                following,
                last_fetched_epoch: open.log.latest_epoch().map(|last| last.epoch),
                log_start: open.log.log_start(),
                high_watermark: open.replica.high_watermark(),
                claim: open.replica.claim(),
                is_new: !open.replica.is_reconciled(),
            }))
        })?
    }

    /// Takes a leader's answer in. Appending takes microseconds; a cut is durable when this returns,
    /// and takes as long as the device does: for workers. `now` is the wall clock.
    pub fn take_answer(
        &self,
        asked: Following,
        answer: &Answered<'_>,
        now: Timestamp,
    ) -> (Followed, Effects) {
        let taken = self.with_open(|open| {
            let records = open.log.log_end();
            let done = open.take_answer(asked, answer, now);
            if let Followed::Appended { bytes, .. } = &done.0 {
                let records = records.distance_to(open.log.log_end());
                self.traffic.bytes_in.fetch_add(*bytes as u64, Ordering::Relaxed);
                self.traffic.records_in.fetch_add(records.unsigned_abs(), Ordering::Relaxed);
            }
            done
        });
        taken.unwrap_or_else(|error| (Followed::Failed(error), Effects::default()))
    }
}

impl Open {
    fn take_answer(
        &mut self,
        asked: Following,
        answer: &Answered<'_>,
        now: Timestamp,
    ) -> (Followed, Effects) {
        let found = match answer {
            Answered::Records { .. } => Found::Agreement,
            Answered::Diverging(leader) => {
                let own = epoch_end(self.log.epoch_end_offset(leader.epoch));
                Found::Divergence { leader: *leader, own }
            }
            Answered::OutOfRange { log_start, log_end } => {
                Found::OutOfRange { log_start: *log_start, log_end: *log_end }
            }
        };
        match self.replica.plan(&Answer { asked, found }) {
            Plan::Stale => (Followed::Stale, Effects::default()),
            Plan::Truncate { to, is_below_high_watermark: true } => {
                let high_watermark = self.replica.high_watermark();
                (Followed::LosesCommitted { to, high_watermark }, Effects::default())
            }
            Plan::Truncate { to, is_below_high_watermark: false } => self.cut(to, now),
            Plan::Restart { at } => self.restart(at, now),
            Plan::Append => match answer {
                Answered::Records { bytes, high_watermark, log_start } => {
                    self.append_fetched(bytes, (*log_start, *high_watermark), now)
                }
                Answered::Diverging(_) | Answered::OutOfRange { .. } => {
                    unreachable!("only records are appended")
                }
            },
        }
    }

    fn cut(&mut self, to: Offset, now: Timestamp) -> (Followed, Effects) {
        match self.log.truncate_to(to, now) {
            Ok(end) => {
                let effects = self.step(Input::Truncated { ends: ends_of(&self.log) });
                (Followed::Cut { end }, effects)
            }
            Err(fault) => self.cut_failed(&fault),
        }
    }

    fn restart(&mut self, at: Offset, now: Timestamp) -> (Followed, Effects) {
        match self.log.truncate_fully_and_start_at(at, now) {
            Ok(()) => {
                let effects = self.step(Input::Truncated { ends: ends_of(&self.log) });
                (Followed::Restarted { at }, effects)
            }
            Err(fault) => self.cut_failed(&fault),
        }
    }

    fn append_fetched(
        &mut self,
        bytes: &[u8],
        (leader_start, high_watermark): (Offset, Offset),
        now: Timestamp,
    ) -> (Followed, Effects) {
        let own_start = self.log.log_start();
        let rebased = match overlap(bytes, self.log.log_end()) {
            None => Effects::default(),
            Some(base) if own_start == self.log.log_end() => {
                // A log may start within a batch. An empty one that is to start there, as its
                // leader's does, takes the whole batch.
                let (begun, effects) = self.restart(base, now);
                if !matches!(begun, Followed::Restarted { .. }) {
                    return (begun, effects);
                }
                effects
            }
            // The logs part here, and epochs do not tell: the leader's have moved with its start.
            Some(base) if base < self.replica.high_watermark() => {
                let high_watermark = self.replica.high_watermark();
                let followed = Followed::LosesCommitted { to: base, high_watermark };
                return (followed, Effects::default());
            }
            Some(base) => return self.cut(base, now),
        };
        let before = self.log.log_end();
        let outcome = match self.log.append_as_follower(bytes, now) {
            Ok(outcome) => outcome,
            Err(fault) => return self.follow_failed(&fault),
        };
        let end = self.log.log_end();
        let followed = match outcome {
            AssignedOutcome::Appended { .. } => Followed::Appended { end, bytes: bytes.len() },
            AssignedOutcome::NoSpace => Followed::NoRoom { end },
            AssignedOutcome::OutOfPlace { expected, got } => {
                Followed::Misfit(Misfit::OutOfPlace { expected, got })
            }
            AssignedOutcome::OldEpoch { latest, got } => {
                Followed::Misfit(Misfit::OldEpoch { latest, got })
            }
            AssignedOutcome::Refused(error) => Followed::Misfit(Misfit::Damaged(error)),
            AssignedOutcome::TooLarge { .. } => Followed::Misfit(Misfit::TooLarge),
        };
        let mut effects = rebased;
        // Batches before one that does not fit were whole and in place: they count.
        if end > before || matches!(followed, Followed::Appended { .. }) {
            effects = effects.and(self.step(Input::Replicated { end, high_watermark }));
            let committed = leader_start.min(self.replica.high_watermark());
            effects = effects.and(self.follow_start(own_start.max(committed)));
        }
        if matches!(followed, Followed::NoRoom { .. }) {
            effects.no_room_for = Some(bytes.len() as u64);
        }
        (followed, effects)
    }

    /// What the leader dropped, as far as it was committed, goes here, too.
    fn follow_start(&mut self, start: Offset) -> Effects {
        if start <= self.log.log_start() || self.log.advance_log_start(start).is_err() {
            return Effects::default();
        }
        self.step(Input::Trimmed { start: self.log.log_start() })
    }

    /// A disk that is too full to begin a cut passes, as one does that takes no records.
    fn cut_failed(&mut self, fault: &LogFault) -> (Followed, Effects) {
        if !fault.is_want_of_room() || self.log.latched().is_some() {
            return self.follow_failed(fault);
        }
        let effects = Effects { no_room_for: Some(CUT_BYTES), ..Effects::default() };
        (Followed::NoRoom { end: self.log.log_end() }, effects)
    }

    fn follow_failed(&mut self, fault: &LogFault) -> (Followed, Effects) {
        tracing::error!(%fault, "a follower's log takes no more writes");
        let error = ErrorCode::KafkaStorageError;
        (Followed::Failed(error), self.step(Input::Ended { error }))
    }
}

/// The base of the first batch, if that begins before `end` and reaches over it.
fn overlap(bytes: &[u8], end: Offset) -> Option<Offset> {
    let first = jocko_records::strict_batches(bytes).next()?.ok()?;
    let header = first.header();
    (header.base_offset < end && header.last_offset() >= end).then_some(header.base_offset)
}

pub(crate) fn epoch_end(end: jocko_commitlog::EpochEnd) -> EpochEnd {
    EpochEnd { epoch: end.epoch, end: end.end }
}
