//! Reading for consumers.

use crate::partition::{Effects, Open, Partition};
use jocko_commitlog::{Cold, LogSlice, Patience, ReadOutcome as LogRead, ReadRequest};
use jocko_replica::{Input, Refusal, Role, Ticket};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Offset};
use std::cmp::Reverse;
use std::sync::atomic::Ordering;

/// What a consumer wants.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// The first offset it has not seen.
    pub from: Offset,
    /// The most bytes it takes.
    pub bytes_max: usize,
    /// Whether it takes the first batch even if that is larger (KIP-74).
    pub whole_batch: bool,
    /// Whether it wants only what is committed of transactions, too.
    pub read_committed: bool,
    /// The leader epoch it knows (KIP-320).
    pub known_leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record it has; the answer says if the logs have diverged (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Whether a follower may answer, too (KIP-392).
    pub any_replica: bool,
}

/// What there was.
#[derive(Debug)]
pub enum ReadOutcome {
    /// An answer, with or without records.
    Found(View),
    /// An error for the client.
    Refused(ErrorCode),
    /// The search needs bytes that are not in memory: warm them on a worker and read again.
    Cold(Cold),
}

/// A partition as a reader sees it.
#[derive(Debug)]
pub struct View {
    /// Where the records are, if there are any.
    pub slice: Option<LogSlice>,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// Everything below is decided; transactions under way begin here at the earliest.
    pub last_stable: Offset,
    /// The first offset there is.
    pub log_start: Offset,
    /// Where the reader's log and this one part, if they do.
    pub diverging: Option<Diverging>,
    /// Whether this replica leads: another one knows what is committed a little later.
    pub is_leader: bool,
}

/// The last point up to which two logs agree (KIP-595).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Diverging {
    /// The largest epoch both may share.
    pub epoch: LeaderEpoch,
    /// Where it ends here.
    pub end_offset: Offset,
}

impl Partition {
    /// Finds what a consumer may read now. Reads no records and never waits for the device.
    #[must_use]
    pub fn read(&self, read: &Read) -> ReadOutcome {
        let found = self.with_open(|open| {
            if read.any_replica {
                open.replica.admit_reader(read.known_leader_epoch)?;
            } else {
                open.replica.admit_read(read.known_leader_epoch)?;
            }
            let mut view = open.view();
            if let Some(epoch) = read.last_fetched_epoch {
                let end = open.log.epoch_end_offset(epoch);
                if end.end < Offset::ZERO {
                    return Err(Refusal(ErrorCode::OffsetOutOfRange));
                }
                if end.epoch < epoch || end.end < read.from {
                    view.diverging = Some(Diverging { epoch: end.epoch, end_offset: end.end });
                    return Ok(Ok(view));
                }
            }
            let request = ReadRequest {
                from: read.from,
                upper: if read.read_committed { view.last_stable } else { view.high_watermark },
                bytes_max: read.bytes_max,
                at_least_one_batch: read.whole_batch,
                patience: Patience::ResidentOnly,
            };
            match open.log.read(&request) {
                Ok(LogRead::Slice(slice)) => {
                    self.traffic.bytes_out.fetch_add(slice.len as u64, Ordering::Relaxed);
                    view.slice = Some(slice);
                }
                Ok(LogRead::Empty) => {}
                // The leader may have it: a follower cannot tell (KIP-392, cases 2 and 4).
                Ok(LogRead::OutOfRange { log_end, .. })
                    if !view.is_leader && read.from > log_end =>
                {
                    return Err(Refusal(ErrorCode::OffsetNotAvailable));
                }
                Ok(LogRead::OutOfRange { .. }) => {
                    return Err(Refusal(ErrorCode::OffsetOutOfRange));
                }
                Ok(LogRead::Cold(cold)) => return Ok(Err(cold)),
                Err(fault) => {
                    tracing::error!(partition = %self.name(), %fault, "read failed");
                    self.note_damage(&fault);
                    return Err(Refusal(ErrorCode::KafkaStorageError));
                }
            }
            Ok(Ok(view))
        });
        match found {
            Ok(Ok(Ok(view))) => ReadOutcome::Found(view),
            Ok(Ok(Err(cold))) => ReadOutcome::Cold(cold),
            Ok(Err(Refusal(error))) | Err(error) => ReadOutcome::Refused(error),
        }
    }

    /// As leader: which of `candidates` has what a reader wants from `from` on, and is in sync; the
    /// one whose log reaches furthest. With it what the reader may know of this log (KIP-392).
    #[must_use]
    pub fn nearer(
        &self,
        from: Offset,
        known_leader_epoch: Option<LeaderEpoch>,
        candidates: &[BrokerId],
    ) -> Option<(BrokerId, View)> {
        self.if_open(|open| {
            open.replica.admit_read(known_leader_epoch).ok()?;
            let has_it = |broker: &BrokerId| {
                open.follower_starts.get(broker).is_some_and(|start| *start <= from)
            };
            let (_, Reverse(found)) = open
                .replica
                .followers()
                .filter(|it| it.is_insync && it.fetched >= from && candidates.contains(&it.broker))
                .filter(|it| has_it(&it.broker))
                .map(|it| (it.fetched, Reverse(it.broker)))
                .max()?;
            Some((found, open.view()))
        })?
    }

    /// Parks a request until the high watermark is at least `offset`; refused by who does not lead.
    pub fn park(&self, ticket: u64, offset: Offset) -> Effects {
        self.park_as(ticket, Input::Parked { ticket: Ticket(ticket), offset })
    }

    /// As [`Partition::park`], for a reader that a follower may serve, too.
    pub fn park_reader(&self, ticket: u64, offset: Offset) -> Effects {
        self.park_as(ticket, Input::ParkedReader { ticket: Ticket(ticket), offset })
    }

    fn park_as(&self, ticket: u64, input: Input) -> Effects {
        let parked = self.if_open(|open| open.step(input));
        // A partition that is gone wakes the request at once, to find that out.
        parked.unwrap_or_else(|| Effects { released: vec![ticket], ..Effects::default() })
    }
}

impl Open {
    /// What a reader may know, without records.
    fn view(&self) -> View {
        let high_watermark = self.replica.high_watermark();
        View {
            slice: None,
            high_watermark,
            // Without transactions everything committed is decided.
            last_stable: high_watermark,
            log_start: self.log.log_start(),
            diverging: None,
            is_leader: self.replica.role() == Role::Leader,
        }
    }
}
