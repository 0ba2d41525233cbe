//! DescribeCluster (key 60, versions 0-2).

use crate::context::Context;
use crate::operations;
use crate::session::{Exchange, Session};
use jocko_metadata::{Broker, BrokerState, ClusterImage};
use jocko_net::Call;
use jocko_protocol::rpc::describe_cluster_request::DescribeClusterRequest;
use jocko_protocol::rpc::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use jocko_protocol::{
    BROKER_DISK_TAG, BROKER_DRAINED_TAG, BROKER_HTTP_TAG, Decode, DecodeError, UnknownTaggedFields,
};
use jocko_types::{BrokerId, ErrorCode};

/// The kinds of endpoint a client may ask for (KIP-919).
const ENDPOINT_BROKERS: i8 = 1;
const ENDPOINT_CONTROLLERS: i8 = 2;
/// No broker.
const NO_BROKER: i32 = -1;

/// What is wrong with a broker's disk, whether it is to go, and where this one answers in HTTP: for
/// `jocko cluster`.
fn beside(context: &Context, image: &ClusterImage, broker: &Broker) -> UnknownTaggedFields {
    let mut fields = UnknownTaggedFields::NONE;
    let own_http = context.http_addresses.get().and_then(|all| all.first());
    if let Some(http) = own_http.filter(|_| broker.id() == context.broker) {
        fields.insert(BROKER_HTTP_TAG, http.port().to_string().as_bytes());
    }
    if image.is_drained(broker.id()) {
        fields.insert(BROKER_DRAINED_TAG, b"");
    }
    if let Some(trouble) = &broker.disk {
        fields.insert(BROKER_DISK_TAG, trouble.to_string().as_bytes());
    }
    fields
}

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = DescribeClusterRequest::decode(&mut exchange.body, version)?;
    let answer = exchange.answer();
    let refused = match request.endpoint_type {
        ENDPOINT_BROKERS => None,
        ENDPOINT_CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "this endpoint answers for brokers, not for controllers".to_owned(),
        )),
        other => Some((
            ErrorCode::UnsupportedEndpointType,
            format!("there is no kind of endpoint with number {other}"),
        )),
    };
    if let Some((code, message)) = refused {
        let response = DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(message),
            ..Default::default()
        };
        return Ok(answer.now(&response));
    }
    let context = &session.context;
    let own_address = session.advertised();
    let published = context.published.load();
    let brokers = published
        .image
        .brokers()
        .filter(|broker| request.include_fenced_brokers || broker.state() == BrokerState::Live)
        .map(|broker| {
            let (host, port) = if broker.id() == context.broker {
                own_address.clone()
            } else {
                broker.endpoint("PLAINTEXT").map_or_else(
                    || (String::new(), 0),
                    |endpoint| (endpoint.host.clone(), endpoint.port),
                )
            };
            DescribeClusterBroker {
                broker_id: broker.id().get(),
                host,
                port: i32::from(port),
                rack: broker.registration.rack.clone(),
                is_fenced: broker.state() == BrokerState::Fenced,
                unknown_tagged_fields: beside(context, &published.image, broker),
            }
        });
    let response = DescribeClusterResponse {
        endpoint_type: ENDPOINT_BROKERS,
        cluster_id: published.image.cluster_id().map(|id| id.to_string()).unwrap_or_default(),
        controller_id: context.controller_id().map_or(NO_BROKER, BrokerId::get),
        brokers: brokers.collect(),
        cluster_authorized_operations: operations::shown(
            request.include_cluster_authorized_operations,
            operations::CLUSTER,
        ),
        ..Default::default()
    };
    Ok(answer.now(&response))
}
