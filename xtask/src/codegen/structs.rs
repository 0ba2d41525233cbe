//! The file of one message: its structs, their defaults, and what reads and writes them.

use super::model::{Field, Kind, Message, Struct};
use super::{MARK, decode, encode, names};
use std::fmt::Write as _;

/// The whole file.
pub(crate) fn file(message: &Message) -> String {
    let mut body = String::new();
    for one in &message.structs {
        definition(&mut body, message, one);
        default_impl(&mut body, message, one);
        if one.name == message.name {
            traits(&mut body, message);
        }
        let _ = writeln!(body, "impl{0} {1}{0} {{", lifetime(one), one.name);
        body.push_str(&decode::function(message, one));
        body.push('\n');
        body.push_str(&encode::function(message, one));
        body.push_str("}\n\n");
    }
    let mut text = title(message);
    text.push_str(&imports(&body));
    text.push_str(&body);
    text
}

fn title(message: &Message) -> String {
    let Message { name, kind, .. } = message;
    let versions = message.versions.text(message.versions.max);
    let versions = if message.versions.min == message.versions.max {
        format!("version {versions}")
    } else {
        format!("versions {}-{}", message.versions.min, message.versions.max)
    };
    let mut text = match (kind.as_str(), message.api_key) {
        ("request" | "response", Some(key)) => format!("//! `{name}`: API {key}, {versions}"),
        (_, Some(key)) => format!("//! `{name}`: record {key}, {versions}"),
        (_, None) => format!("//! `{name}`: {versions}"),
    };
    if message.flexible_since <= message.versions.min {
        text.push_str(", flexible");
    } else if message.flexible_since <= message.versions.max {
        let _ = write!(text, ", flexible from {}", message.flexible_since);
    }
    if message.unstable {
        text.push_str("; the last version is not stable");
    }
    let _ = writeln!(text, ".\n//!");
    if let Some(about) = &message.about {
        for line in wrapped(about, 95) {
            let _ = writeln!(text, "//! {line}");
        }
        text.push_str("//!\n");
    }
    text.push_str(MARK);
    text.push('\n');
    text
}

/// `version 3` or `versions 3-5`.
fn counted(versions: &str) -> String {
    let plural = if versions.contains(['-', '+']) { "s" } else { "" };
    format!("version{plural} {versions}")
}

/// Breaks prose into lines of at most `width` characters.
fn wrapped(prose: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in prose.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn imports(body: &str) -> String {
    let mut text = String::new();
    let own = ["ApiKey", "RecordSchema", "Request", "Response"];
    let own: Vec<&str> = own
        .into_iter()
        .filter(|name| {
            body.contains(&format!(" {name} for ")) || body.contains(&format!(" {name}::"))
        })
        .collect();
    if !own.is_empty() {
        let _ = writeln!(text, "use crate::{{{}}};", own.join(", "));
    }
    let codec = [
        "Decode",
        "DecodeError",
        "Encode",
        "EncodeError",
        "Message",
        "Reader",
        "RecordBytes",
        "UnknownTaggedFields",
        "VersionRange",
        "Writer",
    ];
    let used: Vec<&str> = codec.into_iter().filter(|name| mentions(body, name)).collect();
    let _ = writeln!(text, "use jocko_codec::{{{}}};", used.join(", "));
    if mentions(body, "Uuid") {
        text.push_str("use jocko_types::Uuid;\n");
    }
    text.push('\n');
    text
}

/// Whether `word` stands in `text` as a word.
pub(crate) fn mentions(text: &str, word: &str) -> bool {
    let inside = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|tail| tail.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

/// Whether the parameter `version` is used; a field may have that name too.
pub(crate) fn mentions_version(text: &str) -> bool {
    mentions(&text.replace(".version", ""), "version")
}

/// Statements, of which neighbours under one condition share it.
#[derive(Default)]
pub(crate) struct Statements {
    text: String,
    open: Option<String>,
}

impl Statements {
    /// Adds a statement that runs if `condition` holds, or always.
    pub(crate) fn push(&mut self, condition: Option<String>, statement: &str) {
        if self.open != condition {
            self.close();
            if let Some(condition) = &condition {
                let _ = writeln!(self.text, "if {condition} {{");
            }
            self.open = condition;
        }
        self.text.push_str(statement);
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            self.text.push_str("}\n");
        }
    }

    /// All of them.
    pub(crate) fn finish(mut self) -> String {
        self.close();
        self.text
    }
}

/// The statements of a function that reads or writes a struct: those of its fields, then the
/// section of tagged fields where the version has one; before both, what `flexible` means.
pub(crate) fn whole_body(
    message: &Message,
    one: &Struct,
    mut fields: String,
    tags: impl FnOnce() -> String,
) -> String {
    if message.can_be_flexible(one.versions) {
        let section = tags();
        if message.flexible_since <= one.versions.min {
            fields.push_str(&section);
        } else {
            let _ = writeln!(fields, "if flexible {{\n{section}}}");
        }
    }
    if mentions(&fields, "flexible") {
        return format!("let flexible = version >= {};\n{fields}", message.flexible_since);
    }
    fields
}

/// `<'a>` for a struct that borrows.
pub(crate) fn lifetime(one: &Struct) -> &'static str {
    if one.borrows { "<'a>" } else { "" }
}

