//! Who an idempotent producer is, and what it has to remember to be one (KIP-98): the sequence of
//! each partition, and what is not acknowledged yet, to be sent again as it was.

use crate::workload::{PATIENCE, client, runtime};
use anyhow::{Result, ensure};
use jocko_protocol::rpc::InitProducerIdRequest;
use jocko_types::{ErrorCode, ProducerEpoch, ProducerId};
use std::net::SocketAddr;

/// An identity that the broker gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

/// Asks for an identity.
pub(crate) fn identify(address: SocketAddr) -> Result<Identity> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::try_from(PATIENCE.as_millis())?,
        ..Default::default()
    };
    let mut client = client(address);
    let answer = runtime()?.block_on(client.ask(&request))?;
    let response = answer.get()?;
    let code = jocko_protocol::error_code(response.error_code);
    ensure!(code == ErrorCode::None, "InitProducerId was refused: {}", code.name());
    let epoch = ProducerEpoch::new(response.producer_epoch);
    Ok(Identity { id: ProducerId::new(response.producer_id), epoch })
}
