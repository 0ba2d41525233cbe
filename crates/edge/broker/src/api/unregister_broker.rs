//! UnregisterBroker (key 64, version 0): a broker that does not come back is forgotten (KIP-631). The
//! controller decides.
//!
//! Kafka forgets a running broker too, which then serves nobody until it is started again. Here that
//! is refused: whoever asks for it means another broker.

use crate::controller::Undecided;
use crate::session::{Exchange, Session};
use jocko_metadata::{BrokerState, ClusterImage, Command, Reply};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::unregister_broker_request::UnregisterBrokerRequest;
use jocko_protocol::rpc::unregister_broker_response::UnregisterBrokerResponse;
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{BrokerId, ErrorCode};
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = UnregisterBrokerRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let broker_id = BrokerId::new(request.broker_id);
    if is_running(&session.context.published.load().image, broker_id) {
        let words = format!("Broker ID {broker_id} is running; stop it first, or it comes back");
        return Ok(answer.now(&refused(ErrorCode::InvalidRequest, Some(words))));
    }
    let context = Arc::clone(&session.context);
    Ok(Call::Later(Box::pin(async move {
        let response =
            match context.controller.submit(Command::UnregisterBroker { broker_id }).await {
                Ok(Reply::UnregisterBroker(Ok(()))) => {
                    UnregisterBrokerResponse { error_message: None, ..Default::default() }
                }
                Ok(Reply::UnregisterBroker(Err(refusal))) => {
                    refused(refusal.code, Some(refusal.message))
                }
                Ok(_) => unreachable!("each command has its own kind of reply"),
                Err(Undecided(code)) => refused(code, None),
            };
        Outcome::Reply(answer.encode(&response))
    })))
}

fn is_running(image: &ClusterImage, id: BrokerId) -> bool {
    image.brokers().any(|broker| broker.id() == id && broker.state() == BrokerState::Live)
}

fn refused(code: ErrorCode, message: Option<String>) -> UnregisterBrokerResponse {
    UnregisterBrokerResponse {
        error_code: code.code(),
        error_message: message,
        ..Default::default()
    }
}
