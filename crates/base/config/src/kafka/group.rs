//! A group's configs: checked when they are set, typed where they are used.

use super::broker::broker_value;
use super::group_table::{GROUP_DEFINITIONS, GroupDefinition};
use super::rule::canonical;
use super::{BrokerLayers, ConfigMap, ConfigSource};
use crate::nearest::nearest;
use std::time::Duration;

/// The effective configs of one consumer group (KIP-848), typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupConfig {
    /// `consumer.session.timeout.ms`.
    pub consumer_session_timeout: Duration,
    /// `consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval: Duration,
    /// `consumer.assignment.interval.ms`.
    pub consumer_assignment_interval: Duration,
}

impl GroupConfig {
    /// What holds for a group with these overrides on a broker with these layers. A stored value
    /// that is not valid (an older version checked less) counts as not set; one that the broker's
    /// bounds no longer allow is moved to the nearest that they do.
    #[must_use]
    pub fn resolve(overrides: &ConfigMap, layers: &BrokerLayers<'_>) -> Self {
        let wait = |name: &str| {
            let millis = GroupDefinition::find(name)
                .and_then(|definition| bounded(definition, overrides, layers))
                .unwrap_or(0);
            Duration::from_millis(u64::try_from(millis).unwrap_or(0))
        };
        Self {
            consumer_session_timeout: wait("consumer.session.timeout.ms"),
            consumer_heartbeat_interval: wait("consumer.heartbeat.interval.ms"),
            consumer_assignment_interval: wait("consumer.assignment.interval.ms"),
        }
    }
}

/// The value of a numeric group config within the broker's bounds.
fn bounded(
    definition: &GroupDefinition,
    overrides: &ConfigMap,
    layers: &BrokerLayers<'_>,
) -> Option<i64> {
    let (value, _) = effective(definition, overrides, layers);
    let (least, most) = bounds(definition, layers);
    let value: i64 = value.parse().ok()?;
    Some(value.min(most.unwrap_or(i64::MAX)).max(least.unwrap_or(i64::MIN)))
}

/// The least and the most that a group may set.
fn bounds(definition: &GroupDefinition, layers: &BrokerLayers<'_>) -> (Option<i64>, Option<i64>) {
    let number = |name: &str| broker_value(name, layers)?.0.parse().ok();
    (definition.least.and_then(number), definition.most.and_then(number))
}

/// The value of a group config and where it comes from, in canonical text.
pub(super) fn effective(
    definition: &GroupDefinition,
    overrides: &ConfigMap,
    layers: &BrokerLayers<'_>,
) -> (String, ConfigSource) {
    let GroupDefinition { name, kind, rule, .. } = definition;
    let read = |value: &String| canonical(name, *kind, *rule, value).ok();
    if let Some(value) = overrides.get(*name).and_then(read) {
        return (value, ConfigSource::DynamicGroup);
    }
    let broker = definition.broker_name.and_then(|name| broker_value(name, layers));
    broker.unwrap_or_else(|| (definition.default.to_owned(), ConfigSource::Default))
}

/// Checks all overrides a group would have, each for itself and all together.
///
/// # Errors
/// A sentence for the client about the first that is wrong; Kafka answers `INVALID_CONFIG` with
/// it.
pub fn check_group_configs(overrides: &ConfigMap, layers: &BrokerLayers<'_>) -> Result<(), String> {
    // Names before values, as Kafka does: a typo is told before a bad number.
    for name in overrides.keys() {
        if GroupDefinition::find(name).is_none() {
            let names = GROUP_DEFINITIONS.iter().map(|definition| definition.name);
            let hint = nearest(name, names)
                .map(|nearest| format!(" (did you mean {nearest}?)"))
                .unwrap_or_default();
            return Err(format!("Unknown group config name: {name}{hint}"));
        }
    }
    for (name, value) in overrides {
        let Some(definition) = GroupDefinition::find(name) else { continue };
        let value = canonical(name, definition.kind, definition.rule, value)?;
        check_bounds(name, definition, &value, layers)?;
    }
    for kind in ["consumer", "share", "streams"] {
        let number = |what: &str| {
            let definition = GroupDefinition::find(&format!("{kind}.{what}"))?;
            effective(definition, overrides, layers).0.parse::<i64>().ok()
        };
        let (session, heartbeat) = (number("session.timeout.ms"), number("heartbeat.interval.ms"));
        if session <= heartbeat {
            return Err(format!(
                "{kind}.session.timeout.ms must be greater than {kind}.heartbeat.interval.ms"
            ));
        }
    }
    Ok(())
}

/// Checks a value that is to be the default of a group config: groups could not set it themselves
/// if it lay outside their bounds.
pub(super) fn check_default_of_groups(
    name: &str,
    value: &str,
    layers: &BrokerLayers<'_>,
) -> Result<(), String> {
    let definition = GROUP_DEFINITIONS.iter().find(|one| one.broker_name == Some(name));
    definition.map_or(Ok(()), |definition| check_bounds(name, definition, value, layers))
}

fn check_bounds(
    name: &str,
    definition: &GroupDefinition,
    value: &str,
    layers: &BrokerLayers<'_>,
) -> Result<(), String> {
    let Ok(number) = value.parse::<i64>() else { return Ok(()) };
    let (least, most) = bounds(definition, layers);
    if let (Some(least), Some(bound)) = (least, definition.least)
        && number < least
    {
        return Err(format!("{name} must be greater than or equal to {bound} ({least})"));
    }
    if let (Some(most), Some(bound)) = (most, definition.most)
        && number > most
    {
        return Err(format!("{name} must be less than or equal to {bound} ({most})"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
