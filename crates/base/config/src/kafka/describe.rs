//! Rows for `DescribeConfigs`: each config with its value, its source, and every place its value
//! was looked for.

use super::broker::{BrokerDefinition, BrokerFacts, BrokerValue};
use super::broker_table::BROKER_DEFINITIONS;
use super::defaults::topic_definition;
use super::group_table::{GROUP_DEFINITIONS, GroupDefinition};
use super::rule::{ConfigType, canonical};
use super::topic::effective;
use super::topic_table::{TOPIC_DEFINITIONS, TopicDefinition};
use super::{BrokerLayers, ConfigMap, ConfigSource};
use crate::Settings;

/// One config of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The config's name.
    pub name: String,
    /// Its value in force; `None` is null.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: ConfigSource,
    /// Its type.
    pub kind: ConfigType,
    /// Whether it cannot be changed at run time.
    pub read_only: bool,
    /// Whether its value must not be shown.
    pub sensitive: bool,
    /// The places its value was looked for and found, the one in force first.
    pub synonyms: Vec<Synonym>,
    /// What it does.
    pub documentation: &'static str,
}

/// A place where a config's value may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The name the value has there.
    pub name: String,
    /// The value there; `None` is null.
    pub value: Option<String>,
    /// The place.
    pub source: ConfigSource,
}

fn synonym(name: &str, value: impl Into<String>, source: ConfigSource) -> Synonym {
    Synonym { name: name.to_owned(), value: Some(value.into()), source }
}

/// The configs of a topic with these overrides, by name. `wanted` picks some of them; unknown
/// names in it are passed over, as Kafka does.
#[must_use]
pub fn describe_topic(
    overrides: &ConfigMap,
    layers: &BrokerLayers<'_>,
    wanted: Option<&[&str]>,
) -> Vec<Row> {
    let asked = |name: &str| wanted.is_none_or(|names| names.contains(&name));
    let is_shown = |definition: &&TopicDefinition| {
        asked(definition.name) && (!definition.hidden || overrides.contains_key(definition.name))
    };
    TOPIC_DEFINITIONS
        .iter()
        .filter(is_shown)
        .map(|definition| topic_row(definition, overrides, layers))
        .collect()
}

fn topic_row(
    definition: &TopicDefinition,
    overrides: &ConfigMap,
    layers: &BrokerLayers<'_>,
) -> Row {
    let mut synonyms = Vec::new();
    if let Some(value) = overrides.get(definition.name) {
        let value = shown(definition, value.clone());
        synonyms.push(synonym(definition.name, value, ConfigSource::DynamicTopic));
    }
    synonyms.extend(default_synonyms(definition, layers));
    let (value, _) = effective(definition.name, overrides, layers);
    Row {
        name: definition.name.to_owned(),
        value: Some(value),
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        kind: definition.kind,
        read_only: false,
        sensitive: false,
        synonyms,
        documentation: definition.doc,
    }
}

/// A value in its canonical text, as Kafka shows it; as it is if it is not valid.
fn shown(definition: &TopicDefinition, value: String) -> String {
    canonical(definition.name, definition.kind, definition.rule, &value).unwrap_or(value)
}

/// Broker names without a default, with the name that has it instead. Kafka lists it only where
/// the first name is set.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("log.flush.interval.ms", "log.flush.scheduler.interval.ms", "9223372036854775807"),
    ("log.retention.ms", "log.retention.hours", "168"),
    ("log.roll.jitter.ms", "log.roll.jitter.hours", "0"),
    ("log.roll.ms", "log.roll.hours", "168"),
];

