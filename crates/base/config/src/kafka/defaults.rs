//! Broker configs that are the defaults of topic configs, and the ways to set them statically:
//! through the setting of ours that stands behind them, or in `jocko.toml` under Kafka's name.

use super::TopicDefinition;
use super::rule::canonical;
use super::topic_table::TOPIC_DEFINITIONS;
use crate::load::LoadedSettings;
use crate::value::{Durability, SettingValue, SizeOrPercent};
use crate::{Settings, TopicSettings};
use std::time::Duration;

/// Kafka names in hours that stand for a name in milliseconds.
const IN_HOURS: &[(&str, &str)] =
    &[("log.roll.hours", "log.roll.ms"), ("log.roll.jitter.hours", "log.roll.jitter.ms")];

const HOUR_MS: i64 = 3_600_000;

/// The topic config whose default a broker name is.
pub(crate) fn topic_definition(broker_name: &str) -> Option<&'static TopicDefinition> {
    TOPIC_DEFINITIONS.iter().find(|definition| definition.broker_name == Some(broker_name))
}

/// The names a settings file may use beside our own keys and their aliases.
pub(crate) fn broker_names() -> impl Iterator<Item = &'static str> {
    let names = TOPIC_DEFINITIONS.iter().filter_map(|definition| definition.broker_name);
    let names = names.filter(|name| setting_behind(name).is_none());
    names.chain(IN_HOURS.iter().map(|(hours, _)| *hours))
}

/// The static spelling of one of [`broker_names`].
pub(crate) fn find_broker_name(name: &str) -> Option<&'static str> {
    broker_names().find(|known| *known == name)
}

/// The name that is stored for `name`, and its value there.
///
/// # Errors
/// Says what is wrong with the value.
pub(crate) fn store_broker_name(
    name: &'static str,
    value: &str,
) -> Result<(&'static str, String), String> {
    let hours = IN_HOURS.iter().find(|(hours, _)| *hours == name);
    let (stored, value) = match hours {
        None => (name, value.to_owned()),
        Some((_, stored)) => {
            let hours: i64 =
                value.parse().map_err(|_| "it must be a whole number of hours".to_owned())?;
            let millis = hours.checked_mul(HOUR_MS).ok_or("it is too large")?;
            (*stored, millis.to_string())
        }
    };
    let Some(definition) = topic_definition(stored) else {
        return Err("no topic config has it as its default".to_owned());
    };
    let value = canonical(stored, definition.kind, definition.rule, &value)?;
    Ok((stored, value))
}

/// A setting of ours that stands behind a broker name.
pub(crate) struct Behind {
    /// The setting's key.
    pub(crate) key: &'static str,
    /// The value under the broker name; `None` if the setting says nothing about it.
    pub(crate) value: fn(&Settings) -> Option<String>,
}

/// The setting behind the default of a topic config.
pub(crate) fn setting_behind(broker_name: &str) -> Option<Behind> {
    let behind = |key, value| Some(Behind { key, value });
    match broker_name {
        "log.retention.ms" => {
            behind("topics.retention", |settings| Some(retention_ms(&settings.topics)))
        }
        "message.max.bytes" => {
            behind("limits.message", |settings| Some(settings.limits.message.get().to_string()))
        }
        "jocko.storage.durability" => behind("storage.durability", |settings| {
            Some(Durability::render(&settings.storage.durability))
        }),
        "jocko.retention.topic.bytes" => {
            behind("topics.retention_size", |settings| match settings.topics.retention_size {
                Some(SizeOrPercent::Size(size)) => Some(size.get().to_string()),
                Some(SizeOrPercent::Percent(_)) | None => None,
            })
        }
        "jocko.retention.percent" => {
            behind("topics.retention_size", |settings| match settings.topics.retention_size {
                Some(SizeOrPercent::Percent(percent)) => Some(percent.get().to_string()),
                Some(SizeOrPercent::Size(_)) | None => None,
            })
        }
        _ => None,
    }
}

/// The value a broker name was given in this broker's settings; `None` if nobody gave it one.
pub(crate) fn static_value(name: &str, loaded: &LoadedSettings) -> Option<String> {
    if let Some(behind) = setting_behind(name) {
        let set = loaded.entry(behind.key).is_some_and(|entry| entry.source.is_set());
        return if set { (behind.value)(loaded.settings()) } else { None };
    }
    loaded.kafka_entry(name).map(|entry| entry.value.clone())
}

fn retention_ms(topics: &TopicSettings) -> String {
    topics.retention.map_or_else(|| "-1".to_owned(), millis)
}

/// A duration in milliseconds, as text.
pub(crate) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
