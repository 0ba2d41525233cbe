//! Appending as the leader.

use crate::partition::{Effects, Open, Partition};
use jocko_commitlog::{AppendOutcome, AppendedBatch};
use jocko_records::PreparedBatch;
use jocko_replica::{Acks, Durability, Input, Refusal, Role, Ticket};
use jocko_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::sync::atomic::Ordering;

/// A batch that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last: it is committed once the high watermark is there.
    pub end: Offset,
    /// The broker's time, if the topic stamps with it.
    pub log_append_time: Option<Timestamp>,
    /// The first offset of the log.
    pub log_start: Offset,
    /// The leader epoch it was appended in.
    pub leader_epoch: LeaderEpoch,
    /// Whether it is committed already.
    pub is_committed: bool,
}

/// Why a batch was not appended: an answer for its producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The protocol's error.
    pub code: ErrorCode,
    /// More words, where Kafka has some.
    pub message: Option<String>,
    /// The log's start, where Kafka tells it with the error.
    pub log_start: Option<Offset>,
    /// The leader epoch in which the log lacks what should come before the batch. A leader that was
    /// replaced and has not heard of it lacks what its successor took, so this holds only if it led.
    pub gap_in: Option<LeaderEpoch>,
}

/// What has become of an appended batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not committed yet.
    Waiting,
    /// Committed.
    Committed,
    /// It will not be committed under this leader; whether at all, nobody knows.
    Lost(ErrorCode),
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, log_start: None, gap_in: None }
    }
}

impl Partition {
    /// Appends a prepared batch as leader. With `acks=all` and a `ticket`, the request is parked
    /// under it unless the batch is committed at once. `now` is the wall clock.
    ///
    /// # Errors
    /// The answer for the producer; nothing was appended.
    pub fn append(
        &self,
        batch: &PreparedBatch<'_>,
        acks: Acks,
        now: Timestamp,
        ticket: Option<u64>,
    ) -> (Result<Appended, Refused>, Effects) {
        self.append_as(None, batch, acks, now, ticket)
    }

    fn append_as(
        &self,
        epoch: Option<LeaderEpoch>,
        batch: &PreparedBatch<'_>,
        acks: Acks,
        now: Timestamp,
        ticket: Option<u64>,
    ) -> (Result<Appended, Refused>, Effects) {
        let governed = self.governed();
        let flush_records = governed.flush_records;
        let outcome = self.with_open(|open| {
            let mut effects = Effects::default();
            let segments = open.log.segment_count();
            if epoch.is_some_and(|epoch| epoch != open.replica.leader_epoch()) {
                return (Err(ErrorCode::NotLeaderOrFollower.into()), effects);
            }
            let appended = open.append(batch, acks, now, &mut effects);
            if appended.is_ok() {
                self.note_append(batch);
            }
            if governed.policy.durability == Durability::Relaxed && appended.is_ok() {
                // Nobody's answer waits for the disk; a sealed segment goes there all the same.
                let rolled = open.log.segment_count() > segments.max(1);
                effects.flush_due =
                    open.is_relaxed_flush_due(batch.record_count, flush_records) || rolled;
            }
            if let (Ok(appended), Some(ticket)) = (&appended, ticket)
                && acks == Acks::All
                && !appended.is_committed
            {
                let input = Input::Parked { ticket: Ticket(ticket), offset: appended.end };
                effects = std::mem::take(&mut effects).and(open.step(input));
            }
            (appended, effects)
        });
        outcome.unwrap_or_else(|code| (Err(code.into()), Effects::default()))
    }

    /// As [`Partition::append`] without a ticket, if this broker still leads in `epoch`: for a
    /// writer whose records follow from what the log held when that leadership began.
    ///
    /// # Errors
    /// As there, and [`ErrorCode::NotLeaderOrFollower`] in any other epoch.
    pub fn append_in(
        &self,
        epoch: LeaderEpoch,
        batch: &PreparedBatch<'_>,
        acks: Acks,
        now: Timestamp,
    ) -> (Result<Appended, Refused>, Effects) {
        self.append_as(Some(epoch), batch, acks, now, None)
    }

