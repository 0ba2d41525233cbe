//! `jocko.toml`: tables are flattened into dotted names, so that `[topics]` with `retention`,
//! `topics.retention` and Kafka's `log.retention.hours` may all be written as people like.

use crate::error::{ConfigError, Problem};
use crate::load::{Given, Source};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a file's text. `name` is for messages.
///
/// # Errors
/// The text is not TOML.
pub(crate) fn read(name: &str, text: &str) -> Result<Vec<Given>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ConfigError {
            name: String::new(),
            source: Some(Source::File { name: name.to_owned(), line: line_of(text, at) }),
            problem: Box::new(Problem::Syntax { message: error.message().to_owned() }),
        }
    })?;
    let mut flattened = Flattened { name, text, given: Vec::new() };
    flattened.table("", table.get_ref());
    Ok(flattened.given)
}

struct Flattened<'a> {
    name: &'a str,
    text: &'a str,
    given: Vec<Given>,
}

impl Flattened<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        let mut items: Vec<_> = table.iter().collect();
        items.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in items {
            let part: &str = key.get_ref();
            let dot = if prefix.is_empty() { "" } else { "." };
            let path = format!("{prefix}{dot}{part}");
            match value.get_ref() {
                DeValue::Table(inner) => self.table(&path, inner),
                _ => {
                    let line = line_of(self.text, key.span().start);
                    let source = Source::File { name: self.name.to_owned(), line };
                    let value = self.value(value);
                    self.given.push(Given { name: path, value, source });
                }
            }
        }
    }

    /// The text of a value as a variable or flag would have it; lists are joined by commas.
    fn value(&self, value: &Spanned<DeValue<'_>>) -> String {
        match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Array(items) => {
                items.iter().map(|item| self.value(item)).collect::<Vec<_>>().join(",")
            }
            DeValue::Boolean(flag) => flag.to_string(),
            // Numbers keep the digits they were written with; units make no sense of 0x10 or
            // dates, and the setting's own parser says so.
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
                self.text.get(value.span()).unwrap_or_default().to_owned()
            }
        }
    }
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}
