//! Leading: what followers fetch and say, and in-sync sets that are to be decided elsewhere.

use crate::follow::epoch_end;
use crate::partition::{Effects, Partition};
use jocko_commitlog::{Cold, LogSlice, Patience, ReadOutcome as LogRead, ReadRequest};
use jocko_replica::{
    Agreement, Caller, EpochEnd, FollowerStanding, Input, ProposalOutcome, Refusal, Role, Ticket,
    agreement,
};
use jocko_types::{BrokerId, ErrorCode, LeaderEpoch, Now, Offset};

/// What a follower asks.
#[derive(Debug, Clone, Copy)]
pub struct FollowerFetch {
    /// Who asks, and in which epoch.
    pub caller: Caller,
    /// The end of its log.
    pub from: Offset,
    /// Where its log starts.
    pub log_start: Offset,
    /// The newest epoch its log knows; `None` if it knows none.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The most bytes it takes.
    pub bytes_max: usize,
    /// Whether it takes the first batch even if that is larger.
    pub whole_batch: bool,
}

/// What it is answered.
#[derive(Debug)]
pub enum FollowerRead {
    /// The logs agree up to where it asks.
    Found(FollowerView),
    /// They part at the end of this epoch, or before.
    Diverging(EpochEnd),
    /// Its offset lies outside this log.
    OutOfRange {
        /// Where that starts.
        log_start: Offset,
        /// Where it ends.
        log_end: Offset,
    },
    /// An error.
    Refused {
        /// Which.
        error: ErrorCode,
        /// The leader that this broker knows, and its epoch: who is behind can tell.
        leader: Option<BrokerId>,
        /// The epoch.
        leader_epoch: LeaderEpoch,
    },
    /// The search needs bytes that are not in memory: warm them on a worker and ask again.
    Cold(Cold),
}

/// A leader's log as a follower sees it: up to its end, not to the high watermark.
#[derive(Debug)]
pub struct FollowerView {
    /// Where the records are, if there are any.
    pub slice: Option<LogSlice>,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// The first offset there is.
    pub log_start: Offset,
    /// The offset the next record gets.
    pub log_end: Offset,
}

impl Partition {
    /// Finds what a follower is to have next, and takes note of what its question tells. Reads no
    /// records and never waits for the device.
    pub fn fetch_for_follower(&self, fetch: &FollowerFetch, now: Now) -> (FollowerRead, Effects) {
        let read = self.with_open(|open| {
            let replica = &open.replica;
            let (leader, leader_epoch) = (replica.leader(), replica.leader_epoch());
            let refused = |error| FollowerRead::Refused { error, leader, leader_epoch };
            if let Err(Refusal(error)) = replica.admit_follower(&fetch.caller) {
                return (refused(error), Effects::default());
            }
            let (log_start, log_end) = (open.log.log_start(), open.log.log_end());
            let own = |epoch| (epoch, epoch_end(open.log.epoch_end_offset(epoch)));
            let last_fetched = fetch.last_fetched_epoch.map(own);
            match agreement(fetch.from, last_fetched, (log_start, log_end)) {
                Agreement::Yes => {}
                Agreement::No(end) => return (FollowerRead::Diverging(end), Effects::default()),
                Agreement::OutOfRange => {
                    return (FollowerRead::OutOfRange { log_start, log_end }, Effects::default());
                }
            }
            let request = ReadRequest {
                from: fetch.from,
                upper: log_end,
                bytes_max: fetch.bytes_max,
                at_least_one_batch: fetch.whole_batch,
                patience: Patience::ResidentOnly,
            };
            let slice = match open.log.read(&request) {
                Ok(LogRead::Slice(slice)) => Some(slice).filter(|slice| slice.len > 0),
                Ok(LogRead::Empty) => None,
                Ok(LogRead::OutOfRange { log_start, log_end }) => {
                    return (FollowerRead::OutOfRange { log_start, log_end }, Effects::default());
                }
                Ok(LogRead::Cold(cold)) => return (FollowerRead::Cold(cold), Effects::default()),
                Err(fault) => {
                    tracing::error!(partition = %self.name(), %fault, "read for a follower failed");
                    self.note_damage(&fault);
                    return (refused(ErrorCode::KafkaStorageError), Effects::default());
                }
            };
            let FollowerFetch { caller, from: offset, .. } = *fetch;
            open.follower_starts.insert(caller.broker, fetch.log_start);
            let effects = open.step(Input::Fetched { caller, offset, now });
            let high_watermark = open.replica.high_watermark();
            (
                FollowerRead::Found(FollowerView { slice, high_watermark, log_start, log_end }),
                effects,
            )
        });
        read.unwrap_or_else(|error| {
            let leader_epoch = LeaderEpoch::NONE;
            (FollowerRead::Refused { error, leader: None, leader_epoch }, Effects::default())
        })
    }

    /// Parks a follower's fetch that found nothing, until there is more than `end` or a high
    /// watermark above the one that it knows.
    pub fn park_follower(&self, ticket: u64, end: Offset, high_watermark: Offset) -> Effects {
        let input = Input::ParkedFetch { ticket: Ticket(ticket), end, high_watermark };
        let parked = self.if_open(|open| open.step(input));
        parked.unwrap_or_else(|| Effects { released: vec![ticket], ..Effects::default() })
    }

    /// A follower says how far its disk holds the log.
    pub fn follower_progress(&self, caller: Caller, end: Offset, now: Now) -> Effects {
        self.if_open(|open| open.step(Input::Progress { caller, end, now })).unwrap_or_default()
    }

    /// What became of a proposed in-sync set.
    pub fn proposal_answered(&self, number: u64, outcome: ProposalOutcome, now: Now) -> Effects {
        self.if_open(|open| open.step(Input::Answered { number, outcome, now })).unwrap_or_default()
    }

    /// Lets the time pass that lagging is measured in, if it matters here.
    pub fn tick(&self, now: Now) -> Effects {
        let ticked = self.if_open(|open| {
            let is_due = open.replica.next_deadline().is_some_and(|due| due <= now);
            if is_due { open.step(Input::Ticked { now }) } else { Effects::default() }
        });
        ticked.unwrap_or_default()
    }

    /// Whether this broker leads it. A partition that is not open yet is assumed to be led by whom
    /// its assignment names.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.if_open(|open| open.replica.role() == Role::Leader).unwrap_or(false)
    }

    /// Whether this broker leads it, in this epoch.
    #[must_use]
    pub fn leads_in(&self, epoch: LeaderEpoch) -> bool {
        let leads = self.if_open(|open| {
            open.replica.role() == Role::Leader && open.replica.leader_epoch() == epoch
        });
        leads.unwrap_or(false)
    }

    /// As leader: its followers; empty otherwise.
    #[must_use]
    pub fn followers(&self) -> Vec<FollowerStanding> {
        self.if_open(|open| open.replica.followers().collect()).unwrap_or_default()
    }
}
