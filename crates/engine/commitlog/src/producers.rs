//! What the log remembers of idempotent producers (KIP-98, KIP-360): enough to answer a repeated
//! batch with its first offset and to refuse a gap.
//!
//! Five batches per producer id are kept, since a producer has at most five in flight. The number
//! of producers is bounded; the least recently seen goes first, and a producer that comes back
//! after it was forgotten may start at any sequence, as after retention.

mod snapshot;

pub(crate) use snapshot::{Snapshot, Tail, decode_kafka, encode, encode_kafka};

use crate::config::millis;
use jocko_records::BatchHeader;
use jocko_types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Batches remembered per producer: the most a Java or C client keeps in flight.
pub(crate) const BATCHES_MAX: usize = 5;

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_sequence: Sequence,
    pub(crate) last_sequence: Sequence,
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) timestamp: Timestamp,
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: ProducerEpoch,
    /// Oldest first; empty after an epoch was raised by a marker.
    pub(crate) batches: VecDeque<Appended>,
    /// Largest timestamp of its last batch, which Kafka's snapshot holds.
    pub(crate) last_timestamp: Timestamp,
    /// When it last wrote, by this broker's clock, for expiry.
    pub(crate) seen_at: Timestamp,
    pub(crate) coordinator_epoch: i32,
    /// First offset of its open transaction; -1 if none.
    pub(crate) transaction_start: Offset,
    /// Its place in the order of use.
    touched: u64,
}

/// What the producer's state says about a batch that wants to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next.
    Fits,
    /// It was appended before.
    Duplicate(Appended),
    /// Sequences are missing, or it is older than what is remembered.
    OutOfOrder {
        /// The sequence that was due; `None` if a new epoch had to start at 0.
        last: Option<Sequence>,
    },
    /// A newer incarnation of the producer has written.
    Fenced {
        /// Its epoch.
        current: ProducerEpoch,
    },
}

/// All producers of one log.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: BTreeMap<ProducerId, Producer>,
    by_use: BTreeMap<u64, ProducerId>,
    uses: u64,
}

impl PartialEq for Producers {
    /// Equal if they answer alike; the order of use may differ.
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): ((&ProducerId, &Producer), (&ProducerId, &Producer))| {
            a.0 == b.0
                && Producer { touched: 0, ..a.1.clone() } == Producer { touched: 0, ..b.1.clone() }
        };
        self.by_id.len() == other.by_id.len() && self.by_id.iter().zip(&other.by_id).all(same)
    }
}

impl Producers {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    /// Judges a client's batch. The header is as the client sent it.
    pub(crate) fn judge(&self, header: &BatchHeader) -> Verdict {
        if !header.is_idempotent() {
            return Verdict::Fits;
        }
        let Some(producer) = self.by_id.get(&header.producer_id) else { return Verdict::Fits };
        if header.producer_epoch < producer.epoch {
            return Verdict::Fenced { current: producer.epoch };
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        if header.producer_epoch > producer.epoch {
            let fits = first == Sequence::new(0);
            return if fits { Verdict::Fits } else { Verdict::OutOfOrder { last: None } };
        }
        let same = |at: &&Appended| at.base_sequence == first && at.last_sequence == last;
        if let Some(appended) = producer.batches.iter().find(same) {
            return Verdict::Duplicate(*appended);
        }
        let last = producer.batches.back().map(|at| at.last_sequence);
        let due = last.map_or(Sequence::new(0), |last| last.plus(1));
        if first == due { Verdict::Fits } else { Verdict::OutOfOrder { last } }
    }

    /// Takes note of a batch that is in the log, with its offsets assigned. Total: what a leader
    /// accepted, followers and recovery follow.
    pub(crate) fn apply(&mut self, header: &BatchHeader, now: Timestamp, producers_max: usize) {
        if !header.is_idempotent() {
            return;
        }
        self.uses += 1;
        let touched = self.uses;
        let producer = self.by_id.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            last_timestamp: header.max_timestamp,
            seen_at: now,
            coordinator_epoch: -1,
            transaction_start: Offset::new(-1),
            touched,
        });
        self.by_use.remove(&producer.touched);
        self.by_use.insert(touched, header.producer_id);
        producer.touched = touched;
        producer.seen_at = now;
        producer.last_timestamp = header.max_timestamp;
        if header.producer_epoch != producer.epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        if header.is_control() {
            producer.transaction_start = Offset::new(-1);
        } else {
            if producer.batches.len() == BATCHES_MAX {
                producer.batches.pop_front();
            }
            producer.batches.push_back(Appended {
                base_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                timestamp: header.max_timestamp,
            });
            if header.is_transactional() && producer.transaction_start < Offset::ZERO {
                producer.transaction_start = header.base_offset;
            }
        }
        while self.by_id.len() > producers_max.max(1) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.by_use.pop_first() {
            self.by_id.remove(&id);
        }
    }

    /// Puts a producer back as a snapshot had it; later ones count as used later.
    pub(crate) fn restore(&mut self, id: ProducerId, mut producer: Producer) {
        self.uses += 1;
        producer.touched = self.uses;
        self.by_use.insert(self.uses, id);
        if let Some(before) = self.by_id.insert(id, producer) {
            self.by_use.remove(&before.touched);
        }
    }

    /// Forgets producers that were silent too long. One with an open transaction stays.
    pub(crate) fn expire(&mut self, now: Timestamp, after: Duration) -> usize {
        let silent_max = millis(after);
        let due: Vec<ProducerId> = self
            .iter()
            .filter(|(_, producer)| {
                producer.transaction_start < Offset::ZERO
                    && now.millis_since(producer.seen_at) >= silent_max
            })
            .map(|(id, _)| id)
            .collect();
        for id in &due {
            if let Some(producer) = self.by_id.remove(id) {
                self.by_use.remove(&producer.touched);
            }
        }
        due.len()
    }

    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
        self.by_use.clear();
    }

    /// Producers, least recently used first: the order a snapshot keeps.
    fn in_order_of_use(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.by_use.values().filter_map(|id| Some((*id, self.by_id.get(id)?)))
    }
}

#[cfg(test)]
mod tests;
