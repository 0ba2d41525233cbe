//! `ApiKey` and the enum of all requests.

use super::model::Message;
use super::{MARK, names};
use std::fmt::Write as _;

/// The requests, by key, with the name of their API.
fn requests(rpc: &[Message]) -> Vec<(i16, String, &Message)> {
    let mut found: Vec<_> = rpc
        .iter()
        .filter(|message| message.kind == "request")
        .filter_map(|message| {
            let name = message.name.strip_suffix("Request").unwrap_or(&message.name);
            message.api_key.map(|key| (key, name.to_owned(), message))
        })
        .collect();
    found.sort_by_key(|(key, _, _)| *key);
    found
}

/// `api_key.rs`.
pub(crate) fn api_key(rpc: &[Message]) -> String {
    let apis = requests(rpc);
    let mut text = format!(
        "//! Every API of the protocol: its number, its name and the versions that can be decoded.\n//!\n\
         {MARK}\n\
         #![allow(clippy::too_many_lines, reason = \"generated: one line an API\")]\n\n\
         use jocko_codec::VersionRange;\n\n\
         /// An API of the protocol.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\n\
         pub enum ApiKey {{\n"
    );
    for (key, name, message) in &apis {
        let _ = writeln!(
            text,
            "/// {key}: `{name}`, versions {}-{}.",
            message.versions.min, message.versions.max
        );
        let _ = writeln!(text, "{name} = {key},");
    }
    text.push_str(
        "}\n\nimpl ApiKey {\n/// Every API, by number.\npub const ALL: &'static [Self] = &[\n",
    );
    for (_, name, _) in &apis {
        let _ = writeln!(text, "Self::{name},");
    }
    text.push_str("];\n\n/// The API of a number read from the wire, if it is known.\n");
    text.push_str(
        "#[must_use]\npub const fn from_code(code: i16) -> Option<Self> {\nmatch code {\n",
    );
    for (key, name, _) in &apis {
        let _ = writeln!(text, "{key} => Some(Self::{name}),");
    }
    text.push_str("_ => None,\n}\n}\n\n/// The number, as it stands on the wire.\n");
    text.push_str("#[must_use]\npub const fn code(self) -> i16 {\nself as i16\n}\n\n");
    text.push_str("/// The name, for example `Produce`.\n#[must_use]\npub const fn name(self) -> &'static str {\nmatch self {\n");
    for (_, name, _) in &apis {
        let _ = writeln!(text, "Self::{name} => \"{name}\",");
    }
    text.push_str("}\n}\n\n/// The versions that can be decoded, unstable ones included. What a broker serves is\n/// another matter: see [`crate::versions`].\n");
    text.push_str("#[must_use]\npub const fn versions(self) -> VersionRange {\nmatch self {\n");
    by_value(&mut text, &apis, |message| {
        format!("VersionRange::new({}, {})", message.versions.min, message.versions.max)
    });
    text.push_str(
        "}\n}\n\n/// The first flexible version (KIP-482); `i16::MAX` if there is none.\n",
    );
    text.push_str("#[must_use]\npub const fn flexible_since(self) -> i16 {\nmatch self {\n");
    by_value(&mut text, &apis, |message| match message.flexible_since {
        i16::MAX => "i16::MAX".into(),
        since => since.to_string(),
    });
    text.push_str("}\n}\n\n/// Whether Kafka calls the last version unstable, so that it must not be advertised.\n");
    let unstable: Vec<String> = apis
        .iter()
        .filter(|(_, _, message)| message.unstable)
        .map(|(_, name, _)| format!("Self::{name}"))
        .collect();
    let matched = if unstable.is_empty() {
        "false".to_owned()
    } else {
        format!("matches!(self, {})", unstable.join(" | "))
    };
    let _ = write!(
        text,
        "#[must_use]\npub const fn is_last_version_unstable(self) -> bool {{\n{matched}\n}}\n}}\n"
    );
    text
}

/// Match arms that share a value are one arm.
fn by_value(
    text: &mut String,
    apis: &[(i16, String, &Message)],
    value: impl Fn(&Message) -> String,
) {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (_, name, message) in apis {
        let value = value(message);
        match groups.iter_mut().find(|(other, _)| *other == value) {
            Some((_, names)) => names.push(format!("Self::{name}")),
            None => groups.push((value, vec![format!("Self::{name}")])),
        }
    }
    for (value, names) in groups {
        let _ = writeln!(text, "{} => {value},", names.join(" | "));
    }
}

/// `request_kind.rs`.
pub(crate) fn request_kind(rpc: &[Message]) -> String {
    let apis = requests(rpc);
    let mut text = format!(
        "//! Any request, decoded.\n//!\n{MARK}\n\
         #![allow(clippy::too_many_lines, reason = \"generated: one line an API\")]\n\n\
         use crate::ApiKey;\nuse crate::messages::rpc;\n\
         use jocko_codec::{{Decode, DecodeError, Encode, EncodeError, Reader, Writer}};\n\n\
         /// The body of any request.\n#[derive(Debug, Clone, PartialEq)]\n\
         #[allow(clippy::large_enum_variant, reason = \"lives on the stack for one dispatch\")]\n\
         pub enum RequestKind<'a> {{\n"
    );
    for (_, name, message) in &apis {
        let _ = writeln!(text, "/// `{name}`.");
        let _ = writeln!(text, "{name}(rpc::{}{}),", message.name, borrow(message));
    }
    text.push_str(
        "}\n\nimpl<'a> RequestKind<'a> {\n/// Decodes the body of a request.\n///\n/// # Errors\n\
         /// If the API has no such version or the bytes are not such a request.\n\
         pub fn decode(api: ApiKey, version: i16, r: &mut Reader<'a>) -> Result<Self, DecodeError> {\n\
         Ok(match api {\n",
    );
    for (_, name, message) in &apis {
        let _ = writeln!(
            text,
            "ApiKey::{name} => Self::{name}(rpc::{}::decode(r, version)?),",
            message.name
        );
    }
    text.push_str(
        "})\n}\n\n/// Encodes the body.\n///\n/// # Errors\n/// If a field cannot be said in this version.\n\
         pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {\n\
         match self {\n",
    );
    for (_, name, _) in &apis {
        let _ = writeln!(text, "Self::{name}(body) => body.encode(w, version),");
    }
    text.push_str("}\n}\n\n/// Which API this is.\n#[must_use]\npub const fn api_key(&self) -> ApiKey {\nmatch self {\n");
    for (_, name, _) in &apis {
        let _ = writeln!(text, "Self::{name}(_) => ApiKey::{name},");
    }
    text.push_str("}\n}\n}\n");
    text
}

fn borrow(message: &Message) -> &'static str {
    let borrows =
        message.structs.first().is_some_and(|top| top.name == message.name && top.borrows);
    debug_assert_eq!(names::upper(&message.name), message.name);
    if borrows { "<'a>" } else { "" }
}
