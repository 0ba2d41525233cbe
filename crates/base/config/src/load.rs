//! Layers: default, then `jocko.toml`, then `JOCKO_*` variables, then flags; the last one that
//! speaks wins. Every mistake is reported at once, each with its place and a way out.
//!
//! Nothing here reads a file or the environment: the texts are arguments.

use crate::error::{ConfigError, ConfigErrors, Problem};
use crate::file;
use crate::kafka::defaults;
use crate::nearest::nearest;
use crate::settings::{
    Alias, AliasForm, DEFINITIONS, Definition, Settings, check, contradiction, missing,
};
use std::collections::BTreeMap;
use std::fmt;

/// Variables that begin with `JOCKO_` and are read by the commands, not as settings.
const VARIABLES_OF_COMMANDS: &[&str] = &["JOCKO_CONFIG", "JOCKO_BROKERS", "JOCKO_PROFILE"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of a settings file.
    File {
        /// The file, as it was named.
        name: String,
        /// From 1.
        line: usize,
    },
    /// An environment variable.
    Env {
        /// The variable's name.
        name: String,
    },
    /// A flag on the command line.
    Flag {
        /// The flag, with its dashes.
        name: String,
    },
}

impl Source {
    /// Whether someone set the value.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        !matches!(self, Self::Default)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Env { name } => write!(f, "variable {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
        }
    }
}

/// What people said, layer by layer. All layers may be empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layers<'a> {
    /// The settings file: its name for messages, and its text.
    pub file: Option<(&'a str, &'a str)>,
    /// The environment: name and value. Variables of other programs are passed over.
    pub env: &'a [(String, String)],
    /// Flags as key and value. The key is a setting's (`topics.retention`) or Kafka's.
    pub flags: &'a [(String, String)],
}

/// A setting's value, and who else had something to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value in its canonical text.
    pub value: String,
    /// Who set it.
    pub source: Source,
    /// What was overruled, the strongest first: value and source. The default comes last.
    pub overruled: Vec<(String, Source)>,
}

/// The settings of one broker, with where each came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedSettings {
    settings: Settings,
    entries: BTreeMap<&'static str, Entry>,
    kafka: BTreeMap<&'static str, Entry>,
    notices: Vec<String>,
}

impl Default for LoadedSettings {
    fn default() -> Self {
        let settings = Settings::default();
        let entry = |definition: &'static Definition| {
            let value = (definition.get)(&settings);
            (definition.key, Entry { value, source: Source::Default, overruled: Vec::new() })
        };
        let entries = DEFINITIONS.iter().map(entry).collect();
        Self { settings, entries, kafka: BTreeMap::new(), notices: Vec::new() }
    }
}

impl LoadedSettings {
    /// The typed values.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sentences worth a log line at start, such as a Kafka name that was understood.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The value and origin of one of our settings, by its exact key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The value and origin of a Kafka broker name that is set here and that no setting of ours
    /// stands behind (`log.segment.bytes`).
    #[must_use]
    pub fn kafka_entry(&self, name: &str) -> Option<&Entry> {
        self.kafka.get(name)
    }

    /// Every setting of ours with its value, in the order of the reference page.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Definition, &Entry)> {
        DEFINITIONS.iter().filter_map(|d| self.entries.get(d.key).map(|entry| (d, entry)))
    }

    /// Every Kafka name that is set here, with its value.
    pub fn kafka_entries(&self) -> impl Iterator<Item = (&'static str, &Entry)> {
        self.kafka.iter().map(|(name, entry)| (*name, entry))
    }

    /// What a name means: its definition, value and origin. `name` is one of our keys or a Kafka
    /// name for one.
    ///
    /// # Errors
    /// The name is not known; the error names the nearest.
    pub fn explain(&self, name: &str) -> Result<Explanation<'_>, ConfigError> {
        let alias = Definition::find_alias(name);
        let definition = Definition::find(name).or(alias.map(|(definition, _)| definition));
        let found = definition.and_then(|d| self.entries.get(d.key).map(|entry| (d, entry)));
        let Some((definition, entry)) = found else {
            return Err(unknown(name, None));
        };
        Ok(Explanation { definition, entry })
    }
}

