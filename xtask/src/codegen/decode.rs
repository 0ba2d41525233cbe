//! The function that reads one struct.

use super::model::{Field, Kind, Message, Struct};
use super::names;
use super::structs::{Statements, lifetime, mentions, mentions_version, whole_body};
use std::fmt::Write as _;

/// `fn read`.
pub(crate) fn function(message: &Message, one: &Struct) -> String {
    let mut fields = Statements::default();
    for field in one.fields.iter().filter(|field| field.tag.is_none()) {
        let flexible = flexible_word(message, one, field);
        let value = value(message, one, field, flexible);
        let statement = format!("value.{} = {value};\n", names::field(&field.name));
        fields.push(field.versions.condition(one.versions), &statement);
    }
    let body = whole_body(message, one, fields.finish(), || tags(message, one));
    let version = if mentions_version(&body) { "version" } else { "_version" };
    let reader = if lifetime(one).is_empty() { "'_" } else { "'a" };
    let r = if mentions(&body, "r") { "r" } else { "_r" };
    format!(
        "pub(super) fn read({r}: &mut Reader<{reader}>, {version}: i16) -> Result<Self, DecodeError> {{\n\
         let mut value = Self::default();\n{body}Ok(value)\n}}\n"
    )
}

/// How to say, at this field, whether the format is flexible.
pub(crate) fn flexible_word(message: &Message, one: &Struct, field: &Field) -> &'static str {
    if field.never_flexible || message.flexible_since > field.versions.max {
        "false"
    } else if message.flexible_since <= one.versions.min.max(field.versions.min) {
        "true"
    } else {
        "flexible"
    }
}

/// How errors call a field.
pub(crate) fn label(one: &Struct, field: &Field) -> String {
    format!("\"{}.{}\"", one.name, names::lower(&field.name))
}

/// The expression that reads a field.
fn value(message: &Message, one: &Struct, field: &Field, flexible: &str) -> String {
    let label = label(one, field);
    if !field.is_option() {
        return plain(message, one, field, &field.kind, flexible);
    }
    let nullable = nullable(message, one, field, flexible, &label);
    match field.nullable.condition(field.versions) {
        None => nullable,
        Some(condition) => {
            let plain = plain(message, one, field, &field.kind, flexible);
            format!("if {condition} {{ {nullable} }} else {{ Some({plain}) }}")
        }
    }
}

fn plain(message: &Message, one: &Struct, field: &Field, kind: &Kind, flexible: &str) -> String {
    let label = label(one, field);
    match kind {
        Kind::Bool => format!("r.bool({label})?"),
        Kind::Number(name) => format!("r.{name}({label})?"),
        Kind::Uuid => format!("r.uuid({label})?"),
        Kind::String if message.borrowed => format!("r.string({flexible}, {label})?"),
        Kind::String => format!("r.string({flexible}, {label})?.to_owned()"),
        Kind::Bytes if message.borrowed => format!("r.bytes({flexible}, {label})?"),
        Kind::Bytes => format!("r.bytes({flexible}, {label})?.to_vec()"),
        Kind::Records => format!("r.records({flexible}, {label})?"),
        Kind::Struct(name) => format!("{name}::read(r, version)?"),
        Kind::Array(element) => {
            let (least, read) = element_parts(message, one, field, element, flexible);
            format!("r.array({flexible}, {least}, {label}, |r| {read})?")
        }
    }
}

/// The least size of an element, and the expression that reads one.
fn element_parts(
    message: &Message,
    one: &Struct,
    field: &Field,
    element: &Kind,
    flexible: &str,
) -> (usize, String) {
    let least = message.bytes_min(element, field.versions).max(1);
    let read = plain(message, one, field, element, flexible);
    let read = match read.strip_suffix('?') {
        Some(result) => result.to_owned(),
        None => format!("Ok({read})"),
    };
    (least, read)
}

fn nullable(message: &Message, one: &Struct, field: &Field, flexible: &str, label: &str) -> String {
    match &field.kind {
        Kind::String if message.borrowed => format!("r.nullable_string({flexible}, {label})?"),
        Kind::String => format!("r.nullable_string({flexible}, {label})?.map(str::to_owned)"),
        Kind::Bytes if message.borrowed => format!("r.nullable_bytes({flexible}, {label})?"),
        Kind::Bytes => format!("r.nullable_bytes({flexible}, {label})?.map(<[u8]>::to_vec)"),
        Kind::Records => format!("r.nullable_records({flexible}, {label})?"),
        Kind::Struct(name) => {
            // A tagged struct says whether it is there as a varint, any other as a signed byte.
            let present = if field.tag.is_some() {
                format!("r.varint({label})? != 0")
            } else {
                format!("r.is_present({label})?")
            };
            format!("if {present} {{ Some({name}::read(r, version)?) }} else {{ None }}")
        }
        Kind::Array(element) => {
            let (least, read) = element_parts(message, one, field, element, flexible);
            format!("r.nullable_array({flexible}, {least}, {label}, |r| {read})?")
        }
        Kind::Bool | Kind::Number(_) | Kind::Uuid => {
            panic!("{label}: numbers are never null")
        }
    }
}

/// The reading of the section of tagged fields.
fn tags(message: &Message, one: &Struct) -> String {
    let name = &one.name;
    let mut arms = String::new();
    for field in one.fields.iter().filter(|field| field.tag.is_some()) {
        let tag = field.tag.unwrap_or_default();
        let value = value(message, one, field, "true");
        let target = names::field(&field.name);
        let possible = one.versions.since(message.flexible_since);
        let guard = match field.versions.condition(possible) {
            Some(condition) => format!(" if {condition}"),
            None => String::new(),
        };
        let _ = writeln!(arms, "{tag}{guard} => value.{target} = {value},");
    }
    let unknown = format!("value.unknown_tagged_fields.insert(tag, r.unknown_tag(\"{name}\")?)");
    let choice = if arms.is_empty() {
        format!("{unknown};\n")
    } else {
        format!("match tag {{\n{arms}_ => {unknown},\n}}\n")
    };
    format!(
        "let mut tags = r.tagged_fields(\"{name}\")?;\n\
         while let Some((tag, outer)) = r.next_tag(&mut tags, \"{name}\")? {{\n\
         {choice}r.end_tag(outer, \"{name}\")?;\n}}\n"
    )
}
