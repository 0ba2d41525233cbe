//! Producer ids for InitProducerId: handed out from a block that the controller gave this broker
//! (KIP-730), so that most requests need no Raft round.

use crate::controller::{ControllerHandle, Undecided};
use jocko_metadata::{Command, Reply};
use jocko_types::{BrokerEpoch, BrokerId, ErrorCode, ProducerId};
use std::sync::{Mutex, PoisonError};

/// The ids this broker may still give out.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    broker_id: BrokerId,
    broker_epoch: BrokerEpoch,
    block: Mutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    /// None yet: the first request asks for a block.
    pub(crate) fn new(broker_id: BrokerId, broker_epoch: BrokerEpoch) -> Self {
        Self { broker_id, broker_epoch, block: Mutex::new(0..0) }
    }

    /// The next id of the block, if it is not used up.
    pub(crate) fn take(&self) -> Option<ProducerId> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner).next().map(ProducerId::new)
    }

    /// The next id, after asking for another block if need be. Of two that ask at once each gets a
    /// block, and one block goes unused: ids are many.
    pub(crate) async fn next(
        &self,
        controller: &ControllerHandle,
    ) -> Result<ProducerId, ErrorCode> {
        if let Some(id) = self.take() {
            return Ok(id);
        }
        let command = Command::AllocateProducerIds {
            broker_id: self.broker_id,
            broker_epoch: self.broker_epoch,
        };
        let decided = controller.submit(command).await.map_err(|Undecided(code)| code)?;
        let Reply::AllocateProducerIds(answer) = decided else {
            unreachable!("each command has its own kind of reply")
        };
        let block = answer.map_err(|refusal| refusal.code)?;
        let first = block.first.get();
        let end = first.saturating_add(i64::from(block.count));
        *self.block.lock().unwrap_or_else(PoisonError::into_inner) = first + 1..end;
        Ok(ProducerId::new(first))
    }
}
