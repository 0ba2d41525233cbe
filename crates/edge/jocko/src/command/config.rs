//! `jocko config explain|show|set`: settings as this command line, environment and file make them,
//! and those that a running cluster holds.

mod live;

pub(crate) use live::refuse_unknown;

use crate::command::choice;
use crate::failure::{Failure, Result};
use crate::output::{json, say, table, wants_json};
use clap::ArgMatches;
use jocko_config::{DEFINITIONS, Layers, LoadedSettings, load};
use serde_json::json;

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "jocko.toml";

pub(crate) async fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("explain", matches)) => match live::scope(matches) {
            Some(resource) => live::explain(matches, &resource).await,
            None => explain(matches),
        },
        Some(("show", matches)) => match live::scope(matches) {
            Some(resource) => live::show(matches, &resource).await,
            None => show(matches),
        },
        Some(("set", matches)) => live::set(matches).await,
        _ => Err(choice("config")),
    }
}

fn explain(matches: &ArgMatches) -> Result<()> {
    let settings = load_settings(matches)?;
    let key: &String = matches.get_one("key").expect("is required");
    let explanation = settings.explain(key).map_err(|error| {
        Failure::usage(error.to_string()).cure(format!(
            "jocko config explain {key} --topic TOPIC, if it is a topic's; --group, --broker and --cluster ask a running cluster too"
        ))
    })?;
    if wants_json(matches) {
        let (definition, entry) = (explanation.definition, explanation.entry);
        return json(&json!({
            "name": definition.key,
            "value": entry.value,
            "source": entry.source.to_string(),
            "default": definition.default,
            "documentation": definition.doc.trim(),
        }));
    }
    say(explanation)
}

fn show(matches: &ArgMatches) -> Result<()> {
    let settings = load_settings(matches)?;
    if wants_json(matches) {
        let all: serde_json::Map<String, serde_json::Value> = settings
            .entries()
            .map(|(definition, entry)| {
                let shown = json!({ "value": entry.value, "source": entry.source.to_string() });
                (definition.key.to_owned(), shown)
            })
            .collect();
        return json(&all.into());
    }
    let rows: Vec<Vec<String>> = settings
        .entries()
        .map(|(definition, entry)| {
            vec![definition.key.to_owned(), entry.value.clone(), entry.source.to_string()]
        })
        .collect();
    table(&["SETTING", "VALUE", "FROM"], &rows)
}

/// Lays the file, the environment and the flags over the defaults.
pub(crate) fn load_settings(matches: &ArgMatches) -> Result<LoadedSettings> {
    let named = matches.get_one::<String>("config");
    let path = named.map_or(DEFAULT_FILE, String::as_str);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Failure::usage(format!("cannot read {path}: {error}"))
                .cure("name a file that is there and can be read: --config FILE"));
        }
    };
    // JOCKO_BROKERS is the client's: it names the cluster a command talks to.
    let env: Vec<(String, String)> =
        std::env::vars().filter(|(name, _)| name != "JOCKO_BROKERS").collect();
    let flags: Vec<(String, String)> = DEFINITIONS
        .iter()
        .filter_map(|definition| {
            let value: &String = matches.get_one(definition.key)?;
            Some((definition.key.to_owned(), value.clone()))
        })
        .collect();
    let layers =
        Layers { file: text.as_deref().map(|text| (path, text)), env: &env, flags: &flags };
    load(&layers).map_err(|errors| Failure::usage(errors.to_string()))
}
