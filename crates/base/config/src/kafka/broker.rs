//! A broker's configs: what stands behind each name a Kafka client may read, and which of them
//! may change at run time (KIP-226).

use super::BROKER_DEFINITIONS;
use super::defaults::{broker_names, setting_behind, topic_definition};
use super::group::check_default_of_groups;
use super::rule::{ConfigType, Rule, canonical};
use super::topic_table::TOPIC_DEFINITIONS;
use super::{BrokerLayers, ConfigSource};
use crate::nearest::nearest;
use crate::settings::{Definition, Settings};
use jocko_types::BrokerId;

/// What only the running broker knows about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerFacts {
    /// Its number.
    pub node_id: BrokerId,
    /// Where it listens, as Kafka writes it: `PLAINTEXT://localhost:9092`.
    pub listeners: String,
    /// What it advertises, in the same form.
    pub advertised_listeners: String,
    /// Its data directory.
    pub log_dirs: String,
    /// Its serving threads.
    pub threads: u32,
    /// Copies a partition gets when nobody says how many: `topics.replication` as it stands.
    pub default_replication_factor: i16,
    /// Copies the topic of group offsets gets: `groups.offsets_replication` as it stands.
    pub offsets_replication_factor: i16,
}

/// Where a broker config's value comes from.
#[derive(Debug, Clone, Copy)]
pub enum BrokerValue {
    /// It has Kafka's default and nothing changes it.
    Default,
    /// Kafka has no default and nobody sets it.
    Null,
    /// It is what it is; Kafka would have had to be told.
    Static(&'static str),
    /// The running broker knows.
    Fact(fn(&BrokerFacts) -> String),
    /// The running broker knows, and Kafka would have had to be told.
    StaticFact(fn(&BrokerFacts) -> String),
    /// One of our settings: its key, and its value under Kafka's name. `None` from the function
    /// is null.
    Setting(&'static str, fn(&Settings) -> Option<String>),
    /// One of our settings; while nobody sets it, the running broker knows.
    SettingOrFact(&'static str, fn(&BrokerFacts) -> String),
}

/// One broker config that is not the default of a topic config.
#[derive(Debug)]
pub struct BrokerDefinition {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// Kafka's default; empty for none where the value is null.
    pub default: &'static str,
    /// Whether it can change at run time.
    pub dynamic: bool,
    /// Whether it is shown only where it is set: Kafka's tools set it for a while.
    pub hidden: bool,
    /// What a value must satisfy.
    pub rule: Rule,
    /// What its value is.
    pub value: BrokerValue,
    /// What it does.
    pub doc: &'static str,
}

impl BrokerDefinition {
    /// The definition of a name that is in the table.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        BROKER_DEFINITIONS.iter().find(|definition| definition.name == name)
    }
}

/// The value of a broker config that does not depend on facts of the running broker, and where it
/// comes from; `None` if it does, or if there is no such config.
pub(super) fn broker_value(
    name: &str,
    layers: &BrokerLayers<'_>,
) -> Option<(String, ConfigSource)> {
    let definition = BrokerDefinition::find(name)?;
    let read = |value: &String| canonical(name, definition.kind, definition.rule, value).ok();
    if definition.dynamic {
        if let Some(value) = layers.broker.get(name).and_then(read) {
            return Some((value, ConfigSource::DynamicBroker));
        }
        if let Some(value) = layers.cluster.get(name).and_then(read) {
            return Some((value, ConfigSource::DynamicDefaultBroker));
        }
    }
    match definition.value {
        BrokerValue::Setting(key, value) => {
            let set = layers.settings.entry(key).is_some_and(|entry| entry.source.is_set());
            let source = if set { ConfigSource::StaticBroker } else { ConfigSource::Default };
            Some((value(layers.settings.settings())?, source))
        }
        BrokerValue::Default => Some((definition.default.to_owned(), ConfigSource::Default)),
        BrokerValue::Static(value) => Some((value.to_owned(), ConfigSource::StaticBroker)),
        BrokerValue::Null
        | BrokerValue::Fact(_)
        | BrokerValue::StaticFact(_)
        | BrokerValue::SettingOrFact(..) => None,
    }
}

/// Checks a config someone wants to set on one broker or on all of them.
///
/// # Errors
/// A sentence for the client, in Kafka's words where Kafka has some; Kafka answers
/// `INVALID_REQUEST` with it.
pub fn check_broker_config(
    name: &str,
    value: &str,
    layers: &BrokerLayers<'_>,
) -> Result<(), String> {
    if let Some(definition) = topic_definition(name) {
        let canonical = canonical(name, definition.kind, definition.rule, value)?;
        if name == "log.retention.ms" && canonical == "0" {
            return Err(
                "log.retention.ms must be unlimited (-1) or, equal or greater than 1".to_owned()
            );
        }
        return Ok(());
    }
    match BrokerDefinition::find(name) {
        Some(definition) if definition.dynamic => {
            let value = canonical(name, definition.kind, definition.rule, value)?;
            check_default_of_groups(name, &value, layers)
        }
        Some(_) => Err(format!("Cannot update these configs dynamically: [{name}]")),
        None if Definition::find(name).is_some() => Err(own_name(name)),
        None => {
            let names = BROKER_DEFINITIONS.iter().map(|definition| definition.name);
            let defaults = TOPIC_DEFINITIONS.iter().filter_map(|one| one.broker_name);
            let hint = nearest(name, names.chain(defaults).chain(broker_names()))
                .map(|nearest| format!(" (did you mean {nearest}?)"))
                .unwrap_or_default();
            Err(format!("Unknown broker config name: {name}{hint}"))
        }
    }
}

/// What somebody is told who sets one of our settings at run time by its own name.
fn own_name(key: &str) -> String {
    let Some(definition) = Definition::find(key) else { return String::new() };
    match definition.names_at_run_time().as_slice() {
        [] => format!(
            "{key} cannot change while the broker runs: set it in jocko.toml, by {} or by {}, and \
             start the broker again",
            definition.env_name(),
            definition.flag_name()
        ),
        names => format!("{key} is changed at run time by the name {}", names.join(" or ")),
    }
}

impl Definition {
    /// The Kafka names by which the setting can be changed while the broker runs, the one Kafka
    /// prefers first; none if it only counts at the start.
    #[must_use]
    pub fn names_at_run_time(&self) -> Vec<&'static str> {
        let is_dynamic = |name: &str| {
            topic_definition(name).is_some()
                || BrokerDefinition::find(name).is_some_and(|definition| definition.dynamic)
        };
        let aliases = self.aliases.iter().map(|alias| alias.name).filter(|name| is_dynamic(name));
        let defaults = TOPIC_DEFINITIONS.iter().filter_map(|definition| definition.broker_name);
        let behind = defaults.filter(|name| {
            let is_behind = setting_behind(name).is_some_and(|behind| behind.key == self.key);
            is_behind && !self.aliases.iter().any(|alias| alias.name == *name)
        });
        aliases.chain(behind).collect()
    }
}
