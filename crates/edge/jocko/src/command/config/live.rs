//! Settings that a running cluster holds, by Kafka's names: shown, set, explained.

use crate::command::{client, pairs};
use crate::failure::{Failure, Result};
use crate::output::{json, say, table, wants_json};
use clap::ArgMatches;
use jocko_client::{Client, Resource};
use jocko_config::Definition;
use jocko_protocol::rpc::describe_configs_response::DescribeConfigsResourceResult as Config;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Whose settings are asked for; `None` for those of this command line.
pub(super) fn scope(matches: &ArgMatches) -> Option<Resource> {
    let named = |id: &str| matches.get_one::<String>(id).cloned();
    let broker = || matches.get_one::<i32>("of-broker").map(|id| Resource::Broker(*id));
    named("of-topic")
        .map(Resource::Topic)
        .or_else(|| named("of-group").map(Resource::Group))
        .or_else(broker)
        .or_else(|| matches.get_flag("of-cluster").then_some(Resource::AllBrokers))
}

pub(super) async fn show(matches: &ArgMatches, resource: &Resource) -> Result<()> {
    let mut client = client(matches)?;
    let mut configs = client.describe_configs(resource, None).await?;
    configs.sort_by(|one, other| one.name.cmp(&other.name));
    if !matches.get_flag("all") {
        configs.retain(|config| !is_default(config));
    }
    if wants_json(matches) {
        let all: Map<String, Value> = configs
            .iter()
            .map(|config| {
                let source = source(config.config_source);
                (config.name.clone(), json!({ "value": config.value, "source": source }))
            })
            .collect();
        return json(&all.into());
    }
    if configs.is_empty() {
        return say("nothing is set there; --all shows the defaults");
    }
    let rows: Vec<Vec<String>> = configs
        .iter()
        .map(|config| {
            vec![config.name.clone(), value(config), source(config.config_source).to_owned()]
        })
        .collect();
    table(&["SETTING", "VALUE", "FROM"], &rows)
}

pub(super) async fn explain(matches: &ArgMatches, resource: &Resource) -> Result<()> {
    let key: &String = matches.get_one("key").expect("is required");
    let name = kafka_name(key);
    let mut client = client(matches)?;
    let mut found = client.describe_configs(resource, Some(std::slice::from_ref(&name))).await?;
    found.retain(|config| config.name == name);
    let Some(config) = found.pop() else {
        return Err(Failure::usage(format!("no setting {key:?} there"))
            .cure("jocko config show --all, with the same --topic, --group or --broker"));
    };
    if wants_json(matches) {
        let synonyms = config.synonyms.iter().map(
            |each| json!({ "name": each.name, "value": each.value, "source": source(each.source) }),
        );
        return json(&json!({
            "name": config.name,
            "value": config.value,
            "source": source(config.config_source),
            "readOnly": config.read_only,
            "synonyms": synonyms.collect::<Value>(),
            "documentation": config.documentation,
        }));
    }
    say(format_args!("{} = {}", config.name, value(&config)))?;
    say(format_args!("  from      {}", source(config.config_source)))?;
    for each in config.synonyms.iter().skip(1) {
        let overruled = each.value.as_deref().unwrap_or("none");
        say(format_args!("  overrules {} = {overruled} ({})", each.name, source(each.source)))?;
    }
    let changes = if config.read_only { "when the broker starts" } else { "at once" };
    say(format_args!("  changes   {changes}"))?;
    match &config.documentation {
        Some(words) => say(format_args!("\n{}", words.trim())),
        None => Ok(()),
    }
}

pub(super) async fn set(matches: &ArgMatches) -> Result<()> {
    let set: Vec<(String, String)> = pairs(matches, "pairs")?
        .into_iter()
        .map(|(name, value)| (kafka_name(&name), value))
        .collect();
    let unset: Vec<String> =
        matches.get_many::<String>("unset").unwrap_or_default().map(|it| kafka_name(it)).collect();
    if set.is_empty() && unset.is_empty() {
        return Err(Failure::usage("nothing to set")
            .cure("jocko config set retention.ms=86400000 --topic orders"));
    }
    let dry_run = matches.get_flag("dry-run");
    let resource = scope(matches).unwrap_or(Resource::AllBrokers);
    let mut client = client(matches)?;
    refuse_unknown(&mut client, &resource, &unset).await?;
    client.alter_configs(&resource, &set, &unset, dry_run).await?;
    let whose = whose(&resource);
    if wants_json(matches) {
        return json(&json!({
            "of": whose,
            "set": set.into_iter().collect::<BTreeMap<_, _>>(),
            "unset": unset,
            "changed": !dry_run,
        }));
    }
    let verb = if dry_run { "would set" } else { "set" };
    set.iter()
        .try_for_each(|(name, value)| say(format_args!("{verb} {name} = {value} ({whose})")))?;
    let verb = if dry_run { "would unset" } else { "unset" };
    unset.iter().try_for_each(|name| say(format_args!("{verb} {name} ({whose})")))
}

/// Brokers take back what nobody could set without a word; a name that was mistyped is to be seen.
pub(crate) async fn refuse_unknown(
    client: &mut Client,
    resource: &Resource,
    unset: &[String],
) -> Result<()> {
    if unset.is_empty() {
        return Ok(());
    }
    let known = client.describe_configs(resource, None).await?;
    let unknown = unset.iter().find(|name| !known.iter().any(|config| config.name == **name));
    let Some(unknown) = unknown else { return Ok(()) };
    // A broker tells of all brokers only what is set for them.
    if matches!(resource, Resource::AllBrokers) {
        return Ok(());
    }
    Err(Failure::new(format!("{} has no setting {unknown:?}", whose(resource)))
        .cure("jocko config show --all with the same --topic, --group or --broker"))
}

/// A setting of ours by the name that it has on Kafka's wire.
fn kafka_name(name: &str) -> String {
    let definition = Definition::find(name);
    let alias = definition.and_then(|definition| definition.aliases.first());
    alias.map_or_else(|| name.to_owned(), |alias| alias.name.to_owned())
}

fn whose(resource: &Resource) -> String {
    match resource {
        Resource::Topic(name) => format!("topic {name}"),
        Resource::Group(name) => format!("group {name}"),
        Resource::Broker(id) => format!("broker {id}"),
        Resource::AllBrokers => "all brokers".to_owned(),
    }
}

/// What nobody set.
fn is_default(config: &Config) -> bool {
    config.config_source == 5
}

fn value(config: &Config) -> String {
    match &config.value {
        Some(value) if value.is_empty() => "\"\"".to_owned(),
        Some(value) => value.clone(),
        None if config.is_sensitive => "(secret)".to_owned(),
        None => "none".to_owned(),
    }
}

/// Kafka's numbers for who set something.
fn source(number: i8) -> &'static str {
    match number {
        1 => "topic",
        2 => "broker, at run time",
        3 => "all brokers, at run time",
        4 => "broker, at its start",
        5 => "default",
        6 => "broker's logger",
        7 => "client metrics",
        8 => "group",
        _ => "unknown",
    }
}
