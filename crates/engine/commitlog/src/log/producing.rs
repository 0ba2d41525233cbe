//! The producers a log remembers, for those who ask who writes here.

use super::Log;
use jocko_types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// What is remembered of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of its last record; `None` if it has written none in this epoch.
    pub last_sequence: Option<Sequence>,
    /// The largest timestamp of its last batch.
    pub last_timestamp: Timestamp,
    /// The epoch of the coordinator that last ended a transaction of it; -1 if none did.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

impl Log {
    /// Every producer, by id.
    #[must_use]
    pub fn producers(&self) -> Vec<ProducerState> {
        let state = |(id, producer): (ProducerId, &crate::producers::Producer)| ProducerState {
            id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map(|batch| batch.last_sequence),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: (producer.transaction_start >= Offset::ZERO)
                .then_some(producer.transaction_start),
        };
        self.producers.iter().map(state).collect()
    }
}
