//! IncrementalAlterConfigs (key 44, versions 0-1): changes to single configs of topics, brokers, all
//! brokers and groups (KIP-339).

use super::altering::{Altered, alter};
use crate::session::{Exchange, Session};
use jocko_metadata::{ConfigChange, ConfigOp};
use jocko_net::{Call, Outcome};
use jocko_protocol::rpc::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use jocko_protocol::rpc::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use jocko_protocol::{Decode, DecodeError};
use std::sync::Arc;

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = IncrementalAlterConfigsRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let context = Arc::clone(&session.context);
    Ok(Call::Later(Box::pin(async move {
        let changes = request.resources.into_iter().map(change).collect();
        let altered = alter(&context, changes, request.validate_only).await;
        let responses = altered.into_iter().map(shown).collect();
        let response = IncrementalAlterConfigsResponse { responses, ..Default::default() };
        Outcome::Reply(answer.encode(&response))
    })))
}

fn change(resource: AlterConfigsResource) -> ConfigChange {
    ConfigChange {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        ops: resource.configs.into_iter().map(op).collect(),
        replace: false,
    }
}

fn op(config: AlterableConfig) -> (String, ConfigOp) {
    let op = match config.config_operation {
        0 => ConfigOp::Set(config.value),
        1 => ConfigOp::Delete,
        2 => ConfigOp::Append(config.value),
        3 => ConfigOp::Subtract(config.value),
        other => ConfigOp::Unknown(other),
    };
    (config.name, op)
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
