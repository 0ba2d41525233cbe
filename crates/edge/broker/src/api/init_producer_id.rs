//! InitProducerId (key 22, versions 0-5): an id for an idempotent producer.

use crate::session::{Exchange, Session};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::init_producer_id_request::InitProducerIdRequest;
use jocko_protocol::rpc::init_producer_id_response::InitProducerIdResponse;
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, ProducerId};
use std::sync::Arc;

/// "No id", "no epoch".
const NONE: i64 = -1;
const NO_EPOCH: i16 = -1;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = InitProducerIdRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let has_id = request.producer_id != NONE;
    let has_epoch = request.producer_epoch != NO_EPOCH;
    let refused = match request.transactional_id.as_deref() {
        _ if has_id != has_epoch => Some(ErrorCode::InvalidRequest),
        Some("") => Some(ErrorCode::InvalidRequest),
        // Fatal for every client: transactions do not exist here yet.
        Some(_) => Some(ErrorCode::UnsupportedVersion),
        None => None,
    };
    if let Some(error) = refused {
        return Ok(answer.now(&failure(error)));
    }
    // An idempotent producer always gets a new id, whatever it says it had (KIP-360).
    let context = Arc::clone(&session.context);
    if let Some(id) = context.producer_ids.take() {
        return Ok(answer.now(&success(id)));
    }
    Ok(Call::Later(Box::pin(async move {
        let response = match context.producer_ids.next(&context.controller).await {
            Ok(id) => success(id),
            Err(error) => failure(error),
        };
        Outcome::Reply(answer.encode(&response))
    })))
}

fn success(id: ProducerId) -> InitProducerIdResponse {
    InitProducerIdResponse { producer_id: id.get(), producer_epoch: 0, ..Default::default() }
}

fn failure(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: NONE,
        producer_epoch: NO_EPOCH,
        ..Default::default()
    }
}
