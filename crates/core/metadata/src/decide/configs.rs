//! Changing configs (KIP-226, KIP-339).

use super::topics::bad_name;
use super::{Decider, RECORDS_PER_REQUEST_MAX, too_large_a_batch};
use crate::command::{AlteredConfigs, Answer, ConfigChange, ConfigOp, Refusal};
use crate::record::{ConfigResource, MetadataRecord, PartitionState};
use jocko_codec::STRING_BYTES_MAX;
use jocko_config::kafka::{
    BrokerDefinition, CORDONED, ConfigMap, ConfigType, GroupDefinition, TOPIC_DEFINITIONS,
    TopicDefinition, check_broker_config, check_group_configs, check_topic_config,
    check_topic_configs,
};
use jocko_types::{BrokerId, ErrorCode, TopicName};
use std::collections::BTreeSet;

/// Kafka's numbers for types of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

/// The one config that all brokers must share (KIP-966).
const MIN_ISR: &str = "min.insync.replicas";

fn invalid<T>(message: impl Into<String>) -> Answer<T> {
    Err(Refusal::new(ErrorCode::InvalidRequest, message))
}

impl Decider<'_> {
    pub(super) fn alter_configs(
        &mut self,
        resources: Vec<ConfigChange>,
        validate_only: bool,
    ) -> Vec<AlteredConfigs> {
        let key = |change: &ConfigChange| (change.resource_type, change.resource_name.clone());
        let mut seen = BTreeSet::new();
        let mut twice = BTreeSet::new();
        for change in &resources {
            if !seen.insert(key(change)) {
                twice.insert(key(change));
            }
        }
        let too_many = resources.len() > RECORDS_PER_REQUEST_MAX;
        let mut answers = Vec::with_capacity(resources.len());
        for change in resources {
            let answer = if too_many {
                Err(too_large_a_batch())
            } else if twice.contains(&key(&change)) {
                invalid("Each resource must appear at most once.")
            } else {
                self.alter(&change)
            };
            let ConfigChange { resource_type, resource_name, .. } = change;
            answers.push(AlteredConfigs { resource_type, resource_name, answer });
        }
        if validate_only {
            self.records.clear();
        }
        answers
    }

    fn alter(&mut self, change: &ConfigChange) -> Answer<ConfigResource> {
        check_ops(&change.ops)?;
        let resource = self.resource(change)?;
        let before = self.image.configs(&resource);
        let mut after = if change.replace { ConfigMap::new() } else { before.clone() };
        for (name, op) in &change.ops {
            apply(&resource, &mut after, name, op)?;
        }
        check_lengths(&after)?;
        match &resource {
            ConfigResource::Topic(_) => {
                check_topic_configs(&after, &self.layers())
                    .map_err(|message| Refusal::new(ErrorCode::InvalidConfig, message))?;
                after.retain(|name, value| check_topic_config(name, value) == Ok(true));
            }
            ConfigResource::Broker(_) => {
                self.check_broker(before, &after)?;
                if change.ops.iter().any(|(name, _)| name == MIN_ISR) {
                    // Brokers that disagreed about it would disagree about what is committed
                    // (KIP-966).
                    return Err(Refusal::new(
                        ErrorCode::InvalidConfig,
                        "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
                    ));
                }
            }
            ConfigResource::Cluster => {
                self.check_broker(before, &after)?;
                if after.contains_key(CORDONED) {
                    return Err(Refusal::new(
                        ErrorCode::InvalidConfig,
                        "cordoned.log.dirs is set for one broker: somebody has to stay.",
                    ));
                }
                if before.contains_key(MIN_ISR) && !after.contains_key(MIN_ISR) {
                    return Err(Refusal::new(
                        ErrorCode::InvalidConfig,
                        "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
                    ));
                }
            }
            ConfigResource::Group(_) => check_group_configs(&after, &self.layers())
                .map_err(|message| Refusal::new(ErrorCode::InvalidConfig, message))?,
        }
        let is_min_isr_changed = before.get(MIN_ISR) != after.get(MIN_ISR);
        let set = after
            .iter()
            .filter(|(name, value)| before.get(*name) != Some(value))
            .map(|(name, value)| (name, Some(value.clone())));
        let removed =
            before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name, None));
        let records = set.chain(removed).map(|(name, value)| MetadataRecord::Config {
            resource: resource.clone(),
            name: name.clone(),
            value,
        });
        self.records.extend(records);
        if is_min_isr_changed {
            self.forget_eligible(&resource);
        }
        Ok(resource)
    }

    /// A smaller minimum lets the high watermark move without those that were eligible beside the
    /// in-sync set (KIP-966). A larger one makes nobody eligible who is not: forgetting too many is
    /// safe, but for those without whom nobody could lead.
    fn forget_eligible(&mut self, resource: &ConfigResource) {
        self.change_partitions(|_, topic, state| {
            let concerned = match resource {
                ConfigResource::Topic(name) => *name == topic.name,
                ConfigResource::Cluster => true,
                ConfigResource::Broker(_) | ConfigResource::Group(_) => false,
            };
            let goes = concerned && !state.elr.is_empty() && state.leader.is_some();
            goes.then(|| PartitionState {
                elr: Vec::new(),
                partition_epoch: state.partition_epoch.next(),
                ..state.clone()
            })
        });
    }

    /// Checks what changes among the configs of one broker, or of all.
    fn check_broker(&self, before: &ConfigMap, after: &ConfigMap) -> Answer<()> {
        let layers = self.layers();
        let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
        for (name, value) in changed {
            check_broker_config(name, value, &layers)
                .map_err(|message| Refusal::new(ErrorCode::InvalidRequest, message))?;
        }
        Ok(())
    }

    fn resource(&self, change: &ConfigChange) -> Answer<ConfigResource> {
        let name = change.resource_name.as_str();
        match change.resource_type {
            TOPIC if name.is_empty() => invalid("Default topic resources are not allowed."),
            TOPIC => {
                let topic = TopicName::new(name).map_err(|error| bad_name(name, error))?;
                if self.image.topic(name).is_none() {
                    let message = format!("The topic '{name}' does not exist.");
                    return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
                }
                Ok(ConfigResource::Topic(topic))
            }
            BROKER if name.is_empty() => Ok(ConfigResource::Cluster),
            BROKER => match name.parse().map(BrokerId::new) {
                Ok(id) if self.image.broker(id).is_some() => Ok(ConfigResource::Broker(id)),
                Ok(id) => {
                    let message = format!("No broker with id {id} found.");
                    Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, message))
                }
                Err(_) => invalid(format!("Node id must be an integer, but it is: {name}")),
            },
            GROUP if name.is_empty() => invalid("Default group resources are not allowed."),
            GROUP => Ok(ConfigResource::Group(name.to_owned())),
            other => invalid(format!("Unknown resource type {other}")),
        }
    }
}

