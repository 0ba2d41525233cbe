//! The function that writes one struct.

use super::decode::{flexible_word, label};
use super::model::{Field, Kind, Message, Struct};
use super::names;
use super::structs::{Statements, mentions, mentions_version, whole_body};
use std::fmt::Write as _;

/// `fn write`.
pub(crate) fn function(message: &Message, one: &Struct) -> String {
    let mut fields = Statements::default();
    for field in &one.fields {
        untagged(&mut fields, message, one, field);
    }
    let body = whole_body(message, one, fields.finish(), || tags(message, one));
    let version = if mentions_version(&body) { "version" } else { "_version" };
    let w = if mentions(&body, "w") { "w" } else { "_w" };
    format!(
        "pub(super) fn write(&self, {w}: &mut Writer, {version}: i16) -> Result<(), EncodeError> {{\n\
         {body}Ok(())\n}}\n"
    )
}

/// Writes a field that is not tagged; for a tagged one, only refuses it where it does not exist.
fn untagged(fields: &mut Statements, message: &Message, one: &Struct, field: &Field) {
    let condition = field.versions.condition(one.versions);
    let set = is_set(field, message);
    let refusal =
        format!("return Err(EncodeError::not_in_version({}, version));", label(one, field));
    if field.tag.is_some() {
        let absence = field.versions.absence(one.versions);
        if let Some(absence) = absence.filter(|_| !field.ignorable) {
            fields.push(None, &format!("if {absence} && {set} {{\n{refusal}\n}}\n"));
        }
        return;
    }
    let flexible = flexible_word(message, one, field);
    let statement = statement(message, one, field, flexible);
    match condition {
        Some(condition) if !field.ignorable => fields.push(
            None,
            &format!("if {condition} {{\n{statement}}} else if {set} {{\n{refusal}\n}}\n"),
        ),
        condition => fields.push(condition, &statement),
    }
}

/// The condition that a field differs from its default.
pub(crate) fn is_set(field: &Field, message: &Message) -> String {
    let place = format!("self.{}", names::field(&field.name));
    if field.defaults_to_null() {
        return format!("{place}.is_some()");
    }
    if field.is_option() {
        return match &field.kind {
            Kind::String if message.borrowed => format!("{place} != Some(\"{}\")", field.default),
            Kind::String => format!("{place}.as_deref() != Some(\"{}\")", field.default),
            Kind::Struct(name) => format!("{place}.as_ref() != Some(&{name}::default())"),
            _ => format!("!{place}.as_ref().is_some_and(|value| value.is_empty())"),
        };
    }
    match &field.kind {
        Kind::Bool if field.default == "true" => format!("!{place}"),
        Kind::Bool => place,
        Kind::Number(_) => format!("{place} != {}", field.number()),
        Kind::Uuid => format!("!{place}.is_zero()"),
        Kind::String if !field.default.is_empty() => format!("{place} != \"{}\"", field.default),
        Kind::String | Kind::Bytes | Kind::Records | Kind::Array(_) => {
            format!("!{place}.is_empty()")
        }
        Kind::Struct(name) => format!("{place} != {name}::default()"),
    }
}

/// The statement that writes a field.
fn statement(message: &Message, one: &Struct, field: &Field, flexible: &str) -> String {
    let place = format!("self.{}", names::field(&field.name));
    let label = label(one, field);
    if !field.is_option() {
        // Borrowed strings and bytes are references already.
        let is_ref = message.borrowed && matches!(field.kind, Kind::String | Kind::Bytes);
        return plain(&field.kind, &place, is_ref, flexible, &label);
    }
    let nullable = nullable(message, field, &place, flexible, &label);
    match field.nullable.condition(field.versions) {
        None => nullable,
        Some(condition) => {
            let required =
                format!("{}.ok_or(EncodeError::null({label}))?", as_ref(message, field, &place));
            let plain = plain(&field.kind, &required, true, flexible, &label);
            format!("if {condition} {{\n{nullable}}} else {{\n{plain}}}\n")
        }
    }
}

