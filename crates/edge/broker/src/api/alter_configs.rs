//! AlterConfigs (key 33, versions 0-2): the configs of a resource are replaced by those named. Old
//! tools send it; what they leave out goes back to its default (KIP-133).

use super::altering::{Altered, alter};
use crate::session::{Exchange, Session};
use jocko_metadata::{ConfigChange, ConfigOp};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use jocko_protocol::rpc::alter_configs_response::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};
use jocko_protocol::{Decode, DecodeError};
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = AlterConfigsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let context = Arc::clone(&session.context);
    Ok(Call::Later(Box::pin(async move {
        let changes = request.resources.into_iter().map(change).collect();
        let altered = alter(&context, changes, request.validate_only).await;
        let responses = altered.into_iter().map(shown).collect();
        Outcome::Reply(answer.encode(&AlterConfigsResponse { responses, ..Default::default() }))
    })))
}

fn change(resource: AlterConfigsResource) -> ConfigChange {
    let set = resource.configs.into_iter().map(|config| (config.name, ConfigOp::Set(config.value)));
    ConfigChange {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        ops: set.collect(),
        replace: true,
    }
}

fn shown(mut altered: Altered) -> AlterConfigsResourceResponse {
    let (error_code, error_message) = altered.error();
    AlterConfigsResourceResponse {
        error_code,
        error_message,
        resource_type: altered.resource_type,
        resource_name: altered.resource_name,
        ..Default::default()
    }
}