/// Refuses what a record could not hold: a value may come in pieces that each fit.
pub(super) fn check_lengths(configs: &ConfigMap) -> Answer<()> {
    let long = |(name, value): &(&String, &String)| {
        name.len() > STRING_BYTES_MAX || value.len() > STRING_BYTES_MAX
    };
    match configs.iter().find(long) {
        None => Ok(()),
        Some((name, _)) => {
            let name: String = name.chars().take(100).collect();
            let message = format!("Config {name} is longer than {STRING_BYTES_MAX} bytes.");
            Err(Refusal::new(ErrorCode::InvalidConfig, message))
        }
    }
}

/// What is wrong with a request before anything is looked up.
fn check_ops(ops: &[(String, ConfigOp)]) -> Answer<()> {
    let twice = super::duplicates(ops.iter().map(|(name, _)| name.as_str()));
    if !twice.is_empty() {
        return invalid("Error due to duplicate config keys");
    }
    let null = |op: &ConfigOp| {
        matches!(op, ConfigOp::Set(None) | ConfigOp::Append(None) | ConfigOp::Subtract(None))
    };
    let nulls: Vec<&str> =
        ops.iter().filter(|(_, op)| null(op)).map(|(name, _)| name.as_str()).collect();
    if !nulls.is_empty() {
        return invalid(format!("Null value not supported for : {}", nulls.join(",")));
    }
    Ok(())
}

fn apply(
    resource: &ConfigResource,
    configs: &mut ConfigMap,
    name: &str,
    op: &ConfigOp,
) -> Answer<()> {
    match op {
        ConfigOp::Set(value) => {
            configs.insert(name.to_owned(), value.clone().unwrap_or_default());
        }
        ConfigOp::Delete => {
            configs.remove(name);
        }
        ConfigOp::Append(items) => change_list(resource, configs, name, items.as_deref(), true)?,
        ConfigOp::Subtract(items) => change_list(resource, configs, name, items.as_deref(), false)?,
        ConfigOp::Unknown(number) => {
            return invalid(format!("Unknown operation type {number} for config {name}"));
        }
    }
    Ok(())
}

/// The type and default of a config of this kind of resource.
fn shape(resource: &ConfigResource, name: &str) -> Option<(ConfigType, &'static str)> {
    match resource {
        ConfigResource::Topic(_) => TopicDefinition::find(name).map(|d| (d.kind, d.default)),
        ConfigResource::Broker(_) | ConfigResource::Cluster => {
            let default = TOPIC_DEFINITIONS.iter().find(|d| d.broker_name == Some(name));
            let own = BrokerDefinition::find(name).map(|d| (d.kind, d.default));
            default.map(|d| (d.kind, d.default)).or(own)
        }
        ConfigResource::Group(_) => GroupDefinition::find(name).map(|d| (d.kind, d.default)),
    }
}

fn change_list(
    resource: &ConfigResource,
    configs: &mut ConfigMap,
    name: &str,
    items: Option<&str>,
    append: bool,
) -> Answer<()> {
    let Some((ConfigType::List, default)) = shape(resource, name) else {
        let verb = if append { "append" } else { "subtract" };
        let message = match resource {
            ConfigResource::Topic(_) | ConfigResource::Group(_) => format!(
                "Can't {} to key {name} because its type is not LIST.",
                verb.to_ascii_uppercase()
            ),
            ConfigResource::Broker(_) | ConfigResource::Cluster => {
                format!("Config value {verb} is not allowed for config key: {name}")
            }
        };
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    };
    let split = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let mut list = split(configs.get(name).map_or(default, String::as_str));
    let items = split(items.unwrap_or_default());
    if append {
        let mut there: BTreeSet<String> = list.iter().cloned().collect();
        list.extend(items.into_iter().filter(|item| there.insert(item.clone())));
    } else {
        let gone: BTreeSet<String> = items.into_iter().collect();
        list.retain(|item| !gone.contains(item));
    }
    configs.insert(name.to_owned(), list.join(","));
    Ok(())
}
