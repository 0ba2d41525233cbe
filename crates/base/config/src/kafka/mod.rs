//! Kafka's configs as clients see them: names, types, checks and the order in which one layer
//! overrides another (KIP-226).
//!
//! A group config is looked for in the group's own overrides, then under its broker name in the same
//! places (KIP-848).
//!
//! A topic config is looked for in the topic's own overrides, then under its broker name in the
//! dynamic configs of this broker, then of the cluster, then in this broker's settings, and last
//! in Kafka's defaults.

mod broker;
mod broker_table;
pub(crate) mod defaults;
mod describe;
mod group;
mod group_table;
mod rule;
mod throttle;
mod topic;
mod topic_table;

pub use broker::{BrokerDefinition, BrokerFacts, check_broker_config};
pub use broker_table::{BROKER_DEFINITIONS, CORDONED};
pub use describe::{
    Row, Synonym, describe_broker, describe_cluster_defaults, describe_group, describe_topic,
};
pub use group::{GroupConfig, check_group_configs};
pub use group_table::{GROUP_DEFINITIONS, GroupDefinition};
pub use rule::{ConfigType, Rule};
pub use throttle::{ThrottledEnd, ThrottledReplicas};
pub use topic::{
    CleanupPolicy, CompressionType, TimestampType, TopicConfig, check_topic_config,
    check_topic_configs,
};
pub use topic_table::{Standing, TOPIC_DEFINITIONS, TopicDefinition};

pub(crate) use topic_table::RETENTION_BYTES_MIN;

use crate::load::{LoadedSettings, from_kafka};
use crate::settings::{DEFINITIONS, Settings, check, contradiction};
use std::collections::BTreeMap;

/// The configs set on one resource: name to value.
pub type ConfigMap = BTreeMap<String, String>;

/// A resource on which nothing is set.
pub static NO_CONFIGS: ConfigMap = ConfigMap::new();

/// Where a config's value comes from, in Kafka's numbers (`DescribeConfigsResponse`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic = 1,
    /// Set on this broker at run time.
    DynamicBroker = 2,
    /// Set for all brokers at run time.
    DynamicDefaultBroker = 3,
    /// Set in this broker's file, environment or flags.
    StaticBroker = 4,
    /// Set by nobody.
    Default = 5,
    /// Set on a broker's logger.
    DynamicBrokerLogger = 6,
    /// Set on a client metrics subscription.
    DynamicClientMetrics = 7,
    /// Set on a group.
    DynamicGroup = 8,
}

impl ConfigSource {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::StaticBroker => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::DynamicClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::DynamicGroup => "GROUP_CONFIG",
        }
    }
}

/// The layers below a topic's own overrides.
#[derive(Debug, Clone, Copy)]
pub struct BrokerLayers<'a> {
    /// Dynamic configs of this broker.
    pub broker: &'a ConfigMap,
    /// Dynamic configs of all brokers.
    pub cluster: &'a ConfigMap,
    /// This broker's settings.
    pub settings: &'a LoadedSettings,
}

impl<'a> BrokerLayers<'a> {
    /// No dynamic configs: the settings alone.
    #[must_use]
    pub fn of_settings(settings: &'a LoadedSettings) -> Self {
        Self { broker: &NO_CONFIGS, cluster: &NO_CONFIGS, settings }
    }

    /// The settings as they hold now: those of the file, the environment and the flags, overruled
    /// by the dynamic configs of this broker and of all brokers. A dynamic value that is not
    /// valid (an older version checked less) counts as not set.
    #[must_use]
    pub fn effective_settings(&self) -> Settings {
        let mut effective = self.settings.settings().clone();
        for definition in DEFINITIONS {
            for alias in definition.aliases.iter().rev() {
                let set = self.broker.get(alias.name).or_else(|| self.cluster.get(alias.name));
                let text = set.and_then(|value| from_kafka(alias.form, value.trim()));
                let Some(text) = text else { continue };
                let mut changed = effective.clone();
                let is_read = (definition.set)(&mut changed, &text).is_some();
                let is_allowed =
                    check(&changed, definition.key).is_none() && contradiction(&changed).is_none();
                if is_read && is_allowed {
                    effective = changed;
                }
            }
        }
        effective
    }

    /// The values of a broker name, the strongest first, without Kafka's own default.
    pub(crate) fn set_values(&self, name: &str) -> Vec<(String, ConfigSource)> {
        let mut found = Vec::new();
        if let Some(value) = self.broker.get(name) {
            found.push((value.clone(), ConfigSource::DynamicBroker));
        }
        if let Some(value) = self.cluster.get(name) {
            found.push((value.clone(), ConfigSource::DynamicDefaultBroker));
        }
        if let Some(value) = defaults::static_value(name, self.settings) {
            found.push((value, ConfigSource::StaticBroker));
        }
        found
    }
}