/// All there is to say about a setting here and now.
#[derive(Debug, Clone, Copy)]
pub struct Explanation<'a> {
    /// What the setting is.
    pub definition: &'static Definition,
    /// What it is set to.
    pub entry: &'a Entry,
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { definition, entry } = self;
        writeln!(f, "{} = {}", definition.key, shown(&entry.value))?;
        writeln!(f, "  from      {}", entry.source)?;
        for (value, source) in &entry.overruled {
            writeln!(f, "  overrules {} ({source})", shown(value))?;
        }
        writeln!(f, "  default   {}", shown(definition.default))?;
        writeln!(f, "  is        {}", definition.expected)?;
        let when = match definition.takes {
            crate::Takes::Live => {
                let names = definition.names_at_run_time();
                let name = names.first().copied().unwrap_or(definition.key);
                format!("at once, by jocko config set {name}=VALUE")
            }
            crate::Takes::Restart => "when the broker starts".to_owned(),
        };
        writeln!(f, "  changes   {when}")?;
        writeln!(f, "  set by    {} or {}", definition.env_name(), definition.flag_name())?;
        if !definition.aliases.is_empty() {
            let names: Vec<_> = definition.aliases.iter().map(|alias| alias.name).collect();
            writeln!(f, "  in Kafka  {}", names.join(", "))?;
        }
        write!(f, "\n{}", definition.doc.trim())
    }
}

/// A value for people: an empty one must be seen too.
fn shown(value: &str) -> &str {
    if value.is_empty() { "\"\"" } else { value }
}

/// Reads the layers into settings.
///
/// # Errors
/// Every unknown name, bad value and contradiction, in the order found.
pub fn load(layers: &Layers<'_>) -> Result<LoadedSettings, ConfigErrors> {
    let mut loader = Loader { loaded: LoadedSettings::default(), errors: Vec::new() };
    if let Some((name, text)) = layers.file {
        match file::read(name, text) {
            Ok(given) => loader.layer(given),
            Err(error) => loader.errors.push(error),
        }
    }
    let env = loader.variables(layers.env);
    loader.layer(env);
    loader.layer(layers.flags.iter().map(flag).collect());
    loader.contradictions();
    if loader.errors.is_empty() { Ok(loader.loaded) } else { Err(ConfigErrors(loader.errors)) }
}

/// A name and value someone gave.
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) source: Source,
}

/// What a name turned out to be.
enum Meaning {
    Setting(&'static Definition, Option<&'static Alias>),
    KafkaDefault(&'static str),
}

fn flag((key, value): &(String, String)) -> Given {
    let name = match Definition::find(key) {
        Some(definition) => definition.flag_name(),
        None => format!("--{key}"),
    };
    Given { name: key.clone(), value: value.clone(), source: Source::Flag { name } }
}

fn meaning(name: &str) -> Option<Meaning> {
    if let Some(definition) = Definition::find(name) {
        return Some(Meaning::Setting(definition, None));
    }
    if let Some((definition, alias)) = Definition::find_alias(name) {
        return Some(Meaning::Setting(definition, Some(alias)));
    }
    defaults::find_broker_name(name).map(Meaning::KafkaDefault)
}

fn unknown(name: &str, source: Option<Source>) -> ConfigError {
    let ours = DEFINITIONS.iter().map(|definition| definition.key);
    let theirs = DEFINITIONS.iter().flat_map(|d| d.aliases.iter().map(|alias| alias.name));
    let names = ours.chain(theirs).chain(defaults::broker_names());
    let nearest = nearest(name, names).map(str::to_owned);
    ConfigError { name: name.to_owned(), source, problem: Box::new(Problem::Unknown { nearest }) }
}

struct Loader {
    loaded: LoadedSettings,
    errors: Vec<ConfigError>,
}

impl Loader {
    /// Picks out the variables meant for us. `JOCKO_` ones must be known; `KAFKA_` ones are
    /// taken where they name something, since other programs use that prefix too.
    fn variables(&mut self, env: &[(String, String)]) -> Vec<Given> {
        let mut given = Vec::new();
        for (name, value) in env {
            let source = Source::Env { name: name.clone() };
            if VARIABLES_OF_COMMANDS.contains(&name.as_str()) {
                continue;
            }
            if name.starts_with("JOCKO_") {
                match DEFINITIONS.iter().find(|definition| definition.env_name() == *name) {
                    Some(definition) => given.push(Given {
                        name: definition.key.to_owned(),
                        value: value.clone(),
                        source,
                    }),
                    None => self.unknown_variable(name, source),
                }
            } else if let Some(rest) = name.strip_prefix("KAFKA_") {
                let key = rest.replace('_', ".").to_ascii_lowercase();
                if meaning(&key).is_some() {
                    given.push(Given { name: key, value: value.clone(), source });
                }
            }
        }
        given
    }

