//! Blocks of producer ids (KIP-730).

use super::Decider;
use crate::command::{AllocatedProducerIds, Answer, Refusal};
use crate::record::MetadataRecord;
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode, ProducerId};

/// Ids in one block. A broker that dies wastes what is left of its own.
pub const PRODUCER_ID_BLOCK: i32 = 1_000;

impl Decider<'_> {
    pub(super) fn allocate_producer_ids(
        &mut self,
        broker_id: BrokerId,
        broker_epoch: BrokerEpoch,
    ) -> Answer<AllocatedProducerIds> {
        self.current_broker(broker_id, broker_epoch)?;
        let first = self.image.next_producer_id();
        let next = first.get().checked_add(i64::from(PRODUCER_ID_BLOCK)).ok_or_else(|| {
            let message = "Exhausted all producer ids.";
            Refusal::new(ErrorCode::UnknownServerError, message)
        })?;
        self.records.push(MetadataRecord::ProducerIds { next: ProducerId::new(next) });
        Ok(AllocatedProducerIds { first, count: PRODUCER_ID_BLOCK })
    }
}
