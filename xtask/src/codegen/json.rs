//! The JSON forms of one message, and the table of all messages.

use super::model::{Message, Struct};
use super::structs::{default_value, lifetime, mentions, mentions_version};
use super::{Family, MARK, encode, names};
use std::fmt::Write as _;

/// The file of one message.
pub(crate) fn file(message: &Message, module: &str) -> String {
    let mut body = String::new();
    for one in &message.structs {
        to_json(&mut body, message, one);
        from_json(&mut body, message, one);
    }
    let mut text = format!("//! The JSON form of `{}`.\n//!\n{MARK}\n", message.name);
    let own = format!("crate::messages::{module}::{}", names::snake(&message.name));
    let mut used: Vec<&str> = vec!["FromJson", "JsonError", "ToJson"];
    used.extend(["Object", "Source"].into_iter().filter(|name| mentions(&body, name)));
    let structs: Vec<&str> = message.structs.iter().map(|one| one.name.as_str()).collect();
    let _ = writeln!(text, "use crate::json_value::{{{}}};", used.join(", "));
    let _ = writeln!(text, "use {own}::{{{}}};", structs.join(", "));
    text.push_str("use jocko_codec::EncodeError;\n");
    if mentions(&body, "Uuid") {
        text.push_str("use jocko_types::Uuid;\n");
    }
    text.push_str("use serde_json::Value;\n\n");
    text.push_str(&body);
    text
}

fn to_json(text: &mut String, message: &Message, one: &Struct) {
    let anonymous = if one.borrows { "<'_>" } else { "" };
    let mut body = String::new();
    for field in &one.fields {
        let key = names::lower(&field.name);
        let place = format!("self.{}", names::field(&field.name));
        let set = encode::is_set(field, message);
        let label = format!("\"{}.{key}\"", one.name);
        let put = format!("json.put(\"{key}\", &{place}, version)?;\n");
        let put = match field.nullable.absence(field.versions) {
            Some(absence) if field.is_option() => format!(
                "if {absence} && {place}.is_none() {{\nreturn Err(EncodeError::null({label}));\n}}\n{put}"
            ),
            _ => put,
        };
        let refusal = format!("return Err(EncodeError::not_in_version({label}, version));");
        let condition = field.versions.condition(one.versions);
        let absence = field.versions.absence(one.versions).filter(|_| !field.ignorable);
        // A tagged field at its default leaves no trace, as on the wire.
        let shown = match (&condition, field.tag) {
            (None, None) => None,
            (Some(condition), None) => Some(condition.clone()),
            (None, Some(_)) => Some(set.clone()),
            (Some(condition), Some(_)) => Some(format!("{condition} && {set}")),
        };
        match shown {
            None => body.push_str(&put),
            Some(shown) => {
                let _ = writeln!(body, "if {shown} {{\n{put}}}");
            }
        }
        if let Some(absence) = absence {
            let _ = writeln!(body, "if {absence} && {set} {{\n{refusal}\n}}");
        }
    }
    let version = if mentions_version(&body) { "version" } else { "_version" };
    let binding = if body.is_empty() { "json" } else { "mut json" };
    let _ = write!(
        text,
        "impl ToJson for {}{anonymous} {{\n\
         fn to_json(&self, {version}: i16) -> Result<Value, EncodeError> {{\n\
         let {binding} = Object::new();\n{body}Ok(json.into())\n}}\n}}\n\n",
        one.name
    );
}

fn from_json(text: &mut String, message: &Message, one: &Struct) {
    let mut body = String::new();
    for field in &one.fields {
        let key = names::lower(&field.name);
        let target = names::field(&field.name);
        // A tagged field may be left out; any other must be there in a version that has it.
        let get = if field.tag.is_some() {
            let default = default_value(message, field);
            format!("source.get_or(\"{key}\", version, {default})?")
        } else {
            format!("source.get(\"{key}\", version)?")
        };
        match field.versions.condition(one.versions) {
            None => {
                let _ = writeln!(body, "value.{target} = {get};");
            }
            Some(condition) => {
                let _ = writeln!(body, "if {condition} {{\nvalue.{target} = {get};\n}}");
            }
        }
    }
    let version = if mentions_version(&body) { "version" } else { "_version" };
    let (parameters, own) = ("<'a>", lifetime(one));
    let (binding, source) =
        if body.is_empty() { ("value", "_source") } else { ("mut value", "source") };
    let _ = write!(
        text,
        "impl{parameters} FromJson<'a> for {}{own} {{\n\
         fn from_json({source}: &mut Source<'a, '_>, {version}: i16) -> Result<Self, JsonError> {{\n\
         let {binding} = Self::default();\n{body}Ok(value)\n}}\n}}\n\n",
        one.name
    );
}

/// The table of all messages.
pub(crate) fn corpus(families: &[Family]) -> String {
    let mut text = format!(
        "//! Every message by name, with the way from bytes to JSON and back.\n//!\n{MARK}\n\
         use crate::json_value::{{CorpusEntry, entry}};\n\
         use crate::messages::{{{}}};\n\n\
         /// Every message of every family.\npub const CORPUS: &[CorpusEntry] = &[\n",
        families.iter().map(|family| family.module).collect::<Vec<_>>().join(", ")
    );
    for family in families {
        for message in &family.messages {
            let _ = writeln!(text, "entry!({}, {}),", family.module, message.name);
        }
    }
    text.push_str("];\n");
    text
}