/// The type of a field in Rust.
fn rust_type(message: &Message, field: &Field) -> String {
    let plain = kind_type(message, &field.kind);
    if field.is_option() { format!("Option<{plain}>") } else { plain }
}

pub(crate) fn kind_type(message: &Message, kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".into(),
        Kind::Number(name) => (*name).into(),
        Kind::Uuid => "Uuid".into(),
        Kind::String if message.borrowed => "&'a str".into(),
        Kind::String => "String".into(),
        Kind::Bytes if message.borrowed => "&'a [u8]".into(),
        Kind::Bytes => "Vec<u8>".into(),
        Kind::Records => "RecordBytes<'a>".into(),
        Kind::Struct(name) => format!("{name}{}", lifetime(message.find(name))),
        Kind::Array(element) => format!("Vec<{}>", kind_type(message, element)),
    }
}

fn definition(text: &mut String, message: &Message, one: &Struct) {
    if one.name == message.name {
        let what = match message.kind.as_str() {
            "request" => "The request",
            "response" => "The response",
            "header" => "The header",
            "coordinator-key" => "The key of the record",
            "coordinator-value" => "The value of the record",
            "metadata" => "The record",
            _ => "The structure",
        };
        let _ = writeln!(text, "/// {what} `{}`.", message.name);
    } else {
        let versions = one.versions.text(message.versions.max);
        let _ = writeln!(text, "/// Part of `{}`, {}.", message.name, counted(&versions));
    }
    let plain = one.fields.iter().all(Field::has_plain_default);
    let default = if plain { ", Default" } else { "" };
    let _ = writeln!(text, "#[derive(Debug, Clone, PartialEq{default})]");
    let _ = writeln!(text, "pub struct {}{} {{", one.name, lifetime(one));
    for field in &one.fields {
        field_doc(text, message, field);
        let _ = writeln!(text, "pub {}: {},", names::field(&field.name), rust_type(message, field));
    }
    if message.can_be_flexible(one.versions) {
        text.push_str("/// Tagged fields that the schema does not name.\n");
        text.push_str("pub unknown_tagged_fields: UnknownTaggedFields,\n");
    }
    text.push_str("}\n\n");
}

fn field_doc(text: &mut String, message: &Message, field: &Field) {
    let last = message.versions.max;
    if let Some(about) = &field.about {
        for line in wrapped(about, 90) {
            let _ = writeln!(text, "/// {line}");
        }
        text.push_str("///\n");
    }
    let _ = write!(text, "/// `{}`", names::lower(&field.name));
    if let Some(tag) = field.tag {
        let _ = write!(text, ", tag {tag}");
    }
    let _ = write!(text, ": {}", counted(&field.versions.text(last)));
    if field.is_option() {
        if field.nullable == field.versions {
            text.push_str(", nullable");
        } else {
            let _ = write!(text, ", nullable in {}", field.nullable.text(last));
        }
    }
    if field.ignorable && field.versions != message.versions {
        text.push_str(", dropped elsewhere");
    }
    text.push_str(".\n");
}