/// The places below a topic where its config is looked for, under the broker's name.
fn default_synonyms(definition: &TopicDefinition, layers: &BrokerLayers<'_>) -> Vec<Synonym> {
    let Some(name) = definition.broker_name else { return Vec::new() };
    let mut synonyms: Vec<Synonym> = layers
        .set_values(name)
        .into_iter()
        .map(|(value, source)| synonym(name, value, source))
        .collect();
    if definition.broker_default {
        synonyms.push(synonym(name, definition.default, ConfigSource::Default));
    }
    let elsewhere = ELSEWHERE.iter().find(|(unset, ..)| *unset == name);
    if let Some((_, other, value)) = elsewhere
        && !synonyms.is_empty()
    {
        synonyms.push(synonym(other, *value, ConfigSource::Default));
    }
    synonyms
}

/// The configs of a broker, by name. `wanted` picks some of them.
#[must_use]
pub fn describe_broker(
    facts: &BrokerFacts,
    layers: &BrokerLayers<'_>,
    wanted: Option<&[&str]>,
) -> Vec<Row> {
    let asked = |name: &str| wanted.is_none_or(|names| names.contains(&name));
    let own = BROKER_DEFINITIONS
        .iter()
        .filter(|definition| asked(definition.name))
        .filter(|definition| {
            let is_set = |set: &ConfigMap| set.contains_key(definition.name);
            !definition.hidden || is_set(layers.broker) || is_set(layers.cluster)
        })
        .map(|definition| broker_row(definition, facts, layers));
    let defaults = TOPIC_DEFINITIONS
        .iter()
        .filter_map(|definition| definition.broker_name.map(|name| (name, definition)))
        .filter(|(name, _)| asked(name))
        .map(|(name, definition)| default_row(name, definition, layers));
    let mut rows: Vec<Row> = own.chain(defaults).collect();
    rows.sort_by(|left, right| left.name.cmp(&right.name));
    rows
}

/// The row of a broker config that is the default of a topic config.
fn default_row(name: &str, definition: &TopicDefinition, layers: &BrokerLayers<'_>) -> Row {
    let synonyms = default_synonyms(definition, layers);
    let value = synonyms
        .first()
        .and_then(|first| first.value.clone())
        .map(|value| canonical(name, definition.kind, definition.rule, &value).unwrap_or(value));
    Row {
        name: name.to_owned(),
        value,
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        kind: definition.kind,
        read_only: false,
        sensitive: false,
        synonyms,
        documentation: definition.doc,
    }
}

fn broker_row(
    definition: &BrokerDefinition,
    facts: &BrokerFacts,
    layers: &BrokerLayers<'_>,
) -> Row {
    let name = definition.name;
    let mut synonyms = value_synonyms(definition, Some(facts), layers);
    let sensitive = definition.kind == ConfigType::Password;
    if sensitive {
        synonyms.iter_mut().for_each(|one| one.value = None);
    }
    Row {
        name: name.to_owned(),
        value: synonyms.first().and_then(|first| first.value.clone()),
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        kind: definition.kind,
        read_only: !definition.dynamic,
        sensitive,
        synonyms,
        documentation: definition.doc,
    }
}

/// The places where a broker config's value is found, the strongest first. Without `facts`, what
/// only the running broker knows is left out.
fn value_synonyms(
    definition: &BrokerDefinition,
    facts: Option<&BrokerFacts>,
    layers: &BrokerLayers<'_>,
) -> Vec<Synonym> {
    let name = definition.name;
    let mut synonyms = Vec::new();
    if definition.dynamic {
        // As it was written: what it means is in the row's value.
        if let Some(value) = layers.broker.get(name) {
            synonyms.push(synonym(name, value.clone(), ConfigSource::DynamicBroker));
        }
        if let Some(value) = layers.cluster.get(name) {
            synonyms.push(synonym(name, value.clone(), ConfigSource::DynamicDefaultBroker));
        }
    }
    if let Some(value) = told(definition, facts, layers) {
        synonyms.push(synonym(name, value, ConfigSource::StaticBroker));
    }
    if let Some(value) = untold(definition, facts) {
        synonyms.push(synonym(name, value, ConfigSource::Default));
    }
    synonyms
}

