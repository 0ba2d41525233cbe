//! ListConfigResources (key 74, versions 0-1): what configs can be set on. Version 0 knows client
//! metrics subscriptions only (KIP-714), of which there are none here.

use crate::session::{Exchange, Session};
use jocko_metadata::ClusterImage;
use jocko_net::Call;
use jocko_protocol::rpc::list_config_resources_request::ListConfigResourcesRequest;
use jocko_protocol::rpc::list_config_resources_response::{
    ConfigResource, ListConfigResourcesResponse,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::ErrorCode;

/// Kinds of resource (`ConfigResource.Type` in Kafka).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// All of them: what an empty list asks for.
const ALL: [i8; 5] = [GROUP, CLIENT_METRICS, BROKER, BROKER_LOGGER, TOPIC];

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = ListConfigResourcesRequest::decode(&mut exchange.body, version)?;
    let published = session.context.published.load();
    let asked: &[i8] = match version {
        0 => &[CLIENT_METRICS],
        _ if request.resource_types.is_empty() => &ALL,
        _ => &request.resource_types,
    };
    let response = if asked.iter().all(|kind| ALL.contains(kind)) {
        let is_asked = |kind: &&i8| asked.contains(kind);
        let listed = ALL.iter().filter(is_asked).flat_map(|kind| list(&published.image, *kind));
        ListConfigResourcesResponse { config_resources: listed.collect(), ..Default::default() }
    } else {
        ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..Default::default()
        }
    };
    Ok(exchange.answer().now(&response))
}

fn list(image: &ClusterImage, resource_type: i8) -> Vec<ConfigResource> {
    let resource = |resource_name: String| ConfigResource {
        resource_name,
        resource_type,
        ..Default::default()
    };
    match resource_type {
        TOPIC => image.topics().map(|topic| resource(topic.name.to_string())).collect(),
        BROKER | BROKER_LOGGER => {
            image.live_brokers().map(|broker| resource(broker.id().to_string())).collect()
        }
        GROUP => image.configured_groups().map(|id| resource(id.to_owned())).collect(),
        _ => Vec::new(),
    }
}