/// An `Option` field as an `Option` of a reference.
fn as_ref(message: &Message, field: &Field, place: &str) -> String {
    match &field.kind {
        Kind::String | Kind::Bytes if message.borrowed => place.to_owned(),
        Kind::String | Kind::Bytes | Kind::Array(_) => format!("{place}.as_deref()"),
        _ => format!("{place}.as_ref()"),
    }
}

/// Writes a value that is there; `place` is a reference already, or must become one.
fn plain(kind: &Kind, place: &str, is_ref: bool, flexible: &str, label: &str) -> String {
    let and = if is_ref { "" } else { "&" };
    match kind {
        Kind::Bool => format!("w.bool({place});\n"),
        Kind::Number(name) => format!("w.{name}({place});\n"),
        Kind::Uuid => format!("w.uuid({place});\n"),
        Kind::String => format!("w.string({flexible}, {and}{place}, {label})?;\n"),
        Kind::Bytes => format!("w.byte_string({flexible}, {and}{place}, {label})?;\n"),
        Kind::Records => format!("w.records({flexible}, {and}{place}, {label})?;\n"),
        Kind::Struct(_) => format!("{place}.write(w, version)?;\n"),
        Kind::Array(element) => {
            let write = element_closure(element, flexible, label);
            format!("w.array({flexible}, {and}{place}, {label}, {write})?;\n")
        }
    }
}

/// The closure that writes one element.
fn element_closure(element: &Kind, flexible: &str, label: &str) -> String {
    match element {
        Kind::Bool | Kind::Number(_) | Kind::Uuid => {
            let write = plain(element, "*item", true, flexible, label);
            format!("|w, item| {{ {write} Ok(()) }}")
        }
        _ => {
            let write = plain(element, "item", true, flexible, label);
            let write = write.trim_end().trim_end_matches(';').trim_end_matches('?');
            format!("|w, item| {write}")
        }
    }
}

fn nullable(message: &Message, field: &Field, place: &str, flexible: &str, label: &str) -> String {
    let option = as_ref(message, field, place);
    match &field.kind {
        Kind::String => format!("w.nullable_string({flexible}, {option}, {label})?;\n"),
        Kind::Bytes => format!("w.nullable_byte_string({flexible}, {option}, {label})?;\n"),
        Kind::Records => format!("w.nullable_records({flexible}, {option}, {label})?;\n"),
        Kind::Array(element) => {
            let write = element_closure(element, flexible, label);
            format!("w.nullable_array({flexible}, {option}, {label}, {write})?;\n")
        }
        Kind::Struct(_) => {
            let (present, absent) = if field.tag.is_some() {
                ("w.varint(1)", "w.varint(0)")
            } else {
                ("w.i8(1)", "w.i8(-1)")
            };
            format!(
                "match {option} {{\nSome(part) => {{\n{present};\npart.write(w, version)?;\n}}\n\
                 None => {absent},\n}}\n"
            )
        }
        Kind::Bool | Kind::Number(_) | Kind::Uuid => panic!("{label}: numbers are never null"),
    }
}

/// The writing of the section of tagged fields.
fn tags(message: &Message, one: &Struct) -> String {
    let mut tagged: Vec<&Field> = one.fields.iter().filter(|field| field.tag.is_some()).collect();
    tagged.sort_by_key(|field| field.tag);
    let mut fields = String::new();
    for field in &tagged {
        let label = label(one, field);
        let tag = field.tag.unwrap_or_default();
        let set = is_set(field, message);
        let possible = one.versions.since(message.flexible_since);
        let condition = match field.versions.condition(possible) {
            Some(condition) => format!("{condition} && {set}"),
            None => set,
        };
        let write = statement(message, one, field, "true");
        let _ = writeln!(
            fields,
            "if {condition} {{\nw.tag(&mut tags, {tag}, {label}, |w| {{\n{write}Ok(())\n}})?;\n}}"
        );
    }
    let name = &one.name;
    let binding = if tagged.is_empty() { "tags" } else { "mut tags" };
    format!(
        "let {binding} = w.begin_tags(&self.unknown_tagged_fields);\n{fields}\
         w.end_tags(tags, \"{name}\")?;\n"
    )
}