    fn unknown_variable(&mut self, name: &str, source: Source) {
        let names: Vec<String> = DEFINITIONS.iter().map(Definition::env_name).collect();
        let nearest = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
        let problem = Box::new(Problem::Unknown { nearest });
        self.errors.push(ConfigError { name: name.to_owned(), source: Some(source), problem });
    }

    /// Lays one layer over what is there.
    fn layer(&mut self, given: Vec<Given>) {
        // Which spelling set a key in this layer, and how much Kafka prefers that spelling.
        let mut winners: BTreeMap<&'static str, (usize, Given, Option<&'static Alias>)> =
            BTreeMap::new();
        for one in given {
            match meaning(&one.name) {
                None => self.errors.push(unknown(&one.name, Some(one.source))),
                Some(Meaning::KafkaDefault(name)) => self.kafka_default(name, &one),
                Some(Meaning::Setting(definition, alias)) => {
                    let rank = alias.map_or(0, |alias| rank_of(definition, alias));
                    if let Some((other_rank, other, _)) = winners.get(definition.key) {
                        if *other_rank == 0 || rank == 0 {
                            self.clash(definition, other, &one);
                            continue;
                        }
                        if *other_rank <= rank {
                            continue;
                        }
                    }
                    winners.insert(definition.key, (rank, one, alias));
                }
            }
        }
        for (key, (_, given, alias)) in winners {
            if let Some(definition) = Definition::find(key) {
                self.setting(definition, alias, given);
            }
        }
    }

    fn clash(&mut self, definition: &Definition, first: &Given, second: &Given) {
        let error = |given: &Given, other: &Given| ConfigError {
            name: given.name.clone(),
            source: Some(given.source.clone()),
            problem: Box::new(Problem::Twice {
                key: definition.key.to_owned(),
                other: other.name.clone(),
                other_source: other.source.clone(),
            }),
        };
        self.errors.push(error(second, first));
    }

    /// Values that are each allowed and not together.
    fn contradictions(&mut self) {
        // Only of values that could be read: a secret that is refused is not missing too.
        if let Some(error) = missing(&self.loaded.settings).filter(|_| self.errors.is_empty()) {
            self.errors.push(error);
        }
        let Some((key, why)) = contradiction(&self.loaded.settings) else { return };
        let Some(Entry { value, source, .. }) = self.loaded.entries.get(key) else { return };
        let problem = Problem::Refused { value: value.clone(), why: why.to_owned() };
        let source = source.is_set().then(|| source.clone());
        let problem = Box::new(problem);
        self.errors.push(ConfigError { name: key.to_owned(), source, problem });
    }