    fn note_append(&self, batch: &PreparedBatch<'_>) {
        let records = u64::try_from(batch.record_count).unwrap_or(0);
        self.traffic.bytes_in.fetch_add(batch.bytes.len() as u64, Ordering::Relaxed);
        self.traffic.records_in.fetch_add(records, Ordering::Relaxed);
    }

    /// What has become of a batch that was appended before.
    #[must_use]
    pub fn progress(&self, appended: &Appended) -> Progress {
        let progress = self.if_open(|open| {
            let replica = &open.replica;
            if replica.leader_epoch() != appended.leader_epoch || replica.role() != Role::Leader {
                Progress::Lost(ErrorCode::NotLeaderOrFollower)
            } else if replica.high_watermark() >= appended.end {
                Progress::Committed
            } else if open.log.latched().is_some() {
                Progress::Lost(ErrorCode::KafkaStorageError)
            } else {
                Progress::Waiting
            }
        });
        progress.unwrap_or_else(|| {
            let error = self.gone().map_or(ErrorCode::NotLeaderOrFollower, |gone| gone.error);
            Progress::Lost(error)
        })
    }
}

impl Open {
    fn append(
        &mut self,
        batch: &PreparedBatch<'_>,
        acks: Acks,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Appended, Refused> {
        let leader_epoch =
            self.replica.admit_produce(acks).map_err(|Refusal(code)| Refused::from(code))?;
        let was_latched = self.log.latched().is_some();
        let outcome = self.log.append(batch, leader_epoch, now).map_err(|fault| {
            if !was_latched {
                tracing::error!(%fault, "append failed; the log takes no more writes");
                *effects = self.step(Input::Ended { error: ErrorCode::KafkaStorageError });
            }
            Refused::from(ErrorCode::KafkaStorageError)
        })?;
        let (base_offset, last_offset, log_append_time) = match outcome {
            AppendOutcome::Appended(AppendedBatch { base_offset, last_offset, .. }) => {
                let input = Input::Appended { end: self.log.log_end() };
                *effects = self.step(input);
                (base_offset, last_offset, batch.log_append_time)
            }
            AppendOutcome::Duplicate { base_offset, last_offset, timestamp } => {
                // It may not be durable yet: the answer waits like the first one's. Its time is told
                // whatever clock it came from, as Kafka does.
                (base_offset, last_offset, Some(timestamp))
            }
            refused => {
                if refused == AppendOutcome::NoSpace {
                    effects.no_room_for = u64::try_from(batch.header.size_bytes()).ok();
                }
                return Err(self.refusal(refused));
            }
        };
        let end = last_offset.next();
        Ok(Appended {
            base_offset,
            end,
            log_append_time,
            log_start: self.log.log_start(),
            leader_epoch,
            is_committed: self.replica.high_watermark() >= end,
        })
    }

    /// The answer for a producer whose batch the log did not take.
    fn refusal(&self, outcome: AppendOutcome) -> Refused {
        let log_start = Some(self.log.log_start());
        match outcome {
            AppendOutcome::OutOfOrderSequence { last, got } => Refused {
                code: ErrorCode::OutOfOrderSequenceNumber,
                message: Some(match last {
                    Some(last) => format!("sequence {got} does not follow {last}"),
                    None => format!("a new producer epoch starts at sequence 0, not {got}"),
                }),
                log_start,
                gap_in: Some(self.replica.leader_epoch()),
            },
            AppendOutcome::InvalidProducerEpoch { current } => Refused {
                code: ErrorCode::InvalidProducerEpoch,
                message: Some(format!("epoch {current} of this producer has written already")),
                log_start,
                gap_in: None,
            },
            AppendOutcome::TooLarge { .. } => ErrorCode::RecordListTooLarge.into(),
            AppendOutcome::NoSpace
            | AppendOutcome::Appended(_)
            | AppendOutcome::Duplicate { .. } => ErrorCode::KafkaStorageError.into(),
        }
    }

    /// In relaxed mode nobody's answer waits for the disk: `flush.messages` alone asks for it.
    fn is_relaxed_flush_due(&mut self, records: i32, flush_records: i64) -> bool {
        self.unsynced_records = self.unsynced_records.saturating_add(i64::from(records));
        let due = self.unsynced_records >= flush_records;
        if due {
            self.unsynced_records = 0;
        }
        due
    }
}