/// The value someone gave a broker config before it started.
fn told(
    definition: &BrokerDefinition,
    facts: Option<&BrokerFacts>,
    layers: &BrokerLayers<'_>,
) -> Option<String> {
    let is_set = |key| layers.settings.entry(key).is_some_and(|entry| entry.source.is_set());
    match definition.value {
        BrokerValue::Static(value) => Some(value.to_owned()),
        BrokerValue::StaticFact(value) => facts.map(value),
        BrokerValue::Setting(key, value) if is_set(key) => value(layers.settings.settings()),
        BrokerValue::SettingOrFact(key, value) if is_set(key) => facts.map(value),
        BrokerValue::Setting(..)
        | BrokerValue::SettingOrFact(..)
        | BrokerValue::Default
        | BrokerValue::Null
        | BrokerValue::Fact(_) => None,
    }
}

/// The value a broker config has of itself.
fn untold(definition: &BrokerDefinition, facts: Option<&BrokerFacts>) -> Option<String> {
    match definition.value {
        BrokerValue::Default => Some(definition.default.to_owned()),
        BrokerValue::Null => None,
        BrokerValue::Static(_) | BrokerValue::StaticFact(_) => {
            (!definition.default.is_empty()).then(|| definition.default.to_owned())
        }
        BrokerValue::Fact(value) | BrokerValue::SettingOrFact(_, value) => facts.map(value),
        BrokerValue::Setting(_, value) => value(&Settings::default()),
    }
}

/// The configs of a group with these overrides, by name. `wanted` picks some of them.
#[must_use]
pub fn describe_group(
    overrides: &ConfigMap,
    layers: &BrokerLayers<'_>,
    wanted: Option<&[&str]>,
) -> Vec<Row> {
    let asked = |name: &str| wanted.is_none_or(|names| names.contains(&name));
    GROUP_DEFINITIONS
        .iter()
        .filter(|definition| asked(definition.name))
        .map(|definition| group_row(definition, overrides, layers))
        .collect()
}

fn group_row(
    definition: &GroupDefinition,
    overrides: &ConfigMap,
    layers: &BrokerLayers<'_>,
) -> Row {
    let name = definition.name;
    let mut synonyms = Vec::new();
    if let Some(value) = overrides.get(name) {
        let shown = canonical(name, definition.kind, definition.rule, value);
        let value = shown.unwrap_or_else(|_| value.clone());
        synonyms.push(synonym(name, value, ConfigSource::DynamicGroup));
    }
    match definition.broker_name.and_then(BrokerDefinition::find) {
        Some(broker) => synonyms.extend(value_synonyms(broker, None, layers)),
        None => synonyms.push(synonym(name, definition.default, ConfigSource::Default)),
    }
    Row {
        name: name.to_owned(),
        value: synonyms.first().and_then(|first| first.value.clone()),
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        kind: definition.kind,
        read_only: false,
        sensitive: false,
        synonyms,
        documentation: definition.doc,
    }
}

/// The dynamic configs of all brokers: the answer for the broker resource without a name.
#[must_use]
pub fn describe_cluster_defaults(cluster: &ConfigMap, wanted: Option<&[&str]>) -> Vec<Row> {
    let asked = |name: &str| wanted.is_none_or(|names| names.contains(&name));
    let row = |(name, value): (&String, &String)| {
        let (kind, documentation) = match (topic_definition(name), BrokerDefinition::find(name)) {
            (Some(definition), _) => (definition.kind, definition.doc),
            (None, Some(definition)) => (definition.kind, definition.doc),
            (None, None) => return None,
        };
        let sensitive = kind == ConfigType::Password;
        let value = (!sensitive).then(|| value.clone());
        let source = ConfigSource::DynamicDefaultBroker;
        let only = Synonym { name: name.clone(), value: value.clone(), source };
        Some(Row {
            name: name.clone(),
            value,
            source,
            kind,
            read_only: false,
            sensitive,
            synonyms: vec![only],
            documentation,
        })
    };
    cluster.iter().filter(|(name, _)| asked(name)).filter_map(row).collect()
}

#[cfg(test)]
mod tests;
