//! DescribeConfigs (key 32, versions 1-4): what is set on topics, brokers and groups, where each
//! value comes from, and what else might have set it.

use crate::context::Context;
use crate::governing::layers;
use crate::limits::applies;
use crate::session::{Exchange, Session};
use jocko_config::ReplicationFactor;
use jocko_config::kafka::{
    BrokerFacts, Row, describe_broker, describe_cluster_defaults, describe_group, describe_topic,
};
use jocko_metadata::ConfigResource;
use jocko_net::Call;
use jocko_protocol::rpc::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use jocko_protocol::rpc::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use jocko_protocol::{Decode, DecodeError};
use jocko_types::{ErrorCode, TopicName};

/// Kinds of resource (`ConfigResource.Type` in Kafka).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const GROUP: i8 = 32;

/// Why a resource was not described.
struct Refused {
    code: ErrorCode,
    message: String,
}

pub(crate) fn handle(
    session: &mut Session,
    mut exchange: Exchange<'_>,
) -> Result<Call, DecodeError> {
    let version = exchange.version;
    let request = DescribeConfigsRequest::decode(&mut exchange.body, version)?;
    let address = session.advertised();
    let results = request.resources.iter().map(|resource| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        match describe(&session.context, resource, &address) {
            Ok(rows) => {
                let shown = rows.into_iter().map(|row| shown(row, &request));
                result.configs = shown.collect();
            }
            Err(refused) => {
                result.error_code = refused.code.code();
                result.error_message = Some(refused.message);
            }
        }
        result
    });
    let response = DescribeConfigsResponse { results: results.collect(), ..Default::default() };
    Ok(exchange.answer().now(&response))
}

fn describe(
    context: &Context,
    resource: &DescribeConfigsResource,
    address: &(String, u16),
) -> Result<Vec<Row>, Refused> {
    let published = context.published.load();
    let image = &published.image;
    let keys: Option<Vec<&str>> =
        resource.configuration_keys.as_ref().map(|keys| keys.iter().map(String::as_str).collect());
    // No keys mean all of them, as null does.
    let wanted = keys.as_deref().filter(|keys| !keys.is_empty());
    let layers = layers(image, context.broker, &context.settings);
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            let legal = TopicName::new(name).map_err(|_| Refused {
                code: ErrorCode::InvalidTopicException,
                message: format!(
                    "Topic name is invalid: {name:?} must be 1 to 249 of [a-zA-Z0-9._-]"
                ),
            })?;
            let topic = image.topic(legal.as_str()).ok_or_else(|| Refused {
                code: ErrorCode::UnknownTopicOrPartition,
                message: String::new(),
            })?;
            let mut rows = describe_topic(image.topic_configs(&topic.name), &layers, wanted);
            if wanted.is_some_and(|names| names.contains(&applies::NAME)) {
                rows.push(applies::row(context, topic));
            }
            Ok(rows)
        }
        BROKER if name.is_empty() => {
            let defaults = image.configs(&ConfigResource::Cluster);
            Ok(describe_cluster_defaults(defaults, wanted))
        }
        BROKER => {
            let own = context.broker;
            match name.parse::<i32>() {
                Ok(id) if id == own.get() => {
                    Ok(describe_broker(&facts(context, address), &layers, wanted))
                }
                Ok(id) => Err(Refused {
                    code: ErrorCode::InvalidRequest,
                    message: format!(
                        "Unexpected broker id, expected {own} or empty string, but received {id}"
                    ),
                }),
                Err(_) => Err(Refused {
                    code: ErrorCode::InvalidRequest,
                    message: format!("Broker id must be an integer, but it is: {name}"),
                }),
            }
        }
        GROUP if name.is_empty() => Err(Refused {
            code: ErrorCode::InvalidRequest,
            message: "Group name must not be empty".to_owned(),
        }),
        GROUP => Ok(describe_group(image.group_configs(name), &layers, wanted)),
        BROKER_LOGGER => Err(Refused {
            code: ErrorCode::InvalidRequest,
            message: "There are no loggers to set one by one here, but one log.level for all."
                .to_owned(),
        }),
        other => Err(Refused {
            code: ErrorCode::InvalidRequest,
            message: format!("resources of type {other} have no configs here"),
        }),
    }
}

fn facts(context: &Context, (host, port): &(String, u16)) -> BrokerFacts {
    let settings = context.settings.settings();
    let brokers = context.published.load().image.live_brokers().count();
    let copies = |set: Option<ReplicationFactor>| {
        set.map_or_else(|| i16::try_from(brokers.clamp(1, 3)).unwrap_or(1), ReplicationFactor::get)
    };
    let listeners: Vec<String> =
        context.addresses().iter().map(|address| format!("PLAINTEXT://{address}")).collect();
    BrokerFacts {
        node_id: context.broker,
        listeners: listeners.join(","),
        advertised_listeners: format!("PLAINTEXT://{host}:{port}"),
        log_dirs: settings.node.data_dir.display().to_string(),
        threads: u32::try_from(context.fetch_shards.len()).unwrap_or(u32::MAX),
        default_replication_factor: copies(settings.topics.replication.set()),
        offsets_replication_factor: copies(settings.groups.offsets_replication.set()),
    }
}

fn shown(row: Row, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonyms = row.synonyms.into_iter().filter(|_| request.include_synonyms);
    DescribeConfigsResourceResult {
        name: row.name,
        // A secret is never told, not even to those who may change it.
        value: row.value.filter(|_| !row.sensitive),
        read_only: row.read_only,
        config_source: row.source.code(),
        is_sensitive: row.sensitive,
        synonyms: synonyms
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name,
                value: synonym.value.filter(|_| !row.sensitive),
                source: synonym.source.code(),
                ..Default::default()
            })
            .collect(),
        config_type: row.kind.code(),
        documentation: request.include_documentation.then(|| row.documentation.to_owned()),
        ..Default::default()
    }
}