    fn setting(
        &mut self,
        definition: &'static Definition,
        alias: Option<&'static Alias>,
        given: Given,
    ) {
        let Given { name, value, source } = given;
        let text = match alias {
            None => Some(value.trim().to_owned()),
            Some(alias) => from_kafka(alias.form, value.trim()),
        };
        let settings = &mut self.loaded.settings;
        let canonical = text.and_then(|text| (definition.set)(settings, &text));
        // A refusal shows the value it refuses.
        let value = if definition.is_secret { "(hidden)".to_owned() } else { value };
        let problem = match &canonical {
            None => {
                let form = alias.map_or(AliasForm::Same, |alias| alias.form);
                let expected = expected_as(form).unwrap_or(definition.expected).to_owned();
                Some(Problem::Value { value, expected })
            }
            Some(_) => check(settings, definition.key)
                .map(|why| Problem::Refused { value, why: why.to_owned() }),
        };
        if let Some(problem) = problem {
            let problem = Box::new(problem);
            self.errors.push(ConfigError { name, source: Some(source), problem });
            return;
        }
        let Some(canonical) = canonical else { return };
        if name != definition.key {
            let text = format!(
                "{name} ({source}) is understood as {} = {}",
                definition.key,
                shown(&canonical)
            );
            self.loaded.notices.push(text);
        }
        if let Some(entry) = self.loaded.entries.get_mut(definition.key) {
            entry.replace(canonical, source);
        }
    }

    fn kafka_default(&mut self, name: &'static str, given: &Given) {
        let source = given.source.clone();
        let (name, value) = match defaults::store_broker_name(name, given.value.trim()) {
            Ok(stored) => stored,
            Err(why) => {
                let problem = Box::new(Problem::Refused { value: given.value.clone(), why });
                let name = name.to_owned();
                self.errors.push(ConfigError { name, source: Some(source), problem });
                return;
            }
        };
        self.loaded
            .kafka
            .entry(name)
            .and_modify(|entry| entry.replace(value.clone(), source.clone()))
            .or_insert(Entry { value, source, overruled: Vec::new() });
    }
}

impl Entry {
    fn replace(&mut self, value: String, source: Source) {
        let value = std::mem::replace(&mut self.value, value);
        let source = std::mem::replace(&mut self.source, source);
        self.overruled.insert(0, (value, source));
    }
}

/// 1 for the alias Kafka prefers, more for the others.
fn rank_of(definition: &Definition, alias: &Alias) -> usize {
    definition.aliases.iter().position(|one| one == alias).map_or(usize::MAX, |at| at + 1)
}

/// What a value is to be under one of Kafka's names, where that is not what it is under ours.
fn expected_as(form: AliasForm) -> Option<&'static str> {
    match form {
        AliasForm::Millis => Some("a whole number of milliseconds, or -1 for none"),
        AliasForm::Minutes => Some("a whole number of minutes, or -1 for none"),
        AliasForm::Hours => Some("a whole number of hours, or -1 for none"),
        AliasForm::BytesPerSecond => Some("a number of bytes a second"),
        AliasForm::OneFolder => Some("one folder: a broker keeps its data in one"),
        _ => None,
    }
}

/// The text of our setting for the text of a Kafka value. `None` if it is no such value.
pub(crate) fn from_kafka(form: AliasForm, value: &str) -> Option<String> {
    let duration = |unit: &str| -> Option<String> {
        let number: i64 = value.parse().ok()?;
        if number < 0 {
            return Some("none".to_owned());
        }
        Some(format!("{number}{unit}"))
    };
    match form {
        AliasForm::Same => Some(value.to_owned()),
        AliasForm::Millis => duration("ms"),
        AliasForm::Minutes => duration("m"),
        AliasForm::Hours => duration("h"),
        AliasForm::BytesPerSecond => {
            let rate: f64 = value.parse().ok().filter(|rate: &f64| *rate > 0.0)?;
            // Kafka's "no limit" is the largest number there is.
            Some(if rate < 1e15 { format!("{rate:.0}") } else { "none".to_owned() })
        }
        AliasForm::AutoIfNegative if value.starts_with('-') => Some("auto".to_owned()),
        AliasForm::AutoIfNegative => Some(value.to_owned()),
        AliasForm::OneFolder => (!value.contains(',')).then(|| value.to_owned()),
        AliasForm::Listeners => {
            let mut addresses = Vec::new();
            for entry in value.split(',').map(str::trim) {
                let (name, address) = entry.split_once("://").unwrap_or(("", entry));
                if name.contains("SSL") || name.contains("SASL") {
                    return None;
                }
                if name != "CONTROLLER" {
                    addresses.push(address);
                }
            }
            Some(addresses.join(","))
        }
    }
}

#[cfg(test)]
mod tests;
