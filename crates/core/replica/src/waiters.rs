//! Requests that wait for the high watermark, kept in the order in which it will release them, and
//! the few of followers that wait for records too.

use jocko_types::{ErrorCode, Offset};
use std::collections::{BTreeMap, BTreeSet};

/// Stands for a parked request. The edge gave it out and knows whose it is; to the machine it is
/// a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Why a parked request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What it waited for has come true.
    Reached,
    /// It cannot come true here any more: answer this error.
    Refused(ErrorCode),
}

/// A ticket that is no longer parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Whose wait ended.
    pub ticket: Ticket,
    /// How.
    pub outcome: Outcome,
}

/// Parked requests, by the high watermark that frees each.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_offset: BTreeSet<(Offset, Ticket)>,
    offsets: BTreeMap<Ticket, Offset>,
    /// Fetches of followers by the log end and high watermark they know: one for each follower.
    fetches: BTreeMap<Ticket, (Offset, Offset)>,
}

impl Waiters {
    /// Parks `ticket` until the high watermark is at least `offset`.
    pub(crate) fn park(&mut self, ticket: Ticket, offset: Offset) {
        self.forget(ticket);
        self.by_offset.insert((offset, ticket));
        self.offsets.insert(ticket, offset);
    }

    /// Parks a follower's fetch until the log has records past `end`, or the high watermark is above
    /// the one given.
    pub(crate) fn park_fetch(&mut self, ticket: Ticket, end: Offset, high_watermark: Offset) {
        self.forget(ticket);
        self.fetches.insert(ticket, (end, high_watermark));
    }

    /// Drops a ticket whose request timed out or went away; fine if it is not parked.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        if let Some(offset) = self.offsets.remove(&ticket) {
            self.by_offset.remove(&(offset, ticket));
        }
        self.fetches.remove(&ticket);
    }

    /// Frees all that waited for a high watermark of at most `reached`, lowest first.
    pub(crate) fn release_to(&mut self, reached: Offset, into: &mut Vec<Released>) {
        while let Some(&(offset, ticket)) = self.by_offset.first() {
            if offset > reached {
                break;
            }
            self.by_offset.pop_first();
            self.offsets.remove(&ticket);
            into.push(Released { ticket, outcome: Outcome::Reached });
        }
    }

    /// Frees the fetches of followers that know less than this.
    pub(crate) fn release_fetches(
        &mut self,
        end: Offset,
        high_watermark: Offset,
        into: &mut Vec<Released>,
    ) {
        self.fetches.retain(|&ticket, &mut (known_end, known)| {
            let waits = end <= known_end && high_watermark <= known;
            if !waits {
                into.push(Released { ticket, outcome: Outcome::Reached });
            }
            waits
        });
    }

    /// Frees everybody with an error.
    pub(crate) fn refuse_all(&mut self, error: ErrorCode, into: &mut Vec<Released>) {
        let offsets = std::mem::take(&mut self.offsets).into_keys();
        for ticket in offsets.chain(std::mem::take(&mut self.fetches).into_keys()) {
            into.push(Released { ticket, outcome: Outcome::Refused(error) });
        }
        self.by_offset.clear();
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() + self.fetches.len()
    }
}