/// The default of a field, in Rust.
pub(crate) fn default_value(message: &Message, field: &Field) -> String {
    if field.defaults_to_null() {
        return "None".into();
    }
    let plain = match &field.kind {
        Kind::Bool if field.default == "true" => "true".into(),
        Kind::Bool => "false".into(),
        Kind::Number(_) => field.number(),
        Kind::Uuid => "Uuid::ZERO".into(),
        Kind::String if message.borrowed => format!("\"{}\"", field.default),
        Kind::String if field.default.is_empty() => "String::new()".into(),
        Kind::String => format!("\"{}\".to_owned()", field.default),
        Kind::Bytes if message.borrowed => "&[]".into(),
        Kind::Bytes | Kind::Array(_) => "Vec::new()".into(),
        Kind::Records => "RecordBytes::EMPTY".into(),
        Kind::Struct(name) => format!("{name}::default()"),
    };
    if field.is_option() { format!("Some({plain})") } else { plain }
}

fn default_impl(text: &mut String, message: &Message, one: &Struct) {
    if one.fields.iter().all(Field::has_plain_default) {
        return;
    }
    let anonymous = if one.borrows { "<'_>" } else { "" };
    let _ = writeln!(text, "impl Default for {}{anonymous} {{", one.name);
    text.push_str("fn default() -> Self {\nSelf {\n");
    for field in &one.fields {
        let _ = writeln!(text, "{}: {},", names::field(&field.name), default_value(message, field));
    }
    if message.can_be_flexible(one.versions) {
        text.push_str("unknown_tagged_fields: UnknownTaggedFields::NONE,\n");
    }
    text.push_str("}\n}\n}\n\n");
}

fn traits(text: &mut String, message: &Message) {
    let Message { name, versions, flexible_since, .. } = message;
    let top = message.find(name);
    let anonymous = if top.borrows { "<'_>" } else { "" };
    let flexible = match *flexible_since {
        i16::MAX => "i16::MAX".to_owned(),
        since => since.to_string(),
    };
    let _ = write!(
        text,
        "impl Message for {name}{anonymous} {{\n\
         const NAME: &'static str = \"{name}\";\n\
         const VERSIONS: VersionRange = VersionRange::new({}, {});\n\
         const FLEXIBLE_SINCE: i16 = {flexible};\n}}\n\n",
        versions.min, versions.max
    );
    let api = |name: &str, suffix: &str| name.strip_suffix(suffix).unwrap_or(name).to_owned();
    match (message.kind.as_str(), message.api_key) {
        ("request", Some(_)) => {
            let api = api(name, "Request");
            let borrows = super::BORROWED.contains(&format!("{api}Response").as_str());
            let response = if borrows { "<'r>" } else { "" };
            let module = names::snake(&format!("{api}Response"));
            let _ = write!(
                text,
                "impl Request for {name}{anonymous} {{\n\
                 const API_KEY: ApiKey = ApiKey::{api};\n\
                 type Response<'r> = super::{module}::{api}Response{response};\n}}\n\n"
            );
        }
        ("response", Some(_)) => {
            let api = api(name, "Response");
            let _ = write!(
                text,
                "impl Response for {name}{anonymous} {{\n\
                 const API_KEY: ApiKey = ApiKey::{api};\n}}\n\n"
            );
        }
        (_, Some(key)) => {
            let _ = write!(
                text,
                "impl RecordSchema for {name}{anonymous} {{\nconst KEY: i16 = {key};\n}}\n\n"
            );
        }
        (_, None) => {}
    }
    let (generics, reader) = if top.borrows { ("<'a>", "'a") } else { ("", "'_") };
    let decode_lifetime = if top.borrows { "<'a>" } else { "<'_>" };
    let _ = write!(
        text,
        "impl{generics} Decode{decode_lifetime} for {name}{generics} {{\n\
         fn decode(r: &mut Reader<{reader}>, version: i16) -> Result<Self, DecodeError> {{\n\
         Self::check_decode(version, r.offset())?;\nSelf::read(r, version)\n}}\n}}\n\n\
         impl Encode for {name}{anonymous} {{\n\
         fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n\
         Self::check_encode(version)?;\nself.write(w, version)\n}}\n}}\n\n"
    );
}
