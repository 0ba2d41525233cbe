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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_told_from_those_that_nobody_knows() {
        let value = || Some("v".to_owned());
        for (number, expected) in [
            (0, ConfigOp::Set(value())),
            (1, ConfigOp::Delete),
            (2, ConfigOp::Append(value())),
            (3, ConfigOp::Subtract(value())),
            (4, ConfigOp::Unknown(4)),
            (-1, ConfigOp::Unknown(-1)),
        ] {
            let config = AlterableConfig {
                name: "n".into(),
                config_operation: number,
                value: value(),
                ..Default::default()
            };
            assert_eq!(op(config), ("n".to_owned(), expected));
        }
    }
}
